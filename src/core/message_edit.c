#include "core/message_edit.h"

#include "base/arena.h"
#include "core/attachment.h"
#include "core/conversation.h"
#include "core/event.h"

#include <stdlib.h>

/* --- Edits, deletion -------------------------------------------------------------------------- */

/* What a change needs to know of its message. */
struct stored {
    int64_t conversation_id, deleted_ms, direction, state;
    struct str text;
};

/* On its way out the text is what was split into parts and may be gone already. */
static bool is_underway(const struct stored *stored)
{
    return stored->direction == MESSAGE_OUT
        && (stored->state == MESSAGE_QUEUED || stored->state == MESSAGE_SENDING
            || stored->state == MESSAGE_HELD || stored->state == MESSAGE_UNKNOWN);
}

static int read_stored(struct db_session *tx, const struct message_ref *ref, struct stored *out,
                       struct err *err)
{
    struct db_rows *rows = db_query(tx,
                                    "SELECT conversation_id, deleted_ms, text, direction, state "
                                    "FROM messages WHERE tenant_id = $1 AND id = $2 "
                                    "FOR UPDATE",
                                    DB_ARGS(db_int(ref->tenant_id), db_int(ref->id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    out->conversation_id = db_col_int(rows, 0);
    out->deleted_ms = db_col_int(rows, 1);
    out->text = (struct str){ str_dup(db_arena(tx), db_col_text(rows, 2)),
                              db_col_text(rows, 2).len };
    out->direction = db_col_int(rows, 3);
    out->state = db_col_int(rows, 4);
    db_rows_end(rows);
    return 1;
}

static void log_change(struct db_session *tx, const struct message_ref *ref, const char *kind,
                       int64_t conversation_id)
{
    event_add(tx, &(struct event){ .tenant_id = ref->tenant_id, .kind = kind, .object_id = ref->id,
                                   .conversation_id = conversation_id, .at_ms = ref->at_ms });
}

int message_edit(struct db_session *tx, const struct message_ref *ref, struct str text,
                 struct err *err)
{
    struct stored stored;
    int found = read_stored(tx, ref, &stored, err);

    if (found != 1)
        return found;
    if (stored.deleted_ms || is_underway(&stored) || str_eq(stored.text, text))
        return 0;
    if (db_exec(tx, "INSERT INTO message_revisions (message_id, revision, tenant_id, text, "
                "replaced_ms) SELECT $1, COUNT(*) + 1, $2, $3, $4 FROM message_revisions "
                "WHERE message_id = $1",
                DB_ARGS(db_int(ref->id), db_int(ref->tenant_id), db_text(stored.text),
                        db_int(ref->at_ms)), err) < 0
        || db_exec(tx, "UPDATE messages SET text = $1, edited_ms = $2, updated_ms = $2 "
                   "WHERE id = $3",
                   DB_ARGS(db_text(text), db_int(ref->at_ms), db_int(ref->id)), err) < 0)
        return -1;
    log_change(tx, ref, "message.edited", stored.conversation_id);
    return 1;
}

static int clear(struct db_session *tx, const char *sql, int64_t id, struct err *err)
{
    return db_exec(tx, sql, DB_ARGS(db_int(id)), err) < 0 ? -1 : 0;
}

int message_delete(struct db_session *tx, const struct message_ref *ref, struct err *err)
{
    struct stored stored;
    int found = read_stored(tx, ref, &stored, err);

    if (found != 1)
        return found;
    if (stored.deleted_ms || is_underway(&stored))
        return 0;
    if (db_exec(tx, "UPDATE messages SET text = '', metadata = NULL, deleted_ms = $1, "
                "updated_ms = $1 WHERE id = $2", DB_ARGS(db_int(ref->at_ms), db_int(ref->id)),
                err) < 0
        || attachment_drop(tx, ref->id, ref->at_ms, err)
        || clear(tx, "DELETE FROM message_revisions WHERE message_id = $1", ref->id, err)
        || clear(tx, "DELETE FROM message_reactions WHERE message_id = $1", ref->id, err)
        || clear(tx, "DELETE FROM message_tags WHERE message_id = $1", ref->id, err))
        return -1;
    log_change(tx, ref, "message.deleted", stored.conversation_id);
    return 1;
}

/* --- Reactions, tags -------------------------------------------------------------------------- */

/* A change of what hangs on a message makes it newer. */
static int touch(struct db_session *tx, const struct message_ref *ref, const char *kind,
                 const struct stored *stored, struct err *err)
{
    if (db_exec(tx, "UPDATE messages SET updated_ms = $1 WHERE id = $2",
                DB_ARGS(db_int(ref->at_ms), db_int(ref->id)), err) < 0)
        return -1;
    log_change(tx, ref, kind, stored->conversation_id);
    return 1;
}

int message_react(struct db_session *tx, const struct message_ref *ref,
                  const struct reaction *reaction, struct err *err)
{
    struct stored stored;
    int found = read_stored(tx, ref, &stored, err);
    int64_t changed;

    if (found != 1)
        return found;
    if (stored.deleted_ms)
        return 0;
    if (reaction->emoji.data)
        changed = db_exec(tx, "INSERT INTO message_reactions (message_id, actor, emoji, "
                          "tenant_id, created_ms) VALUES ($1, $2, $3, $4, $5) "
                          "ON CONFLICT DO NOTHING",
                          DB_ARGS(db_int(ref->id), db_text(reaction->actor),
                                  db_text(reaction->emoji), db_int(ref->tenant_id),
                                  db_int(ref->at_ms)), err);
    else
        changed = db_exec(tx, "DELETE FROM message_reactions WHERE message_id = $1 "
                          "AND actor = $2",
                          DB_ARGS(db_int(ref->id), db_text(reaction->actor)), err);
    if (changed <= 0)
        return (int)changed;
    return touch(tx, ref, "message.reaction", &stored, err);
}

static int unknown(struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "There is no such message.");
}

int message_tag(struct db_session *tx, const struct message_ref *ref, struct str tag,
                struct err *err)
{
    struct stored stored;
    int found = read_stored(tx, ref, &stored, err);
    int64_t changed, tags;

    if (found != 1 || stored.deleted_ms)
        return found < 0 ? -1 : unknown(err);
    if (tag.len == 0 || tag.len > LIMIT_TAG_BYTES)
        return err_field(err, "tag", "A tag has 1 to %d bytes.", LIMIT_TAG_BYTES);
    if (db_query_int(tx, "SELECT COUNT(*) FROM message_tags WHERE message_id = $1 AND tag <> $2",
                     DB_ARGS(db_int(ref->id), db_text(tag)), 0, &tags, err))
        return -1;
    if (tags >= LIMIT_TAGS_PER_MESSAGE)
        return err_field(err, "tag", "The message has %d tags already.", LIMIT_TAGS_PER_MESSAGE);
    changed = db_exec(tx, "INSERT INTO message_tags (message_id, tag, tenant_id) "
                      "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                      DB_ARGS(db_int(ref->id), db_text(tag), db_int(ref->tenant_id)), err);
    if (changed <= 0)
        return (int)changed;
    return touch(tx, ref, "message.tagged", &stored, err);
}

int message_untag(struct db_session *tx, const struct message_ref *ref, struct str tag,
                  struct err *err)
{
    struct stored stored;
    int found = read_stored(tx, ref, &stored, err);
    int64_t changed;

    if (found != 1)
        return found < 0 ? -1 : unknown(err);
    changed = db_exec(tx, "DELETE FROM message_tags WHERE message_id = $1 AND tag = $2",
                      DB_ARGS(db_int(ref->id), db_text(tag)), err);
    if (changed <= 0)
        return (int)changed;
    return touch(tx, ref, "message.tagged", &stored, err);
}

int message_tags(struct db_session *session, struct arena *arena, const struct message_ref *ref,
                 struct str **tags, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT tag FROM message_tags WHERE message_id = $1 AND tenant_id = $2 ORDER BY tag "
        "LIMIT $3",
        DB_ARGS(db_int(ref->id), db_int(ref->tenant_id), db_int(LIMIT_TAGS_PER_MESSAGE)), err);
    int found = -1, count = 0;

    *tags = arena_array(arena, LIMIT_TAGS_PER_MESSAGE, sizeof **tags);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct str tag = db_col_text(rows, 0);

        (*tags)[count++] = (struct str){ str_dup(arena, tag), tag.len };
    }
    return found < 0 ? -1 : count;
}

/* --- Being read ------------------------------------------------------------------------------- */

/* The messages that become read, and their conversations in the order of locks. */
struct unread {
    int64_t *ids, *conversation_ids;
    bool *history;
    size_t count;
    struct conversation_touch *touches;
    size_t touch_count;
};

static int compare_touches(const void *a, const void *b)
{
    return conversation_compare(a, b);
}

static struct db_rows *query_unread(struct db_session *tx, const struct message_reading *reading,
                                    struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), reading->count * 2, sizeof *values);
    struct db_set set = {
        "WITH v(tenant_id, id) AS (:rows:) SELECT m.id, m.conversation_id, m.is_history, "
        "c.channel_id, c.peer FROM v JOIN messages m ON m.tenant_id = v.tenant_id AND m.id = v.id "
        "JOIN conversations c ON c.tenant_id = m.tenant_id AND c.id = m.conversation_id "
        "WHERE m.direction = 0 AND m.read_ms IS NULL AND m.deleted_ms IS NULL", "ii", values,
        reading->count };

    if (reading->conversation_id)
        return db_query(tx,
            "SELECT m.id, m.conversation_id, m.is_history, c.channel_id, c.peer "
            "FROM conversations c JOIN messages m ON m.conversation_id = c.id "
            "WHERE c.tenant_id = $1 AND c.id = $2 AND m.direction = 0 AND m.read_ms IS NULL "
            "AND m.deleted_ms IS NULL ORDER BY m.position DESC LIMIT $3",
            DB_ARGS(db_int(reading->tenant_id), db_int(reading->conversation_id),
                    db_int(LIMIT_BATCH_MESSAGES)), err);
    for (size_t i = 0; i < reading->count; i++) {
        values[i * 2] = db_int(reading->tenant_id);
        values[i * 2 + 1] = db_int(reading->ids[i]);
    }
    return db_query_rows(tx, &set, err);
}

