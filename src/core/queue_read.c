#include "core/queue_read.h"

#include "base/arena.h"
#include "core/act.h"
#include "core/optout.h"

/* Of the jobs `j`, that are named behind it. What a far side fetches is claimed for it alone, the rest for workers. */
#define SELECT_SENDS \
    "SELECT j.id, j.attempt, j.failures, j.part, j.message_id, m.tenant_id, m.conversation_id, " \
    "m.contact_id, m.state, m.parts, m.origin, m.expires_ms, m.received_ms, m.address, m.text, " \
    "m.metadata, k.address, k.address_given, k.opted_out_ms, r.external_id, t.unknown_policy, " \
    "CASE WHEN m.address = k.address THEN NULL ELSE (SELECT COALESCE(i.address_given, i.address) FROM identities i " \
    "WHERE i.tenant_id = m.tenant_id AND i.channel_id = m.channel_id AND i.address = m.address " \
    "AND i.contact_id = k.id) END, a.id, a.act, a.text, a.state, m.external_id, CASE WHEN a.id IS NOT NULL THEN " \
    "(SELECT v.peer FROM conversations v WHERE v.id = a.conversation_id AND v.is_group = 1) WHEN m.contact_id IS " \
    "NULL " \
    "THEN m.address END, m.generation FROM "

#define JOIN_SENDS \
    " JOIN messages m ON m.id = coalesce(j.message_id, (SELECT x.message_id FROM acts x WHERE x.id = j.act_id)) " \
    "LEFT JOIN acts a ON a.id = j.act_id JOIN tenants t ON t.id = m.tenant_id LEFT JOIN contacts k " \
    "ON k.id = m.contact_id LEFT JOIN messages r ON r.id = m.reply_to_id ORDER BY j.rank_ms, j.id"

static const char heads_sql[] = SELECT_SENDS
    "(SELECT id, attempt, failures, part, message_id, act_id, rank_ms FROM jobs WHERE kind = 1 AND head = 1 "
    "AND state = 0 AND channel_id = $1 AND (SELECT c.pulls FROM channels c WHERE c.id = $1) = $2 ORDER BY rank_ms "
    "LIMIT $3 FOR UPDATE SKIP LOCKED) j" JOIN_SENDS;

static const char offered_sql[] = SELECT_SENDS
    "(SELECT id, attempt, failures, part, message_id, act_id, rank_ms FROM jobs WHERE kind = 1 AND state = 1 "
    "AND channel_id = $1 AND offered_ms IS NOT NULL AND lease_until_ms > $2 ORDER BY offered_ms, id LIMIT $3) j"
    JOIN_SENDS;

static struct str keep(struct arena *arena, struct str text)
{
    return text.data ? (struct str){ arena_copy(arena, text.data, text.len), text.len } : text;
}

/* The text was written for the address that stands beside it: a contact that was given another one
 * since is somebody else. */
static bool same_address(const struct db_rows *rows)
{
    struct str stored = db_col_text(rows, 13), address = db_col_text(rows, 16),
        given = db_col_text(rows, 17);

    return !address.data || str_eq(stored, address) || (given.data && str_eq(stored, given))
        || db_col_text(rows, 21).data;      /* a further identifier of theirs */
}

static enum queue_verdict verdict(const struct db_rows *rows, int64_t now_ms)
{
    int64_t state = db_col_int(rows, 8), expires_ms = db_col_int(rows, 11),
        opted_out_ms = db_col_int(rows, 18);

    if (state == MESSAGE_UNKNOWN)
        return QUEUE_LOOK_UP;
    if (state != MESSAGE_QUEUED)
        return QUEUE_GONE;
    if (expires_ms && expires_ms <= now_ms)
        return QUEUE_EXPIRED;
    if (!same_address(rows))
        return QUEUE_READDRESSED;
    if (opted_out_ms && !optout_confirms(db_col_int(rows, 10), db_col_text(rows, 15)))
        return QUEUE_OPTED_OUT;
    return QUEUE_SEND;
}

/* The same for an act, which has a state of its own. It follows its contact to another address. */
static enum queue_verdict act_verdict(const struct db_rows *rows)
{
    enum send_act act = (enum send_act)db_col_int(rows, 23);

