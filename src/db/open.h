/* open.h - opening and closing a database, and what it tells the program while it runs. Part of db.h. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;
struct db_session;

struct db_hooks {
    /* Last inside every write transaction that deferred something: stamps the log (core/event). */
    int (*stamp)(struct db_session *tx, void **items, size_t count, struct err *err);
    /* After every commit, on the committing thread; must not block. */
    void (*committed)(void *arg);
    /* PostgreSQL: a notification arrived, on the listener's thread; also called with channel "" every LIMIT_POLL_MS
     * and after a reconnect, on both databases, as the safety net. Must not block. */
    void (*notified)(void *arg, const char *channel, const char *payload);
    /* A commit took longer than LIMIT_COMMIT_TRACE_MS; `phase` says which part ("begin", "statements", "commit",
     * "checkpoint"). May be NULL. */
    void (*slow)(void *arg, const char *phase, int64_t elapsed_us, size_t items);
    void *arg;
};

struct db_options {
    const char *url;                /* "sqlite:PATH" or "postgresql://..." (also postgres://) */
    int readers;                    /* read sessions, 0: 4 */
    int writers;                    /* PostgreSQL: connections for ordinary transactions, 0: 2 */
    bool manual;                    /* no threads: db_step runs the groups (tests, simulator); db_write runs inline */
    struct db_hooks hooks;
    const char *const *listen;      /* notification channels, ends with NULL; may be NULL */
};

/* Open the database and its connections (no migration). Refuses a SQLite library older than 3.51.3, a PostgreSQL with
 * synchronous_commit off or a server older than 13, naming the cure. NULL on failure. */
struct db *db_open(const struct db_options *options, struct err *err);

/* Finish what is queued, checkpoint, close. Sessions must have been returned. */
void db_close(struct db *db);

/* With `manual`: run one group; returns the number of items done, 0 when nothing waits, -1 on a failed group. */
int db_step(struct db *db);

/* PostgreSQL, or SQLite? */
bool db_is_postgres(const struct db *db);

/* Items waiting for a group, groups committed, items in them, and slow commits so far: for metrics. */
struct db_stats {
    int64_t waiting, groups, items, slow, retried;
};
void db_stats(struct db *db, struct db_stats *out);
