/* act.h - what is done to a message that is out: a reaction, an edit, its deletion, telling that it was read. An act is
 * a row of its own whose job stands in the conversation's lane like a send: attempts, retries and take-overs are those
 * of sends, and an unsure one is repeated, because doing it twice is doing it once. Its states are those of outgoing
 * messages; each is a line of the log on its message, "message.act", data {"act": ..., "state": ...}. What the hub
 * itself shows changes when the provider has taken the act. */
#pragma once

#include "core/channel_send.h"
#include "core/hub.h"

extern const char *const act_words[];   /* by enum send_act: "message", "reaction", "edit", ..., NULL */

struct act {
    int64_t id, tenant_id, message_id, at_ms;   /* the id is drawn before, and is its job's as well */
    enum send_act act;
    struct str text;                /* the emoji (empty: take it back), the new text */
};

/* Inside a write transaction: queue it. 1 queued; 0 nobody outside has to be told, because the message is not out there
 * as the hub's (edit, deletion) or cannot be told (reading): change the hub's own model; -1 (ERR_NOT_FOUND;
 * ERR_CONFLICT with a hint where the channel cannot do this). */
int act_queue(struct db_session *tx, const struct act *act, struct err *err);

/* Inbound messages were read: one act for the newest of each conversation whose channel can tell. `first_id` is the
 * first of as many ids as there are messages. 0, -1. */
struct act_reading {
    int64_t tenant_id, first_id, at_ms;
    const int64_t *ids;
    size_t count;
};
int act_queue_reading(struct db_session *tx, const struct act_reading *reading, struct err *err);

/* The workers': move an act that is still in `from`, by the table of messages. Once it is sent its effect is stored on
 * the message. 1 moved, 0 not, -1. */
struct act_move {
    int64_t id, at_ms;
    int64_t from, to;               /* enum message_state */
    struct str code, hint;          /* absent: left alone; empty: cleared */
};
int act_advance(struct db_session *tx, const struct act_move *move, struct err *err);

/* Show in a conversation that somebody types, or has ended: once, at once, never repeated. Blocks for up to
 * ACT_TYPING_MS. 1 told, 0 the provider did not take it, -1 (ERR_NOT_FOUND, ERR_CONFLICT: the channel cannot). */
#define ACT_TYPING_MS 3000
struct act_typing {
    int64_t tenant_id, conversation_id;
    bool off;
};
int act_type(struct hub *hub, const struct act_typing *typing, struct err *err);
