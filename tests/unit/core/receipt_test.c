#include "fixture.h"

#include "core/event.h"
#include "core/inbox_receipt.h"
#include "core/outbox.h"

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

/* An outgoing message in `state` with the provider's id. */
static int64_t sent_message(const char *external_id, enum message_state state)
{
    struct outbox_write write = { .request = { .tenant_id = TENANT, .channel_id = channel_id,
        .to = STR("+12025550143"), .text = STR("hi"), .origin = ORIGIN_PERSON,
        .priority = PRIORITY_NORMAL } };
    struct err err = { 0 };
    char sql[200];

    if (outbox_send(&fixture.hub, fixture.arena, &write, &err))
        fail_msg("send: %s", err.detail);
    if (external_id)
        snprintf(sql, sizeof sql,
                 "UPDATE messages SET state = %d, external_id = '%s' WHERE id = %lld", state,
                 external_id, (long long)write.message_id);
    else
        snprintf(sql, sizeof sql, "UPDATE messages SET state = %d WHERE id = %lld", state,
                 (long long)write.message_id);
    must(sql);
    return write.message_id;
}

static struct inbox_result receipt(const char *external_id, enum message_state state)
{
    struct channel_event event = { .kind = CHANNEL_RECEIPT,
                                   .external_id = str_c(external_id),
                                   .state = state };

    if (state == MESSAGE_FAILED)
        event.code = STR("30003");
    return receive(channel_id, event);
}

static enum message_state state_of(int64_t id)
{
    char sql[80];

    snprintf(sql, sizeof sql, "SELECT state FROM messages WHERE id = %lld", (long long)id);
    return (enum message_state)number(sql);
}

