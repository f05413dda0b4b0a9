#include "core/stats.h"

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

static int one(struct db_session *session, const char *sql, struct range range, int64_t *out, struct err *err)
{
    return db_query_int(session, sql, DB_ARGS(db_int(range.from), db_int(range.to)), 0, out, err);
}

static int count_messages(struct db_session *session, struct range range, int64_t since_ms, struct stats *out,
                          struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT direction, state, COUNT(*) FROM messages WHERE tenant_id BETWEEN $1 AND $2 AND received_ms >= $3 "
        "GROUP BY direction, state", DB_ARGS(db_int(range.from), db_int(range.to), db_int(since_ms)), err);
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
    struct range range = range_of(tenant_id);
    const struct {
        const char *sql;
        int64_t *out;
    } counts[] = {
        { "SELECT COUNT(*) FROM conversations WHERE tenant_id BETWEEN $1 AND $2", &out->conversations },
        { "SELECT SUM(unread) FROM conversations WHERE tenant_id BETWEEN $1 AND $2", &out->unread },
        { "SELECT COUNT(*) FROM contacts WHERE tenant_id BETWEEN $1 AND $2", &out->contacts },
        { "SELECT COUNT(*) FROM devices WHERE tenant_id BETWEEN $1 AND $2 AND state = 0", &out->devices },
        { "SELECT COUNT(*) FROM channels WHERE tenant_id BETWEEN $1 AND $2 AND state = 0", &out->channels },
        { "SELECT COUNT(*) FROM rules WHERE tenant_id BETWEEN $1 AND $2 AND state = 0", &out->rules },
    };

    *out = (struct stats){ 0 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (one(session, counts[i].sql, range, counts[i].out, err) < 0)
            return -1;
    return count_messages(session, range, since_ms, out, err);
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
