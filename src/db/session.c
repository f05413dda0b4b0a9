/* Sessions: values, statements, rows and the life of one transaction on one connection. */
#include "db/session.h"

#include "base/clock.h"
#include "base/id.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_STORAGE_FAILED 70
#define WRITER_ARENA_BYTES (64 * 1024)

/* --- Values ------------------------------------------------------------------------------------------------------- */

struct db_value db_int(int64_t number)
{
    return (struct db_value){ .type = DB_INT, .number = number };
}

struct db_value db_id(int64_t id)
{
    return (struct db_value){ .type = DB_INT, .is_null = id == 0, .number = id };
}

struct db_value db_real(double real)
{
    return (struct db_value){ .type = DB_REAL, .real = real };
}

struct db_value db_text(struct str text)
{
    return (struct db_value){ .type = DB_TEXT, .is_null = !text.data, .text = text };
}

struct db_value db_cstr(const char *text)
{
    return db_text(str_c(text));
}

struct db_value db_blob(struct str bytes)
{
    return (struct db_value){ .type = DB_BLOB, .is_null = !bytes.data, .text = bytes };
}

/* --- Connections -------------------------------------------------------------------------------------------------- */

struct db_session *session_new(struct db *db, enum db_role role)
{
    struct db_session *session = mem_alloc(sizeof *session);

    session->db = db;
    session->driver = db->driver;
    session->role = role;
    session->tenant_id = -1;
    session->arena = arena_new(role == DB_ROLE_WRITER ? WRITER_ARENA_BYTES : 0);
    return session;
}

void session_disconnect(struct db_session *session)
{
    statement_clear(session);
    if (session->connection)
        session->driver->disconnect(session->connection);
    session->connection = NULL;
    session->tenant_id = -1;
}

void session_free(struct db_session *session)
{
    if (!session)
        return;
    session_disconnect(session);
    arena_free(session->arena);
    free(session->deferred);
    free(session->notices);
    free(session);
}

int session_connect(struct db_session *session, struct err *err)
{
    if (session->connection && session->driver->usable(session->connection))
        return 0;
    session_disconnect(session);
    session->connection = session->driver->connect(session->db->url, session->role, err);
    return session->connection ? 0 : -1;
}

_Noreturn void session_fatal(const struct err *err)
{
    fprintf(stderr, "message-hub: storage failed: %s; the process ends, because what is not synced cannot be promised "
            "(check the disk, then start again)\n", err->detail);
    fflush(stderr);
    _exit(EXIT_STORAGE_FAILED);
}

/* Remember a failure for the verdict over the transaction. */
static void failed(struct db_session *session, enum db_failure failure, const struct err *err)
{
    if (failure == DB_FAIL_FATAL)
        session_fatal(err);
    if (failure > session->failure)
        session->failure = failure;
}

/* --- Statements --------------------------------------------------------------------------------------------------- */

static void end_rows(struct db_rows *rows)
{
    struct db_rows **link = &rows->session->open;

    if (!rows->statement)
        return;
    while (*link != rows)
        link = &(*link)->next;
    *link = rows->next;
    rows->session->driver->reset(rows->statement->prepared);
    rows->statement->busy = false;
    rows->statement = NULL;
}

static void end_all_rows(struct db_session *session)
{
    while (session->open)
        end_rows(session->open);
}

/* A read that found its link dead has changed nothing, so it may start over on a new one. */
static bool may_reopen(const struct db_session *session)
{
    return session->role == DB_ROLE_READER && !session->open && !session->driver->usable(session->connection);
}

static int reopen(struct db_session *session, struct err *err)
{
    int64_t tenant_id = session->tenant_id;

    if (session_connect(session, err))
        return -1;
    session->driver->tenant(session->connection, tenant_id);
    session->tenant_id = tenant_id;
    return session->driver->begin(session->connection, false, err) == DB_OK ? 0 : -1;
}

