/* The PostgreSQL driver: prepared statements, binary values both ways, always in pipeline mode. What can wait (BEGIN,
 * the tenant) travels with the next statement, and notifications with the COMMIT, so that they cost no round trip. A
 * query's whole answer is fetched at once: queries name their LIMIT. */
#include "db/driver.h"
#include "db/postgres_state.h"
#include "db/postgres_values.h"

#include "base/arena.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST_SERVER 130000
#define WAIT_MS (LIMIT_STATEMENT_MS + 5000)     /* a server that says nothing for so long is gone */
#define KEEP_BYTES (256 * 1024)                 /* of the array buffer */
#define NAME_BYTES 24

struct db_connection {
    PGconn *link;
    enum db_role role;
    bool broken;
    bool begin_waits;               /* BEGIN goes out with the next statement */
    bool tenant_waits;              /* so does the tenant */
    bool tenant_sent;               /* since the last answer */
    bool written;                   /* the transaction has begun on the server */
    char tenant[NAME_BYTES];
    int queued;                     /* commands since the last answer */
    unsigned statements;            /* prepared so far, for their names */
    struct buf arrays;
};

struct db_statement {
    struct db_connection *connection;
    char name[NAME_BYTES];
    size_t parameters;
    char *types;                    /* of a set's columns; NULL otherwise */
    bool checked;                   /* the result's columns can be read */
    PGresult *result;
    int row, rows;
};

/* --- Failures ----------------------------------------------------------------------------------------------------- */

static int first_line(const char *text)
{
    return (int)strcspn(text, "\n");
}

static enum db_failure link_lost(struct db_connection *connection, struct err *err)
{
    const char *text = PQerrorMessage(connection->link);

    connection->broken = true;
    connection->queued = 0;
    err_set(err, ERR_UNAVAILABLE, "the link to PostgreSQL was lost: %.*s", first_line(text), text);
    err->retry_after_s = 1;
    return DB_FAIL_RETRY;
}

static enum db_failure refused(const PGresult *result, struct err *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum db_failure failure = state ? pg_failure(state) : DB_FAIL_RETRY;

    text = text ? text : PQresultErrorMessage(result);
    switch (failure) {
    case DB_FAIL_DATA:
        err_set(err, !strncmp(state, "22", 2) || !strncmp(state, "54", 2) ? ERR_INVALID : ERR_CONFLICT,
                "the database refused: %.*s", first_line(text), text);
        break;
    case DB_FAIL_RETRY:
        err_set(err, ERR_UNAVAILABLE, "PostgreSQL could not do it now: %.*s", first_line(text), text);
        err->retry_after_s = 1;
        break;
    case DB_FAIL_FULL:
        err_set(err, ERR_STORAGE_FULL, "PostgreSQL's disk is full: %.*s", first_line(text), text);
        err_hint(err, "Free space on the disk that holds the database.");
        break;
    default:
        err_set(err, ERR_INTERNAL, "PostgreSQL says: %.*s (%s)", first_line(text), text, state);
    }
    return failure;
}

/* --- One round trip ----------------------------------------------------------------------------------------------- */

/* Queue one command with text parameters. A failed send shows when the answer is read. */
static void put(struct db_connection *connection, const char *sql, const char *const *values, int count)
{
    connection->queued++;
    if (!PQsendQueryParams(connection->link, sql, count, NULL, values, NULL, NULL, 1))
        connection->broken = true;
}

static void put_waiting(struct db_connection *connection)
{
    const char *tenant = connection->tenant;

    if (connection->begin_waits) {
        connection->begin_waits = false;
        connection->written = true;
        put(connection, "BEGIN", NULL, 0);
    }
    if (connection->tenant_waits) {
        connection->tenant_waits = false;
        connection->tenant_sent = true;
        put(connection, "SELECT set_config('hub.tenant', $1, false)", &tenant, 1);
    }
}

