#include "core/decide.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "core/decide_burst.h"
#include "core/worker_inside.h"
#include "net/pool.h"

#include <stdlib.h>

#define BATCH 32
/* What is accepted meanwhile waits for the commit of a batch, so a batch is short: no further conversation joins it
 * when it covers so many messages. */
#define BATCH_MESSAGES 64
#define AGENT_MS 120000             /* the whole answer of an agent (RELIABILITY F21) */

const char *const decision_action_words[] = { "auto_reply", "follow_up", "human_takeover",
    "opt_out", "opt_in", "help",
                                              "ignored", NULL };

#define AT(member) offsetof(struct decision, member)
const struct column decision_columns[] = {
    { "id", COL_REF, AT(id), COL_PUBLIC, ID_DECISION, NULL, NULL },
    { "tenant_id", COL_INT, AT(tenant_id), 0, NULL, NULL, NULL },
    { "conversation_id", COL_REF, AT(conversation_id), COL_PUBLIC, ID_CONVERSATION, NULL, NULL },
    { "message_id", COL_REF, AT(message_id), COL_PUBLIC, ID_MESSAGE, NULL, NULL },
    { "messages", COL_INT, AT(messages), COL_PUBLIC, NULL, NULL, NULL },
    { "action", COL_ENUM, AT(action), COL_PUBLIC, NULL, decision_action_words, NULL },
    { "reason", COL_TEXT, AT(reason), COL_PUBLIC, NULL, NULL, NULL },
    { "rule_id", COL_REF, AT(rule_id), COL_PUBLIC, ID_RULE, NULL, NULL },
    { "agent", COL_TEXT, AT(agent), COL_PUBLIC, NULL, NULL, NULL },
    { "reply_id", COL_REF, AT(reply_id), COL_PUBLIC, ID_MESSAGE, NULL, NULL },
    { "trace", COL_JSON, AT(trace), COL_PUBLIC, NULL, NULL, NULL },
    { "created_ms", COL_TIME, AT(created_ms), COL_PUBLIC, NULL, NULL, "created_at" },
    { 0 }
};

/* --- Bursts ----------------------------------------------------------------------------------- */

static struct burst *burst_new(struct decider *decider, const struct job *job)
{
    struct arena *arena = arena_new(8 * 1024);
    struct burst *burst = arena_alloc(arena, sizeof *burst);

    *burst = (struct burst){ .arena = arena, .decider = decider, .hub = decider->hub, .job = *job };
    return burst;
}

static void burst_free(struct burst *burst)
{
    if (!burst)
        return;
    buf_fini(&burst->trace.json);
    arena_free(burst->arena);
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* What one transaction writes; with a sender behind it, it also claims what it has just queued. */
struct writing {
    struct burst **bursts;
    size_t count;
    struct queue_claim *claim;      /* NULL: none */
};

static int write_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct writing *writing = arg;

    if (decide_write(tx, writing->bursts, writing->count, err))
        return -1;
    return writing->claim ? queue_claim_in(tx, writing->claim, err) : 0;
}

/* The channels on which something will be queued for now, each with as many slots as the sender has
 * left for it. */
static size_t reserve(struct decider *decider, struct burst **bursts, size_t count,
                      struct queue_order *orders)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        int64_t channel_id = bursts[i]->job.channel_id;
        size_t at = 0;
        /* A probe through a breaker is left to the claim proper. */
        if (!bursts[i]->plan.reply_id || !bursts[i]->can_send || bursts[i]->ready.open_ms ||
            bursts[i]->ready.probes)
            continue;
        while (at < n && orders[at].channel_id != channel_id)
            at++;
        if (at == n)
            orders[n++] = (struct queue_order){ .channel_id = channel_id,
                .limited = bursts[i]->ready.limited, .faults = bursts[i]->ready.faults };
        orders[at].slots += sender_reserve(decider->sender, &bursts[i]->ready);
    }
    return n;
}

