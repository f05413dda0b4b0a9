/* channel_send.h - what a channel driver is asked to send and what it says of it: plain data. Part
 * of the drivers' contract (core/channel.h includes it). */
#pragma once

#include "base/str.h"
#include "core/message.h"

struct arena;

/* What the core decides from; the adapter cannot invent another outcome. */
enum send_outcome {
    SEND_DONE,          /* accepted; result->external_id is the provider's id where it gives one */
    SEND_RETRY,         /* surely not sent; worth another try (result->retry_after_s obeyed) */
    SEND_REFUSED,       /* surely not sent; no try will help */
    SEND_UNSURE         /* it may have gone out */
};

/* One part of one message. */
struct send_job {
    struct arena *arena;
    const char *to;             /* the contact's address, as the provider gave it */
    struct str text;            /* this part */
    int part, parts;            /* 0-based; long texts are split by the core at text_max */
    int attempt;
    char key[40];               /* stable per message and part: the provider's idempotency token */
    const char *reply_to;       /* external id of the message answered, or NULL */
    int timeout_ms;             /* for the whole send */
};

struct send_result {
    struct str external_id;     /* in the job's arena */
    struct str code;            /* the provider's own word or number */
    struct str hint;            /* in plain words: what happened and what to do */
    int retry_after_s;
    bool throttled;             /* the provider said "slower" (429): the wait is obeyed, the try
                                 * does not count */
    bool channel_fault;         /* the channel, not this message, is at fault: counts for the
                                 * circuit breaker */
    enum message_state settled; /* MESSAGE_SENT, _DELIVERED, _READ or _FAILED: the provider already
                                 * reports this receipt for the part; the core applies it in the
                                 * completing transaction, after the message is sent, like a receipt
                                 * that came later. 0: nothing is known yet */
    int wait_ms;                /* a simulated peer's latency: the worker waits so long, at most
                                 * job->timeout_ms, before it records the result. 0 elsewhere */
};
