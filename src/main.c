/* main.c - find the command in the table and run it; anything else is a verb of the operations table. */
#include "cli/command.h"
#include "cli/lib/print.h"
#include "cli/lib/remote.h"

#include <stdbool.h>
#include <string.h>

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

static int run(int argc, char **argv)
{
    for (const struct command *const *command = commands; *command; command++) {
        if (strcmp((*command)->name, argv[0]))
            continue;
        if (!asks_for_help(argc, argv))
            return (*command)->run(argc, argv);
        command_explain(*command);
        return 0;
    }
    return remote_main(argc, argv);
}

int main(int argc, char **argv)
{
    char help[] = "help", version[] = "version", *no_words[] = { help, NULL };
    int status;

    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
        argv[1] = help;
    if (argc > 1 && !strcmp(argv[1], "--version"))
        argv[1] = version;
    status = argc > 1 ? run(argc - 1, argv + 1) : run(1, no_words);
    return status ? status : print_end();
}
