/* conversation.h - the messages between one channel and one contact, or a group. Everything is
 * ordered inside it: whoever adds a message takes its row first, in the order of
 * conversation_compare. */
#pragma once

#include "core/hub.h"
#include "db/row.h"

struct arena;

enum conversation_state { CONVERSATION_OPEN, CONVERSATION_WAITING, CONVERSATION_DONE };
extern const char *const conversation_state_words[];    /* "open", "waiting", "done", NULL */

#define CONVERSATION_PAUSED_FOR_GOOD INT64_C(253402300799999)   /* until a person hands it back */

struct conversation {
    int64_t id, tenant_id, channel_id, is_group, contact_id, state, paused_until_ms, auto_turns;
    int64_t unread, last_position, last_message_id, last_message_ms, created_ms, updated_ms;
    struct str peer, title, assigned_to;
};

/* All columns of `conversations`, in table order. */
extern const struct column conversation_columns[];

/* Read the conversation out->id of the tenant out->tenant_id. 1 found, 0 not, -1 failed. */
int conversation_get(struct db_session *session, struct arena *arena, struct conversation *out,
                     struct err *err);

/* The conversation of out->channel_id with out->peer (normalised address or group). 1, 0, -1. */
int conversation_find(struct db_session *session, struct arena *arena, struct conversation *out,
                      struct err *err);

/* What a list shows; zero, absent and negative (`state`) members do not filter. */
struct conversation_filter {
    int64_t tenant_id, channel_id, contact_id, state;
    int64_t before_ms, before_id;               /* newest first: continue below this pair */
    struct str text, assigned_to;               /* part of the title or peer; exact */
    bool unread;
    int limit;
};

/* Up to `limit` conversations, in the arena. Returns their number, -1 on failure. */
int conversation_list(struct db_session *session, struct arena *arena,
                      const struct conversation_filter *filter, struct conversation **out,
                      struct err *err);

/* What new messages of one transaction do to one conversation. It is made if there is none. */
struct conversation_touch {
    int64_t tenant_id, channel_id;
    struct str peer;                /* normalised address or group id */
    struct str address_given;       /* as received, when it differs; absent: the same */
    struct str name;                /* as the provider shows it; absent: unknown */
    bool is_group;
    int64_t id, contact_id;         /* in: drawn before, for a new one; out: those that stand */
    int64_t messages, unread;       /* how many are added; something unread opens it again */
    int64_t auto_turns;             /* of them, written by the machine */
    int64_t last_message_id, last_message_ms, now_ms;   /* id 0: the newest stays */
    bool pause;                     /* a person wrote: the machine is silent until handed back */
    int64_t position;               /* out: of the first added message */
    bool created;                   /* out */
    bool has_head;                  /* the outbox's: a new send job is the head of its lane */
};

/* The order in which conversations are locked. */
int conversation_compare(const struct conversation_touch *a, const struct conversation_touch *b);

/* Apply: `touches` are sorted by conversation_compare and distinct. New conversations get their
 * contact and the log line "conversation.created". */
int conversation_touch(struct db_session *tx, struct conversation_touch *touches, size_t count,
                       struct err *err);

/* Take the row, for those who change its lanes. 1, 0 unknown, -1. */
int conversation_lock(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err);

/* --- What people do; inside a write transaction. 1 done, 0 unknown, -1 failed. Each is logged. */

/* Absent `to`: nobody. */
int conversation_assign(struct db_session *tx, const struct conversation *of, struct str to,
                        struct err *err);
int conversation_set_state(struct db_session *tx, const struct conversation *of,
                           enum conversation_state state, struct err *err);

/* 0 hands back to the machine. */
int conversation_pause(struct db_session *tx, const struct conversation *of, int64_t until_ms,
                       struct err *err);

/* A conversation that may have no message yet: found or made; fills start->id, `created`. 0, -1. */
int conversation_start(struct db_session *tx, struct conversation_touch *start, struct err *err);