static int write_and_claim(struct decider *decider, struct writing *writing, struct err *err)
{
    struct queue_order orders[BATCH];
    struct queue_claim claim = { .orders = orders, .node = decider->hub->node,
        .now_ms = clock_ms() };
    size_t slots = 0;
    int failed = 0;

    claim.order_count = reserve(decider, writing->bursts, writing->count, orders);
    claim.arena = arena_new(0);
    for (size_t i = 0; i < claim.order_count; i++)
        slots += (size_t)orders[i].slots;
    if (slots > 0) {
        claim.first_attempt_id = ids_take(decider->hub->ids, slots, err);
        failed = claim.first_attempt_id < 0 ? -1 : 0;
        writing->claim = &claim;
    }
    if (!failed)
        failed = db_write_sure(decider->hub->db, write_tx, writing, err);
    if (failed)
        claim.count = 0;
    sender_start(decider->sender, &claim);
    arena_free(claim.arena);
    return failed;
}

static int write_bursts(struct decider *decider, struct burst **bursts, size_t count,
                        struct err *err)
{
    struct writing writing = { .bursts = bursts, .count = count };

    for (size_t i = 0; i < count; i++)
        bursts[i]->plan.trace = trace_json(bursts[i]);
    if (count == 0)
        return 0;
    return decider->sender ? write_and_claim(decider, &writing, err)
                           : db_write_sure(decider->hub->db, write_tx, &writing, err);
}

/* --- What cannot be decided ------------------------------------------------------------------- */

struct failing {
    struct burst *burst;
    int64_t due_ms;
    bool held;
    struct str error;
};

/* Try this conversation again later; only it waits. Held for good when even giving up cannot be
 * stored. */
static int fail_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct failing *failing = arg;
    struct job job = failing->burst->job;
    int64_t changed;

    if (queue_lock_lanes(tx, &job.lane, 1, err))
        return -1;
    job.failures++;
    if (failing->held)
        changed = db_exec(tx,
                          "UPDATE jobs SET state = 3, head = 0, last_error = $1, lease_until_ms = "
                          "NULL WHERE id = $2 "
                              "AND attempt = $3",
                                  DB_ARGS(db_text(failing->error), db_int(job.id),
                                          db_int(job.attempt)), err);
    else if (failing->burst->leased)
        changed = queue_again(tx, &job, failing->due_ms, failing->error, err);
    else
        changed = db_exec(tx,
                          "UPDATE jobs SET failures = $1, due_ms = $2, rank_ms = $3, last_error = "
                          "$4 WHERE id = $5 "
                              "AND attempt = $6 AND state = 0",
                          DB_ARGS(db_int(job.failures), db_int(failing->due_ms),
                                  db_int(failing->due_ms),
                                  db_text(failing->error), db_int(job.id), db_int(job.attempt)),
                                      err);
    if (changed < 0)
        return -1;
    return failing->held ? queue_promote(tx, JOB_DECIDE, &job.lane, 1, err) : 0;
}

static bool is_transient(const struct err *err)
{
    return err->code == ERR_UNAVAILABLE || err->code == ERR_STORAGE_FULL ||
        err->code == ERR_TIMEOUT;
}

/* One conversation went wrong with `why`: later again, or to a person when that has happened too
 * often. */
static int give_up_or_wait(struct burst *burst, const char *what, struct err why, struct err *err)
{
    struct failing failing = { .burst = burst, .error = str_c(why.detail) };
    uint32_t roll;
    bool last = burst->job.failures + 1 >= LIMIT_DECIDE_ATTEMPTS;

    id_random(&roll, sizeof roll);
    failing.due_ms = clock_ms() + retry_backoff_ms(burst->job.failures + 1, roll);
    if (last && burst->count > 0) {
        decide_plan_failed(burst, what, &why);
        if (write_bursts(burst->decider, &burst, 1, err) == 0 &&
            (burst->written || burst->superseded))
            return 0;
        failing.held = true;
    }
    if (is_transient(&why) && !last)
        /* a storage that is away says nothing about this conversation */
        failing.burst->job.failures--;
    return db_write(burst->hub->db, fail_tx, &failing, err);
}

/* --- Agents ----------------------------------------------------------------------------------- */

static int ask(struct burst *burst, const struct agent_driver *driver, struct agent_output *output,
               enum agent_outcome *outcome, struct err *err)
{
    unsigned char hash[SIGN_HASH_BYTES];
    struct agent_input input = { .arena = burst->arena, .text = burst->text,
        .timeout_ms = AGENT_MS };
    const char *who = arena_printf(burst->arena, "contact:%lld", (long long)burst->contact_id);

