/* Migrations on both databases: applied once, whole or not at all, and foreign schemas are refused. */
#include "db/migrate.h"
#include "fixture.h"

#include <signal.h>
#include <sys/wait.h>

static struct db *db;

static int set_up(void **state)
{
    (void)state;
    db = open_fresh();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    remove_fixture();
    return 0;
}

#define FILE_OF(name, text) { (name), (const unsigned char *)(text), sizeof(text) - 1 }

static const char first[] =
    "-- A comment that ends with a semicolon;\n"
    "CREATE TABLE a (\n"
    "    id BIGINT PRIMARY KEY,   -- a number;\n"
    "    bytes BYTEA,\n"
    "    text TEXT NOT NULL DEFAULT 'semi;\n"
    "colon BIGINT'\n"
    ");\n"
    "\n"
    "-- only: postgres\n"
    "CREATE FUNCTION twice(n BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "    RETURN n * 2;\n"
    "END;\n"
    "$$;\n"
    "-- Said first, then\n"
    "-- only: sqlite\n"
    "CREATE VIEW twice AS SELECT 2 AS n;\n"
    "INSERT INTO a (id, text) VALUES (1, 'one');\n"
    "-- nothing more\n";

static const char second[] = "ALTER TABLE a ADD COLUMN n BIGINT;\nUPDATE a SET n = 5;\n";

static const struct embedded one_file[] = { FILE_OF("0001_first.sql", first), { 0 } };
static const struct embedded two_files[] = { FILE_OF("0001_first.sql", first), FILE_OF("0002_second.sql", second),
                                             { 0 } };

static int tables(const char *name)
{
    char sql[256];

    if (on_postgres())
        snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass('%s')", name);
    else
        snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM sqlite_master WHERE name = '%s'", name);
    return (int)number(db, sql);
}

static void test_applied_once(void **state)
{
    struct err err = { 0 };
    int applied = -1;

    (void)state;
    assert_int_equal(migrate_version(db, &err), 0);
    assert_int_equal(migrate(db, one_file, &applied, &err), 0);
    assert_int_equal(applied, 1);
    assert_int_equal(migrate_version(db, &err), 1);
    assert_int_equal(migrate(db, two_files, &applied, &err), 0);
    assert_int_equal(applied, 1);
    assert_int_equal(migrate(db, two_files, &applied, &err), 0);
    assert_int_equal(applied, 0);
    assert_int_equal(migrate(db, two_files, NULL, &err), 0);
    assert_int_equal(migrate_version(db, &err), 2);
    assert_int_equal(number(db, "SELECT n FROM a WHERE id = 1"), 5);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM schema_migrations WHERE applied_ms > 0"), 2);
    assert_int_equal(number(db, on_postgres() ? "SELECT twice(4)" : "SELECT n * 4 FROM twice"), 8);
    must(db, "INSERT INTO a (id) VALUES (2)");
    assert_int_equal(number(db, "SELECT COUNT(*) FROM a WHERE text LIKE 'semi;%colon BIGINT'"), 1);
}

static void refuse(const struct embedded *files, const char *word)
{
    struct err err = { 0 };
    int applied = -1;

    assert_int_equal(migrate(db, files, &applied, &err), -1);
    assert_int_equal(applied, 0);
    if (!strstr(err.detail, word))
        fail_msg("\"%s\" does not speak of %s", err.detail, word);
    assert_true(err.hint[0] || err.code == ERR_INTERNAL || err.code == ERR_CONFLICT);
}

static void test_changed_file(void **state)
{
    static const struct embedded changed[] = { FILE_OF("0001_first.sql", "SELECT 1;\n"),
                                               FILE_OF("0002_second.sql", second), { 0 } };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(migrate(db, one_file, NULL, &err), 0);
    refuse(changed, "another content");
    assert_int_equal(migrate_version(db, &err), 1);
}

static void test_newer_schema(void **state)
{
    static const struct embedded renamed[] = { FILE_OF("0001_first.sql", first), FILE_OF("0002_other.sql", second),
                                               FILE_OF("0003_more.sql", "SELECT 1;\n"), { 0 } };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(migrate(db, two_files, NULL, &err), 0);
    refuse(one_file, "newer");
    refuse(renamed, "does not know");
    assert_int_equal(migrate_version(db, &err), 2);
}

/* The third statement fails: nothing of its file stays, and the file before it does. */
static void test_failing_statement(void **state)
{
    static const struct embedded broken[] = {
        FILE_OF("0001_first.sql", first),
        FILE_OF("0002_bad.sql", "CREATE TABLE b (id BIGINT);\nUPDATE a SET text = 'x';\nCREATE TABEL c (id BIGINT);\n"
                                "CREATE TABLE d (id BIGINT);\n"),
        { 0 }
    };
    struct err err = { 0 };
    int applied;

    (void)state;
    assert_int_equal(migrate(db, broken, &applied, &err), -1);
    assert_int_equal(applied, 1);
    assert_non_null(strstr(err.detail, "0002_bad.sql, statement 3"));
    assert_int_equal(tables("b") + tables("d"), 0);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM a WHERE text = 'one'"), 1);
    assert_int_equal(migrate_version(db, &err), 1);
}

/* Killed at some moment: all of the file or nothing of it. */
static void test_killed(void **state)
{
    static char text[64 * 1024];
    struct embedded files[] = { { "0001_many.sql", (const unsigned char *)text, 0 }, { 0 } };
    int whole = 0, nothing = 0;
    size_t at = 0;

    (void)state;
    for (int i = 0; i < 200; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "CREATE TABLE k%d (id BIGINT PRIMARY KEY, t TEXT);\n", i);
    files[0].size = at;
    for (int round = 0; round < 12; round++) {
        struct err err = { 0 };
        int status, seen;
        pid_t child;

        db_close(db);
        child = fork();
        if (child == 0) {
            db = db_open(&fixture.options, &err);
            _exit(!db || migrate(db, files, NULL, &err) ? 1 : 0);
        }
        usleep((useconds_t)(1000 + round * 4000));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        db = open_again();
        for (int wait = 0; wait < 100 && tables("k0") != tables("k199"); wait++)
            usleep(10000);
        seen = tables("k0");
        assert_int_equal(tables("k199"), seen);
        assert_int_equal(migrate_version(db, &err), seen ? 1 : 0);
        whole += seen;
        nothing += !seen;
    }
    assert_int_equal(whole + nothing, 12);
    assert_int_equal(migrate(db, files, NULL, &(struct err){ 0 }), 0);
    assert_int_equal(tables("k100"), 1);
}

/* Two nodes start at the same moment. */
static void test_two_at_once(void **state)
{
    struct err err = { 0 };
    int status;
    pid_t child;

    (void)state;
    db_close(db);
    child = fork();
    if (child == 0) {
        db = db_open(&fixture.options, &err);
        _exit(!db || migrate(db, two_files, NULL, &err) ? 1 : 0);
    }
    db = open_again();
    assert_int_equal(migrate(db, two_files, NULL, &err), 0);
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM schema_migrations"), 2);
}

/* The program's own schema. */
static void test_own_migrations(void **state)
{
    struct err err = { 0 };
    int applied, count = 0;

    (void)state;
    while (migrations[count].name)
        count++;
    if (migrate(db, migrations, &applied, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(applied, count);
    assert_int_equal(migrate(db, migrations, &applied, &err), 0);
    assert_int_equal(applied, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_applied_once), CASE(test_changed_file), CASE(test_newer_schema), CASE(test_failing_statement),
        CASE(test_killed), CASE(test_two_at_once), CASE(test_own_migrations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
