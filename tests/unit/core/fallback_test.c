#include "work.h"

#include "core/fallback.h"
#include "core/inbox.h"
#include "core/outbox.h"

#define AFTER_MS 60000

static int64_t first, other;        /* the channels */

static int64_t send_with_fallback(const char *to)
{
    const struct outbox_request request = { .tenant_id = 1, .channel_id = first, .to = str_c(to), .text = STR("hello"),
        .type = STR("text"), .priority = PRIORITY_NORMAL, .origin = ORIGIN_PERSON,
        .fallback = { .channel_id = other, .after_ms = AFTER_MS } };

    return send_request(&request);
}

static void begin(void)
{
    first = add_channel("test", NULL);
    other = add_channel("repeat", NULL);
}

static int64_t sent_over(int64_t channel)
{
    return NUMBER("SELECT count(*) FROM messages WHERE direction = 1 AND channel_id = %lld AND state = %d",
                  (long long)channel, MESSAGE_SENT);
}

static int64_t fallback_state(void)
{
    return number("SELECT state FROM fallbacks");
}

static void receipt(int64_t message, enum message_state to)
{
    const char *sql = arena_printf(arena, "SELECT external_id FROM messages WHERE id = %lld", (long long)message);
    const struct channel_event event = { .kind = CHANNEL_RECEIPT, .state = to, .external_id = str_c(text_of(sql)) };

    say_event(first, &event);
}

static void later(int64_t ms)
{
    pass_ms(ms);
    sweep_once();
    run_all();
}

static void no_receipt_in_time_falls_back_once(void **state)
{
    int64_t message;

    (void)state;
    begin();
    message = send_with_fallback("+49301");
    run_all();
    later(AFTER_MS - 1000);
    assert_int_equal(sent_over(other), 0);
    later(1000);
    assert_int_equal(sent_over(other), 1);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(fallback_state(), 1);
    assert_int_equal(NUMBER("SELECT count(*) FROM events WHERE kind = 'message.fell_back' AND object_id = %lld",
                            (long long)message), 1);
    assert_int_equal(number("SELECT count(*) FROM events e JOIN fallbacks f ON f.sent_id = e.object_id WHERE e.kind = "
                            "'message.fallback_of'"), 1);
    for (int i = 0; i < 5; i++)
        later(AFTER_MS);
    assert_int_equal(sent_over(other), 1);
    assert_string_equal(peer.sent[1].text, "hello");
    assert_string_equal(peer.sent[1].to, "+49301");
}

static void a_receipt_makes_it_needless(void **state)
{
    int64_t message;

    (void)state;
    begin();
    message = send_with_fallback("+49301");
    run_all();
    receipt(message, MESSAGE_DELIVERED);
    later(AFTER_MS);
    assert_int_equal(fallback_state(), 2);
    assert_int_equal(peer.count, 1);
}

static void a_failure_does_not_wait(void **state)
{
    (void)state;
    begin();
    peer.script[0] = SEND_REFUSED;
    peer.scripted = 1;
    send_with_fallback("+49301");
    run_all();
    later(5000);
    assert_int_equal(sent_over(other), 1);
    assert_int_equal(fallback_state(), 1);
}

/* A channel that stands still: what it has not sent it does not send later, beside the fallback. */
static void what_still_waits_is_cancelled(void **state)
{
    int64_t message;

    (void)state;
    begin();
    message = send_with_fallback("+49301");
    MUST("UPDATE channels SET state = 1 WHERE id = %lld", (long long)first);
    channel_forget();
    later(AFTER_MS);
    assert_int_equal(state_of(message), MESSAGE_CANCELLED);
    assert_int_equal(sent_over(other), 1);
    MUST("UPDATE channels SET state = 0 WHERE id = %lld", (long long)first);
    channel_forget();
    later(AFTER_MS);
    assert_int_equal(peer.count, 1);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
}

static void a_fallback_that_cannot_be_sent_is_told(void **state)
{
    int64_t message;

    (void)state;
    begin();
    message = send_with_fallback("+49301");
    run_all();
    MUST("UPDATE channels SET state = 1 WHERE id = %lld", (long long)other);
    channel_forget();
    later(AFTER_MS);
    assert_int_equal(fallback_state(), 3);
    assert_true(number("SELECT count(*) FROM fallbacks WHERE reason LIKE '%disabled%'") == 1);
    assert_int_equal(NUMBER("SELECT count(*) FROM events WHERE kind = 'message.fallback_failed' AND object_id = %lld",
                            (long long)message), 1);
}

static void a_wrong_fallback_is_refused(void **state)
{
    struct outbox_write write = { .request = { .tenant_id = 1, .to = STR("+49301"), .text = STR("x"),
        .type = STR("text"), .priority = PRIORITY_NORMAL, .origin = ORIGIN_PERSON } };
    struct err err = { 0 };

    (void)state;
    begin();
    write.request.channel_id = write.request.fallback.channel_id = first;
    assert_int_equal(outbox_prepare(&hub, arena, &write, &err), -1);
    assert_string_equal(err.field, "fallback_channel");
    write.request.fallback = (struct outbox_fallback){ other, STR(" "), 1000 };
    err = (struct err){ 0 };
    assert_int_equal(outbox_prepare(&hub, arena, &write, &err), -1);
    assert_string_equal(err.field, "fallback_to");
}

static void the_verdicts(void **state)
{
    (void)state;
    assert_int_equal(fallback_verdict(MESSAGE_SENT, false), FALLBACK_WAITS);
    assert_int_equal(fallback_verdict(MESSAGE_SENT, true), FALLBACK_SENDS);
    assert_int_equal(fallback_verdict(MESSAGE_UNKNOWN, true), FALLBACK_SENDS);
    assert_int_equal(fallback_verdict(MESSAGE_SENDING, true), FALLBACK_WAITS);
    assert_int_equal(fallback_verdict(MESSAGE_HELD, true), FALLBACK_WAITS);
    assert_int_equal(fallback_verdict(MESSAGE_FAILED, false), FALLBACK_SENDS);
    assert_int_equal(fallback_verdict(MESSAGE_CANCELLED, true), FALLBACK_NEEDLESS);
    assert_int_equal(fallback_verdict(MESSAGE_SUPPRESSED, true), FALLBACK_NEEDLESS);
    assert_int_equal(fallback_verdict(MESSAGE_READ, true), FALLBACK_NEEDLESS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(no_receipt_in_time_falls_back_once), TEST(a_receipt_makes_it_needless), TEST(a_failure_does_not_wait),
        TEST(what_still_waits_is_cancelled), TEST(a_fallback_that_cannot_be_sent_is_told),
        TEST(a_wrong_fallback_is_refused), cmocka_unit_test(the_verdicts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
