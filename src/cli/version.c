#include "cli/command.h"
#include "db/migrate.h"

#include <stdio.h>
#include <string.h>

static int run_version(int argc, char **argv)
{
    int schema = 0;

    while (migrations[schema].name)
        schema++;
    if (argc > 1 && !strcmp(argv[1], "--json"))
        printf("{\"version\":\"%s\",\"schema\":%d}\n", HUB_VERSION, schema);
    else
        printf("message-hub %s (schema %d)\n", HUB_VERSION, schema);
    return 0;
}

const struct command command_version = {
    .name = "version",
    .summary = "Print the program's version and the schema it writes.",
    .usage = "version [--json]",
    .help = "  message-hub version\n  message-hub version --json\n",
    .run = run_version,
};
