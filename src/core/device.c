#include "core/device.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/event.h"

const char *const device_state_words[] = { "active", "revoked", NULL };

const struct column device_columns[] = {
    { "id", COL_REF, offsetof(struct device, id), COL_PUBLIC, ID_DEVICE },
    { "tenant_id", COL_REF, offsetof(struct device, tenant_id), 0, ID_TENANT },
    { "name", COL_TEXT, offsetof(struct device, name), COL_PUBLIC },
    { "platform", COL_TEXT, offsetof(struct device, platform), COL_PUBLIC },
    { "client_ref", COL_TEXT, offsetof(struct device, client_ref), COL_PUBLIC },
    { "channel_id", COL_REF, offsetof(struct device, channel_id), COL_PUBLIC, ID_CHANNEL },
    { "state", COL_ENUM, offsetof(struct device, state), COL_PUBLIC, .words = device_state_words },
    { "metadata", COL_JSON, offsetof(struct device, metadata), COL_PUBLIC },
    { "synced_seq", COL_INT, offsetof(struct device, synced_seq), 0 },
    { "synced_ms", COL_TIME, offsetof(struct device, synced_ms), COL_PUBLIC, .json = "synced_at" },
    { "last_seen_ms", COL_TIME, offsetof(struct device, last_seen_ms), COL_PUBLIC, .json = "last_seen_at" },
    { "created_ms", COL_TIME, offsetof(struct device, created_ms), COL_PUBLIC, .json = "created_at" },
    { 0 }
};

static void tell(struct db_session *tx, const char *kind, int64_t tenant_id, int64_t id)
{
    event_add(tx, &(const struct event){ .tenant_id = tenant_id, .kind = kind, .object_id = id, .at_ms = clock_ms() });
}

static int read_one(struct db_rows *rows, struct arena *arena, struct device *out, struct err *err)
{
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1)
        row_read(rows, 0, device_columns, arena, out);
    if (rows)
        db_rows_end(rows);
    return found;
}

int device_register(struct db_session *tx, struct arena *arena, const struct device *wanted, struct device *out,
                    struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM devices WHERE tenant_id = $1 AND client_ref = $2",
                                   row_select(device_columns, NULL));
    int64_t added = db_exec(tx,
        "INSERT INTO devices (id, tenant_id, name, platform, client_ref, channel_id, metadata, created_ms) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
        "ON CONFLICT (tenant_id, client_ref) WHERE client_ref IS NOT NULL DO UPDATE SET name = excluded.name, "
        "platform = excluded.platform, channel_id = COALESCE(excluded.channel_id, devices.channel_id), "
        "metadata = COALESCE(excluded.metadata, devices.metadata), state = 0",
        DB_ARGS(db_int(wanted->id), db_int(wanted->tenant_id), db_text(wanted->name), db_text(wanted->platform),
                db_text(wanted->client_ref), db_id(wanted->channel_id), db_text(wanted->metadata),
                db_int(wanted->created_ms)), err);

    if (added < 0)
        return -1;
    *out = *wanted;
    if (wanted->client_ref.data &&
        read_one(db_query(tx, sql, DB_ARGS(db_int(wanted->tenant_id), db_text(wanted->client_ref)), err), arena, out,
                 err) < 0)
        return -1;
    tell(tx, out->id == wanted->id ? "device.registered" : "device.changed", out->tenant_id, out->id);
    return 0;
}

int device_rename(struct db_session *tx, int64_t tenant_id, int64_t id, struct str name, struct err *err)
{
    int64_t changed = db_exec(tx, "UPDATE devices SET name = $1 WHERE tenant_id = $2 AND id = $3",
                              DB_ARGS(db_text(name), db_int(tenant_id), db_int(id)), err);

    if (changed > 0)
        tell(tx, "device.changed", tenant_id, id);
    return (int)changed;
}

int device_revoke(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err)
{
    int64_t changed = db_exec(tx, "UPDATE devices SET state = 1 WHERE tenant_id = $1 AND id = $2 AND state = 0",
                              DB_ARGS(db_int(tenant_id), db_int(id)), err);

    if (changed > 0)
        tell(tx, "device.revoked", tenant_id, id);
    return (int)changed;
}

int device_synced(struct db_session *tx, int64_t tenant_id, int64_t id, int64_t seq, struct err *err)
{
    return (int)db_exec(tx,
        "UPDATE devices SET synced_seq = $1, synced_ms = $2 WHERE tenant_id = $3 AND id = $4 AND synced_seq <= $5",
        DB_ARGS(db_int(seq), db_int(clock_ms()), db_int(tenant_id), db_int(id), db_int(seq)), err);
}

int device_get(struct db_session *session, struct arena *arena, struct device *device, struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM devices WHERE tenant_id = $1 AND id = $2",
                                   row_select(device_columns, NULL));

    return read_one(db_query(session, sql, DB_ARGS(db_int(device->tenant_id), db_int(device->id)), err), arena, device,
                    err);
}

int device_list(struct db_session *session, const struct page *page, struct device **out, struct err *err)
{
    const char *sql = arena_printf(page->arena,
                                   "SELECT %s FROM devices WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
                                   row_select(device_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(page->tenant_id), db_int(page->after_id),
                                                          db_int(page->limit)), err);
    int count = 0, more = rows ? 1 : -1;

    *out = arena_array(page->arena, (size_t)page->limit, sizeof **out);
    while (more == 1 && count < page->limit && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, device_columns, page->arena, &(*out)[count++]);
    if (rows)
        db_rows_end(rows);
    return more < 0 ? -1 : count;
}
