#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/print.h"
#include "cli/lib/remote.h"
#include "cli/lib/usage.h"
#include "core/config.h"

#include <stdio.h>
#include <string.h>

#define NAME_COLUMNS 24

static void line(const char *name, const char *summary)
{
    printf("  %-*s ", NAME_COLUMNS, name);
    print_wrapped(NAME_COLUMNS + 3, NAME_COLUMNS + 3, summary);
}

static void list_all(void)
{
    struct verb_position position = { 0 };
    const struct op *op;
    size_t table = SIZE_MAX;

    puts("Message Hub: one place for messages from every channel.\n\n"
         "usage: message-hub <command> [...]\n\nThis machine:");
    for (const struct command *const *command = commands; *command; command++)
        line((*command)->name, (*command)->summary);
    while ((op = remote_next(&position))) {
        if (position.table != table)
            printf("\n%s:\n", op_tables[position.table]->resource);
        table = position.table;
        line(op->cli, op->summary);
    }
    puts("\n`message-hub help COMMAND` explains one; `message-hub help exit-codes` lists the exit codes.\n"
         "A program message-hub-NAME on PATH is the command NAME.");
}

static void list_below(const char *noun)
{
    struct verb_position position = { 0 };
    const struct op *op;

    while ((op = remote_next(&position)))
        if (!strncmp(op->cli, noun, strlen(noun)) && op->cli[strlen(noun)] == ' ')
            line(op->cli, op->summary);
}

static void exit_codes(void)
{
    puts("0   done\n1   failed\n2   wrong use: flag, value or configuration\n3   not signed in, or not allowed\n"
         "4   not found\n5   rate-limited\n6   partly done (several calls in one)\n70  the storage failed\n"
         "71  out of memory");
}

static int explain(struct arena *arena, int argc, char **argv)
{
    const char *below = remote_verbs_of(arena, str_c(argv[0]), NULL);
    const struct op *op;
    int words;

    if (!strcmp(argv[0], "exit-codes")) {
        exit_codes();
        return 0;
    }
    for (const struct command *const *command = commands; *command; command++)
        if (!strcmp((*command)->name, argv[0])) {
            command_explain(*command);
            return 0;
        }
    op = remote_find(argc, argv, &words);
    if (op && words == argc)
        usage_page(op);
    else if (below && argc == 1)
        list_below(argv[0]);
    else
        return remote_unknown(argc, argv);
    return 0;
}

static int run_help(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    int status = 0;

    if (argc < 2)
        list_all();
    else
        status = explain(arena, argc - 1, argv + 1);
    arena_free(arena);
    return status;
}

static void setting_line(const struct field *field)
{
    char flag[80], text[500];

    snprintf(flag, sizeof flag, "--%s", field->name);
    snprintf(text, sizeof text, "%s%s%s%s", field->help, field->fallback ? " Default: " : "",
             field->fallback ? field->fallback : "", field->fallback ? "." : "");
    line(flag, text);
    if (field->type == FIELD_ENUM)
        printf("%*s%s\n", NAME_COLUMNS + 3, "", field->choices);
}

void command_explain(const struct command *command)
{
    print_wrapped(0, 0, command->summary);
    fputs("\nusage: ", stdout);
    fputs("message-hub ", stdout);
    print_wrapped(19, 11, command->usage);
    printf("\n%s", command->help);
    if (command->settings)
        puts("\nSettings, as flags, environment (MESSAGE_HUB_NAME) or lines of DATA/message-hub.conf:");
    for (const struct field *field = config_fields; command->settings && field->name; field++)
        setting_line(field);
}

const struct command command_help = {
    .name = "help",
    .summary = "Explain a command.",
    .usage = "help [COMMAND | exit-codes]",
    .help = "  message-hub help\n  message-hub help send\n",
    .run = run_help,
};
