/* consent.h - whether a contact wants messages, and who said so. Each voice is kept by itself: a word of the contact
 * lifts what a word said, never what its provider reported. Nothing is sent while any of them says no. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

struct db_session;

/* contacts.opted_out_by: the voices that say no, added up. */
enum consent_voice {
    CONSENT_WORD = 1,           /* the contact wrote STOP (core/optout) */
    CONSENT_PROVIDER = 2,       /* the provider reported it: blocked, unsubscribed, a bounce */
    CONSENT_PERSON = 4          /* a person of the tenant noted it */
};
extern const char *const consent_words[];   /* by that sum: "none", "word", "provider", "word+provider", ..., NULL */

struct consent {
    int64_t tenant_id, contact_id, conversation_id, at_ms;  /* conversation 0: none is meant */
    bool opted_out;
    enum consent_voice by;
    struct str reason;          /* why or how it was said; kept with the contact while it is opted out */
};

/* Inside a write transaction: note it, with the log line contact.opted_out or contact.opted_in when it
 * changes. Opting in, a word lifts what a word or a person said, a provider what it said itself, a person
 * everything. 1 noted, 0 unknown contact, -1 failed. */
int consent_note(struct db_session *tx, const struct consent *consent, struct err *err);
