/* Guessing is slowed down by network, for a minute, and nobody else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/guard.h"

#define NOW 1000000

static void fail_often(struct guard *guard, const char *peer, int times)
{
    for (int i = 0; i < times; i++)
        guard_failed(guard, peer, NOW);
}

static void a_network_has_to_wait(void **state)
{
    struct guard *guard = guard_new();

    (void)state;
    fail_often(guard, "203.0.113.7", GUARD_FAILURES - 1);
    assert_int_equal(guard_wait_s(guard, "203.0.113.7", NOW), 0);
    fail_often(guard, "203.0.113.200", 1);
    assert_int_equal(guard_wait_s(guard, "203.0.113.7", NOW), 61);
    assert_int_equal(guard_wait_s(guard, "::ffff:203.0.113.9", NOW + 30000), 31);
    assert_int_equal(guard_wait_s(guard, "203.0.114.7", NOW), 0);
    assert_int_equal(guard_wait_s(guard, "203.0.113.7", NOW + GUARD_WINDOW_MS), 0);
    guard_free(guard);
}

static void six_has_its_networks_too(void **state)
{
    struct guard *guard = guard_new();

    (void)state;
    fail_often(guard, "2001:db8:1:2::1", GUARD_FAILURES);
    assert_true(guard_wait_s(guard, "2001:db8:1:2:ffff::9", NOW) > 0);
    assert_int_equal(guard_wait_s(guard, "2001:db8:1:3::1", NOW), 0);
    guard_free(guard);
}

static void loopback_is_left_alone(void **state)
{
    static const char *const peers[] = { "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "socket", "" };
    struct guard *guard = guard_new();

    (void)state;
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        fail_often(guard, peers[i], GUARD_FAILURES * 2);
        assert_int_equal(guard_wait_s(guard, peers[i], NOW), 0);
    }
    guard_free(guard);
}

static void a_new_minute_begins_anew(void **state)
{
    struct guard *guard = guard_new();

    (void)state;
    fail_often(guard, "203.0.113.7", GUARD_FAILURES);
    guard_failed(guard, "203.0.113.7", NOW + GUARD_WINDOW_MS);
    assert_int_equal(guard_wait_s(guard, "203.0.113.7", NOW + GUARD_WINDOW_MS), 0);
    guard_free(guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_has_to_wait),
        cmocka_unit_test(six_has_its_networks_too),
        cmocka_unit_test(loopback_is_left_alone),
        cmocka_unit_test(a_new_minute_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
