#include "work.h"

#include "core/conversation.h"
#include "core/decide.h"
#include "core/queue_lane.h"

static int64_t action(void)
{
    return number("SELECT action FROM decisions ORDER BY id DESC LIMIT 1");
}

static const char *reason(void)
{
    return text_of("SELECT reason FROM decisions ORDER BY id DESC LIMIT 1");
}

/* Every inbound message has exactly one decision, and nothing is left to do. */
static void check_decided(void)
{
    assert_int_equal(number("SELECT count(*) FROM messages WHERE direction = 0 AND (state <> 2 OR "
                            "decision_id IS NULL)"), 0);
    assert_int_equal(number("SELECT count(*) FROM messages m WHERE direction = 0 AND NOT EXISTS "
                            "(SELECT 1 FROM decisions d WHERE d.id = m.decision_id)"), 0);
    assert_int_equal(number("SELECT coalesce(sum(messages), 0) - (SELECT count(*) FROM messages "
                            "WHERE direction = 0) "
                            "FROM decisions"), 0);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 2"), 0);
}

/* --- Policies --------------------------------------------------------------------------------- */

static void follows_the_policy(void **state)
{
    int64_t fixed = add_channel("test", "policy = 0, auto_reply = 'we are open'"), later, person,
        empty;

    (void)state;
    say(fixed, "+49301", "hi");
    run_all();
    assert_int_equal(action(), DECISION_AUTO_REPLY);
    assert_string_equal(peer.sent[0].text, "we are open");
    assert_int_equal(number("SELECT count(*) FROM messages WHERE direction = 1 AND origin = 5 AND "
                            "cause_id IS NOT NULL "
                            "AND decision_id = (SELECT max(id) FROM decisions)"), 1);
    assert_int_equal(number("SELECT reply_id FROM decisions"),
                     number("SELECT id FROM messages WHERE direction = 1"));

    later = add_channel("test", "policy = 1, auto_reply = 'we call back'");
    say(later, "+49301", "hi");
    run_all();
    assert_int_equal(action(), DECISION_FOLLOW_UP);
    assert_string_equal(peer.sent[1].text, "we call back");
    assert_int_equal(NUMBER("SELECT state FROM conversations WHERE channel_id = %lld",
                            (long long)later),
                     CONVERSATION_WAITING);

    person = add_channel("test", "policy = 2, agent = 'test'");
    say(person, "+49301", "hi");
    run_all();
    assert_int_equal(action(), DECISION_HUMAN_TAKEOVER);
    empty = add_channel("test", "policy = 0");
    say(empty, "+49301", "hi");
    run_all();
    assert_int_equal(action(), DECISION_HUMAN_TAKEOVER);
    assert_int_equal(peer.count, 2);
    check_decided();
}

static void the_agent_answers(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'"),
        asked = say(channel, "+49301", "hello?");

    (void)state;
    run_all();
    assert_int_equal(agent.calls, 1);
    assert_string_equal(agent.asked, "hello?");
    assert_string_equal(peer.sent[0].text, "agent says");
    assert_int_equal(action(), DECISION_AUTO_REPLY);
    assert_string_equal(text_of("SELECT agent FROM decisions"), "test");
    assert_int_equal(number("SELECT origin FROM messages WHERE direction = 1"), ORIGIN_AGENT);
    assert_int_equal(NUMBER("SELECT count(*) FROM events WHERE object_id = %lld AND kind IN "
                            "('message.processing', "
                            "'message.processed')", (long long)asked), 2);
    agent.outcome = AGENT_SILENT;
    say(channel, "+49301", "thanks");
    run_all();
    assert_int_equal(action(), DECISION_FOLLOW_UP);
    assert_int_equal(peer.count, 1);
    check_decided();
}

static void the_trace_names_its_steps_in_order(void **state)
{
    static const char *const steps[] = { "filter", "queue", "debounce", "classify", "act" };
    int64_t channel = add_channel("test", "policy = 0, auto_reply = 'x'");
    const char *at;

    (void)state;
    say(channel, "+49301", "hi \"there\"");
    run_all();
    at = text_of("SELECT trace FROM decisions");
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        at = strstr(at, steps[i]);
        assert_non_null(at);
    }
    assert_non_null(strstr(text_of("SELECT trace FROM decisions"), "\"us\":"));
}

