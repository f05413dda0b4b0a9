/* main.c - find the command in the table and run it; anything else is a verb of the operations table. */
#include "cli/command.h"
#include "cli/lib/remote.h"

#include <string.h>

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";

    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    if (!strcmp(name, "--version"))
        name = "version";
    for (const struct command *const *command = commands; *command; command++)
        if (!strcmp((*command)->name, name))
            return (*command)->run(argc > 1 ? argc - 1 : argc, argc > 1 ? argv + 1 : argv);
    return remote_main(argc - 1, argv + 1);
}
