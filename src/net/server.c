#include "net/server.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "net/server_inside.h"

#include <assert.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENT_THREADS_MAX 4
#define EVENT_STACK_BYTES (256 * 1024)
#define SMALL_BODY_BYTES (16 * 1024)    /* announced lengths up to this are believed */
#define ANSWER_RATE 16                  /* answers must be read this many times faster than bodies come in */

static _Thread_local struct http_exchange *responding, *answered_later;

struct server_limits *server_limits(void)
{
    static struct server_limits limits = {
        .header_ms = LIMIT_HEADER_MS, .idle_ms = LIMIT_IDLE_MS, .ping_ms = 30000,
        .body_bytes_per_s = LIMIT_BODY_BYTES_PER_S, .work_queue = LIMIT_WORK_QUEUE,
        .bodies_bytes = LIMIT_BODIES_BYTES, .uploads_bytes = LIMIT_UPLOADS_BYTES,
    };

    return &limits;
}

/* --- Exchanges ---------------------------------------------------------------------------------------------------- */

void exchange_hold(struct http_exchange *exchange)
{
    atomic_fetch_add_explicit(&exchange->refs, 1, memory_order_relaxed);
}

void exchange_drop(struct http_exchange *exchange)
{
    if (atomic_fetch_sub_explicit(&exchange->refs, 1, memory_order_acq_rel) != 1)
        return;
    buf_fini(&exchange->large);
    arena_free(exchange->request.arena);
}

static struct http_exchange *exchange_new(struct connection *connection, struct MHD_Connection *mhd)
{
    struct arena *arena = arena_new(0);
    struct http_exchange *exchange = arena_alloc(arena, sizeof *exchange);

    exchange->request.arena = arena;
    exchange->request.door = connection->door;
    exchange->request.uid = connection->uid;
    memcpy(exchange->request.peer, connection->peer, sizeof connection->peer);
    exchange->server = connection->server;
    exchange->connection = connection;
    exchange->mhd = mhd;
    atomic_init(&exchange->refs, 1);
    atomic_init(&exchange->state, EXCHANGE_COLLECTING);
    pthread_mutex_lock(&connection->lock);
    connection->exchange = exchange;
    pthread_mutex_unlock(&connection->lock);
    atomic_fetch_add(&connection->server->counters.active, 1);
    return exchange;
}

struct http_request *http_exchange_request(struct http_exchange *exchange)
{
    return &exchange->request;
}

void http_set_data(struct http_exchange *exchange, void *data)
{
    exchange->data = data;
}

void *http_data(struct http_exchange *exchange)
{
    return exchange->data;
}

/* Let the event thread send the answer. After the counter is down the server may be gone. */
static void resume(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;

    MHD_resume_connection(exchange->mhd);
    atomic_fetch_sub(&server->counters.suspended, 1);
    exchange_drop(exchange);
}

bool exchange_answer(struct http_exchange *exchange, struct MHD_Response *answer, int status, struct wire *wire)
{
    int waiting = EXCHANGE_WAITING;

    if (!atomic_compare_exchange_strong(&exchange->state, &waiting, EXCHANGE_ANSWERING)) {
        assert(waiting == EXCHANGE_ABANDONED);
        MHD_destroy_response(answer);
        exchange_drop(exchange);
        return false;
    }
    exchange->answer = answer;
    exchange->status = status;
    exchange->wire = wire;
    if (wire && responding == exchange)
        answered_later = exchange;
    else
        resume(exchange);
    return true;
}

static struct MHD_Response *build_body(struct http_response *response, size_t *len)
{
    const struct http_file *file = response->file;
    char *body = buf_take(&response->body, len);

    if (!file)
        return MHD_create_response_from_buffer_with_free_callback(*len, body, free);
    free(body);
    *len = file->length;
    return MHD_create_response_from_fd_at_offset64(file->length, file->fd, file->from);
}

