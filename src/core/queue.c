#include "core/queue.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/act.h"
#include "core/breaker.h"
#include "core/hub.h"
#include "core/message_set.h"
#include "core/queue_read.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

/* a channel that waits for longer was paused by a wrong clock */
#define PAUSE_MAX_MS (2 * 86400000LL)

const char *const attempt_outcome_words[] = { "started", "done", "retry", "refused", "unsure",
    NULL };

#define AT(member) offsetof(struct attempt, member)
const struct column attempt_columns[] = {
    { "id", COL_REF, AT(id), COL_PUBLIC, ID_ATTEMPT, NULL, NULL },
    { "tenant_id", COL_INT, AT(tenant_id), 0, NULL, NULL, NULL },
    { "message_id", COL_REF, AT(message_id), COL_PUBLIC, ID_MESSAGE, NULL, NULL },
    { "channel_id", COL_REF, AT(channel_id), COL_PUBLIC, ID_CHANNEL, NULL, NULL },
    { "attempt", COL_INT, AT(attempt), COL_PUBLIC, NULL, NULL, NULL },
    { "part", COL_INT, AT(part), COL_PUBLIC, NULL, NULL, NULL },
    { "outcome", COL_ENUM, AT(outcome), COL_PUBLIC, NULL, attempt_outcome_words, NULL },
    { "code", COL_TEXT, AT(code), COL_PUBLIC, NULL, NULL, NULL },
    { "detail", COL_TEXT, AT(detail), COL_PUBLIC, NULL, NULL, NULL },
    { "external_id", COL_TEXT, AT(external_id), COL_PUBLIC, NULL, NULL, NULL },
    { "started_ms", COL_TIME, AT(started_ms), COL_PUBLIC, NULL, NULL, "started_at" },
    { "finished_ms", COL_TIME, AT(finished_ms), COL_PUBLIC, NULL, NULL, "finished_at" },
    { 0 }
};

/* --- What waits ------------------------------------------------------------------------------- */

static struct limit_rule read_rule(const struct db_rows *rows, int kind_column)
{
    int64_t own[LIMIT_SCOPES];

    for (int i = 0; i < LIMIT_SCOPES; i++)
        own[i] = db_col_int(rows, kind_column + 1 + i);
    return limit_rule_of(channel_driver_find(db_col_text(rows, kind_column)), own);
}

struct queue_ready queue_ready_of(const struct db_rows *rows, int first, int64_t now_ms)
{
    struct breaker breaker = { db_col_int(rows, first + 2), db_col_int(rows, first + 3) };
    enum breaker_state state = breaker_state(&breaker, now_ms);
    struct limit_rule rule = read_rule(rows, first + 4);
    const struct channel_driver *driver = channel_driver_find(db_col_text(rows, first + 4));
    struct pace pace = pace_read(rows, first + 9, driver, now_ms);
    struct queue_ready ready = { .channel_id = db_col_int(rows, first),
        .probes = state == BREAKER_PROBES,
        .limited = limit_any(&rule) || pace_any(&pace), .faults = breaker.faults,
        .parallel = driver ? driver->parallel : 0 };
    int64_t next_ms = db_col_int(rows, first + 1);

    if (next_ms > now_ms && next_ms <= now_ms + PAUSE_MAX_MS)
        ready.open_ms = next_ms;
    if (state == BREAKER_STOPPED && breaker.until_ms > ready.open_ms)
        ready.open_ms = breaker.until_ms;
    return ready;
}

static int by_rank(const void *a, const void *b)
{
    const struct queue_ready *left = a, *right = b;

    return (left->rank_ms > right->rank_ms) - (left->rank_ms < right->rank_ms);
}