/* Wait until an answer can be taken without blocking. False: the link is lost, or silent for `timeout_ms`. */
static bool await(PGconn *link, int timeout_ms)
{
    for (;;) {
        int unsent = PQflush(link), ready;
        struct pollfd wait = { .fd = PQsocket(link), .events = POLLIN };

        if (unsent < 0 || wait.fd < 0)
            return false;
        if (!unsent && !PQisBusy(link))
            return true;
        if (unsent)
            wait.events |= POLLOUT;
        ready = poll(&wait, 1, timeout_ms);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        if ((wait.revents & (POLLIN | POLLERR | POLLHUP)) && !PQconsumeInput(link))
            return false;
    }
}

/* Look at one answer: the last good one is kept in `*last`, the first bad one decides. */
static enum db_failure judge(struct db_connection *connection, PGresult *result, PGresult **last,
                             enum db_failure failure, struct err *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        PQclear(*last);
        *last = result;
        return failure;
    case PGRES_PIPELINE_ABORTED:
        break;
    default:
        if (failure == DB_OK)
            failure = refused(result, err);
        if (state && !strcmp(state, PG_READ_ONLY) && connection->role != DB_ROLE_READER)
            connection->broken = true;          /* look for the primary */
    }
    PQclear(result);
    return failure;
}

/* Send what is queued and read all answers. The last one goes to `*last` (may be NULL) when all went well. */
static enum db_failure settle(struct db_connection *connection, int timeout_ms, PGresult **last, struct err *err)
{
    enum db_failure failure = DB_OK;
    PGresult *kept = NULL, *result;
    bool done = false;
    int pauses = 0;

    if (last)
        *last = NULL;
    if (connection->broken || !PQpipelineSync(connection->link))
        return link_lost(connection, err);
    do {
        result = NULL;
        if (!await(connection->link, timeout_ms))
            break;
        result = PQgetResult(connection->link);     /* NULL stands between two commands */
        if (!result && PQstatus(connection->link) == CONNECTION_BAD)
            break;
        done = result && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        if (result && !done)
            failure = judge(connection, result, &kept, failure, err);
    } while (!done && (result || ++pauses <= connection->queued + 1));
    if (!done) {
        PQclear(kept);
        if (failure != DB_OK)               /* it said goodbye: keep its words */
            connection->broken = true;
        return failure != DB_OK ? failure : link_lost(connection, err);
    }
    PQclear(result);
    connection->queued = 0;
    connection->tenant_waits = connection->tenant_waits || (failure != DB_OK && connection->tenant_sent);
    connection->tenant_sent = false;
    if (failure == DB_OK && last)
        *last = kept;
    else
        PQclear(kept);
    return failure;
}

/* --- Connections -------------------------------------------------------------------------------------------------- */

static void quiet(void *arg, const char *message)
{
    (void)arg, (void)message;
}

static int refuse_server(struct err *err, const char *what, const char *cure)
{
    err_set(err, ERR_INVALID, "%s", what);
    return err_hint(err, "%s", cure);
}

/* Ceilings for everything the session does, and what a durable hub needs of its server. */
static int set_up(struct db_connection *connection, struct err *err)
{
    bool reader = connection->role == DB_ROLE_READER;
    char timeout[16];
    const char *const values[] = { timeout, reader ? "on" : "off" };
    PGresult *answer = NULL;
    int result = -1;

    snprintf(timeout, sizeof timeout, "%d", LIMIT_STATEMENT_MS);
    if (PQserverVersion(connection->link) < OLDEST_SERVER)
        return refuse_server(err, "this PostgreSQL is older than 13", "Use PostgreSQL 13 or newer.");
    /* A generic plan made while the tables were small scans them when they are large. */
    put(connection, "SELECT set_config('plan_cache_mode', 'force_custom_plan', false)", NULL, 0);
    put(connection, "SELECT set_config('statement_timeout', $1, false),"
        " set_config('idle_in_transaction_session_timeout', $1, false), set_config('jit', 'off', false),"
        " set_config('default_transaction_read_only', $2, false)", values, 2);
    if (!reader)
        put(connection, "SELECT set_config('hub.tenant', '*', false)", NULL, 0);
    put(connection, "SELECT CASE WHEN current_setting('synchronous_commit') = 'off' THEN 1"
        " WHEN current_setting('server_encoding') <> 'UTF8' THEN 2 ELSE 0 END", NULL, 0);
    if (settle(connection, LIMIT_CONNECT_MS, &answer, err) != DB_OK)
        return -1;
    switch (pg_int(PQftype(answer, 0), PQgetvalue(answer, 0, 0), (size_t)PQgetlength(answer, 0, 0))) {
    case 0:
        result = 0;
        break;
    case 1:
        refuse_server(err, "this PostgreSQL confirms commits it has not synced (synchronous_commit = off)",
                      "Set synchronous_commit = on for the hub's role or database.");
        break;
    default:
        refuse_server(err, "this PostgreSQL database is not encoded in UTF-8",
                      "Create the hub's database with ENCODING 'UTF8'.");
    }
    PQclear(answer);
    return result;
}

