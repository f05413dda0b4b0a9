#include "core/offer.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/queue_lane.h"
#include "core/queue_read.h"
#include "core/send.h"
#include "core/send_key.h"
#include "core/split.h"

#include <string.h>

/* --- Taking ---------------------------------------------------------------------------------------------------- */

/* 1 open, 0 not now, -1. */
static int order_of(struct db_session *session, const struct offer *offer, struct queue_order *order, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT " QUEUE_READY_COLUMNS " FROM channels c JOIN tenants t ON t.id = c.tenant_id WHERE c.id = $1 "
        "AND c.state = 0 AND t.state = 0", DB_ARGS(db_int(offer->channel->id)), err);
    int64_t now_ms = clock_ms();
    int found = rows ? db_next(rows, err) : -1;
    struct queue_ready ready;

    if (found != 1)
        return found;
    ready = queue_ready_of(rows, 0, now_ms);
    db_rows_end(rows);
    order->probes = ready.probes;
    order->limited = ready.limited;
    return ready.open_ms <= now_ms;
}

static int add_job(struct hub *hub, struct offer *offer, const struct queue_send *send, struct err *err)
{
    struct send_job *job = &offer->jobs[offer->count];
    int described;

    if (send->verdict != QUEUE_SEND)
        return send_run(hub, send, err);
    *job = (struct send_job){ .arena = offer->arena };
    described = send_offer(hub, offer->channel, send, job, err);
    if (described < 0)
        return -1;
    offer->count += described == 1;
    return 0;
}

/* What was offered before; and may there be new ones? */
static int take_again(struct hub *hub, struct offer *offer, struct queue_order *order, struct err *err)
{
    struct queue_claim claim = { .arena = offer->arena };
    struct db_session *session = db_read(hub->db, offer->channel->tenant_id, err);
    int open;

    if (!session)
        return -1;
    order->slots = OFFER_MAX;
    open = queue_read_offered(session, &claim, order, err) ? -1 : order_of(session, offer, order, err);
    db_read_end(session);
    if (open < 0)
        return -1;
    for (size_t i = 0; i < claim.count; i++)
        if (claim.sends[i].verdict == QUEUE_SEND && add_job(hub, offer, &claim.sends[i], err))
            return -1;
    order->slots = OFFER_MAX - (int)claim.count;
    if (order->slots > offer->wanted)
        order->slots = offer->wanted;
    if (order->probes && order->slots > 1)
        order->slots = 1;
    return open;
}

int offer_take(struct hub *hub, struct offer *offer, struct err *err)
{
    struct queue_order order = { .channel_id = offer->channel->id };
    struct queue_claim claim = { .arena = offer->arena, .orders = &order, .order_count = 1, .offer_ms = OFFER_MS };
    int open;

    offer->jobs = arena_array(offer->arena, OFFER_MAX, sizeof *offer->jobs);
    offer->count = 0;
    open = take_again(hub, offer, &order, err);
    if (open != 1 || order.slots <= 0)
        return open < 0 ? -1 : 0;
    if (queue_claim(hub, &claim, err))
        return -1;
    for (size_t i = 0; i < claim.count; i++)
        if (add_job(hub, offer, &claim.sends[i], err))
            return -1;
    return 0;
}

/* --- Settling --------------------------------------------------------------------------------------------------- */

#define SELECT_OFFERED \
    "SELECT j.id, j.attempt, j.failures, j.part, m.tenant_id, m.conversation_id, m.channel_id, m.id, m.contact_id, " \
    "COALESCE(x.state, m.state), m.parts, m.generation, c.breaker_faults, j.act_id, COALESCE(x.act, 0), " \
    "t.unknown_policy, COALESCE((SELECT MAX(a.id) FROM attempts a WHERE a.message_id = m.id AND a.part = j.part " \
    "AND a.outcome = 0 AND COALESCE(a.act_id, 0) = COALESCE(j.act_id, 0)), 0), m.expires_ms FROM jobs j " \
    "LEFT JOIN acts x ON x.id = j.act_id JOIN messages m ON m.id = COALESCE(j.message_id, x.message_id) " \
    "JOIN channels c ON c.id = m.channel_id JOIN tenants t ON t.id = m.tenant_id WHERE j.kind = 1 AND j.state = 1 " \
    "AND j.offered_ms IS NOT NULL AND m.tenant_id = $1 AND m.channel_id = $2 AND "

