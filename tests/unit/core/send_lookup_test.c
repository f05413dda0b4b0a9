/* What a look-up is told, and what of its answer is believed. */
#include "work.h"

static void the_try_in_question_has_a_time(void **state)
{
    int64_t channel = add_channel("lookup", NULL), message = send_text(channel, "+49301", "hello"), began_ms;

    (void)state;
    peer.always = SEND_UNSURE;
    began_ms = clock_ms();
    run_all();
    assert_int_equal(peer.lookups, 1);
    assert_int_equal(peer.since_ms, began_ms);
    pass_ms(90000);
    run_all();
    sweep_once();
    run_all();
    assert_int_equal(peer.lookups, 2);
    assert_int_equal(peer.since_ms, NUMBER("SELECT started_ms FROM attempts WHERE message_id = %lld",
                                           (long long)message));
    assert_int_equal(peer.since_ms, began_ms);
}

/* An equal text to the same contact: a look-up without a token finds the first one's id for the second. */
static void an_id_that_another_message_has_is_no_answer(void **state)
{
    int64_t channel = add_channel("lookup", NULL), first = send_text(channel, "+49301", "hello"), second;
    const char *id;

    (void)state;
    peer.always = SEND_DONE;
    run_all();
    assert_int_equal(state_of(first), MESSAGE_SENT);
    id = text_of(arena_printf(arena, "SELECT external_id FROM messages WHERE id = %lld", (long long)first));
    second = send_text(channel, "+49301", "hello");
    peer.always = SEND_UNSURE;
    peer.lookup = SEND_DONE;
    peer.found = id;
    run_all();
    assert_int_equal(state_of(second), MESSAGE_UNKNOWN);
    pass_ms(90000);
    run_all();
    sweep_once();
    run_all();
    assert_int_equal(peer.lookups, 2);
    assert_int_equal(state_of(second), MESSAGE_UNKNOWN);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE state = 3"), 1);      /* a person decides */
    assert_int_equal(peer.count, 2);
}

static void its_own_id_is(void **state)
{
    int64_t channel = add_channel("lookup", NULL), message = send_text(channel, "+49301", "hello");

    (void)state;
    peer.always = SEND_UNSURE;
    peer.lookup = SEND_DONE;
    peer.found = "SM1";
    run_all();
    assert_int_equal(state_of(message), MESSAGE_SENT);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE external_id = 'SM1'"), 1);
}

static void drivers_see_the_metadata(void **state)
{
    int64_t channel = add_channel("test", NULL);
    const struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel, .to = STR("+49301"),
        .text = STR("hello"), .origin = ORIGIN_PERSON, .priority = PRIORITY_NORMAL,
        .metadata = STR("{\"template\":{\"name\":\"x\"}}") };

    (void)state;
    send_request(&request);
    run_all();
    assert_string_equal(peer.sent[0].metadata, "{\"template\":{\"name\":\"x\"}}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_try_in_question_has_a_time),
        TEST(an_id_that_another_message_has_is_no_answer),
        TEST(its_own_id_is),
        TEST(drivers_see_the_metadata),
    };

    return cmocka_run_group_tests_name("send_lookup", tests, NULL, NULL);
}
