/* What is PostgreSQL's alone: deadlocks, lost links, unknown commits, notifications, row-level security, foreign
 * types. Without HUB_TEST_DB only what needs no server runs. */
#include "fixture.h"
#include "proxy.h"

#include "db/postgres_state.h"

#include <pthread.h>
#include <stdatomic.h>

static struct db *db;

static int set_up(void **state)
{
    (void)state;
    db = open_fresh();
    must(db, "CREATE TABLE p (id BIGINT PRIMARY KEY, tenant_id BIGINT NOT NULL DEFAULT 1,"
             " n BIGINT NOT NULL DEFAULT 0)");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    remove_fixture();
    return 0;
}

static int64_t retried(void)
{
    struct db_stats stats;

    db_stats(db, &stats);
    return stats.retried;
}

/* --- Deadlock ----------------------------------------------------------------------------------------------------- */

struct crossing {
    pthread_t thread;
    int64_t first, second;
    pthread_barrier_t *barrier;
    int runs, result;
};

static int lock_both(struct db_session *tx, void *arg, struct err *err)
{
    struct crossing *self = arg;
    const char *sql = "UPDATE p SET n = n + 1 WHERE id = $1";

    if (db_exec(tx, sql, DB_ARGS(db_int(self->first)), err) != 1)
        return -1;
    if (!self->runs++)
        pthread_barrier_wait(self->barrier);
    return db_exec(tx, sql, DB_ARGS(db_int(self->second)), err) == 1 ? 0 : -1;
}

static void *cross(void *arg)
{
    struct crossing *self = arg;
    struct err err;

    self->result = db_write(db, lock_both, self, &err);
    return NULL;
}

static void test_deadlock_is_repeated(void **state)
{
    pthread_barrier_t barrier;
    struct crossing a = { .first = 1, .second = 2, .barrier = &barrier }, b = { .first = 2, .second = 1,
                                                                               .barrier = &barrier };

    (void)state;
    must(db, "INSERT INTO p (id) VALUES (1), (2)");
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&a.thread, NULL, cross, &a);
    pthread_create(&b.thread, NULL, cross, &b);
    pthread_join(a.thread, NULL);
    pthread_join(b.thread, NULL);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(a.result, 0);
    assert_int_equal(b.result, 0);
    assert_true(a.runs + b.runs > 2);
    assert_true(retried() > 0);
    assert_int_equal(number(db, "SELECT n FROM p WHERE id = 1"), 2);
    assert_int_equal(number(db, "SELECT n FROM p WHERE id = 2"), 2);
}

/* --- Lost links --------------------------------------------------------------------------------------------------- */

struct broken {
    struct db_write_item item;
    int runs;
};

static int insert_and_die_once(struct db_session *tx, struct broken *self, struct err *err)
{
    if (db_exec(tx, "INSERT INTO p (id) VALUES ($1)", DB_ARGS(db_int(7)), err) != 1)
        return -1;
    if (!self->runs++ && db_exec(tx, "SELECT pg_terminate_backend(pg_backend_pid())", DB_NO_ARGS, err) < 0)
        return -1;
    return db_exec(tx, "UPDATE p SET n = n + 1 WHERE id = $1", DB_ARGS(db_int(7)), err) == 1 ? 0 : -1;
}

static int die_once(struct db_session *tx, void *arg, struct err *err)
{
    return insert_and_die_once(tx, arg, err);
}

static int die_once_in_group(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    (void)count;
    return insert_and_die_once(tx, (struct broken *)items[0], err);
}

static const struct db_kind dying = { "dying", 0, die_once_in_group };