static int gather_unread(struct db_session *tx, const struct message_reading *reading,
                         struct unread *unread, struct err *err)
{
    size_t room = reading->conversation_id ? LIMIT_BATCH_MESSAGES : reading->count;
    struct arena *arena = db_arena(tx);
    struct db_rows *rows = query_unread(tx, reading, err);
    int found;

    *unread = (struct unread){ .ids = arena_array(arena, room, sizeof(int64_t)),
                               .conversation_ids = arena_array(arena, room, sizeof(int64_t)),
                               .history = arena_array(arena, room, sizeof(bool)),
                               .touches = arena_array(arena, room, sizeof *unread->touches) };
    while (rows && (found = db_next(rows, err)) == 1) {
        struct conversation_touch *touch = &unread->touches[unread->count];
        struct str peer = db_col_text(rows, 4);

        unread->ids[unread->count] = db_col_int(rows, 0);
        unread->conversation_ids[unread->count] = db_col_int(rows, 1);
        unread->history[unread->count++] = db_col_int(rows, 2) != 0;
        *touch = (struct conversation_touch){ .tenant_id = reading->tenant_id,
                                              .id = db_col_int(rows, 1),
                                              .channel_id = db_col_int(rows, 3) };
        touch->peer = (struct str){ str_dup(arena, peer), peer.len };
    }
    return !rows || found < 0 ? -1 : 0;
}

