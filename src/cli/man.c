#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/flags.h"
#include "cli/lib/print.h"
#include "cli/lib/remote.h"
#include "cli/lib/usage.h"
#include "core/config.h"

#include <stdio.h>

/* In roff a line must not begin with a dot or an apostrophe, a backslash is an escape, and a plain dash a hyphen. */
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

static void example(const char *words)
{
    fputs(".br\n.RS\n.B message\\-hub ", stdout);
    put(words);
    puts("\n.RE");
}

static void hub_commands(struct arena *arena)
{
    struct verb_position position = { 0 };
    const struct op *op;

    puts(".SH COMMANDS OF A HUB");
    while ((op = remote_next(&position))) {
        entry(usage_line(arena, op), op->summary);
        if (op->example)
            example(op->example);
    }
}

/* Every shared flag once: an operation that takes all of them does not exist, so several are asked. */
static void shared_flags(struct arena *arena)
{
    const struct shared_flag *flag, *seen[64];
    struct verb_position verb = { 0 };
    const struct op *op;
    size_t count = 0;

    puts(".SH FLAGS OF COMMANDS OF A HUB");
    while ((op = remote_next(&verb))) {
        size_t position = 0;

        while ((flag = flags_shared(op, &position))) {
            size_t i = 0;

            while (i < count && seen[i] != flag)
                i++;
            if (i < count || count == sizeof seen / sizeof seen[0])
                continue;
            seen[count++] = flag;
            entry(arena_printf(arena, "--%s%s%s", flag->name, flag->value && flag->value[0] != '[' ? " " : "",
                               flag->value ? flag->value : ""), flag->help);
        }
    }
}

static int run_man(int argc, char **argv)
{
    struct arena *arena;

    if (argc > 1)
        return print_usage("man", "`man` does not take \"%s\".", argv[1]);
    arena = arena_new(0);
    puts(".TH MESSAGE\\-HUB 1 \"\" \"message\\-hub " HUB_VERSION "\"\n"
         ".SH NAME\nmessage\\-hub \\- a self\\-hosted messaging hub\n"
         ".SH SYNOPSIS\n.B message\\-hub\n.I command\n[...]\n.SH COMMANDS OF THIS MACHINE");
    for (const struct command *const *command = commands; *command; command++)
        entry((*command)->usage, (*command)->summary);
    hub_commands(arena);
    shared_flags(arena);
    puts(".SH SETTINGS\nBy flag, environment (MESSAGE_HUB_NAME), file, default.");
    for (const struct field *field = config_fields; field->name; field++)
        entry(arena_printf(arena, "--%s", field->name), field->help);
    puts(".SH EXIT STATUS\n"
         "0 done, 1 failed, 2 wrong use, 3 not allowed, 4 not found, 5 rate\\-limited, 6 partly done,\n"
         "70 storage failed, 71 out of memory.\n"
         ".SH PLUGINS\nA program\n.B message\\-hub\\-NAME\non PATH is the command NAME.");
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
