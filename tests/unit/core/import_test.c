#include "fixture.h"

#include "core/park.h"

static int64_t channel_id;

static int set_up(void **state)
{
    (void)state;
    start_hub(1);
    channel_id = add_channel(TENANT, "sms", "phone");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop_hub();
    return 0;
}

static int import(int limit)
{
    struct err err = { 0 };
    int handled = inbox_import_step(&fixture.hub, limit, &err);

    if (handled < 0)
        fail_msg("import: %s", err.detail);
    return handled;
}

static void imports_rows_like_webhooks(void **state)
{
    (void)state;
    must("INSERT INTO inbound_rows (channel, sender, sender_name, text, external_id, sent_at_ms, "
         "metadata) "
         "VALUES ('phone', '(202) 555-0143', 'Ada', 'hello', 'b1', 1700000000000, "
         "'{\"from\":\"bridge\"}')");
    must("INSERT INTO inbound_rows (channel, sender, text, external_id, sent_at_ms, is_history) "
         "VALUES ('phone', '+12025550143', 'long ago', 'b2', 1600000000000, 1)");
    must("INSERT INTO inbound_rows (channel, sender, text, external_id, from_me) "
         "VALUES ('phone', '+12025550143', 'typed on the phone', 'b3', 1)");
    must("INSERT INTO inbound_rows (channel, sender, text, external_id) "
         "VALUES ('phone', '+12025550143', 'hello again', 'b1')");
    must("INSERT INTO inbound_rows (channel, sender, text) VALUES ('phone', '+12025550143', 'no id "
         "at all')");
    must("INSERT INTO inbound_rows (channel, sender, text) VALUES ('phone', '+12025550143', 'no id "
         "at all')");
    assert_int_equal(import(100), 6);
    assert_int_equal(import(100), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM inbound_rows"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM parked"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 5);
    assert_int_equal(number(
                         "SELECT COUNT(*) FROM messages WHERE text = 'hello' AND state = 0 "
                         "AND provider_ms = 1700000000000 AND metadata = '{\"from\":\"bridge\"}'"),
                     1);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE is_history = 1 AND state = 2"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE direction = 1 AND origin = 2"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations"), 1);
}

static void parks_what_cannot_be_a_message(void **state)
{
    static const char *const rows[][2] = {
        { "INSERT INTO inbound_rows (sender, text) VALUES ('+12025550143', 'x')",
          "names no channel" },
        { "INSERT INTO inbound_rows (channel, text) VALUES ('phone', 'x')", "names no sender" },
        { "INSERT INTO inbound_rows (channel, sender) VALUES ('phone', '+12025550143')",
          "no text" },
        { "INSERT INTO inbound_rows (channel, sender, text) VALUES ('nowhere', '+12025550143', "
          "'x')",
          "no channel of" },
        { "INSERT INTO inbound_rows (tenant_id, channel, sender, text) VALUES (77, 'phone', "
          "'+12025550143', 'x')",
          "no channel of" },
        { "INSERT INTO inbound_rows (channel, sender, text, metadata) VALUES ('phone', "
          "'+12025550143', 'x', '[1]')",
          "metadata" },
        { "INSERT INTO inbound_rows (channel, sender, text, type) VALUES ('phone', '+12025550143', "
          "'x', 'smoke')",
          "not a message type" },
    };
    struct page page = { .arena = fixture.arena, .tenant_id = TENANT, .limit = 50 };
    struct parked *parked;
    struct err err = { 0 };
    struct db_session *session;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char sql[200];

        must(rows[i][0]);
        must("INSERT INTO inbound_rows (channel, sender, text) VALUES ('phone', '+12025550143', "
             "'good')");
        assert_int_equal(import(10), 2);
        snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM parked WHERE reason LIKE '%%%s%%'",
                 rows[i][1]);
        assert_true(number(sql) > 0);
        assert_int_equal(number("SELECT COUNT(*) FROM parked"), (int64_t)i + 1);
    }
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 7);
    assert_int_equal(number("SELECT COUNT(*) FROM inbound_rows"), 0);
    session = db_read(fixture.hub.db, TENANT, &err);
    assert_int_equal(park_list(session, &page, &parked, &err), 6);
    assert_non_null(
        strstr(arena_strdup(fixture.arena, parked[0].content.data), "\"type\":\"smoke\""));
    db_read_end(session);
}

/* A row for a channel that came later. */
static void a_parked_row_goes_back(void **state)
{
    struct err err = { 0 };

    (void)state;
    must("INSERT INTO inbound_rows (channel, sender, text, external_id) VALUES ('later', '+12025550143', 'hello', "
         "'x1')");
    assert_int_equal(import(10), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM parked"), 1);
    assert_int_equal(park_replay(&fixture.hub, TENANT, number("SELECT id FROM parked"), &err), 1);
    assert_int_equal(import(10), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM parked"), 1);
    add_channel(TENANT, "sms", "later");
    assert_int_equal(park_replay(&fixture.hub, TENANT, number("SELECT id FROM parked"), &err), 1);
    assert_int_equal(import(10), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM parked"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE text = 'hello' AND external_id = 'x1'"), 1);
    assert_int_equal(park_replay(&fixture.hub, TENANT, 12345, &err), 0);
}

/* One in ten is bad, in larger steps than one group takes at once. */
static void sorts_good_from_bad(void **state)
{
    (void)state;
    must("INSERT INTO inbound_rows (channel, sender, text, external_id) WITH RECURSIVE n(i) AS "
         "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT CASE i % 10 WHEN 0 THEN "
         "'nowhere' ELSE 'phone' "
         "END, '+120255501' || CAST(10 + i % 7 AS TEXT), 'text ' || CAST(i AS TEXT), 'r' || CAST(i "
         "AS TEXT) FROM n");
    while (import(300) > 0)
        continue;
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1800);
    assert_int_equal(number("SELECT COUNT(*) FROM parked"), 200);
    assert_int_equal(number("SELECT COUNT(*) FROM inbound_rows"), 0);
    assert_int_equal(
        number("SELECT COUNT(*) FROM messages a JOIN messages b ON b.conversation_id = "
               "a.conversation_id "
               "AND b.position = a.position + 1 WHERE CAST(SUBSTR(a.text, 6) AS BIGINT) > "
               "CAST(SUBSTR(b.text, 6) AS BIGINT)"),
        0);
}

