#include "cli/command.h"
#include "cli/lib/remote.h"

#include "base/arena.h"
#include "core/config.h"

#include <stdio.h>

/* In roff a line must not begin with a dot or an apostrophe, and a backslash is an escape. */
static void put(const char *text)
{
    bool at_start = true;

    for (; *text; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        at_start = *text == '\n';
    }
}

static void entry(const char *head, const char *text)
{
    fputs(".TP\n.B ", stdout);
    put(head);
    putchar('\n');
    put(text);
    putchar('\n');
}

static int run_man(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    struct verb_position position = { 0 };
    const struct op *op;

    (void)argc;
    (void)argv;
    puts(".TH MESSAGE-HUB 1 \"\" \"message-hub " HUB_VERSION "\"\n.SH NAME\nmessage\\-hub \\- a self\\-hosted messaging hub\n"
         ".SH SYNOPSIS\n.B message\\-hub\n.I command\n[...]\n.SH COMMANDS OF THIS MACHINE");
    for (const struct command *const *command = commands; *command; command++)
        entry((*command)->usage, (*command)->summary);
    puts(".SH COMMANDS OF A HUB");
    while ((op = remote_next(&position)))
        entry(remote_usage(arena, op), op->summary);
    puts(".SH SETTINGS\nBy flag, environment (MESSAGE_HUB_NAME), file, default.");
    for (const struct field *field = config_fields; field->name; field++)
        entry(arena_printf(arena, "--%s", field->name), field->help);
    puts(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong use, 3 not allowed, 4 not found, 5 rate\\-limited, 6 partly done, "
         "70 storage failed, 71 out of memory.");
    arena_free(arena);
    return 0;
}

const struct command command_man = {
    .name = "man",
    .summary = "Print the manual page, made from the tables of commands.",
    .usage = "man",
    .help = "  message-hub man | man -l -\n  message-hub man > /usr/local/share/man/man1/message-hub.1\n",
    .run = run_man,
};