static void test_killed_link_is_repeated(void **state)
{
    struct broken ordinary = { 0 }, grouped = { .item = { .kind = &dying } };
    struct err err = { 0 };

    (void)state;
    if (db_write(db, die_once, &ordinary, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(ordinary.runs, 2);
    assert_int_equal(number(db, "SELECT n FROM p WHERE id = 7"), 1);
    must(db, "DELETE FROM p");
    if (db_submit_wait(db, &grouped.item, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(grouped.runs, 2);
    assert_int_equal(number(db, "SELECT n FROM p WHERE id = 7"), 1);
    assert_int_equal(retried(), 2);
}

static int kill_others(struct db_session *tx, void *arg, struct err *err)
{
    (void)arg;
    return db_exec(tx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
                   " AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND application_name = $1",
                   DB_ARGS(db_cstr(fixture.schema)), err) < 0 ? -1 : 0;
}

/* Readers, the group's writer and the pool find dead links and go on; no caller sees an error. */
static void test_idle_links_die(void **state)
{
    struct broken grouped = { .item = { .kind = &dying }, .runs = 1 };
    struct err err = { 0 };

    (void)state;
    db_close(db);
    snprintf(fixture.url + strlen(fixture.url), 100, "&application_name=%s", fixture.schema);
    db = open_again();
    assert_int_equal(number(db, "SELECT COUNT(*) FROM p"), 0);
    for (int i = 0; i < 3; i++) {
        grouped.item.err.code = ERR_NONE;
        assert_int_equal(db_write(db, kill_others, NULL, &err), 0);
        assert_int_equal(number(db, "SELECT COUNT(*) FROM p"), 0);
        if (db_submit_wait(db, &grouped.item, &err))
            fail_msg("%s", err.detail);
        assert_int_equal(number(db, "SELECT n FROM p WHERE id = 7"), 1);
        must(db, "DELETE FROM p");
    }
}

/* The commit happens, its answer is lost: the transaction is repeated whole, and its natural key keeps it single. */
static int insert_by_key(struct db_session *tx, void *arg, struct err *err)
{
    const char *sql = "INSERT INTO p (id) VALUES ($1) ON CONFLICT DO NOTHING";

    return db_exec(tx, sql, DB_ARGS(db_int(*(int64_t *)arg)), err) < 0 ? -1 : 0;
}

static int insert_group(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        int64_t id = 1000 + ((struct broken *)items[i])->runs;

        if (insert_by_key(tx, &id, err))
            return -1;
    }
    return 0;
}

static const struct db_kind by_key = { "by_key", 0, insert_group };

static void test_lost_commit_answer(void **state)
{
    struct proxy *proxy = proxy_start(getenv("HUB_TEST_DB"));
    char url[512];
    struct err err = { 0 };

    (void)state;
    db_close(db);
    snprintf(url, sizeof url, "postgresql:///hub?host=%s&user=hub&options=-csearch_path%%3D%s", proxy->folder,
             fixture.schema);
    snprintf(fixture.url, sizeof fixture.url, "%s", url);
    db = open_again();
    for (int64_t id = 1; id <= 20; id++) {
        struct broken item = { .item = { .kind = &by_key }, .runs = (int)id };

        atomic_store(&proxy->armed, true);
        if (db_write(db, insert_by_key, &id, &err))
            fail_msg("%s", err.detail);
        atomic_store(&proxy->armed, true);
        if (db_submit_wait(db, &item.item, &err))
            fail_msg("%s", err.detail);
    }
    assert_int_equal(atomic_load(&proxy->lost), 40);
    assert_int_equal(retried(), 40);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM p"), 40);
    db_close(db);
    proxy_stop(proxy);
    snprintf(fixture.url, sizeof fixture.url, "%s&options=-csearch_path%%3D%s", getenv("HUB_TEST_DB"), fixture.schema);
    db = open_again();
    assert_int_equal(number(db, "SELECT COUNT(*) FROM p"), 40);
}

/* --- Notifications ------------------------------------------------------------------------------------------------ */

static atomic_int looks, notes;
static char last_payload[64];
static pthread_mutex_t notes_lock = PTHREAD_MUTEX_INITIALIZER;

static void notified(void *arg, const char *channel, const char *payload)
{
    (void)arg;
    if (!channel[0]) {
        atomic_fetch_add(&looks, 1);
        return;
    }
    pthread_mutex_lock(&notes_lock);
    if (!strncmp(channel, "hub_test", 8)) {
        snprintf(last_payload, sizeof last_payload, "%s=%s", channel + 9, payload);
        atomic_fetch_add(&notes, 1);
    }
    pthread_mutex_unlock(&notes_lock);
}

static char channel_a[64], channel_b[64];

static int notify_thrice(struct db_session *tx, void *arg, struct err *err)
{
    db_notify(tx, channel_a, "1");
    db_notify(tx, channel_a, "2");
    db_notify(tx, channel_a, "it's 3");
    if (arg)
        return err_set(err, ERR_CONFLICT, "no");
    return db_exec(tx, "INSERT INTO p (id) VALUES (99) ON CONFLICT DO NOTHING", DB_NO_ARGS, err) < 0 ? -1 : 0;
}

static void wait_until(atomic_int *counter, int wanted)
{
    for (int i = 0; i < 1000 && atomic_load(counter) < wanted; i++)
        usleep(5000);
    assert_int_equal(atomic_load(counter), wanted);
}

static void check_payload(const char *expected)
{
    char seen[64];

    pthread_mutex_lock(&notes_lock);
    snprintf(seen, sizeof seen, "%s", strchr(last_payload, '=') ? strchr(last_payload, '=') + 1 : "");
    pthread_mutex_unlock(&notes_lock);
    assert_string_equal(seen, expected);
}

static void test_notifications(void **state)
{
    const char *channels[] = { channel_a, channel_b, NULL };
    struct err err = { 0 };

    (void)state;
    snprintf(channel_a, sizeof channel_a, "hub_test_a%d", (int)getpid());
    snprintf(channel_b, sizeof channel_b, "hub_test_b%d", (int)getpid());
    looks = notes = 0;
    db_close(db);
    snprintf(fixture.url + strlen(fixture.url), 100, "&application_name=%s", fixture.schema);
    fixture.options.listen = channels;
    fixture.options.hooks.notified = notified;
    db = open_again();
    wait_until(&looks, 1);
    assert_int_equal(db_write(db, notify_thrice, "fail", &err), -1);
    assert_int_equal(db_write(db, notify_thrice, NULL, &err), 0);
    wait_until(&notes, 1);
    check_payload("it's 3");
    assert_int_equal(db_write(db, kill_others, NULL, &err), 0);
    wait_until(&looks, 2);
    assert_int_equal(db_write(db, notify_thrice, NULL, &err), 0);
    wait_until(&notes, 2);
    db_close(db);
    memset(&fixture.options.hooks, 0, sizeof fixture.options.hooks);
    fixture.options.listen = NULL;
    db = open_again();
}

/* --- Row-level security ------------------------------------------------------------------------------------------- */

static int64_t seen_by(int64_t tenant_id)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, tenant_id, &err);
    int64_t count;

    assert_non_null(session);
    if (db_query_int(session, "SELECT COUNT(*) FROM p", DB_NO_ARGS, -1, &count, &err))
        fail_msg("%s", err.detail);
    db_read_end(session);
    return count;
}

static int swallow(struct db_session *tx, void *arg, struct err *err)
{
    (void)arg;
    db_exec(tx, "INSERT INTO p (id) VALUES (1)", DB_NO_ARGS, err);
    db_exec(tx, "INSERT INTO p (id) VALUES (1)", DB_NO_ARGS, err);
    return 0;
}

static void test_row_level_security(void **state)
{
    struct err err = { 0 };
    struct db_session *session;

    (void)state;
    must(db, "ALTER TABLE p ENABLE ROW LEVEL SECURITY");
    must(db, "ALTER TABLE p FORCE ROW LEVEL SECURITY");
    must(db, "CREATE POLICY own ON p USING (current_setting('hub.tenant') IN ('*', CAST(tenant_id AS TEXT)))");
    must(db, "INSERT INTO p (id, tenant_id) VALUES (1, 1), (2, 2), (3, 2)");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(seen_by(1), 1);
        assert_int_equal(seen_by(2), 2);
        assert_int_equal(seen_by(2), 2);
        assert_int_equal(seen_by(3), 0);
        assert_int_equal(seen_by(0), 3);
    }
    /* A failed statement takes the tenant that travelled with it back; the next one must not see another's rows. */
    seen_by(1);
    session = db_read(db, 2, &err);
    assert_null(db_query(session, "SELECT 1 / 0", DB_NO_ARGS, &err));
    assert_int_equal(err.code, ERR_INVALID);
    db_read_end(session);
    assert_int_equal(seen_by(2), 2);
    assert_int_equal(seen_by(1), 1);
    /* So does a transaction that fails: the writer goes on seeing all tenants. */
    assert_int_equal(db_write(db, swallow, NULL, &err), -1);
    must(db, "UPDATE p SET n = 3");
    assert_int_equal(number(db, "SELECT COUNT(*) FROM p WHERE n = 3"), 3);
}

