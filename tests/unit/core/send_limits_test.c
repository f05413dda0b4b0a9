/* What a driver says of its own sends: how long one may take, and how many run at once. */
#include "work.h"

#include "core/worker.h"

static void a_send_takes_as_long_as_its_driver_says(void **state)
{
    int64_t ordinary = add_channel("test", NULL), slow = add_channel("acting", NULL);

    (void)state;
    send_text(ordinary, "+49301", "hello");
    run_all();
    send_text(slow, "+49302", "hello");
    run_all();
    assert_int_equal(peer.count, 2);
    assert_int_equal(peer.sent[0].timeout_ms, LIMIT_SEND_MS);
    assert_int_equal(peer.sent[1].timeout_ms, 200000);
}

/* One claim takes one message of each conversation, but no more of a channel than run at once. */
static void a_claim_takes_no_more_than_run_at_once(void **state)
{
    static const char *const contacts[] = { "+49301", "+49302", "+49303" };
    int64_t ordinary = add_channel("test", NULL), slow = add_channel("acting", NULL), next_ms = INT64_MAX;
    struct err err = { 0 };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        send_text(ordinary, contacts[i], "hello");
        send_text(slow, contacts[i], "hello");
    }
    assert_int_equal(worker_send_step(&hub, &next_ms, &err), 4);
    assert_int_equal(worker_send_step(&hub, &next_ms, &err), 1);
    assert_int_equal(worker_send_step(&hub, &next_ms, &err), 1);
    assert_int_equal(worker_send_step(&hub, &next_ms, &err), 0);
    assert_int_equal(peer.count, 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_send_takes_as_long_as_its_driver_says),
        TEST(a_claim_takes_no_more_than_run_at_once),
    };

    return cmocka_run_group_tests_name("send_limits", tests, NULL, NULL);
}
