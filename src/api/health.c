#include "api/health.h"

#include "api/feed.h"
#include "api/state.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/stats.h"
#include "net/pool.h"

static int64_t up_s(const struct op_call *call)
{
    return (clock_ms() - call->hub->started_ms) / 1000;
}

enum op_done health_live(struct op_call *call, struct err *err)
{
    (void)err;
    json_object_begin(&call->out);
    json_cstr_at(&call->out, "status", "ok");
    json_cstr_at(&call->out, "version", HUB_VERSION);
    json_int_at(&call->out, "up_s", up_s(call));
    json_object_end(&call->out);
    return OP_DONE;
}

/* --- Ready: a read and a synced write ---------------------------------------------------------------------------- */

static int nothing(struct db_session *tx, void *arg, struct err *err)
{
    (void)tx;
    (void)arg;
    (void)err;
    return 0;
}

static bool can_read(struct hub *hub, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    int64_t now_ms;

    if (!session)
        return false;
    now_ms = db_now_ms(session, err);
    db_read_end(session);
    return now_ms >= 0;
}

enum op_done health_ready(struct op_call *call, struct err *err)
{
    bool read = can_read(call->hub, err), write = read && db_write(call->hub->db, nothing, NULL, err) == 0;

    if (!read || !write) {
        struct err cause = *err;

        err_set(err, ERR_UNAVAILABLE, "The database cannot be %s.", read ? "written" : "read");
        err_hint(err, "%s", cause.detail);
        return OP_FAILED;
    }
    json_object_begin(&call->out);
    json_cstr_at(&call->out, "status", "ready");
    json_cstr_at(&call->out, "database", db_is_postgres(call->hub->db) ? "postgresql" : "sqlite");
    json_object_end(&call->out);
    return OP_DONE;
}

/* --- Metrics ----------------------------------------------------------------------------------------------------- */

static void figure(struct buf *out, const char *name, const char *kind, int64_t value)
{
    buf_printf(out, "# TYPE message_hub_%s %s\nmessage_hub_%s %lld\n", name, kind, name, (long long)value);
}

static void http_figures(struct op_call *call, struct buf *out)
{
    struct http_server *server = atomic_load(&call->api->server);
    struct http_stats http = { 0 };

    if (server)
        http_stats(server, &http);
    figure(out, "http_requests_total", "counter", http.requests);
    figure(out, "http_refused_total", "counter", http.refused);
    figure(out, "http_connections", "gauge", http.connections);
    figure(out, "http_streams", "gauge", http.streams);
    figure(out, "http_websockets", "gauge", http.sockets);
    figure(out, "http_work_waiting", "gauge", http.work_waiting);
}

/* Aliases count under their path: whoever wants to drop one sees whether somebody still uses it. */
static void answers_of(struct buf *out, const char *operation, const char *alias, _Atomic int64_t *answers)
{
    for (int class = 1; class < 6; class++) {
        int64_t count = atomic_load_explicit(&answers[class], memory_order_relaxed);

        if (count > 0)
            buf_printf(out, "message_hub_answers_total{operation=\"%s\",alias=\"%s\",status=\"%dxx\"} %lld\n",
                       operation, alias, class, (long long)count);
    }
}

static void operation_figures(struct op_call *call, struct buf *out)
{
    const struct route *route;

    buf_puts(out, "# TYPE message_hub_answers_total counter\n");
    answers_of(out, "none", "", call->api->answers);
    for (size_t i = 0; (route = route_at(call->api->routes, i)); i++)
        answers_of(out, route->op->name, route->op->flags & OP_ALIAS ? route->op->path : "", route->answers);
}

static void hub_figures(struct op_call *call, struct buf *out)
{
    struct db_stats db;

    db_stats(call->hub->db, &db);
    buf_printf(out, "# TYPE message_hub_build_info gauge\nmessage_hub_build_info{version=\"%s\",database=\"%s\"} 1\n",
               HUB_VERSION, db_is_postgres(call->hub->db) ? "postgresql" : "sqlite");
    figure(out, "up_seconds", "gauge", up_s(call));
    figure(out, "db_writes_waiting", "gauge", db.waiting);
    figure(out, "db_groups_total", "counter", db.groups);
    figure(out, "db_items_total", "counter", db.items);
    figure(out, "db_slow_commits_total", "counter", db.slow);
    figure(out, "db_repeated_total", "counter", db.retried);
    figure(out, "log_lines_dropped_total", "counter", log_dropped());
    figure(out, "stream_subscribers", "gauge", (int64_t)feed_count(call->api->feed));
    figure(out, "slow_calls_waiting", "gauge", (int64_t)pool_waiting(call->api->slow));
}

static void queue_figures(const struct stats_queue *queue, struct buf *out)
{
    int64_t age_ms = queue->oldest_send_ms ? clock_ms() - queue->oldest_send_ms : 0;

    buf_puts(out, "# TYPE message_hub_jobs gauge\n");
    for (int kind = 1; kind < STATS_JOB_KINDS; kind++)
        for (int state = 0; state < STATS_JOB_STATES; state++)
            buf_printf(out, "message_hub_jobs{kind=\"%s\",state=\"%s\"} %lld\n", stats_job_kinds[kind],
                       stats_job_states[state], (long long)queue->jobs[kind][state]);
    figure(out, "send_oldest_wait_ms", "gauge", age_ms > 0 ? age_ms : 0);
    figure(out, "parked", "gauge", queue->parked);
    figure(out, "inbound_rows_waiting", "gauge", queue->rows);
    figure(out, "channels_silent", "gauge", queue->silent);
}

enum op_done health_metrics(struct op_call *call, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, 0, err);
    struct buf *out = &call->response.body;
    struct stats_queue queue;
    int failed;

    if (!session)
        return OP_FAILED;
    failed = stats_queue_read(session, 0, &queue, err);
    db_read_end(session);
    if (failed)
        return OP_FAILED;
    call->response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    hub_figures(call, out);
    http_figures(call, out);
    operation_figures(call, out);
    queue_figures(&queue, out);
    return OP_DONE;
}