/* One index probe for each channel that has a head, however many channels and jobs there are. */
static const char ready_sql[] =
    "WITH RECURSIVE r(channel_id) AS (SELECT min(j.channel_id) FROM jobs j WHERE j.kind = 1 AND "
    "j.head = 1 AND j.state = 0 UNION ALL SELECT (SELECT min(j.channel_id) FROM jobs j WHERE "
    "j.kind = 1 AND j.head = 1 AND j.state = 0 AND j.channel_id > r.channel_id) FROM r WHERE "
    "r.channel_id IS NOT NULL) SELECT (SELECT min(j.rank_ms) FROM jobs j WHERE j.kind = 1 AND "
    "j.head = 1 AND j.state = 0 "
    "AND j.channel_id = c.id), " QUEUE_READY_COLUMNS " "
    "FROM r JOIN channels c ON c.id = r.channel_id JOIN tenants t ON t.id = c.tenant_id "
    "WHERE c.state = 0 AND t.state = 0 AND c.pulls = 0";

int queue_peek(struct db_session *session, struct queue_waiting *waiting, struct err *err)
{
    int64_t now_ms = clock_ms(), due_ms;
    struct db_rows *rows = db_query(session, ready_sql, DB_NO_ARGS, err);
    int more;

    waiting->count = 0;
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1) {
        struct queue_ready one = queue_ready_of(rows, 1, now_ms);

        one.rank_ms = db_col_int(rows, 0);
        if (one.open_ms > now_ms && one.open_ms < waiting->next_ms)
            waiting->next_ms = one.open_ms;
        if (one.open_ms <= now_ms && waiting->count < QUEUE_READY_MAX)
            waiting->ready[waiting->count++] = one;
    }
    if (more < 0)
        return -1;
    qsort(waiting->ready, waiting->count, sizeof waiting->ready[0], by_rank);
    if (db_query_int(session, "SELECT min(due_ms) FROM jobs WHERE state = 2", DB_NO_ARGS, INT64_MAX,
                     &due_ms, err))
        return -1;
    if (due_ms < waiting->next_ms)
        waiting->next_ms = due_ms;
    return 0;
}

/* --- Claiming --------------------------------------------------------------------------------- */

/* A job whose contact has had enough for this hour: it waits at the head of its lane. */
struct postponed {
    int64_t job_id, due_ms;
};

/* The state of one channel while its heads are claimed. */
struct gate {
    struct limit_rule rule;
    struct limit_window windows[LIMIT_PER_CONTACT];
    const struct limit_slot *touched[LIMIT_PER_CONTACT];
    struct breaker breaker;
    struct pace pace;
    int64_t tenant_id, next_ms;
    bool open;
};

struct claiming {
    struct db_session *tx;
    struct queue_claim *claim;
    struct postponed *postponed;
    size_t postponed_count;
};

static int load_gate(struct claiming *c, const struct queue_order *order, struct gate *gate,
                     struct err *err)
{
    struct db_rows *rows = db_query(c->tx,
        "SELECT state, tenant_id, next_send_ms, breaker_faults, breaker_until_ms, kind, "
        "coalesce(per_second, -1), coalesce(per_hour, -1), coalesce(per_day, -1), "
        "coalesce(per_contact_hour, -1), " PACE_COLUMNS " FROM channels WHERE id = $1 FOR UPDATE",
        DB_ARGS(db_int(order->channel_id)), err);
    int found = rows ? db_next(rows, err) : -1;
    int64_t now_ms = c->claim->now_ms, next_ms;

    *gate = (struct gate){ 0 };
    if (found != 1)
        return found;
    next_ms = db_col_int(rows, 2);
    gate->tenant_id = db_col_int(rows, 1);
    gate->breaker = (struct breaker){ db_col_int(rows, 3), db_col_int(rows, 4) };
    gate->open = db_col_int(rows, 0) == 0 && (next_ms <= now_ms ||
                                              next_ms > now_ms + PAUSE_MAX_MS) &&
                 breaker_state(&gate->breaker, now_ms) != BREAKER_STOPPED;
    gate->rule = read_rule(rows, 5);
    gate->pace = pace_read(rows, 10, channel_driver_find(db_col_text(rows, 5)), now_ms);
    gate->rule.max[LIMIT_PER_DAY] = pace_ramp(&gate->pace, gate->rule.max[LIMIT_PER_DAY]);
    db_rows_end(rows);
    for (int i = 0; gate->open && i < LIMIT_PER_CONTACT; i++) {
        const struct limit_target target = { gate->tenant_id, order->channel_id, 0,
            (enum limit_scope)i };

        if (gate->rule.max[i] > 0 && limit_load(c->tx, &target, &gate->windows[i], err))
            return -1;
    }
    return 0;
}

