#include "fixture.h"

#include "core/conversation.h"
#include "core/optout.h"
#include "core/outbox.h"
#include "core/queue.h"

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

static struct outbox_write *text_to(const char *to, const char *text)
{
    struct outbox_write *write = arena_alloc(fixture.arena, sizeof *write);

    write->request = (struct outbox_request){ .tenant_id = TENANT,
                                              .channel_id = channel_id,
                                              .to = str_c(to),
                                              .text = str_c(text),
                                              .origin = ORIGIN_PERSON,
                                              .priority = PRIORITY_NORMAL };
    return write;
}

/* Send it; ERR_NONE or why not. */
static enum err_code submit(struct outbox_write *write)
{
    struct err err = { 0 };

    return outbox_send(&fixture.hub, fixture.arena, write, &err) ? err.code : ERR_NONE;
}

static int64_t send(const char *to, const char *text)
{
    struct outbox_write *write = text_to(to, text);

    assert_int_equal(submit(write), ERR_NONE);
    return write->message_id;
}

static void queues_with_job_lane_and_log(void **state)
{
    int64_t first = send("(202) 555-0143", "one"), second = send("+12025550143", "two");
    char sql[200];

    (void)state;
    assert_int_equal(number("SELECT COUNT(*) FROM conversations"), 1);
    assert_int_equal(
        number("SELECT COUNT(*) FROM messages WHERE direction = 1 AND state = 4 AND origin = 1 "
               "AND address = '+12025550143' AND expires_ms = received_ms + 86400000"),
        2);
    snprintf(sql, sizeof sql, "SELECT head FROM jobs WHERE message_id = %lld", (long long)first);
    assert_int_equal(number(sql), 1);
    snprintf(sql, sizeof sql, "SELECT head FROM jobs WHERE message_id = %lld", (long long)second);
    assert_int_equal(number(sql), 0);
    assert_int_equal(
        number(
            "SELECT COUNT(*) FROM jobs j JOIN messages m ON m.id = j.message_id WHERE j.kind = 1 "
            "AND j.lane = m.conversation_id AND j.lane_seq = m.position AND j.state = 0"),
        2);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.queued'"), 2);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE paused_until_ms > 0"), 1);
}

static void ignore(struct db_write_item *item)
{
    assert_int_equal(item->err.code, ERR_NONE);
}

/* Many in one group: order of arrival inside each lane, one head each. */
static void keeps_the_order_of_a_group(void **state)
{
    struct outbox_write *writes[30];
    struct err err = { 0 };

    (void)state;
    for (int i = 0; i < 30; i++) {
        writes[i] = text_to(arena_printf(fixture.arena, "+1202555010%d", i % 3),
                            arena_printf(fixture.arena, "%d", i));
        assert_int_equal(outbox_prepare(&fixture.hub, fixture.arena, writes[i], &err), 0);
    }
    for (int i = 0; i < 30; i++) {
        writes[i]->item.done = ignore;
        assert_int_equal(db_submit(fixture.hub.db, &writes[i]->item, &err), 0);
    }
    assert_int_equal(db_step(fixture.hub.db), 30);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE head = 1"), 3);
    assert_int_equal(number("SELECT COUNT(*) FROM messages a JOIN messages b ON b.conversation_id "
                            "= a.conversation_id "
                            "AND b.position = a.position + 1 WHERE CAST(b.text AS BIGINT) <> "
                            "CAST(a.text AS BIGINT) + 3"),
                     0);
}

static void refuses_what_cannot_be_sent(void **state)
{
    int64_t mute = add_channel(TENANT, "mute", "mute"), group;
    struct channel_event event = text_event("+12025550143", "g", "to all");
    struct outbox_write *write = text_to("+12025550143", "");

    (void)state;
    assert_int_equal(submit(write), ERR_INVALID);
    write = text_to("", "hi");
    assert_int_equal(submit(write), ERR_INVALID);
    write = text_to("+12025550143", "\xff");
    assert_int_equal(submit(write), ERR_INVALID);
    write = text_to("+12025550143", "hi");
    write->request.expires_ms = clock_ms() - 1;
    assert_int_equal(submit(write), ERR_INVALID);
    write = text_to("+12025550143", "hi");
    write->request.channel_id = mute;
    assert_int_equal(submit(write), ERR_CONFLICT);
    write->request.channel_id = 424242;
    assert_int_equal(submit(write), ERR_NOT_FOUND);
    write = text_to("+12025550143", "hi");
    write->request.tenant_id = add_tenant("other");
    assert_int_equal(submit(write), ERR_NOT_FOUND);
    event.group = STR("family");
    receive(channel_id, event);
    group = number("SELECT id FROM conversations WHERE is_group = 1");
    write = text_to("", "hi all");
    write->request.conversation_id = group;
    write->request.origin = ORIGIN_AGENT;
    assert_int_equal(submit(write), ERR_CONFLICT);
    write->request.origin = ORIGIN_PERSON;
    assert_int_equal(submit(write), ERR_NONE);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE direction = 1"), 1);
    must("UPDATE channels SET state = 1");
    channel_forget();
    assert_int_equal(submit(text_to("+12025550143", "hi")), ERR_CONFLICT);
}