/* --- Types and failures ------------------------------------------------------------------------------------------- */

static int64_t value_of(const char *sql, double *real)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, 0, &err);
    struct db_rows *rows = db_query(session, sql, DB_NO_ARGS, &err);
    int64_t value;

    if (!rows || db_next(rows, &err) != 1)
        fail_msg("%s: %s", sql, err.detail);
    value = db_col_int(rows, 0);
    *real = db_col_real(rows, 0);
    db_read_end(session);
    return value;
}

static void test_foreign_types(void **state)
{
    static const struct {
        const char *sql;
        int64_t value;
        double real;
    } cases[] = {
        { "SELECT 5", 5, 5 }, { "SELECT CAST(-3 AS SMALLINT)", -3, -3 }, { "SELECT true", 1, 1 },
        { "SELECT -2.5", -2, -2.5 }, { "SELECT 1000000000000.75", 1000000000000, 1000000000000.75 },
        { "SELECT 0.0000125", 0, 0.0000125 },
        { "SELECT SUM(n) FROM (VALUES (4000000000), (5)) v (n)", 4000000005, 4000000005.0 },
        { "SELECT CAST(1.5 AS REAL)", 1, 1.5 }, { "SELECT '42'", 42, 42 }, { "SELECT CAST('x' AS CHAR(3))", 0, 0 },
        { "SELECT CAST(NULL AS BIGINT)", 0, 0 }, { "SELECT 10000", 10000, 10000 },
        { "SELECT 120000000.0", 120000000, 1.2e8 },
    };
    struct err err = { 0 };
    struct db_session *session;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double real, near = 1e-12 + 1e-12 * (cases[i].real < 0 ? -cases[i].real : cases[i].real);

        assert_true(value_of(cases[i].sql, &real) == cases[i].value);
        assert_true(real >= cases[i].real - near && real <= cases[i].real + near);
    }
    session = db_read(db, 0, &err);
    assert_null(db_query(session, "SELECT CAST('2026-01-01' AS DATE) AS day", DB_NO_ARGS, &err));
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_non_null(strstr(err.detail, "CAST"));
    db_read_end(session);
}