    if (!driver)
        return err_set(err, ERR_NOT_FOUND, "There is no agent \"%.*s\".", STR_FMT(burst->agent));
    sign_hmac_sha256((struct str){ (const char *)burst->hub->seal_key, SIGN_KEY_BYTES }, str_c(who),
                     hash);
    input.contact = sign_hex(burst->arena, hash, 8);
    field_begin(burst->arena, driver->settings, &input.settings);
    if (field_finish(burst->arena, &input.settings, err))
        return -1;
    *outcome = driver->answer(&input, burst->hub->exchange, output, err);
    if (*outcome == AGENT_FAILED)
        return -1;
    output->text = output->text.data ? str_nfc(burst->arena, output->text) : output->text;
    output->reason = output->reason.data ? str_nfc(burst->arena, output->reason) : output->reason;
    if (*outcome == AGENT_ANSWERED && str_trim(output->text).len == 0)
        *outcome = AGENT_SILENT;
    return 0;
}

/* Ask, then write what it said; the lease is held all the while. */
static int run_agent(struct burst *burst, struct err *err)
{
    struct agent_output output = { 0 };
    struct err why = { 0 };
    enum agent_outcome outcome = AGENT_FAILED;

    if (ask(burst, agent_driver_find(burst->agent), &output, &outcome, &why)) {
        why.code = ERR_INTERNAL;    /* whatever it was, it was not the storage: it counts */
        return give_up_or_wait(burst, "The agent failed", why, err);
    }
    if (decide_plan_answer(burst, outcome, &output, &why) ||
        write_bursts(burst->decider, &burst, 1, &why))
        return give_up_or_wait(burst, "The agent's answer could not be stored", why, err);
    return 0;
}

/* The worker stops before the agent was asked: the next one asks it. */
static int give_back(struct burst *burst, struct err *err)
{
    struct failing failing = { .burst = burst, .due_ms = clock_ms(), .error = STR("released") };

    burst->job.failures--;          /* what has not begun did not fail */
    return db_write(burst->hub->db, fail_tx, &failing, err);
}

static void run_agent_work(void *arg)
{
    struct burst *burst = arg;
    struct err err = { 0 };
    bool stopping = worker_is_stopping(burst->decider->sender);

    if (stopping ? give_back(burst, &err) : run_agent(burst, &err))
        log_error("a decision was not stored; its lease runs out", LOG_T("detail", err.detail));
    worker_release(burst->decider->sender, burst->job.id);
    burst_free(burst);
}

static int lease_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct burst *burst = arg;
    int taken = decide_lease(tx, burst, err);

    burst->leased_attempt = taken == 1 ? burst->leased_attempt : 0;
    return taken < 0 ? -1 : 0;
}

/* Lease it and have its agent asked. Takes the burst over when it succeeds. 1 asked, 0 overtaken,
 * -1. */
static int start_agent(struct burst *burst, struct err *err)
{
    struct decider *decider = burst->decider;

    if (db_write(decider->hub->db, lease_tx, burst, err))
        return -1;
    if (burst->leased_attempt == 0)
        return 0;
    burst->job.attempt = burst->leased_attempt;
    burst->leased = true;
    for (size_t i = 0; i < burst->count; i++)
        burst->messages[i].state = MESSAGE_PROCESSING;
    worker_hold(decider->sender, burst->job.id, burst->job.attempt);
    if (!decider->agents || !pool_add(decider->agents, run_agent_work, burst))
        run_agent_work(burst);
    return 1;
}

/* --- The step --------------------------------------------------------------------------------- */

/* A job without messages left: they were deleted, or decided on by another node. */
static int remove_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct job *job = arg;

    if (queue_lock_lanes(tx, &job->lane, 1, err))
        return -1;
    return queue_remove(tx, job, err) < 0 ? -1 : 0;
}

struct batch {
    struct burst *bursts[BATCH];
    size_t count;
    struct burst *asking[BATCH];
    size_t asking_count;
    size_t messages;
    int handled;
};