static void splits_long_texts_and_limits_the_parts(void **state)
{
    int64_t plain = add_channel(TENANT, "plain", "plain");
    char *text = arena_alloc(fixture.arena, 5001);
    struct outbox_write *write;

    (void)state;
    memset(text, 'x', 5000);
    write = text_to("ada", "this text has more than forty characters in it, so it has parts");
    write->request.channel_id = plain;
    assert_int_equal(submit(write), ERR_NONE);
    assert_int_equal(number("SELECT parts FROM messages"), 2);
    write = text_to("ada", text);
    write->request.channel_id = plain;
    assert_int_equal(submit(write), ERR_INVALID);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1);
}

static void sends_nothing_to_who_said_stop(void **state)
{
    struct outbox_write *write = text_to("+12025550143", "buy now");

    (void)state;
    say(channel_id, "+12025550143", "s", "STOP");
    must("UPDATE contacts SET opted_out_ms = 5");
    assert_int_equal(submit(write), ERR_NONE);
    assert_true(write->suppressed);
    assert_int_equal(
        number("SELECT COUNT(*) FROM messages WHERE state = 14 AND error_code = 'opted_out' "
               "AND error_hint LIKE '%no more messages%'"),
        1);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE kind = 1"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.suppressed'"), 1);
    write = text_to("+12025550143", "You will get no more texts.");
    write->request.origin = ORIGIN_AUTO;
    write->request.metadata = optout_metadata();
    assert_int_equal(submit(write), ERR_NONE);
    assert_false(write->suppressed);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE kind = 1"), 1);
}

static void machines_count_their_turns_and_people_end_them(void **state)
{
    struct outbox_write *write;

    (void)state;
    for (int i = 0; i < 3; i++) {
        write = text_to("+12025550143", "beep");
        write->request.origin = ORIGIN_AGENT;
        assert_int_equal(submit(write), ERR_NONE);
    }
    assert_int_equal(number("SELECT auto_turns FROM conversations"), 3);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE paused_until_ms IS NULL"), 1);
    send("+12025550143", "I take over");
    assert_int_equal(number("SELECT auto_turns FROM conversations"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE paused_until_ms IS NOT NULL"),
                     1);
}

static void repeats_and_replays_without_doubling(void **state)
{
    struct idempotency idempotency = {
        .tenant_id = TENANT, .key_id = 5, .name = STR("k1"), .status = 202, .answer = STR("{}")
    };
    struct outbox_write *write = text_to("+12025550143", "once"),
                        *again = text_to("+12025550143", "once");
    struct outbox_write *bare = text_to("+12025550143", "bare");
    struct err err = { 0 };

    (void)state;
    write->idempotency = again->idempotency = &idempotency;
    assert_int_equal(submit(write), ERR_NONE);
    assert_false(write->replayed);
    assert_int_equal(submit(again), ERR_NONE);
    assert_true(again->replayed);
    assert_int_equal(submit(bare), ERR_NONE);
    /* the commit's answer got lost: the same prepared write runs again */
    assert_int_equal(db_submit_wait(fixture.hub.db, &bare->item, &err), 0);
    assert_int_equal(db_submit_wait(fixture.hub.db, &write->item, &err), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 2);
    assert_int_equal(number("SELECT last_position FROM conversations"), 2);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 2);
}

static void schedules_outside_the_lane(void **state)
{
    struct outbox_write *write = text_to("+12025550143", "later");

    (void)state;
    write->request.scheduled_ms = clock_ms() + 3600000;
    assert_int_equal(submit(write), ERR_NONE);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE state = 2 AND head = 0"), 1);
    assert_int_equal(
        number("SELECT COUNT(*) FROM messages WHERE expires_ms = scheduled_ms + 86400000"), 1);
    send("+12025550143", "now");
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE state = 0 AND head = 1"), 1);
}