static void moves_up_and_never_down(void **state)
{
    int64_t id = sent_message("p1", MESSAGE_SENDING);

    (void)state;
    assert_int_equal(receipt("p1", MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(receipt("p1", MESSAGE_DELIVERED).outcome, INBOX_DUPLICATE);
    assert_int_equal(receipt("p1", MESSAGE_SENT).outcome, INBOX_DUPLICATE);
    assert_int_equal(receipt("p1", MESSAGE_FAILED).outcome, INBOX_DUPLICATE);
    assert_int_equal(receipt("p1", MESSAGE_READ).message_id, id);
    assert_int_equal(state_of(id), MESSAGE_READ);
    assert_int_equal(
        number(
            "SELECT COUNT(*) FROM messages WHERE sent_ms IS NOT NULL AND delivered_ms IS NOT NULL "
            "AND read_ms IS NOT NULL AND error_code IS NULL"),
        1);
    assert_int_equal(receipt("p1", (enum message_state)99).outcome, INBOX_REFUSED);
    assert_int_equal(receipt("p1", MESSAGE_QUEUED).outcome, INBOX_REFUSED);
}

/* All orders of five receipts in one transaction each; `fail` undoes it, so that one message does
 * for all. */
struct permuting {
    enum message_state receipts[5], start, end;
    int64_t id;
};

static int permute_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct permuting *permuting = arg;
    int64_t end;

    for (int i = 0; i < 5; i++) {
        struct receipt one = { .tenant_id = TENANT,
                               .channel_id = channel_id,
                               .at_ms = 5,
                               .external_id = STR("p1"),
                               .state = permuting->receipts[i],
                               .code = STR("30003") };

        if (receipt_apply(tx, &one, NULL, err) == RECEIPT_FAILED)
            return -1;
    }
    if (db_query_int(tx, "SELECT state FROM messages WHERE id = $1", DB_ARGS(db_int(permuting->id)),
                     -1, &end, err))
        return -1;
    permuting->end = (enum message_state)end;
    return err_set(err, ERR_CONFLICT, "undo");
}

static void end_alike_in_whatever_order_they_come(void **state)
{
    static const enum message_state sets[][5] = {
        { MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_READ, MESSAGE_DELIVERED, MESSAGE_SENT },
        { MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_READ, MESSAGE_FAILED, MESSAGE_READ },
        { MESSAGE_SENT, MESSAGE_FAILED, MESSAGE_DELIVERED, MESSAGE_SENT, MESSAGE_FAILED },
        { MESSAGE_SENT, MESSAGE_FAILED, MESSAGE_SENT, MESSAGE_FAILED, MESSAGE_SENT },
        { MESSAGE_READ, MESSAGE_FAILED, MESSAGE_SENT, MESSAGE_FAILED, MESSAGE_SENT },
    };
    static const enum message_state ends[] = { MESSAGE_READ, MESSAGE_READ, MESSAGE_DELIVERED,
                                               MESSAGE_FAILED, MESSAGE_READ };
    static const enum message_state starts[] = { MESSAGE_SENDING, MESSAGE_UNKNOWN, MESSAGE_SENT };
    struct permuting permuting = { .id = sent_message("p1", MESSAGE_SENT) };

    (void)state;
    for (int start = 0; start < 3; start++) {
        char sql[100];

        snprintf(sql, sizeof sql, "UPDATE messages SET state = %d", starts[start]);
        must(sql);
        for (int set = 0; set < 5; set++)
            for (int order = 0; order < 120; order++) {
                struct err err = { 0 };
                bool used[5] = { false };

                for (int i = 0, left = order; i < 5; i++) {
                    int pick = left % (5 - i), at = 0;

                    left /= 5 - i;
                    for (; used[at] || pick-- > 0; at++)
                        continue;
                    used[at] = true;
                    permuting.receipts[i] = sets[set][at];
                }
                assert_int_equal(db_write(fixture.hub.db, permute_tx, &permuting, &err), -1);
                assert_string_equal(err.detail, "undo");
                assert_int_equal(permuting.end, ends[set]);
            }
    }
}

static void waits_for_a_message_that_is_not_named_yet(void **state)
{
    struct err err = { 0 };
    int64_t id;

    (void)state;
    assert_int_equal(receipt("early", MESSAGE_READ).outcome, INBOX_STORED);
    assert_int_equal(receipt("early", MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(receipt("early", MESSAGE_READ).message_id, 0);
    assert_int_equal(number("SELECT COUNT(*) FROM early_receipts"), 2);
    assert_int_equal(inbox_join_late(&fixture.hub, &err), 0);
    id = sent_message("early", MESSAGE_SENT);
    assert_int_equal(inbox_join_late(&fixture.hub, &err), 2);
    assert_int_equal(state_of(id), MESSAGE_READ);
    assert_int_equal(number("SELECT COUNT(*) FROM early_receipts"), 0);
    receipt("nobody", MESSAGE_READ);
    must("UPDATE early_receipts SET at_ms = at_ms - 700000000");
    assert_int_equal(inbox_join_late(&fixture.hub, &err), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM early_receipts"), 0);
}

/* A message whose text went out in so many parts, the provider's ids "part0", ... */
static int64_t sent_in_parts(int parts)
{
    int64_t id = sent_message(NULL, MESSAGE_SENT);
    char sql[300];

    for (int part = 0; part < parts; part++) {
        snprintf(
            sql, sizeof sql,
            "INSERT INTO attempts (id, tenant_id, message_id, channel_id, attempt, part, outcome, "
            "external_id, started_ms) VALUES (%d, 1, %lld, %lld, 1, %d, 1, 'part%d', 1)",
            900 + part, (long long)id, (long long)channel_id, part, part);
        must(sql);
    }
    snprintf(sql, sizeof sql, "UPDATE messages SET parts = %d", parts);
    must(sql);
    return id;
}

static void a_message_is_delivered_when_all_its_parts_are(void **state)
{
    int64_t id = sent_in_parts(3);

    (void)state;
    assert_int_equal(receipt("part2", MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_int_equal(receipt("part2", MESSAGE_DELIVERED).outcome, INBOX_DUPLICATE);
    assert_int_equal(receipt("part0", MESSAGE_READ).outcome, INBOX_STORED);
    assert_int_equal(receipt("part0", MESSAGE_DELIVERED).outcome, INBOX_DUPLICATE);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_int_equal(receipt("part1", MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
    receipt("part1", MESSAGE_READ);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
    receipt("part2", MESSAGE_READ);
    assert_int_equal(state_of(id), MESSAGE_READ);
}

static void a_failed_part_fails_the_message_and_is_named(void **state)
{
    int64_t id = sent_in_parts(3);

    (void)state;
    receipt("part0", MESSAGE_DELIVERED);
    assert_int_equal(receipt("part1", MESSAGE_FAILED).outcome, INBOX_STORED);
    receipt("part2", MESSAGE_DELIVERED);
    assert_int_equal(state_of(id), MESSAGE_FAILED);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE error_code = '30003' "
                            "AND error_hint LIKE 'Part 2 of 3: %'"), 1);
    /* it went through after all */
    assert_int_equal(receipt("part1", MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
}

/* A second try of the whole message begins anew. */
static void receipts_of_an_earlier_try_do_not_count(void **state)
{
    int64_t id = sent_in_parts(2);

    (void)state;
    receipt("part0", MESSAGE_DELIVERED);
    must("INSERT INTO attempts (id, tenant_id, message_id, channel_id, attempt, part, outcome, external_id, "
         "started_ms) SELECT id + 50, tenant_id, message_id, channel_id, 2, part, 1, "
         "'again' || CAST(part AS TEXT), 2 FROM attempts");
    receipt("again1", MESSAGE_DELIVERED);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    receipt("again0", MESSAGE_DELIVERED);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
}

static struct inbox_result segment_receipt(const char *external_id, enum message_state state,
                                           const char *segment, int64_t segments)
{
    return receive(channel_id, (struct channel_event){ .kind = CHANNEL_RECEIPT,
        .external_id = str_c(external_id), .state = state, .segment = str_c(segment),
        .segments = segments });
}

static void a_part_is_delivered_when_all_its_segments_are(void **state)
{
    int64_t id = sent_in_parts(1);

    (void)state;
    assert_int_equal(segment_receipt("part0", MESSAGE_SENT, NULL, 3).outcome, INBOX_STORED);
    assert_int_equal(segment_receipt("part0", MESSAGE_DELIVERED, "10:00:01", 0).outcome, INBOX_STORED);
    assert_int_equal(segment_receipt("part0", MESSAGE_DELIVERED, "10:00:01", 0).outcome, INBOX_DUPLICATE);
    assert_int_equal(segment_receipt("part0", MESSAGE_DELIVERED, "10:00:02", 0).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_int_equal(segment_receipt("part0", MESSAGE_DELIVERED, "10:00:03", 0).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
    assert_int_equal(segment_receipt("part0", MESSAGE_SENT, NULL, 9999).outcome, INBOX_REFUSED);
}

/* Until the phone says into how many SMS it cut the text, they are counted here. */
static void segments_are_counted_where_nobody_says(void **state)
{
    int64_t id = sent_in_parts(1);
    char sql[500];

    (void)state;
    snprintf(sql, sizeof sql, "UPDATE messages SET text = '%0200d'", 7);
    must(sql);
    segment_receipt("part0", MESSAGE_DELIVERED, "1", 0);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    segment_receipt("part0", MESSAGE_DELIVERED, "2", 0);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
}

static void the_number_of_segments_may_come_last(void **state)
{
    int64_t id;
    char sql[500];

    (void)state;
    segment_receipt("part0", MESSAGE_DELIVERED, "1", 0);
    segment_receipt("part0", MESSAGE_DELIVERED, "2", 0);
    assert_int_equal(number("SELECT COUNT(*) FROM early_receipts"), 2);
    id = sent_in_parts(1);
    snprintf(sql, sizeof sql, "UPDATE messages SET text = '%0400d'", 7);
    must(sql);
    assert_int_equal(inbox_join_late(&fixture.hub, &(struct err){ 0 }), 2);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    segment_receipt("part0", MESSAGE_SENT, NULL, 2);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
}

static void ends_the_wait_of_an_unknown_message(void **state)
{
    int64_t id = sent_message("u", MESSAGE_UNKNOWN);

    (void)state;
    must("UPDATE jobs SET state = 3, head = 0");
    assert_int_equal(receipt("u", MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 0);
}

/* The phone reports what it sent for the hub as if its owner had typed it. */
static void takes_the_echo_of_its_own_sending(void **state)
{
    struct channel_event own = text_event("+12025550143", "echo", "hi");
    int64_t id = sent_message(NULL, MESSAGE_UNKNOWN);
    struct inbox_result result;

    (void)state;
    own.kind = CHANNEL_OWN_MESSAGE;
    result = receive(channel_id, own);
    assert_int_equal(result.outcome, INBOX_DUPLICATE);
    assert_int_equal(result.message_id, id);
    assert_int_equal(
        number("SELECT COUNT(*) FROM messages WHERE state = 6 AND external_id = 'echo'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1);
    own.text = STR("typed by a person");
    own.external_id = STR("typed");
    assert_int_equal(receive(channel_id, own).outcome, INBOX_STORED);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE origin = 2 AND state = 6"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(moves_up_and_never_down), TEST(end_alike_in_whatever_order_they_come),
        TEST(waits_for_a_message_that_is_not_named_yet), TEST(a_message_is_delivered_when_all_its_parts_are),
        TEST(a_failed_part_fails_the_message_and_is_named), TEST(receipts_of_an_earlier_try_do_not_count),
        TEST(a_part_is_delivered_when_all_its_segments_are), TEST(segments_are_counted_where_nobody_says),
        TEST(the_number_of_segments_may_come_last),
        TEST(ends_the_wait_of_an_unknown_message), TEST(takes_the_echo_of_its_own_sending),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
