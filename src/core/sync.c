#include "core/sync.h"

#include "base/arena.h"
#include "core/event.h"

#include <stdlib.h>

#define OVERLAP_MS 60000            /* clocks of nodes, and how long a transaction may stay open */
#define FIRST_COLUMN 1              /* of message_columns, behind the seq */

/* A message named by the window, at its last line there. */
struct change {
    int64_t seq, id;
};

static int compare_by_id(const void *a, const void *b)
{
    const struct change *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static int compare_by_seq(const void *a, const void *b)
{
    const struct change *x = a, *y = b;

    return (x->seq > y->seq) - (x->seq < y->seq);
}

static int too_old(struct err *err)
{
    err_set(err, ERR_GONE, "The log no longer reaches back to this position.");
    return err_hint(err, "Read everything again from the start (resync).");
}

/* The lines behind page->after that are about messages; sets page->next to the last line looked at. */
static int read_window(struct db_session *session, struct sync_page *page, struct change *changes,
                       size_t *count, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT seq, object_id, CASE WHEN kind >= 'message.' AND kind < 'message/' THEN 1 ELSE 0 END "
        "FROM events WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        DB_ARGS(db_int(page->tenant_id), db_int(page->after), db_int(page->limit)), err);
    int found = -1;

    *count = 0;
    while (rows && (found = db_next(rows, err)) == 1) {
        page->next = db_col_int(rows, 0);
        if (db_col_int(rows, 2))
            changes[(*count)++] = (struct change){ page->next, db_col_int(rows, 1) };
    }
    return found < 0 ? -1 : 0;
}

/* Keep the last line of each message, in log order. */
static size_t keep_last(struct change *changes, size_t count)
{
    size_t kept = 0;

    qsort(changes, count, sizeof *changes, compare_by_id);
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || changes[i + 1].id != changes[i].id)
            changes[kept++] = changes[i];
    qsort(changes, kept, sizeof *changes, compare_by_seq);
    return kept;
}

static const char *messages_sql(struct arena *arena)
{
    return arena_printf(arena,
        "WITH v(seq, tenant_id, id) AS (:rows:) SELECT v.seq, %s FROM v "
        "JOIN messages m ON m.tenant_id = v.tenant_id AND m.id = v.id",
        row_select(message_columns, "m"));
}

static int read_messages(struct db_session *session, struct arena *arena, struct sync_page *page,
                         const struct change *changes, struct err *err)
{
    size_t count = page->count;
    struct db_value *values = arena_array(arena, count * 3, sizeof *values);
    struct db_set set = { messages_sql(arena), "iii", values, count };
    struct db_rows *rows;
    int found;

    for (size_t i = 0; i < count; i++) {
        values[i * 3] = db_int(changes[i].seq);
        values[i * 3 + 1] = db_int(page->tenant_id);
        values[i * 3 + 2] = db_int(changes[i].id);
    }
    rows = db_query_rows(session, &set, err);
    /* rows may come in any order, so each is put where its line of the log stands */
    while (rows && (found = db_next(rows, err)) == 1) {
        struct change key = { .seq = db_col_int(rows, 0) };
        const struct change *at = bsearch(&key, changes, count, sizeof *changes, compare_by_seq);

        row_read(rows, FIRST_COLUMN, message_columns, arena, &page->messages[at - changes]);
    }
    return !rows || found < 0 ? -1 : 0;
}

static int brought_by(struct db_session *session, const struct message *message, int64_t device_id,
                      struct err *err)
{
    int64_t found;

    if (message->device_id == device_id)
        return 1;
    if (db_query_int(session, "SELECT 1 FROM message_sources WHERE message_id = $1 "
                     "AND device_id = $2", DB_ARGS(db_int(message->id), db_int(device_id)), 0,
                     &found, err))
        return -1;
    return found == 1;
}

/* Drop what is not there any more, and what another device brought. */
static int keep_wanted(struct db_session *session, struct sync_page *page, struct err *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < page->count; i++) {
        struct message *message = &page->messages[i];
        int wanted = message->id != 0;

        if (wanted && page->device_id)
            wanted = brought_by(session, message, page->device_id, err);
        if (wanted < 0)
            return -1;
        if (wanted)
            page->messages[kept++] = *message;
    }
    page->count = kept;
    return 0;
}

int sync_read(struct db_session *session, struct arena *arena, struct sync_page *page,
              struct err *err)
{
    struct change *changes = arena_array(arena, (size_t)page->limit, sizeof *changes);
    int64_t newest, horizon;

    page->count = 0;
    page->next = page->after;
    page->has_more = false;
    if (event_position(session, page->tenant_id, &newest, &horizon, err))
        return -1;
    if (page->after < horizon)
        return too_old(err);
    if (newest <= page->after)
        return 0;
    if (read_window(session, page, changes, &page->count, err))
        return -1;
    page->has_more = newest > page->next;
    page->count = keep_last(changes, page->count);
    if (page->count == 0)
        return 0;
    page->messages = arena_array(arena, page->count, sizeof *page->messages);
    if (read_messages(session, arena, page, changes, err))
        return -1;
    return keep_wanted(session, page, err);
}

/* The time of the first line at or behind `seq`; INT64_MAX when there is none. */
static int time_at(struct db_session *session, int64_t tenant_id, int64_t seq, int64_t *at_ms,
                   struct err *err)
{
    return db_query_int(session, "SELECT at_ms FROM events WHERE tenant_id = $1 AND seq >= $2 "
                        "ORDER BY seq LIMIT 1", DB_ARGS(db_int(tenant_id), db_int(seq)), INT64_MAX,
                        at_ms, err);
}

int sync_since(struct db_session *session, int64_t tenant_id, int64_t since_ms, int64_t *after,
               struct err *err)
{
    int64_t low, high, at_ms;

    if (event_position(session, tenant_id, &high, &low, err))
        return -1;
    /* the first line that is not before the time, less the overlap */
    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (time_at(session, tenant_id, middle + 1, &at_ms, err))
            return -1;
        if (at_ms < since_ms - OVERLAP_MS)
            low = middle + 1;
        else
            high = middle;
    }
    *after = low;
    return 0;
}

int sync_store_mark(struct db_session *tx, const struct sync_mark *mark, struct err *err)
{
    return (int)db_exec(tx,
        "UPDATE devices SET synced_seq = CASE WHEN synced_seq > $1 THEN synced_seq ELSE $1 END, "
        "synced_ms = $2 WHERE tenant_id = $3 AND id = $4",
        DB_ARGS(db_int(mark->seq), db_int(mark->at_ms), db_int(mark->tenant_id),
                db_int(mark->device_id)), err);
}
