#include "core/message_list.h"

#include "base/arena.h"
#include "core/query.h"

#include <string.h>

#define REVISIONS_MAX 100
#define REACTIONS_MAX 500

static void add_ids(struct query *query, const struct message_filter *filter)
{
    query_add_value(query, " WHERE m.tenant_id = ?", db_int(filter->tenant_id));
    if (filter->below_id)
        query_add_value(query, " AND m.id < ?", db_int(filter->below_id));
    if (filter->conversation_id)
        query_add_value(query, " AND m.conversation_id = ?", db_int(filter->conversation_id));
    if (filter->channel_id)
        query_add_value(query, " AND m.channel_id = ?", db_int(filter->channel_id));
    if (filter->contact_id)
        query_add_value(query, " AND m.contact_id = ?", db_int(filter->contact_id));
    if (filter->device_id) {
        query_add_value(query, " AND (m.device_id = ?", db_int(filter->device_id));
        query_add_value(query, " OR EXISTS (SELECT 1 FROM message_sources s "
                        "WHERE s.message_id = m.id AND s.device_id = ?))",
                        db_int(filter->device_id));
    }
}

static bool is_stuck(int64_t state)
{
    return state == MESSAGE_HELD || state == MESSAGE_UNKNOWN || state == MESSAGE_FAILED;
}

static void add_rest(struct query *query, struct arena *arena, const struct message_filter *filter)
{
    if (filter->direction >= 0)
        query_add_value(query, " AND m.direction = ?", db_int(filter->direction));
    if (filter->state >= 0)
        query_add_value(query, " AND m.state = ?", db_int(filter->state));
    if (filter->direction == MESSAGE_OUT && is_stuck(filter->state))
        query_add(query, " AND " MESSAGE_STUCK);
    /* the sign keeps SQLite from taking all of that time from messages_window and sorting it */
    if (filter->from_ms)
        query_add_value(query, " AND +m.received_ms >= ?", db_int(filter->from_ms));
    if (filter->to_ms)
        query_add_value(query, " AND +m.received_ms < ?", db_int(filter->to_ms));
    if (filter->type.data)
        query_add_value(query, " AND m.type = ?", db_text(filter->type));
    if (filter->tag.data)
        query_add_value(query, " AND EXISTS (SELECT 1 FROM message_tags g "
                        "WHERE g.message_id = m.id AND g.tag = ?)", db_text(filter->tag));
    if (filter->text.data)
        query_add_value(query, " AND LOWER(m.text) LIKE LOWER(?) ESCAPE '\\'",
                        db_text(query_like(arena, filter->text)));
    if (filter->unread)
        query_add(query, " AND m.direction = 0 AND m.read_ms IS NULL AND m.is_history = 0");
    query_add(query, " AND m.deleted_ms IS NULL");
}

static int read_all(struct db_session *session, struct arena *arena, struct query *query,
                    struct message *out, struct err *err)
{
    struct db_rows *rows = query_run(session, query, err);
    int found = -1, count = 0;

    while (rows && (found = db_next(rows, err)) == 1)
        row_read(rows, 0, message_columns, arena, &out[count++]);
    query_fini(query);
    return found < 0 ? -1 : count;
}

static void begin(struct query *query, struct arena *arena)
{
    query_init(query, arena_printf(arena, "SELECT %s FROM messages m",
                                   row_select(message_columns, "m")));
}

int message_list(struct db_session *session, struct arena *arena,
                 const struct message_filter *filter, struct message **out, struct err *err)
{
    struct query query;

    *out = arena_array(arena, (size_t)filter->limit, sizeof **out);
    begin(&query, arena);
    add_ids(&query, filter);
    add_rest(&query, arena, filter);
    query_add_value(&query, " ORDER BY m.id DESC LIMIT ?", db_int(filter->limit));
    return read_all(session, arena, &query, *out, err);
}

int message_history(struct db_session *session, struct arena *arena,
                    const struct message_filter *filter, struct message **out, struct err *err)
{
    struct query query;
    int64_t below = INT64_MAX;

    *out = arena_array(arena, (size_t)filter->limit, sizeof **out);
    if (filter->below_id
        && db_query_int(session, "SELECT position FROM messages WHERE tenant_id = $1 AND id = $2",
                        DB_ARGS(db_int(filter->tenant_id), db_int(filter->below_id)), 0, &below,
                        err))
        return -1;
    begin(&query, arena);
    query_add_value(&query, " WHERE m.tenant_id = ?", db_int(filter->tenant_id));
    query_add_value(&query, " AND m.conversation_id = ?", db_int(filter->conversation_id));
    query_add_value(&query, " AND m.position < ?", db_int(below));
    query_add_value(&query, " ORDER BY m.position DESC LIMIT ?", db_int(filter->limit));
    return read_all(session, arena, &query, *out, err);
}

/* --- Revisions, reactions --------------------------------------------------------------------- */

static struct str copy_text(struct arena *arena, struct str text)
{
    return (struct str){ str_dup(arena, text), text.len };
}

int message_revisions(struct db_session *session, struct arena *arena, const struct message *of,
                      struct message_revision **out, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT revision, replaced_ms, text FROM message_revisions WHERE message_id = $1 "
        "AND tenant_id = $2 ORDER BY revision LIMIT $3",
        DB_ARGS(db_int(of->id), db_int(of->tenant_id), db_int(REVISIONS_MAX)), err);
    int found = -1, count = 0;

    *out = arena_array(arena, REVISIONS_MAX, sizeof **out);
    while (rows && (found = db_next(rows, err)) == 1)
        (*out)[count++] = (struct message_revision){ db_col_int(rows, 0), db_col_int(rows, 1),
                                                     copy_text(arena, db_col_text(rows, 2)) };
    return found < 0 ? -1 : count;
}

int message_reactions(struct db_session *session, struct arena *arena, const struct message *of,
                      struct message_reaction **out, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT actor, emoji, created_ms FROM message_reactions WHERE message_id = $1 "
        "AND tenant_id = $2 ORDER BY created_ms, actor, emoji LIMIT $3",
        DB_ARGS(db_int(of->id), db_int(of->tenant_id), db_int(REACTIONS_MAX)), err);
    int found = -1, count = 0;

    *out = arena_array(arena, REACTIONS_MAX, sizeof **out);
    while (rows && (found = db_next(rows, err)) == 1)
        (*out)[count++] = (struct message_reaction){ copy_text(arena, db_col_text(rows, 0)),
                                                     copy_text(arena, db_col_text(rows, 1)),
                                                     db_col_int(rows, 2) };
    return found < 0 ? -1 : count;
}