static void each_conversation_gets_its_answer(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'");

    (void)state;
    say(channel, "+49301", "one");
    say(channel, "+49302", "two");
    run_all();
    assert_int_equal(agent.calls, 2);
    assert_int_equal(peer.count, 2);
    check_decided();
}

/* --- Debounce --------------------------------------------------------------------------------- */

static void three_in_two_seconds_are_one(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test', debounce_ms = 2000");

    (void)state;
    say(channel, "+49301", "a");
    pass_ms(1000);
    say(channel, "+49301", "b");
    pass_ms(1000);
    say(channel, "+49301", "c");
    pass_ms(1999);
    assert_int_equal(decide_once(), 0);
    pass_ms(1);
    run_all();
    assert_int_equal(agent.calls, 1);
    assert_string_equal(agent.asked, "a\nb\nc");
    assert_int_equal(number("SELECT messages FROM decisions"), 3);
    check_decided();
}

static void the_timer_restarts_for_ten_seconds_only(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test', debounce_ms = 2000");
    int before = 0;

    (void)state;
    for (int i = 0; i < 9; i++) {
        say(channel, "+49301", "more");
        pass_ms(1500);
        before += decide_once() && i < 6;
    }
    assert_int_equal(before, 0);
    assert_int_equal(number("SELECT created_ms FROM decisions ORDER BY id LIMIT 1"),
                     START_MS + 10500);
}

static void twenty_are_enough(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test', debounce_ms = 2000");

    (void)state;
    for (int i = 0; i < 19; i++)
        say(channel, "+49301", "x");
    assert_int_equal(decide_once(), 0);
    say(channel, "+49301", "x");
    assert_int_equal(decide_once(), 1);
    assert_int_equal(number("SELECT messages FROM decisions"), 20);
}

static void a_flood_is_decided_in_parts(void **state)
{
    int64_t channel = add_channel("test", "policy = 2");

    (void)state;
    for (int i = 0; i < 130; i++)
        say(channel, "+49301", "x");
    run_all();
    assert_int_equal(number("SELECT count(*) FROM decisions"), 2);
    check_decided();
}

/* --- People come first ------------------------------------------------------------------------ */

static void a_persons_answer_silences_the_machine(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'");
    struct conversation of = { .tenant_id = TENANT };

    (void)state;
    say(channel, "+49301", "hello");
    run_all();
    send_text(channel, "+49301", "Anna here");
    say(channel, "+49301", "great");
    run_all();
    assert_int_equal(agent.calls, 1);
    assert_int_equal(action(), DECISION_HUMAN_TAKEOVER);
    assert_non_null(strstr(reason(), "taken this conversation over"));
    of.id = number("SELECT id FROM conversations");
    must("UPDATE conversations SET paused_until_ms = NULL");
    say(channel, "+49301", "bye");
    run_all();
    assert_int_equal(agent.calls, 2);
    assert_true(of.id > 0);
    check_decided();
}

static void opted_out_contacts_hear_no_machine(void **state)
{
    int64_t channel = add_channel("lookup", "policy = 0, agent = 'test'");

    (void)state;
    say(channel, "anna", "hello");
    run_all();
    must("UPDATE contacts SET opted_out_ms = 5, opted_out_by = 2, opted_out_text = 'bounce'");
    say(channel, "anna", "hello?");
    run_all();
    assert_int_equal(agent.calls, 1);
    assert_int_equal(action(), DECISION_HUMAN_TAKEOVER);
}

