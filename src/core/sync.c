#include "core/sync.h"

#include "base/arena.h"
#include "core/event.h"

#include <stdlib.h>

#define OVERLAP_MS 60000            /* clocks of nodes, and how long a transaction may stay open */
#define FIRST_COLUMN 1              /* of message_columns, behind the seq */

/* Where a message of the page stands in the log: at the last line of the window that names it. */
struct place {
    int64_t seq;
    size_t index;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return (x->seq > y->seq) - (x->seq < y->seq);
}

static int too_old(struct err *err)
{
    err_set(err, ERR_GONE, "The log no longer reaches back to this position.");
    return err_hint(err, "Read everything again from the start (resync).");
}

/* Each message once, with its last line up to page->next. The log has no gaps, so a window of lines
 * is a range of numbers. Sorting here is cheaper than having whole rows sorted there. */
static const char *changes_sql(struct arena *arena)
{
    return arena_printf(arena,
        "SELECT x.seq, %s FROM (SELECT tenant_id, object_id, MAX(seq) AS seq FROM events "
        "WHERE tenant_id = $1 AND seq > $2 AND seq <= $3 AND ((kind >= 'message.' "
        "AND kind < 'message/') OR (kind >= 'attachment.' AND kind < 'attachment/')) GROUP BY tenant_id, object_id) x "
        "JOIN messages m ON m.tenant_id = x.tenant_id AND m.id = x.object_id",
        row_select(message_columns, "m"));
}

/* The rows come in the order of ids, which is mostly that of the log already. */
static void put_in_order(struct arena *arena, struct sync_page *page, struct place *places)
{
    struct message *unordered = page->messages;
    bool ordered = true;

    for (size_t i = 1; i < page->count && ordered; i++)
        ordered = places[i - 1].seq < places[i].seq;
    if (ordered)
        return;
    qsort(places, page->count, sizeof *places, compare_places);
    page->messages = arena_array(arena, page->count, sizeof *page->messages);
    for (size_t i = 0; i < page->count; i++)
        page->messages[i] = unordered[places[i].index];
}

static int read_changes(struct db_session *session, struct arena *arena, struct sync_page *page,
                        struct err *err)
{
    size_t room = (size_t)(page->next - page->after);
    struct place *places = arena_array(arena, room, sizeof *places);
    struct db_rows *rows = db_query(session, changes_sql(arena),
        DB_ARGS(db_int(page->tenant_id), db_int(page->after), db_int(page->next)), err);
    int found = -1;

    page->messages = arena_array(arena, room, sizeof *page->messages);
    while (rows && (found = db_next(rows, err)) == 1) {
        places[page->count] = (struct place){ db_col_int(rows, 0), page->count };
        row_read(rows, FIRST_COLUMN, message_columns, arena, &page->messages[page->count++]);
    }
    put_in_order(arena, page, places);
    return found < 0 ? -1 : 0;
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

static int keep_brought(struct db_session *session, struct sync_page *page, struct err *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < page->count; i++) {
        int wanted = brought_by(session, &page->messages[i], page->device_id, err);

        if (wanted < 0)
            return -1;
        if (wanted)
            page->messages[kept++] = page->messages[i];
    }
    page->count = kept;
    return 0;
}

int sync_read(struct db_session *session, struct arena *arena, struct sync_page *page,
              struct err *err)
{
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
    page->next = newest - page->after > page->limit ? page->after + page->limit : newest;
    page->has_more = newest > page->next;
    if (read_changes(session, arena, page, err))
        return -1;
    return page->device_id ? keep_brought(session, page, err) : 0;
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
