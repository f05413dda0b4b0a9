#include "core/conversation.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/event.h"
#include "core/query.h"

#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct conversation, member)

const char *const conversation_state_words[] = { "open", "waiting", "done", NULL };

const struct column conversation_columns[] = {
    { "id", COL_REF, AT(id), COL_PUBLIC, ID_CONVERSATION, NULL, NULL },
    { "tenant_id", COL_INT, AT(tenant_id), 0, NULL, NULL, NULL },
    { "channel_id", COL_REF, AT(channel_id), COL_PUBLIC, ID_CHANNEL, NULL, NULL },
    { "peer", COL_TEXT, AT(peer), COL_PUBLIC, NULL, NULL, NULL },
    { "is_group", COL_BOOL, AT(is_group), COL_PUBLIC, NULL, NULL, NULL },
    { "contact_id", COL_REF, AT(contact_id), COL_PUBLIC, ID_CONTACT, NULL, NULL },
    { "title", COL_TEXT, AT(title), COL_PUBLIC, NULL, NULL, NULL },
    { "state", COL_ENUM, AT(state), COL_PUBLIC, NULL, conversation_state_words, NULL },
    { "assigned_to", COL_TEXT, AT(assigned_to), COL_PUBLIC, NULL, NULL, NULL },
    { "paused_until_ms", COL_TIME, AT(paused_until_ms), COL_PUBLIC, NULL, NULL, "paused_until" },
    { "auto_turns", COL_INT, AT(auto_turns), COL_PUBLIC, NULL, NULL, NULL },
    { "unread", COL_INT, AT(unread), COL_PUBLIC, NULL, NULL, NULL },
    { "last_position", COL_INT, AT(last_position), COL_PUBLIC, NULL, NULL, NULL },
    { "last_message_id", COL_REF, AT(last_message_id), COL_PUBLIC, ID_MESSAGE, NULL, NULL },
    { "last_message_ms", COL_TIME, AT(last_message_ms), COL_PUBLIC, NULL, NULL, "last_message_at" },
    { "created_ms", COL_TIME, AT(created_ms), COL_PUBLIC, NULL, NULL, "created_at" },
    { "updated_ms", COL_TIME, AT(updated_ms), COL_PUBLIC, NULL, NULL, "updated_at" },
    { 0 }
};

/* --- Reading ---------------------------------------------------------------------------------- */

static int read_one(struct db_rows *rows, struct arena *arena, struct conversation *out,
                    struct err *err)
{
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    row_read(rows, 0, conversation_columns, arena, out);
    db_rows_end(rows);
    return 1;
}

int conversation_get(struct db_session *session, struct arena *arena, struct conversation *out,
                     struct err *err)
{
    const char *sql = arena_printf(arena,
        "SELECT %s FROM conversations c WHERE c.tenant_id = $1 AND c.id = $2",
        row_select(conversation_columns, "c"));

    return read_one(db_query(session, sql, DB_ARGS(db_int(out->tenant_id), db_int(out->id)), err),
                    arena, out, err);
}

int conversation_find(struct db_session *session, struct arena *arena, struct conversation *out,
                      struct err *err)
{
    const char *sql = arena_printf(arena,
        "SELECT %s FROM conversations c WHERE c.tenant_id = $1 AND c.channel_id = $2 "
        "AND c.peer = $3", row_select(conversation_columns, "c"));

    return read_one(db_query(session, sql, DB_ARGS(db_int(out->tenant_id), db_int(out->channel_id),
                                                   db_text(out->peer)), err), arena, out, err);
}

