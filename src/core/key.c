#include "core/key.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "core/recent.h"
#include "core/tenant.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX_BYTES 11             /* "mh_" and 48 bits: for people, to tell keys apart */
#define TOKEN_RANDOM_BYTES 32
#define USED_EVERY_MS 60000

const char *const key_scope_words[] = { "read", "send", "receive", "manage", "admin", NULL };
static const char *const kind_words[] = { "hub", "device", "link", NULL };

const struct column key_columns[] = {
    { "id", COL_REF, offsetof(struct key, id), COL_PUBLIC, ID_KEY },
    { "tenant_id", COL_REF, offsetof(struct key, tenant_id), 0, ID_TENANT },
    { "kind", COL_ENUM, offsetof(struct key, kind), COL_PUBLIC, .words = kind_words },
    { "name", COL_TEXT, offsetof(struct key, name), COL_PUBLIC },
    { "prefix", COL_TEXT, offsetof(struct key, prefix), COL_PUBLIC },
    { "scopes", COL_INT, offsetof(struct key, scopes), 0 },
    { "device_id", COL_REF, offsetof(struct key, device_id), COL_PUBLIC, ID_DEVICE },
    { "replaced_by", COL_REF, offsetof(struct key, replaced_by), COL_PUBLIC, ID_KEY },
    { "created_ms", COL_TIME, offsetof(struct key, created_ms), COL_PUBLIC, .json = "created_at" },
    { "expires_ms", COL_TIME, offsetof(struct key, expires_ms), COL_PUBLIC, .json = "expires_at" },
    { "revoked_ms", COL_TIME, offsetof(struct key, revoked_ms), COL_PUBLIC, .json = "revoked_at" },
    { "last_used_ms", COL_TIME, offsetof(struct key, last_used_ms), COL_PUBLIC, .json = "last_used_at" },
    { 0 }
};

static void hash_token(const struct hub *hub, struct str token, unsigned char out[SIGN_HASH_BYTES])
{
    sign_hmac_sha256((struct str){ (const char *)hub->token_key, SIGN_KEY_BYTES }, token, out);
}

/* --- Making ------------------------------------------------------------------------------------------------ */

int key_draw(struct hub *hub, struct arena *arena, const struct key *wanted, struct key_draft *out, struct err *err)
{
    int64_t id = ids_next(hub->ids, err);

    if (id < 0)
        return -1;
    out->key = *wanted;
    out->key.id = id;
    out->key.created_ms = clock_ms();
    out->key.replaced_by = out->key.revoked_ms = out->key.last_used_ms = 0;
    out->token = id_token(arena, "mh_", TOKEN_RANDOM_BYTES);
    out->key.prefix = (struct str){ out->token, PREFIX_BYTES };
    hash_token(hub, str_c(out->token), out->hash);
    return 0;
}

int key_add(struct db_session *tx, const struct key_draft *draft, struct err *err)
{
    const struct key *key = &draft->key;

    return db_exec(tx,
        "INSERT INTO keys (id, tenant_id, kind, name, prefix, hash, scopes, device_id, created_ms, expires_ms) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        DB_ARGS(db_int(key->id), db_int(key->tenant_id), db_int(key->kind), db_text(key->name), db_text(key->prefix),
                db_blob((struct str){ (const char *)draft->hash, SIGN_HASH_BYTES }), db_int(key->scopes),
                db_id(key->device_id), db_int(key->created_ms), db_id(key->expires_ms)), err) < 0 ? -1 : 0;
}

int key_replace(struct db_session *tx, int64_t id, int overlap_s, struct key_draft *draft, struct err *err)
{
    int64_t now_ms = clock_ms(), end_ms = now_ms + overlap_s * 1000LL;
    struct key old = { .tenant_id = draft->key.tenant_id, .id = id };
    int found = key_get(tx, db_arena(tx), &old, err);

    if (found < 1)
        return found;
    if (old.revoked_ms || old.kind == KEY_LINK || old.replaced_by || (old.expires_ms && old.expires_ms <= now_ms))
        return 0;
    draft->key.kind = old.kind;
    draft->key.scopes = old.scopes;
    draft->key.device_id = old.device_id;
    draft->key.expires_ms = old.expires_ms;
    draft->key.name = old.name;
    if (key_add(tx, draft, err) < 0)
        return -1;
    if (old.expires_ms && old.expires_ms < end_ms)
        end_ms = old.expires_ms;
    return db_exec(tx, "UPDATE keys SET replaced_by = $1, expires_ms = $2 WHERE tenant_id = $3 AND id = $4",
                   DB_ARGS(db_int(draft->key.id), db_int(end_ms), db_int(old.tenant_id), db_int(id)), err) < 0 ? -1 : 1;
}

