#include "core/forward.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "core/event.h"
#include "core/message.h"
#include "net/pool.h"

#include <stdio.h>

#define FORWARD_MS 15000
#define ANSWER_BYTES (64 * 1024)

/* One forwarding on its way. */
struct forwarding {
    struct hub *hub;
    struct arena *arena;
    struct job job;
    bool taken;
    struct send_result result;
    enum send_outcome outcome;
};

static int take_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct forwarding *f = arg;
    struct job job = f->job;
    int taken = queue_take(tx, &job, f->hub->node, err);

    f->taken = taken == 1;
    return taken < 0 ? -1 : 0;
}

/* --- The request ------------------------------------------------------------------------------ */

static struct str body_of(const struct forwarding *f, const struct json *data,
                          const struct message *message)
{
    char id[ID_TEXT_BYTES];
    struct json_writer w;
    struct str text;
    struct buf out;

    buf_init(&out, LIMIT_ANSWER_BYTES);
    w = json_writer(&out);
    json_object_begin(&w);
    json_cstr_at(&w, "type", "message.received");
    json_cstr_at(&w, "rule_id", id_encode(id, ID_RULE, json_int(json_get(data, "rule_id"), 0)));
    json_int_at(&w, "hops", json_int(json_get(data, "hops"), 1));
    json_key(&w, "message");
    message_json(&w, message);
    json_object_end(&w);
    text = (struct str){ arena_copy(f->arena, out.data, out.len), out.len };
    buf_fini(&out);
    return text;
}

static void classify(struct forwarding *f, const struct exchange_reply *reply)
{
    if (reply->end != EXCHANGE_ANSWERED) {
        f->outcome = SEND_RETRY;
        f->result.code = STR("no_answer");
        return;
    }
    f->outcome = reply->status >= 200 && reply->status < 300 ? SEND_DONE : SEND_RETRY;
    f->result.code = str_c(arena_printf(f->arena, "%d", reply->status));
    f->result.retry_after_s = reply->retry_after_s;
    f->result.throttled = reply->status == 429;
}

static void post(struct forwarding *f, const char *url, struct str body)
{
    char id[ID_TEXT_BYTES], seconds[24];
    struct exchange_reply reply = { 0 };

    snprintf(seconds, sizeof seconds, "%lld", (long long)(clock_ms() / 1000));
    const struct http_header headers[] = { { STR("Content-Type"), STR("application/json") },
        { STR("Webhook-Id"), str_c(id_encode(id, ID_JOB, f->job.id)) },
            { STR("Webhook-Timestamp"), str_c(seconds) } };
    const struct exchange_request request = { .method = HTTP_POST, .url = url, .headers = headers,
        .header_count = sizeof headers / sizeof headers[0], .body = body, .egress = EGRESS_PUBLIC,
        .tenant_id = f->job.tenant_id, .timeout_ms = FORWARD_MS, .answer_max = ANSWER_BYTES };

    f->hub->exchange->run(f->hub->exchange, f->arena, &request, &reply);
    classify(f, &reply);
}

/* A job that can never work is refused. */
static int run(struct forwarding *f, struct err *err)
{
    const struct json *data = json_parse(f->arena, f->job.data, err);
    struct db_session *session = data ? db_read(f->hub->db, f->job.tenant_id, err) : NULL;
    const char *url = data ? str_dup(f->arena, json_text(json_get(data, "url"))) : NULL;
    struct message message = { .id = f->job.message_id, .tenant_id = f->job.tenant_id };
    int found = session ? message_get(session, f->arena, &message, err) : -1;

    if (session)
        db_read_end(session);
    if (found < 0 && data)
        return -1;
    if (found == 1 && url) {
        post(f, url, body_of(f, data, &message));
        return 0;
    }
    f->outcome = SEND_REFUSED;
    f->result.code = STR("gone");
    return 0;
}

/* --- Its result ------------------------------------------------------------------------------- */

