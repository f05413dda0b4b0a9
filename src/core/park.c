#include "core/park.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/sign.h"
#include "core/channel.h"
#include "core/event.h"

#include <stddef.h>

#define AT(member) offsetof(struct parked, member)

const struct column parked_columns[] = {
    { "id", COL_REF, AT(id), COL_PUBLIC, ID_PARKED, NULL, NULL },
    { "tenant_id", COL_INT, AT(tenant_id), 0, NULL, NULL, NULL },
    { "channel_id", COL_REF, AT(channel_id), COL_PUBLIC, ID_CHANNEL, NULL, NULL },
    { "source", COL_TEXT, AT(source), COL_PUBLIC, NULL, NULL, NULL },
    { "reason", COL_TEXT, AT(reason), COL_PUBLIC, NULL, NULL, NULL },
    { "content", COL_BLOB, AT(content), 0, NULL, NULL, NULL },
    { "content_type", COL_TEXT, AT(content_type), COL_PUBLIC, NULL, NULL, NULL },
    { "digest", COL_TEXT, AT(digest), COL_PUBLIC, NULL, NULL, NULL },
    { "created_ms", COL_TIME, AT(created_ms), COL_PUBLIC, NULL, NULL, "created_at" },
    { "replayed_ms", COL_TIME, AT(replayed_ms), COL_PUBLIC, NULL, NULL, "replayed_at" },
    { "request", COL_BLOB, AT(request), COL_SECRET, NULL, NULL, NULL },
    { 0 }
};

int park_add(struct db_session *tx, const struct inbox_parked *parcel, int64_t id, struct err *err)
{
    struct str content = parcel->content.data ? parcel->content : STR("");
    unsigned char hash[SIGN_HASH_BYTES];
    int64_t now_ms = clock_ms(), added;
    struct str sealed = { 0 };

    if (parcel->request.data)
        sealed = channel_seal(db_arena(tx), parcel->channel_id, parcel->request);
    sign_sha256(content, hash);
    added = db_exec(tx,
        "INSERT INTO parked (id, tenant_id, channel_id, source, reason, content, content_type, "
        "digest, created_ms, request) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        DB_ARGS(db_int(id), db_int(parcel->tenant_id), db_id(parcel->channel_id),
                db_cstr(parcel->source), db_cstr(parcel->reason), db_blob(content),
                db_text(parcel->content_type),
                db_cstr(sign_hex(db_arena(tx), hash, sizeof hash)), db_int(now_ms),
                db_blob(sealed)), err);
    /* without a channel the tenant may be unknown too, and then it has no log */
    if (added == 1 && parcel->channel_id)
        event_add(tx, &(struct event){ .tenant_id = parcel->tenant_id, .kind = "parked.added",
                                       .object_id = id, .at_ms = now_ms });
    return (int)added;
}

/* The arguments of one parking transaction. */
struct parking {
    const struct inbox_parked *parcel;
    int64_t id;
};

static int park_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct parking *parking = arg;

    return park_add(tx, parking->parcel, parking->id, err) < 0 ? -1 : 0;
}

int inbox_park(struct hub *hub, const struct inbox_parked *parcel, struct err *err)
{
    struct parking parking = { parcel, ids_next(hub->ids, err) };

    return parking.id < 0 ? -1 : db_write(hub->db, park_tx, &parking, err);
}

int park_list(struct db_session *session, const struct page *page, struct parked **out,
              struct err *err)
{
    const char *sql = arena_printf(page->arena,
        "SELECT %s FROM parked p WHERE p.tenant_id = $1 AND p.id < $2 ORDER BY p.id DESC LIMIT $3",
        row_select(parked_columns, "p"));
    int64_t below = page->after_id ? page->after_id : INT64_MAX;
    struct db_rows *rows = db_query(session, sql,
        DB_ARGS(db_int(page->tenant_id), db_int(below), db_int(page->limit)), err);
    int found = -1, count = 0;

    *out = arena_array(page->arena, (size_t)page->limit, sizeof **out);
    while (rows && (found = db_next(rows, err)) == 1)
        row_read(rows, 0, parked_columns, page->arena, &(*out)[count++]);
    return found < 0 ? -1 : count;
}

int park_get(struct db_session *session, int64_t tenant_id, int64_t id, struct parked *out, struct err *err)
{
    struct arena *arena = db_arena(session);
    const char *sql = arena_printf(arena, "SELECT %s FROM parked WHERE tenant_id = $1 AND id = $2",
                                   row_select(parked_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(tenant_id), db_int(id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    *out = (struct parked){ 0 };
    row_read(rows, 0, parked_columns, arena, out);
    db_rows_end(rows);
    if (out->request.len > 0 && channel_unseal(arena, out->channel_id, out->request, &out->request, err))
        return -1;
    return 1;
}

int park_drop(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err)
{
    return (int)db_exec(tx, "DELETE FROM parked WHERE tenant_id = $1 AND id = $2",
                        DB_ARGS(db_int(tenant_id), db_int(id)), err);
}
