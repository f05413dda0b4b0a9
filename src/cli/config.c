#include "core/config.h"

#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/layout.h"
#include "cli/lib/print.h"
#include "cli/lib/settings.h"
#include "cli/lib/target.h"
#include "cli/lib/width.h"

#include <stdio.h>
#include <string.h>

#define VALUE_BYTES 4096

static const char usage[] = "config show [--origin] | check | get NAME | set NAME VALUE [--profile NAME]";

static const char *const origin_words[] = { "default", "file", "environment", "flag" };

/* Name, value and where it comes from. */
static void setting_cells(struct arena *arena, const struct config *config, const struct field *field,
                          struct str cells[3])
{
    const struct value *value = config_value(config, field->name);
    const char *detail = NULL;
    enum config_origin origin = config_origin_of(config, field->name, &detail);

    cells[0] = str_c(field->name);
    cells[1] = value ? str_c(str_printable(arena, value->text, true)) : STR("");
    if (field->type == FIELD_BOOL)
        cells[1] = config_flag(config, field->name) ? STR("true") : STR("false");
    if (value && (field->flags & FIELD_SECRET))
        cells[1] = STR("(set, not shown)");
    cells[2] = str_c(arena_printf(arena, "%s%s%s", origin_words[origin], detail ? " " : "", detail ? detail : ""));
}

static void show(struct arena *arena, const struct config *config, bool with_origin)
{
    size_t room = width_of_terminal(stdout, 0), count = with_origin ? 3 : 2;
    struct layout layout = { .arena = arena, .count = count, .room = room, .plain = true };
    struct str cells[3];

    for (int print = !room; print < 2; print++) {
        for (const struct field *field = config_fields; field->name; field++) {
            setting_cells(arena, config, field, cells);
            for (size_t c = 0; c < count && !print; c++)
                layout_want(&layout, c, cells[c]);
            if (print && room)
                layout_row(&layout, cells, NULL);
            for (size_t c = 0; c < count && print && !room; c++)
                printf("%.*s%c", STR_FMT(cells[c]), c + 1 < count ? '\t' : '\n');
        }
        layout_fit(&layout);
    }
}

/* A value "-" is a line of standard input: a key stays out of the shell's history. */
static const char *read_value(struct arena *arena, const char *word)
{
    char line[VALUE_BYTES] = "";

    if (strcmp(word, "-"))
        return word;
    if (!fgets(line, sizeof line, stdin))
        line[0] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    return arena_strdup(arena, line);
}

static int get(struct arena *arena, const char *profile, const char *name)
{
    const char *value;
    struct err err = { 0 };

    if (target_check(name, &err))
        return print_failure(&err);
    value = target_get(arena, profile, name);
    if (value) {
        puts(!strcmp(name, "key") ? "(set, not shown)" : value);
        return 0;
    }
    err_set(&err, ERR_NOT_FOUND, "The profile %s has no %s.", profile ? profile : "default", name);
    err_hint(&err, "Give it one: message-hub config set %s VALUE%s%s", name, profile ? " --profile " : "",
             profile ? profile : "");
    return print_failure(&err);
}

/* `config get` and `config set`: which hub the verbs talk to. */
static int run_profile(struct arena *arena, int argc, char **argv)
{
    static const char *const known[] = { "--profile", NULL };
    const char *words[3] = { 0 }, *profile = NULL;
    struct err err = { 0 };
    int count = 0;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--profile") && i + 1 < argc)
            profile = argv[++i];
        else if (!strncmp(argv[i], "--profile=", 10))
            profile = argv[i] + 10;
        else if (!strncmp(argv[i], "--", 2))
            return settings_unknown(argv[i], known, usage);
        else if (count < 3)
            words[count++] = argv[i];
        else
            return print_usage(usage, "Too many words: \"%s\".", argv[i]);
    }
    if (!strcmp(words[0], "get"))
        return count == 2 ? get(arena, profile, words[1]) : print_usage(usage, "`config get` needs a name.");
    if (count != 3)
        return print_usage(usage, "`config set` needs a name and a value.");
    return target_set(arena, profile, words[1], read_value(arena, words[2]), &err) ? print_failure(&err) : 0;
}

static int run_settings(struct arena *arena, int argc, char **argv)
{
    static const char *const known[] = { "show", "check", "get", "set", "--origin", NULL };
    bool with_origin = false, check = false;
    struct config *config;
    struct config_words rest;
    int status = settings_read(arena, argc, argv, &config, &rest);

    if (!status && !rest.count)
        status = print_usage(usage, "Say what to do.");
    for (int i = 0; !status && i < rest.count; i++) {
        if (!strcmp(rest.words[i], "check"))
            check = true;
        else if (!strcmp(rest.words[i], "--origin"))
            with_origin = true;
        else if (strcmp(rest.words[i], "show"))
            status = settings_unknown(rest.words[i], known, usage);
    }
    if (!status && check)
        puts("The configuration is correct.");
    else if (!status)
        show(arena, config, with_origin);
    return status;
}

static int run_config(int argc, char **argv)
{
    bool is_profile = argc > 1 && (!strcmp(argv[1], "get") || !strcmp(argv[1], "set"));
    struct arena *arena = arena_new(0);
    int status = is_profile ? run_profile(arena, argc, argv) : run_settings(arena, argc, argv);

    arena_free(arena);
    return status;
}

const struct command command_config = {
    .name = "config",
    .summary = "Show or check the server's configuration; choose the hub that commands talk to.",
    .usage = usage,
    .help = "Settings are read by flag over environment (MESSAGE_HUB_NAME) over file over default.\n"
            "`--origin` says where each value comes from; secrets are never shown.\n"
            "`set url|key|tenant` and `get` keep profiles for the commands that talk to a hub; the\n"
            "value \"-\" is read from standard input.\n\n"
            "  message-hub config show --origin\n"
            "  message-hub config set url https://hub.example.com --profile work\n",
    .run = run_config,
};
