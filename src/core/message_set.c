#include "core/message_set.h"

#include "base/arena.h"
#include "core/event.h"

#include <stdlib.h>
#include <string.h>

static bool may(const struct message_move *move)
{
    if (message_may(move->direction, move->from, move->change.to))
        return true;
    return move->direction == MESSAGE_IN && move->from == MESSAGE_RECEIVED &&
           message_may(MESSAGE_IN, MESSAGE_PROCESSING, move->change.to);
}

static int by_id(const void *a, const void *b)
{
    const struct message_move *left = *(struct message_move *const *)a;
    const struct message_move *right = *(struct message_move *const *)b;

    return (left->id > right->id) - (left->id < right->id);
}

static struct message_move *find(struct message_move **sorted, size_t count, int64_t id)
{
    struct message_move key = { .id = id }, *wanted = &key;
    struct message_move **found = bsearch(&wanted, sorted, count, sizeof *sorted, by_id);

    return found ? *found : NULL;
}

static struct db_value time_if(bool set, int64_t at_ms)
{
    return db_id(set ? at_ms : 0);
}

static void add_row(struct db_value *row, const struct message_move *move)
{
    const struct message_change *change = &move->change;
    bool is_read = change->to == MESSAGE_READ;
    bool is_delivered = is_read || change->to == MESSAGE_DELIVERED;

    row[0] = db_int(move->id);
    row[1] = db_int(move->from);
    row[2] = db_int(change->to);
    row[3] = db_int(change->at_ms);
    row[4] = time_if(is_delivered || change->to == MESSAGE_SENT, change->at_ms);
    row[5] = time_if(is_delivered, change->at_ms);
    row[6] = time_if(is_read, change->at_ms);
    row[7] = db_text(change->error_code);
    row[8] = db_text(change->error_hint);
    row[9] = db_id(move->decision_id);
}

static const char advance_sql[] =
    "WITH v(message_id, was, state, at_ms, sent_ms, delivered_ms, read_ms, code, hint, "
    "decision_id) AS (:rows:) UPDATE messages SET state = v.state, updated_ms = v.at_ms, sent_ms "
    "= coalesce(messages.sent_ms, v.sent_ms), delivered_ms = coalesce(messages.delivered_ms, "
    "v.delivered_ms), read_ms = coalesce(messages.read_ms, v.read_ms), error_code = "
    "nullif(coalesce(v.code, messages.error_code), ''), error_hint = nullif(coalesce(v.hint, "
    "messages.error_hint), ''), decision_id = coalesce(v.decision_id, messages.decision_id) FROM "
    "v WHERE messages.id = v.message_id AND messages.state = v.was RETURNING id";

static int advance(struct db_session *tx, struct message_move **sorted, size_t count,
                   struct err *err)
{
    enum { COLUMNS = 10 };
    struct db_value *values = arena_array(db_arena(tx), count * COLUMNS, sizeof *values);
    struct db_rows *rows;
    int more;

    for (size_t i = 0; i < count; i++)
        add_row(values + i * COLUMNS, sorted[i]);
    rows = db_query_rows(tx, &(struct db_set){ advance_sql, "iiiiiiitti", values, count }, err);
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1) {
        struct message_move *move = find(sorted, count, db_col_int(rows, 0));
        if (move)
            move->moved = true;
    }
    return more;
}

static int by_external(const void *a, const void *b)
{
    const struct message_move *left = *(struct message_move *const *)a;
    const struct message_move *right = *(struct message_move *const *)b;
    struct str x = left->change.external_id, y = right->change.external_id;
    int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);

    if (order == 0)
        order = (x.len > y.len) - (x.len < y.len);
    if (order == 0)
        order = (left->channel_id > right->channel_id) - (left->channel_id < right->channel_id);
    return order;
}

/* A provider's id that another row carries already stays with that row. */
static int set_external_ids(struct db_session *tx, struct message_move **moves, size_t count,
                            struct err *err)
{
    enum { COLUMNS = 5 };
    struct db_value *values = arena_array(db_arena(tx), count * COLUMNS, sizeof *values);
    size_t n = 0;

    qsort(moves, count, sizeof *moves, by_external);
    for (size_t i = 0; i < count; i++) {
        struct db_value *row = values + n * COLUMNS;
        if (i > 0 && by_external(&moves[i - 1], &moves[i]) == 0)
            continue;
        row[0] = db_int(moves[i]->id);
        row[1] = db_int(moves[i]->tenant_id);
        row[2] = db_int(moves[i]->channel_id);
        row[3] = db_int(moves[i]->direction);
        row[4] = db_text(moves[i]->change.external_id);
        n++;
    }
    return db_exec_rows(tx, &(struct db_set){
        "WITH v(id, tenant_id, channel_id, direction, external_id) AS (:rows:) "
        "UPDATE messages SET external_id = v.external_id FROM v "
        "WHERE messages.id = v.id AND messages.external_id IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM messages o WHERE o.tenant_id = v.tenant_id AND o.channel_id = v.channel_id "
        "AND o.direction = v.direction AND o.external_id = v.external_id)", "iiiit", values, n },
        err) < 0 ? -1 : 0;
}

static void announce(struct db_session *tx, const struct message_move *move)
{
    event_add(tx, &(struct event){ .tenant_id = move->tenant_id, .object_id = move->id,
        .kind = message_event_kind(move->change.to), .conversation_id = move->conversation_id,
        .at_ms = move->change.at_ms });
}

int message_set_advance(struct db_session *tx, struct message_move *moves, size_t count,
                        struct err *err)
{
    struct message_move **sorted = arena_array(db_arena(tx), count, sizeof *sorted);
    size_t n = 0, named = 0;

    for (size_t i = 0; i < count; i++) {
        moves[i].moved = false;
        if (may(&moves[i]))
            sorted[n++] = &moves[i];
    }
    qsort(sorted, n, sizeof *sorted, by_id);
    if (n > 0 && advance(tx, sorted, n, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (moves[i].moved)
            announce(tx, &moves[i]);
        /* a receipt by our own token may have been faster than the answer, which still says the id */
        if (moves[i].change.external_id.len > 0)
            sorted[named++] = &moves[i];
    }
    return named > 0 ? set_external_ids(tx, sorted, named, err) : 0;
}