static struct statement *start(struct db_session *session, const struct db_text *text, const struct db_run *run,
                               struct err *err)
{
    for (int attempt = 0;; attempt++) {
        struct statement *statement;
        enum db_failure failure = statement_get(session, text, &statement, err);

        if (failure == DB_OK) {
            failure = session->driver->run(statement->prepared, run, err);
            if (failure == DB_OK)
                return statement;
            session->driver->reset(statement->prepared);
        }
        if (failure == DB_FAIL_RETRY && attempt == 0 && may_reopen(session) && !reopen(session, err))
            continue;
        failed(session, failure, err);
        return NULL;
    }
}

/* The parameters' types for drivers that need them. False: too many. */
static bool name_types(const struct db_session *session, const struct db_value *args, size_t count,
                       char types[LIMIT_SQL_VALUES + 1])
{
    types[0] = '\0';
    if (!session->driver->typed)
        return true;
    if (count > LIMIT_SQL_VALUES)
        return false;
    for (size_t i = 0; i < count; i++)
        types[i] = (char)args[i].type;
    types[count] = '\0';
    return true;
}

static struct statement *start_one(struct db_session *session, const char *sql, const struct db_run *run,
                                   struct err *err)
{
    char types[LIMIT_SQL_VALUES + 1];
    struct db_text text = { sql, types, false };

    if (!name_types(session, run->values, run->count, types)) {
        err_set(err, ERR_INTERNAL, "a statement has more than %d parameters", LIMIT_SQL_VALUES);
        failed(session, DB_FAIL_BUG, err);
        return NULL;
    }
    return start(session, &text, run, err);
}

static struct statement *start_set(struct db_session *session, const struct db_set *set, bool fetch, struct err *err)
{
    struct db_text text = { set->sql, set->types, true };
    struct db_run run = { set->values, strlen(set->types), set->row_count, fetch };

    if (!run.count || run.count > LIMIT_SQL_VALUES) {
        err_set(err, ERR_INTERNAL, "a row set has %zu columns", run.count);
        failed(session, DB_FAIL_BUG, err);
        return NULL;
    }
    return start(session, &text, &run, err);
}

static int64_t finish_exec(struct db_session *session, struct statement *statement)
{
    int64_t changes;

    if (!statement)
        return -1;
    changes = session->driver->changes(statement->prepared);
    session->driver->reset(statement->prepared);
    return changes;
}

static struct db_rows *finish_query(struct db_session *session, struct statement *statement)
{
    struct db_rows *rows;

    if (!statement)
        return NULL;
    rows = arena_alloc(session->arena, sizeof *rows);
    statement->busy = true;
    rows->session = session;
    rows->statement = statement;
    rows->next = session->open;
    session->open = rows;
    return rows;
}

int64_t db_exec(struct db_session *session, const char *sql, const struct db_value *args, size_t count,
                struct err *err)
{
    struct db_run run = { args, count, 1, false };
    struct err local;

    return finish_exec(session, start_one(session, sql, &run, err ? err : &local));
}

struct db_rows *db_query(struct db_session *session, const char *sql, const struct db_value *args, size_t count,
                         struct err *err)
{
    struct db_run run = { args, count, 1, true };
    struct err local;

    return finish_query(session, start_one(session, sql, &run, err ? err : &local));
}

int64_t db_exec_rows(struct db_session *session, const struct db_set *set, struct err *err)
{
    struct err local;

    if (!set->row_count)
        return 0;
    return finish_exec(session, start_set(session, set, false, err ? err : &local));
}

struct db_rows *db_query_rows(struct db_session *session, const struct db_set *set, struct err *err)
{
    struct err local;

    return finish_query(session, start_set(session, set, true, err ? err : &local));
}

int db_next(struct db_rows *rows, struct err *err)
{
    struct err local;
    bool has_row = false;
    enum db_failure failure;

    if (!rows->statement)
        return 0;
    if (!err)
        err = &local;
    failure = rows->session->driver->step(rows->statement->prepared, &has_row, err);
    if (failure == DB_OK && has_row)
        return 1;
    end_rows(rows);
    if (failure == DB_OK)
        return 0;
    failed(rows->session, failure, err);
    return -1;
}

