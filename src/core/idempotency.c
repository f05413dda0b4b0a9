#include "core/idempotency.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/sign.h"

#include <stdlib.h>
#include <string.h>

int idempotency_find(struct db_session *session, struct arena *arena, struct idempotency *out,
                     struct err *err)
{
    struct db_rows *rows =
        db_query(session,
                 "SELECT body_hash, status, answer FROM idempotency WHERE tenant_id = $1 AND "
                 "key_id = $2 AND name = $3",
                 DB_ARGS(db_int(out->tenant_id), db_int(out->key_id), db_text(out->name)), err);
    int found = rows ? db_next(rows, err) : -1;
    struct str hash, answer;

    if (found != 1)
        return found;
    hash = db_col_text(rows, 0);
    if (hash.len != sizeof out->body_hash || !sign_equal(hash.data, out->body_hash, hash.len)) {
        db_rows_end(rows);
        err_set(err, ERR_KEY_REUSED, "This Idempotency-Key was used before with another request.");
        return err_hint(
            err, "Use a new key for a new request; repeat a request with exactly the same body.");
    }
    out->status = (int)db_col_int(rows, 1);
    answer = db_col_text(rows, 2);
    out->answer = (struct str){ arena_copy(arena, answer.data, answer.len), answer.len };
    db_rows_end(rows);
    return 1;
}

int idempotency_store(struct db_session *tx, const struct idempotency *idempotency, struct err *err)
{
    struct str hash = { (const char *)idempotency->body_hash, sizeof idempotency->body_hash };
    struct str answer = idempotency->answer.data ? idempotency->answer : STR("");

    return (int)db_exec(
        tx,
        "INSERT INTO idempotency (tenant_id, key_id, name, body_hash, status, answer, created_ms) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        DB_ARGS(db_int(idempotency->tenant_id), db_int(idempotency->key_id),
                db_text(idempotency->name), db_blob(hash), db_int(idempotency->status),
                db_text(answer), db_int(clock_ms())),
        err);
}

/* --- Many at once --------------------------------------------------------------------------- */

#define COLUMNS 7

/* One of the items, to be found by its name. */
struct entry {
    const struct idempotency *item;
    size_t index;
};

static int compare_names(const struct idempotency *a, const struct idempotency *b)
{
    size_t shared = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order;

    if (a->tenant_id != b->tenant_id)
        return a->tenant_id < b->tenant_id ? -1 : 1;
    if (a->key_id != b->key_id)
        return a->key_id < b->key_id ? -1 : 1;
    order = memcmp(a->name.data, b->name.data, shared);
    return order ? order : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = compare_names(x->item, y->item);

    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int compare_to_name(const void *name, const void *entry)
{
    return compare_names(name, ((const struct entry *)entry)->item);
}

static void fill_row(struct db_value *row, const struct idempotency *item, int64_t now_ms)
{
    row[0] = db_int(item->tenant_id);
    row[1] = db_int(item->key_id);
    row[2] = db_text(item->name);
    row[3] = db_blob((struct str){ (const char *)item->body_hash, sizeof item->body_hash });
    row[4] = db_int(item->status);
    row[5] = db_text(item->answer.data ? item->answer : STR(""));
    row[6] = db_int(now_ms);
}

/* The distinct names, sorted; twins of an earlier item are left out. */
static size_t sort_entries(struct entry *entries, const struct idempotency **items, size_t count)
{
    size_t distinct = 0;

    for (size_t i = 0; i < count; i++)
        entries[i] = (struct entry){ items[i], i };
    qsort(entries, count, sizeof *entries, compare_entries);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || compare_names(entries[distinct - 1].item, entries[i].item) != 0)
            entries[distinct++] = entries[i];
    return distinct;
}

int idempotency_store_all(struct db_session *tx, const struct idempotency **items, size_t count,
                          bool *stored, struct err *err)
{
    struct entry *entries = arena_array(db_arena(tx), count, sizeof *entries);
    struct db_value *values = arena_array(db_arena(tx), count * COLUMNS, sizeof *values);
    size_t distinct = sort_entries(entries, items, count);
    struct db_set set = { "INSERT INTO idempotency (tenant_id, key_id, name, body_hash, status, "
                          "answer, created_ms) :rows: ON CONFLICT DO NOTHING "
                          "RETURNING tenant_id, key_id, name", "iitbiti", values, distinct };
    int64_t now_ms = clock_ms();
    struct db_rows *rows;
    int found;

    memset(stored, 0, count * sizeof *stored);
    if (count == 0)
        return 0;
    for (size_t i = 0; i < distinct; i++)
        fill_row(values + i * COLUMNS, entries[i].item, now_ms);
    rows = db_query_rows(tx, &set, err);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct idempotency name = { .tenant_id = db_col_int(rows, 0),
                                    .key_id = db_col_int(rows, 1), .name = db_col_text(rows, 2) };
        const struct entry *entry = bsearch(&name, entries, distinct, sizeof *entries,
                                            compare_to_name);

        stored[entry->index] = true;
    }
    return !rows || found < 0 ? -1 : 0;
}

int idempotency_replace(struct db_session *tx, const struct idempotency *idempotency,
                        struct err *err)
{
    struct str answer = idempotency->answer.data ? idempotency->answer : STR("");

    return db_exec(
               tx,
               "UPDATE idempotency SET status = $1, answer = $2 WHERE tenant_id = $3 AND key_id = "
               "$4 AND name = $5",
               DB_ARGS(db_int(idempotency->status), db_text(answer), db_int(idempotency->tenant_id),
                       db_int(idempotency->key_id), db_text(idempotency->name)),
               err) < 0
               ? -1
               : 0;
}
