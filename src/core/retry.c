#include "core/retry.h"

#include "base/limits.h"

#include <assert.h>

#define LOOK_UP_AFTER_MS 60000      /* a provider's list may lag behind what it accepted */

int64_t retry_backoff_ms(int64_t failures, uint32_t roll)
{
    static const int64_t base_ms[] = { 5000, 30000, 120000 };
    int64_t base;

    assert(failures >= 1);
    base = base_ms[failures > 3 ? 2 : failures - 1];
    return 1 + (int64_t)(((uint64_t)base * roll) >> 32);
}

static struct retry_output again(const struct retry_input *input)
{
    bool counts = !input->throttled && !input->uncounted;
    struct retry_output out = { .step = RETRY_AGAIN, .failures = input->failures + counts };
    int64_t asked_ms = (int64_t)input->retry_after_s * 1000;

    if (out.failures >= LIMIT_SEND_ATTEMPTS)
        return (struct retry_output){ .step = RETRY_FAIL, .failures = out.failures,
            .code = "gave_up",
                .hint = "Every try failed. Look at the attempts, mend the channel, then "
                                       "retry the message." };
    out.wait_ms = retry_backoff_ms(out.failures > 0 ? out.failures : 1, input->roll);
    if (asked_ms > 0)
        out.wait_ms = asked_ms;
    return out;
}

static struct retry_output by_policy(const struct retry_input *input)
{
    switch (input->policy) {
    case TENANT_UNKNOWN_RESEND:
        return again(input);
    case TENANT_UNKNOWN_FAIL:
        return (struct retry_output){ .step = RETRY_FAIL, .failures = input->failures,
            .code = "outcome_unknown",
            .hint = "The provider did not confirm this message; it may have arrived. Ask the "
                    "recipient "
                    "before retrying." };
    case TENANT_UNKNOWN_HOLD:
        break;
    }
    return (struct retry_output){ .step = RETRY_HOLD, .failures = input->failures,
        .code = "outcome_unknown",
        .hint = "The message may have been sent. Resolve it as arrived or not, or retry it." };
}

static struct retry_output unsure(const struct retry_input *input)
{
    if (input->can_repeat && !input->is_lookup)
        return again(input);
    if (input->can_look_up && !input->is_lookup)
        return (struct retry_output){ .step = RETRY_LOOK_UP, .failures = input->failures,
            .wait_ms = LOOK_UP_AFTER_MS, .code = "outcome_unknown",
            .hint = "The message may have been sent. The provider is asked about it in a minute." };
    return by_policy(input);
}

struct retry_output retry_send(const struct retry_input *input)
{
    switch (input->outcome) {
    case SEND_DONE:
        return (struct retry_output){ .step = RETRY_DONE, .failures = input->failures };
    case SEND_RETRY:
        return again(input);
    case SEND_REFUSED:
        return (struct retry_output){ .step = RETRY_FAIL, .failures = input->failures + 1,
            .code = "refused",
                .hint = "The provider refused the message; no further try would help." };
    case SEND_UNSURE:
        break;
    }
    return unsure(input);
}

struct retry_output retry_webhook(const struct retry_input *input)
{
    struct retry_input surely = *input;

    if (surely.outcome == SEND_UNSURE)
        surely.outcome = SEND_RETRY;
    return retry_send(&surely);
}
