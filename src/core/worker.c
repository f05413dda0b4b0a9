#include "core/worker.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/config.h"
#include "core/decide.h"
#include "core/fetch.h"
#include "core/forward.h"
#include "core/hub.h"
#include "core/inbox.h"
#include "core/worker_inside.h"
#include "net/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define AGENT_THREADS 32
#define IMPORT_ROWS 500
/* every commit wakes all loops; those without haste look no more often than this */
#define LOOK_PAUSE_MS 10
#define FAILURE_PAUSE_MS 1000
#define LEAST_WAIT_MS 5
/* how soon a loop that goes by the clock sees that it is to stop */
#define CLOCK_STEP_MS 200

enum { IMPORTER, DECIDER, SENDER, FORWARDER, FETCHER, POLLER, SWEEPER, HEARTBEAT, LOOPS };

struct loop {
    struct workers *workers;
    const char *name;
    int (*step)(struct workers *workers, int64_t *next_ms, struct err *err);
    pthread_t thread;
    bool failing;                   /* logged once, until it works again */
};

struct workers {
    struct hub *hub;
    struct sender *sender;
    struct pollers *pollers;
    struct pool *agents, *forwarders, *fetchers;
    struct decider decider;
    struct loop loops[LOOPS];
    int started;
    atomic_bool stopping;
};

/* --- Steps of the loops ----------------------------------------------------------------------- */

static void pause_ms(int64_t wait_ms)
{
    struct timespec wait = { wait_ms / 1000, wait_ms % 1000 * 1000000L };

    nanosleep(&wait, NULL);
}

static int import_step(struct workers *workers, int64_t *next_ms, struct err *err)
{
    int imported = inbox_import_step(workers->hub, IMPORT_ROWS, err);

    (void)next_ms;
    if (imported == 0)
        pause_ms(LOOK_PAUSE_MS);
    return imported;
}

static int decider_step(struct workers *workers, int64_t *next_ms, struct err *err)
{
    return decide_step(&workers->decider, next_ms, err);
}

static int send_step(struct workers *workers, int64_t *next_ms, struct err *err)
{
    return sender_step(workers->sender, next_ms, err);
}

static int webhook_step(struct workers *workers, int64_t *next_ms, struct err *err)
{
    int done = forward_start(workers->hub, workers->forwarders, next_ms, err);

    if (done == 0)
        pause_ms(LOOK_PAUSE_MS);
    return done;
}

static int media_step(struct workers *workers, int64_t *next_ms, struct err *err)
{
    int done = fetch_start(workers->hub, workers->fetchers, workers->sender, next_ms, err);

    if (done == 0)
        pause_ms(LOOK_PAUSE_MS);
    return done;
}

static int sweep_step(struct workers *workers, int64_t *next_ms, struct err *err)
{
    return worker_sweep_step(workers->hub, next_ms, err) < 0 ? -1 : 0;
}

static int poll_step(struct workers *workers, int64_t *next_ms, struct err *err)
{
    return pollers_step(workers->pollers, next_ms, err);
}

static int heartbeat_step(struct workers *workers, int64_t *next_ms, struct err *err)
{
    *next_ms = clock_ms() + LIMIT_HEARTBEAT_MS;
    return sender_heartbeat(workers->sender, err);
}

/* --- Loops ------------------------------------------------------------------------------------ */

static void note_failure(struct loop *loop, const struct err *err)
{
    if (!loop->failing)
        log_error("a worker cannot work; it tries again every second", LOG_T("worker", loop->name),
                  LOG_T("detail", err->detail));
    loop->failing = true;
    pause_ms(FAILURE_PAUSE_MS);
}

static void wait_for_work(struct loop *loop, uint32_t seen, int64_t next_ms)
{
    int64_t wait_ms = next_ms - clock_ms();

    /* Of a clock that was set nothing is believed for longer than the safety net. */
    if (wait_ms > LIMIT_POLL_MS)
        wait_ms = LIMIT_POLL_MS;
    if (wait_ms < LEAST_WAIT_MS)
        wait_ms = LEAST_WAIT_MS;
    wake_wait(loop->workers->hub->wake, seen, (int)wait_ms);
}

static void *run_loop(void *arg)
{
    struct loop *loop = arg;
    struct workers *workers = loop->workers;

    while (!atomic_load(&workers->stopping)) {
        uint32_t seen = wake_seen(workers->hub->wake);
        int64_t next_ms = clock_ms() + LIMIT_POLL_MS;
        struct err err = { 0 };
        int done = loop->step(workers, &next_ms, &err);
        if (done < 0) {
            note_failure(loop, &err);
            continue;
        }
        if (loop->failing)
            log_info("a worker works again", LOG_T("worker", loop->name));
        loop->failing = false;
        if (done == 0)
            wait_for_work(loop, seen, next_ms);
    }
    return NULL;
}

