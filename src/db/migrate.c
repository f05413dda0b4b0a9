#include "db/migrate.h"

#include "base/clock.h"
#include "base/sign.h"
#include "db/session.h"
#include "db/sqlite_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One number for all nodes that share a database: "hub" and "mig" in ASCII. */
#define LOCK "115957049452903"

/* --- What is recorded --------------------------------------------------------------------------------------------- */

static int64_t number_of(const char *name)
{
    return strtoll(name, NULL, 10);
}

static const char *checksum_of(struct arena *arena, const struct embedded *file)
{
    unsigned char hash[SIGN_HASH_BYTES];

    sign_sha256((struct str){ (const char *)file->data, file->size }, hash);
    return sign_hex(arena, hash, sizeof hash);
}

static int has_table(struct db_session *session, int64_t *found, struct err *err)
{
    const char *sql = session->driver == &db_postgres
        ? "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_catalog.pg_class WHERE oid = to_regclass('schema_migrations')"
        : "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'";

    return db_query_int(session, sql, DB_NO_ARGS, 0, found, err);
}

static const struct embedded *find_file(const struct embedded *files, struct str name)
{
    for (; files->name; files++)
        if (str_is(name, files->name))
            return files;
    return NULL;
}

static int64_t newest(const struct embedded *files)
{
    int64_t number = 0;

    for (; files->name; files++)
        if (number_of(files->name) > number)
            number = number_of(files->name);
    return number;
}

static int check_row(struct db_session *session, const struct embedded *files, struct db_rows *rows, struct err *err)
{
    struct str name = db_col_text(rows, 0);
    const struct embedded *file = find_file(files, name);

    if (!file) {
        if (db_col_int(rows, 1) > newest(files)) {
            err_set(err, ERR_CONFLICT, "the database's schema is newer (%.*s) than this program", STR_FMT(name));
            return err_hint(err, "Start the newer program again, or restore the backup made before it ran.");
        }
        err_set(err, ERR_CONFLICT, "the database has a migration this program does not know: %.*s", STR_FMT(name));
        return err_hint(err, "Start the program that made this database.");
    }
    if (!str_is(db_col_text(rows, 2), checksum_of(db_arena(session), file))) {
        err_set(err, ERR_CONFLICT, "migration %s was applied with another content", file->name);
        return err_hint(err, "Start the program that made this database; migrations are never edited, only added.");
    }
    return 0;
}

/* Refuse a schema that is not a beginning of ours. */
static int check(struct db_session *session, const struct embedded *files, struct err *err)
{
    struct db_rows *rows;
    int64_t exists;
    int next;

    if (has_table(session, &exists, err))
        return -1;
    if (!exists)
        return 0;
    rows = db_query(session, "SELECT name, number, checksum FROM schema_migrations ORDER BY number DESC LIMIT 10000",
                    DB_NO_ARGS, err);
    if (!rows)
        return -1;
    while ((next = db_next(rows, err)) > 0)
        if (check_row(session, files, rows, err))
            return -1;
    return next;
}

/* --- One file ----------------------------------------------------------------------------------------------------- */

/* The end of the quoted text, comment or dollar body that starts at `at`; NULL when none does. */
static const char *skip_opaque(const char *at)
{
    const char *end;

    if (at[0] == '-' && at[1] == '-')
        return at + strcspn(at, "\n");
    if (at[0] == '$' && at[1] == '$')
        end = strstr(at + 2, "$$");
    else if (*at == '\'' || *at == '"')
        end = strchr(at + 1, *at);
    else
        return NULL;
    return end ? end + (*at == '$' ? 2 : 1) : at + strlen(at);
}

/* The text up to and with the ";" that ends a line, or all of it. */
static size_t statement_length(const char *text)
{
    const char *at = text;

    while (*at) {
        const char *end = skip_opaque(at);

        if (end) {
            at = end;
            continue;
        }
        if (*at++ == ';') {
            char after = at[strspn(at, " \t\r")];

            if (after == '\n' || !after)
                break;
        }
    }
    return (size_t)(at - text);
}

/* Walk the comment lines in front of a statement. False: there is nothing else, or it is for the other database. */
static bool is_ours(const char *sql, bool postgres)
{
    static const char only[] = "-- only: ";
    const char *mine = postgres ? "postgres" : "sqlite";

    for (;;) {
        sql += strspn(sql, " \t\r\n");
        if (!strncmp(sql, only, sizeof only - 1)
            && strncmp(sql + sizeof only - 1, mine, strlen(mine)))
            return false;
        if (sql[0] != '-' || sql[1] != '-')
            return *sql != '\0' && *sql != ';';
        sql += strcspn(sql, "\n");
    }
}

static int run_statement(struct db_session *tx, const char *sql, struct err *err)
{
    bool postgres = tx->driver == &db_postgres;
    char *converted;
    int result;

    if (!is_ours(sql, postgres))
        return 0;
    if (postgres)
        return session_script(tx, sql, err);
    converted = sqlite_schema(sql);
    result = session_script(tx, converted, err);
    free(converted);
    return result;
}

