#include "core/bridge.h"

#include "base/arena.h"
#include "base/limits.h"
#include "core/event.h"

#include <string.h>

static const char *context(struct arena *arena, const char *table, int64_t channel_id, struct str name)
{
    return arena_printf(arena, "%s:%lld:%.*s", table, (long long)channel_id, STR_FMT(name));
}

/* --- What it keeps ------------------------------------------------------------------------------ */

/* The last text that begins with `prefix`, for a range that an index serves. */
static struct str behind(struct arena *arena, struct str prefix)
{
    return str_c(arena_printf(arena, "%.*s\xf4\x8f\xbf\xbf", STR_FMT(prefix)));
}

static int read_one(struct hub *hub, struct arena *arena, struct bridge_page *page, const struct db_rows *rows,
                    struct err *err)
{
    struct bridge_value *value = &page->values[page->count];
    struct str name = db_col_text(rows, 0), opened;

    value->name = (struct str){ str_dup(arena, name), name.len };
    opened = sign_unseal(arena, hub->seal_key, db_col_text(rows, 1),
                         context(arena, "bridge_states", page->channel_id, value->name), err);
    if (!opened.data)
        return -1;
    value->value = opened;
    page->count++;
    return 0;
}

int bridge_read(struct hub *hub, struct arena *arena, struct bridge_page *page, struct err *err)
{
    struct db_session *session = db_read(hub->db, page->tenant_id, err);
    struct str prefix = page->prefix.data ? page->prefix : STR(""), after = page->after.data ? page->after : STR("");
    struct db_rows *rows;
    size_t bytes = 0;
    int more = -1;

    page->count = 0;
    page->values = arena_array(arena, (size_t)page->limit + 1, sizeof *page->values);
    if (!session)
        return -1;
    rows = page->name.data
        ? db_query(session, "SELECT name, value FROM bridge_states WHERE tenant_id = $1 AND channel_id = $2 "
                   "AND name = $3", DB_ARGS(db_int(page->tenant_id), db_int(page->channel_id), db_text(page->name)),
                   err)
        : db_query(session, "SELECT name, value FROM bridge_states WHERE tenant_id = $1 AND channel_id = $2 "
                   "AND name >= $3 AND name <= $4 AND name > $5 ORDER BY name LIMIT $6",
                   DB_ARGS(db_int(page->tenant_id), db_int(page->channel_id), db_text(prefix),
                           db_text(behind(arena, prefix)), db_text(after), db_int(page->limit)), err);
    while (rows && bytes < BRIDGE_ANSWER_BYTES && (more = db_next(rows, err)) == 1) {
        if (read_one(hub, arena, page, rows, err)) {
            more = -1;
            break;
        }
        bytes += page->values[page->count - 1].value.len;
    }
    db_read_end(session);
    return more < 0 ? -1 : 0;
}

static int store_one(struct db_session *tx, const struct bridge_change *change, const struct bridge_value *value,
                     struct err *err)
{
    struct arena *arena = db_arena(tx);
    struct str sealed;

    if (!value->value.data)
        return db_exec(tx, "DELETE FROM bridge_states WHERE tenant_id = $1 AND channel_id = $2 AND name = $3",
                       DB_ARGS(db_int(change->tenant_id), db_int(change->channel_id), db_text(value->name)), err) < 0
            ? -1 : 0;
    if (value->value.len > BRIDGE_VALUE_BYTES)
        return err_set(err, ERR_TOO_LARGE, "A bridge may keep at most %d bytes under one name.", BRIDGE_VALUE_BYTES);
    sealed = sign_seal(arena, change->hub->seal_key, value->value,
                       context(arena, "bridge_states", change->channel_id, value->name));
    return db_exec(tx, "INSERT INTO bridge_states (tenant_id, channel_id, name, value, updated_ms) "
                   "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (channel_id, name) DO UPDATE SET value = excluded.value, "
                   "updated_ms = excluded.updated_ms",
                   DB_ARGS(db_int(change->tenant_id), db_int(change->channel_id), db_text(value->name),
                           db_blob(sealed), db_int(db_now_ms(tx, err))), err) < 0 ? -1 : 0;
}