/* A row that another node takes away in between is not stored twice. */
static void leaves_a_row_that_is_gone(void **state)
{
    struct channel_event event = text_event("+12025550143", NULL, "once");
    struct inbox_result result;
    struct inbox_write write = { .tenant_id = TENANT,
                                 .channel_id = channel_id,
                                 .events = &event,
                                 .count = 1,
                                 .results = &result,
                                 .row_id = 4242 };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(inbox_accept(&fixture.hub, fixture.arena, &write, &err), 0);
    assert_int_equal(result.outcome, INBOX_IGNORED);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 0);
}

static void parks_the_same_content_once(void **state)
{
    struct inbox_parked parked = { .tenant_id = TENANT,
                                   .channel_id = channel_id,
                                   .source = "hook",
                                   .reason = "strange",
                                   .content = STR("{\"a\":1}"),
                                   .content_type = STR("application/json") };
    struct err err = { 0 };

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(inbox_park(&fixture.hub, &parked, &err), 0);
    parked.content = STR("{\"a\":2}");
    assert_int_equal(inbox_park(&fixture.hub, &parked, &err), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM parked"), 2);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'parked.added'"), 2);
}

/* The older names: a row inserted into et_messages becomes a message, and the views answer. */
static void the_older_names_work(void **state)
{
    const char *schema =
        on_postgres() ? arena_printf(fixture.arena, "%s_compat.", fixture.schema) : "";
    static const char *const views[] = {
        "manus_messages",     "message_queue", "et_channel_sessions",
        "et_threads",         "et_messages",   "et_outbound_queue",
        "et_thread_insights", "blogger_macs",  "mac_fleet"
    };

    (void)state;
    must(arena_printf(
        fixture.arena,
        "INSERT INTO %set_messages (channel, sender, sender_name, text, external_id, sent_at) "
        "VALUES ('phone', '+12025550143', 'Ada', 'by the old door', 'o1', '2026-11-20 18:00:00')",
        schema));
    must(arena_printf(fixture.arena, "INSERT INTO %set_messages (channel, sender, text, direction) "
                      "VALUES ('phone', '+12025550144', 'sent from there', 'outbound')", schema));
    assert_int_equal(import(10), 2);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE provider_ms = 1795197600000"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE direction = 1 AND origin = 2"), 1);
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        assert_true(
            number(arena_printf(fixture.arena, "SELECT COUNT(*) FROM %s%s", schema, views[i]))
            >= 0);
    assert_int_equal(
        number(arena_printf(
            fixture.arena,
            "SELECT COUNT(*) FROM %set_messages WHERE status = 'received' "
            "AND direction = 'inbound' AND thread_id IS NOT NULL AND sender_name = 'Ada'",
            schema)),
        1);
    assert_int_equal(
        number(arena_printf(fixture.arena,
                            "SELECT COUNT(*) FROM %smessage_queue WHERE status = 'PENDING' "
                            "AND phone_number = '+12025550143' AND processed_at IS NULL",
                            schema)),
        1);
    assert_int_equal(number(arena_printf(fixture.arena,
                                         "SELECT COUNT(*) FROM %set_threads WHERE status = 'open' "
                                         "AND channel = 'phone'",
                                         schema)),
                     2);
}

static int insert_text(struct db_session *tx, void *arg, struct err *err)
{
    return db_exec(tx, "INSERT INTO inbound_rows (channel, sender, text) VALUES ('phone', "
                   "'+12025550143', $1)", DB_ARGS(db_cstr(arg)), err) < 0 ? -1 : 0;
}

/* What is too long for a message is parked; what is too long for the importer never comes in. */
static void takes_no_row_beyond_measure(void **state)
{
    enum { LONG = 2 * 1024 * 1024, ENDLESS = 5 * 1024 * 1024 };
    char *text = mem_alloc(ENDLESS + 1);
    struct err err = { 0 };

    (void)state;
    memset(text, 'x', ENDLESS);
    if (db_is_postgres(fixture.hub.db)) {
        assert_int_equal(db_write(fixture.hub.db, insert_text, text, &err), -1);
        assert_non_null(strstr(err.detail, "inbound_rows_size"));
    }
    text[LONG] = '\0';
    assert_int_equal(db_write(fixture.hub.db, insert_text, text, &err), 0);
    assert_int_equal(import(100), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM parked WHERE reason LIKE 'text has %'"), 1);
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(imports_rows_like_webhooks),  TEST(parks_what_cannot_be_a_message),
        TEST(sorts_good_from_bad),         TEST(leaves_a_row_that_is_gone),
        TEST(takes_no_row_beyond_measure), TEST(a_parked_row_goes_back),
        TEST(parks_the_same_content_once), TEST(the_older_names_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
