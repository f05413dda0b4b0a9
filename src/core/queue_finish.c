#include "core/queue.h"

#include "base/arena.h"
#include "base/id.h"
#include "core/act.h"
#include "core/audit.h"
#include "core/breaker.h"
#include "core/channel.h"
#include "core/consent.h"
#include "core/contact_merge.h"
#include "core/inbox_receipt.h"
#include "core/message_set.h"
#include "core/queue_lane.h"

#include <stdlib.h>
#include <string.h>

/* One group of finishes on its way through the statements. */
struct group {
    struct db_session *tx;
    struct queue_finish **items;    /* those that still hold their lease, after fence() */
    size_t count;
    int64_t lease_until_ms;         /* of those that go on with another part */
};

static bool leaves_lane(const struct queue_finish *finish)
{
    return finish->end == QUEUE_REMOVE || finish->end == QUEUE_HOLD || finish->end == QUEUE_LEAVE;
}

/* Whoever does not go on at once may leave the lane after all (drop_settled). */
static bool may_leave_lane(const struct queue_finish *finish)
{
    return finish->end != QUEUE_NEXT_PART;
}

static size_t lanes_left(const struct group *group, int64_t *lanes)
{
    size_t count = 0;

    for (size_t i = 0; i < group->count; i++)
        if (may_leave_lane(group->items[i]))
            lanes[count++] = group->items[i]->lane;
    return count;
}

/* The conversation's row guards its lane: whoever adds a job holds it too, so none is added
 * unseen. */
static int lock_lanes(const struct group *group, struct err *err)
{
    int64_t *lanes = arena_array(db_arena(group->tx), group->count, sizeof *lanes);

    return queue_lock_lanes(group->tx, lanes, lanes_left(group, lanes), err);
}

/* --- The job, if the lease still stands ------------------------------------------------------- */

static int by_job(const void *a, const void *b)
{
    const struct queue_finish *left = *(struct queue_finish *const *)a,
        *right = *(struct queue_finish *const *)b;

    return (left->send->job_id > right->send->job_id) - (left->send->job_id < right->send->job_id);
}

static void mark_done(struct group *group, int64_t job_id, int64_t lane)
{
    struct queue_send send = { .job_id = job_id };
    struct queue_finish key = { .send = &send }, *wanted = &key;
    struct queue_finish **found = bsearch(&wanted, group->items, group->count, sizeof *group->items,
                                          by_job);

    if (found) {
        (*found)->done = true;
        (*found)->lane = lane;
    }
}

static int mark_returned(struct group *group, struct db_rows *rows, struct err *err)
{
    int more;

    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1)
        mark_done(group, db_col_int(rows, 0), db_col_int(rows, 1));
    return more;
}

static int64_t stale(const struct queue_finish *finish)
{
    return finish->stale_ms > 0 ? finish->stale_ms : INT64_MAX;
}

static int remove_jobs(struct group *group, struct err *err)
{
    struct db_value *values = arena_array(db_arena(group->tx), group->count * 3, sizeof *values);
    size_t n = 0;

    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        if (finish->end != QUEUE_REMOVE)
            continue;
        values[n * 3] = db_int(finish->send->job_id);
        values[n * 3 + 1] = db_int(finish->send->attempt);
        values[n * 3 + 2] = db_int(stale(finish));
        n++;
    }
    return n == 0 ? 0 : mark_returned(group, db_query_rows(group->tx, &(struct db_set){
        "WITH v(job_id, attempt, stale_ms) AS (:rows:) DELETE FROM jobs WHERE id IN (SELECT "
        "v.job_id FROM v) AND state = 1 AND EXISTS (SELECT 1 FROM v WHERE v.job_id = jobs.id AND "
        "v.attempt = jobs.attempt "
        "AND v.stale_ms > jobs.lease_until_ms) RETURNING id, lane", "iii", values, n }, err), err);
}

