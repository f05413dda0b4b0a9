#include "work.h"

#include "core/breaker.h"
#include "core/queue_lane.h"
#include "core/send.h"

#define LONG_TEXT \
    "this text has more than forty characters, so that it leaves in three parts, each of them " \
    "counted"

static void script(enum send_outcome a, enum send_outcome b, enum send_outcome c)
{
    peer.script[0] = a;
    peer.script[1] = b;
    peer.script[2] = c;
    peer.scripted = 3;
}

/* Until nothing moves any more, however late it is due. */
static void run_for(int64_t ms)
{
    for (int64_t passed = 0; passed <= ms; passed += 500) {
        run_all();
        sweep_once();
        pass_ms(500);
    }
    run_all();
}

static const char *code_of(int64_t message)
{
    return text_of(arena_printf(arena, "SELECT error_code FROM messages WHERE id = %lld",
                                (long long)message));
}

/* --- The good way ----------------------------------------------------------------------------- */

static void sends_and_tells_every_step(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    assert_int_equal(state_of(message), MESSAGE_QUEUED);
    assert_int_equal(send_once(NULL), 1);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_string_equal(peer.sent[0].to, "+49301");
    assert_string_equal(peer.sent[0].text, "hello");
    assert_int_equal(NUMBER("SELECT outcome FROM attempts WHERE message_id = %lld",
                            (long long)message), ATTEMPT_DONE);
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind IN ('message.queued', "
                            "'message.sending', "
                            "'message.sent')"), 3);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE sent_ms IS NOT NULL AND "
                            "external_id IS NOT NULL"), 1);
}

/* The row of a try is committed before its first byte leaves. */
static enum send_outcome look_at_attempt(const struct send_job *job, struct send_result *result)
{
    (void)result;
    assert_int_equal(NUMBER("SELECT count(*) FROM attempts WHERE outcome = 0 AND part = %d AND "
                            "finished_ms IS NULL",
                            job->part), 1);
    assert_int_equal(NUMBER("SELECT count(*) FROM attempts WHERE outcome = 1"), job->part);
    assert_int_equal(number("SELECT state FROM messages WHERE direction = 1"), MESSAGE_SENDING);
    return SEND_DONE;
}

static void every_part_is_announced_before_it_leaves(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", LONG_TEXT);

    (void)state;
    peer.decide = look_at_attempt;
    run_all();
    assert_int_equal(peer.count, 3);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peer.sent[i].part, i);
        assert_int_equal(peer.sent[i].parts, 3);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(peer.sent[i].key, peer.sent[k].key);
    }
    assert_int_equal(number("SELECT count(*) FROM attempts WHERE outcome = 1"), 3);
}

static void answers_by_reference(void **state)
{
    int64_t channel = add_channel("test", NULL), question = say(channel, "+49301", "why?");
    const struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel,
        .to = STR("+49301"),
        .text = STR("because"), .origin = ORIGIN_PERSON, .priority = PRIORITY_NORMAL,
            .reply_to_id = question };

    (void)state;
    send_request(&request);
    run_all();
    assert_true(str_starts(str_c(peer.sent[0].reply_to), "in-"));
}

/* --- Trying again ----------------------------------------------------------------------------- */

static void tries_three_times_and_says_why(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    peer.always = SEND_RETRY;
    peer.result = (struct send_result){ .code = STR("busy"), .hint = STR("The line is busy.") };
    run_all();
    assert_int_equal(peer.count, 1);
    assert_int_equal(state_of(message), MESSAGE_QUEUED);
    assert_string_equal(code_of(message), "busy");
    run_for(40000);
    assert_int_equal(peer.count, LIMIT_SEND_ATTEMPTS);
    assert_true(peer.sent[1].at_ms - peer.sent[0].at_ms <= 5500);
    assert_true(peer.sent[2].at_ms - peer.sent[1].at_ms <= 30500);
    assert_int_equal(state_of(message), MESSAGE_FAILED);
    assert_string_equal(code_of(message), "busy");
    assert_int_equal(number("SELECT count(*) FROM messages WHERE error_hint IS NOT NULL"), 1);
    assert_int_equal(number("SELECT count(*) FROM audit WHERE action = 'send.failed'"), 1);
    assert_string_equal(peer.sent[0].key, peer.sent[2].key);
    run_for(600000);
    assert_int_equal(peer.count, LIMIT_SEND_ATTEMPTS);
}