static void pg_disconnect(struct db_connection *connection)
{
    PQfinish(connection->link);
    buf_fini(&connection->arrays);
    free(connection);
}

static struct db_connection *pg_connect(const char *url, enum db_role role, struct err *err)
{
    const char *const words[] = { "connect_timeout", "tcp_user_timeout", "keepalives_idle", "keepalives_interval",
                                  "keepalives_count", "fallback_application_name", "target_session_attrs", "dbname",
                                  "client_encoding", NULL };
    const char *const values[] = { "5", "10000", "30", "10", "3", "message-hub",
                                   role == DB_ROLE_READER ? "any" : "read-write", url, "UTF8", NULL };
    struct db_connection *connection = mem_alloc(sizeof *connection);
    const char *text;

    connection->role = role;
    connection->link = PQconnectdbParams(words, values, 1);
    buf_init(&connection->arrays, LIMIT_SET_BYTES);
    if (!connection->link)
        mem_exhausted(0);
    PQsetNoticeProcessor(connection->link, quiet, NULL);
    if (PQstatus(connection->link) == CONNECTION_OK && !PQsetnonblocking(connection->link, 1)
        && PQenterPipelineMode(connection->link)) {
        if (!set_up(connection, err))
            return connection;
    } else {
        text = PQerrorMessage(connection->link);
        err_set(err, ERR_UNAVAILABLE, "cannot connect to PostgreSQL: %.*s", first_line(text), text);
        err_hint(err, "Check that the server runs and that the database address is right.");
        err->retry_after_s = 1;
    }
    pg_disconnect(connection);
    return NULL;
}

static bool pg_usable(struct db_connection *connection)
{
    return !connection->broken && PQstatus(connection->link) == CONNECTION_OK;
}

/* --- Transactions ------------------------------------------------------------------------------------------------- */

static enum db_failure pg_begin(struct db_connection *connection, bool write, struct err *err)
{
    (void)err;
    connection->begin_waits = write;
    connection->written = false;
    return DB_OK;
}

static enum db_failure pg_commit(struct db_connection *connection, struct err *err)
{
    PGresult *answer = NULL;
    enum db_failure failure;

    connection->begin_waits = false;
    if (!connection->written)
        return DB_OK;
    put(connection, "COMMIT", NULL, 0);
    failure = settle(connection, WAIT_MS, &answer, err);
    if (failure == DB_OK && strcmp(PQcmdStatus(answer), "COMMIT")) {
        err_set(err, ERR_INTERNAL, "the failure of a statement was ignored, so nothing was committed");
        failure = DB_FAIL_BUG;
    }
    connection->written = failure != DB_OK;
    PQclear(answer);
    return failure;
}

static void pg_rollback(struct db_connection *connection)
{
    struct err err;

    connection->begin_waits = false;
    if (connection->written && pg_usable(connection)
        && PQtransactionStatus(connection->link) != PQTRANS_IDLE) {
        put(connection, "ROLLBACK", NULL, 0);
        if (settle(connection, WAIT_MS, NULL, &err) != DB_OK)
            connection->broken = true;
    }
    connection->written = false;
}

static enum db_failure pg_script(struct db_connection *connection, const char *sql, struct err *err)
{
    put_waiting(connection);
    put(connection, sql, NULL, 0);
    return settle(connection, LIMIT_MIGRATE_MS, NULL, err);
}