static int run_file(struct db_session *tx, const struct embedded *file, struct err *err)
{
    const char *text = (const char *)file->data;
    int number = 0;

    while (*text) {
        size_t len = statement_length(text);

        number++;
        if (run_statement(tx, arena_copy(db_arena(tx), text, len), err)) {
            char detail[sizeof err->detail];

            snprintf(detail, sizeof detail, "%s", err->detail);
            snprintf(err->detail, sizeof err->detail, "migration %s, statement %d: %.300s", file->name, number, detail);
            return -1;
        }
        text += len;
    }
    return 0;
}

/* Other nodes wait for each other, but no long lock stands in the way of running ones. */
static int take_lock(struct db_session *tx, struct err *err)
{
    char sql[160];

    if (tx->driver != &db_postgres)
        return 0;
    snprintf(sql, sizeof sql, "SELECT set_config('statement_timeout', '%d', true)", LIMIT_MIGRATE_MS);
    if (session_script(tx, sql, err) || session_script(tx, "SELECT pg_advisory_xact_lock(" LOCK ")", err))
        return -1;
    return session_script(tx, "SELECT set_config('lock_timeout', '2s', true)", err);
}

struct apply {
    const struct embedded *file;
    bool done;          /* by us */
};

static int apply(struct db_session *tx, void *arg, struct err *err)
{
    struct apply *apply = arg;
    const struct embedded *file = apply->file;
    int64_t exists, recorded = 0;

    apply->done = false;
    if (take_lock(tx, err) || has_table(tx, &exists, err))
        return -1;
    if (!exists && db_exec(tx, "CREATE TABLE schema_migrations (name TEXT PRIMARY KEY, number BIGINT NOT NULL,"
                           " checksum TEXT NOT NULL, applied_ms BIGINT NOT NULL)", DB_NO_ARGS, err) < 0)
        return -1;
    if (db_query_int(tx, "SELECT CAST(COUNT(*) AS BIGINT) FROM schema_migrations WHERE name = $1",
                     DB_ARGS(db_cstr(file->name)), 0, &recorded, err))
        return -1;
    if (recorded)
        return 0;
    if (run_file(tx, file, err))
        return -1;
    if (db_exec(tx, "INSERT INTO schema_migrations (name, number, checksum, applied_ms) VALUES ($1, $2, $3, $4)",
                DB_ARGS(db_cstr(file->name), db_int(number_of(file->name)),
                        db_cstr(checksum_of(db_arena(tx), file)), db_int(clock_ms())), err) < 0)
        return -1;
    apply->done = true;
    return 0;
}

static int is_recorded(struct db *db, const struct embedded *file, bool *recorded, struct err *err)
{
    struct db_session *session = db_read(db, 0, err);
    int64_t found = 0;
    int result;

    if (!session)
        return -1;
    result = has_table(session, &found, err);
    if (!result && found)
        result = db_query_int(session, "SELECT CAST(COUNT(*) AS BIGINT) FROM schema_migrations WHERE name = $1",
                              DB_ARGS(db_cstr(file->name)), 0, &found, err);
    db_read_end(session);
    *recorded = found > 0;
    return result;
}

/* What stands in the database is kept before it is changed, once for all files that are to come. */
static int keep_old(struct db *db, bool *kept, struct err *err)
{
    struct db_session *session;
    int64_t objects = 0;
    int version, result;

    if (*kept || !db->driver->backup)
        return 0;
    *kept = true;
    session = db_read(db, 0, err);
    if (!session)
        return -1;
    result = db_query_int(session, "SELECT COUNT(*) FROM sqlite_master", DB_NO_ARGS, 0, &objects, err);
    db_read_end(session);
    if (result || !objects)
        return result;
    version = migrate_version(db, err);
    return version < 0 ? -1 : db->driver->backup(db->url, version, err);
}

int migrate(struct db *db, const struct embedded *files, int *applied, struct err *err)
{
    struct db_session *session = db_read(db, 0, err);
    bool kept = false;
    int result;

    if (applied)
        *applied = 0;
    if (!session)
        return -1;
    result = check(session, files, err);
    db_read_end(session);
    for (; !result && files->name; files++) {
        struct apply one = { .file = files };
        bool recorded = false;

        result = is_recorded(db, files, &recorded, err);
        if (!result && !recorded)
            result = keep_old(db, &kept, err);
        if (!result && !recorded)
            result = db_write(db, apply, &one, err);
        if (!result && one.done && applied)
            ++*applied;
    }
    return result;
}

int migrate_version(struct db *db, struct err *err)
{
    struct db_session *session = db_read(db, 0, err);
    int64_t exists, number = 0;
    int result;

    if (!session)
        return -1;
    result = has_table(session, &exists, err);
    if (!result && exists)
        result = db_query_int(session, "SELECT MAX(number) FROM schema_migrations", DB_NO_ARGS, 0, &number, err);
    db_read_end(session);
    return result ? -1 : (int)number;
}
