/* Channels whose far side fetches what is to be sent: offered, offered again, settled by key, unknown in the end. */
#include "work.h"

#include "core/inbox_receipt.h"
#include "core/offer.h"
#include "core/outbox.h"
#include "core/queue_lane.h"

static int64_t add_pulling(const char *kind)
{
    int64_t id = add_channel(kind, NULL);

    MUST("UPDATE channels SET pulls = 1 WHERE id = %lld", (long long)id);
    channel_forget();
    return id;
}

static struct offer take(int64_t channel_id, int wanted)
{
    struct err err = { 0 };
    struct channel *channel = arena_alloc(arena, sizeof *channel);
    struct offer offer = { .arena = arena, .channel = channel, .wanted = wanted };

    assert_int_equal(channel_load(hub.db, arena, CHANNEL_ID(TENANT, channel_id), channel, &err), 1);
    if (offer_take(&hub, &offer, &err))
        fail_msg("offer: %s", err.detail);
    return offer;
}

static enum inbox_outcome settle(int64_t channel_id, const char *key, enum message_state state)
{
    const struct channel_event event = { .kind = CHANNEL_RECEIPT, .key = str_c(key), .state = state,
        .external_id = str_c(arena_printf(arena, "far-%s", key)), .code = STR("no_service"), .hint = STR("Wait.") };
    struct inbox_result result = { 0 };
    struct inbox_write write = { .tenant_id = TENANT, .channel_id = channel_id, .events = &event, .count = 1,
        .results = &result };
    struct err err = { 0 };

    if (inbox_accept(&hub, arena, &write, &err))
        fail_msg("inbox: %s", err.detail);
    return result.outcome;
}

static void test_workers_leave_it_alone(void **state)
{
    int64_t channel = add_pulling("test"), id = send_text(channel, "anna", "hi");

    (void)state;
    run_all();
    assert_int_equal(peer.count, 0);
    assert_int_equal(state_of(id), MESSAGE_QUEUED);
    /* the control: without the mark it goes out */
    MUST("UPDATE channels SET pulls = 0");
    run_all();
    assert_int_equal(peer.count, 1);
}

