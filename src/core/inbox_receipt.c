#include "core/inbox_receipt.h"

#include "base/arena.h"
#include "base/clock.h"
#include "core/arrival.h"
#include "core/conversation.h"
#include "core/inbox.h"
#include "core/offer.h"
#include "core/queue.h"
#include "core/send_key.h"
#include "core/split.h"

#define TRIES 3 /* another transaction may move the message at the same moment */
#define JOIN_ROWS 500
#define FORGET_MS (INT64_C(7) * 24 * 60 * 60 * 1000)

/* The message that a provider's id names, and which of its parts. */
struct target {
    struct message message;
    int64_t part, attempt_id;       /* attempt 0: it was not sent from here */
    bool is_old;                    /* its key is that of an earlier generation, which failed */
};

static int read_target(struct db_rows *rows, struct target *out, struct err *err)
{
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    out->message.id = db_col_int(rows, 0);
    out->message.tenant_id = db_col_int(rows, 1);
    out->message.conversation_id = db_col_int(rows, 2);
    out->message.channel_id = db_col_int(rows, 3);
    out->message.state = db_col_int(rows, 4);
    out->message.parts = db_col_int(rows, 5);
    out->part = db_col_int(rows, 6);
    out->attempt_id = db_col_int(rows, 7);
    out->message.generation = db_col_int(rows, 8);
    out->is_old = false;
    out->message.direction = MESSAGE_OUT;
    db_rows_end(rows);
    return 1;
}

/* The part that our token names, if a try of it began on this channel. */
static int find_by_key(struct db_session *tx, const struct receipt *receipt, struct target *out, struct err *err)
{
    struct send_key_parts parts;
    int found;

    if (receipt->key.len == 0 || !send_key_read(receipt->key, &parts))
        return 0;
    found = read_target(db_query(tx,
        "SELECT m.id, m.tenant_id, m.conversation_id, m.channel_id, m.state, m.parts, a.part, a.id, m.generation "
        "FROM messages m "
        "JOIN attempts a ON a.message_id = m.id WHERE m.tenant_id = $1 AND m.channel_id = $2 AND m.id = $3 "
        "AND m.direction = 1 AND a.part = $4 AND a.act_id IS NULL ORDER BY a.id DESC LIMIT 1",
        DB_ARGS(db_int(receipt->tenant_id), db_int(receipt->channel_id), db_int(parts.message_id), db_int(parts.part)),
        err), out, err);
    out->is_old = found == 1 && parts.generation < out->message.generation;
    return found;
}

/* Every part that went out has its id in its attempt; messages that were not sent from here have it
 * in their own row alone. */
static int find_target(struct db_session *tx, const struct receipt *receipt, struct target *out,
                       struct err *err)
{
    int found = find_by_key(tx, receipt, out, err);

    if (found || receipt->external_id.len == 0)
        return found;
    found = read_target(db_query(tx,
        "SELECT m.id, m.tenant_id, m.conversation_id, m.channel_id, m.state, m.parts, a.part, a.id, 0 "
        "FROM attempts a JOIN messages m ON m.id = a.message_id WHERE a.tenant_id = $1 "
        "AND a.channel_id = $2 AND a.external_id = $3 AND a.act_id IS NULL ORDER BY a.id DESC LIMIT 1",
        DB_ARGS(db_int(receipt->tenant_id), db_int(receipt->channel_id),
                db_text(receipt->external_id)), err), out, err);
    if (found)
        return found;
    return read_target(db_query(tx,
        "SELECT m.id, m.tenant_id, m.conversation_id, m.channel_id, m.state, m.parts, m.parts - 1, "
        "0, 0 FROM messages m WHERE m.tenant_id = $1 AND m.channel_id = $2 AND m.direction = 1 "
        "AND m.external_id = $3",
        DB_ARGS(db_int(receipt->tenant_id), db_int(receipt->channel_id),
                db_text(receipt->external_id)), err), out, err);
}

/* The job of a message that was not known to have gone out waits outside its lane, for a look-up or
 * for a person; now it is not needed. */
static int end_waiting(struct db_session *tx, const struct message *message, struct err *err)
{
    return db_exec(tx, "DELETE FROM jobs WHERE message_id = $1 AND kind = 1 AND head = 0 "
                   "AND state IN (2, 3)", DB_ARGS(db_int(message->id)), err) < 0 ? -1 : 0;
}

