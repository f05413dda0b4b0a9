#include "core/decide_burst.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "core/conversation.h"
#include "core/event.h"

#include <stdlib.h>

#define FAILED_TAG "agent-failed"

/* --- Is it still so? -------------------------------------------------------------------------- */

/* Conversations come first in the order of locks, and no message can be added while their rows are
 * held. */
static int lock_bursts(struct db_session *tx, struct burst **bursts, size_t count, struct err *err)
{
    int64_t *lanes = arena_array(db_arena(tx), count, sizeof *lanes);

    for (size_t i = 0; i < count; i++)
        lanes[i] = bursts[i]->job.lane;
    return queue_lock_lanes(tx, lanes, count, err);
}

/* 1 nothing has changed since it was loaded; 0 newer messages or a person overtook it, or another
 * worker has it. */
static int is_current(struct db_session *tx, const struct burst *burst, bool *superseded,
                      struct err *err)
{
    struct db_rows *rows = db_query(tx,
        "SELECT j.attempt, j.state, c.last_position, c.paused_until_ms FROM jobs j JOIN "
        "conversations c ON c.id = j.lane WHERE j.id = $1", DB_ARGS(db_int(burst->job.id)), err);
    int found = rows ? db_next(rows, err) : -1;

    *superseded = false;
    if (found != 1)
        return found;
    bool mine = db_col_int(rows, 0) == burst->job.attempt &&
                db_col_int(rows, 1) == (burst->leased ? JOB_RUNNING : JOB_READY);
    *superseded = mine && (db_col_int(rows, 2) != burst->last_position ||
                           db_col_int(rows, 3) != burst->paused_until_ms);
    db_rows_end(rows);
    return mine && !*superseded;
}

/* --- What follows from it --------------------------------------------------------------------- */

static int insert_decision(struct db_session *tx, const struct burst *burst, int64_t now_ms,
                           struct str trace,
                           struct err *err)
{
    const struct plan *plan = &burst->plan;

    return db_exec(tx,
        "INSERT INTO decisions (id, tenant_id, conversation_id, message_id, messages, action, "
        "reason, rule_id, agent, reply_id, trace, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, "
        "$8, $9, $10, $11, $12)",
        DB_ARGS(db_int(plan->decision_id), db_int(burst->job.tenant_id),
                db_int(burst->job.conversation_id),
                db_int(burst->messages[burst->count - 1].id), db_int((int64_t)burst->count),
                    db_int(plan->action),
                db_text(plan->reason), db_id(plan->rule_id), db_cstr(plan->agent),
                    db_id(plan->reply_id), db_text(trace),
                db_int(now_ms)), err) == 1 ? 0 : -1;
}

static void announce(struct db_session *tx, const struct burst *burst, int64_t now_ms)
{
    const char *data = arena_printf(db_arena(tx), "{\"action\":\"%s\"}",
                                    decision_action_words[burst->plan.action]);

    event_add(tx, &(struct event){ .tenant_id = burst->job.tenant_id, .kind = "decision.made",
        .object_id = burst->plan.decision_id, .conversation_id = burst->job.conversation_id,
            .at_ms = now_ms,
        .data = str_c(data) });
}

static int move_messages(struct db_session *tx, const struct burst *burst, enum message_state to,
                         int64_t decision_id,
                         struct err *err)
{
    struct message_move *moves = arena_array(db_arena(tx), burst->count, sizeof *moves);
    int64_t now_ms = clock_ms();
    size_t n = 0;

    for (size_t i = 0; i < burst->count; i++) {
        const struct burst_message *message = &burst->messages[i];
        if (message->state != to)
            moves[n++] = (struct message_move){ .id = message->id,
                .tenant_id = burst->job.tenant_id,
                .conversation_id = burst->job.conversation_id, .channel_id = burst->job.channel_id,
                .direction = MESSAGE_IN, .from = (enum message_state)message->state,
                    .decision_id = decision_id,
                .change = { .to = to, .at_ms = now_ms } };
    }
    return message_set_advance(tx, moves, n, err);
}