static int keep_jobs(struct group *group, struct err *err)
{
    enum { COLUMNS = 10 };
    struct db_value *values = arena_array(db_arena(group->tx), group->count * COLUMNS,
                                          sizeof *values);
    static const int states[] = { [QUEUE_AGAIN] = JOB_WAITING, [QUEUE_RELEASE] = JOB_READY,
        [QUEUE_LEAVE] = JOB_WAITING,
        [QUEUE_HOLD] = JOB_HELD, [QUEUE_NEXT_PART] = JOB_RUNNING };
    size_t n = 0;

    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        struct db_value *row = values + n * COLUMNS;
        if (finish->end == QUEUE_REMOVE)
            continue;
        row[0] = db_int(finish->send->job_id);
        row[1] = db_int(finish->send->attempt);
        row[2] = db_int(stale(finish));
        row[3] = db_int(states[finish->end]);
        row[4] = db_int(!leaves_lane(finish));
        row[5] = db_int(finish->due_ms);
        row[6] = db_int(finish->failures);
        row[7] = db_int(finish->send->part + finish->part_done);
        row[8] = db_id(finish->end == QUEUE_NEXT_PART ? group->lease_until_ms : 0);
        row[9] = db_text(finish->tried.code);
        n++;
    }
    return n == 0 ? 0 : mark_returned(group, db_query_rows(group->tx, &(struct db_set){
        "WITH v(job_id, attempt, stale_ms, state, head, due_ms, failures, part, lease_until_ms, "
        "last_error) AS (:rows:) UPDATE jobs SET state = v.state, head = v.head * jobs.head, due_ms = "
        "v.due_ms, failures = v.failures, part = v.part, lease_until_ms = v.lease_until_ms, "
        "last_error = v.last_error, offered_ms = NULL FROM v WHERE jobs.id = v.job_id AND jobs.attempt = v.attempt "
        "AND jobs.state = 1 AND v.stale_ms > jobs.lease_until_ms RETURNING jobs.id, jobs.lane",
        "iiiiiiiiit", values, n }, err), err);
}

static int renew_leases(struct group *group, struct err *err)
{
    bool any = false;
    int64_t now_ms;

    for (size_t i = 0; i < group->count; i++)
        any |= group->items[i]->end == QUEUE_NEXT_PART;
    now_ms = any ? db_now_ms(group->tx, err) : 0;
    group->lease_until_ms = now_ms + LIMIT_LEASE_MS;
    return now_ms < 0 ? -1 : 0;
}

/* Write the jobs; drop the items whose lease was lost: their worker was taken for dead, another one
 * has the job. */
static int fence(struct group *group, struct err *err)
{
    size_t n = 0;

    for (size_t i = 0; i < group->count; i++)
        group->items[i]->done = false;
    qsort(group->items, group->count, sizeof *group->items, by_job);
    if (renew_leases(group, err) || remove_jobs(group, err) || keep_jobs(group, err))
        return -1;
    for (size_t i = 0; i < group->count; i++)
        if (group->items[i]->done)
            group->items[n++] = group->items[i];
    group->count = n;
    return 0;
}

/* --- Attempts and messages -------------------------------------------------------------------- */

static int end_attempts(const struct group *group, struct err *err)
{
    enum { COLUMNS = 6 };
    struct db_value *values = arena_array(db_arena(group->tx), group->count * COLUMNS,
                                          sizeof *values);
    size_t n = 0;

    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        struct db_value *row = values + n * COLUMNS;
        if (!finish->send->attempt_id || finish->tried.outcome == ATTEMPT_STARTED)
            continue;
        row[0] = db_int(finish->send->attempt_id);
        row[1] = db_int(finish->tried.outcome);
        row[2] = db_text(finish->tried.code);
        row[3] = db_text(finish->tried.detail);
        row[4] = db_text(finish->tried.external_id);
        row[5] = db_int(finish->now_ms);
        n++;
    }
    return n == 0 ? 0 : db_exec_rows(group->tx, &(struct db_set){
        "WITH v(id, outcome, code, detail, external_id, finished_ms) AS (:rows:) UPDATE attempts "
        "SET outcome = v.outcome, code = v.code, detail = v.detail, "
        "external_id = coalesce(v.external_id, attempts.external_id), "
        "finished_ms = v.finished_ms FROM v WHERE attempts.id = v.id", "iittti", values, n },
            err) < 0 ? -1 : 0;
}

