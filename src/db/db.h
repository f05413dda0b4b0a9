/* db.h - storage for its users: sessions, statements, rows, transactions and group commit, the same on SQLite and
 * PostgreSQL. It does not know what a message is.
 *
 * One SQL text serves both databases (ARCHITECTURE.md, Storage): `$n` ascending at first use, CAST never `::`, integers
 * for booleans, integer milliseconds, JSON as TEXT, never now(). Two tokens are the drivers' business:
 *   :rows:                    the rows of db_exec_rows and db_query_rows (VALUES of one row; or unnest of arrays)
 *   FOR UPDATE [SKIP LOCKED]  removed on SQLite, which has one writer
 * Statements are prepared once per session and cached by their text. Columns are read as what they are: a number read
 * as text gives the absent slice. PostgreSQL fetches a whole answer at once, so a query names its LIMIT; aggregates are
 * CAST to BIGINT. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "db/open.h"
#include "db/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct db;              /* a database, opened once per process */
struct db_session;      /* a connection lent to one thread, inside one transaction or one read */
struct db_rows;         /* the answer of a query; belongs to its session */

/* --- Statements (inside a session) -------------------------------------------------------------------------------- */

/* Run a statement; returns the number of rows changed, or -1. */
int64_t db_exec(struct db_session *session, const char *sql, const struct db_value *args, size_t count,
                struct err *err);

/* Run a query. NULL on failure. Fetch with db_next (1 row, 0 end, -1 failed); columns are read by position and are
 * valid until the next db_next. db_rows_end releases it early; else it ends with the session. */
struct db_rows *db_query(struct db_session *session, const char *sql, const struct db_value *args, size_t count,
                         struct err *err);
int db_next(struct db_rows *rows, struct err *err);
void db_rows_end(struct db_rows *rows);
int64_t db_col_int(const struct db_rows *rows, int column);        /* NULL gives 0 */
double db_col_real(const struct db_rows *rows, int column);
struct str db_col_text(const struct db_rows *rows, int column);    /* NULL gives the absent slice; blobs too */
bool db_col_null(const struct db_rows *rows, int column);

/* One integer of the first row, `fallback` when there is no row or it is NULL. -1 on failure, 0 otherwise:
 *
 *     int db_query_int(session, sql, args, count, int64_t fallback, int64_t *value, struct err *err) */
#define db_query_int(session, ...) db_query_number((session), &(const struct db_number_query){ __VA_ARGS__ })

struct db_number_query {
    const char *sql;
    const struct db_value *args;
    size_t count;
    int64_t fallback;
    int64_t *value;
    struct err *err;
};

/* What db_query_int calls. */
int db_query_number(struct db_session *session, const struct db_number_query *query);

/* Run one statement for many rows: `sql` holds `:rows:`, e.g. "INSERT INTO t (a, b) :rows: ON CONFLICT DO NOTHING
 * RETURNING a" or "WITH v(a, b) AS (:rows:) UPDATE t SET b = v.b FROM v WHERE t.a = v.a". `types` has one db_type
 * letter per column ("itt"); `values` holds `row_count` rows of that many values. PostgreSQL runs it once over the
 * set, SQLite once per row; so no row of the set may depend on the effect of another, and the keys must be distinct.
 * The order of returned rows is not promised. RETURNING may name columns of the changed table only. No other
 * parameters. */
struct db_set {
    const char *sql;
    const char *types;
    const struct db_value *values;
    size_t row_count;
};
int64_t db_exec_rows(struct db_session *session, const struct db_set *set, struct err *err);
struct db_rows *db_query_rows(struct db_session *session, const struct db_set *set, struct err *err);

/* Memory that lives until the session's transaction or read ends. */
struct arena *db_arena(struct db_session *session);

/* Milliseconds on the database's clock (leases): SQLite's is base/clock. -1 with err on failure. */
int64_t db_now_ms(struct db_session *session, struct err *err);

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* Borrow a read session for this thread; waits for a free one up to `LIMIT_CONNECT_MS`. All statements until
 * db_read_end see one snapshot on SQLite, each its own on PostgreSQL. `tenant_id` feeds row-level security on
 * PostgreSQL; 0 means every tenant (workers and the operator only). NULL on failure. */
struct db_session *db_read(struct db *db, int64_t tenant_id, struct err *err);
void db_read_end(struct db_session *session);

/* --- Writing: ordinary transactions ------------------------------------------------------------------------------- */

/* Runs inside a write transaction: 0 commits, -1 (with err) rolls back. It may be run more than once (deadlock, lost
 * link), so it must have no effect but through `tx` and on what `arg` overwrites each time. */
typedef int db_tx(struct db_session *tx, void *arg, struct err *err);

/* Run `fn` in a durable transaction and wait for its commit. SQLite: on the writer's thread, inside the next group,
 * behind a savepoint. PostgreSQL: on a pooled connection, in this thread. 0 means committed and synced. Never call it
 * from within a db_tx or a db_kind. */
int db_write(struct db *db, db_tx *fn, void *arg, struct err *err);

/* The same for what practically never fails by itself: there is no savepoint, which costs SQLite a copy of every page
 * that is changed behind it; when it fails all the same, its group is run again with savepoints. */
int db_write_sure(struct db *db, db_tx *fn, void *arg, struct err *err);

/* --- Writing: groups that share one commit ------------------------------------------------------------------------ */

struct db_write_item;

/* A kind of grouped write. `run` stores all items of one group inside one transaction and fills each item's outcome
 * (fields of the structure that embeds the item). It must be repeatable. -1 with ERR_UNAVAILABLE: the group is
 * repeated whole; with ERR_STORAGE_FULL: all are refused; with anything else: the bad item is found by halving and
 * refused alone. Items of the kind with the smallest `order` run first. */
struct db_kind {
    const char *name;
    int order;
    int (*run)(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err);
    bool patient;               /* nobody waits for it: a moment for others to share its commit is well spent */
};

/* Embedded in a request by its owner, who keeps it alive until `done` was called: once, on the writer's thread, after
 * the commit (err.code ERR_NONE) or the refusal; or, for one of many, on the thread that tells owners. `done` must not
 * block, must not call db_write, and finds nothing of the transaction's arena any more. */
struct db_write_item {
    const struct db_kind *kind;
    void (*done)(struct db_write_item *item);
    struct err err;
    struct db_write_item *next;     /* the queue's */
    void *waiter;                   /* db_submit_wait's */
};

/* Queue an item for the next group. -1 with ERR_UNAVAILABLE when LIMIT_WRITE_QUEUE are waiting or the database closes;
 * then `done` is not called. */
int db_submit(struct db *db, struct db_write_item *item, struct err *err);

/* Submit and wait for it; `item->done` is used internally. Returns 0 or -1 as item->err says. */
int db_submit_wait(struct db *db, struct db_write_item *item, struct err *err);

/* --- What belongs to every commit --------------------------------------------------------------------------------- */

/* Remember `item` (in db_arena(tx)) for the stamp that runs last before COMMIT; forgotten if the savepoint around it
 * rolls back. */
void db_defer(struct db_session *tx, void *item);

/* Send `payload` to every node's listener when this transaction commits; one per channel per transaction (the last
 * payload wins). SQLite: nothing (the `committed` hook tells this process). */
void db_notify(struct db_session *tx, const char *channel, const char *payload);