int key_stop(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err)
{
    return (int)db_exec(tx, "UPDATE keys SET revoked_ms = $1 WHERE tenant_id = $2 AND id = $3 AND revoked_ms IS NULL",
                        DB_ARGS(db_int(clock_ms()), db_int(tenant_id), db_int(id)), err);
}

int key_stop_device(struct db_session *tx, int64_t tenant_id, int64_t device_id, struct err *err)
{
    int64_t stopped = db_exec(tx,
        "UPDATE keys SET revoked_ms = $1 WHERE tenant_id = $2 AND device_id = $3 AND revoked_ms IS NULL",
        DB_ARGS(db_int(clock_ms()), db_int(tenant_id), db_int(device_id)), err);

    return stopped < 0 ? -1 : stopped > 0;
}

int key_claim(struct db_session *tx, int64_t id, const struct key_draft *draft, struct err *err)
{
    int stopped = key_stop(tx, draft->key.tenant_id, id, err);

    if (stopped < 1)
        return stopped;
    return key_add(tx, draft, err) < 0 ? -1 : 1;
}

void key_changed(struct hub *hub)
{
    recent_forget(hub->recent);
}

static int create_tx(struct db_session *tx, void *arg, struct err *err)
{
    return key_add(tx, arg, err);
}

int key_create(struct hub *hub, struct arena *arena, const struct key *wanted, struct key_draft *out, struct err *err)
{
    if (key_draw(hub, arena, wanted, out, err) < 0)
        return -1;
    return db_write(hub->db, create_tx, out, err);
}

struct stop {
    int64_t tenant_id, id;
    int result;
};

static int stop_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct stop *stop = arg;

    stop->result = key_stop(tx, stop->tenant_id, stop->id, err);
    return stop->result < 0 ? -1 : 0;
}

int key_revoke(struct hub *hub, int64_t tenant_id, int64_t id, struct err *err)
{
    struct stop stop = { tenant_id, id, 0 };

    if (db_write(hub->db, stop_tx, &stop, err) < 0)
        return -1;
    key_changed(hub);
    return stop.result;
}

/* --- Looking ----------------------------------------------------------------------------------------------- */

int key_get(struct db_session *session, struct arena *arena, struct key *key, struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM keys WHERE tenant_id = $1 AND id = $2",
                                   row_select(key_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(key->tenant_id), db_int(key->id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1)
        row_read(rows, 0, key_columns, arena, key);
    if (rows)
        db_rows_end(rows);
    return found;
}

int key_list(struct db_session *session, const struct page *page, struct key **out, struct err *err)
{
    const char *sql = arena_printf(page->arena,
                                   "SELECT %s FROM keys WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
                                   row_select(key_columns, NULL));
    int64_t before_id = page->after_id ? page->after_id : INT64_MAX;
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(page->tenant_id), db_int(before_id),
                                                          db_int(page->limit)), err);
    int count = 0, more = rows ? 1 : -1;

    *out = arena_array(page->arena, (size_t)page->limit, sizeof **out);
    while (more == 1 && count < page->limit && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, key_columns, page->arena, &(*out)[count++]);
    if (rows)
        db_rows_end(rows);
    return more < 0 ? -1 : count;
}

void key_json(struct json_writer *writer, const struct key *key)
{
    row_json(writer, key_columns, key);
    json_key(writer, "scopes");
    json_array_begin(writer);
    for (int bit = 0; key_scope_words[bit]; bit++)
        if (key->scopes & (1 << bit))
            json_put_text(writer, str_c(key_scope_words[bit]));
    json_array_end(writer);
}

/* --- Checking ---------------------------------------------------------------------------------------------- */