static void announce(struct db_session *tx, const struct forwarding *f, const char *kind)
{
    const char *data = arena_printf(db_arena(tx), "{\"code\":\"%.*s\"}", STR_FMT(f->result.code));

    event_add(tx, &(struct event){ .tenant_id = f->job.tenant_id, .kind = kind,
        .object_id = f->job.message_id,
        .conversation_id = f->job.conversation_id, .at_ms = clock_ms(), .data = str_c(data) });
}

static int finish_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct forwarding *f = arg;
    struct retry_input input = { .outcome = f->outcome, .failures = f->job.failures,
        .retry_after_s = f->result.retry_after_s, .throttled = f->result.throttled };
    struct retry_output next;
    struct job job = f->job;
    int ended;

    id_random(&input.roll, sizeof input.roll);
    next = retry_webhook(&input);
    job.failures = next.failures;
    if (queue_lock_lanes(tx, &job.lane, 1, err))
        return -1;
    if (next.step == RETRY_AGAIN)
        ended = queue_again(tx, &job, clock_ms() + next.wait_ms, f->result.code, err);
    else
        ended = queue_remove(tx, &job, err);
    if (ended == 1 && next.step != RETRY_AGAIN)
        announce(tx, f, next.step == RETRY_DONE ? "message.forwarded" : "message.forward_failed");
    return ended < 0 ? -1 : 0;
}

/* --- The entry points ------------------------------------------------------------------------- */

static struct forwarding *forwarding_new(struct hub *hub, const struct job *job)
{
    struct arena *arena = arena_new(0);
    struct forwarding *f = arena_alloc(arena, sizeof *f);

    *f = (struct forwarding){ .hub = hub, .arena = arena, .job = *job };
    f->job.data = (struct str){ arena_copy(arena, job->data.data, job->data.len), job->data.len };
    return f;
}

/* 1 its lease is ours, 0 it is somebody else's, -1. */
static int take(struct forwarding *f, struct err *err)
{
    if (db_write(f->hub->db, take_tx, f, err))
        return -1;
    f->job.attempt += f->taken;
    return f->taken;
}

static int work(struct forwarding *f, struct err *err)
{
    return run(f, err) ? -1 : db_write(f->hub->db, finish_tx, f, err);
}

static void work_on_thread(void *arg)
{
    struct forwarding *f = arg;
    struct err err = { 0 };

    if (work(f, &err))
        log_error("the result of a forwarding was not stored; its lease runs out",
                  LOG_N("job", f->job.id), LOG_T("detail", err.detail));
    arena_free(f->arena);
}

/* Take one job; without a pool it is worked on before this returns. */
static int begin(struct hub *hub, struct pool *pool, const struct job *job, struct err *err)
{
    struct forwarding *f = forwarding_new(hub, job);
    int taken = take(f, err);

    if (taken == 1 && pool && pool_add(pool, work_on_thread, f))
        return 0;
    if (taken == 1)
        taken = work(f, err);
    arena_free(f->arena);
    return taken < 0 ? -1 : 0;
}

static int forward_due(struct hub *hub, struct pool *pool, int limit, int64_t *next_ms,
                       struct err *err)
{
    struct arena *arena = arena_new(0);
    struct queue_due due = { .kind = JOB_WEBHOOK, .limit = limit, .next_ms = INT64_MAX };
    struct db_session *session = db_read(hub->db, 0, err);
    int failed = session ? queue_due(session, arena, &due, err) : -1;

    if (session)
        db_read_end(session);
    if (!failed && due.next_ms < *next_ms)
        *next_ms = due.next_ms;
    for (size_t i = 0; i < due.count && !failed; i++)
        failed = begin(hub, pool, &due.jobs[i], err);
    arena_free(arena);
    return failed ? -1 : (int)due.count;
}

int forward_step(struct hub *hub, int limit, int64_t *next_ms, struct err *err)
{
    return forward_due(hub, NULL, limit, next_ms, err);
}

int forward_start(struct hub *hub, struct pool *pool, int64_t *next_ms, struct err *err)
{
    int busy = (int)(pool_waiting(pool) + pool_running(pool));

    /* each that ends commits something, which wakes the caller */
    if (busy >= FORWARD_THREADS)
        return 0;
    return forward_due(hub, pool, FORWARD_THREADS - busy, next_ms, err);
}