struct MHD_Response *exchange_build(struct http_exchange *exchange, struct http_response *response)
{
    bool has_body = response->body.len > 0 || response->file;
    size_t len;
    struct MHD_Response *answer = build_body(response, &len);

    if (!answer)
        mem_exhausted(len);
    exchange->answer_len = len;
    MHD_add_response_header(answer, "X-Request-Id", exchange->request.request_id);
    MHD_add_response_header(answer, "X-Content-Type-Options", "nosniff");
    if (has_body)
        MHD_add_response_header(answer, "Content-Type",
                                response->content_type ? response->content_type : "application/json");
    for (size_t i = 0; i < response->header_count; i++)
        MHD_add_response_header(answer, response->headers[i].name.data, response->headers[i].value.data);
    return answer;
}

void http_reply(struct http_exchange *exchange, struct http_response *response)
{
    exchange_answer(exchange, exchange_build(exchange, response), response->status, NULL);
}

void exchange_refuse(struct http_exchange *exchange, struct refusal *why)
{
    struct http_response response = { .status = why->status };

    if (atomic_load(&exchange->state) != EXCHANGE_ABANDONED)
        atomic_fetch_add_explicit(&exchange->server->counters.refused, 1, memory_order_relaxed);
    http_problem(&response, exchange->request.arena, &why->err, exchange->request.request_id);
    http_reply(exchange, &response);
}

/* --- The library's callbacks, on an event thread ------------------------------------------------------------------ */

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

        *context = connection_new(cls, fd, MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
                                  ->client_addr);
    } else {
        connection_free(*context);
        *context = NULL;
    }
}

/* While the server stops, who connects is turned away at once. (Taking the listening socket out of the library's epoll
 * sets, as MHD_quiesce_daemon does, races with its threads, which do the same, and then aborts.) */
static enum MHD_Result on_accept(void *cls, const struct sockaddr *address, socklen_t len)
{
    struct door *door = cls;

    (void)address;
    (void)len;
    return door->server->stopping ? MHD_NO : MHD_YES;
}

/* The request line is in. The library is about to write over the target. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct connection *connection = connection_of(mhd);

    (void)cls;
    if (atomic_load(&connection->phase) == PHASE_IDLE)
        connection_enter(connection, PHASE_HEADER, connection->server->limits.header_ms * 1000LL);
    free(connection->target);
    connection->target_len = target ? strlen(target) : 0;
    connection->target = target && connection->target_len <= LIMIT_URL_BYTES ? mem_strdup(target) : NULL;
    return NULL;
}

static size_t leave_escaped(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return strlen(text);
}

/* Queue what exchange->answer holds. */
static enum MHD_Result queue_answer(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    struct MHD_Response *answer = exchange->answer;
    int64_t patience_us = server->limits.idle_ms * 1000LL +
                          (int64_t)exchange->answer_len * 1000000 / ANSWER_RATE / server->limits.body_bytes_per_s;
    enum MHD_Result result;

    connection_enter(exchange->connection, PHASE_REPLY, patience_us);
    if (server->stopping)
        MHD_add_response_header(answer, "Connection", "close");
    exchange->answer = NULL;
    result = MHD_queue_response(exchange->mhd, (unsigned)exchange->status, answer);
    MHD_destroy_response(answer);
    return result;
}

/* Answer a refusal right here. */
static enum MHD_Result answer_refusal(struct http_exchange *exchange, struct refusal *why)
{
    struct http_response response = { .status = why->status };

    atomic_fetch_add_explicit(&exchange->server->counters.refused, 1, memory_order_relaxed);
    http_problem(&response, exchange->request.arena, &why->err, exchange->request.request_id);
    exchange->answer = exchange_build(exchange, &response);
    exchange->status = response.status;
    return queue_answer(exchange);
}

