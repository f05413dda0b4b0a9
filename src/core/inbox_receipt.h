/* inbox_receipt.h - what a provider reports of a message that the hub sent. */
#pragma once

#include "core/message.h"

struct receipt {
    int64_t tenant_id, channel_id, at_ms;
    struct str external_id, code, hint;
    struct str segment;             /* which SMS of the part it speaks of, by a mark of the provider's; empty: all */
    int64_t segments;               /* of how many SMS the part is, 0: not said */
    struct str key;                 /* our own token of the part (core/send_key.h), where the provider echoes it; it
                                     * goes before the external id, which may be absent then */
    enum message_state state;       /* sent, delivered, read, failed */
};

enum receipt_effect {
    RECEIPT_FAILED = -1,            /* err says why */
    RECEIPT_UNCHANGED,              /* known already, or lower than what is known */
    RECEIPT_APPLIED,
    RECEIPT_EARLY                   /* nobody carries that id (yet); a token is never early */
};

/* Is it one of the four states that a receipt can tell? */
bool receipt_may_say(enum message_state state);

/* Move the message up, never down: the order in which receipts come does not matter. A message in
 * parts is "delivered" or "read" when all its parts and their segments are (core/arrival.h), "sent" with its last
 * part, and "failed" with any, whose number its hint says. What a token names gets the external id, and one that was
 * to be tried again, because its answer was lost, is not. `*message_id` (may be NULL) is the message found, 0 when
 * early or when the token is nobody's here. */
enum receipt_effect receipt_apply(struct db_session *tx, const struct receipt *receipt,
                                  int64_t *message_id, struct err *err);

/* Keep an early one until its message is known. 0, -1. */
int receipt_keep(struct db_session *tx, const struct receipt *receipt, struct err *err);
