/* request.h - a command line turned into one call of an operation, and the flags that all verbs share. */
#pragma once

#include "api/op.h"
#include "cli/lib/table.h"
#include "cli/lib/target.h"

struct request {
    const struct op *op;
    struct target_flags target;
    struct table_options table;
    bool help, quiet, from_stdin;       /* --stdin: one call per line, the line is the first positional argument */
    int timeout_ms;
    int64_t limit;                      /* --limit of lists: pages are followed up to it; 0: one page */
    const char *idempotency_key;
    struct fields in;                   /* values given, by the operation's table */
};

/* Read the words behind the verb. A field `reply_to` is the flag --reply-to; positional words fill op->cli_args in order;
 * a value "-" is read from standard input. -1 with a hint on any wrong word. */
int request_read(struct arena *arena, const struct op *op, int argc, char **argv, struct request *out, struct err *err);

/* The path with its fields and query filled in, and the JSON body (absent for GET and DELETE without fields). */
const char *request_path(struct arena *arena, const struct request *request, const char *cursor, int64_t page);
struct str request_body(struct arena *arena, const struct request *request);