static void test_offered_again_until_settled(void **state)
{
    int64_t channel = add_pulling("test"), id = send_text(channel, "anna", "one"), next = send_text(channel, "anna",
                                                                                                    "two");
    struct offer first = take(channel, 10), again = take(channel, 10);
    const char *key = arena_strdup(arena, first.jobs[0].key);

    (void)state;
    assert_int_equal(first.count, 1);       /* the lane's head alone */
    assert_string_equal(first.jobs[0].to, "anna");
    assert_int_equal(again.count, 1);
    assert_string_equal(again.jobs[0].key, key);
    assert_int_equal(state_of(id), MESSAGE_SENDING);
    assert_int_equal(number("SELECT COUNT(*) FROM attempts"), 1);
    assert_int_equal(settle(channel, key, MESSAGE_DELIVERED), INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
    assert_int_equal(number("SELECT COUNT(*) FROM attempts WHERE outcome = 1 AND external_id LIKE 'far-%'"), 1);
    assert_int_equal(settle(channel, key, MESSAGE_DELIVERED), INBOX_DUPLICATE);
    /* the lane goes on */
    again = take(channel, 10);
    assert_int_equal(again.count, 1);
    assert_int_equal(again.jobs[0].text.len, 3);
    assert_int_equal(settle(channel, again.jobs[0].key, MESSAGE_SENT), INBOX_STORED);
    assert_int_equal(state_of(next), MESSAGE_SENT);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE kind = 1"), 0);
    assert_int_equal(take(channel, 10).count, 0);
}

static void test_parts_come_one_after_the_other(void **state)
{
    int64_t channel = add_pulling("test"), id;
    struct offer offer;

    (void)state;
    id = send_text(channel, "anna", "This text is longer than forty characters, so it has two parts.");
    offer = take(channel, 10);
    assert_int_equal(offer.count, 1);
    assert_int_equal(offer.jobs[0].part, 0);
    assert_int_equal(settle(channel, offer.jobs[0].key, MESSAGE_SENT), INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_QUEUED);
    offer = take(channel, 10);
    assert_int_equal(offer.count, 1);
    assert_int_equal(offer.jobs[0].part, 1);
    assert_int_equal(settle(channel, offer.jobs[0].key, MESSAGE_SENT), INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_SENT);
}

static void test_a_failure_gets_another_key(void **state)
{
    struct err err = { 0 };
    int64_t channel = add_pulling("test"), id = send_text(channel, "anna", "one");
    const char *key = arena_strdup(arena, take(channel, 10).jobs[0].key);
    struct offer again;

    (void)state;
    assert_int_equal(settle(channel, key, MESSAGE_FAILED), INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_FAILED);
    assert_int_equal(number("SELECT COUNT(*) FROM audit WHERE action = 'send.failed'"), 1);
    assert_int_equal(outbox_retry(&hub, TENANT, id, &err), 1);
    again = take(channel, 10);
    assert_int_equal(again.count, 1);
    assert_string_not_equal(again.jobs[0].key, key);
    /* the first one's late word does not fail the second */
    assert_int_equal(settle(channel, key, MESSAGE_FAILED), INBOX_DUPLICATE);
    assert_int_equal(state_of(id), MESSAGE_SENDING);
    assert_int_equal(settle(channel, again.jobs[0].key, MESSAGE_SENT), INBOX_STORED);
    assert_int_equal(settle(channel, key, MESSAGE_FAILED), INBOX_DUPLICATE);
    assert_int_equal(state_of(id), MESSAGE_SENT);
}

static void test_never_settled_is_unknown(void **state)
{
    struct err err = { 0 };
    int64_t channel = add_pulling("test"), id = send_text(channel, "anna", "one");
    const char *key = arena_strdup(arena, take(channel, 10).jobs[0].key);

    (void)state;
    assert_int_equal(queue_orphan(&hub, &err), 0);      /* another start of the hub takes nothing back */
    sweep_once();
    assert_int_equal(state_of(id), MESSAGE_SENDING);
    MUST("UPDATE jobs SET lease_until_ms = 1 WHERE state = 1");
    assert_int_equal(take(channel, 10).count, 0);
    sweep_once();
    assert_int_equal(state_of(id), MESSAGE_UNKNOWN);
    assert_int_equal(take(channel, 10).count, 0);       /* no silent repeat */
    /* a person may: with the same key, by which the far side knows it */
    assert_int_equal(outbox_retry(&hub, TENANT, id, &err), 1);
    assert_string_equal(take(channel, 10).jobs[0].key, key);
    assert_int_equal(settle(channel, key, MESSAGE_READ), INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_READ);
}

static void test_checks_of_any_claim(void **state)
{
    int64_t channel = add_pulling("test"), id = send_text(channel, "anna", "late"), other;

    (void)state;
    MUST("UPDATE messages SET expires_ms = 1 WHERE id = %lld", (long long)id);
    assert_int_equal(take(channel, 10).count, 0);
    assert_int_equal(state_of(id), MESSAGE_EXPIRED);
    other = send_text(channel, "bob", "one");
    send_text(channel, "carl", "two");
    MUST("UPDATE channels SET per_hour = 1");
    assert_int_equal(take(channel, 10).count, 1);
    assert_int_equal(take(channel, 10).count, 1);
    assert_int_equal(state_of(other), MESSAGE_SENDING);
    assert_int_equal(take(add_pulling("test"), 10).count, 0);
    MUST("UPDATE channels SET state = 1");
    channel_forget();
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE offered_ms IS NOT NULL"), 1);
}

static int settle_tx(struct db_session *tx, void *arg, struct err *err)
{
    return offer_settle(tx, arg, NULL, err) < 0 ? -1 : 0;
}

static void test_surely_not_sent_is_offered_later(void **state)
{
    int64_t channel = add_pulling("test"), id = send_text(channel, "anna", "one");
    struct offer_result result = { .tenant_id = TENANT, .channel_id = channel, .outcome = SEND_RETRY,
        .code = STR("offline") };
    struct err err = { 0 };

    (void)state;
    for (int i = 0; i < LIMIT_SEND_ATTEMPTS; i++) {
        struct offer offer = take(channel, 10);

        assert_int_equal(offer.count, 1);
        result.key = str_c(offer.jobs[0].key);
        assert_int_equal(db_write(hub.db, settle_tx, &result, &err), 0);
        assert_int_equal(take(channel, 10).count, 0);
        MUST("UPDATE jobs SET due_ms = 1");
        send_once(NULL);
    }
    assert_int_equal(state_of(id), MESSAGE_FAILED);
    assert_int_equal(peer.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_workers_leave_it_alone), TEST(test_offered_again_until_settled),
        TEST(test_parts_come_one_after_the_other), TEST(test_a_failure_gets_another_key),
        TEST(test_never_settled_is_unknown), TEST(test_checks_of_any_claim),
        TEST(test_surely_not_sent_is_offered_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