static void two_machines_stop(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'");

    (void)state;
    for (int i = 0; i < 3 * LIMIT_AUTO_TURNS; i++) {
        say(channel, "+49301", "I am a machine too");
        run_all();
        pass_ms(2000);
    }
    assert_int_equal(messages_sent(), LIMIT_AUTO_TURNS);
    assert_int_equal(action(), DECISION_HUMAN_TAKEOVER);
    assert_non_null(strstr(reason(), "in a row"));
    pass_ms(3600000);               /* a quiet hour later it is somebody again */
    say(channel, "+49301", "hello");
    run_all();
    assert_int_equal(messages_sent(), LIMIT_AUTO_TURNS + 1);
    check_decided();
}

static void automatic_mail_is_not_answered(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'");
    const struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = STR("+49301"),
        .text = STR("out of office"),
        .priority = PRIORITY_NORMAL, .external_id = STR("auto"), .is_automatic = true };

    (void)state;
    say_event(channel, &event);
    run_all();
    assert_int_equal(agent.calls, 0);
    assert_int_equal(action(), DECISION_IGNORED);
    check_decided();
}

static void groups_and_history_are_left_alone(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'");
    const struct channel_event group = { .kind = CHANNEL_MESSAGE, .address = STR("+49301"),
        .text = STR("all"),
        .priority = PRIORITY_NORMAL, .external_id = STR("g"), .group = STR("family") };
    const struct channel_event history = { .kind = CHANNEL_MESSAGE, .address = STR("+49302"),
        .text = STR("old"),
        .priority = PRIORITY_NORMAL, .external_id = STR("h"), .is_history = true };

    (void)state;
    say_event(channel, &group);
    say_event(channel, &history);
    run_all();
    assert_int_equal(agent.calls, 0);
    assert_int_equal(peer.count, 0);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
}

/* --- While the agent thinks ------------------------------------------------------------------- */

static int64_t agents_channel;

static void somebody_adds(void)
{
    agent.meanwhile = NULL;
    say(agents_channel, "+49301", "wait, I meant tomorrow");
}

static void somebody_answers(void)
{
    agent.meanwhile = NULL;
    send_text(agents_channel, "+49301", "Anna here");
}

static void an_overtaken_answer_is_dropped(void **state)
{
    (void)state;
    agents_channel = add_channel("test", "policy = 0, agent = 'test'");
    agent.meanwhile = somebody_adds;
    say(agents_channel, "+49301", "today at five?");
    run_all();
    assert_int_equal(agent.calls, 2);
    assert_string_equal(agent.asked, "today at five?\nwait, I meant tomorrow");
    assert_int_equal(peer.count, 1);
    assert_int_equal(number("SELECT count(*) FROM decisions"), 1);
    check_decided();
}

static void a_persons_answer_overtakes_the_agent(void **state)
{
    (void)state;
    agents_channel = add_channel("test", "policy = 0, agent = 'test'");
    agent.meanwhile = somebody_answers;
    say(agents_channel, "+49301", "hello?");
    run_all();
    assert_int_equal(agent.calls, 1);
    assert_int_equal(peer.count, 1);
    assert_string_equal(peer.sent[0].text, "Anna here");
    assert_int_equal(action(), DECISION_HUMAN_TAKEOVER);
    check_decided();
}

static void a_failing_agent_hands_over(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'"), message;

    (void)state;
    agent.outcome = AGENT_FAILED;
    message = say(channel, "+49301", "hello?");
    for (int i = 0; i < 20; i++) {
        run_all();
        pass_ms(120000);
    }
    assert_int_equal(agent.calls, LIMIT_DECIDE_ATTEMPTS);
    assert_int_equal(peer.count, 0);
    assert_int_equal(action(), DECISION_HUMAN_TAKEOVER);
    assert_non_null(strstr(reason(), "The model did not answer."));
    assert_int_equal(NUMBER("SELECT count(*) FROM message_tags WHERE message_id = %lld AND tag = "
                            "'agent-failed'",
                            (long long)message), 1);
    check_decided();
}

static void a_missing_agent_hands_over(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'nobody'");

    (void)state;
    say(channel, "+49301", "hello?");
    for (int i = 0; i < 20; i++) {
        run_all();
        pass_ms(120000);
    }
    assert_int_equal(action(), DECISION_HUMAN_TAKEOVER);
    check_decided();
}

