/* remote.h - any operation as a verb: `message-hub send --to ... --text ...` is the row message.send of the operations
 * table, called over HTTP. Nothing here knows a single operation. */
#pragma once

#include "api/op.h"

/* Run a verb. `argv` starts with its first word; returns the exit code. A program `message-hub-<word>` on PATH serves a
 * word that is neither a command nor a verb. */
int remote_main(int argc, char **argv);

/* Walk all operations that have a verb, aliases left out, in table order: start with two zeros; NULL at the end. */
struct verb_position {
    size_t table, row;
};
const struct op *remote_next(struct verb_position *position);

/* The operation whose verb is these words ("channels add"), or NULL; `*words` says how many of them it took. */
const struct op *remote_find(int argc, char **argv, int *words);

/* "There is no command ...", with the nearest one or the verbs below the word as the hint; exit code 2. */
int remote_unknown(int argc, char **argv);

/* The verbs whose first word is `noun`, but `except`, separated by ", "; NULL when there are none. In the arena. */
const char *remote_verbs_of(struct arena *arena, struct str noun, const struct op *except);