static int add_tag(struct db_session *tx, const struct burst *burst, struct str tag,
                   struct err *err)
{
    for (size_t i = 0; i < burst->count; i++)
        if (db_exec(tx,
                    "INSERT INTO message_tags (message_id, tag, tenant_id) VALUES ($1, $2, $3) ON "
                    "CONFLICT DO NOTHING",
                    DB_ARGS(db_int(burst->messages[i].id), db_text(tag),
                            db_int(burst->job.tenant_id)), err) < 0)
            return -1;
    return 0;
}

static int mark_messages(struct db_session *tx, const struct burst *burst, struct err *err)
{
    const struct rule_effects *effects = &burst->effects;

    for (size_t i = 0; i < effects->tag_count; i++)
        if (add_tag(tx, burst, effects->tags[i], err))
            return -1;
    if (burst->plan.agent_failed && add_tag(tx, burst, STR(FAILED_TAG), err))
        return -1;
    for (size_t i = 0; i < burst->count && effects->priority >= 0; i++)
        if (db_exec(tx, "UPDATE messages SET priority = $1 WHERE id = $2",
                    DB_ARGS(db_int(effects->priority), db_int(burst->messages[i].id)), err) < 0)
            return -1;
    return 0;
}

static int add_webhooks(struct db_session *tx, const struct burst *burst, int64_t now_ms,
                        struct err *err)
{
    const struct plan *plan = &burst->plan;

    for (size_t i = 0; i < plan->webhook_count; i++) {
        struct buf data;
        buf_init(&data, 8 * 1024);
        struct json_writer w = json_writer(&data);
        json_object_begin(&w);
        json_text_at(&w, "url", plan->webhooks[i].url);
        json_int_at(&w, "rule_id", plan->webhooks[i].rule_id);
        json_int_at(&w, "hops", plan->hops + 1);
        json_object_end(&w);
        int64_t added = db_exec(tx,
            "INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, "
            "channel_id, conversation_id, message_id, first_ms, data, created_ms) VALUES ($1, $2, "
            "3, 0, $3, $4, 0, $5, $6, $7, $8, $9, $10, $11, $12)",
            DB_ARGS(db_int(plan->first_webhook_id + (int64_t)i), db_int(burst->job.tenant_id),
                    db_int(burst->job.lane),
                    db_int(burst->messages[burst->count - 1].position), db_int(now_ms),
                        db_int(now_ms),
                    db_int(burst->job.channel_id), db_int(burst->job.conversation_id),
                    db_int(burst->messages[burst->count - 1].id), db_int(now_ms),
                        db_text(buf_slice(&data)),
                    db_int(now_ms)), err);
        buf_fini(&data);
        if (added != 1)
            return -1;
    }
    return plan->webhook_count == 0 ? 0 : queue_promote(tx, JOB_WEBHOOK, &burst->job.lane, 1, err);
}

/* The confirmation was stored before, so that it is not held back by what it confirms. */
static int write_optout(struct db_session *tx, const struct burst *burst, int64_t now_ms,
                        struct err *err)
{
    const struct burst_message *last = &burst->messages[burst->count - 1];
    const struct consent consent = { .tenant_id = burst->job.tenant_id, .contact_id = burst->contact_id,
        .conversation_id = burst->job.conversation_id, .at_ms = now_ms, .by = CONSENT_WORD,
        .opted_out = burst->plan.optout == OPTOUT_STOP, .reason = last->text };

    if (burst->plan.optout != OPTOUT_STOP && burst->plan.optout != OPTOUT_START)
        return 0;
    return consent_note(tx, &consent, err) < 0 ? -1 : 0;
}

/* After a quiet hour the count of answers by machines starts anew; outbox_add counts. */
static int restart_turns(struct db_session *tx, const struct burst *burst, struct err *err)
{
    if (burst->auto_turns < LIMIT_AUTO_TURNS)
        return 0;
    return db_exec(tx, "UPDATE conversations SET auto_turns = 0 WHERE id = $1 AND auto_turns >= $2",
                   DB_ARGS(db_int(burst->job.conversation_id), db_int(LIMIT_AUTO_TURNS)), err) < 0
                       ? -1 : 0;
}

