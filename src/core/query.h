/* query.h - a SELECT whose conditions depend on what was asked: its text and arguments grow
 * together, so that `$n` always ascend. */
#pragma once

#include "base/buf.h"
#include "db/db.h"

#define QUERY_ARGS_MAX 32

struct query {
    struct buf sql;
    struct db_value args[QUERY_ARGS_MAX];
    size_t count;
};

/* Begin with a text ("SELECT ... WHERE"); query_fini releases what it takes. */
void query_init(struct query *query, const char *sql);
void query_fini(struct query *query);

/* Append a piece of text; each `?` in it becomes the next `$n` and takes the one value given. */
void query_add(struct query *query, const char *sql);
void query_add_value(struct query *query, const char *sql, struct db_value value);

/* "%text%" for LIKE with ESCAPE '\': the wildcards of `text` are escaped. In the arena. */
struct str query_like(struct arena *arena, struct str text);

/* Run it. */
struct db_rows *query_run(struct db_session *session, struct query *query, struct err *err);
