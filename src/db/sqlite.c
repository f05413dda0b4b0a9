/* The SQLite driver. WAL with a sync at every commit; sqlite_log.c says when the log is copied back. */
#include "db/driver.h"
#include "db/sqlite_backup.h"
#include "db/sqlite_log.h"
#include "db/sqlite_text.h"

#include "base/arena.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLDEST_LIBRARY 3051003      /* the WAL-reset corruption is fixed from here on */
#define KEEP_BYTES (64 * 1024)      /* of a statement's row buffer */
#define LOOK_EVERY_STEPS 100000     /* of SQLite's machine: about a millisecond */

struct db_connection {
    sqlite3 *handle;
    sqlite3_stmt *begin_write, *begin_read, *commit, *rollback;
    struct sqlite_log log;
    int64_t read_until_us;          /* a read is interrupted then */
};

/* One value of a fetched row. */
struct cell {
    int type;                       /* SQLITE_INTEGER, ... */
    int64_t number;
    double real;
    size_t at, len;                 /* in `bytes` */
};

struct db_statement {
    struct db_connection *connection;
    sqlite3_stmt *handle;
    int columns;
    size_t parameters;
    bool set, reads;
    bool first;                     /* the first row of a writing query is there already */
    bool buffered;                  /* rows of a set come from `cells` */
    int64_t changed;
    struct cell *cells;
    size_t cell_count, cell_cap, row;
    char *bytes;
    size_t byte_count, byte_cap;
};

/* --- Failures ----------------------------------------------------------------------------------------------------- */

static enum db_failure classify(int code)
{
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        mem_exhausted(0);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
    case SQLITE_SCHEMA:
    case SQLITE_CANTOPEN:
    case SQLITE_ABORT:
        return DB_FAIL_RETRY;
    case SQLITE_FULL:
        return DB_FAIL_FULL;
    case SQLITE_IOERR:
        if (code == SQLITE_IOERR_NOMEM)
            mem_exhausted(0);
        return code == SQLITE_IOERR_SHMSIZE ? DB_FAIL_FULL : DB_FAIL_FATAL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return DB_FAIL_FATAL;
    case SQLITE_READONLY:
        return code == SQLITE_READONLY_DBMOVED ? DB_FAIL_FATAL : DB_FAIL_BUG;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return DB_FAIL_DATA;
    default:
        return DB_FAIL_BUG;
    }
}

enum db_failure sqlite_failed(sqlite3 *handle, struct err *err)
{
    int code = sqlite3_extended_errcode(handle);
    enum db_failure failure = classify(code);
    const char *text = sqlite3_errmsg(handle);

    switch (failure) {
    case DB_FAIL_DATA:
        err_set(err, (code & 0xff) == SQLITE_CONSTRAINT ? ERR_CONFLICT : ERR_INVALID, "the database refused: %s", text);
        break;
    case DB_FAIL_RETRY:
        err_set(err, ERR_UNAVAILABLE, "the database is busy: %s", text);
        err->retry_after_s = 1;
        break;
    case DB_FAIL_FULL:
        err_set(err, ERR_STORAGE_FULL, "the disk is full: %s", text);
        err_hint(err, "Free space on the disk that holds the database.");
        break;
    default:
        err_set(err, ERR_INTERNAL, "SQLite says: %s (%d)", text, code);
    }
    return failure;
}

/* --- Connections -------------------------------------------------------------------------------------------------- */

static int authorize(void *arg, int action, const char *a, const char *b, const char *c, const char *d)
{
    (void)arg, (void)a, (void)b, (void)c, (void)d;
    return action == SQLITE_ATTACH || action == SQLITE_DETACH ? SQLITE_DENY : SQLITE_OK;
}

/* Nobody but the owner reads messages; the log files inherit the mode. */
static int make_private(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat status;
    int result = 0;

    if (fd < 0) {
        err_set(err, ERR_INVALID, "cannot open the database file %s: %s", path, strerror(errno));
        return err_hint(err, "Create its folder, or make both writable for the user that runs the hub.");
    }
    if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
        result = err_set(err, ERR_INVALID, "the database %s is not a plain file", path);
        err_hint(err, "Give the path of a file.");
    } else if ((status.st_mode & 077) && fchmod(fd, 0600)) {
        result = err_set(err, ERR_INVALID, "cannot make %s private: %s", path, strerror(errno));
        err_hint(err, "Give the file to the user that runs the hub.");
    }
    close(fd);
    return result;
}