static void success_clears_the_error(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    script(SEND_RETRY, SEND_RETRY, SEND_DONE);
    run_for(40000);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_string_equal(code_of(message), "");
}

static void a_refusal_is_final(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    peer.always = SEND_REFUSED;
    peer.result.code = STR("21211");
    run_for(200000);
    assert_int_equal(peer.count, 1);
    assert_int_equal(state_of(message), MESSAGE_FAILED);
    assert_string_equal(code_of(message), "21211");
}

static void a_429_counts_for_nothing_and_stops_the_channel(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello"),
        other;

    (void)state;
    peer.always = SEND_RETRY;
    peer.result = (struct send_result){ .code = STR("429"), .retry_after_s = 20 };
    for (int i = 0; i < 10; i++) {
        run_all();
        assert_int_equal(peer.count, i + 1);
        assert_int_equal(state_of(message), MESSAGE_QUEUED);
        pass_ms(19999);
        run_all();
        assert_int_equal(peer.count, i + 1);
        pass_ms(1);
    }
    other = send_text(channel, "+49302", "me too");
    run_all();
    peer.always = SEND_DONE;
    pass_ms(20000);
    run_all();
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(state_of(other), MESSAGE_SENT);
}

/* --- What may have gone out ------------------------------------------------------------------- */

static void set_policy(enum tenant_policy policy)
{
    MUST("UPDATE tenants SET unknown_policy = %d", policy);
}

static void unsure_is_held_and_never_resent(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello"),
        next;
    struct err err = { 0 };

    (void)state;
    next = send_text(channel, "+49301", "next");
    script(SEND_UNSURE, SEND_DONE, SEND_DONE);
    run_for(300000);
    assert_int_equal(state_of(message), MESSAGE_UNKNOWN);
    assert_int_equal(state_of(next), MESSAGE_SENT);         /* the lane goes on */
    assert_int_equal(peer.count, 2);
    assert_int_equal(outbox_resolve(&hub, TENANT, message, true, &err), 1);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
}

static void unsure_is_resent_or_failed_where_the_tenant_says_so(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    set_policy(TENANT_UNKNOWN_RESEND);
    script(SEND_UNSURE, SEND_DONE, SEND_DONE);
    run_for(10000);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(peer.count, 2);
    set_policy(TENANT_UNKNOWN_FAIL);
    peer.always = SEND_UNSURE;
    peer.scripted = 0;
    message = send_text(channel, "+49301", "again");
    run_for(10000);
    assert_int_equal(state_of(message), MESSAGE_FAILED);
    assert_int_equal(peer.count, 3);
}

