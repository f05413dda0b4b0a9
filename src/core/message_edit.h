/* message_edit.h - what changes a stored message beside its state: edits, deletion, reactions, tags,
 * being read. All run inside a write transaction; each change is a line of the log. Races converge:
 * the last edit wins and every earlier text is kept as a revision, a deletion is final, tags and
 * reactions are sets, and the first reading counts. */
#pragma once

#include "core/message.h"

/* Which message, and when it is changed. */
struct message_ref {
    int64_t tenant_id, id, at_ms;
};

/* Replace the text and keep the old one. 1 done, 0 unknown, deleted, on its way out or the same text,
 * -1 failed. */
int message_edit(struct db_session *tx, const struct message_ref *ref, struct str text,
                 struct err *err);

/* Leave a tombstone: text, metadata, revisions, reactions and tags are gone. 1, 0 unknown, deleted
 * already or on its way out (cancel it), -1. */
int message_delete(struct db_session *tx, const struct message_ref *ref, struct err *err);

/* `actor` (an address, or "hub") reacts; an absent emoji takes all its reactions back. 1 changed, 0
 * not, -1. */
struct reaction {
    struct str actor, emoji;
};
int message_react(struct db_session *tx, const struct message_ref *ref,
                  const struct reaction *reaction, struct err *err);

/* Add or take away one tag. 1 changed, 0 not, -1 (ERR_NOT_FOUND; ERR_INVALID over
 * LIMIT_TAGS_PER_MESSAGE). */
int message_tag(struct db_session *tx, const struct message_ref *ref, struct str tag,
                struct err *err);
int message_untag(struct db_session *tx, const struct message_ref *ref, struct str tag,
                  struct err *err);

/* The tags of a message in order; up to LIMIT_TAGS_PER_MESSAGE, in the arena. Their number, -1. */
int message_tags(struct db_session *session, struct arena *arena, const struct message_ref *ref,
                 struct str **tags, struct err *err);

/* Inbound messages of one tenant were read by a person: `ids` (up to LIMIT_BATCH_MESSAGES), or all
 * unread ones of a conversation. Returns how many were unread until now, -1 on failure. */
struct message_reading {
    int64_t tenant_id, conversation_id, at_ms;
    const int64_t *ids;
    size_t count;
};
int message_mark_read(struct db_session *tx, const struct message_reading *reading,
                      struct err *err);
