#include "core/tenant.h"

#include "base/arena.h"
#include "base/id.h"
#include "core/recent.h"

const char *const tenant_state_words[] = { "active", "suspended", NULL };
const char *const tenant_policy_words[] = { "hold", "resend", "fail", NULL };

const struct column tenant_columns[] = {
    { "id", COL_REF, offsetof(struct tenant, id), COL_PUBLIC, ID_TENANT },
    { "name", COL_TEXT, offsetof(struct tenant, name), COL_PUBLIC },
    { "state", COL_ENUM, offsetof(struct tenant, state), COL_PUBLIC, .words = tenant_state_words },
    { "seq", COL_INT, offsetof(struct tenant, seq), 0 },
    { "region", COL_TEXT, offsetof(struct tenant, region), COL_PUBLIC },
    { "time_zone", COL_TEXT, offsetof(struct tenant, time_zone), COL_PUBLIC },
    { "unknown_policy", COL_ENUM, offsetof(struct tenant, unknown_policy), COL_PUBLIC, .words = tenant_policy_words },
    { "created_ms", COL_TIME, offsetof(struct tenant, created_ms), COL_PUBLIC, .json = "created_at" },
    { 0 }
};

int tenant_add(struct db_session *tx, const struct tenant *tenant, struct err *err)
{
    int64_t added = db_exec(tx,
        "INSERT INTO tenants (id, name, state, region, time_zone, unknown_policy, created_ms) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
        DB_ARGS(db_int(tenant->id), db_text(tenant->name), db_int(tenant->state), db_text(tenant->region),
                db_text(tenant->time_zone), db_int(tenant->unknown_policy), db_int(tenant->created_ms)), err);

    if (added != 0)
        return added < 0 ? -1 : 0;
    err_set(err, ERR_CONFLICT, "There is already a tenant with this name.");
    return err_hint(err, "Choose another name.");
}

int tenant_set_state(struct db_session *tx, int64_t id, enum tenant_state state, struct err *err)
{
    return (int)db_exec(tx, "UPDATE tenants SET state = $1 WHERE id = $2", DB_ARGS(db_int(state), db_int(id)), err);
}

void tenant_changed(struct hub *hub)
{
    recent_forget(hub->recent);
}

static int read_one(struct db_rows *rows, struct arena *arena, struct tenant *out, struct err *err)
{
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1)
        row_read(rows, 0, tenant_columns, arena, out);
    if (rows)
        db_rows_end(rows);
    return found;
}

int tenant_get(struct db_session *session, struct arena *arena, struct tenant *tenant, struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM tenants WHERE id = $1", row_select(tenant_columns, NULL));

    return read_one(db_query(session, sql, DB_ARGS(db_int(tenant->id)), err), arena, tenant, err);
}

int tenant_find(struct db_session *session, struct arena *arena, struct str name, struct tenant *out, struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM tenants WHERE name = $1", row_select(tenant_columns, NULL));

    return read_one(db_query(session, sql, DB_ARGS(db_text(name)), err), arena, out, err);
}

int tenant_list(struct db_session *session, const struct page *page, struct tenant **out, struct err *err)
{
    const char *sql = arena_printf(page->arena, "SELECT %s FROM tenants WHERE id > $1 ORDER BY id LIMIT $2",
                                   row_select(tenant_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(page->after_id), db_int(page->limit)), err);
    int count = 0, more = rows ? 1 : -1;

    *out = arena_array(page->arena, (size_t)page->limit, sizeof **out);
    while (more == 1 && count < page->limit && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, tenant_columns, page->arena, &(*out)[count++]);
    if (rows)
        db_rows_end(rows);
    return more < 0 ? -1 : count;
}

int tenant_active(struct hub *hub, int64_t id, struct err *err)
{
    struct recent_name name = recent_name("tenant", id);
    uint32_t turn = recent_turn(hub->recent);
    struct db_session *session;
    int64_t state;
    int failed;

    if (recent_get(hub->recent, &name, &state, sizeof state))
        return state == TENANT_ACTIVE;
    session = db_read(hub->db, 0, err);
    if (!session)
        return -1;
    failed = db_query_int(session, "SELECT state FROM tenants WHERE id = $1", DB_ARGS(db_int(id)), TENANT_SUSPENDED,
                          &state, err);
    db_read_end(session);
    if (failed)
        return -1;
    recent_put(hub->recent, turn, &name, &state, sizeof state);
    return state == TENANT_ACTIVE;
}