static void pg_tenant(struct db_connection *connection, int64_t tenant_id)
{
    if (tenant_id)
        snprintf(connection->tenant, sizeof connection->tenant, "%lld", (long long)tenant_id);
    else
        memcpy(connection->tenant, "*", 2);
    connection->tenant_waits = true;
}

/* --- Statements --------------------------------------------------------------------------------------------------- */

static enum db_failure pg_prepare(struct db_connection *connection, const struct db_text *text,
                                  struct db_statement **out, struct err *err)
{
    size_t count = strlen(text->types);
    unsigned types[LIMIT_SQL_VALUES];
    struct db_statement *statement;
    char *sql = text->set ? pg_set_text(text->sql, count) : NULL;
    enum db_failure failure;

    for (size_t i = 0; i < count; i++)
        types[i] = pg_type(text->types[i], text->set);
    statement = mem_alloc(sizeof *statement);
    snprintf(statement->name, sizeof statement->name, "s%u", ++connection->statements);
    put_waiting(connection);
    connection->queued++;
    if (!PQsendPrepare(connection->link, statement->name, sql ? sql : text->sql, (int)count, types))
        connection->broken = true;
    free(sql);
    failure = settle(connection, WAIT_MS, NULL, err);
    if (failure != DB_OK) {
        free(statement);
        return failure;
    }
    statement->connection = connection;
    statement->parameters = count;
    statement->types = text->set ? mem_strdup(text->types) : NULL;
    *out = statement;
    return DB_OK;
}

static void pg_reset(struct db_statement *statement)
{
    PQclear(statement->result);
    statement->result = NULL;
    statement->row = -1;
    statement->rows = 0;
}

static void pg_finish(struct db_statement *statement, bool stays)
{
    struct db_connection *connection = statement->connection;
    char sql[NAME_BYTES + 16];
    struct err err;

    pg_reset(statement);
    if (stays && pg_usable(connection) && PQtransactionStatus(connection->link) != PQTRANS_INERROR) {
        snprintf(sql, sizeof sql, "DEALLOCATE %s", statement->name);
        put_waiting(connection);
        put(connection, sql, NULL, 0);
        settle(connection, WAIT_MS, NULL, &err);
    }
    free(statement->types);
    free(statement);
}

/* Binary columns of a type nobody decodes would be read as rubbish: refuse the statement instead. */
static enum db_failure check_columns(struct db_statement *statement, struct err *err)
{
    for (int i = 0; i < PQnfields(statement->result); i++) {
        if (pg_readable(PQftype(statement->result, i)))
            continue;
        err_set(err, ERR_INTERNAL, "column %s of a query has a type the hub does not read: CAST it",
                PQfname(statement->result, i));
        return DB_FAIL_BUG;
    }
    statement->checked = true;
    return DB_OK;
}

static enum db_failure pg_run(struct db_statement *statement, const struct db_run *run, struct err *err)
{
    struct db_connection *connection = statement->connection;
    struct pg_values values;
    enum db_failure failure;

    pg_reset(statement);
    if (!statement->types) {
        pg_pack(&values, run->values, run->count);
    } else if (!pg_pack_set(&values, &connection->arrays, statement->types, run->values, run->row_count)) {
        err_set(err, ERR_TOO_LARGE, "a row set is larger than %d bytes", LIMIT_SET_BYTES);
        return DB_FAIL_DATA;
    }
    put_waiting(connection);
    connection->queued++;
    if (!PQsendQueryPrepared(connection->link, statement->name, (int)statement->parameters, values.values,
                             values.lengths, values.formats, 1))
        connection->broken = true;
    if (connection->arrays.cap > KEEP_BYTES)
        buf_fini(&connection->arrays);
    failure = settle(connection, WAIT_MS, &statement->result, err);
    if (failure != DB_OK)
        return failure;
    statement->rows = PQntuples(statement->result);
    return statement->checked || !run->fetch ? DB_OK : check_columns(statement, err);
}

