/* Migrations on both databases: applied once, whole or not at all, and foreign schemas are refused. */
#include "db/migrate.h"
#include "fixture.h"

#include <signal.h>
#include <sys/stat.h>
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

/* --- The copy before a change (SQLite; PostgreSQL's is its administrator's) --------------------------------------- */

static const char *copy_path(int version)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/hub.db.schema-%d", fixture.folder, version);
    return path;
}

/* One integer of what a copy holds; it is opened like a database. */
static int64_t number_in_copy(int version, const char *sql)
{
    struct db_options options = { .manual = true };
    struct err err = { 0 };
    char url[160];
    struct db *copy;
    int64_t value;

    snprintf(url, sizeof url, "sqlite:%s", copy_path(version));
    options.url = url;
    copy = db_open(&options, &err);
    if (!copy)
        fail_msg("%s: %s", url, err.detail);
    value = number(copy, sql);
    db_close(copy);
    return value;
}

static int files_of_fixture(const char *mark)
{
    DIR *folder = opendir(fixture.folder);
    struct dirent *entry;
    int count = 0;

    while ((entry = readdir(folder)))
        count += strstr(entry->d_name, mark) != NULL;
    closedir(folder);
    return count;
}

static void test_copy_before_a_change(void **state)
{
    struct stat status;
    struct err err = { 0 };

    (void)state;
    if (on_postgres())
        return;
    assert_int_equal(migrate(db, one_file, NULL, &err), 0);
    assert_int_equal(files_of_fixture("schema"), 0);
    must(db, "INSERT INTO a (id, text) VALUES (7, 'kept')");
    assert_int_equal(migrate(db, one_file, NULL, &err), 0);
    assert_int_equal(files_of_fixture("schema"), 0);
    if (migrate(db, two_files, NULL, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(stat(copy_path(1), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(files_of_fixture("half"), 0);
    assert_int_equal(files_of_fixture("schema"), 1);
    assert_int_equal(number_in_copy(1, "SELECT COUNT(*) FROM a WHERE text = 'kept'"), 1);
    assert_int_equal(number_in_copy(1, "SELECT MAX(number) FROM schema_migrations"), 1);
    assert_int_equal(number_in_copy(1, "SELECT COUNT(*) FROM pragma_table_info('a') WHERE name = 'n'"), 0);
    assert_int_equal(number(db, "SELECT n FROM a WHERE id = 7"), 5);
}

static void test_newest_copies_stay(void **state)
{
    struct embedded files[13] = { FILE_OF("0001_first.sql", first) };
    struct err err = { 0 };
    char names[13][24], path[160];

    (void)state;
    if (on_postgres())
        return;
    snprintf(path, sizeof path, "%s/hub.db.half-99999999", fixture.folder);
    fclose(fopen(path, "w"));
    for (int i = 1; i < 12; i++) {
        snprintf(names[i], sizeof names[i], "%04d_more.sql", i + 1);
        files[i] = (struct embedded)FILE_OF(names[i], "SELECT 1;\n");
        files[i + 1] = (struct embedded){ 0 };
        assert_int_equal(migrate(db, files, NULL, &err), 0);
    }
    assert_int_equal(files_of_fixture("schema"), 3);
    for (int version = 9; version < 12; version++)
        assert_int_equal(access(copy_path(version), F_OK), 0);
    assert_int_equal(files_of_fixture("half"), 0);
}

static void refuse_change(const char *word)
{
    struct err err = { 0 };

    assert_int_equal(migrate(db, two_files, NULL, &err), -1);
    if (!strstr(err.detail, word) || !err.hint[0])
        fail_msg("\"%s\" \"%s\" does not speak of %s", err.detail, err.hint, word);
    assert_int_equal(migrate_version(db, &err), 1);
    assert_int_equal(files_of_fixture("half"), 0);
}

static void test_no_copy_no_change(void **state)
{
    struct err err = { 0 };

    (void)state;
    if (on_postgres())
        return;
    assert_int_equal(migrate(db, one_file, NULL, &err), 0);
    assert_int_equal(mkdir(copy_path(1), 0700), 0);
    refuse_change("directory");
    assert_int_equal(rmdir(copy_path(1)), 0);
    assert_int_equal(migrate(db, two_files, NULL, &err), 0);
}

/* The negative control of the check: a page of an index is overwritten, which no copying notices. */
static void test_damage_is_seen(void **state)
{
    struct err err = { 0 };
    char garbage[512], path[128];
    int fd;

    (void)state;
    if (on_postgres())
        return;
    assert_int_equal(migrate(db, one_file, NULL, &err), 0);
    must(db, "CREATE INDEX damaged ON a (text)");
    must(db, "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) "
             "INSERT INTO a (id, text) SELECT i, 'some text ' || i FROM n");
    db_close(db);
    memset(garbage, 'x', sizeof garbage);
    snprintf(path, sizeof path, "%s/hub.db", fixture.folder);
    fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, garbage, sizeof garbage, lseek(fd, 0, SEEK_END) - 4096 * 3), sizeof garbage);
    close(fd);
    db = open_again();
    refuse_change("damaged");
    assert_int_equal(files_of_fixture("schema"), 0);
}

/* Killed while it copies or changes: old with or without a copy, or new with one; the copy is always whole. */
static void test_killed_with_a_copy(void **state)
{
    struct err err = { 0 };
    int changed = 0, copied = 0;

    (void)state;
    if (on_postgres())
        return;
    assert_int_equal(migrate(db, one_file, NULL, &err), 0);
    must(db, "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 40009) "
             "INSERT INTO a (id, text) SELECT i, 'some text that takes a little room ' || i FROM n");
    for (int round = 0; round < 15 && !changed; round++) {
        int status;
        pid_t child;

        db_close(db);
        child = fork();
        if (child == 0) {
            db = db_open(&fixture.options, &err);
            _exit(!db || migrate(db, two_files, NULL, &err) ? 1 : 0);
        }
        usleep((useconds_t)(2000 + round * 7000));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        db = open_again();
        changed = migrate_version(db, &err) == 2;
        copied = access(copy_path(1), F_OK) == 0;
        assert_true(copied || !changed);
        assert_int_equal(number(db, "SELECT COUNT(*) FROM a"), 40001);
        assert_int_equal(number(db, "SELECT COUNT(*) FROM pragma_table_info('a') WHERE name = 'n'"), changed);
        if (copied) {
            assert_int_equal(number_in_copy(1, "SELECT COUNT(*) FROM a"), 40001);
            assert_int_equal(number_in_copy(1, "SELECT COUNT(*) FROM pragma_integrity_check "
                                               "WHERE integrity_check = 'ok'"), 1);
        }
    }
    if (!changed)
        assert_int_equal(migrate(db, two_files, NULL, &err), 0);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM a WHERE n = 5"), 40001);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_applied_once), CASE(test_changed_file), CASE(test_newer_schema), CASE(test_failing_statement),
        CASE(test_killed), CASE(test_two_at_once), CASE(test_own_migrations),
        CASE(test_copy_before_a_change), CASE(test_newest_copies_stay), CASE(test_no_copy_no_change),
        CASE(test_damage_is_seen), CASE(test_killed_with_a_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