/* Take the conversations, each once, in order. */
static int lock_conversations(struct db_session *tx, struct unread *unread, struct err *err)
{
    qsort(unread->touches, unread->count, sizeof *unread->touches, compare_touches);
    for (size_t i = 0; i < unread->count; i++) {
        struct conversation_touch *last = unread->touches + unread->touch_count - 1;

        if (unread->touch_count > 0 && last->id == unread->touches[i].id)
            continue;
        unread->touches[unread->touch_count++] = unread->touches[i];
        if (conversation_lock(tx, unread->touches[i].tenant_id, unread->touches[i].id, err) < 0)
            return -1;
    }
    return 0;
}

static int lower_unread(struct db_session *tx, const struct unread *unread, struct err *err)
{
    for (size_t i = 0; i < unread->touch_count; i++) {
        const struct conversation_touch *touch = &unread->touches[i];

        if (db_exec(tx, "UPDATE conversations SET "
                    "unread = CASE WHEN unread > $1 THEN unread - $1 ELSE 0 END "
                    "WHERE tenant_id = $2 AND id = $3",
                    DB_ARGS(db_int(touch->unread), db_int(touch->tenant_id), db_int(touch->id)),
                    err) < 0)
            return -1;
    }
    return 0;
}

int message_mark_read(struct db_session *tx, const struct message_reading *reading,
                      struct err *err)
{
    struct unread unread;
    int marked = 0;

    if (!reading->conversation_id && reading->count == 0)
        return 0;
    if (gather_unread(tx, reading, &unread, err) || lock_conversations(tx, &unread, err))
        return -1;
    for (size_t i = 0; i < unread.count; i++) {
        int64_t changed = db_exec(tx,
            "UPDATE messages SET read_ms = $1, updated_ms = $1 WHERE id = $2 AND read_ms IS NULL",
            DB_ARGS(db_int(reading->at_ms), db_int(unread.ids[i])), err);

        if (changed < 0)
            return -1;
        if (changed == 0)
            continue;
        marked++;
        for (size_t at = 0; at < unread.touch_count && !unread.history[i]; at++)
            if (unread.touches[at].id == unread.conversation_ids[i])
                unread.touches[at].unread++;
        log_change(tx, &(struct message_ref){ reading->tenant_id, unread.ids[i], reading->at_ms },
                   "message.read", unread.conversation_ids[i]);
    }
    return lower_unread(tx, &unread, err) ? -1 : marked;
}
