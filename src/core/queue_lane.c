#include "core/queue_lane.h"

#include "base/arena.h"
#include "base/clock.h"
#include "core/conversation.h"
#include "core/hub.h"

#include <stdlib.h>

#define JOIN_JOBS 500
#define EXPIRED_JOBS 100

/* --- Heads ------------------------------------------------------------------------------------ */

/* The kind is part of the text and both questions are scalar: so a lane's head and its next are
 * each found by one look into their partial index, however long the lane is and however many there
 * are. The ids are found before they are joined: behind row-level security a condition that may
 * leak is never an index's. */
#define PROMOTE(kind) \
    "WITH v(lane) AS (:rows:), next(id) AS MATERIALIZED (SELECT " \
    "(SELECT n.id FROM jobs n WHERE n.kind = " kind " AND n.lane = v.lane AND n.state = 0 " \
    "AND n.head = 0 ORDER BY n.lane_seq, n.id LIMIT 1) FROM v WHERE coalesce(" \
    "(SELECT h.head FROM jobs h WHERE h.kind = " kind " AND h.lane = v.lane AND h.head = 1 LIMIT " \
    "1), 0) = 0) " \
    "UPDATE jobs SET head = 1 FROM next WHERE jobs.id = next.id AND jobs.state = 0"

int queue_promote(struct db_session *tx, enum job_kind kind, const int64_t *lanes, size_t count,
                  struct err *err)
{
    static const char *const texts[] = { [JOB_SEND] = PROMOTE("1"), [JOB_DECIDE] = PROMOTE("2"),
        [JOB_WEBHOOK] = PROMOTE("3"), [JOB_FETCH] = PROMOTE("4") };
    struct db_value *values = arena_array(db_arena(tx), count, sizeof *values);

    for (size_t i = 0; i < count; i++)
        values[i] = db_int(lanes[i]);
    return count == 0 ? 0
        : db_exec_rows(tx, &(struct db_set){ texts[kind], "i", values, count }, err) < 0 ? -1 : 0;
}

int queue_lock_lanes(struct db_session *tx, const int64_t *lanes, size_t count, struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), count, sizeof *values);
    struct db_rows *rows;
    int more;

    for (size_t i = 0; i < count; i++)
        values[i] = db_int(lanes[i]);
    if (count == 0)
        return 0;
    rows = db_query_rows(tx, &(struct db_set){
        "WITH v(id) AS (:rows:) SELECT c.id FROM conversations c WHERE c.id IN (SELECT v.id FROM "
        "v) "
        "ORDER BY c.tenant_id, c.channel_id, c.peer FOR UPDATE", "i", values, count }, err);
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1)
        continue;
    return more;
}

/* --- What becomes due ------------------------------------------------------------------------- */

struct joining {
    int64_t now_ms;
    int64_t ids[JOIN_JOBS], lanes[JOIN_JOBS];
    size_t count;                   /* scheduled jobs that are due */
    int64_t joined;
};

static int read_scheduled(struct db_session *tx, struct joining *joining, struct err *err)
{
    struct db_rows *rows = db_query(tx,
                                    "SELECT j.id, j.lane FROM jobs j WHERE j.state = 2 AND j.head "
                                    "= 0 "
                                        "AND j.due_ms <= $1 ORDER BY j.due_ms LIMIT $2",
                                    DB_ARGS(db_int(joining->now_ms), db_int(JOIN_JOBS)), err);
    int more;

    joining->count = 0;
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1) {
        joining->ids[joining->count] = db_col_int(rows, 0);
        joining->lanes[joining->count++] = db_col_int(rows, 1);
    }
    return more;
}

static int join_scheduled(struct db_session *tx, struct joining *joining, struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), joining->count, sizeof *values);
    int64_t joined;

    if (joining->count == 0)
        return 0;
    for (size_t i = 0; i < joining->count; i++)
        values[i] = db_int(joining->ids[i]);
    if (queue_lock_lanes(tx, joining->lanes, joining->count, err))
        return -1;
    joined = db_exec_rows(tx, &(struct db_set){
        "WITH v(id) AS (:rows:) UPDATE jobs SET state = 0 FROM v WHERE jobs.id = v.id AND "
        "jobs.state = 2 "
        "AND jobs.head = 0", "i", values, joining->count }, err);
    joining->joined += joined;
    return joined < 0 ? -1 : queue_promote(tx, JOB_SEND, joining->lanes, joining->count, err);
}

