/* retry.h - what happens after a try: pure arithmetic over the outcome and the tries so far. */
#pragma once

#include "core/channel.h"
#include "core/tenant.h"

#include <stdint.h>

enum retry_step {
    RETRY_DONE,         /* accepted: the next part, or sent */
    RETRY_AGAIN,        /* try again in `wait_ms` */
    RETRY_LOOK_UP,      /* unknown for now; ask the provider in `wait_ms` */
    RETRY_HOLD,         /* unknown until a receipt or a person resolves it */
    RETRY_FAIL          /* failed for good */
};

struct retry_input {
    enum send_outcome outcome;
    int64_t failures;               /* tries that counted before this one */
    int retry_after_s;              /* what the peer asked for, 0: nothing */
    bool throttled;                 /* the peer said "slower" (429): the try does not count */
    bool uncounted;                 /* a probe through a closed breaker: does not count either */
    bool can_repeat;                /* the provider refuses a repeat of our key */
    bool can_look_up;               /* the driver has a lookup() */
    bool is_lookup;                 /* `outcome` is a look-up's, not a send's */
    enum tenant_policy policy;      /* what becomes of a message that may have gone out */
    uint32_t roll;                  /* a random number for the jitter */
};

struct retry_output {
    enum retry_step step;
    int64_t failures;               /* to be stored */
    int64_t wait_ms;
    const char *code, *hint;        /* constant texts, used where the driver gave none */
};

/* What to do with a message after a try. */
struct retry_output retry_send(const struct retry_input *input);

/* The same for a forwarded webhook: SEND_UNSURE counts as SEND_RETRY, because a repeat is
 * recognised by its id. */
struct retry_output retry_webhook(const struct retry_input *input);

/* Full jitter: a random wait in (0, base], where base is 5 s, 30 s or 2 min after the first,
 * second, later failure (`failures` is at least 1). */
int64_t retry_backoff_ms(int64_t failures, uint32_t roll);
