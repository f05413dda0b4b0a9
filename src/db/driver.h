/* driver.h - what a database driver implements; included only inside db/. Two drivers exist: sqlite.c, postgres.c.
 *
 * A driver runs statements on one connection, from one thread at a time. Pools, the statement cache, groups, savepoints
 * for ordinary writes and repetition are the business of session.c, group.c and db.c. Every function that fails fills
 * `err` (never NULL here). */
#pragma once

#include "db/db.h"

struct db_connection;       /* a driver's own */
struct db_statement;        /* a prepared statement of one connection */

enum db_role { DB_ROLE_WRITER, DB_ROLE_READER, DB_ROLE_LISTENER };

/* Why a statement failed, for the decision what to do next; the later, the worse. */
enum db_failure {
    DB_OK,
    DB_FAIL_DATA,           /* constraint, bad value: this row is at fault */
    DB_FAIL_BUG,            /* wrong SQL, wrong use */
    DB_FAIL_RETRY,          /* deadlock, serialisation, busy, lost link: repeat the transaction (reconnect if needed) */
    DB_FAIL_FULL,           /* disk full */
    DB_FAIL_FATAL           /* failed sync, corruption: the process must end */
};

/* A statement to prepare. `types` has one db_type letter per parameter, or per column when `set`; without `set` a
 * driver that is not `typed` gets "". */
struct db_text {
    const char *sql;
    const char *types;
    bool set;               /* holds :rows: */
};

/* One execution: `row_count` rows (1 without `set`) of `count` values. They need to live until `run` returns, no
 * longer. */
struct db_run {
    const struct db_value *values;
    size_t count;
    size_t row_count;
    bool fetch;             /* the rows are wanted; else they are dropped */
};

/* One notification; an empty channel says "look for yourself". */
struct db_notice {
    char channel[64];
    char payload[256];
};

struct db_driver {
    const char *name;       /* "sqlite", "postgres" */
    bool typed;             /* prepare needs the types of all parameters */
    bool shared_writer;     /* ordinary writes run inside the writer's groups */

    struct db_connection *(*connect)(const char *url, enum db_role role, struct err *err);
    void (*disconnect)(struct db_connection *connection);
    bool (*usable)(struct db_connection *connection);                   /* false: must be replaced */

    enum db_failure (*begin)(struct db_connection *connection, bool write, struct err *err);
    enum db_failure (*commit)(struct db_connection *connection, struct err *err);
    void (*rollback)(struct db_connection *connection);
    /* Keep a verified copy of the database as it is at this schema version. NULL: that is its administrator's. */
    int (*backup)(const char *url, int version, struct err *err);
    /* One statement without parameters or rows, outside the cache; may take LIMIT_MIGRATE_MS. */
    enum db_failure (*script)(struct db_connection *connection, const char *sql, struct err *err);

    enum db_failure (*prepare)(struct db_connection *connection, const struct db_text *text, struct db_statement **out,
                               struct err *err);
    /* Free it; `stays` says that its connection goes on living. */
    void (*finish)(struct db_statement *statement, bool stays);
    enum db_failure (*run)(struct db_statement *statement, const struct db_run *run, struct err *err);
    enum db_failure (*step)(struct db_statement *statement, bool *has_row, struct err *err);
    int64_t (*changes)(struct db_statement *statement);
    void (*reset)(struct db_statement *statement);

    bool (*col_null)(struct db_statement *statement, int column);
    int64_t (*col_int)(struct db_statement *statement, int column);
    double (*col_real)(struct db_statement *statement, int column);
    struct str (*col_text)(struct db_statement *statement, int column);

    /* Set the tenant of row-level security for the following statements (0: "*", all of them). NULL: there is none. */
    void (*tenant)(struct db_connection *connection, int64_t tenant_id);
    /* Send a notification with the running transaction's commit. NULL: there are none. */
    void (*notify)(struct db_connection *connection, const char *channel, const char *payload);
    int (*listen)(struct db_connection *connection, const char *const *channels, struct err *err);
    /* Wait up to `timeout_ms` for a notification, or until `wake_fd` becomes readable: 1 got one, 0 none, -1 link
     * lost. */
    int (*wait)(struct db_connection *connection, int timeout_ms, int wake_fd, struct db_notice *out);
    /* Is there so much log that it should be copied back in the background? Asked of the writer between two groups.
     * NULL: no log. `copy` does it, on another connection or thread, or on the writer's when there is none; it says
     * how many pages of the log are copied now. */
    bool (*behind)(struct db_connection *connection);
    enum db_failure (*copy)(struct db_connection *connection, int *copied_pages, struct err *err);
    /* Housekeeping of the writer's connection after `quiet_ms` without work (0: between two groups), `copied_pages`
     * being what `copy` said last. NULL: none. */
    enum db_failure (*idle)(struct db_connection *connection, int quiet_ms, int copied_pages, struct err *err);
};

extern const struct db_driver db_sqlite;
extern const struct db_driver db_postgres;