    if (db_col_int(rows, 25) != MESSAGE_QUEUED)
        return QUEUE_GONE;
    return db_col_int(rows, 18) && (act == SEND_REACTION || act == SEND_EDIT) ? QUEUE_OPTED_OUT : QUEUE_SEND;
}

static void read_act(struct arena *arena, const struct db_rows *rows, struct queue_send *out)
{
    out->act_id = db_col_int(rows, 22);
    if (!out->act_id)
        return;
    out->verdict = act_verdict(rows);
    out->act = (enum send_act)db_col_int(rows, 23);
    out->text = keep(arena, db_col_text(rows, 24));
    out->state = db_col_int(rows, 25);
    out->target = keep(arena, db_col_text(rows, 26));
    out->reply_to = (struct str){ 0 };
    out->parts = 1;
    out->expires_ms = 0;
}

static void read_head(const struct queue_claim *claim, const struct db_rows *rows,
                      struct queue_send *out)
{
    struct arena *arena = claim->arena;
    struct str given = db_col_text(rows, 17), address = db_col_text(rows, 16);

    *out = (struct queue_send){ .verdict = verdict(rows, claim->now_ms),
        .job_id = db_col_int(rows, 0), .attempt = db_col_int(rows, 1) + 1,
            .failures = db_col_int(rows, 2),
        .part = db_col_int(rows, 3), .message_id = db_col_int(rows, 4),
            .tenant_id = db_col_int(rows, 5),
        .conversation_id = db_col_int(rows, 6), .contact_id = db_col_int(rows, 7),
            .state = db_col_int(rows, 8),
        .parts = db_col_int(rows, 9), .origin = db_col_int(rows, 10),
            .expires_ms = db_col_int(rows, 11),
        .policy = (enum tenant_policy)db_col_int(rows, 20) };
    if (db_col_text(rows, 21).data)
        given = db_col_text(rows, 21);
    else if (!given.data)
        given = address.data ? address : db_col_text(rows, 13);
    out->to = keep(arena, given);
    out->text = keep(arena, db_col_text(rows, 14));
    out->reply_to = keep(arena, db_col_text(rows, 19));
    out->conversation = keep(arena, db_col_text(rows, 27));
    out->generation = db_col_int(rows, 28);
    read_act(arena, rows, out);
    out->metadata = keep(arena, db_col_text(rows, 15));
}

static void read_all(const struct queue_claim *claim, const struct db_rows *rows, struct queue_send *out,
                     const struct queue_order *order)
{
    read_head(claim, rows, out);
    out->channel_id = order->channel_id;
    out->probes = order->probes;
}

int queue_read_heads(struct db_session *tx, struct queue_claim *claim, const struct queue_order *order,
                     struct queue_send *out, struct err *err)
{
    struct db_rows *rows = db_query(tx, heads_sql, DB_ARGS(db_int(order->channel_id),
        db_int(claim->offer_ms > 0), db_int(order->slots)), err);
    int more;

    claim->read = 0;
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1)
        read_all(claim, rows, &out[claim->read++], order);
    return more;
}

/* It is as it was when it was claimed, unless a receipt or a person moved it since. */
static void as_offered(struct queue_send *send)
{
    send->attempt--;
    send->verdict = send->state == MESSAGE_SENDING ? QUEUE_SEND : QUEUE_GONE;
}

int queue_read_offered(struct db_session *session, struct queue_claim *claim, const struct queue_order *order,
                       struct err *err)
{
    int64_t now_ms = db_now_ms(session, err);
    struct db_rows *rows = now_ms < 0 ? NULL : db_query(session, offered_sql,
        DB_ARGS(db_int(order->channel_id), db_int(now_ms), db_int(order->slots)), err);
    int more;

    claim->count = 0;
    if (!rows)
        return -1;
    claim->sends = arena_array(claim->arena, (size_t)order->slots, sizeof *claim->sends);
    while ((more = db_next(rows, err)) == 1) {
        read_all(claim, rows, &claim->sends[claim->count], order);
        as_offered(&claim->sends[claim->count++]);
    }
    return more;
}