static struct str hint_of(struct db_session *tx, const struct target *target, const struct receipt *receipt)
{
    return split_hint(db_arena(tx), target->part, target->message.parts, receipt->hint);
}

/* 1 moved, 0 not, -1 failed. */
static int advance(struct db_session *tx, const struct target *target,
                   const struct receipt *receipt, enum message_state to, struct err *err)
{
    const struct message *message = &target->message;
    enum message_state from = (enum message_state)message->state;
    bool failed = to == MESSAGE_FAILED;
    struct message_change change = { .to = to, .at_ms = receipt->at_ms,
        .error_code = failed ? receipt->code : STR(""),
        .error_hint = failed ? hint_of(tx, target, receipt) : STR("") };
    int moved = message_advance(tx, message, from, &change, err);

    if (moved == 1 && failed && message_renew_key(tx, message->id, err))
        return -1;
    if (moved != 1 || from != MESSAGE_UNKNOWN)
        return moved;
    return end_waiting(tx, message, err) ? -1 : 1;
}

/* The token brought the id that the lost answer would have: on the part's last try, and on the message
 * where it is the last part's. Another row that carries it already keeps it. */
static int give_external_id(struct db_session *tx, const struct receipt *receipt, const struct target *target,
                            struct err *err)
{
    const struct message *message = &target->message;

    if (receipt->key.len == 0 || receipt->external_id.len == 0 || target->is_old)
        return 0;
    if (db_exec(tx, "UPDATE attempts SET external_id = $1 WHERE id = (SELECT MAX(a.id) FROM attempts a "
                "WHERE a.message_id = $2 AND a.part = $3 AND a.act_id IS NULL) AND external_id IS NULL",
                DB_ARGS(db_text(receipt->external_id), db_int(message->id), db_int(target->part)), err) < 0)
        return -1;
    if (target->part < message->parts - 1)
        return 0;
    return db_exec(tx, "UPDATE messages SET external_id = $1 WHERE id = $2 AND external_id IS NULL AND NOT EXISTS "
                   "(SELECT 1 FROM messages o WHERE o.tenant_id = $3 AND o.channel_id = $4 AND o.direction = 1 "
                   "AND o.external_id = $1)",
                   DB_ARGS(db_text(receipt->external_id), db_int(message->id), db_int(message->tenant_id),
                           db_int(message->channel_id)), err) < 0 ? -1 : 0;
}

/* A message whose answer was lost stands queued again, and now it is said that it did go out: it leaves
 * its lane before it goes out twice. 1: it is as if still being sent, 0: it was claimed meanwhile, -1. */
static int call_back(struct db_session *tx, struct message *message, const struct receipt *receipt,
                     struct err *err)
{
    struct message_change change = { .to = MESSAGE_SENDING, .at_ms = receipt->at_ms };
    int moved = conversation_lock(tx, message->tenant_id, message->conversation_id, err) < 0 ? -1
        : message_advance(tx, message, MESSAGE_QUEUED, &change, err);

    if (moved != 1)
        return moved;
    message->state = MESSAGE_SENDING;
    if (db_exec(tx, "DELETE FROM jobs WHERE message_id = $1 AND kind = 1 AND state <> 1",
                DB_ARGS(db_int(message->id)), err) < 0)
        return -1;
    return queue_promote(tx, JOB_SEND, &message->conversation_id, 1, err) ? -1 : 1;
}

/* A message that was reported failed and is read after all was delivered first; so the end is the
 * same in whatever order the receipts come. */
static int move_up(struct db_session *tx, struct target *target, const struct receipt *receipt,
                   enum message_state to, struct err *err)
{
    int moved = target->message.state == MESSAGE_QUEUED ? call_back(tx, &target->message, receipt, err) : 1;

    if (moved != 1)
        return moved;
    if (target->message.state == MESSAGE_FAILED && to == MESSAGE_READ) {
        moved = advance(tx, target, receipt, MESSAGE_DELIVERED, err);
        if (moved != 1)
            return moved;
        target->message.state = MESSAGE_DELIVERED;
    }
    return advance(tx, target, receipt, to, err);
}

/* --- Parts ------------------------------------------------------------------------------------ */

#define NOTHING MESSAGE_RECEIVED    /* a receipt that says nothing of the whole message (yet) */

