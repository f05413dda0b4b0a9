/* message_list.h - lists of messages by what is asked for, and everything that happened to one. */
#pragma once

#include "core/message.h"

/* What a list shows. Zero and absent members do not filter; `direction` and `state` are negative
 * for "any". */
struct message_filter {
    int64_t tenant_id, device_id, channel_id, conversation_id, contact_id;
    int64_t direction, state;
    int64_t from_ms, to_ms;         /* received: from inclusive, to exclusive */
    struct str type, tag;           /* exact */
    struct str text;                /* part of the text, ASCII letters of either case */
    int64_t below_id;               /* newest first: continue below this id; 0: from the newest */
    int limit;
    bool unread;                    /* inbound, not read by a person */
};

/* Up to `limit` messages, newest first, in the arena; tombstones are left out. Returns their
 * number, -1 on failure. */
int message_list(struct db_session *session, struct arena *arena,
                 const struct message_filter *filter, struct message **out, struct err *err);

/* The last `limit` messages of a conversation below `filter->below_id`'s position, newest first:
 * what a chat window shows. Ordered by position, not by id. */
int message_history(struct db_session *session, struct arena *arena,
                    const struct message_filter *filter, struct message **out, struct err *err);

/* Texts before edits, oldest first; reactions. In the arena; the number, -1. */
struct message_revision {
    int64_t revision, replaced_ms;
    struct str text;
};
struct message_reaction {
    struct str actor, emoji;
    int64_t created_ms;
};
int message_revisions(struct db_session *session, struct arena *arena, const struct message *of,
                      struct message_revision **out, struct err *err);
int message_reactions(struct db_session *session, struct arena *arena, const struct message *of,
                      struct message_reaction **out, struct err *err);

/* The timeline of a message: its states, attempts and decision as one list in order of time. */
enum timeline_kind { TIMELINE_EVENT, TIMELINE_ATTEMPT, TIMELINE_DECISION };
struct timeline_entry {
    enum timeline_kind kind;
    int64_t at_ms, until_ms;        /* until: when an attempt ended; 0: not yet, or a moment */
    int64_t seq;                    /* of an event; 0: its first state, which is not looked up */
    int64_t id;                     /* of an attempt or decision */
    struct str what;                /* "message.sent"; an attempt's or decision's outcome word */
    struct str detail;              /* why: hint, reason, provider's code */
    int64_t number, part;           /* of an attempt */
};
int message_timeline(struct db_session *session, struct arena *arena, const struct message *of,
                     struct timeline_entry **out, struct err *err);