void db_rows_end(struct db_rows *rows)
{
    if (rows)
        end_rows(rows);
}

int64_t db_col_int(const struct db_rows *rows, int column)
{
    return rows->statement ? rows->session->driver->col_int(rows->statement->prepared, column) : 0;
}

double db_col_real(const struct db_rows *rows, int column)
{
    return rows->statement ? rows->session->driver->col_real(rows->statement->prepared, column) : 0;
}

struct str db_col_text(const struct db_rows *rows, int column)
{
    return rows->statement ? rows->session->driver->col_text(rows->statement->prepared, column) : (struct str){ 0 };
}

bool db_col_null(const struct db_rows *rows, int column)
{
    return !rows->statement || rows->session->driver->col_null(rows->statement->prepared, column);
}

int db_query_number(struct db_session *session, const struct db_number_query *query)
{
    struct db_rows *rows = db_query(session, query->sql, query->args, query->count, query->err);
    int found;

    *query->value = query->fallback;
    if (!rows)
        return -1;
    found = db_next(rows, query->err);
    if (found > 0 && !db_col_null(rows, 0))
        *query->value = db_col_int(rows, 0);
    db_rows_end(rows);
    return found < 0 ? -1 : 0;
}

struct arena *db_arena(struct db_session *session)
{
    return session->arena;
}

int64_t db_now_ms(struct db_session *session, struct err *err)
{
    int64_t now_ms;

    if (!session->driver->typed)
        return clock_ms();
    if (db_query_int(session, "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)", DB_NO_ARGS, -1,
                     &now_ms, err))
        return -1;
    return now_ms;
}

/* --- Transactions ------------------------------------------------------------------------------------------------- */

void db_defer(struct db_session *tx, void *item)
{
    if (tx->deferred_count == tx->deferred_cap) {
        tx->deferred_cap = tx->deferred_cap ? tx->deferred_cap * 2 : 64;
        tx->deferred = mem_realloc(tx->deferred, tx->deferred_cap * sizeof *tx->deferred);
    }
    tx->deferred[tx->deferred_count++] = item;
}

void db_notify(struct db_session *tx, const char *channel, const char *payload)
{
    if (!tx->driver->notify)
        return;
    if (tx->notice_count == tx->notice_cap) {
        tx->notice_cap = tx->notice_cap ? tx->notice_cap * 2 : 16;
        tx->notices = mem_realloc(tx->notices, tx->notice_cap * sizeof *tx->notices);
    }
    tx->notices[tx->notice_count++] = (struct notice){ arena_strdup(tx->arena, channel),
                                                       arena_strdup(tx->arena, payload) };
}

/* One notification per channel: the last one said. */
static void send_notices(struct db_session *session)
{
    for (size_t i = 0; i < session->notice_count; i++) {
        bool last = true;

        for (size_t j = i + 1; j < session->notice_count && last; j++)
            last = strcmp(session->notices[i].channel, session->notices[j].channel) != 0;
        if (last)
            session->driver->notify(session->connection, session->notices[i].channel, session->notices[i].payload);
    }
}

void session_clean(struct db_session *session)
{
    end_all_rows(session);
    session->deferred_count = 0;
    session->notice_count = 0;
    session->failure = DB_OK;
    arena_reset(session->arena);
}

static int64_t lap(struct db_session *session)
{
    int64_t now_us = clock_mono_us(), spent_us = now_us - session->mark_us;

    session->mark_us = now_us;
    return spent_us;
}

enum db_failure session_begin(struct db_session *session, bool write, struct err *err)
{
    enum db_failure failure;

    session_clean(session);
    session->mark_us = clock_mono_us();
    if (session_connect(session, err))
        return DB_FAIL_RETRY;
    failure = session->driver->begin(session->connection, write, err);
    failed(session, failure, err);
    session->begin_us = lap(session);
    return failure;
}

