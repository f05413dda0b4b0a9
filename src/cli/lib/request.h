/* request.h - a command line turned into one call of an operation, and the flags that all verbs share. */
#pragma once

#include "api/op.h"
#include "cli/lib/table.h"
#include "cli/lib/target.h"
#include "core/config.h"

struct request {
    const struct op *op;
    struct target_flags target;
    struct table_options table;
    /* from_stdin: one call per line, whose first column is the first positional argument; dry_run: only show it. */
    bool help, quiet, verbose, from_stdin, dry_run;
    int timeout_ms;
    int64_t limit;                      /* --limit of lists and streams: pages are followed up to it; 0: not given */
    const char *idempotency_key;
    struct fields in;                   /* values given, by the operation's table */
    struct config_words attach;         /* files that --attach names: uploaded before the call (cli/lib/upload.h) */
    struct config_words more;           /* ids behind the first, of a verb that takes one: each is a call of its own */
};

/* Read the words behind the verb. A field `reply_to` is the flag --reply-to; positional words fill op->cli_args in
 * order, leaving out those that a flag gave; further words of a text belong to it; a value "-" is read from standard
 * input. -1 with a hint on any wrong word. */
int request_read(struct arena *arena, const struct op *op, const struct config_words *words, struct request *out,
                 struct err *err);

/* The name of `op`'s `nth` positional argument; the absent slice behind the last. */
struct str request_positional(const struct op *op, int nth);

/* The path with its fields and query filled in (`page` of a list: how many, 0 leaves it to --limit), and the JSON body
 * (absent for GET and DELETE). */
const char *request_path(struct arena *arena, const struct request *request, const char *cursor, int64_t page);
struct str request_body(struct arena *arena, const struct request *request);
