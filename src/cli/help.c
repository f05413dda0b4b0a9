#include "cli/command.h"
#include "cli/lib/print.h"
#include "cli/lib/remote.h"

#include "base/arena.h"

#include <stdio.h>
#include <string.h>

static void list_all(void)
{
    struct verb_position position = { 0 };
    const struct op *op;
    size_t table = SIZE_MAX;

    puts("Message Hub: one place for messages from every channel.\n\nusage: message-hub <command> [...]\n\nThis machine:");
    for (const struct command *const *command = commands; *command; command++)
        printf("  %-26s %s\n", (*command)->name, (*command)->summary);
    while ((op = remote_next(&position))) {
        if (position.table != table)
            printf("\n%s:\n", op_tables[position.table]->resource);
        table = position.table;
        printf("  %-26s %s\n", op->cli, op->summary);
    }
    puts("\n`message-hub help COMMAND` explains one; `help exit-codes` lists the exit codes.");
}

static void exit_codes(void)
{
    puts("0   done\n1   failed\n2   wrong use: flag, value or configuration\n3   not signed in, or not allowed\n"
         "4   not found\n5   rate-limited\n6   partly done (bulk commands)\n70  the storage failed\n71  out of memory");
}

static int run_help(int argc, char **argv)
{
    const struct op *op;
    int words;

    if (argc < 2 || !strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
        list_all();
        return 0;
    }
    if (!strcmp(argv[1], "exit-codes")) {
        exit_codes();
        return 0;
    }
    for (const struct command *const *command = commands; *command; command++)
        if (!strcmp((*command)->name, argv[1])) {
            printf("%s\n\nusage: message-hub %s\n\n%s", (*command)->summary, (*command)->usage, (*command)->help);
            return 0;
        }
    op = remote_find(argc - 1, argv + 1, &words);
    if (!op)
        return print_usage("help [COMMAND]", "There is no command \"%s\".", argv[1]);
    remote_help(op);
    return 0;
}

const struct command command_help = {
    .name = "help",
    .summary = "Explain a command.",
    .usage = "help [COMMAND | exit-codes]",
    .help = "  message-hub help\n  message-hub help send\n",
    .run = run_help,
};
