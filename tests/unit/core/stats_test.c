/* What is counted, and that counting does not read every message. */
#include "fixture.h"

#include "core/message_list.h"
#include "core/stats.h"

#define MANY "200000"

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

/* 200,000 messages, one per minute, the newest now; every 50,000th has failed. */
static void seed(void)
{
    char sql[1600];

    must("INSERT INTO conversations (id, tenant_id, channel_id, peer, unread, created_ms, updated_ms) "
         "SELECT 5000, 1, id, '+15550100', 7, 1, 1 FROM channels WHERE name = 'phone'");
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " MANY ") "
             "INSERT INTO messages (id, tenant_id, conversation_id, position, channel_id, direction, state, type, "
             "origin, address, text, received_ms, updated_ms) SELECT 1000000 + i, 1, 5000, i, %lld, i %% 2, "
             "CASE WHEN i %% 50000 = 49999 THEN 11 WHEN i %% 2 = 1 THEN 7 ELSE 2 END, 'sms', 0, '+15550100', "
             "'a text of the length that people write, or near it; and a little more than that', "
             "CAST(%lld AS BIGINT) - CAST(" MANY " - i AS BIGINT) * 60000, 1 FROM n",
             (long long)channel_id, (long long)clock_ms());
    must(sql);
    if (on_postgres())
        must("ANALYZE messages");
}

typedef void counting(struct db_session *session);

static void count_all(struct db_session *session)
{
    struct err err = { 0 };
    int64_t count;

    /* a scan of the rows themselves */
    if (db_query_int(session, "SELECT COUNT(*) FROM messages WHERE type <> text", DB_NO_ARGS, 0, &count, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(count, 200000);
}

static void count_day(struct db_session *session)
{
    struct err err = { 0 };
    struct stats stats;

    if (stats_read(session, TENANT, clock_ms() - 86400000, &stats, &err))
        fail_msg("%s", err.detail);
    assert_in_range(stats.messages[MESSAGE_OUT][MESSAGE_DELIVERED], 700, 725);
    assert_in_range(stats.messages[MESSAGE_IN][MESSAGE_PROCESSED], 700, 725);
    assert_int_equal(stats.conversations, 1);
    assert_int_equal(stats.unread, 7);
}

static void count_outbox(struct db_session *session)
{
    struct err err = { 0 };
    struct stats_queue queue;
    struct stats_outbox outbox;

    if (stats_queue_read(session, TENANT, &queue, &err)
        || stats_outbox_read(session, TENANT, &queue, &outbox, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(outbox.failed, 4);
    assert_int_equal(outbox.queued + outbox.sending + outbox.held + outbox.unknown, 0);
}

static void list_failed(struct db_session *session)
{
    static const enum message_state states[] = { MESSAGE_HELD, MESSAGE_UNKNOWN, MESSAGE_FAILED };
    int found = 0;

    for (int i = 0; i < 3; i++) {
        const struct message_filter filter = { .tenant_id = TENANT, .direction = MESSAGE_OUT, .state = states[i],
                                               .limit = 50 };
        struct err err = { 0 };
        struct message *messages;

        found += message_list(session, fixture.arena, &filter, &messages, &err);
    }
    assert_int_equal(found, 4);
}

/* The newest of all times: in order of their ids, not all of that time, sorted. */
static void list_since(struct db_session *session)
{
    const struct message_filter filter = { .tenant_id = TENANT, .direction = -1, .state = -1, .from_ms = 1,
                                           .limit = 50 };
    struct err err = { 0 };
    struct message *messages;

    assert_int_equal(message_list(session, fixture.arena, &filter, &messages, &err), 50);
    assert_int_equal(messages[0].id, 1200000);
}

/* The quickest of a few runs, in microseconds. */
static int64_t quickest(counting *count)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 5; i++) {
        struct err err = { 0 };
        struct db_session *session = db_read(fixture.hub.db, TENANT, &err);
        int64_t started_us = clock_mono_us(), took_us;

        assert_non_null(session);
        count(session);
        took_us = clock_mono_us() - started_us;
        best = took_us < best ? took_us : best;
        db_read_end(session);
    }
    return best;
}

static void counting_does_not_read_every_message(void **state)
{
    static const struct {
        const char *name;
        counting *count;
        bool needs_index;           /* of what is stuck: SQLite alone has it */
    } counts[] = { { "stats", count_day, false }, { "outbox", count_outbox, true }, { "failed", list_failed, true },
                   { "since", list_since, false } };
    int64_t whole_us;

    (void)state;
    seed();
    whole_us = quickest(count_all);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int64_t took_us = quickest(counts[i].count);

        print_message("%s: %lld us, reading all: %lld us\n", counts[i].name, (long long)took_us, (long long)whole_us);
        if (took_us * 4 > whole_us && !(counts[i].needs_index && on_postgres()))
            fail_msg("%s took %lld us, reading every message %lld us", counts[i].name, (long long)took_us,
                     (long long)whole_us);
    }
}

/* Jobs say what is queued; those that only wait for a look-up do not count. */
static void the_outbox_is_counted_by_its_jobs(void **state)
{
    static const char *const states[][2] = {
        { "4", "0" }, { "4", "2" }, { "5", "1" }, { "9", "3" }, { "10", "2" }, { "10", "3" }, { "11", NULL },
    };
    struct err err = { 0 };
    struct db_session *session;
    struct stats_queue queue;
    struct stats_outbox outbox;
    char sql[600];

    (void)state;
    must("INSERT INTO conversations (id, tenant_id, channel_id, peer, created_ms, updated_ms) "
         "SELECT 5000, 1, id, '+15550100', 1, 1 FROM channels WHERE name = 'phone'");
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        snprintf(sql, sizeof sql, "INSERT INTO messages (id, tenant_id, conversation_id, position, channel_id, "
                 "direction, state, type, origin, address, text, received_ms, updated_ms) "
                 "VALUES (%zu, 1, 5000, %zu, %lld, 1, %s, 'sms', 1, '+1', 'x', 1, 1)", 70000 + i, i,
                 (long long)channel_id, states[i][0]);
        must(sql);
        if (!states[i][1])
            continue;
        snprintf(sql, sizeof sql, "INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, "
                 "due_ms, message_id, first_ms, created_ms) VALUES (%zu, 1, 1, %s, %zu, 1, 0, 1, 1, %zu, 1, 1)",
                 80000 + i, states[i][1], i, 70000 + i);
        must(sql);
    }
    session = db_read(fixture.hub.db, TENANT, &err);
    assert_int_equal(stats_queue_read(session, TENANT, &queue, &err), 0);
    assert_int_equal(stats_outbox_read(session, TENANT, &queue, &outbox, &err), 0);
    db_read_end(session);
    assert_int_equal(outbox.queued, 2);
    assert_int_equal(outbox.sending, 1);
    assert_int_equal(outbox.held, 1);
    assert_int_equal(outbox.unknown, 2);
    assert_int_equal(outbox.failed, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(counting_does_not_read_every_message), TEST(the_outbox_is_counted_by_its_jobs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