static void work(void *arg)
{
    struct http_exchange *exchange = arg;
    struct http_server *server = exchange->server;

    if (atomic_load(&exchange->state) == EXCHANGE_ABANDONED) {
        exchange_drop(exchange);
        return;
    }
    responding = exchange;
    server->options.respond(server->options.arg, exchange, &exchange->request);
    responding = NULL;
    /* An answer that hands the socket over waits until here, so that its callbacks do not come before `respond` could
     * keep the pointer it was given. */
    if (answered_later) {
        exchange = answered_later;
        answered_later = NULL;
        resume(exchange);
    }
}

static void refuse_busy(struct http_server *server, struct refusal *why)
{
    refuse(why, 503, server->stopping ? "The server is stopping." : "Too many requests are waiting.",
           "Send the request again in a second.");
    why->err.retry_after_s = 1;
}

/* The request is complete: give it to the workers. */
static enum MHD_Result hand_over(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;

    if (exchange->small)
        exchange->request.body = (struct str){ exchange->small, exchange->small_len };
    else
        exchange->request.body = buf_slice(&exchange->large);
    atomic_fetch_add_explicit(&server->counters.requests, 1, memory_order_relaxed);
    if (server->stopping || pool_waiting(server->pool) >= server->limits.work_queue) {
        struct refusal why;

        refuse_busy(server, &why);
        return answer_refusal(exchange, &why);
    }
    if (!connection_enter(exchange->connection, PHASE_WORK, INT64_MAX))
        return MHD_NO;
    /* Suspend first: the answer may come before pool_add has returned. */
    exchange_hold(exchange);
    atomic_store(&exchange->state, EXCHANGE_WAITING);
    atomic_fetch_add(&server->counters.suspended, 1);
    MHD_suspend_connection(exchange->mhd);
    if (!pool_add(server->pool, work, exchange)) {
        struct refusal why;

        refuse_busy(server, &why);
        exchange_refuse(exchange, &why);
    }
    return MHD_YES;
}

/* Put a piece behind the others of a body whose length is large or unknown. */
static bool is_upload(const struct http_exchange *exchange)
{
    return exchange->body_max > exchange->server->options.body_max;
}

static bool grow(struct http_exchange *exchange, const char *data, size_t len, struct refusal *why)
{
    struct http_server *server = exchange->server;
    long long all = atomic_fetch_add(&server->counters.bodies_bytes, (long long)len) + (long long)len, uploads = 0;

    exchange->charged += (long long)len;
    if (is_upload(exchange))
        uploads = atomic_fetch_add(&server->counters.uploads_bytes, (long long)len) + (long long)len;
    if (all > server->limits.bodies_bytes || uploads > server->limits.uploads_bytes) {
        refuse(why, 503, "Too many large requests are coming in.", "Send the request again in a few seconds.");
        return false;
    }
    buf_add(&exchange->large, data, len);
    if (!exchange->large.overflow)
        return true;
    refuse(why, 413, "The body is larger than this server takes.", "Send less at once: several smaller batches.");
    return false;
}

/* A piece of the body. The library takes no answer here, so one that is too long gets it on the bare socket. */
static enum MHD_Result collect(struct http_exchange *exchange, const char *data, size_t len)
{
    struct http_server *server = exchange->server;
    struct refusal why;
    int64_t got;

    if (exchange->small) {
        if (len > (size_t)exchange->length - exchange->small_len)
            return MHD_NO;
        memcpy(exchange->small + exchange->small_len, data, len);
        exchange->small_len += len;
    } else if (!grow(exchange, data, len, &why)) {
        exchange->connection->linger = true;
        connection_refuse(exchange->connection, &why);
        return MHD_NO;
    }
    got = (int64_t)(exchange->small ? exchange->small_len : exchange->large.len);
    atomic_store(&exchange->connection->deadline_us, exchange->body_since_us + server->limits.header_ms * 1000LL +
                 got * 1000000 / server->limits.body_bytes_per_s);
    return MHD_YES;
}

