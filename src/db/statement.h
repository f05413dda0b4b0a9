/* statement.h - the prepared statements of one session; included only inside db/. */
#pragma once

#include "db/driver.h"

#define STATEMENT_BUCKETS 256

struct statement {
    struct statement *next;             /* in its bucket */
    uint64_t hash;
    uint64_t used;                      /* the cache's count at its last use */
    char *sql;
    char *types;
    bool set;
    bool busy;                          /* an open query stands on it */
    struct db_statement *prepared;
};

struct statements {
    struct statement *by_address[STATEMENT_BUCKETS];    /* a guess, always checked against the text */
    struct statement *by_text[STATEMENT_BUCKETS];
    size_t count;
    uint64_t clock;
};

/* The idle statement for `text`, prepared now if need be. It belongs to the cache. */
enum db_failure statement_get(struct db_session *session, const struct db_text *text, struct statement **out,
                              struct err *err);

/* Finish and forget all of them. */
void statement_clear(struct db_session *session);
