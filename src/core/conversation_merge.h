/* conversation_merge.h - two conversations that turn out to be one become one thread, in order of time; nothing is
 * lost. Inside a write transaction. */
#pragma once

#include "core/hub.h"

struct conversation_pair {
    int64_t tenant_id, kept_id, lost_id;
    int64_t contact_id;             /* of the one thread; 0: a group */
    int64_t at_ms;
};

/* The messages of `lost_id` take their places between those of `kept_id` by the time at which they came, each side in
 * its own order; jobs, decisions and acts follow; the row of `lost_id` goes, with the log lines conversation.merged
 * (of both, data: {"into": ...} or {"from": ...}). Queued messages keep the address that they were written for.
 * 0, -1. */
int conversation_merge(struct db_session *tx, const struct conversation_pair *pair, struct err *err);
