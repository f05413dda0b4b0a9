#include "core/config.h"

#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/print.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "config show [--origin] | config check";

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

static int run_config(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    struct config *config;
    struct err err = { 0 };
    bool with_origin = false, check = false;
    char **rest;
    int count, status;

    if (config_load(arena, argc - 1, argv + 1, &config, &rest, &count, &err)) {
        status = print_error(&err);
        arena_free(arena);
        return status == 1 ? 2 : status;
    }
    status = count ? 0 : print_usage(usage, "Say what to do.");
    for (int i = 0; i < count && !status; i++) {
        if (!strcmp(rest[i], "check"))
            check = true;
        else if (!strcmp(rest[i], "--origin"))
            with_origin = true;
        else if (strcmp(rest[i], "show"))
            status = print_usage(usage, "Unknown word \"%s\".", rest[i]);
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
    .summary = "Show or check the configuration of the server.",
    .usage = usage,
    .help = "Settings are read by flag over environment (MESSAGE_HUB_NAME) over file over default.\n"
            "`--origin` says where each value comes from; secrets are never shown.\n\n"
            "  message-hub config show --origin\n"
            "  message-hub config check --config /etc/message-hub.conf\n",
    .run = run_config,
};
