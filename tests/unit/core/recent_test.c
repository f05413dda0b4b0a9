/* What was found valid a moment ago is remembered for a moment only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/recent.h"

static int64_t now_us = 1000000;

static int64_t wall_ms(void)
{
    return now_us / 1000;
}

static int64_t mono_us(void)
{
    return now_us;
}

static void remembers_for_a_second(void **state)
{
    struct recent *recent = recent_new();
    struct recent_name name = recent_name("key", 1), other = recent_name("key", 2);
    int64_t value = 42, found = 0;

    (void)state;
    assert_false(recent_get(recent, &name, &found, sizeof found));
    recent_put(recent, recent_turn(recent), &name, &value, sizeof value);
    assert_true(recent_get(recent, &name, &found, sizeof found));
    assert_int_equal(found, 42);
    assert_false(recent_get(recent, &other, &found, sizeof found));
    now_us += RECENT_MS * 1000 - 1;
    assert_true(recent_get(recent, &name, &found, sizeof found));
    now_us += 1;
    assert_false(recent_get(recent, &name, &found, sizeof found));
    recent_free(recent);
}

static void forgets_at_once(void **state)
{
    struct recent *recent = recent_new();
    struct recent_name name = recent_name("key", 1);
    int64_t value = 42;
    uint32_t turn = recent_turn(recent);

    (void)state;
    recent_put(recent, turn, &name, &value, sizeof value);
    recent_forget(recent);
    assert_false(recent_get(recent, &name, &value, sizeof value));
    /* read before the change, remembered after it: that must not count */
    recent_put(recent, turn, &name, &value, sizeof value);
    assert_false(recent_get(recent, &name, &value, sizeof value));
    recent_put(recent, recent_turn(recent), &name, &value, sizeof value);
    assert_true(recent_get(recent, &name, &value, sizeof value));
    recent_free(recent);
}

static void one_place_never_answers_for_another(void **state)
{
    struct recent *recent = recent_new();
    int64_t found;

    (void)state;
    for (int64_t i = 0; i < 20000; i++) {
        struct recent_name name = recent_name("key", i);

        recent_put(recent, recent_turn(recent), &name, &i, sizeof i);
        assert_true(recent_get(recent, &name, &found, sizeof found));
        assert_int_equal(found, i);
    }
    for (int64_t i = 0; i < 20000; i++) {
        struct recent_name name = recent_name("key", i);

        if (recent_get(recent, &name, &found, sizeof found))
            assert_int_equal(found, i);
    }
    recent_free(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_for_a_second),
        cmocka_unit_test(forgets_at_once),
        cmocka_unit_test(one_place_never_answers_for_another),
    };

    clock_install(wall_ms, mono_us);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