static int bad_text(struct db_session *tx, void *arg, struct err *err)
{
    return db_exec(tx, "SELECT CAST($1 AS TEXT)", DB_ARGS(db_text(*(struct str *)arg)), err) < 0 ? -1 : 0;
}

static int lock_timeout(struct db_session *tx, void *arg, struct err *err)
{
    ++*(int *)arg;
    return db_exec(tx, "DO $$ BEGIN RAISE EXCEPTION 'locked' USING ERRCODE = '55P03'; END $$", DB_NO_ARGS, err) < 0
        ? -1 : 0;
}

static void test_failures(void **state)
{
    struct str broken = { "\xff\xfe", 2 };
    struct err err = { 0 };
    int runs = 0;

    (void)state;
    assert_int_equal(db_write(db, swallow, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM p"), 0);
    assert_int_equal(db_write(db, bad_text, &broken, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(db_write(db, lock_timeout, &runs, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_true(runs > 3 && runs <= LIMIT_REPEATS);
}

/* --- Servers that are refused ------------------------------------------------------------------------------------- */

static void refuses(const char *url, enum err_code code, const char *word)
{
    struct db_options options = { .url = url };
    struct err err = { 0 };

    assert_null(db_open(&options, &err));
    assert_int_equal(err.code, code);
    assert_true(err.hint[0]);
    if (!strstr(err.detail, word))
        fail_msg("\"%s\" does not say %s", err.detail, word);
}

static void test_unsynced_server(void **state)
{
    char url[512];

    (void)state;
    snprintf(url, sizeof url, "%s&options=-csynchronous_commit%%3Doff", getenv("HUB_TEST_DB"));
    refuses(url, ERR_INVALID, "synchronous_commit");
}

static void test_states(void **state)
{
    static const struct {
        const char *state;
        enum db_failure failure;
    } cases[] = {
        { "40001", DB_FAIL_RETRY }, { "40P01", DB_FAIL_RETRY }, { "55P03", DB_FAIL_RETRY }, { "57P01", DB_FAIL_RETRY },
        { "57014", DB_FAIL_RETRY }, { "08006", DB_FAIL_RETRY }, { "53300", DB_FAIL_RETRY }, { "25006", DB_FAIL_RETRY },
        { "58030", DB_FAIL_RETRY }, { "53100", DB_FAIL_FULL },  { "23505", DB_FAIL_DATA },  { "22021", DB_FAIL_DATA },
        { "21000", DB_FAIL_DATA },  { "54000", DB_FAIL_DATA },  { "42601", DB_FAIL_BUG },   { "08P01", DB_FAIL_BUG },
        { "25P02", DB_FAIL_BUG },   { "XX000", DB_FAIL_BUG },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(pg_failure(cases[i].state), cases[i].failure);
}

static void test_no_server(void **state)
{
    (void)state;
    refuses("postgresql:///hub?host=/nowhere/at/all", ERR_UNAVAILABLE, "cannot connect");
    refuses("postgres://hub:secret-word@127.0.0.1:1/hub", ERR_UNAVAILABLE, "cannot connect");
    refuses("postgresql://bad?nonsense=1", ERR_UNAVAILABLE, "cannot connect");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest with_server[] = {
        CASE(test_deadlock_is_repeated), CASE(test_killed_link_is_repeated), CASE(test_idle_links_die),
        CASE(test_lost_commit_answer), CASE(test_notifications), CASE(test_row_level_security),
        CASE(test_foreign_types), CASE(test_failures), cmocka_unit_test(test_unsynced_server),
        cmocka_unit_test(test_no_server), cmocka_unit_test(test_states),
    };
    const struct CMUnitTest without[] = { cmocka_unit_test(test_no_server), cmocka_unit_test(test_states) };

    if (on_postgres())
        return cmocka_run_group_tests(with_server, NULL, NULL);
    return cmocka_run_group_tests(without, NULL, NULL);
}