static enum db_failure pg_step(struct db_statement *statement, bool *has_row, struct err *err)
{
    (void)err;
    *has_row = ++statement->row < statement->rows;
    return DB_OK;
}

static int64_t pg_changes(struct db_statement *statement)
{
    const char *tag = PQcmdStatus(statement->result);

    return strncmp(tag, "SELECT", 6) ? strtoll(PQcmdTuples(statement->result), NULL, 10) : 0;
}

/* --- Columns ------------------------------------------------------------------------------------------------------ */

static bool pg_col_null(struct db_statement *statement, int column)
{
    return PQgetisnull(statement->result, statement->row, column);
}

static int64_t pg_col_int(struct db_statement *statement, int column)
{
    if (pg_col_null(statement, column))
        return 0;
    return pg_int(PQftype(statement->result, column), PQgetvalue(statement->result, statement->row, column),
                  (size_t)PQgetlength(statement->result, statement->row, column));
}

static double pg_col_real(struct db_statement *statement, int column)
{
    if (pg_col_null(statement, column))
        return 0;
    return pg_real(PQftype(statement->result, column), PQgetvalue(statement->result, statement->row, column),
                   (size_t)PQgetlength(statement->result, statement->row, column));
}

static struct str pg_col_text(struct db_statement *statement, int column)
{
    if (pg_col_null(statement, column))
        return (struct str){ 0 };
    return pg_text(PQftype(statement->result, column), PQgetvalue(statement->result, statement->row, column),
                   (size_t)PQgetlength(statement->result, statement->row, column));
}

/* --- Notifications ------------------------------------------------------------------------------------------------ */

static void pg_send_notice(struct db_connection *connection, const char *channel, const char *payload)
{
    const char *const values[] = { channel, payload };

    put_waiting(connection);
    put(connection, "SELECT pg_notify($1, $2)", values, 2);
}

static int pg_listen(struct db_connection *connection, const char *const *channels, struct err *err)
{
    for (; *channels; channels++) {
        char *name = PQescapeIdentifier(connection->link, *channels, strlen(*channels));
        char sql[160];
        int len = snprintf(sql, sizeof sql, "LISTEN %s", name ? name : "");

        PQfreemem(name);
        if (!name || len >= (int)sizeof sql)
            return err_set(err, ERR_INTERNAL, "a notification channel has an impossible name");
        put(connection, sql, NULL, 0);
    }
    return settle(connection, WAIT_MS, NULL, err) == DB_OK ? 0 : -1;
}

static bool take_notice(struct db_connection *connection, struct db_notice *out)
{
    PGnotify *notice = PQnotifies(connection->link);

    if (!notice)
        return false;
    snprintf(out->channel, sizeof out->channel, "%s", notice->relname);
    snprintf(out->payload, sizeof out->payload, "%s", notice->extra);
    PQfreemem(notice);
    return true;
}

static int pg_wait(struct db_connection *connection, int timeout_ms, int wake_fd, struct db_notice *out)
{
    struct pollfd waits[] = { { .fd = PQsocket(connection->link), .events = POLLIN },
                              { .fd = wake_fd, .events = POLLIN } };

    if (take_notice(connection, out))
        return 1;
    if (waits[0].fd < 0)
        return -1;
    if (poll(waits, 2, timeout_ms) <= 0 || !waits[0].revents)
        return 0;
    if (!PQconsumeInput(connection->link))
        return -1;
    return take_notice(connection, out);
}

const struct db_driver db_postgres = {
    .name = "postgres",
    .typed = true,
    .connect = pg_connect,
    .disconnect = pg_disconnect,
    .usable = pg_usable,
    .begin = pg_begin,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .script = pg_script,
    .prepare = pg_prepare,
    .finish = pg_finish,
    .run = pg_run,
    .step = pg_step,
    .changes = pg_changes,
    .reset = pg_reset,
    .col_null = pg_col_null,
    .col_int = pg_col_int,
    .col_real = pg_col_real,
    .col_text = pg_col_text,
    .tenant = pg_tenant,
    .notify = pg_send_notice,
    .listen = pg_listen,
    .wait = pg_wait,
};
