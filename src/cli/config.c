#include "core/config.h"

#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/print.h"
#include "cli/lib/target.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "config show [--origin] | check | get NAME | set NAME VALUE [--profile NAME]";

static const char *const origin_words[] = { "default", "file", "environment", "flag" };

static void show_setting(const struct config *config, const struct field *field, bool with_origin)
{
    const char *text = config_text(config, field->name), *detail = NULL;
    enum config_origin origin = config_origin_of(config, field->name, &detail);

    if (field->type == FIELD_BOOL)
        text = config_flag(config, field->name) ? "true" : "false";
    if (text && (field->flags & FIELD_SECRET))
        text = "(set, not shown)";
    printf("%s\t%s", field->name, text ? text : "");
    if (with_origin)
        printf("\t%s%s%s", origin_words[origin], detail ? " " : "", detail ? detail : "");
    putchar('\n');
}

/* `config get` and `config set`: which hub the verbs talk to. */
static int run_profile(struct arena *arena, int argc, char **argv)
{
    const char *words[4] = { 0 }, *profile = NULL, *value;
    struct err err = { 0 };
    int count = 0;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--profile") && i + 1 < argc)
            profile = argv[++i];
        else if (!strncmp(argv[i], "--profile=", 10))
            profile = argv[i] + 10;
        else if (count < 3)
            words[count++] = argv[i];
        else
            return print_usage(usage, "Too many words.");
    }
    if (!strcmp(words[0], "get") && count == 2) {
        value = target_get(arena, profile, words[1]);
        if (value)
            puts(!strcmp(words[1], "key") ? "(set, not shown)" : value);
        return value ? 0 : 4;
    }
    if (count != 3)
        return print_usage(usage, "`config %s` needs %s.", words[0], !strcmp(words[0], "get") ? "a name" : "a name and a value");
    return target_set(arena, profile, words[1], words[2], &err) ? print_failure(&err) : 0;
}

static int run_config(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    struct config *config;
    struct err err = { 0 };
    bool with_origin = false, check = false;
    struct config_words words = { argv + 1, argc - 1 };
    int status;

    if (argc > 1 && (!strcmp(argv[1], "get") || !strcmp(argv[1], "set"))) {
        status = run_profile(arena, argc, argv);
        arena_free(arena);
        return status;
    }
    if (config_load(arena, &words, &config, &err)) {
        status = print_failure(&err);
        arena_free(arena);
        return status == 1 ? 2 : status;
    }
    status = words.count ? 0 : print_usage(usage, "Say what to do.");
    for (int i = 0; i < words.count && !status; i++) {
        if (!strcmp(words.words[i], "check"))
            check = true;
        else if (!strcmp(words.words[i], "--origin"))
            with_origin = true;
        else if (strcmp(words.words[i], "show"))
            status = print_usage(usage, "Unknown word \"%s\".", words.words[i]);
    }
    if (!status && check)
        puts("The configuration is correct.");
    for (const struct field *field = config_fields; !status && !check && field->name; field++)
        show_setting(config, field, with_origin);
    arena_free(arena);
    return status;
}

const struct command command_config = {
    .name = "config",
    .summary = "Show or check the server's configuration; choose the hub that commands talk to.",
    .usage = usage,
    .help = "Settings are read by flag over environment (MESSAGE_HUB_NAME) over file over default.\n"
            "`--origin` says where each value comes from; secrets are never shown.\n"
            "`set url|key|tenant` and `get` keep profiles for the commands that talk to a hub.\n\n"
            "  message-hub config show --origin\n"
            "  message-hub config set url https://hub.example.com --profile work\n",
    .run = run_config,
};