/* 1 something new is known of the part, 0 not, -1. */
static int note(struct db_session *tx, const struct target *target, const struct receipt *receipt,
                struct err *err)
{
    const struct arrival arrival = { .tenant_id = receipt->tenant_id,
        .attempt_id = target->attempt_id, .segment = receipt->segment, .state = receipt->state,
        .at_ms = receipt->at_ms };
    int64_t state;
    int cut;

    /* the other parts' receipts may come to other nodes at this moment: one after the other */
    if (db_query_int(tx, "SELECT state FROM messages WHERE id = $1 FOR UPDATE",
                     DB_ARGS(db_int(target->message.id)), 0, &state, err))
        return -1;
    cut = receipt->segments > 0
        ? arrival_note_segments(tx, target->attempt_id, receipt->segments, err) : 0;
    if (cut < 0 || receipt->state == MESSAGE_SENT)
        return cut;
    return arrival_note(tx, &arrival, err);
}

/* What the receipt of a part makes of the message; `*news` when it was not known. -1 on failure. */
static int whole_state(struct db_session *tx, const struct target *target,
                       const struct receipt *receipt, bool *news, struct err *err)
{
    bool is_last = target->part >= target->message.parts - 1;
    int noted, state;

    if (receipt->state == MESSAGE_FAILED)
        return MESSAGE_FAILED;
    if (!target->attempt_id || (target->message.parts <= 1 && !receipt->segment.len && !receipt->segments))
        return is_last ? (int)receipt->state : NOTHING;
    noted = note(tx, target, receipt, err);
    if (noted < 0)
        return -1;
    *news |= noted > 0;
    if (receipt->state == MESSAGE_SENT && !noted)
        return is_last ? MESSAGE_SENT : NOTHING;
    state = arrival_state(tx, target->message.id, target->message.parts, err);
    return state == MESSAGE_SENT && !is_last ? NOTHING : state;
}

/* --- One receipt ------------------------------------------------------------------------------ */

bool receipt_may_say(enum message_state state)
{
    return state == MESSAGE_SENT || state == MESSAGE_DELIVERED || state == MESSAGE_READ
        || state == MESSAGE_FAILED;
}

/* 1 moved, 0 not, -1 failed. */
static int apply(struct db_session *tx, struct target *target, const struct receipt *receipt,
                 bool *news, struct err *err)
{
    enum message_state state = (enum message_state)target->message.state;
    int to = target->is_old && receipt->state == MESSAGE_FAILED ? NOTHING : receipt_may_say(receipt->state) ?
        whole_state(tx, target, receipt, news, err) : NOTHING;

    if (to < 0 || to == NOTHING)
        return to < 0 ? -1 : 0;
    if (state == MESSAGE_QUEUED)     /* it is being tried again: only that it did go out says more */
        return to == MESSAGE_FAILED ? 0 : move_up(tx, target, receipt, (enum message_state)to, err);
    if (!message_may(MESSAGE_OUT, state, (enum message_state)to)
        && !(state == MESSAGE_FAILED && to == MESSAGE_READ))
        return 0;
    return move_up(tx, target, receipt, (enum message_state)to, err);
}

enum receipt_effect receipt_apply(struct db_session *tx, const struct receipt *receipt,
                                  int64_t *message_id, struct err *err)
{
    struct target target = { 0 };
    int moved = 0, found = 0, settled = offer_receipt(tx, receipt, message_id, err);
    bool news = settled == 1;

    if (settled < 0)
        return RECEIPT_FAILED;

    for (int i = 0; i < TRIES && !moved; i++) {
        int64_t before = target.message.state;

        found = find_target(tx, receipt, &target, err);
        if (found != 1 || (i > 0 && target.message.state == before))
            break;
        moved = apply(tx, &target, receipt, &news, err);
    }
    if (message_id && !(settled && !found))
        *message_id = found == 1 ? target.message.id : 0;
    if (found < 0 || moved < 0 || (found == 1 && give_external_id(tx, receipt, &target, err)))
        return RECEIPT_FAILED;
    if (!found && settled)
        return RECEIPT_APPLIED;
    if (!found)
        return receipt->external_id.len > 0 ? RECEIPT_EARLY : RECEIPT_UNCHANGED;
    return moved || news ? RECEIPT_APPLIED : RECEIPT_UNCHANGED;
}