static int read_offered(struct db_rows *rows, struct queue_send *out, struct err *err)
{
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    *out = (struct queue_send){ .verdict = QUEUE_SEND, .job_id = db_col_int(rows, 0), .attempt = db_col_int(rows, 1),
        .failures = db_col_int(rows, 2), .part = db_col_int(rows, 3), .tenant_id = db_col_int(rows, 4),
        .conversation_id = db_col_int(rows, 5), .channel_id = db_col_int(rows, 6), .message_id = db_col_int(rows, 7),
        .contact_id = db_col_int(rows, 8), .state = db_col_int(rows, 9), .parts = db_col_int(rows, 10),
        .generation = db_col_int(rows, 11), .faults = db_col_int(rows, 12), .act_id = db_col_int(rows, 13),
        .act = (enum send_act)db_col_int(rows, 14), .policy = (enum tenant_policy)db_col_int(rows, 15),
        .attempt_id = db_col_int(rows, 16), .expires_ms = db_col_int(rows, 17) };
    db_rows_end(rows);
    return 1;
}

/* The token of an act is its id with "-0". */
static bool is_act(struct str key, int64_t *id)
{
    return key.len > 2 && key.data[key.len - 2] == '-' && key.data[key.len - 1] == '0'
        && id_decode(ID_ACT, (struct str){ key.data, key.len - 2 }, id);
}

static int find_offered(struct db_session *tx, const struct offer_result *result, struct queue_send *out,
                        struct err *err)
{
    struct send_key_parts parts;
    int64_t act_id;
    int found;

    if (is_act(result->key, &act_id))
        return read_offered(db_query(tx, SELECT_OFFERED "j.act_id = $3",
            DB_ARGS(db_int(result->tenant_id), db_int(result->channel_id), db_int(act_id)), err), out, err);
    if (!send_key_read(result->key, &parts))
        return 0;
    found = read_offered(db_query(tx, SELECT_OFFERED "j.message_id = $3",
        DB_ARGS(db_int(result->tenant_id), db_int(result->channel_id), db_int(parts.message_id)), err), out, err);
    if (found == 1 && (out->part != parts.part || out->generation != parts.generation))
        return 0;
    return found;
}

static void set_done(const struct queue_send *send, const struct offer_result *result, struct queue_finish *finish)
{
    bool is_last = send->act_id || send->part + 1 >= send->parts;

    finish->part_done = true;
    finish->moves = true;
    finish->end = is_last ? QUEUE_REMOVE : QUEUE_RELEASE;
    finish->due_ms = finish->now_ms;
    finish->change = (struct message_change){ .to = is_last ? MESSAGE_SENT : MESSAGE_QUEUED, .error_code = STR(""),
        .error_hint = STR("") };
    if (is_last)
        finish->change.external_id = result->external_id;
    finish->early_receipts = is_last && !send->act_id;
    finish->tried.outcome = ATTEMPT_DONE;
}

static void set_again(const struct queue_send *send, const struct retry_output *next, struct queue_finish *finish)
{
    finish->end = QUEUE_AGAIN;
    finish->failures = next->failures;
    finish->due_ms = finish->now_ms + next->wait_ms;
    if (send->expires_ms && finish->due_ms > send->expires_ms)
        finish->due_ms = send->expires_ms;
    finish->moves = true;
    finish->change.to = MESSAGE_QUEUED;
    finish->tried.outcome = ATTEMPT_RETRY;
}

static void set_failed(struct db_session *tx, const struct queue_send *send, struct queue_finish *finish)
{
    finish->end = QUEUE_REMOVE;
    finish->moves = true;
    finish->change.to = MESSAGE_FAILED;
    if (!send->act_id)
        finish->change.error_hint = split_hint(db_arena(tx), send->part, send->parts, finish->change.error_hint);
    finish->audit_id = send->job_id;        /* the job ends with this line, so its number is free */
    finish->tried.outcome = ATTEMPT_REFUSED;
}