static void add_conditions(struct query *query, struct arena *arena,
                           const struct conversation_filter *filter)
{
    query_add_value(query, " WHERE c.tenant_id = ?", db_int(filter->tenant_id));
    if (filter->channel_id)
        query_add_value(query, " AND c.channel_id = ?", db_int(filter->channel_id));
    if (filter->contact_id)
        query_add_value(query, " AND c.contact_id = ?", db_int(filter->contact_id));
    if (filter->state >= 0)
        query_add_value(query, " AND c.state = ?", db_int(filter->state));
    if (filter->assigned_to.data)
        query_add_value(query, " AND c.assigned_to = ?", db_text(filter->assigned_to));
    if (filter->unread)
        query_add(query, " AND c.unread > 0");
    if (filter->text.data)
        query_add_value(query, " AND LOWER(c.peer || ' ' || COALESCE(c.title, '')) "
                        "LIKE LOWER(?) ESCAPE '\\'", db_text(query_like(arena, filter->text)));
    if (filter->before_id) {
        query_add_value(query, " AND (c.last_message_ms, c.id) < (?", db_int(filter->before_ms));
        query_add_value(query, ", ?)", db_int(filter->before_id));
    }
}

int conversation_list(struct db_session *session, struct arena *arena,
                      const struct conversation_filter *filter, struct conversation **out,
                      struct err *err)
{
    struct query query;
    struct db_rows *rows;
    int found = -1, count = 0;

    *out = arena_array(arena, (size_t)filter->limit, sizeof **out);
    query_init(&query, arena_printf(arena, "SELECT %s FROM conversations c",
                                    row_select(conversation_columns, "c")));
    add_conditions(&query, arena, filter);
    query_add_value(&query, " ORDER BY c.last_message_ms DESC, c.id DESC LIMIT ?",
                    db_int(filter->limit));
    rows = query_run(session, &query, err);
    while (rows && (found = db_next(rows, err)) == 1)
        row_read(rows, 0, conversation_columns, arena, &(*out)[count++]);
    query_fini(&query);
    return found < 0 ? -1 : count;
}

/* --- What people do --------------------------------------------------------------------------- */

static int logged(struct db_session *tx, const struct conversation *of, const char *kind,
                  int64_t changed)
{
    if (changed == 1)
        event_add(tx, &(struct event){ .tenant_id = of->tenant_id, .kind = kind,
                                       .object_id = of->id, .conversation_id = of->id,
                                       .at_ms = clock_ms() });
    return (int)changed;
}

int conversation_lock(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err)
{
    int64_t found;

    if (db_query_int(tx, "SELECT id FROM conversations WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
                     DB_ARGS(db_int(tenant_id), db_int(id)), 0, &found, err))
        return -1;
    return found != 0;
}

int conversation_assign(struct db_session *tx, const struct conversation *of, struct str to,
                        struct err *err)
{
    return logged(tx, of, "conversation.assigned", db_exec(tx,
        "UPDATE conversations SET assigned_to = $1, updated_ms = $2 "
        "WHERE tenant_id = $3 AND id = $4",
        DB_ARGS(db_text(to), db_int(clock_ms()), db_int(of->tenant_id), db_int(of->id)), err));
}

int conversation_set_state(struct db_session *tx, const struct conversation *of,
                           enum conversation_state state, struct err *err)
{
    return logged(tx, of, "conversation.updated", db_exec(tx,
        "UPDATE conversations SET state = $1, updated_ms = $2 WHERE tenant_id = $3 AND id = $4",
        DB_ARGS(db_int(state), db_int(clock_ms()), db_int(of->tenant_id), db_int(of->id)), err));
}

int conversation_pause(struct db_session *tx, const struct conversation *of, int64_t until_ms,
                       struct err *err)
{
    return logged(tx, of, until_ms ? "conversation.paused" : "conversation.resumed", db_exec(tx,
        "UPDATE conversations SET paused_until_ms = $1, auto_turns = 0, updated_ms = $2 "
        "WHERE tenant_id = $3 AND id = $4",
        DB_ARGS(db_id(until_ms), db_int(clock_ms()), db_int(of->tenant_id), db_int(of->id)), err));
}

int conversation_start(struct db_session *tx, struct conversation_touch *start, struct err *err)
{
    start->messages = 0;
    return conversation_touch(tx, start, 1, err);
}