static int join_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct joining *joining = arg;

    if (read_scheduled(tx, joining, err))
        return -1;
    /* Another node may have joined and claimed it since it was looked for: the state is asked
     * again. */
    joining->joined = db_exec(tx,
                              "UPDATE jobs SET state = 0 WHERE state = 2 AND id IN (SELECT j.id "
                              "FROM jobs j "
                                  "WHERE j.state = 2 AND j.head = 1 AND j.due_ms <= $1 ORDER BY "
                                  "j.due_ms LIMIT $2)",
                              DB_ARGS(db_int(joining->now_ms), db_int(JOIN_JOBS)), err);
    return joining->joined < 0 ? -1 : join_scheduled(tx, joining, err);
}

int queue_join(struct hub *hub, struct err *err)
{
    struct joining joining = { .now_ms = clock_ms() };

    return db_write(hub->db, join_tx, &joining, err) ? -1 : (int)joining.joined;
}

/* --- Leases ----------------------------------------------------------------------------------- */

struct beating {
    const struct queue_held *held;
    size_t count;
};

static int beat_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct beating *beating = arg;
    struct db_value *values = arena_array(db_arena(tx), beating->count * 3, sizeof *values);
    int64_t now_ms = db_now_ms(tx, err);

    if (now_ms < 0)
        return -1;
    for (size_t i = 0; i < beating->count; i++) {
        values[3 * i] = db_int(beating->held[i].job_id);
        values[3 * i + 1] = db_int(beating->held[i].attempt);
        values[3 * i + 2] = db_int(now_ms + LIMIT_LEASE_MS);
    }
    return db_exec_rows(tx, &(struct db_set){
        "WITH v(id, attempt, lease_until_ms) AS (:rows:) UPDATE jobs SET lease_until_ms = "
        "v.lease_until_ms FROM v "
        "WHERE jobs.id = v.id AND jobs.attempt = v.attempt AND jobs.state = 1", "iii", values,
            beating->count },
        err) < 0 ? -1 : 0;
}

int queue_heartbeat(struct db *db, const struct queue_held *held, size_t count, struct err *err)
{
    struct beating beating = { held, count };

    return count == 0 ? 0 : db_write(db, beat_tx, &beating, err);
}

static int orphan_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct hub *hub = arg;

    return db_exec(tx, "UPDATE jobs SET lease_until_ms = 0 WHERE state = 1 AND "
                   "offered_ms IS NULL AND coalesce(node, '') <> $1",
                   DB_ARGS(db_cstr(hub->node)), err) < 0 ? -1 : 0;
}

int queue_orphan(struct hub *hub, struct err *err)
{
    return db_write(hub->db, orphan_tx, hub, err);
}

static const char expired_sql[] =
    "SELECT j.id, j.attempt, j.failures, j.part, m.id, m.tenant_id, m.conversation_id, "
    "m.channel_id, coalesce(x.state, m.state), m.parts, m.origin, coalesce(m.expires_ms, 0), t.unknown_policy, "
    "coalesce((SELECT max(a.id) FROM attempts a WHERE a.message_id = m.id AND a.attempt = "
    "j.attempt AND a.part = j.part AND a.outcome = 0 AND coalesce(a.act_id, 0) = coalesce(j.act_id, 0)), 0), "
    "x.id, x.act FROM jobs j LEFT JOIN acts x ON x.id = j.act_id JOIN messages m ON m.id = "
    "coalesce(j.message_id, x.message_id) JOIN tenants t ON t.id = m.tenant_id WHERE j.state = 1 AND j.kind = 1 AND "
    "j.lease_until_ms <= $1 ORDER BY j.lease_until_ms LIMIT $2";

int queue_expired_sends(struct db_session *session, struct arena *arena, struct queue_send **sends,
                        size_t *count,
                        struct err *err)
{
    int64_t now_ms = db_now_ms(session, err);
    struct db_rows *rows = now_ms < 0 ? NULL
        : db_query(session, expired_sql, DB_ARGS(db_int(now_ms), db_int(EXPIRED_JOBS)), err);
    int more;