struct used {
    struct db_write_item item;
    int64_t id, tenant_id, device_id, at_ms;
};

static int store_used(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct used *used = (const struct used *)items[i];

        if (db_exec(tx, "UPDATE keys SET last_used_ms = $1 WHERE tenant_id = $2 AND id = $3",
                    DB_ARGS(db_int(used->at_ms), db_int(used->tenant_id), db_int(used->id)), err) < 0)
            return -1;
        if (used->device_id &&
            db_exec(tx, "UPDATE devices SET last_seen_ms = $1 WHERE tenant_id = $2 AND id = $3",
                    DB_ARGS(db_int(used->at_ms), db_int(used->tenant_id), db_int(used->device_id)), err) < 0)
            return -1;
    }
    return 0;
}

static void used_done(struct db_write_item *item)
{
    free(item);
}

/* Behind the answer, with the next group, and of no consequence when it fails. */
static void note_use(struct hub *hub, const struct key *key)
{
    static const struct db_kind kind = { "key-used", 95, store_used, true };
    struct used *used;
    struct err unheard;
    int64_t now_ms = clock_ms();

    if (now_ms - key->last_used_ms < USED_EVERY_MS)
        return;
    used = mem_alloc(sizeof *used);
    *used = (struct used){ { .kind = &kind, .done = used_done }, key->id, key->tenant_id, key->device_id, now_ms };
    if (db_submit(hub->db, &used->item, &unheard) < 0)
        free(used);
}

static bool in_time(const struct key *key)
{
    return !key->revoked_ms && (!key->expires_ms || key->expires_ms > clock_ms());
}

#define CHECKED "SELECT k.id, k.tenant_id, k.kind, k.scopes, k.device_id, k.expires_ms, k.revoked_ms, " \
    "k.last_used_ms, t.state FROM keys k JOIN tenants t ON t.id = k.tenant_id "

static void read_checked(const struct db_rows *rows, struct key *out)
{
    *out = (struct key){
        .id = db_col_int(rows, 0), .tenant_id = db_col_int(rows, 1), .kind = db_col_int(rows, 2),
        .scopes = db_col_int(rows, 3), .device_id = db_col_int(rows, 4), .expires_ms = db_col_int(rows, 5),
        .revoked_ms = db_col_int(rows, 6), .last_used_ms = db_col_int(rows, 7),
    };
}

/* By the token's hash, which the name is, or by out->id. A keyed hash says nothing about how near a guess was, so a
 * search for it needs no care; and there is no first half of the work that only some guesses reach. */
static int look(struct hub *hub, const struct recent_name *name, bool by_hash, struct key *out, struct err *err)
{
    struct str hash = { (const char *)name->bytes, SIGN_HASH_BYTES };
    uint32_t turn = recent_turn(hub->recent);
    struct db_session *session = db_read(hub->db, 0, err);
    struct db_rows *rows;
    int found;

    if (!session)
        return -1;
    if (by_hash)
        rows = db_query(session, CHECKED "WHERE k.hash = $1", DB_ARGS(db_blob(hash)), err);
    else
        rows = db_query(session, CHECKED "WHERE k.id = $1", DB_ARGS(db_int(out->id)), err);
    found = rows ? db_next(rows, err) : -1;
    if (found == 1) {
        read_checked(rows, out);
        found = db_col_int(rows, 8) == TENANT_ACTIVE && in_time(out);
    }
    db_read_end(session);
    if (found == 1)
        recent_put(hub->recent, turn, name, out, sizeof *out);
    return found;
}

int key_check(struct hub *hub, struct str token, struct key *out, struct err *err)
{
    struct recent_name name;
    int found;

    hash_token(hub, token, name.bytes);
    if (recent_get(hub->recent, &name, out, sizeof *out))
        return in_time(out);
    found = look(hub, &name, true, out, err);
    if (found == 1)
        note_use(hub, out);
    return found;
}

int key_check_again(struct hub *hub, int64_t id, struct key *out, struct err *err)
{
    struct recent_name name = recent_name("key", id);

    if (recent_get(hub->recent, &name, out, sizeof *out))
        return in_time(out);
    out->id = id;
    return look(hub, &name, false, out, err);
}