static void unsure_is_tried_again_where_the_key_protects(void **state)
{
    int64_t channel = add_channel("repeat", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    script(SEND_UNSURE, SEND_DONE, SEND_DONE);
    run_for(10000);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(peer.count, 2);
    assert_string_equal(peer.sent[0].key, peer.sent[1].key);
}

static void a_look_up_finds_it_at_once(void **state)
{
    int64_t channel = add_channel("lookup", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    peer.always = SEND_UNSURE;
    peer.lookup = SEND_DONE;
    run_all();
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(peer.count, 1);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE external_id IS NOT NULL"), 1);
}

static void a_no_is_believed_after_a_minute(void **state)
{
    int64_t channel = add_channel("lookup", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    script(SEND_UNSURE, SEND_DONE, SEND_DONE);
    peer.lookup = SEND_RETRY;
    run_for(59000);
    assert_int_equal(state_of(message), MESSAGE_UNKNOWN);
    assert_int_equal(peer.count, 1);
    run_for(10000);
    assert_int_equal(peer.lookups, 2);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(peer.count, 2);
}

static void a_late_yes_counts(void **state)
{
    int64_t channel = add_channel("lookup", NULL),
        message = send_text(channel, "+49301", LONG_TEXT);

    (void)state;
    script(SEND_UNSURE, SEND_DONE, SEND_DONE);
    run_all();
    assert_int_equal(state_of(message), MESSAGE_UNKNOWN);
    peer.lookup = SEND_DONE;
    run_for(65000);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(peer.count, 3);                        /* the first part was not sent twice */
    assert_int_equal(number("SELECT count(*) FROM attempts WHERE outcome = 1 AND external_id IS "
                            "NOT NULL"), 3);
}

static void no_answer_to_the_look_up_is_for_a_person(void **state)
{
    int64_t channel = add_channel("lookup", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    peer.always = SEND_UNSURE;
    run_for(300000);
    assert_int_equal(state_of(message), MESSAGE_UNKNOWN);
    assert_int_equal(peer.count, 1);
    assert_int_equal(peer.lookups, 2);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE state = 3"), 1);
}

/* --- A worker dies ---------------------------------------------------------------------------- */

static struct queue_claim claim_one(int64_t channel)
{
    static struct queue_order order;
    struct queue_claim claim = { .arena = arena, .orders = &order, .order_count = 1 };
    struct err err = { 0 };

    order = (struct queue_order){ .channel_id = channel, .slots = 1 };
    assert_int_equal(queue_claim(&hub, &claim, &err), 0);
    assert_int_equal(claim.count, 1);
    must("UPDATE jobs SET lease_until_ms = 1 WHERE state = 1");
    return claim;
}

static void a_lease_that_ran_out_while_sending_is_unsure(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    claim_one(channel);
    run_for(300000);
    assert_int_equal(state_of(message), MESSAGE_UNKNOWN);
    assert_int_equal(peer.count, 0);                        /* nobody sent it again */
    assert_int_equal(number("SELECT outcome FROM attempts"), ATTEMPT_UNSURE);
    assert_string_equal(text_of("SELECT code FROM attempts"), "lease_expired");
}

static void a_lease_that_ran_out_is_tried_again_where_the_key_protects(void **state)
{
    int64_t channel = add_channel("repeat", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    claim_one(channel);
    run_for(10000);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(peer.count, 1);
    assert_int_equal(peer.sent[0].attempt, 2);
}

static void parts_go_on_where_they_stopped(void **state)
{
    int64_t channel = add_channel("repeat", NULL),
        message = send_text(channel, "+49301", LONG_TEXT);

    (void)state;
    script(SEND_DONE, SEND_RETRY, SEND_DONE);
    run_all();
    assert_int_equal(peer.count, 2);
    assert_int_equal(number("SELECT part FROM jobs"), 1);
    pass_ms(5000);
    sweep_once();
    claim_one(channel);             /* and then its worker died */
    run_for(40000);
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(peer.count, 4);
    assert_int_equal(peer.sent[2].part, 1);
    assert_int_equal(peer.sent[3].part, 2);
    assert_string_equal(peer.sent[1].key, peer.sent[2].key);
}

static void what_has_not_begun_is_given_back(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");
    struct queue_claim claim = claim_one(channel);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(send_release(&hub, &claim.sends[0], &err), 0);
    assert_int_equal(state_of(message), MESSAGE_QUEUED);
    assert_int_equal(number("SELECT failures FROM jobs"), 0);
    run_all();
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(peer.count, 1);
}

/* --- The breaker ------------------------------------------------------------------------------ */

static void five_faults_stop_the_channel_and_a_probe_opens_it(void **state)
{
    int64_t channel = add_channel("test", NULL), messages[12], good = add_channel("test", NULL);
    int sent;

    (void)state;
    peer.always = SEND_RETRY;
    peer.result = (struct send_result){ .code = STR("503"), .channel_fault = true };
    for (int i = 0; i < 12; i++)
        messages[i] = send_text(channel, arena_printf(arena, "+49%d", 3000 + i), "hello");
    run_all();
    sent = peer.count;
    assert_true(sent >= BREAKER_FAULTS && sent < 12);
    assert_int_equal(NUMBER("SELECT breaker_until_ms FROM channels WHERE id = %lld",
                            (long long)channel),
                     START_MS + BREAKER_PAUSE_MS);
    pass_ms(30000);
    run_all();
    assert_int_equal(peer.count, sent);                     /* no try is burnt while it is closed */
    pass_ms(30000);
    run_all();
    assert_int_equal(peer.count, sent + 1);                 /* one probe */
    run_for(50000);
    assert_int_equal(peer.count, sent + 1);
    peer.always = SEND_DONE;
    peer.result = (struct send_result){ 0 };
    send_text(good, "+49301", "other channel");
    run_for(60000);
    for (int i = 0; i < 12; i++)
        assert_int_equal(state_of(messages[i]), MESSAGE_SENT);
    assert_int_equal(NUMBER("SELECT breaker_faults FROM channels WHERE id = %lld",
                            (long long)channel), 0);
}

/* Without rate limits as well: eight faults with successes between them stop nothing. */
static void what_works_takes_the_faults_back(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    for (int i = 0; i < 16; i++) {
        peer.always = i % 2 ? SEND_DONE : SEND_REFUSED;
        peer.result = (struct send_result){ .code = STR("401"), .channel_fault = i % 2 == 0 };
        send_text(channel, arena_printf(arena, "+49%d", 3000 + i), "hello");
        run_all();
    }
    assert_int_equal(peer.count, 16);
    assert_int_equal(NUMBER("SELECT breaker_faults FROM channels WHERE id = %lld", (long long)channel), 0);
}

static void a_dead_channel_loses_no_message(void **state)
{
    int64_t channel = add_channel("test", NULL), messages[8];

    (void)state;
    peer.always = SEND_RETRY;
    peer.result = (struct send_result){ .channel_fault = true };
    for (int i = 0; i < 8; i++)
        messages[i] = send_text(channel, arena_printf(arena, "+49%d", 3000 + i), "hello");
    run_for(900000);
    peer.always = SEND_DONE;
    peer.result = (struct send_result){ 0 };
    run_for(130000);
    for (int i = 0; i < 8; i++)
        assert_int_equal(state_of(messages[i]), MESSAGE_SENT);
}

/* --- At the last moment ----------------------------------------------------------------------- */

static void too_late_is_not_sent(void **state)
{
    int64_t channel = add_channel("test", NULL), message, behind;
    const struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel,
        .to = STR("+49301"),
        .text = STR("your code is 123"), .origin = ORIGIN_PERSON, .priority = PRIORITY_NORMAL,
        .expires_ms = START_MS + 300000 };

    (void)state;
    MUST("UPDATE channels SET state = 1 WHERE id = %lld", (long long)channel);
    channel_forget();
    MUST("UPDATE channels SET state = 0 WHERE id = %lld", (long long)channel);
    message = send_request(&request);
    behind = send_text(channel, "+49301", "later");
    pass_ms(300000);
    run_all();
    assert_int_equal(state_of(message), MESSAGE_EXPIRED);
    assert_int_equal(state_of(behind), MESSAGE_SENT);
    assert_int_equal(peer.count, 1);
}

static void what_cannot_be_claimed_expires_too(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello"),
        behind;

    (void)state;
    pass_ms(1000);
    behind = send_text(channel, "+49301", "next");
    MUST("UPDATE channels SET state = 1 WHERE id = %lld", (long long)channel);
    pass_ms(86400000 - 1000);
    sweep_once();
    assert_int_equal(state_of(message), MESSAGE_EXPIRED);
    assert_int_equal(state_of(behind), MESSAGE_QUEUED);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE head = 1"), 1);
}

static void a_retry_past_the_expiry_expires(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    peer.always = SEND_RETRY;
    peer.result = (struct send_result){ .throttled = true, .retry_after_s = 86000 };
    run_all();
    pass_ms(86000000);
    run_all();
    assert_int_equal(peer.count, 2);
    pass_ms(400000);
    run_all();
    sweep_once();
    assert_int_equal(state_of(message), MESSAGE_EXPIRED);
    assert_int_equal(peer.count, 2);
}

static void nobody_else_gets_it(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "for anna");

    (void)state;
    must("UPDATE contacts SET address = '+49999'");
    run_all();
    assert_int_equal(peer.count, 0);
    assert_int_equal(state_of(message), MESSAGE_FAILED);
    assert_string_equal(code_of(message), "address_changed");
}

/* --- Receipts --------------------------------------------------------------------------------- */

static void a_receipt_may_be_faster_than_the_answer(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    peer.result.external_id = STR("fast");
    MUST("INSERT INTO early_receipts (tenant_id, channel_id, external_id, state, at_ms) VALUES "
         "(1, %lld, 'fast', %d, 5), "
         "(1, %lld, 'fast', %d, 4)", (long long)channel, MESSAGE_READ, (long long)channel,
             MESSAGE_DELIVERED);
    run_all();
    assert_int_equal(state_of(message), MESSAGE_READ);
    assert_int_equal(number("SELECT count(*) FROM early_receipts"), 0);
}

static void what_the_answer_says_is_settled(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "hello"),
        failed;

    (void)state;
    peer.result.settled = MESSAGE_DELIVERED;
    run_all();
    assert_int_equal(state_of(message), MESSAGE_DELIVERED);
    peer.result = (struct send_result){ .settled = MESSAGE_FAILED, .code = STR("no_phone"),
        .hint = STR("It is off.") };
    failed = send_text(channel, "+49301", "again");
    run_all();
    assert_int_equal(state_of(failed), MESSAGE_FAILED);
    assert_string_equal(code_of(failed), "no_phone");
}

static void an_id_given_twice_stops_nobody(void **state)
{
    int64_t channel = add_channel("test", NULL), one = send_text(channel, "+49301", "one"), two;

    (void)state;
    two = send_text(channel, "+49302", "two");
    peer.result.external_id = STR("same");
    run_all();
    assert_int_equal(state_of(one), MESSAGE_SENT);
    assert_int_equal(state_of(two), MESSAGE_SENT);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE external_id = 'same'"), 1);
    assert_int_equal(number("SELECT count(*) FROM attempts WHERE external_id = 'same'"), 2);
}

static void broken_texts_of_a_provider_are_mended(void **state)
{
    int64_t channel = add_channel("test", NULL), message = send_text(channel, "+49301", "one");

    (void)state;
    peer.always = SEND_REFUSED;
    peer.result = (struct send_result){ .code = { "a\0\xff" "b", 4 }, .hint = { "\xf0\x9f", 2 } };
    run_all();
    assert_int_equal(state_of(message), MESSAGE_FAILED);
    assert_string_equal(code_of(message), "a\xef\xbf\xbd" "b");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sends_and_tells_every_step), TEST(every_part_is_announced_before_it_leaves),
            TEST(answers_by_reference),
        TEST(tries_three_times_and_says_why), TEST(success_clears_the_error),
            TEST(a_refusal_is_final),
        TEST(a_429_counts_for_nothing_and_stops_the_channel), TEST(unsure_is_held_and_never_resent),
        TEST(unsure_is_resent_or_failed_where_the_tenant_says_so),
            TEST(unsure_is_tried_again_where_the_key_protects),
        TEST(a_look_up_finds_it_at_once), TEST(a_no_is_believed_after_a_minute),
            TEST(a_late_yes_counts),
        TEST(no_answer_to_the_look_up_is_for_a_person),
            TEST(a_lease_that_ran_out_while_sending_is_unsure),
        TEST(a_lease_that_ran_out_is_tried_again_where_the_key_protects),
            TEST(parts_go_on_where_they_stopped),
        TEST(what_has_not_begun_is_given_back),
            TEST(five_faults_stop_the_channel_and_a_probe_opens_it),
        TEST(what_works_takes_the_faults_back),
        TEST(a_dead_channel_loses_no_message), TEST(too_late_is_not_sent),
            TEST(what_cannot_be_claimed_expires_too),
        TEST(a_retry_past_the_expiry_expires), TEST(nobody_else_gets_it),
            TEST(a_receipt_may_be_faster_than_the_answer),
        TEST(what_the_answer_says_is_settled), TEST(an_id_given_twice_stops_nobody),
        TEST(broken_texts_of_a_provider_are_mended),
    };

    return cmocka_run_group_tests_name("send", tests, NULL, NULL);
}
