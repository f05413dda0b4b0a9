/* queue_read.h - the rows of sends and what they say. */
#pragma once

#include "core/queue.h"

/* Inside the claim: the heads of one channel that are ready, at most order->slots, in order of rank, locked; their
 * number in claim->read. Texts are copied into claim->arena. 0, -1. */
int queue_read_heads(struct db_session *tx, struct queue_claim *claim, const struct queue_order *order,
                     struct queue_send *out, struct err *err);

/* What was offered to a channel's far side and is not settled, the oldest order->slots: claim->sends and claim->count.
 * The verdict is QUEUE_SEND, or QUEUE_GONE where it is to be offered no more. 0, -1. */
int queue_read_offered(struct db_session *session, struct queue_claim *claim, const struct queue_order *order,
                       struct err *err);