static struct retry_output decide(const struct queue_send *send, const struct offer_result *result)
{
    struct retry_input input = { .outcome = result->outcome, .failures = send->failures, .policy = send->policy,
        .retry_after_s = result->retry_after_s, .throttled = str_is(result->code, "429") };

    id_random(&input.roll, sizeof input.roll);
    return retry_send(&input);
}

static void conclude(struct db_session *tx, const struct queue_send *send, const struct offer_result *result,
                     struct queue_finish *finish)
{
    struct retry_output next = decide(send, result);
    bool named = result->code.len > 0;

    finish->change.error_code = named || !next.code ? result->code : str_c(next.code);
    finish->change.error_hint = result->hint.len > 0 || !next.hint ? result->hint : str_c(next.hint);
    if (next.step == RETRY_DONE)
        set_done(send, result, finish);
    else if (next.step == RETRY_AGAIN)
        set_again(send, &next, finish);
    else
        set_failed(tx, send, finish);
    if (next.step == RETRY_AGAIN && str_is(result->code, "429"))
        finish->pause_until_ms = finish->due_ms;
}

int offer_settle(struct db_session *tx, const struct offer_result *result, int64_t *message_id, struct err *err)
{
    struct queue_send send;
    struct queue_finish finish = { .item = { .kind = &queue_finish_kind }, .send = &send, .now_ms = clock_ms(),
        .worked = true, .tried = { .code = result->code, .detail = result->hint,
                                   .external_id = result->external_id } };
    int found = find_offered(tx, result, &send, err);

    if (found != 1)
        return found;
    finish.failures = send.failures;
    conclude(tx, &send, result, &finish);
    finish.change.at_ms = result->at_ms ? result->at_ms : finish.now_ms;
    if (finish.change.to == MESSAGE_FAILED && !send.act_id && message_renew_key(tx, send.message_id, err))
        return -1;
    if (queue_finish_in(tx, &finish, err))
        return -1;
    if (message_id)
        *message_id = send.act_id ? 0 : send.message_id;
    return finish.done;
}

int offer_receipt(struct db_session *tx, const struct receipt *receipt, int64_t *message_id, struct err *err)
{
    struct offer_result result = { .tenant_id = receipt->tenant_id, .channel_id = receipt->channel_id,
        .at_ms = receipt->at_ms, .key = receipt->key, .external_id = receipt->external_id,
        .outcome = receipt->state == MESSAGE_FAILED ? SEND_REFUSED : SEND_DONE };

    if (receipt->key.len == 0 || !receipt_may_say(receipt->state))
        return 0;
    if (receipt->state == MESSAGE_FAILED) {
        result.code = receipt->code;
        result.hint = receipt->hint;
    }
    return offer_settle(tx, &result, message_id, err);
}

/* --- What waits ------------------------------------------------------------------------------------------------- */

int offer_waiting(struct db_session *session, struct offer_waiting *out, int max, int64_t *next_ms, struct err *err)
{
    int64_t now_ms = clock_ms();
    struct db_rows *rows = db_query(session,
        "SELECT w.newest, " QUEUE_READY_COLUMNS " FROM (SELECT j.channel_id, MAX(j.id) AS newest FROM jobs j "
        "WHERE j.kind = 1 AND j.head = 1 AND j.state = 0 AND j.channel_id IN (SELECT p.id FROM channels p "
        "WHERE p.pulls = 1) GROUP BY j.channel_id) w JOIN channels c ON c.id = w.channel_id "
        "JOIN tenants t ON t.id = c.tenant_id WHERE c.state = 0 AND t.state = 0 LIMIT $1",
        DB_ARGS(db_int(max)), err);
    int count = 0, more = -1;

    while (rows && count < max && (more = db_next(rows, err)) == 1) {
        struct queue_ready ready = queue_ready_of(rows, 1, now_ms);

        if (ready.open_ms <= now_ms)
            out[count++] = (struct offer_waiting){ ready.channel_id, db_col_int(rows, 0) };
        else if (ready.open_ms < *next_ms)
            *next_ms = ready.open_ms;
    }
    if (rows)
        db_rows_end(rows);
    return more < 0 ? -1 : count;
}