/* May a message of that many parts leave by the channel's limits? Otherwise gate->next_ms says
 * when. */
static bool fits(const struct claiming *c, struct gate *gate, int64_t parts)
{
    bool fits_all = true;

    for (int i = 0; i < LIMIT_PER_CONTACT; i++) {
        const struct limit_question wanted = { (enum limit_scope)i, gate->rule.max[i],
            c->claim->now_ms, parts };
        struct limit_answer answer = limit_left(&wanted, &gate->windows[i]);

        if (answer.next_ms == 0)
            continue;
        fits_all = false;
        if (answer.next_ms > gate->next_ms)
            gate->next_ms = answer.next_ms;
    }
    return fits_all;
}

static int wait_until(struct claiming *c, const struct queue_send *send, int64_t until_ms)
{
    c->postponed[c->postponed_count++] = (struct postponed){ send->job_id, until_ms };
    return 0;
}

/* 1: the contact's limits have room, and they were spent; 0: they have not, the job waits; -1. */
static int spend_contact(struct claiming *c, const struct gate *gate, const struct queue_send *send,
                         struct err *err)
{
    struct limit_target target = { send->tenant_id, send->channel_id, send->contact_id,
        LIMIT_PER_CONTACT };
    const struct limit_question wanted = { LIMIT_PER_CONTACT, gate->rule.max[LIMIT_PER_CONTACT],
        c->claim->now_ms, send->parts - send->part };
    const struct pace_question pace = { send->tenant_id, send->channel_id, send->contact_id, send->conversation_id,
        send->message_id, c->claim->now_ms };
    struct limit_window window;
    struct limit_answer answer;
    int64_t next_ms;
    int goes = send->part == 0 && !send->act_id ? pace_ask(c->tx, &gate->pace, &pace, &next_ms, err) : 1;

    if (goes != 1)
        return goes < 0 ? -1 : wait_until(c, send, next_ms);
    if (wanted.max > 0 && send->contact_id) {
        if (limit_load(c->tx, &target, &window, err))
            return -1;
        answer = limit_left(&wanted, &window);
        if (answer.next_ms > 0)
            return wait_until(c, send, answer.next_ms);
        if (limit_store(c->tx, &target, limit_use(wanted.scope, &window, wanted.now_ms, wanted.wanted), err))
            return -1;
    }
    return !send->act_id && pace_spend(c->tx, &gate->pace, &pace, err) ? -1 : 1;
}

/* 1: goes, 0: its contact waits, 2: the channel's limit is reached, -1. */
static int spend(struct claiming *c, struct gate *gate, const struct queue_send *send,
                 struct err *err)
{
    int64_t parts = send->parts - send->part;
    int goes;

    if (send->verdict != QUEUE_SEND)
        return 1;
    if (!fits(c, gate, parts))
        return 2;
    goes = spend_contact(c, gate, send, err);
    if (goes != 1)
        return goes;
    for (int i = 0; i < LIMIT_PER_CONTACT; i++)
        if (gate->rule.max[i] > 0)
            gate->touched[i] = limit_use((enum limit_scope)i, &gate->windows[i], c->claim->now_ms,
                                         parts);
    return 1;
}

/* Write back what was used, and when the channel may send again. */
static int store_gate(struct claiming *c, const struct queue_order *order, struct gate *gate,
                      struct err *err)
{
    int64_t now_ms = c->claim->now_ms;

    for (int i = 0; i < LIMIT_PER_CONTACT; i++) {
        struct limit_target target = { gate->tenant_id, order->channel_id, 0, (enum limit_scope)i };
        if (gate->touched[i] && limit_store(c->tx, &target, gate->touched[i], err))
            return -1;
    }
    fits(c, gate, 1);
    if (order->probes)
        gate->breaker = breaker_probe(&gate->breaker, now_ms);
    return db_exec(c->tx,
                   "UPDATE channels SET next_send_ms = $1, breaker_until_ms = $2 WHERE id = $3",
                   DB_ARGS(db_int(gate->next_ms), db_int(gate->breaker.until_ms),
                           db_int(order->channel_id)), err) < 0
        ? -1 : 0;
}

