#include "fixture.h"

static int set_up(void **state)
{
    (void)state;
    start_hub(1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop_hub();
    return 0;
}

/* Count, as a session of this tenant. -1: refused. */
static int64_t as_tenant(int64_t tenant_id, const char *sql)
{
    struct err err = { 0 };
    struct db_session *session = db_read(fixture.hub.db, tenant_id, &err);
    int64_t value = -1;

    if (db_query_int(session, sql, DB_NO_ARGS, 0, &value, &err))
        value = -1;
    db_read_end(session);
    return value;
}

static void every_table_with_a_tenant_has_the_wall(void **state)
{
    (void)state;
    if (!on_postgres())
        return;
    assert_int_equal(
        number("SELECT COUNT(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
               "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' "
               "WHERE n.nspname = current_schema() AND c.relkind = 'r' "
               "AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"),
        0);
    assert_true(number("SELECT COUNT(*) FROM pg_policies WHERE schemaname = current_schema()")
                > 20);
}

static void a_query_without_where_sees_one_tenant(void **state)
{
    int64_t other = add_tenant("other"), ours = add_channel(TENANT, "sms", "a"),
            theirs = add_channel(other, "sms", "b");
    struct channel_event event = text_event("+12025550143", "x", "theirs");

    (void)state;
    say(ours, "+12025550143", "x", "ours");
    receive_into(fixture.arena, other, theirs, &event, 1);
    assert_int_equal(as_tenant(0, "SELECT COUNT(*) FROM messages"), 2);
    if (!on_postgres())
        return;
    assert_int_equal(as_tenant(TENANT, "SELECT COUNT(*) FROM messages"), 1);
    assert_int_equal(as_tenant(other, "SELECT COUNT(*) FROM messages WHERE text = 'ours'"), 0);
    assert_int_equal(as_tenant(other, "SELECT COUNT(*) FROM messages WHERE text = 'theirs'"), 1);
    assert_int_equal(as_tenant(424242, "SELECT COUNT(*) FROM messages"), 0);
    assert_int_equal(as_tenant(TENANT, "SELECT COUNT(*) FROM events WHERE tenant_id <> 1"), 0);
}

/* The control: with the wall taken down the same query sees everybody. */
static void without_the_wall_it_sees_all(void **state)
{
    int64_t other = add_tenant("other");

    (void)state;
    if (!on_postgres())
        return;
    say(add_channel(TENANT, "sms", "a"), "+12025550143", "x", "ours");
    must("ALTER TABLE messages NO FORCE ROW LEVEL SECURITY");
    assert_int_equal(as_tenant(other, "SELECT COUNT(*) FROM messages"), 1);
}

/* A plain connection of the hub's role that never said which tenant. */
static int bare(const char *sql, struct err *err)
{
    struct db_options options = { .manual = true };
    struct err other;
    struct db *db;
    int result;

    options.url = arena_printf(fixture.arena, "%s", fixture.url);
    db = db_open(&options, err);
    if (!db)
        return -1;
    result = db_write(db, run_sql,
                      (void *)(uintptr_t) "SELECT set_config('hub.tenant', NULL, false)", &other);
    if (!result)
        result = db_write(db, run_sql, (void *)(uintptr_t)sql, err);
    db_close(db);
    return result;
}

static void a_session_that_said_nothing_is_refused(void **state)
{
    struct err err = { 0 };

    (void)state;
    if (!on_postgres())
        return;
    say(add_channel(TENANT, "sms", "a"), "+12025550143", "x", "ours");
    assert_int_equal(bare("SELECT COUNT(*) FROM messages", &err), -1);
}

/* What a bridge may: insert rows, and nothing else. */
static void a_bridge_may_insert_and_nothing_else(void **state)
{
    const char *super = getenv("HUB_TEST_PG_SUPER");
    struct db_options options = { .manual = true };
    struct err err = { 0 };
    struct db *db;

    (void)state;
    if (!on_postgres() || !super)
        return;
    options.url = super;
    db = db_open(&options, &err);
    assert_non_null(db);
    assert_int_equal(
        db_write(db, run_sql, (void *)(uintptr_t) "DROP ROLE IF EXISTS hub_bridge_test", &err), 0);
    assert_int_equal(
        db_write(db, run_sql, (void *)(uintptr_t) "CREATE ROLE hub_bridge_test LOGIN", &err), 0);
    must(arena_printf(fixture.arena, "GRANT USAGE ON SCHEMA %s, %s_compat TO hub_bridge_test",
                      fixture.schema, fixture.schema));
    must("GRANT INSERT ON inbound_rows TO hub_bridge_test");
    must(arena_printf(fixture.arena, "GRANT INSERT ON %s_compat.et_messages TO hub_bridge_test",
                      fixture.schema));
    db_close(db);
    options.url = arena_printf(fixture.arena, "%.*suser=hub_bridge_test%s",
                               (int)(strstr(fixture.url, "user=hub") - fixture.url), fixture.url,
                               strstr(fixture.url, "user=hub") + 8);
    db = db_open(&options, &err);
    assert_non_null(db);
    db_write(db, run_sql, (void *)(uintptr_t)"SELECT set_config('hub.tenant', NULL, false)", &err);
    assert_int_equal(
        db_write(db, run_sql,
                 (void *)(uintptr_t) "INSERT INTO inbound_rows (channel, sender, text) "
                                     "VALUES ('a', '+12025550143', 'from a bridge')",
                 &err),
        0);
    assert_int_equal(
        db_write(db, run_sql,
                 arena_printf(fixture.arena,
                              "INSERT INTO %s_compat.et_messages (channel, "
                              "sender, text) VALUES ('a', '+12025550143', 'by the old door')",
                              fixture.schema),
                 &err),
        0);
    assert_int_equal(
        db_write(db, run_sql, (void *)(uintptr_t) "SELECT text FROM inbound_rows", &err), -1);
    assert_int_equal(db_write(db, run_sql, (void *)(uintptr_t) "DELETE FROM inbound_rows", &err),
                     -1);
    assert_int_equal(db_write(db, run_sql, (void *)(uintptr_t) "SELECT text FROM messages", &err),
                     -1);
    db_close(db);
    assert_int_equal(number("SELECT COUNT(*) FROM inbound_rows"), 2);
    add_channel(TENANT, "sms", "a");
    assert_int_equal(inbox_import_step(&fixture.hub, 10, &err), 2);
    options.url = super;
    db = db_open(&options, &err);
    must("DELETE FROM inbound_rows");
    must("REVOKE ALL ON inbound_rows FROM hub_bridge_test");
    must(arena_printf(fixture.arena, "REVOKE ALL ON %s_compat.et_messages FROM hub_bridge_test",
                      fixture.schema));
    must(arena_printf(fixture.arena, "REVOKE ALL ON SCHEMA %s, %s_compat FROM hub_bridge_test",
                      fixture.schema, fixture.schema));
    assert_int_equal(db_write(db, run_sql, (void *)(uintptr_t) "DROP ROLE hub_bridge_test", &err),
                     0);
    db_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_table_with_a_tenant_has_the_wall), TEST(a_query_without_where_sees_one_tenant),
        TEST(without_the_wall_it_sees_all), TEST(a_session_that_said_nothing_is_refused),
        TEST(a_bridge_may_insert_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