enum db_failure session_verdict(const struct db_session *session, const struct err *err)
{
    if (session->failure >= DB_FAIL_RETRY)
        return session->failure;
    if (err->code == ERR_UNAVAILABLE)
        return DB_FAIL_RETRY;
    return err->code == ERR_STORAGE_FULL ? DB_FAIL_FULL : DB_FAIL_DATA;
}

enum db_failure session_commit(struct db_session *session, struct err *err)
{
    enum db_failure failure;

    end_all_rows(session);
    if (session->deferred_count && session->db->hooks.stamp
        && session->db->hooks.stamp(session, session->deferred, session->deferred_count, err))
        return session_verdict(session, err);
    end_all_rows(session);
    send_notices(session);
    session->statements_us = lap(session);
    failure = session->driver->commit(session->connection, err);
    failed(session, failure, err);
    session->commit_us = lap(session);
    return failure == DB_OK ? DB_OK : session->failure;
}

void session_rollback(struct db_session *session)
{
    end_all_rows(session);
    if (session->connection)
        session->driver->rollback(session->connection);
}

int session_script(struct db_session *session, const char *sql, struct err *err)
{
    enum db_failure failure = session->driver->script(session->connection, sql, err);

    failed(session, failure, err);
    return failure == DB_OK ? 0 : -1;
}

static enum db_failure plain(struct db_session *session, const char *sql, struct err *err)
{
    if (db_exec(session, sql, DB_NO_ARGS, err) >= 0)
        return DB_OK;
    return session->failure;
}

enum db_failure session_save(struct db_session *session, struct savepoint *savepoint, struct err *err)
{
    end_all_rows(session);
    savepoint->deferred_count = session->deferred_count;
    savepoint->notice_count = session->notice_count;
    return plain(session, "SAVEPOINT part", err);
}

enum db_failure session_release(struct db_session *session, struct err *err)
{
    end_all_rows(session);
    return plain(session, "RELEASE SAVEPOINT part", err);
}

enum db_failure session_undo(struct db_session *session, const struct savepoint *savepoint, struct err *err)
{
    enum db_failure failure;

    end_all_rows(session);
    session->deferred_count = savepoint->deferred_count;
    session->notice_count = savepoint->notice_count;
    session->failure = DB_OK;
    failure = plain(session, "ROLLBACK TO SAVEPOINT part", err);
    return failure == DB_OK ? plain(session, "RELEASE SAVEPOINT part", err) : failure;
}

void session_trace(struct db_session *session, size_t items)
{
    struct db *db = session->db;
    const char *phase = "statements";
    int64_t worst_us = session->statements_us;

    if (session->begin_us + session->statements_us + session->commit_us < LIMIT_COMMIT_TRACE_MS * INT64_C(1000))
        return;
    if (session->begin_us > worst_us) {
        phase = "begin";
        worst_us = session->begin_us;
    }
    if (session->commit_us > worst_us) {
        phase = "commit";
        worst_us = session->commit_us;
    }
    atomic_fetch_add_explicit(&db->slow, 1, memory_order_relaxed);
    if (db->hooks.slow)
        db->hooks.slow(db->hooks.arg, phase, worst_us, items);
}

bool repeat_again(struct db *db, struct repeat *repeat)
{
    int most = atomic_load(&db->closing) ? 3 : LIMIT_REPEATS;
    int pause_ms = 4 << (repeat->attempts < 8 ? repeat->attempts : 8);
    struct timespec pause;

    if (!repeat->attempts)
        repeat->started_us = clock_mono_us();
    if (++repeat->attempts >= most || clock_mono_us() - repeat->started_us > LIMIT_REPEAT_MS * INT64_C(1000))
        return false;
    atomic_fetch_add_explicit(&db->retried, 1, memory_order_relaxed);
    pause_ms = pause_ms / 2 + (int)id_random_below((uint32_t)pause_ms);
    pause = (struct timespec){ pause_ms / 1000, pause_ms % 1000 * 1000000L };
    while (nanosleep(&pause, &pause) && errno == EINTR)
        continue;
    return true;
}