static int claim_channel(struct claiming *c, const struct queue_order *order, struct err *err)
{
    struct queue_claim *claim = c->claim;
    struct queue_send *heads = arena_array(db_arena(c->tx), (size_t)order->slots, sizeof *heads);
    bool guarded = order->limited || order->probes, used = false;
    struct gate gate = { .open = true };
    size_t count;

    if (guarded && load_gate(c, order, &gate, err) < 0)
        return -1;
    if (!gate.open)
        return 0;
    if (queue_read_heads(c->tx, claim, order, heads, err) < 0)
        return -1;
    count = claim->read;
    for (size_t i = 0; i < count; i++) {
        int goes = spend(c, &gate, &heads[i], err);
        if (goes < 0)
            return -1;
        if (goes == 2) {
            used = true;        /* the channel has to say when it goes on */
            break;
        }
        heads[i].faults = guarded ? gate.breaker.faults : order->faults;
        if (goes == 1)
            claim->sends[claim->count++] = heads[i];
        used |= goes == 1 && (heads[i].verdict == QUEUE_SEND || heads[i].probes);
    }
    return guarded && used ? store_gate(c, order, &gate, err) : 0;
}

/* --- Writing what was claimed ----------------------------------------------------------------- */

static int lease_jobs(struct claiming *c, struct err *err)
{
    enum { COLUMNS = 4 };
    const struct queue_claim *claim = c->claim;
    struct db_value *values = arena_array(db_arena(c->tx), claim->count * COLUMNS, sizeof *values);
    int64_t now_ms = db_now_ms(c->tx, err), lease_ms = claim->offer_ms ? claim->offer_ms : LIMIT_LEASE_MS;

    if (now_ms < 0)
        return -1;
    for (size_t i = 0; i < claim->count; i++) {
        values[i * COLUMNS] = db_int(claim->sends[i].job_id);
        values[i * COLUMNS + 1] = db_int(now_ms + lease_ms);
        values[i * COLUMNS + 2] = db_cstr(claim->node);
        values[i * COLUMNS + 3] = db_id(claim->offer_ms ? claim->now_ms : 0);
    }
    return db_exec_rows(c->tx, &(struct db_set){
        "WITH v(id, lease_until_ms, node, offered_ms) AS (:rows:) UPDATE jobs SET state = 1, attempt = "
        "jobs.attempt + 1, lease_until_ms = v.lease_until_ms, node = v.node, offered_ms = v.offered_ms "
        "FROM v WHERE jobs.id = v.id", "iiti", values, claim->count },
        err) < 0 ? -1 : 0;
}

static int start_act(struct claiming *c, struct queue_send *send, struct err *err)
{
    const struct act_move move = { .id = send->act_id, .at_ms = c->claim->now_ms, .from = MESSAGE_QUEUED,
        .to = MESSAGE_SENDING };
    int moved = act_advance(c->tx, &move, err);

    send->state = MESSAGE_SENDING;
    if (moved == 0)
        send->verdict = QUEUE_GONE;
    return moved < 0 ? -1 : 0;
}

