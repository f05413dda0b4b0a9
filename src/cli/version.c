#include "cli/command.h"
#include "cli/lib/print.h"
#include "db/migrate.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "version [--json]";

static int run_version(int argc, char **argv)
{
    int schema = 0;

    if (argc > 2 || (argc == 2 && strcmp(argv[1], "--json") != 0))
        return print_usage(usage, "`version` does not take \"%s\".", argv[argc - 1]);
    while (migrations[schema].name)
        schema++;
    if (argc == 2)
        printf("{\"version\":\"%s\",\"schema\":%d}\n", HUB_VERSION, schema);
    else
        printf("message-hub %s (schema %d)\n", HUB_VERSION, schema);
    return 0;
}

const struct command command_version = {
    .name = "version",
    .summary = "Print the program's version and the schema it writes.",
    .usage = usage,
    .help = "  message-hub version\n  message-hub version --json\n",
    .run = run_version,
};