    *count = 0;
    if (!rows)
        return -1;
    *sends = arena_array(arena, EXPIRED_JOBS, sizeof **sends);
    while ((more = db_next(rows, err)) == 1)
        (*sends)[(*count)++] = (struct queue_send){ .verdict = QUEUE_SEND,
            .job_id = db_col_int(rows, 0),
            .attempt = db_col_int(rows, 1), .failures = db_col_int(rows, 2),
                .part = db_col_int(rows, 3),
            .message_id = db_col_int(rows, 4), .tenant_id = db_col_int(rows, 5),
                .conversation_id = db_col_int(rows, 6),
            .channel_id = db_col_int(rows, 7), .state = db_col_int(rows, 8),
                .parts = db_col_int(rows, 9),
            .origin = db_col_int(rows, 10), .expires_ms = db_col_int(rows, 11),
            .policy = (enum tenant_policy)db_col_int(rows, 12),
                .attempt_id = db_col_int(rows, 13), .act_id = db_col_int(rows, 14),
            .act = (enum send_act)db_col_int(rows, 15) };
    return more;
}

/* --- The other kinds of job ------------------------------------------------------------------- */

#define SELECT_JOB \
    "SELECT j.id, j.tenant_id, j.kind, j.lane, j.lane_seq, j.attempt, j.failures, j.channel_id, " \
    "j.conversation_id, " \
    "j.message_id, j.first_ms, j.due_ms, j.messages, j.data FROM jobs j "

static struct job read_job(const struct db_rows *rows, struct arena *arena)
{
    struct str data = db_col_text(rows, 13);

    return (struct job){ .id = db_col_int(rows, 0), .tenant_id = db_col_int(rows, 1),
        .kind = db_col_int(rows, 2),
        .lane = db_col_int(rows, 3), .lane_seq = db_col_int(rows, 4),
            .attempt = db_col_int(rows, 5),
        .failures = db_col_int(rows, 6), .channel_id = db_col_int(rows, 7),
            .conversation_id = db_col_int(rows, 8),
        .message_id = db_col_int(rows, 9), .first_ms = db_col_int(rows, 10),
            .due_ms = db_col_int(rows, 11),
        .messages = db_col_int(rows, 12),
        .data = data.data ? (struct str){ arena_copy(arena, data.data, data.len), data.len }
            : data };
}

static int read_jobs(struct db_rows *rows, struct arena *arena, struct job *jobs, size_t *count,
                     struct err *err)
{
    int more;

    *count = 0;
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1)
        jobs[(*count)++] = read_job(rows, arena);
    return more;
}

int queue_due(struct db_session *session, struct arena *arena, struct queue_due *due,
              struct err *err)
{
    int64_t now_ms = clock_ms(), next_ms;
    struct db_rows *rows = db_query(session,
        SELECT_JOB "WHERE j.kind = $1 AND j.kind > 1 AND j.head = 1 AND j.state = 0 AND j.rank_ms "
                   "<= $2 AND NOT EXISTS "
        "(SELECT 1 FROM jobs r WHERE r.kind = 2 AND r.state = 1 AND r.lane = j.lane AND j.kind = "
        "2) ORDER BY j.rank_ms LIMIT $3",
        DB_ARGS(db_int(due->kind), db_int(now_ms), db_int(due->limit)), err);

    due->jobs = arena_array(arena, (size_t)due->limit, sizeof *due->jobs);
    if (read_jobs(rows, arena, due->jobs, &due->count, err))
        return -1;
    /* Who found something comes again at once; only who found nothing has to know for how long. */
    next_ms = now_ms;
    if (due->count == 0 &&
        db_query_int(session, "SELECT min(rank_ms) FROM jobs WHERE kind = $1 AND kind > 1 "
                              "AND head = 1 AND state = 0 AND rank_ms > $2",
                     DB_ARGS(db_int(due->kind), db_int(now_ms)), INT64_MAX, &next_ms, err))
        return -1;
    if (next_ms < due->next_ms)
        due->next_ms = next_ms;
    return 0;
}

int queue_take(struct db_session *tx, struct job *job, const char *node, struct err *err)
{
    int64_t now_ms = db_now_ms(tx, err), taken;

    if (now_ms < 0)
        return -1;
    taken = db_exec(tx,
                    "UPDATE jobs SET state = 1, attempt = attempt + 1, lease_until_ms = $1, node "
                    "= $2 WHERE id = $3 "
                        "AND state = 0 AND head = 1 AND attempt = $4",
                    DB_ARGS(db_int(now_ms + LIMIT_LEASE_MS), db_cstr(node), db_int(job->id),
                            db_int(job->attempt)), err);
    if (taken == 1)
        job->attempt++;
    return (int)taken;
}

