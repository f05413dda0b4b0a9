#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/breaker.h"

static struct breaker after_faults(int faults, int64_t now_ms)
{
    struct breaker breaker = { 0 };

    for (int i = 0; i < faults; i++)
        breaker = breaker_note(&breaker, true, now_ms);
    return breaker;
}

static void stops_after_five(void **state)
{
    struct breaker breaker = after_faults(BREAKER_FAULTS - 1, 1000);

    (void)state;
    assert_int_equal(breaker_state(&breaker, 1000), BREAKER_FLOWS);
    breaker = breaker_note(&breaker, true, 1000);
    assert_int_equal(breaker_state(&breaker, 1000), BREAKER_STOPPED);
    assert_int_equal(breaker_state(&breaker, 1000 + BREAKER_PAUSE_MS - 1), BREAKER_STOPPED);
    assert_int_equal(breaker_state(&breaker, 1000 + BREAKER_PAUSE_MS), BREAKER_PROBES);
}

static void needs_them_in_a_row(void **state)
{
    struct breaker breaker = after_faults(BREAKER_FAULTS - 1, 0);

    (void)state;
    breaker = breaker_note(&breaker, false, 0);
    breaker = breaker_note(&breaker, true, 0);
    assert_int_equal(breaker_state(&breaker, 0), BREAKER_FLOWS);
    assert_int_equal(breaker.faults, 1);
}

static void lets_one_probe_through(void **state)
{
    int64_t now_ms = BREAKER_PAUSE_MS;
    struct breaker breaker = after_faults(BREAKER_FAULTS, 0), probing;

    (void)state;
    assert_int_equal(breaker_state(&breaker, now_ms), BREAKER_PROBES);
    probing = breaker_probe(&breaker, now_ms);
    assert_int_equal(breaker_state(&probing, now_ms), BREAKER_STOPPED);
    breaker = breaker_note(&probing, true, now_ms + 5);
    assert_int_equal(breaker_state(&breaker, now_ms + 5 + BREAKER_PAUSE_MS - 1), BREAKER_STOPPED);
    assert_int_equal(breaker_state(&breaker, now_ms + 5 + BREAKER_PAUSE_MS), BREAKER_PROBES);
    breaker = breaker_note(&probing, false, now_ms + 5);
    assert_int_equal(breaker_state(&breaker, now_ms + 5), BREAKER_FLOWS);
}

static void outlives_a_clock_set_back(void **state)
{
    struct breaker breaker = after_faults(BREAKER_FAULTS, INT64_C(1) << 40);

    (void)state;
    assert_int_equal(breaker_state(&breaker, 1000), BREAKER_PROBES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_after_five), cmocka_unit_test(needs_them_in_a_row),
        cmocka_unit_test(lets_one_probe_through), cmocka_unit_test(outlives_a_clock_set_back),
    };

    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
