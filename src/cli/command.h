/* command.h - local commands of the program: every src/cli/<name>.c defines `const struct command command_<name>`.
 * Everything else on the command line is a verb derived from the operations table (cli/lib/remote.h). */
#pragma once

#include <stdbool.h>

struct command {
    const char *name;           /* "serve" */
    const char *summary;        /* one line for `help` */
    const char *usage;          /* "serve [--data DIR] [--listen ADDR]" */
    const char *help;           /* paragraphs and two copyable examples */
    bool settings;              /* takes the settings of core/config.h as flags: the help page lists them */
    int (*run)(int argc, char **argv);     /* argv[0] is the command's name; returns the exit code */
};

/* The help page of a command on stdout. */
void command_explain(const struct command *command);

/* Exit codes, documented in `help exit-codes`: 0 ok, 1 failed, 2 usage, 3 authentication, 4 not found, 5 rate-limited,
 * 6 partly done, 70 storage failed, 71 out of memory. */

/* All commands, generated from the files in src/cli; ends with NULL. */
extern const struct command *const commands[];
