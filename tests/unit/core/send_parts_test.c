/* Long texts leave in parts: what is true of the whole follows from all of them. */
#include "work.h"

#include "core/send.h"

#define LONG_TEXT \
    "this text has more than forty characters, so that it leaves in three parts, each of them " \
    "counted"

static enum send_outcome settle_the_last(const struct send_job *job, struct send_result *result)
{
    result->settled = job->part == job->parts - 1 ? MESSAGE_DELIVERED : MESSAGE_SENT;
    return SEND_DONE;
}

/* That the last part of a text is there says nothing of the others. */
static void a_settled_part_counts_for_itself(void **state)
{
    struct channel_event first = { .kind = CHANNEL_RECEIPT, .state = MESSAGE_DELIVERED };
    int64_t channel = add_channel("test", NULL);

    (void)state;
    peer.decide = settle_the_last;
    send_text(channel, "+49301", LONG_TEXT);
    send_once(NULL);
    assert_int_equal(number("SELECT state FROM messages"), MESSAGE_SENT);
    first.external_id = str_c(text_of("SELECT external_id FROM attempts WHERE part = 0"));
    say_event(channel, &first);
    assert_int_equal(number("SELECT state FROM messages"), MESSAGE_SENT);
    first.external_id = str_c(text_of("SELECT external_id FROM attempts WHERE part = 1"));
    say_event(channel, &first);
    assert_int_equal(number("SELECT state FROM messages"), MESSAGE_DELIVERED);
}

static void a_part_that_fails_is_named(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    peer.script[0] = SEND_DONE;
    peer.script[1] = SEND_REFUSED;
    peer.scripted = 2;
    peer.result.hint = STR("No such number.");
    send_text(channel, "+49301", LONG_TEXT);
    send_once(NULL);
    assert_int_equal(number("SELECT state FROM messages"), MESSAGE_FAILED);
    assert_string_equal(text_of("SELECT error_hint FROM messages"), "Part 2 of 3: No such number.");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_settled_part_counts_for_itself), TEST(a_part_that_fails_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