/* The worker dies while its agent thinks: the lease runs out, and the conversation is decided
 * once. */
static void a_dead_worker_costs_no_answer(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'");
    struct err err = { 0 };

    (void)state;
    say(channel, "+49301", "hello?");
    MUST("UPDATE jobs SET state = 1, attempt = 1, lease_until_ms = 1 WHERE kind = 2");
    must("UPDATE messages SET state = 1");
    assert_int_equal(decide_once(), 0);
    say(channel, "+49301", "anybody?");
    assert_int_equal(decide_once(), 0);     /* a decision is under way */
    assert_int_equal(queue_recover(&hub, JOB_DECIDE, &err), 1);
    run_all();
    assert_int_equal(agent.calls, 1);
    assert_string_equal(agent.asked, "hello?\nanybody?");
    assert_int_equal(peer.count, 1);
    check_decided();
}

/* --- Poison ----------------------------------------------------------------------------------- */

static void poison_parks_its_own_conversation_only(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, auto_reply = 'hello'"), bad;

    (void)state;
    bad = say(channel, "+49301", "poison");
    say(channel, "+49302", "fine");
    /* The decision on it can never be stored: its reply collides with a position that is taken. */
    MUST("INSERT INTO messages (id, tenant_id, conversation_id, position, channel_id, direction, "
         "state, type, origin, address, "
         "text, received_ms, updated_ms) SELECT 999999999, 1, conversation_id, position + 1, "
         "channel_id, 1, 6, 'text', 1, address, 'in the way', 0, 0 FROM messages WHERE id = %lld",
         (long long)bad);
    for (int i = 0; i < 20; i++) {
        run_all();
        pass_ms(120000);
        say(channel, arena_printf(arena, "+49%d", 4000 + i), "fine too");
    }
    run_all();
    assert_int_equal(messages_sent(), 21);
    assert_int_equal(NUMBER("SELECT action FROM decisions WHERE message_id = %lld", (long long)bad),
                     DECISION_HUMAN_TAKEOVER);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 2"), 0);
}

static void a_thousand_messages_a_thousand_decisions(void **state)
{
    int64_t channel = add_channel("test", "policy = 2");
    struct channel_event events[1000];
    struct inbox_result results[1000];
    struct inbox_write write = { .tenant_id = TENANT, .channel_id = channel, .events = events,
        .count = 1000,
        .results = results };
    struct err err = { 0 };

    (void)state;
    for (int i = 0; i < 1000; i++)
        events[i] = (struct channel_event){ .kind = CHANNEL_MESSAGE, .text = STR("hi"),
            .priority = PRIORITY_NORMAL,
            .address = str_c(arena_printf(arena, "+49%d", 5000 + i % 700)),
            .external_id = str_c(arena_printf(arena, "many-%d", i)) };
    assert_int_equal(inbox_accept(&hub, arena, &write, &err), 0);
    run_all();
    assert_int_equal(number("SELECT sum(messages) FROM decisions"), 1000);
    assert_int_equal(number("SELECT count(*) FROM decisions"), 700);
    check_decided();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(follows_the_policy), TEST(the_agent_answers), TEST(the_trace_names_its_steps_in_order),
        TEST(each_conversation_gets_its_answer), TEST(three_in_two_seconds_are_one),
        TEST(the_timer_restarts_for_ten_seconds_only), TEST(twenty_are_enough),
            TEST(a_flood_is_decided_in_parts),
        TEST(a_persons_answer_silences_the_machine), TEST(opted_out_contacts_hear_no_machine),
            TEST(two_machines_stop),
        TEST(automatic_mail_is_not_answered), TEST(groups_and_history_are_left_alone),
            TEST(an_overtaken_answer_is_dropped),
        TEST(a_persons_answer_overtakes_the_agent), TEST(a_failing_agent_hands_over),
            TEST(a_missing_agent_hands_over),
        TEST(a_dead_worker_costs_no_answer), TEST(poison_parks_its_own_conversation_only),
        TEST(a_thousand_messages_a_thousand_decisions),
    };

    return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