/* The same for what goes by the clock alone: no commit wakes it. */
static void *run_by_clock(void *arg)
{
    struct loop *loop = arg;
    struct workers *workers = loop->workers;

    while (!atomic_load(&workers->stopping)) {
        int64_t next_ms = clock_ms() + LIMIT_POLL_MS, started_us = clock_mono_us(), wait_us;
        struct err err = { 0 };
        if (loop->step(workers, &next_ms, &err) < 0)
            note_failure(loop, &err);
        wait_us = (next_ms - clock_ms()) * 1000;
        if (wait_us > LIMIT_POLL_MS * 1000LL)
            wait_us = LIMIT_POLL_MS * 1000LL;
        while (!atomic_load(&workers->stopping) && clock_mono_us() - started_us < wait_us)
            pause_ms(wait_us < CLOCK_STEP_MS * 1000LL ? LOOK_PAUSE_MS : CLOCK_STEP_MS);
    }
    return NULL;
}

static int start_loop(struct workers *workers, int which, const char *name, struct err *err)
{
    static int (*const steps[LOOPS])(struct workers *, int64_t *, struct err *) = {
        [IMPORTER] = import_step, [DECIDER] = decider_step, [SENDER] = send_step,
            [FORWARDER] = webhook_step, [FETCHER] = media_step,
        [POLLER] = poll_step, [SWEEPER] = sweep_step, [HEARTBEAT] = heartbeat_step };
    struct loop *loop = &workers->loops[which];
    bool by_clock = which == SWEEPER || which == HEARTBEAT || which == POLLER;
    pthread_attr_t attributes;
    int status;

    *loop = (struct loop){ .workers = workers, .name = name, .step = steps[which] };
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    status = pthread_create(&loop->thread, &attributes, by_clock ? run_by_clock : run_loop, loop);
    pthread_attr_destroy(&attributes);
    if (status)
        return err_set(err, ERR_INTERNAL, "The worker \"%s\" could not be started: error %d.", name,
                       status);
    pthread_setname_np(loop->thread, name);
    return 0;
}

static int send_slots(const struct hub *hub)
{
    int64_t slots = hub->config ? config_number(hub->config, "send-workers") : LIMIT_SEND_WORKERS_DEFAULT;

    return slots < 1 ? 1 : slots > LIMIT_SEND_WORKERS ? LIMIT_SEND_WORKERS : (int)slots;
}

struct workers *workers_start(struct hub *hub, struct err *err)
{
    static const char *const names[LOOPS] = { "import", "decide", "claim", "forward", "fetch", "poll",
        "sweep", "heartbeat" };
    const struct pool_options agents = { "agent", 1, AGENT_THREADS, LIMIT_WORK_QUEUE, 0 };
    const struct pool_options forwarders = { "forward", 1, FORWARD_THREADS, FORWARD_THREADS, 0 };
    const struct pool_options fetchers = { "fetch", 1, LIMIT_FETCHES, LIMIT_FETCHES, 0 };
    struct workers *workers = mem_alloc(sizeof *workers);
    int failed = 0;

    workers->hub = hub;
    workers->sender = sender_new(hub, send_slots(hub));
    workers->agents = pool_new(&agents);
    workers->pollers = pollers_new(hub);
    workers->forwarders = pool_new(&forwarders);
    workers->fetchers = pool_new(&fetchers);
    workers->decider = (struct decider){ hub, workers->agents, workers->sender };
    /* SQLite has one hub: what another one held was left behind by a dead process. */
    if (!db_is_postgres(hub->db))
        failed = queue_orphan(hub, err);
    while (workers->started < LOOPS && !failed) {
        failed = start_loop(workers, workers->started, names[workers->started], err);
        workers->started += !failed;
    }
    if (!failed)
        return workers;
    workers_stop(workers, 0);
    return NULL;
}

/* Nobody asks an agent or polls a channel. */
static bool is_idle(struct workers *workers)
{
    return pool_waiting(workers->agents) + pool_running(workers->agents) == 0 &&
           pollers_idle(workers->pollers) &&
           pool_waiting(workers->forwarders) + pool_running(workers->forwarders) == 0 &&
           pool_waiting(workers->fetchers) + pool_running(workers->fetchers) == 0;
}

bool workers_stop(struct workers *workers, int timeout_ms)
{
    int64_t until_us = clock_mono_us() + (int64_t)timeout_ms * 1000, left_ms;
    bool idle;

    if (!workers)
        return true;
    atomic_store(&workers->stopping, true);
    sender_refuse(workers->sender);
    pollers_stop(workers->pollers);
    wake_signal(workers->hub->wake);
    while (workers->started > 0)
        pthread_join(workers->loops[--workers->started].thread, NULL);
    while (!is_idle(workers) && clock_mono_us() < until_us)
        pause_ms(10);
    idle = is_idle(workers);
    left_ms = (until_us - clock_mono_us()) / 1000;
    if (!sender_stop(workers->sender, left_ms > 0 ? (int)left_ms : 0) || !idle)
        return false;
    sender_free(workers->sender);
    pool_free(workers->agents);
    pollers_free(workers->pollers);
    pool_free(workers->forwarders);
    pool_free(workers->fetchers);
    free(workers);
    return true;
}

int worker_decide_step(struct hub *hub, int64_t *next_ms, struct err *err)
{
    struct decider decider = { .hub = hub };

    return decide_step(&decider, next_ms, err);
}
