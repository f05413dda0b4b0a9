/* What is SQLite's alone: its text, its file, its settings, its log, a full disk and a failing one. */
#include "fixture.h"

#include "base/clock.h"
#include "db/sqlite_text.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static struct db *db;

static int set_up(void **state)
{
    (void)state;
    db = open_fresh();
    must(db, "CREATE TABLE s (id INTEGER PRIMARY KEY, data BLOB)");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    remove_fixture();
    return 0;
}

static off_t size_of(const char *suffix, mode_t *mode)
{
    char path[128];
    struct stat status;

    snprintf(path, sizeof path, "%s/hub.db%s", fixture.folder, suffix);
    if (stat(path, &status))
        return -1;
    if (mode)
        *mode = status.st_mode & 0777;
    return status.st_size;
}

static void converts(const char *sql, size_t columns, const char *expected)
{
    char *text = sqlite_text(sql, columns);

    assert_string_equal(text, expected);
    free(text);
}

static void test_text(void **state)
{
    (void)state;
    converts("SELECT $1, $2, $12", 0, "SELECT ?1, ?2, ?12");
    converts("SELECT '$1', \"$2\", 'it''s $3' -- $4\n, $5", 0, "SELECT '$1', \"$2\", 'it''s $3' -- $4\n, ?5");
    converts("INSERT INTO t (a, b) :rows: RETURNING a", 2, "INSERT INTO t (a, b) VALUES (?1, ?2) RETURNING a");
    converts("SELECT ':rows:', 1", 1, "SELECT ':rows:', 1");
    converts("SELECT id FROM t ORDER BY id FOR UPDATE", 0, "SELECT id FROM t ORDER BY id ");
    converts("SELECT id FROM t FOR UPDATE SKIP LOCKED) x", 0, "SELECT id FROM t ) x");
    converts("SELECT id FROM t FOR\n  UPDATE\n SKIP LOCKED", 0, "SELECT id FROM t ");
    converts("SELECT 'FOR UPDATE', BEFOR UPDATE", 0, "SELECT 'FOR UPDATE', BEFOR UPDATE");
    converts("SELECT 'open", 0, "SELECT 'open");
    converts("", 0, "");
}

static void test_schema_text(void **state)
{
    char *text = sqlite_schema("CREATE TABLE t (a BIGINT, bytea BYTEA, BIGINTS TEXT DEFAULT 'BIGINT'); -- BYTEA\n");

    (void)state;
    assert_string_equal(text, "CREATE TABLE t (a INTEGER, bytea BLOB, BIGINTS TEXT DEFAULT 'BIGINT'); -- BYTEA\n");
    free(text);
}

