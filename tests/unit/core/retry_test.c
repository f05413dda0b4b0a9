#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/retry.h"

static const uint32_t rolls[] = { 0, 1, 0x7fffffff, 0x80000000, 0xffffffff };
#define ROLLS (sizeof rolls / sizeof rolls[0])

static void backs_off_with_full_jitter(void **state)
{
    static const int64_t base_ms[] = { 5000, 30000, 120000, 120000 };

    (void)state;
    for (size_t i = 0; i < ROLLS; i++)
        for (int64_t failures = 1; failures <= 4; failures++) {
            int64_t wait_ms = retry_backoff_ms(failures, rolls[i]);
            assert_in_range(wait_ms, 1, base_ms[failures - 1]);
        }
    assert_int_equal(retry_backoff_ms(1, 0), 1);
    assert_int_equal(retry_backoff_ms(1, 0xffffffff), 5000);
    assert_int_equal(retry_backoff_ms(2, 0x80000000), 15001);
    assert_int_equal(retry_backoff_ms(1000000, 0xffffffff), 120000);
}

static void gives_up_after_three(void **state)
{
    struct retry_input input = { .outcome = SEND_RETRY, .roll = 7 };
    struct retry_output next;
    int tries = 0;

    (void)state;
    do {
        next = retry_send(&input);
        input.failures = next.failures;
        tries++;
        assert_in_range(tries, 1, LIMIT_SEND_ATTEMPTS);
    } while (next.step == RETRY_AGAIN);
    assert_int_equal(next.step, RETRY_FAIL);
    assert_int_equal(tries, LIMIT_SEND_ATTEMPTS);
    assert_string_equal(next.code, "gave_up");
    assert_non_null(next.hint);
}

static void obeys_retry_after_and_does_not_count_429(void **state)
{
    struct retry_input input = { .outcome = SEND_RETRY, .failures = LIMIT_SEND_ATTEMPTS - 1,
        .throttled = true,
        .retry_after_s = 17 };
    struct retry_output next;

    (void)state;
    for (int i = 0; i < 100; i++) {
        next = retry_send(&input);
        assert_int_equal(next.step, RETRY_AGAIN);
        assert_int_equal(next.failures, LIMIT_SEND_ATTEMPTS - 1);
        assert_int_equal(next.wait_ms, 17000);
        input.failures = next.failures;
    }
    input.throttled = false;
    assert_int_equal(retry_send(&input).step, RETRY_FAIL);
    input.failures = 0;
    next = retry_send(&input);
    assert_int_equal(next.wait_ms, 17000);
    assert_int_equal(next.failures, 1);
}

static void counts_no_probe(void **state)
{
    struct retry_input input = { .outcome = SEND_RETRY, .failures = 2, .uncounted = true };

    (void)state;
    assert_int_equal(retry_send(&input).step, RETRY_AGAIN);
    assert_int_equal(retry_send(&input).failures, 2);
}

static void ends_at_once(void **state)
{
    struct retry_input input = { .outcome = SEND_DONE, .failures = 2 };

    (void)state;
    assert_int_equal(retry_send(&input).step, RETRY_DONE);
    input.outcome = SEND_REFUSED;
    input.failures = 0;
    assert_int_equal(retry_send(&input).step, RETRY_FAIL);
    assert_string_equal(retry_send(&input).code, "refused");
}

/* RELIABILITY 2.3, row by row. */
static void never_resends_what_is_unsure_unasked(void **state)
{
    static const struct {
        struct retry_input input;
        enum retry_step step;
    } rows[] = {
        { { .policy = TENANT_UNKNOWN_HOLD }, RETRY_HOLD },
        { { .policy = TENANT_UNKNOWN_RESEND }, RETRY_AGAIN },
        { { .policy = TENANT_UNKNOWN_FAIL }, RETRY_FAIL },
        { { .can_look_up = true, .policy = TENANT_UNKNOWN_HOLD }, RETRY_LOOK_UP },
        { { .can_look_up = true, .policy = TENANT_UNKNOWN_RESEND }, RETRY_LOOK_UP },
        { { .can_look_up = true, .is_lookup = true, .policy = TENANT_UNKNOWN_HOLD }, RETRY_HOLD },
        { { .can_look_up = true, .is_lookup = true, .policy = TENANT_UNKNOWN_RESEND },
            RETRY_AGAIN },
        { { .can_look_up = true, .is_lookup = true, .policy = TENANT_UNKNOWN_FAIL }, RETRY_FAIL },
        { { .can_repeat = true, .policy = TENANT_UNKNOWN_HOLD }, RETRY_AGAIN },
        { { .can_repeat = true, .failures = LIMIT_SEND_ATTEMPTS - 1 }, RETRY_FAIL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct retry_input input = rows[i].input;
        input.outcome = SEND_UNSURE;
        if (retry_send(&input).step != rows[i].step)
            fail_msg("row %zu: step %d", i, retry_send(&input).step);
    }
}

static void repeats_webhooks(void **state)
{
    struct retry_input input = { .outcome = SEND_UNSURE, .policy = TENANT_UNKNOWN_HOLD };

    (void)state;
    assert_int_equal(retry_webhook(&input).step, RETRY_AGAIN);
    input.failures = LIMIT_SEND_ATTEMPTS - 1;
    assert_int_equal(retry_webhook(&input).step, RETRY_FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backs_off_with_full_jitter), cmocka_unit_test(gives_up_after_three),
        cmocka_unit_test(obeys_retry_after_and_does_not_count_429),
            cmocka_unit_test(counts_no_probe),
        cmocka_unit_test(ends_at_once), cmocka_unit_test(never_resends_what_is_unsure_unasked),
        cmocka_unit_test(repeats_webhooks),
    };

    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