int bridge_store(struct db_session *tx, const struct bridge_change *change, struct err *err)
{
    int64_t count;

    for (size_t i = 0; i < change->count; i++)
        if (store_one(tx, change, &change->values[i], err))
            return -1;
    if (db_query_int(tx, "SELECT COUNT(*) FROM bridge_states WHERE channel_id = $1",
                     DB_ARGS(db_int(change->channel_id)), 0, &count, err))
        return -1;
    if (count > BRIDGE_VALUES)
        return err_set(err, ERR_TOO_LARGE, "A bridge may keep at most %d things.", BRIDGE_VALUES);
    return 0;
}

/* --- What it says of itself ---------------------------------------------------------------------- */

static struct str seal_code(struct arena *arena, struct hub *hub, const struct bridge_status *status)
{
    struct str sealed;

    if (!status->code.len)
        return (struct str){ 0 };
    sealed = sign_seal(arena, hub->seal_key, status->code, context(arena, "channels.bridge_code", status->channel_id,
                                                                   STR("")));
    return str_c(sign_base64(arena, sealed.data, sealed.len));
}

int bridge_tell(struct db_session *tx, struct hub *hub, const struct bridge_status *status, struct err *err)
{
    struct arena *arena = db_arena(tx);
    int64_t changed, same;

    if (db_query_int(tx, "SELECT COUNT(*) FROM channels WHERE id = $1 AND tenant_id = $2 AND bridge_state = $3",
                     DB_ARGS(db_int(status->channel_id), db_int(status->tenant_id), db_text(status->state)), 0, &same,
                     err))
        return -1;
    changed = db_exec(tx, "UPDATE channels SET bridge_state = $1, bridge_code = $2, bridge_error = $3, bridge_ms = $4 "
                      "WHERE tenant_id = $5 AND id = $6",
                      DB_ARGS(db_text(status->state), db_text(seal_code(arena, hub, status)), db_text(status->error),
                              db_int(status->at_ms), db_int(status->tenant_id), db_int(status->channel_id)), err);
    if (changed == 1 && !same)
        event_add(tx, &(struct event){ .tenant_id = status->tenant_id, .kind = "channel.bridge",
                                       .object_id = status->channel_id, .at_ms = status->at_ms });
    return changed < 0 ? -1 : 0;
}

static struct str keep(struct arena *arena, struct str text)
{
    return text.data ? (struct str){ str_dup(arena, text), text.len } : text;
}

/* What another master key sealed is no code any more. */
static struct str open_code(struct arena *arena, struct hub *hub, int64_t channel_id, struct str stored)
{
    struct str sealed;
    struct err err;

    if (!stored.len || !sign_unbase64(arena, stored, &sealed))
        return (struct str){ 0 };
    return sign_unseal(arena, hub->seal_key, sealed, context(arena, "channels.bridge_code", channel_id, STR("")), &err);
}

int bridge_ask(struct hub *hub, struct arena *arena, struct bridge_status *status, struct err *err)
{
    struct db_session *session = db_read(hub->db, status->tenant_id, err);
    struct db_rows *rows = session ? db_query(session,
        "SELECT bridge_state, bridge_code, bridge_error, bridge_ms FROM channels WHERE tenant_id = $1 AND id = $2",
        DB_ARGS(db_int(status->tenant_id), db_int(status->channel_id)), err) : NULL;
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1) {
        status->state = keep(arena, db_col_text(rows, 0));
        status->code = open_code(arena, hub, status->channel_id, db_col_text(rows, 1));
        status->error = keep(arena, db_col_text(rows, 2));
        status->at_ms = db_col_int(rows, 3);
    }
    if (session)
        db_read_end(session);
    return found;
}
