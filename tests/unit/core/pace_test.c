#include "work.h"

#include "core/pace.h"

#define MINUTE_MS 60000LL
#define DAY_MS 86400000LL

static void a_new_channel_grows_to_its_limit(void **state)
{
    struct pace pace = { .warmup_days = 9 };
    int64_t last = 0;

    (void)state;
    assert_int_equal(pace_ramp(&pace, 500), 50);
    for (int day = 0; day < 12; day++) {
        int64_t now;

        pace.age_ms = day * DAY_MS;
        now = pace_ramp(&pace, 500);
        assert_true(now >= last && now <= 500);
        last = now;
    }
    assert_int_equal(last, 500);
    assert_int_equal(pace_ramp(&(struct pace){ .warmup_days = 9 }, 0), 0);
    assert_int_equal(pace_ramp(&(struct pace){ .warmup_days = 9 }, 3), 1);
    assert_int_equal(pace_ramp(&(struct pace){ 0 }, 500), 500);
}

/* Every 500 ms for so long. */
static void run_for(int64_t ms)
{
    for (int64_t passed = 0; passed < ms; passed += 500) {
        run_all();
        sweep_once();
        pass_ms(500);
    }
    run_all();
}

static void one_contact_is_not_hurried(void **state)
{
    int64_t channel = add_channel("test", "spacing_ms = 5000");

    (void)state;
    for (int i = 0; i < 3; i++) {
        send_text(channel, "+49301", "hello");
        send_text(channel, "+49302", "hello");
    }
    run_all();
    assert_int_equal(peer.count, 2);
    run_for(12000);
    assert_int_equal(peer.count, 6);
    for (int i = 2; i < peer.count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(peer.sent[i].to, peer.sent[k].to) == 0)
                assert_true(peer.sent[i].at_ms - peer.sent[k].at_ms >= 5000);
}

static void send_late(int64_t channel, int number)
{
    const struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel, .text = STR("hello"),
        .to = str_c(arena_printf(arena, "+4930%d", number)), .origin = ORIGIN_PERSON, .priority = PRIORITY_NORMAL,
        .expires_ms = clock_ms() + 5 * DAY_MS };

    send_request(&request);
}

static void few_are_written_to_first(void **state)
{
    int64_t channel = add_channel("test", "new_per_day = 3");

    (void)state;
    say(channel, "+49300", "I wrote first");
    for (int i = 0; i < 6; i++)
        send_late(channel, i);
    run_for(1000);
    /* who wrote, and three who never did */
    assert_int_equal(peer.count, 4);
    for (int i = 1; i < 4; i++)
        send_late(channel, i);
    run_for(1000);
    assert_int_equal(peer.count, 7);
    pass_ms(DAY_MS - MINUTE_MS);
    run_all();
    assert_true(number("SELECT count(*) FROM jobs WHERE kind = 1") > 0);
    pass_ms(2 * MINUTE_MS);
    run_for(20000);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 1"), 0);
    assert_int_equal(peer.count, 9);
}

static void the_day_is_ramped(void **state)
{
    int64_t channel = add_channel("test", "per_day = 20, warmup_days = 9");

    (void)state;
    MUST("UPDATE channels SET created_ms = %lld WHERE id = %lld", (long long)clock_ms(), (long long)channel);
    for (int i = 0; i < 30; i++)
        send_late(channel, i);
    run_for(2000);
    assert_int_equal(peer.count, 2);
    pass_ms(DAY_MS);
    run_for(2000);
    assert_int_equal(peer.count, 2 + 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_channel_grows_to_its_limit), TEST(one_contact_is_not_hurried),
        TEST(few_are_written_to_first), TEST(the_day_is_ramped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