static int write_conversation(struct db_session *tx, const struct burst *burst, struct err *err)
{
    struct conversation of = { .id = burst->job.conversation_id,
        .tenant_id = burst->job.tenant_id };
    const struct plan *plan = &burst->plan;

    if (burst->effects.assign.data && !str_eq(burst->effects.assign, burst->assigned_to) &&
        conversation_assign(tx, &of, burst->effects.assign, err) < 0)
        return -1;
    return plan->waits && conversation_set_state(tx, &of, CONVERSATION_WAITING, err) < 0 ? -1 : 0;
}

static int count_hits(struct db_session *tx, const struct burst *burst, struct err *err)
{
    for (size_t i = 0; i < burst->effects.hit_count; i++)
        if (db_exec(tx, "UPDATE rules SET hits = hits + 1 WHERE id = $1",
                    DB_ARGS(db_int(burst->effects.hits[i]->id)), err) < 0)
            return -1;
    return 0;
}

static int end_job(struct db_session *tx, const struct burst *burst, int64_t now_ms,
                   struct err *err)
{
    int64_t kept;

    if (!burst->more)
        return queue_remove(tx, &burst->job, err) == 1 ? 0 : -1;
    kept = db_exec(tx,
                   "UPDATE jobs SET state = 0, lane_seq = $1, due_ms = $2, rank_ms = $3, failures "
                   "= 0, "
                       "lease_until_ms = NULL WHERE id = $4",
                   DB_ARGS(db_int(burst->messages[burst->count - 1].position + 1), db_int(now_ms),
                           db_int(now_ms),
                           db_int(burst->job.id)), err);
    return kept == 1 ? 0 : -1;
}

static int write_one(struct db_session *tx, struct burst *burst, struct err *err)
{
    int64_t now_ms = clock_ms();

    if (insert_decision(tx, burst, now_ms, burst->plan.trace, err) ||
        move_messages(tx, burst, MESSAGE_PROCESSED, burst->plan.decision_id, err) ||
            mark_messages(tx, burst, err) ||
        (burst->plan.reply_id && burst->plan.optout == OPTOUT_NONE &&
         restart_turns(tx, burst, err)))
        return -1;
    for (size_t i = 0; i < burst->plan.write_count; i++)
        if (outbox_add(tx, burst->plan.writes[i], err))
            return -1;
    if (write_optout(tx, burst, now_ms, err) || add_webhooks(tx, burst, now_ms, err) ||
        write_conversation(tx, burst, err) || count_hits(tx, burst, err) ||
            end_job(tx, burst, now_ms, err))
        return -1;
    announce(tx, burst, now_ms);
    burst->written = true;
    return 0;
}

/* An agent's answer to what is no longer the whole story is dropped; the conversation is decided
 * anew, at once. */
static int drop(struct db_session *tx, struct burst *burst, struct err *err)
{
    burst->superseded = true;
    return burst->leased && queue_again(tx, &burst->job, clock_ms(), STR("superseded"), err) < 0
        ? -1 : 0;
}

int decide_write(struct db_session *tx, struct burst **bursts, size_t count, struct err *err)
{
    if (lock_bursts(tx, bursts, count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        bool superseded;
        int current = is_current(tx, bursts[i], &superseded, err);
        bursts[i]->written = bursts[i]->superseded = false;
        if (current < 0 || (current == 1 && write_one(tx, bursts[i], err)) ||
            (superseded && drop(tx, bursts[i], err)))
            return -1;
    }
    return 0;
}

int decide_lease(struct db_session *tx, struct burst *burst, struct err *err)
{
    int64_t attempt = burst->job.attempt;
    bool superseded;
    int current, taken;

    burst->leased = false;
    if (lock_bursts(tx, &burst, 1, err))
        return -1;
    current = is_current(tx, burst, &superseded, err);
    if (current != 1)
        return current;
    taken = queue_take(tx, &burst->job, burst->hub->node, err);
    if (taken != 1)
        return taken;
    /* This may be run again: what the commit makes true is set after it. */
    burst->leased_attempt = burst->job.attempt;
    burst->job.attempt = attempt;
    return move_messages(tx, burst, MESSAGE_PROCESSING, 0, err) ? -1 : 1;
}
