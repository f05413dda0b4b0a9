#include "core/stats.h"

#include "core/queue.h"

const char *const stats_job_kinds[] = { "", "send", "decide", "webhook", NULL };
const char *const stats_job_states[] = { "ready", "running", "waiting", "held", NULL };

/* One text for one tenant and for all: a range of ids. */
struct range {
    int64_t from, to;
};

static struct range range_of(int64_t tenant_id)
{
    return tenant_id ? (struct range){ tenant_id, tenant_id } : (struct range){ 0, INT64_MAX };
}

static int of_tenant(struct db_session *session, const char *sql, int64_t tenant_id, int64_t *out, struct err *err)
{
    return db_query_int(session, sql, DB_ARGS(db_int(tenant_id)), 0, out, err);
}

static int one(struct db_session *session, const char *sql, struct range range, int64_t *out, struct err *err)
{
    return db_query_int(session, sql, DB_ARGS(db_int(range.from), db_int(range.to)), 0, out, err);
}

static int count_messages(struct db_session *session, int64_t tenant_id, int64_t since_ms, struct stats *out,
                          struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT direction, state, COUNT(*) FROM messages WHERE tenant_id = $1 AND received_ms >= $2 "
        "GROUP BY direction, state", DB_ARGS(db_int(tenant_id), db_int(since_ms)), err);
    int more = rows ? 1 : -1;

    while (more == 1 && (more = db_next(rows, err)) == 1) {
        int64_t direction = db_col_int(rows, 0), state = db_col_int(rows, 1);

        if (direction >= 0 && direction < 2 && state >= 0 && state < MESSAGE_STATES)
            out->messages[direction][state] = db_col_int(rows, 2);
    }
    return more;
}

int stats_read(struct db_session *session, int64_t tenant_id, int64_t since_ms, struct stats *out, struct err *err)
{
    const struct {
        const char *sql;
        int64_t *out;
    } counts[] = {
        { "SELECT COUNT(*) FROM conversations WHERE tenant_id = $1", &out->conversations },
        { "SELECT CAST(SUM(unread) AS BIGINT) FROM conversations WHERE tenant_id = $1 AND unread > 0", &out->unread },
        { "SELECT COUNT(*) FROM contacts WHERE tenant_id = $1", &out->contacts },
        { "SELECT COUNT(*) FROM devices WHERE tenant_id = $1 AND state = 0", &out->devices },
        { "SELECT COUNT(*) FROM channels WHERE tenant_id = $1 AND state = 0", &out->channels },
        { "SELECT COUNT(*) FROM rules WHERE tenant_id = $1 AND state = 0", &out->rules },
    };

    *out = (struct stats){ 0 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (of_tenant(session, counts[i].sql, tenant_id, counts[i].out, err) < 0)
            return -1;
    return count_messages(session, tenant_id, since_ms, out, err);
}

static int count_jobs(struct db_session *session, struct range range, struct stats_queue *out, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT kind, state, COUNT(*) FROM jobs WHERE tenant_id BETWEEN $1 AND $2 GROUP BY kind, state",
        DB_ARGS(db_int(range.from), db_int(range.to)), err);
    int more = rows ? 1 : -1;

    while (more == 1 && (more = db_next(rows, err)) == 1) {
        int64_t kind = db_col_int(rows, 0), state = db_col_int(rows, 1);

        if (kind >= 0 && kind < STATS_JOB_KINDS && state >= 0 && state < STATS_JOB_STATES)
            out->jobs[kind][state] = db_col_int(rows, 2);
    }
    return more;
}

int stats_queue_read(struct db_session *session, int64_t tenant_id, struct stats_queue *out, struct err *err)
{
    struct range range = range_of(tenant_id);

    *out = (struct stats_queue){ 0 };
    if (count_jobs(session, range, out, err) < 0)
        return -1;
    if (one(session, "SELECT MIN(due_ms) FROM jobs WHERE tenant_id BETWEEN $1 AND $2 AND kind = 1 AND state = 0", range,
            &out->oldest_send_ms, err) < 0)
        return -1;
    if (one(session, "SELECT COUNT(*) FROM parked WHERE tenant_id BETWEEN $1 AND $2 AND replayed_ms IS NULL", range,
            &out->parked, err) < 0)
        return -1;
    if (one(session, "SELECT COUNT(*) FROM channels WHERE tenant_id BETWEEN $1 AND $2 AND alarm_ms IS NOT NULL AND "
            "state = 0", range, &out->silent, err) < 0)
        return -1;
    return one(session, "SELECT COUNT(*) FROM inbound_rows WHERE tenant_id BETWEEN $1 AND $2", range, &out->rows, err);
}

/* --- The outbox --------------------------------------------------------------------------------------------------- */

/* Numbers by a small key: rows (key, count) into counts[key]. */
static int count_by(struct db_session *session, const char *sql, int64_t tenant_id, int64_t counts[], struct err *err)
{
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(tenant_id)), err);
    int more = rows ? 1 : -1;

    while (more == 1 && (more = db_next(rows, err)) == 1) {
        int64_t key = db_col_int(rows, 0);

        if (key >= 0 && key < MESSAGE_STATES)
            counts[key] = db_col_int(rows, 1);
    }
    return more;
}

int stats_outbox_read(struct db_session *session, int64_t tenant_id, const struct stats_queue *queue,
                      struct stats_outbox *out, struct err *err)
{
    const int64_t *jobs = queue->jobs[JOB_SEND];
    int64_t stuck[MESSAGE_STATES] = { 0 }, asked[MESSAGE_STATES] = { 0 };

    /* the job of an unknown message waits to be looked up */
    if (count_by(session, "SELECT m.state, COUNT(*) FROM messages m WHERE m.tenant_id = $1 AND " MESSAGE_STUCK
                 " GROUP BY m.state", tenant_id, stuck, err) < 0
        || count_by(session, "SELECT j.state, COUNT(*) FROM messages m JOIN jobs j ON j.message_id = m.id "
                    "WHERE m.tenant_id = $1 AND " MESSAGE_STUCK " AND m.state = 10 AND j.kind = 1 GROUP BY j.state",
                    tenant_id, asked, err) < 0)
        return -1;
    *out = (struct stats_outbox){
        .queued = jobs[JOB_READY] + jobs[JOB_WAITING] - asked[JOB_READY] - asked[JOB_WAITING],
        .sending = jobs[JOB_RUNNING] - asked[JOB_RUNNING],
        .held = stuck[MESSAGE_HELD], .unknown = stuck[MESSAGE_UNKNOWN], .failed = stuck[MESSAGE_FAILED],
    };
    return 0;
}