static int prepare_own(struct db_connection *connection, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v3(connection->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

static int use_wal(sqlite3 *handle)
{
    sqlite3_stmt *statement = NULL;
    bool wal = false;

    if (sqlite3_prepare_v2(handle, "PRAGMA journal_mode = WAL", -1, &statement, NULL) == SQLITE_OK
        && sqlite3_step(statement) == SQLITE_ROW)
        wal = !strcmp((const char *)sqlite3_column_text(statement, 0), "wal");
    sqlite3_finalize(statement);
    return wal ? 0 : -1;
}

/* A search through everything must not hold one of the few readers, and with it the log, for minutes. */
static int is_too_long(void *arg)
{
    return clock_mono_us() > ((struct db_connection *)arg)->read_until_us;
}

static int set_up(struct db_connection *connection, enum db_role role, struct err *err)
{
    sqlite3 *handle = connection->handle;
    const char *pragmas = role == DB_ROLE_WRITER
        ? "PRAGMA synchronous = FULL; PRAGMA mmap_size = 0; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;"
          "PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0"
        : "PRAGMA synchronous = FULL; PRAGMA mmap_size = 0; PRAGMA foreign_keys = ON; PRAGMA cache_size = -1024;"
          "PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0; PRAGMA query_only = ON";

    sqlite3_extended_result_codes(handle, 1);
    sqlite3_busy_timeout(handle, LIMIT_CONNECT_MS);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* without it a statement whose plan might gain from a parameter's value is prepared again at every run */
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_QPSG, 1, NULL);
    if (role == DB_ROLE_WRITER && use_wal(handle)) {
        if ((sqlite3_errcode(handle) & 0xff) == SQLITE_NOTADB)
            err_set(err, ERR_INVALID, "the file is not a SQLite database");
        else
            err_set(err, ERR_UNAVAILABLE, "cannot switch the database to WAL: %s", sqlite3_errmsg(handle));
        return err_hint(err, "Use a local disk (no network share) and a database made by the hub.");
    }
    if (sqlite3_exec(handle, pragmas, NULL, NULL, NULL) != SQLITE_OK
        || prepare_own(connection, "BEGIN IMMEDIATE", &connection->begin_write) != SQLITE_OK
        || prepare_own(connection, "BEGIN", &connection->begin_read) != SQLITE_OK
        || prepare_own(connection, "COMMIT", &connection->commit) != SQLITE_OK
        || prepare_own(connection, "ROLLBACK", &connection->rollback) != SQLITE_OK)
        return err_set(err, ERR_UNAVAILABLE, "cannot set up the database: %s", sqlite3_errmsg(handle));
    if (role == DB_ROLE_WRITER)
        sqlite_log_watch(&connection->log, handle);
    else
        sqlite3_progress_handler(handle, LOOK_EVERY_STEPS, is_too_long, connection);
    sqlite3_set_authorizer(handle, authorize, NULL);
    return 0;
}

static void sqlite_disconnect(struct db_connection *connection)
{
    sqlite3_finalize(connection->begin_write);
    sqlite3_finalize(connection->begin_read);
    sqlite3_finalize(connection->commit);
    sqlite3_finalize(connection->rollback);
    sqlite3_close_v2(connection->handle);
    free(connection);
}

static struct db_connection *sqlite_connect(const char *url, enum db_role role, struct err *err)
{
    const char *path = url + strlen("sqlite:");
    struct db_connection *connection;

    if (sqlite3_libversion_number() < OLDEST_LIBRARY) {
        err_set(err, ERR_INVALID, "the SQLite library %s can corrupt a database", sqlite3_libversion());
        err_hint(err, "Use SQLite 3.51.3 or newer; ./run builds the hub with one.");
        return NULL;
    }
    if (!*path || path[0] == ':') {
        err_set(err, ERR_INVALID, "the database address names no file");
        err_hint(err, "Write sqlite:/path/to/hub.db.");
        return NULL;
    }
    if (role == DB_ROLE_WRITER && make_private(path, err))
        return NULL;
    connection = mem_alloc(sizeof *connection);
    connection->read_until_us = INT64_MAX;
    if (sqlite3_open_v2(path, &connection->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        err_set(err, ERR_UNAVAILABLE, "cannot open the database: %s", sqlite3_errmsg(connection->handle));
    else if (!set_up(connection, role, err))
        return connection;
    sqlite_disconnect(connection);
    return NULL;
}

static bool sqlite_usable(struct db_connection *connection)
{
    return connection->handle != NULL;
}

/* --- Transactions ------------------------------------------------------------------------------------------------- */

static enum db_failure once(struct db_connection *connection, sqlite3_stmt *statement, struct err *err)
{
    enum db_failure failure = DB_OK;

    if (sqlite3_step(statement) != SQLITE_DONE)
        failure = sqlite_failed(connection->handle, err);
    sqlite3_reset(statement);
    return failure;
}

static enum db_failure sqlite_begin(struct db_connection *connection, bool write, struct err *err)
{
    connection->read_until_us = clock_mono_us() + LIMIT_STATEMENT_MS * INT64_C(1000);
    return once(connection, write ? connection->begin_write : connection->begin_read, err);
}

static enum db_failure sqlite_commit(struct db_connection *connection, struct err *err)
{
    if (sqlite3_get_autocommit(connection->handle)) {
        err_set(err, ERR_UNAVAILABLE, "the transaction was rolled back underway");
        return DB_FAIL_RETRY;
    }
    return once(connection, connection->commit, err);
}

static void sqlite_rollback(struct db_connection *connection)
{
    struct err err;

    if (!sqlite3_get_autocommit(connection->handle))
        once(connection, connection->rollback, &err);
}

static enum db_failure sqlite_script(struct db_connection *connection, const char *sql, struct err *err)
{
    if (sqlite3_exec(connection->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sqlite_failed(connection->handle, err);
    return DB_OK;
}

/* --- Statements --------------------------------------------------------------------------------------------------- */

static enum db_failure sqlite_prepare(struct db_connection *connection, const struct db_text *text,
                                      struct db_statement **out, struct err *err)
{
    char *sql = sqlite_text(text->sql, text->set ? strlen(text->types) : 0);
    const char *rest = NULL;
    struct db_statement *statement;
    sqlite3_stmt *handle = NULL;
    int code = sqlite3_prepare_v3(connection->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, &rest);
    bool more = code == SQLITE_OK && rest[strspn(rest, " \t\r\n;")];

    free(sql);
    if (code != SQLITE_OK)
        return sqlite_failed(connection->handle, err);
    if (!handle || more) {
        sqlite3_finalize(handle);
        err_set(err, ERR_INTERNAL, "a statement's text holds none or several statements");
        return DB_FAIL_BUG;
    }
    statement = mem_alloc(sizeof *statement);
    statement->connection = connection;
    statement->handle = handle;
    statement->columns = sqlite3_column_count(handle);
    statement->parameters = (size_t)sqlite3_bind_parameter_count(handle);
    statement->set = text->set;
    statement->reads = sqlite3_stmt_readonly(handle);
    *out = statement;
    return DB_OK;
}

static void sqlite_finish(struct db_statement *statement, bool stays)
{
    (void)stays;
    sqlite3_finalize(statement->handle);
    free(statement->cells);
    free(statement->bytes);
    free(statement);
}

static int bind(sqlite3_stmt *handle, const struct db_value *values, size_t count, sqlite3_destructor_type keep)
{
    for (size_t i = 0; i < count; i++) {
        const struct db_value *value = &values[i];
        int at = (int)i + 1, code;

        if (value->is_null)
            code = sqlite3_bind_null(handle, at);
        else if (value->type == DB_INT)
            code = sqlite3_bind_int64(handle, at, value->number);
        else if (value->type == DB_REAL)
            code = sqlite3_bind_double(handle, at, value->real);
        else if (value->type == DB_TEXT)
            code = sqlite3_bind_text64(handle, at, value->text.data ? value->text.data : "", value->text.len, keep,
                                       SQLITE_UTF8);
        else
            code = sqlite3_bind_blob64(handle, at, value->text.data ? value->text.data : "", value->text.len, keep);
        if (code != SQLITE_OK)
            return code;
    }
    return SQLITE_OK;
}

static size_t keep_bytes(struct db_statement *statement, const void *data, size_t len)
{
    size_t at = statement->byte_count;

    if (statement->byte_cap - at < len) {
        statement->byte_cap = (at + len) * 2;
        statement->bytes = mem_realloc(statement->bytes, statement->byte_cap);
    }
    if (len)
        memcpy(statement->bytes + at, data, len);
    statement->byte_count += len;
    return at;
}

static void keep_row(struct db_statement *statement)
{
    size_t columns = (size_t)statement->columns;

    if (statement->cell_cap - statement->cell_count < columns) {
        statement->cell_cap = (statement->cell_count + columns) * 2;
        statement->cells = mem_realloc(statement->cells, statement->cell_cap * sizeof *statement->cells);
    }
    for (int i = 0; i < statement->columns; i++) {
        struct cell *cell = &statement->cells[statement->cell_count++];

        *cell = (struct cell){ .type = sqlite3_column_type(statement->handle, i) };
        if (cell->type == SQLITE_INTEGER || cell->type == SQLITE_FLOAT) {
            cell->number = sqlite3_column_int64(statement->handle, i);
            cell->real = sqlite3_column_double(statement->handle, i);
        } else if (cell->type != SQLITE_NULL) {
            const void *data = cell->type == SQLITE_BLOB ? sqlite3_column_blob(statement->handle, i)
                                                         : sqlite3_column_text(statement->handle, i);

            cell->len = (size_t)sqlite3_column_bytes(statement->handle, i);
            cell->at = keep_bytes(statement, data, cell->len);
        }
    }
}

/* Run every row to its end, counting changes and keeping what comes back if it is wanted. */
static enum db_failure run_rows(struct db_statement *statement, const struct db_run *run, struct err *err)
{
    sqlite3 *handle = statement->connection->handle;
    const struct db_value *values = run->values;

    for (size_t row = 0; row < run->row_count; row++, values += run->count) {
        int code = bind(statement->handle, values, run->count, SQLITE_STATIC);

        if (code == SQLITE_OK)
            while ((code = sqlite3_step(statement->handle)) == SQLITE_ROW)
                if (run->fetch)
                    keep_row(statement);
        if (code == SQLITE_DONE && !statement->reads)
            statement->changed += sqlite3_changes64(handle);
        if (code != SQLITE_DONE) {
            enum db_failure failure = sqlite_failed(handle, err);

            sqlite3_reset(statement->handle);
            return failure;
        }
        sqlite3_reset(statement->handle);
    }
    return DB_OK;
}

static enum db_failure sqlite_run(struct db_statement *statement, const struct db_run *run, struct err *err)
{
    sqlite3 *handle = statement->connection->handle;
    int code;

    statement->changed = 0;
    statement->first = statement->buffered = false;
    if (run->count != statement->parameters) {
        err_set(err, ERR_INTERNAL, "a statement with %zu parameters got %zu values", statement->parameters, run->count);
        return DB_FAIL_BUG;
    }
    if (!run->fetch)
        return run_rows(statement, run, err);
    if (statement->set) {
        statement->buffered = true;
        statement->cell_count = statement->byte_count = statement->row = 0;
        return run_rows(statement, run, err);
    }
    /* A writing statement does all its work in the first step; a reading one needs its values to the end. */
    code = bind(statement->handle, run->values, run->count, statement->reads ? SQLITE_TRANSIENT : SQLITE_STATIC);
    if (code == SQLITE_OK && !statement->reads) {
        code = sqlite3_step(statement->handle);
        statement->first = code == SQLITE_ROW;
        if (code == SQLITE_DONE)
            sqlite3_reset(statement->handle);
        statement->buffered = code == SQLITE_DONE;
        statement->cell_count = statement->row = 0;
        code = code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
    }
    return code == SQLITE_OK ? DB_OK : sqlite_failed(handle, err);
}

static enum db_failure sqlite_step(struct db_statement *statement, bool *has_row, struct err *err)
{
    int code;

    if (statement->buffered) {
        *has_row = statement->row * (size_t)statement->columns < statement->cell_count;
        statement->row += *has_row;
        return DB_OK;
    }
    *has_row = statement->first;
    statement->first = false;
    if (*has_row)
        return DB_OK;
    code = sqlite3_step(statement->handle);
    *has_row = code == SQLITE_ROW;
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        return DB_OK;
    return sqlite_failed(statement->connection->handle, err);
}

static int64_t sqlite_changes(struct db_statement *statement)
{
    return statement->changed;
}

static void sqlite_reset(struct db_statement *statement)
{
    sqlite3_reset(statement->handle);
    if (statement->byte_cap > KEEP_BYTES) {
        free(statement->bytes);
        statement->bytes = NULL;
        statement->byte_cap = 0;
    }
    if (statement->cell_cap * sizeof(struct cell) > KEEP_BYTES) {
        free(statement->cells);
        statement->cells = NULL;
        statement->cell_cap = 0;
    }
    statement->cell_count = statement->byte_count = 0;
}

/* --- Columns ------------------------------------------------------------------------------------------------------ */

static const struct cell *cell_at(const struct db_statement *statement, int column)
{
    return &statement->cells[(statement->row - 1) * (size_t)statement->columns + (size_t)column];
}

static bool sqlite_col_null(struct db_statement *statement, int column)
{
    return (statement->buffered ? cell_at(statement, column)->type
                                : sqlite3_column_type(statement->handle, column)) == SQLITE_NULL;
}

static int64_t sqlite_col_int(struct db_statement *statement, int column)
{
    return statement->buffered ? cell_at(statement, column)->number : sqlite3_column_int64(statement->handle, column);
}

static double sqlite_col_real(struct db_statement *statement, int column)
{
    return statement->buffered ? cell_at(statement, column)->real : sqlite3_column_double(statement->handle, column);
}

static struct str sqlite_col_text(struct db_statement *statement, int column)
{
    const char *data;
    int type;

    if (statement->buffered) {
        const struct cell *cell = cell_at(statement, column);

        if (cell->type != SQLITE_TEXT && cell->type != SQLITE_BLOB)
            return (struct str){ 0 };
        return (struct str){ cell->len ? statement->bytes + cell->at : "", cell->len };
    }
    type = sqlite3_column_type(statement->handle, column);
    if (type != SQLITE_TEXT && type != SQLITE_BLOB)
        return (struct str){ 0 };
    data = type == SQLITE_BLOB ? sqlite3_column_blob(statement->handle, column)
                               : (const char *)sqlite3_column_text(statement->handle, column);
    return (struct str){ data ? data : "", (size_t)sqlite3_column_bytes(statement->handle, column) };
}

/* --- The write-ahead log ------------------------------------------------------------------------------------------ */

static bool sqlite_behind(struct db_connection *connection)
{
    return sqlite_log_behind(&connection->log);
}

static enum db_failure sqlite_copy(struct db_connection *connection, int *copied_pages, struct err *err)
{
    return sqlite_log_copy(connection->handle, copied_pages, err);
}

static enum db_failure sqlite_idle(struct db_connection *connection, int quiet_ms, int copied_pages, struct err *err)
{
    return sqlite_log_idle(&connection->log, quiet_ms, copied_pages, err);
}

const struct db_driver db_sqlite = {
    .name = "sqlite",
    .shared_writer = true,
    .connect = sqlite_connect,
    .disconnect = sqlite_disconnect,
    .usable = sqlite_usable,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .backup = sqlite_backup,
    .script = sqlite_script,
    .prepare = sqlite_prepare,
    .finish = sqlite_finish,
    .run = sqlite_run,
    .step = sqlite_step,
    .changes = sqlite_changes,
    .reset = sqlite_reset,
    .col_null = sqlite_col_null,
    .col_int = sqlite_col_int,
    .col_real = sqlite_col_real,
    .col_text = sqlite_col_text,
    .behind = sqlite_behind,
    .copy = sqlite_copy,
    .idle = sqlite_idle,
};
