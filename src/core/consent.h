/* consent.h - what a person of the tenant notes about a contact's will: no more messages, or yes again. The words that
 * contacts write themselves are core/optout's. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

struct db_session;

struct consent {
    int64_t tenant_id, contact_id, at_ms;
    bool opted_out;
    struct str reason;          /* why or how it was said; kept with the contact while it is opted out */
};

/* Inside a write transaction: note it, with the log line contact.opted_out or contact.opted_in when it
 * changes. 1 it is so now, 0 unknown contact, -1 failed. */
int consent_note(struct db_session *tx, const struct consent *consent, struct err *err);