static void test_settings(void **state)
{
    (void)state;
    assert_int_equal(number(db, "SELECT synchronous FROM pragma_synchronous"), 2);
    assert_int_equal(number(db, "SELECT foreign_keys FROM pragma_foreign_keys"), 1);
    assert_int_equal(number(db, "SELECT trusted_schema FROM pragma_trusted_schema"), 0);
    assert_int_equal(number(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(number(db, "SELECT query_only FROM pragma_query_only"), 1);
}

/* The writer's own settings, not a reader's. */
static int writer_settings(struct db_session *tx, void *arg, struct err *err)
{
    int64_t *out = arg;

    return db_query_int(tx, "SELECT synchronous FROM pragma_synchronous", DB_NO_ARGS, -1, &out[0], err)
        || db_query_int(tx, "SELECT foreign_keys FROM pragma_foreign_keys", DB_NO_ARGS, -1, &out[1], err);
}

static int attach(struct db_session *tx, void *arg, struct err *err)
{
    (void)arg;
    return db_exec(tx, "ATTACH DATABASE $1 AS other", DB_ARGS(db_cstr("/tmp/hub-other.db")), err) < 0 ? -1 : 0;
}

static int write_schema(struct db_session *tx, void *arg, struct err *err)
{
    (void)arg;
    return db_exec(tx, "UPDATE sqlite_master SET sql = ''", DB_NO_ARGS, err) < 0 ? -1 : 0;
}

static void test_forbidden(void **state)
{
    struct err err = { 0 };
    int64_t out[2];

    (void)state;
    assert_int_equal(db_write(db, writer_settings, out, &err), 0);
    assert_int_equal(out[0], 2);
    assert_int_equal(out[1], 1);
    assert_int_equal(db_write(db, attach, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(db_write(db, write_schema, NULL, &err), -1);
}

static void test_private_file(void **state)
{
    char path[128];
    mode_t mode;

    (void)state;
    assert_true(size_of("", &mode) >= 0);
    assert_int_equal(mode, 0600);
    assert_true(size_of("-wal", &mode) >= 0);
    assert_int_equal(mode, 0600);
    assert_true(size_of("-shm", &mode) >= 0);
    assert_int_equal(mode, 0600);
    db_close(db);
    snprintf(path, sizeof path, "%s/hub.db", fixture.folder);
    assert_int_equal(chmod(path, 0644), 0);
    db = open_again();
    size_of("", &mode);
    assert_int_equal(mode, 0600);
}

static void refuses(const char *url, const char *word)
{
    struct db_options options = { .url = url };
    struct err err = { 0 };

    assert_null(db_open(&options, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_true(err.hint[0]);
    if (!strstr(err.detail, word))
        fail_msg("\"%s\" does not say %s", err.detail, word);
}

static void test_refused_files(void **state)
{
    char url[160];
    int fd;

    (void)state;
    refuses("sqlite:", "names no file");
    refuses("sqlite::memory:", "names no file");
    refuses("sqlite:/nowhere/at/all/hub.db", "cannot open");
    refuses("sqlite:/tmp", "cannot open");
    refuses("mysql://x", "neither");
    snprintf(url, sizeof url, "sqlite:%s/extra.db", fixture.folder);
    fd = open(url + 7, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(write(fd, "this is not a database\n", 23), 23);
    close(fd);
    refuses(url, "not a SQLite database");
}

/* --- The log ------------------------------------------------------------------------------------------------------ */

#define BLOB_BYTES (256 * 1024)

static int write_blob(struct db_session *tx, void *arg, struct err *err)
{
    static char blob[BLOB_BYTES];       /* never twice the same: SQLite would not write it */
    static int count;

    memset(blob, ++count, sizeof blob);
    return db_exec(tx, "INSERT INTO s (id, data) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET data = excluded.data",
                   DB_ARGS(db_int(*(int64_t *)arg), db_blob((struct str){ blob, sizeof blob })), err) < 0 ? -1 : 0;
}

static void write_megabytes(int megabytes)
{
    struct err err = { 0 };

    for (int i = 0; i < megabytes * 4; i++) {
        int64_t id = i % 16 + 1;

        if (db_write(db, write_blob, &id, &err))
            fail_msg("%s", err.detail);
    }
}

static void test_log_stays_bounded(void **state)
{
    (void)state;
    /* the background copy may stand in the way of starting over for as long as the disk takes for it */
    write_megabytes(300);
    assert_true(size_of("-wal", NULL) <= 2 * (off_t)LIMIT_WAL_BYTES);
}

/* A reader that does not end keeps its snapshot and stops nobody; afterwards the log starts over. */
static void test_long_reader(void **state)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, 0, &err);
    int64_t before, after;
    struct timespec start, end;

    (void)state;
    assert_non_null(session);
    assert_int_equal(db_query_int(session, "SELECT COUNT(*) FROM s", DB_NO_ARGS, -1, &before, &err), 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    write_megabytes(80);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 60);
    assert_int_equal(db_query_int(session, "SELECT COUNT(*) FROM s", DB_NO_ARGS, -1, &after, &err), 0);
    assert_int_equal(before, after);
    db_read_end(session);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM s"), 16);
    write_megabytes(100);
    assert_true(size_of("-wal", NULL) <= 2 * (off_t)LIMIT_WAL_BYTES);
}

/* A quiet hub copies its log back and cuts a large one. */
static void test_quiet_log(void **state)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, 0, &err);
    int64_t id = 1, value;

    (void)state;
    assert_non_null(session);
    assert_int_equal(db_query_int(session, "SELECT COUNT(*) FROM s", DB_NO_ARGS, -1, &value, &err), 0);
    write_megabytes(80);
    assert_true(size_of("-wal", NULL) > LIMIT_WAL_BYTES);
    db_read_end(session);
    assert_int_equal(db_write(db, write_blob, &id, &err), 0);
    for (int i = 0; i < 100 && size_of("-wal", NULL) > 0; i++)
        usleep(50000);
    assert_true(size_of("-wal", NULL) <= BLOB_BYTES * 2);
    assert_true(size_of("", NULL) >= 16 * BLOB_BYTES);
}

/* --- The writer's thread ------------------------------------------------------------------------------------------ */

static int write_inside(struct db_session *tx, void *arg, struct err *err)
{
    int64_t id = 1;

    (void)tx, (void)arg;
    return db_write(db, write_blob, &id, err);
}

/* It would wait for itself: refused instead. */
static void test_write_within_a_write(void **state)
{
    struct err err = { 0 };

    (void)state;
    assert_int_equal(db_write(db, write_inside, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM s"), 0);
}

static char slow_phase[32];
static atomic_int slow_count, ticks;
static _Atomic int64_t ahead_us;

static void slow(void *arg, const char *phase, int64_t elapsed_us, size_t items)
{
    (void)arg;
    if (elapsed_us >= LIMIT_COMMIT_TRACE_MS * 1000 && items == 1)
        snprintf(slow_phase, sizeof slow_phase, "%s", phase);
    atomic_fetch_add(&slow_count, 1);
}

static void tick(void *arg, const char *channel, const char *payload)
{
    (void)arg;
    atomic_fetch_add(&ticks, !channel[0] && !payload[0]);
}

static int64_t mono_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000 + atomic_load(&ahead_us);
}

static int dawdle(struct db_session *tx, void *arg, struct err *err)
{
    (void)tx, (void)arg, (void)err;
    usleep((LIMIT_COMMIT_TRACE_MS + 20) * 1000);
    return 0;
}

/* A slow commit is reported with the part that was slow; the safety net's tick comes every LIMIT_POLL_MS. */
static void test_reports(void **state)
{
    struct err err = { 0 };
    struct db_stats stats;

    (void)state;
    db_close(db);
    clock_install(NULL, mono_us);
    fixture.options.hooks = (struct db_hooks){ .slow = slow, .notified = tick };
    db = open_again();
    assert_int_equal(db_write(db, dawdle, NULL, &err), 0);
    for (int i = 0; i < 200 && !atomic_load(&slow_count); i++)
        usleep(5000);
    assert_string_equal(slow_phase, "statements");
    db_stats(db, &stats);
    assert_true(stats.slow >= 1);
    assert_int_equal(atomic_load(&ticks), 0);
    atomic_store(&ahead_us, (LIMIT_POLL_MS + 1000) * INT64_C(1000));
    assert_int_equal(db_write(db, dawdle, NULL, &err), 0);
    for (int i = 0; i < 200 && !atomic_load(&ticks); i++)
        usleep(5000);
    assert_int_equal(atomic_load(&ticks), 1);
    db_close(db);
    clock_install(NULL, NULL);
    memset(&fixture.options.hooks, 0, sizeof fixture.options.hooks);
    db = open_again();
}

/* --- A full disk, a failing disk ---------------------------------------------------------------------------------- */

static int set_pages(struct db_session *tx, void *arg, struct err *err)
{
    return db_exec(tx, arg, DB_NO_ARGS, err) < 0 ? -1 : 0;
}

static void test_full_disk(void **state)
{
    struct err err = { 0 };
    int64_t id = 1;

    (void)state;
    assert_int_equal(db_write(db, set_pages, "PRAGMA max_page_count = 20", &err), 0);
    assert_int_equal(db_write(db, write_blob, &id, &err), -1);
    assert_int_equal(err.code, ERR_STORAGE_FULL);
    assert_true(err.hint[0]);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM s"), 0);
    assert_int_equal(db_write(db, set_pages, "PRAGMA max_page_count = 100000", &err), 0);
    assert_int_equal(db_write(db, write_blob, &id, &err), 0);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM s"), 1);
}

/* The kernel refuses a write, and not for a full disk: the process ends, and what it confirmed is there. */
_Noreturn static void write_into_the_wall(int fd)
{
    struct rlimit limit = { 4 * BLOB_BYTES, 4 * BLOB_BYTES };
    struct err err;

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (!freopen("/dev/null", "w", stderr))
        _exit(2);
    db = db_open(&fixture.options, &err);
    for (int64_t id = 1; db && id < 100; id++)
        if (db_write(db, write_blob, &id, &err) || write(fd, &id, sizeof id) != sizeof id)
            _exit(3);
    _exit(4);
}

static void test_failing_disk(void **state)
{
    int fds[2], status;
    int64_t id, confirmed = 0;
    pid_t child;

    (void)state;
    db_close(db);
    assert_int_equal(pipe(fds), 0);
    child = fork();
    if (child == 0)
        write_into_the_wall(fds[1]);
    close(fds[1]);
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 70);
    while (read(fds[0], &id, sizeof id) == sizeof id)
        confirmed++;
    close(fds[0]);
    db = open_again();
    assert_true(confirmed > 0);
    assert_true(number(db, "SELECT COUNT(*) FROM s") >= confirmed);
}

/* A damaged page ends the process too, rather than going on with it. */
static void test_damaged_file(void **state)
{
    char path[128];
    static const char rubbish[4096] = { 1, 2, 3 };
    int status, fd;
    pid_t child;

    (void)state;
    write_megabytes(1);
    db_close(db);
    snprintf(path, sizeof path, "%s/hub.db", fixture.folder);
    fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, rubbish, sizeof rubbish, 4096), sizeof rubbish);
    close(fd);
    child = fork();
    if (child == 0) {
        struct err err;
        struct db_session *session;
        int64_t value;

        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        db = db_open(&fixture.options, &err);
        session = db ? db_read(db, 0, &err) : NULL;
        if (session)
            db_query_int(session, "SELECT COUNT(*) FROM s", DB_NO_ARGS, -1, &value, &err);
        _exit(3);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 70);
    unlink(path);
    db = open_again();
}

/* --- A read without end ------------------------------------------------------------------------------------------- */

static void test_endless_read(void **state)
{
    const char *sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) "
                      "SELECT count(*) FROM n";
    struct err err = { 0 };
    struct db_session *session;
    int64_t number;

    (void)state;
    db_close(db);
    clock_install(NULL, mono_us);
    db = open_again();
    session = db_read(db, 0, &err);
    assert_non_null(session);
    atomic_store(&ahead_us, (LIMIT_STATEMENT_MS + 1000) * INT64_C(1000));
    assert_int_equal(db_query_int(session, sql, DB_NO_ARGS, 0, &number, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    db_read_end(session);
    /* the session is as good as before */
    session = db_read(db, 0, &err);
    assert_int_equal(db_query_int(session, "SELECT 42", DB_NO_ARGS, 0, &number, &err), 0);
    assert_int_equal(number, 42);
    db_read_end(session);
    db_close(db);
    atomic_store(&ahead_us, 0);
    clock_install(NULL, NULL);
    db = open_again();
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text), cmocka_unit_test(test_schema_text), CASE(test_endless_read),
        CASE(test_settings), CASE(test_forbidden),
        CASE(test_private_file), CASE(test_refused_files), CASE(test_log_stays_bounded), CASE(test_long_reader),
        CASE(test_quiet_log), CASE(test_write_within_a_write), CASE(test_reports), CASE(test_full_disk),
        CASE(test_failing_disk), CASE(test_damaged_file),
    };

    unsetenv("HUB_TEST_DB");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
