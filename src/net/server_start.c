/* Starting and stopping the HTTP server, and its figures. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "net/server_inside.h"

#include <microhttpd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 8         /* by default: one more than cores, so that one may wait for the disk */
#define STOP_STEP_MS 2
#define STOP_EXTRA_MS 2000      /* for the answers of abandoned requests to leave */
#define ABANDON_BATCH 64

/* As many descriptors as the system lets us have; streams and connections need one each. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_doors(struct http_server *server, struct err *err)
{
    for (int i = 0; i < 2; i++) {
        server->doors[i].server = server;
        server->doors[i].fd = -1;
    }
    if (server->options.listen && door_open_tcp(&server->doors[0], server->options.listen, err) != 0)
        return -1;
    if (server->options.socket_path && door_open_socket(&server->doors[1], server->options.socket_path, err) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (server->doors[i].fd >= 0 && door_start(&server->doors[i], err) != 0)
            return -1;
    return 0;
}

/* Everything is quiet: take it apart. */
static void dismantle(struct http_server *server)
{
    for (int i = 0; i < 2; i++)
        if (server->doors[i].daemon)
            MHD_stop_daemon(server->doors[i].daemon);
    sweeper_stop(server);
    wire_loop_free(server->loop);
    for (int i = 0; i < 2; i++)
        door_close(&server->doors[i]);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static int default_workers(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores < 1 ? 2 : cores >= WORKERS_MAX ? WORKERS_MAX : (int)cores + 1;
}

struct http_server *http_start(const struct http_options *options, struct err *err)
{
    struct http_server *server = mem_alloc(sizeof *server);
    struct pool_options workers = { .name = "hub-worker" };
    sigset_t all, before;

    server->options = *options;
    if (!server->options.body_max)
        server->options.body_max = LIMIT_BATCH_BYTES;
    server->limits = *server_limits();
    workers.threads_min = workers.threads_max = options->workers > 0 ? options->workers : default_workers();
    workers.queue_max = server->limits.work_queue;
    id_random(&server->request_seed, sizeof server->request_seed);
    pthread_mutex_init(&server->lock, NULL);
    raise_file_limit();
    /* Signals are for the main thread; the library's threads inherit this mask. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    server->pool = pool_new(&workers);
    server->loop = wire_loop_new(server->limits.ping_ms);
    sweeper_start(server);
    if (open_doors(server, err) != 0) {
        atomic_store(&server->stopping, true);
        pool_free(server->pool);
        dismantle(server);
        server = NULL;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return server;
}

int http_port(const struct http_server *server)
{
    return server->doors[0].port;
}

static void pause_ms(int ms)
{
    struct timespec time = { .tv_nsec = ms * 1000000L };

    nanosleep(&time, NULL);
}

static void wait_quiet(struct http_server *server, int timeout_ms)
{
    int64_t end_us = clock_mono_us() + timeout_ms * 1000LL;

    while ((atomic_load(&server->counters.active) > 0 || atomic_load(&server->counters.suspended) > 0) &&
           clock_mono_us() < end_us)
        pause_ms(STOP_STEP_MS);
}

/* Take the right to answer from the application for up to ABANDON_BATCH requests. */
static int abandon(struct http_server *server, struct http_exchange *found[ABANDON_BATCH])
{
    int count = 0;

    pthread_mutex_lock(&server->lock);
    for (struct connection *connection = server->first; connection && count < ABANDON_BATCH;
         connection = connection->next) {
        int waiting = EXCHANGE_WAITING;

        pthread_mutex_lock(&connection->lock);
        if (connection->exchange &&
            atomic_compare_exchange_strong(&connection->exchange->state, &waiting, EXCHANGE_ABANDONED))
            found[count++] = connection->exchange;
        pthread_mutex_unlock(&connection->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* The library aborts when it is stopped with suspended connections: answer what nobody has answered. */
static void abandon_all(struct http_server *server)
{
    struct http_exchange *found[ABANDON_BATCH];
    int count;

    while ((count = abandon(server, found)) > 0)
        for (int i = 0; i < count; i++) {
            struct http_exchange *exchange = found[i];
            struct arena *arena = arena_new(0);
            struct http_response response = { 0 };
            struct refusal why;

            /* Not the request's arena: the application still has the request and may be using it. */
            refuse(&why, 503, "The server is stopping.", "Send the request again in a few seconds.");
            http_problem(&response, arena, &why.err, exchange->request.request_id);
            exchange->answer = exchange_build(exchange, &response);
            exchange->status = 503;
            arena_free(arena);
            MHD_resume_connection(exchange->mhd);
            atomic_fetch_sub(&server->counters.suspended, 1);
        }
}

void http_stop(struct http_server *server, int timeout_ms)
{
    if (!server)
        return;
    atomic_store(&server->stopping, true);
    wire_loop_drain(server->loop);
    wait_quiet(server, timeout_ms);
    abandon_all(server);
    /* From here on only answers under way: each is resumed by its own thread. */
    wait_quiet(server, STOP_EXTRA_MS);
    pool_free(server->pool);
    while (atomic_load(&server->counters.suspended) > 0) {
        abandon_all(server);
        pause_ms(STOP_STEP_MS);
    }
    dismantle(server);
}

void http_stats(struct http_server *server, struct http_stats *out)
{
    out->requests = atomic_load(&server->counters.requests);
    out->refused = atomic_load(&server->counters.refused);
    out->connections = atomic_load(&server->counters.connections);
    out->streams = wire_count(server->loop, WIRE_STREAM);
    out->sockets = wire_count(server->loop, WIRE_WEBSOCKET);
    out->work_waiting = (int64_t)pool_waiting(server->pool);
}