static int start_messages(struct claiming *c, struct err *err)
{
    struct queue_claim *claim = c->claim;
    struct message_move *moves = arena_array(db_arena(c->tx), claim->count, sizeof *moves);
    struct queue_send **started = arena_array(db_arena(c->tx), claim->count, sizeof *started);
    size_t count = 0;

    for (size_t i = 0; i < claim->count; i++) {
        struct queue_send *send = &claim->sends[i];
        if (send->verdict != QUEUE_SEND)
            continue;
        if (send->act_id) {
            if (start_act(c, send, err))
                return -1;
            continue;
        }
        started[count] = send;
        moves[count++] = (struct message_move){ .id = send->message_id,
            .tenant_id = send->tenant_id,
            .conversation_id = send->conversation_id, .channel_id = send->channel_id,
                .direction = MESSAGE_OUT,
            .from = MESSAGE_QUEUED, .change = { .to = MESSAGE_SENDING, .at_ms = claim->now_ms } };
    }
    if (message_set_advance(c->tx, moves, count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        started[i]->state = MESSAGE_SENDING;
        if (!moves[i].moved)
            started[i]->verdict = QUEUE_GONE;   /* somebody stopped it at this very moment */
    }
    return 0;
}

static int start_attempts(struct claiming *c, struct err *err)
{
    enum { COLUMNS = 9 };
    struct queue_claim *claim = c->claim;
    struct db_value *values = arena_array(db_arena(c->tx), claim->count * COLUMNS, sizeof *values);
    size_t n = 0;

    for (size_t i = 0; i < claim->count; i++) {
        struct queue_send *send = &claim->sends[i];
        struct db_value *row = values + n * COLUMNS;
        if (send->verdict != QUEUE_SEND)
            continue;
        send->attempt_id = claim->first_attempt_id + (int64_t)n++;
        row[0] = db_int(send->attempt_id);
        row[1] = db_int(send->tenant_id);
        row[2] = db_int(send->message_id);
        row[3] = db_int(send->channel_id);
        row[4] = db_int(send->attempt);
        row[5] = db_int(send->part);
        row[6] = db_int(ATTEMPT_STARTED);
        row[7] = db_int(claim->now_ms);
        row[8] = db_id(send->act_id);
    }
    return n == 0 ? 0 : db_exec_rows(c->tx, &(struct db_set){
        "INSERT INTO attempts (id, tenant_id, message_id, channel_id, attempt, part, outcome, "
        "started_ms, act_id) :rows:",
        "iiiiiiiii", values, n }, err) < 0 ? -1 : 0;
}

static int postpone(struct claiming *c, struct err *err)
{
    struct db_value *values = arena_array(db_arena(c->tx), c->postponed_count * 2, sizeof *values);

    for (size_t i = 0; i < c->postponed_count; i++) {
        values[2 * i] = db_int(c->postponed[i].job_id);
        values[2 * i + 1] = db_int(c->postponed[i].due_ms);
    }
    return c->postponed_count == 0 ? 0 : db_exec_rows(c->tx, &(struct db_set){
        "WITH v(id, due_ms) AS (:rows:) UPDATE jobs SET state = 2, due_ms = v.due_ms FROM v WHERE "
        "jobs.id = v.id",
        "ii", values, c->postponed_count }, err) < 0 ? -1 : 0;
}

static size_t slots_of(const struct queue_claim *claim)
{
    size_t slots = 0;

    for (size_t i = 0; i < claim->order_count; i++)
        slots += (size_t)claim->orders[i].slots;
    return slots;
}

int queue_claim_in(struct db_session *tx, struct queue_claim *claim, struct err *err)
{
    size_t slots = slots_of(claim);
    struct claiming c = { .tx = tx, .claim = claim };

    claim->count = 0;
    if (slots == 0)
        return 0;
    claim->sends = arena_array(claim->arena, slots, sizeof *claim->sends);
    c.postponed = arena_array(db_arena(tx), slots, sizeof *c.postponed);
    for (size_t i = 0; i < claim->order_count; i++)
        if (claim->orders[i].slots > 0 && claim_channel(&c, &claim->orders[i], err))
            return -1;
    if (postpone(&c, err))
        return -1;
    if (claim->count == 0)
        return 0;
    if (lease_jobs(&c, err) || start_messages(&c, err))
        return -1;
    return start_attempts(&c, err);
}

static int run_claims(struct db_session *tx, struct db_write_item **items, size_t count,
                      struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (queue_claim_in(tx, (struct queue_claim *)items[i], err))
            return -1;
    return 0;
}

const struct db_kind queue_claim_kind = { "claim", 30, run_claims };

int queue_claim(struct hub *hub, struct queue_claim *claim, struct err *err)
{
    size_t slots = slots_of(claim);

    claim->count = 0;
    if (slots == 0)
        return 0;
    claim->first_attempt_id = ids_take(hub->ids, slots, err);
    if (claim->first_attempt_id < 0)
        return -1;
    claim->now_ms = clock_ms();
    claim->node = hub->node;
    claim->item.kind = &queue_claim_kind;
    return db_submit_wait(hub->db, &claim->item, err);
}
