/* offer.h - channels whose far side fetches what is to be sent (a phone that polls, a bridge): jobs are claimed for it,
 * with the limits, the breaker and the checks of any claim, and handed over; what became of each comes back by its key.
 * What is not settled is offered again with the same key, by which the far side knows that it has it already; after
 * OFFER_MS nobody knows, and the message is unknown like any other. */
#pragma once

#include "core/channel.h"
#include "core/hub.h"
#include "core/inbox_receipt.h"

#define OFFER_MS (15 * 60 * 1000)
#define OFFER_MAX 100               /* handed over at once, and claimed and not settled */

/* What one channel's far side is told: first what it was told before and did not settle, then up to `wanted` new
 * ones. */
struct offer {
    struct arena *arena;
    const struct channel *channel;
    int wanted;
    struct send_job *jobs;          /* out: in the arena */
    size_t count;
};

/* Claim and describe. Ends what expired or whose contact opted out on the way. 0, -1. */
int offer_take(struct hub *hub, struct offer *offer, struct err *err);

/* What the far side made of one offer. */
struct offer_result {
    int64_t tenant_id, channel_id, at_ms;
    struct str key, external_id, code, hint;
    enum send_outcome outcome;      /* DONE; RETRY: surely not sent, to be offered again later; REFUSED */
    int retry_after_s;
};

/* Inside a write transaction: end the job that was offered under this key; the lane goes on. 1 and `*message_id` (may
 * be NULL; 0 for an act); 0 nothing of that key is offered (any more); -1. */
int offer_settle(struct db_session *tx, const struct offer_result *result, int64_t *message_id, struct err *err);

/* The same for a receipt: sent, delivered and read say that it went out. */
int offer_receipt(struct db_session *tx, const struct receipt *receipt, int64_t *message_id, struct err *err);

/* The channels that pull, are open, and have something to be offered for the first time, at most `max`: the number, -1.
 * `newest` is the newest job of each; `*next_ms` is lowered to when one opens. */
struct offer_waiting {
    int64_t channel_id, newest;
};
int offer_waiting(struct db_session *session, struct offer_waiting *out, int max, int64_t *next_ms, struct err *err);