enum taken { TAKEN_FAILED = -1, TAKEN_EMPTY, TAKEN_PLANNED, TAKEN_ASKS };

static enum taken load_and_plan(struct burst *burst, struct err *err)
{
    struct db_session *session = db_read(burst->hub->db, burst->job.tenant_id, err);
    struct rule_list rules;
    int found = session ? decide_load(burst, session, err) : -1, asks;

    if (found == 1 && rule_load(session, burst->arena, burst->job.tenant_id, &rules, err))
        found = -1;
    if (session)
        db_read_end(session);
    if (found != 1)
        return found < 0 ? TAKEN_FAILED : TAKEN_EMPTY;
    asks = decide_plan(burst, &rules, err);
    return asks < 0 ? TAKEN_FAILED : asks ? TAKEN_ASKS : TAKEN_PLANNED;
}

/* Take one up: it joins those to be written or those whose agent is asked, or it is done with. */
static int take_up(struct decider *decider, struct batch *batch, const struct job *job,
                   struct err *err)
{
    struct burst *burst = burst_new(decider, job);
    struct err why = { 0 };
    int failed = 0;

    switch (load_and_plan(burst, &why)) {
    case TAKEN_PLANNED:
        batch->bursts[batch->count++] = burst;
        batch->messages += burst->count;
        return 0;
    case TAKEN_ASKS:
        batch->asking[batch->asking_count++] = burst;
        return 0;
    case TAKEN_EMPTY:
        failed = db_write(decider->hub->db, remove_tx, &burst->job, err);
        break;
    case TAKEN_FAILED:
        batch->handled++;
        failed = give_up_or_wait(burst, "The conversation could not be decided", why, err);
        break;
    }
    burst_free(burst);
    return failed;
}

/* All in one commit; when that fails for a reason of their own, one by one, so that only the bad
 * one waits. */
static int write_batch(struct decider *decider, struct batch *batch, struct err *err)
{
    struct err why = { 0 };
    int failed = write_bursts(decider, batch->bursts, batch->count, &why);

    if (failed && is_transient(&why)) {
        *err = why;
        return -1;
    }
    for (size_t i = 0; i < batch->count && failed; i++) {
        struct err one = { 0 };
        if (write_bursts(decider, &batch->bursts[i], 1, &one) == 0)
            continue;
        if (give_up_or_wait(batch->bursts[i], "The decision could not be stored", one, err))
            return -1;
    }
    batch->handled += (int)batch->count;
    return 0;
}

static int start_agents(struct batch *batch, struct err *err)
{
    int failed = 0;

    for (size_t i = 0; i < batch->asking_count; i++) {
        int asked = failed ? 0 : start_agent(batch->asking[i], err);
        failed |= asked < 0;
        if (asked == 1)
            batch->handled++;
        else
            burst_free(batch->asking[i]);
    }
    return failed ? -1 : 0;
}

static int read_due(struct decider *decider, struct arena *arena, struct queue_due *due,
                    int64_t *next_ms, struct err *err)
{
    struct db_session *session = db_read(decider->hub->db, 0, err);
    int failed;

    if (!session)
        return -1;
    failed = queue_due(session, arena, due, err);
    db_read_end(session);
    if (!failed && due->next_ms < *next_ms)
        *next_ms = due->next_ms;
    return failed;
}

int decide_step(struct decider *decider, int64_t *next_ms, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct queue_due due = { .kind = JOB_DECIDE, .limit = BATCH, .next_ms = INT64_MAX };
    struct batch batch = { 0 };
    int failed = read_due(decider, arena, &due, next_ms, err);

    for (size_t i = 0; i < due.count && batch.messages < BATCH_MESSAGES && !failed; i++)
        failed = take_up(decider, &batch, &due.jobs[i], err);
    if (!failed)
        failed = write_batch(decider, &batch, err);
    for (size_t i = 0; i < batch.count; i++)
        burst_free(batch.bursts[i]);
    if (failed)
        for (size_t i = 0; i < batch.asking_count; i++)
            burst_free(batch.asking[i]);
    else
        failed = start_agents(&batch, err);
    arena_free(arena);
    return failed ? -1 : batch.handled;
}