static void people_cancel_hold_and_retry(void **state)
{
    int64_t first = send("+12025550143", "one"), second = send("+12025550143", "two"), third;
    struct hub *hub = &fixture.hub;
    struct err err = { 0 };
    char sql[100];

    (void)state;
    third = send("+12025550143", "three");
    assert_int_equal(outbox_cancel(hub, TENANT, first, &err), 1);
    assert_int_equal(outbox_cancel(hub, TENANT, first, &err), 0);
    snprintf(sql, sizeof sql, "SELECT head FROM jobs WHERE message_id = %lld", (long long)second);
    assert_int_equal(number(sql), 1);
    assert_int_equal(outbox_hold(hub, TENANT, second, &err), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE state = 3 AND head = 0"), 1);
    snprintf(sql, sizeof sql, "SELECT head FROM jobs WHERE message_id = %lld", (long long)third);
    assert_int_equal(number(sql), 1);
    assert_int_equal(outbox_retry(hub, TENANT, second, &err), 1);
    assert_int_equal(outbox_retry(hub, TENANT, second, &err), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE head = 1"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 2);
    assert_int_equal(outbox_retry(hub, TENANT, first, &err), 0);
    assert_int_equal(outbox_cancel(hub, 999, second, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    say(channel_id, "+12025550143", "in", "an inbound one");
    assert_int_equal(outbox_cancel(hub, TENANT,
                                   number("SELECT id FROM messages WHERE direction = 0"), &err),
                     -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void people_resolve_what_is_unknown(void **state)
{
    int64_t first = send("+12025550143", "one"), second = send("+12025550144", "two");
    struct hub *hub = &fixture.hub;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(outbox_resolve(hub, TENANT, first, true, &err), 0);
    must("UPDATE messages SET state = 10, error_code = 'timeout', expires_ms = 1");
    must("UPDATE jobs SET state = 3, head = 0, attempt = 1");
    must("INSERT INTO attempts (id, tenant_id, message_id, channel_id, attempt, part, outcome, "
         "started_ms) "
         "SELECT id, 1, message_id, channel_id, 1, 0, 4, 1 FROM jobs");
    assert_int_equal(outbox_resolve(hub, TENANT, first, true, &err), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE state = 6 AND error_code IS NULL"),
                     1);
    assert_int_equal(outbox_resolve(hub, TENANT, second, false, &err), 1);
    assert_int_equal(
        number("SELECT COUNT(*) FROM messages WHERE state = 11 AND error_code = 'not_arrived'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 0);
    assert_int_equal(outbox_retry(hub, TENANT, second, &err), 1);
    assert_int_equal(
        number("SELECT COUNT(*) FROM jobs WHERE head = 1 AND attempt = 1 AND part = 0"), 1);
    assert_int_equal(number(
                         "SELECT COUNT(*) FROM messages WHERE state = 4 AND expires_ms > 1000000 "
                         "AND error_code IS NULL"),
                     1);
}

static void drafts_take_their_place_when_sent(void **state)
{
    struct outbox_write *draft = text_to("+12025550143", "think first");
    struct err err = { 0 };

    (void)state;
    draft->request.draft = true;
    assert_int_equal(submit(draft), ERR_NONE);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE paused_until_ms IS NULL "
                            "AND last_message_id IS NULL"), 1);
    send("+12025550143", "meanwhile");
    assert_int_equal(outbox_send_draft(&fixture.hub, TENANT, draft->message_id, &err), 1);
    assert_int_equal(outbox_send_draft(&fixture.hub, TENANT, draft->message_id, &err), 0);
    assert_int_equal(number("SELECT position FROM messages WHERE text = 'think first'"), 3);
    assert_int_equal(number("SELECT lane_seq FROM jobs WHERE head = 0"), 3);
}

static void plans_without_writing(void **state)
{
    struct outbox_write *write = text_to("(202) 555-0143", "caf\xc3\xa9 \xf0\x9f\x98\x80");
    struct outbox_plan plan;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(outbox_plan(&fixture.hub, fixture.arena, &write->request, &plan, &err), 0);
    assert_string_equal(plan.encoding, "UCS-2");
    assert_int_equal(plan.parts, 1);
    assert_int_equal(plan.segments, 1);
    assert_true(str_is(plan.to, "+12025550143"));
    assert_true(str_is(plan.channel_name, "phone"));
    assert_false(plan.opted_out);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(queues_with_job_lane_and_log),
        TEST(keeps_the_order_of_a_group),
        TEST(refuses_what_cannot_be_sent),
        TEST(splits_long_texts_and_limits_the_parts),
        TEST(sends_nothing_to_who_said_stop),
        TEST(machines_count_their_turns_and_people_end_them),
        TEST(repeats_and_replays_without_doubling),
        TEST(schedules_outside_the_lane),
        TEST(people_cancel_hold_and_retry),
        TEST(people_resolve_what_is_unknown),
        TEST(drafts_take_their_place_when_sent),
        TEST(plans_without_writing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
