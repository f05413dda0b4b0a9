/* contact_merge.h - contacts of one channel that turn out to be one, and contacts that are reached elsewhere from now
 * on. Inside a write transaction; the history stays whole, and nothing that is queued gets another address because
 * contacts were merged. */
#pragma once

#include "core/hub.h"
#include "core/identity.h"

struct contact_pair {
    int64_t tenant_id, channel_id, kept_id, lost_id, at_ms;
};

/* Everything of `lost_id` goes to `kept_id`: its conversation (core/conversation_merge), identifiers, who said no, its
 * person. What both have, as names, is kept's; lost's stands in the log line contact.merged of `lost_id`, whose data
 * names the contact that it went into. lost's address becomes an identifier. 0, -1. */
int contact_merge(struct db_session *tx, const struct contact_pair *pair, struct err *err);

/* A contact, or a group, was reached at `from` and is now at `to`; both normalised. */
struct contact_move {
    int64_t tenant_id, channel_id, at_ms;
    struct str from, to, to_given;  /* to_given: as received */
    bool is_group;
};

/* The contact keeps its id and history, the conversation its id; what is queued follows. Whoever is at `to` already is
 * the same contact: they are merged. `from` leads to nobody afterwards, because another may get it. Log line:
 * contact.moved, of a group conversation.moved. 1 moved, 0 nobody is at `from`, or nothing to change, -1. */
int contact_move(struct db_session *tx, const struct contact_move *move, struct err *err);

/* The contact has this further identifier: identity->contact_id, at->address. Whoever has it as their address is the
 * same contact: merged, the older one stays, and identity->contact_id says which that is. A user name ("@...") and an
 * identifier that another contact had, besides an address of its own, goes over to this one. 0, -1. */
int contact_identify(struct db_session *tx, struct identity *identity, int64_t at_ms, struct err *err);