static int start_parts(const struct group *group, struct err *err)
{
    enum { COLUMNS = 8 };
    struct db_value *values = arena_array(db_arena(group->tx), group->count * COLUMNS,
                                          sizeof *values);
    size_t n = 0;

    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        const struct queue_send *send = finish->send;
        struct db_value *row = values + n * COLUMNS;
        if (finish->end != QUEUE_NEXT_PART)
            continue;
        row[0] = db_int(finish->next_attempt_id);
        row[1] = db_int(send->tenant_id);
        row[2] = db_int(send->message_id);
        row[3] = db_int(send->channel_id);
        row[4] = db_int(send->attempt);
        row[5] = db_int(send->part + 1);
        row[6] = db_int(ATTEMPT_STARTED);
        row[7] = db_int(finish->now_ms);
        n++;
    }
    return n == 0 ? 0 : db_exec_rows(group->tx, &(struct db_set){
        "INSERT INTO attempts (id, tenant_id, message_id, channel_id, attempt, part, outcome, "
        "started_ms) :rows:",
        "iiiiiiii", values, n }, err) < 0 ? -1 : 0;
}

static struct message_move move_of(const struct queue_finish *finish, enum message_state from)
{
    const struct queue_send *send = finish->send;

    return (struct message_move){ .id = send->message_id, .tenant_id = send->tenant_id,
        .direction = MESSAGE_OUT,
        .conversation_id = finish->lane, .channel_id = send->channel_id, .from = from };
}

static int move_messages(const struct group *group, struct err *err)
{
    struct message_move *moves = arena_array(db_arena(group->tx), group->count, sizeof *moves);
    size_t n = 0;

    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        if (!finish->moves || finish->send->act_id)
            continue;
        moves[n] = move_of(finish, (enum message_state)finish->send->state);
        moves[n++].change = finish->change;
    }
    return message_set_advance(group->tx, moves, n, err);
}

static int move_acts(const struct group *group, struct err *err)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        const struct act_move move = { .id = finish->send->act_id, .at_ms = finish->now_ms,
            .from = finish->send->state, .to = finish->change.to, .code = finish->change.error_code,
            .hint = finish->change.error_hint };

        if (finish->moves && move.id && act_advance(group->tx, &move, err) < 0)
            return -1;
    }
    return 0;
}

/* What the provider reported already with its answer. */
static int settle_messages(const struct group *group, struct err *err)
{
    struct message_move *moves = arena_array(db_arena(group->tx), group->count, sizeof *moves);
    size_t n = 0;

    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        if (finish->settled == MESSAGE_RECEIVED || finish->settled == finish->change.to || finish->send->act_id)
            continue;
        moves[n] = move_of(finish, finish->change.to);
        moves[n++].change = (struct message_change){ .to = finish->settled, .at_ms = finish->now_ms,
            .error_code = finish->settled_code, .error_hint = finish->settled_hint };
        if (finish->settled == MESSAGE_FAILED && message_renew_key(group->tx, finish->send->message_id, err))
            return -1;
    }
    return message_set_advance(group->tx, moves, n, err);
}

/* What an answer told of one part of several counts like its receipt. */
static int settle_parts(const struct group *group, struct err *err)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        const struct receipt receipt = { .tenant_id = finish->send->tenant_id,
            .channel_id = finish->send->channel_id, .at_ms = finish->now_ms,
            .external_id = finish->tried.external_id, .state = finish->part_settled };
        if (!finish->part_settled || !finish->tried.external_id.len)
            continue;
        if (receipt_apply(group->tx, &receipt, NULL, err) == RECEIPT_FAILED)
            return -1;
    }
    return 0;
}

static int audit_failures(const struct group *group, struct err *err)
{
    char object[ID_TEXT_BYTES];

    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        if (!finish->moves || finish->change.to != MESSAGE_FAILED)
            continue;
        struct audit line = { .tenant_id = finish->send->tenant_id, .at_ms = finish->now_ms,
            .actor = "hub",
            .id = finish->audit_id, .action = "send.failed",
                .detail = str_dup(db_arena(group->tx), finish->change.error_code),
            .object = id_encode(object, ID_MESSAGE, finish->send->message_id) };
        if (audit_add(group->tx, &line, err))
            return -1;
    }
    return 0;
}

/* --- Receipts that came before the answer ----------------------------------------------------- */

#define EARLY_MAX 128