int queue_remove(struct db_session *tx, const struct job *job, struct err *err)
{
    int64_t removed = db_exec(tx,
                              "DELETE FROM jobs WHERE id = $1 AND attempt = $2 AND state IN (0, 1)",
                              DB_ARGS(db_int(job->id), db_int(job->attempt)), err);

    if (removed != 1)
        return (int)removed;
    return queue_promote(tx, (enum job_kind)job->kind, &job->lane, 1, err) ? -1 : 1;
}

/* A conversation has one ready decide job: when new messages brought one meanwhile, it takes the
 * burst and its failures over. */
static int merge_decide(struct db_session *tx, const struct job *job, struct err *err)
{
    int64_t merged = db_exec(tx,
        "UPDATE jobs SET failures = $1, first_ms = $2, lane_seq = $3, messages = messages + $4 "
        "WHERE kind = 2 AND state = 0 AND lane = $5 AND EXISTS "
        "(SELECT 1 FROM jobs r WHERE r.id = $6 AND r.attempt = $7 AND r.state = 1)",
        DB_ARGS(db_int(job->failures), db_int(job->first_ms), db_int(job->lane_seq),
                db_int(job->messages),
                db_int(job->lane), db_int(job->id), db_int(job->attempt)), err);

    if (merged != 1)
        return (int)merged;
    return queue_remove(tx, job, err);
}

int queue_again(struct db_session *tx, const struct job *job, int64_t due_ms, struct str error,
                struct err *err)
{
    int merged = job->kind == JOB_DECIDE ? merge_decide(tx, job, err) : 0;

    if (merged != 0)
        return merged;
    return (int)db_exec(tx,
                        "UPDATE jobs SET state = $1, due_ms = $2, rank_ms = $3, failures = $4, "
                        "last_error = $5, "
                            "lease_until_ms = NULL WHERE id = $6 AND attempt = $7 AND state = 1",
                        DB_ARGS(db_int(job->kind == JOB_DECIDE ? JOB_READY : JOB_WAITING),
                                db_int(due_ms),
                                db_int(due_ms), db_int(job->failures), db_text(error),
                                    db_int(job->id),
                                db_int(job->attempt)), err);
}

/* --- What dead workers left ------------------------------------------------------------------- */

struct recovering {
    struct job job;
    int64_t now_ms, stale_ms;
    bool done;
};

static int recover_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct recovering *r = arg;
    struct job job = r->job;
    int64_t stale;
    int ended;

    r->done = false;
    if (conversation_lock(tx, job.tenant_id, job.lane, err) < 0 ||
        db_query_int(tx,
                     "SELECT count(*) FROM jobs WHERE id = $1 AND attempt = $2 AND state = 1 AND "
                     "lease_until_ms <= $3",
                     DB_ARGS(db_int(job.id), db_int(job.attempt), db_int(r->stale_ms)), 0, &stale,
                         err))
        return -1;
    if (stale != 1)
        return 0;
    job.failures++;
    if (job.kind == JOB_WEBHOOK && job.failures >= LIMIT_SEND_ATTEMPTS)
        ended = queue_remove(tx, &job, err);
    else
        ended = queue_again(tx, &job, r->now_ms, STR("lease_expired"), err);
    r->done = ended == 1;
    return ended < 0 ? -1 : 0;
}

int queue_recover(struct hub *hub, enum job_kind kind, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct db_session *session = db_read(hub->db, 0, err);
    struct job *jobs = arena_array(arena, EXPIRED_JOBS, sizeof *jobs);
    int64_t stale_ms = session ? db_now_ms(session, err) : -1;
    size_t count = 0;
    int handled = 0, failed = -1;

    if (stale_ms >= 0)
        failed = read_jobs(db_query(session,
            SELECT_JOB "WHERE j.state = 1 AND j.kind = $1 AND j.lease_until_ms <= $2 ORDER BY "
                       "j.lease_until_ms LIMIT $3",
            DB_ARGS(db_int(kind), db_int(stale_ms), db_int(EXPIRED_JOBS)), err), arena, jobs,
                &count, err);
    if (session)
        db_read_end(session);
    for (size_t i = 0; i < count && !failed; i++) {
        struct recovering one = { .job = jobs[i], .now_ms = clock_ms(), .stale_ms = stale_ms };
        failed = db_write(hub->db, recover_tx, &one, err);
        handled += one.done;
    }
    arena_free(arena);
    return failed ? -1 : handled;
}