int receipt_keep(struct db_session *tx, const struct receipt *receipt, struct err *err)
{
    return db_exec(tx,
        "INSERT INTO early_receipts (tenant_id, channel_id, external_id, state, at_ms, code, hint, "
        "segment, segments) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        DB_ARGS(db_int(receipt->tenant_id), db_int(receipt->channel_id),
                db_text(receipt->external_id), db_int(receipt->state), db_int(receipt->at_ms),
                db_text(receipt->code), db_text(receipt->hint),
                db_text(receipt->segment.data ? receipt->segment : STR("")),
                db_int(receipt->segments)), err) < 0 ? -1 : 0;
}

/* --- Late joining ----------------------------------------------------------------------------- */

static struct str copy_text(struct arena *arena, struct str text)
{
    return (struct str){ str_dup(arena, text), text.len };
}

/* Of an early receipt `e`: its message has been named since. */
#define NAMED \
    "(EXISTS (SELECT 1 FROM attempts a WHERE a.tenant_id = e.tenant_id " \
    "AND a.channel_id = e.channel_id AND a.external_id = e.external_id AND a.act_id IS NULL) " \
    "OR EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = e.tenant_id " \
    "AND m.channel_id = e.channel_id AND m.direction = 1 AND m.external_id = e.external_id))"

static int read_late(struct db_session *tx, struct receipt *out, size_t *count, struct err *err)
{
    struct arena *arena = db_arena(tx);
    struct db_rows *rows = db_query(tx,
        "SELECT e.tenant_id, e.channel_id, e.external_id, e.state, e.at_ms, e.code, e.hint, "
        "e.segment, e.segments FROM early_receipts e WHERE " NAMED " ORDER BY e.state LIMIT $1",
        DB_ARGS(db_int(JOIN_ROWS)), err);
    int found = -1;

    *count = 0;
    while (rows && (found = db_next(rows, err)) == 1) {
        struct receipt *receipt = &out[(*count)++];

        receipt->tenant_id = db_col_int(rows, 0);
        receipt->channel_id = db_col_int(rows, 1);
        receipt->external_id = copy_text(arena, db_col_text(rows, 2));
        receipt->state = (enum message_state)db_col_int(rows, 3);
        receipt->at_ms = db_col_int(rows, 4);
        receipt->code = copy_text(arena, db_col_text(rows, 5));
        receipt->hint = copy_text(arena, db_col_text(rows, 6));
        receipt->segment = copy_text(arena, db_col_text(rows, 7));
        receipt->segments = db_col_int(rows, 8);
    }
    return found < 0 ? -1 : 0;
}

static int join_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct receipt *late = arena_array(db_arena(tx), JOIN_ROWS, sizeof *late);
    int *applied = arg;
    size_t count;

    *applied = 0;
    if (read_late(tx, late, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        enum receipt_effect effect = receipt_apply(tx, &late[i], NULL, err);

        if (effect == RECEIPT_FAILED
            || db_exec(tx, "DELETE FROM early_receipts WHERE tenant_id = $1 AND channel_id = $2 "
                       "AND external_id = $3 AND state = $4 AND segment = $5",
                       DB_ARGS(db_int(late[i].tenant_id), db_int(late[i].channel_id),
                               db_text(late[i].external_id), db_int(late[i].state),
                               db_text(late[i].segment)), err) < 0)
            return -1;
        *applied += effect == RECEIPT_APPLIED;
    }
    return db_exec(tx, "DELETE FROM early_receipts WHERE at_ms < $1",
                   DB_ARGS(db_int(clock_ms() - FORGET_MS)), err) < 0 ? -1 : 0;
}

/* Receipts that nobody claims stay for a week: the writer is not troubled when that is all. */
static int is_needed(struct hub *hub, int64_t *needed, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    int failed;

    if (!session)
        return -1;
    failed = db_query_int(session, "SELECT count(*) FROM (SELECT 1 FROM early_receipts e "
                          "WHERE e.at_ms < $1 OR " NAMED " LIMIT 1) x",
                          DB_ARGS(db_int(clock_ms() - FORGET_MS)), 0, needed, err);
    db_read_end(session);
    return failed;
}

int inbox_join_late(struct hub *hub, struct err *err)
{
    int64_t needed;
    int applied;

    if (is_needed(hub, &needed, err))
        return -1;
    if (!needed)
        return 0;
    return db_write(hub->db, join_tx, &applied, err) ? -1 : applied;
}