/* Those that name any part of the message. */
static int read_early(const struct group *group, const struct queue_finish *finish,
                      struct receipt *out, size_t *count,
                      struct err *err)
{
    struct arena *arena = db_arena(group->tx);
    struct db_rows *rows = db_query(group->tx,
        "SELECT e.state, e.at_ms, e.code, e.hint, e.external_id, e.segment, e.segments FROM attempts a JOIN "
        "early_receipts e ON e.tenant_id = a.tenant_id AND e.channel_id = a.channel_id AND "
        "e.external_id = a.external_id WHERE a.message_id = $1 AND a.act_id IS NULL ORDER BY e.state LIMIT $2",
        DB_ARGS(db_int(finish->send->message_id), db_int(EARLY_MAX)), err);
    int more;

    *count = 0;
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1) {
        struct str code = db_col_text(rows, 2), hint = db_col_text(rows, 3),
            id = db_col_text(rows, 4), segment = db_col_text(rows, 5);
        out[(*count)++] = (struct receipt){ .tenant_id = finish->send->tenant_id,
            .channel_id = finish->send->channel_id,
                .state = (enum message_state)db_col_int(rows, 0),
            .at_ms = db_col_int(rows, 1), .code = { str_dup(arena, code), code.len },
            .hint = { str_dup(arena, hint), hint.len },
                .external_id = { str_dup(arena, id), id.len },
            .segment = { str_dup(arena, segment), segment.len },
            .segments = db_col_int(rows, 6) };
    }
    return more;
}

static int apply_early(const struct group *group, const struct queue_finish *finish,
                       struct err *err)
{
    const struct queue_send *send = finish->send;
    struct receipt early[EARLY_MAX];
    size_t count;

    if (read_early(group, finish, early, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (receipt_apply(group->tx, &early[i], NULL, err) == RECEIPT_FAILED)
            return -1;
    return count == 0 ? 0 : db_exec(group->tx,
        "DELETE FROM early_receipts WHERE tenant_id = $1 AND channel_id = $2 AND external_id IN "
        "(SELECT a.external_id FROM attempts a WHERE a.message_id = $3 AND a.external_id IS NOT "
        "NULL AND a.act_id IS NULL)",
        DB_ARGS(db_int(send->tenant_id), db_int(send->channel_id), db_int(send->message_id)),
            err) < 0 ? -1 : 0;
}

static int apply_early_receipts(const struct group *group, struct err *err)
{
    for (size_t i = 0; i < group->count; i++)
        if (group->items[i]->early_receipts && !group->items[i]->send->act_id &&
            apply_early(group, group->items[i], err))
            return -1;
    return 0;
}

/* --- The channel ------------------------------------------------------------------------------ */

static bool concerns_channel(const struct queue_finish *finish)
{
    return finish->fault || (finish->worked && finish->send->faults > 0) ||
        finish->pause_until_ms > 0;
}

static int by_channel(const void *a, const void *b)
{
    const struct queue_finish *left = *(struct queue_finish *const *)a,
        *right = *(struct queue_finish *const *)b;
    int64_t x = left->send->channel_id, y = right->send->channel_id;

    return (x > y) - (x < y);
}

static int note_channel(struct db_session *tx, struct queue_finish *const *items, size_t count,
                        struct err *err)
{
    int64_t channel_id = items[0]->send->channel_id, next_ms;
    struct db_rows *rows = db_query(tx,
                                    "SELECT breaker_faults, breaker_until_ms, next_send_ms FROM "
                                    "channels WHERE id = $1 "
                                        "FOR UPDATE", DB_ARGS(db_int(channel_id)), err);
    struct str error = { 0 };

    if (!rows || db_next(rows, err) != 1)
        return rows && err->code == ERR_NONE ? 0 : -1;
    struct breaker breaker = { db_col_int(rows, 0), db_col_int(rows, 1) };
    next_ms = db_col_int(rows, 2);
    db_rows_end(rows);
    for (size_t i = 0; i < count; i++) {
        const struct queue_finish *finish = items[i];
        if (finish->worked || finish->fault)
            breaker = breaker_note(&breaker, finish->fault, finish->now_ms);
        if (finish->pause_until_ms > next_ms)
            next_ms = finish->pause_until_ms;
        if (finish->fault)
            error = finish->tried.detail.data ? finish->tried.detail : finish->tried.code;
    }
    return db_exec(tx,
                   "UPDATE channels SET breaker_faults = $1, breaker_until_ms = $2, next_send_ms "
                   "= $3, "
                       "last_error = coalesce($4, last_error) WHERE id = $5",
                   DB_ARGS(db_int(breaker.faults), db_int(breaker.until_ms), db_int(next_ms),
                           db_text(error),
                           db_int(channel_id)), err) < 0 ? -1 : 0;
}

static int note_channels(const struct group *group, struct err *err)
{
    struct queue_finish **items = arena_array(db_arena(group->tx), group->count, sizeof *items);
    size_t count = 0, to;

    for (size_t i = 0; i < group->count; i++)
        if (concerns_channel(group->items[i]))
            items[count++] = group->items[i];
    qsort(items, count, sizeof *items, by_channel);
    for (size_t from = 0; from < count; from = to) {
        for (to = from; to < count && by_channel(&items[from], &items[to]) == 0; to++)
            continue;
        if (note_channel(group->tx, items + from, to - from, err))
            return -1;
    }
    return 0;
}

/* It is reached elsewhere: whoever is at the address that this was sent to. */
static int note_move(struct db_session *tx, const struct queue_finish *finish, struct err *err)
{
    const struct queue_send *send = finish->send;
    struct contact_move move = { .tenant_id = send->tenant_id, .channel_id = send->channel_id,
        .at_ms = finish->now_ms, .to = finish->moved_to, .to_given = finish->moved_given,
        .is_group = send->contact_id == 0 };
    struct db_rows *rows = db_query(tx, "SELECT c.peer FROM conversations c WHERE c.id = $1",
                                    DB_ARGS(db_int(finish->lane)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    move.from = (struct str){ str_dup(db_arena(tx), db_col_text(rows, 0)), db_col_text(rows, 0).len };
    db_rows_end(rows);
    return contact_move(tx, &move, err);
}

/* What else the provider's answer said of the contact. */
static int note_contacts(const struct group *group, struct err *err)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        const struct queue_send *send = finish->send;
        struct str why = finish->tried.detail.len > 0 ? finish->tried.detail : finish->tried.code;
        const struct consent consent = { .tenant_id = send->tenant_id, .contact_id = send->contact_id,
            .conversation_id = send->conversation_id, .at_ms = finish->now_ms, .opted_out = true,
            .by = CONSENT_PROVIDER, .reason = why };

        if (finish->opted_out && send->contact_id && consent_note(group->tx, &consent, err) < 0)
            return -1;
        if (finish->moved_to.len > 0 && note_move(group->tx, finish, err) < 0)
            return -1;
    }
    return 0;
}

/* A receipt by our own token may have told the end of a message before the answer did: then there is
 * nothing left to try, to look up or to ask a person. */
static int drop_settled(const struct group *group, struct err *err)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct queue_finish *finish = group->items[i];
        if (finish->end == QUEUE_REMOVE || finish->end == QUEUE_NEXT_PART)
            continue;
        if (db_exec(group->tx, "DELETE FROM jobs WHERE id = $1 AND EXISTS (SELECT 1 FROM messages m "
                    "WHERE m.id = jobs.message_id AND m.state IN (6, 7, 8, 11))",
                    DB_ARGS(db_int(finish->send->job_id)), err) < 0)
            return -1;
    }
    return 0;
}

