/* message_set.h - message_advance for many messages at once: one statement for all of them. */
#pragma once

#include "core/message.h"

/* One message's move. A message may pass through a state: received -> processed goes through
 * processing. */
struct message_move {
    int64_t id, tenant_id, conversation_id, channel_id;
    enum message_direction direction;
    enum message_state from;
    struct message_change change;
    int64_t decision_id;            /* 0: as it was */
    bool moved;                     /* out: the message was in `from` and is now in change.to */
};

/* Move those that are still in `from` and may; adds the log line "message.<state>" for each. Ids
 * are distinct. What `change` says means the same as in message_advance. */
int message_set_advance(struct db_session *tx, struct message_move *moves, size_t count,
                        struct err *err);