/* The header is in: check it, make room for the body. */
static enum MHD_Result begin(struct http_exchange *exchange, const struct request_line *line)
{
    struct http_server *server = exchange->server;
    struct connection *connection = exchange->connection;
    struct refusal why;

    if (check_request(exchange, line, &why) != 0) {
        connection->linger = true;
        return answer_refusal(exchange, &why);
    }
    buf_init(&exchange->large, exchange->body_max);
    if (exchange->length > 0 && exchange->length <= SMALL_BODY_BYTES)
        exchange->small = arena_alloc(exchange->request.arena, (size_t)exchange->length + 1);
    exchange->body_since_us = clock_mono_us();
    if (exchange->length != 0)
        return connection_enter(connection, PHASE_BODY, server->limits.header_ms * 1000LL) ? MHD_YES : MHD_NO;
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    struct http_exchange *exchange = *context;

    (void)cls;
    if (!exchange) {
        exchange = *context = exchange_new(connection_of(mhd), mhd);
        return begin(exchange, &(struct request_line){ method, url, version });
    }
    if (*size > 0) {
        size_t len = *size;

        *size = 0;
        return collect(exchange, data, len);
    }
    if (exchange->answer)
        return queue_answer(exchange);
    return hand_over(exchange);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
    struct http_exchange *exchange = *context;
    struct connection *connection = connection_of(mhd);
    struct http_server *server = ((struct door *)cls)->server;

    free(connection->target);
    connection->target = NULL;
    *context = NULL;
    if (!exchange)
        return;
    pthread_mutex_lock(&connection->lock);
    connection->exchange = NULL;
    pthread_mutex_unlock(&connection->lock);
    connection_enter(connection, PHASE_IDLE, server->limits.idle_ms * 1000LL);
    /* Answered, but the connection broke before the library asked for the answer. */
    if (exchange->answer)
        MHD_destroy_response(exchange->answer);
    exchange->answer = NULL;
    if (exchange->wire)
        take_over(exchange, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    atomic_fetch_sub(&server->counters.bodies_bytes, exchange->charged);
    if (is_upload(exchange))
        atomic_fetch_sub(&server->counters.uploads_bytes, exchange->charged);
    exchange_drop(exchange);
    atomic_fetch_sub(&server->counters.active, 1);
}

int door_start(struct door *door, struct err *err)
{
    struct http_server *server = door->server;
    const struct http_options *options = &server->options;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = options->event_threads > 0 ? (unsigned)options->event_threads
                       : cores > EVENT_THREADS_MAX ? EVENT_THREADS_MAX : cores > 1 ? (unsigned)cores : 1;
    unsigned connections = options->connections_max > 0 ? (unsigned)options->connections_max : LIMIT_CONNECTIONS;
    unsigned per_address = options->connections_per_address > 0 ? (unsigned)options->connections_per_address
                                                                : LIMIT_CONNECTIONS_PER_ADDRESS;
    struct MHD_OptionItem pool[] = { { MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL },
                                     { MHD_OPTION_END, 0, NULL } };

    /* The command line's socket is served by one thread; the library wants no pool of one. */
    if (threads == 1 || door->kind == HTTP_DOOR_SOCKET)
        pool[0] = (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };
    /* TURBO: the library must not shut a socket down that it closes, because it may live on as an event stream. */
    door->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_TURBO, 0,
        on_accept, door, on_request, door,
        MHD_OPTION_ARRAY, pool,
        MHD_OPTION_LISTEN_SOCKET, fcntl(door->fd, F_DUPFD_CLOEXEC, 0),     /* the library closes its own, mostly */
        MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIMIT_CONNECTION_POOL_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, 0U,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)EVENT_STACK_BYTES,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, door,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, door,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, door,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, door,
        MHD_OPTION_END);
    if (!door->daemon) {
        err_set(err, ERR_INTERNAL, "The HTTP library did not start.");
        return err_hint(err, "Check the limits on threads and open files (ulimit -u, ulimit -n).");
    }
    return 0;
}