static int run_finishes(struct db_session *tx, struct db_write_item **items, size_t count,
                        struct err *err)
{
    struct group group = { .tx = tx, .items = arena_array(db_arena(tx), count, sizeof *group.items),
        .count = count };
    int64_t *lanes = arena_array(db_arena(tx), count, sizeof *lanes);

    for (size_t i = 0; i < count; i++) {
        group.items[i] = (struct queue_finish *)items[i];
        group.items[i]->lane = group.items[i]->send->conversation_id;
    }
    if (lock_lanes(&group, err) || fence(&group, err))
        return -1;
    if (end_attempts(&group, err) || start_parts(&group, err) || move_messages(&group, err) ||
        move_acts(&group, err) ||
        settle_messages(&group, err) || settle_parts(&group, err) || apply_early_receipts(&group, err) ||
            audit_failures(&group, err) ||
        drop_settled(&group, err) || note_contacts(&group, err) || note_channels(&group, err))
        return -1;
    return queue_promote(tx, JOB_SEND, lanes, lanes_left(&group, lanes), err);
}

const struct db_kind queue_finish_kind = { "complete", 40, run_finishes, true };

int queue_finish_in(struct db_session *tx, struct queue_finish *finish, struct err *err)
{
    struct db_write_item *item = &finish->item;

    return run_finishes(tx, &item, 1, err);
}
