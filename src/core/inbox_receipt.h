/* inbox_receipt.h - what a provider reports of a message that the hub sent. */
#pragma once

#include "core/message.h"

struct receipt {
    int64_t tenant_id, channel_id, at_ms;
    struct str external_id, code, hint;
    enum message_state state;       /* sent, delivered, read, failed */
};

enum receipt_effect {
    RECEIPT_FAILED = -1,            /* err says why */
    RECEIPT_UNCHANGED,              /* known already, or lower than what is known */
    RECEIPT_APPLIED,
    RECEIPT_EARLY                   /* nobody carries that id (yet) */
};

/* Is it one of the four states that a receipt can tell? */
bool receipt_may_say(enum message_state state);

/* Move the message up, never down: the order in which receipts come does not matter. Of a message in
 * parts, "delivered" and "read" count for its last part, "failed" for any. `*message_id` (may be
 * NULL) is the message found, 0 when early. */
enum receipt_effect receipt_apply(struct db_session *tx, const struct receipt *receipt,
                                  int64_t *message_id, struct err *err);

/* Keep an early one until its message is known. 0, -1. */
int receipt_keep(struct db_session *tx, const struct receipt *receipt, struct err *err);
