#include "core/worker_inside.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "core/channel.h"
#include "core/hub.h"
#include "core/inbox.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 1000
#define IDLE_LOOK_MS 5000
#define ROUND_MS 25000              /* one round of a long poll; a node that died is replaced one round later */
#define LEASE_MS (ROUND_MS + LIMIT_SEND_MS)
#define STEP_MS 5000                /* the same where a test calls the rounds by hand */
#define BACK_OFF_MS 1000
#define BACK_OFF_MAX_MS 60000
#define WAIT_MAX_MS 3600000
#define SHORT_ROUND_US 200000
#define POLLED_KINDS 64
#define STACK_BYTES (256 * 1024)

/* A channel and the thread that polls it. */
struct poller {
    struct pollers *pollers;
    struct poller *next;
    int64_t tenant_id, channel_id;
    atomic_bool stopping;           /* its exchanges end when this is set */
    bool ended, wanted;
    int failures;
    bool has_started;
};

struct pollers {
    struct hub *hub;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct poller *first;
    size_t running;
    bool stopping;
};

/* --- One round -------------------------------------------------------------------------------- */

static int read_cursor(struct hub *hub, struct arena *arena, const struct channel *channel,
                       struct str *cursor, struct err *err)
{
    struct db_session *session = db_read(hub->db, channel->tenant_id, err);
    struct db_rows *rows = session ? db_query(session, "SELECT cursor FROM channels WHERE id = $1",
                                              DB_ARGS(db_int(channel->id)), err) : NULL;
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1 && !db_col_null(rows, 0)) {
        struct str text = db_col_text(rows, 0);
        *cursor = (struct str){ str_dup(arena, text), text.len };
    }
    if (session)
        db_read_end(session);
    return found < 0 ? -1 : 0;
}

/* The cursor and what lies before it are committed together. */
static int store_polled(struct hub *hub, const struct channel *channel, const struct events *events,
                        struct str cursor, struct err *err)
{
    struct inbox_write write = { .tenant_id = channel->tenant_id, .channel_id = channel->id,
        .events = events->items, .count = events->count, .cursor = cursor };

    write.results = arena_array(events->arena, events->count, sizeof *write.results);
    return inbox_accept(hub, events->arena, &write, err);
}

/* One round of a loaded channel. The number of events, and one more when the cursor moved; -1. */
static int poll_round(struct hub *hub, struct arena *arena, const struct channel *channel,
                      struct poll *poll, struct err *err)
{
    struct events events = { .arena = arena };
    struct str before;
    bool moved;

    if (read_cursor(hub, arena, channel, &poll->cursor, err))
        return -1;
    before = poll->cursor;
    if (channel->driver->poll(channel, poll, hub->exchange, &events, err))
        return -1;
    moved = !str_eq(poll->cursor, before);
    if ((events.count > 0 || moved) && store_polled(hub, channel, &events, poll->cursor, err))
        return -1;
    return (int)events.count + moved;
}

/* --- Whose channel it is (PostgreSQL: several nodes) ------------------------------------------ */

struct lease {
    struct hub *hub;
    int64_t channel_id;
    bool ours;
};

static int lease_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct lease *lease = arg;
    int64_t now_ms = db_now_ms(tx, err);
    int changed = now_ms < 0 ? -1 : db_exec(tx,
        "UPDATE channels SET poll_node = $1, poll_until_ms = $2 WHERE id = $3 AND state = 0 AND (poll_node = $4 OR "
        "coalesce(poll_until_ms, 0) < $5)",
        DB_ARGS(db_cstr(lease->hub->node), db_int(now_ms + LEASE_MS), db_int(lease->channel_id),
                db_cstr(lease->hub->node), db_int(now_ms)), err);

    lease->ours = changed == 1;
    return changed < 0 ? -1 : 0;
}

/* 1: this node polls it now, 0: another does, -1. SQLite has one node, and an idle hub writes nothing there. */
static int take_lease(struct hub *hub, int64_t channel_id, struct err *err)
{
    struct lease lease = { .hub = hub, .channel_id = channel_id };

    if (!db_is_postgres(hub->db))
        return 1;
    return db_write(hub->db, lease_tx, &lease, err) ? -1 : lease.ours;
}

static int drop_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct lease *lease = arg;

    return db_exec(tx, "UPDATE channels SET poll_until_ms = 0 WHERE id = $1 AND poll_node = $2",
                   DB_ARGS(db_int(lease->channel_id), db_cstr(lease->hub->node)), err) < 0 ? -1 : 0;
}

static void drop_lease(struct hub *hub, int64_t channel_id)
{
    struct lease lease = { .hub = hub, .channel_id = channel_id };
    struct err err = { 0 };

    if (db_is_postgres(hub->db) && db_write(hub->db, drop_tx, &lease, &err))
        log_warn("a poll's lease could not be given back; it runs out", LOG_N("channel", channel_id),
                 LOG_T("detail", err.detail));
}

/* --- What is known of its health -------------------------------------------------------------- */

struct failure {
    int64_t channel_id;
    const char *detail;             /* NULL: it works again */
};

static int note_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct failure *failure = arg;

    return db_exec(tx, "UPDATE channels SET last_error = $1 WHERE id = $2",
                   DB_ARGS(db_text(str_c(failure->detail)), db_int(failure->channel_id)), err) < 0 ? -1 : 0;
}

static void note(struct hub *hub, int64_t channel_id, const char *detail)
{
    struct failure failure = { channel_id, detail };
    struct err err = { 0 };

    if (db_write(hub->db, note_tx, &failure, &err))
        log_warn("a channel's health could not be noted", LOG_N("channel", channel_id), LOG_T("detail", err.detail));
}

/* --- A channel's thread ----------------------------------------------------------------------- */

static void wait_for(struct poller *poller, int64_t wait_ms)
{
    struct pollers *pollers = poller->pollers;
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&pollers->lock);
    while (!atomic_load(&poller->stopping) &&
           pthread_cond_timedwait(&pollers->changed, &pollers->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&pollers->lock);
}

static int64_t back_off_ms(int failures)
{
    int64_t wait_ms = BACK_OFF_MS << (failures < 7 ? failures : 7);
    unsigned char roll;

    id_random(&roll, sizeof roll);
    wait_ms = wait_ms > BACK_OFF_MAX_MS ? BACK_OFF_MAX_MS : wait_ms;
    return wait_ms / 2 + wait_ms / 2 * roll / 255;
}

/* A failure is told once, until it works again. */
static int64_t failed(struct poller *poller, const struct err *err)
{
    if (atomic_load(&poller->stopping))
        return 0;
    if (poller->failures == 0) {
        log_warn("a channel could not be polled", LOG_N("channel", poller->channel_id),
                 LOG_T("detail", err->detail));
        note(poller->pollers->hub, poller->channel_id, err->detail);
    }
    poller->has_started = false;
    return back_off_ms(poller->failures++);
}

/* One round; returns how long to wait before the next. */
static int64_t poll_once(struct poller *poller)
{
    struct hub *hub = poller->pollers->hub;
    struct arena *arena = arena_new(0);
    struct poll poll = { .now_ms = clock_ms(), .timeout_ms = ROUND_MS, .is_start = !poller->has_started };
    struct channel channel;
    struct err err = { 0 };
    int found = channel_load(hub->db, arena, CHANNEL_ID(poller->tenant_id, poller->channel_id), &channel, &err);
    int64_t wait_ms = LOOK_MS, began_us = clock_mono_us();
    int came = 0;

    if (found == 1 && channel.state == 0)
        found = take_lease(hub, poller->channel_id, &err);
    if (found == 1)
        came = poll_round(hub, arena, &channel, &poll, &err);
    if (found == 1 && came >= 0) {
        if (poller->failures > 0)
            note(hub, poller->channel_id, NULL);
        poller->failures = 0;
        poller->has_started = true;
        wait_ms = poll.wait_ms > WAIT_MAX_MS ? WAIT_MAX_MS : poll.wait_ms;
        /* a long poll that does not wait must not become a busy loop */
        if (came == 0 && wait_ms < LOOK_MS && clock_mono_us() - began_us < SHORT_ROUND_US)
            wait_ms = LOOK_MS;
    } else if (found < 0 || came < 0) {
        wait_ms = failed(poller, &err);
    }
    arena_free(arena);
    return wait_ms;
}

static void *run(void *arg)
{
    struct poller *poller = arg;
    struct pollers *pollers = poller->pollers;

    exchange_interrupted_by(&poller->stopping);
    while (!atomic_load(&poller->stopping)) {
        int64_t wait_ms = poll_once(poller);
        if (wait_ms > 0)
            wait_for(poller, wait_ms);
    }
    drop_lease(pollers->hub, poller->channel_id);
    pthread_mutex_lock(&pollers->lock);
    poller->ended = true;
    pollers->running--;
    pthread_mutex_unlock(&pollers->lock);
    return NULL;
}

/* --- Which channels are polled ---------------------------------------------------------------- */

/* The kinds of channel that are polled: none, mostly, and then nothing is asked. */
static size_t polled_kinds(struct db_value *kinds, size_t max)
{
    size_t count = 0;

    for (const struct channel_driver *const *driver = channel_drivers; *driver; driver++)
        if ((*driver)->poll && count < max)
            kinds[count++] = db_cstr((*driver)->kind);
    return count;
}

static int read_polled(struct db_session *session, const struct db_set *set, int64_t (*pairs)[2],
                       size_t *count, struct err *err)
{
    struct db_rows *rows = db_query_rows(session, set, err);
    int more = -1;

    while (rows && *count < LIMIT_POLLED && (more = db_next(rows, err)) == 1) {
        pairs[*count][0] = db_col_int(rows, 0);
        pairs[(*count)++][1] = db_col_int(rows, 1);
    }
    return more < 0 ? -1 : 0;
}

/* The enabled channels that are polled, as pairs of tenant and channel. */
static int list_polled(struct hub *hub, struct arena *arena, int64_t (**pairs)[2], size_t *count, struct err *err)
{
    struct db_value kinds[POLLED_KINDS];
    struct db_set set = {
        "WITH v(kind) AS (:rows:) SELECT c.tenant_id, c.id FROM v JOIN channels c "
        "ON c.kind = v.kind JOIN tenants t ON t.id = c.tenant_id "
        "WHERE c.state = 0 AND t.state = 0 ORDER BY c.id LIMIT 1000", "t", kinds,
        polled_kinds(kinds, POLLED_KINDS) };
    struct db_session *session;
    int result;

    *count = 0;
    *pairs = arena_array(arena, LIMIT_POLLED, sizeof **pairs);
    if (set.row_count == 0)
        return 0;
    session = db_read(hub->db, 0, err);
    if (!session)
        return -1;
    result = read_polled(session, &set, *pairs, count, err);
    db_read_end(session);
    return result;
}

int worker_poll_step(struct hub *hub, int64_t *next_ms, struct err *err)
{
    struct arena *arena = arena_new(0);
    int64_t (*pairs)[2];
    size_t count;
    int result = list_polled(hub, arena, &pairs, &count, err), done = 0;

    for (size_t i = 0; i < count && !result; i++) {
        struct poll poll = { .now_ms = clock_ms(), .timeout_ms = STEP_MS, .is_start = true, .wait_ms = STEP_MS };
        struct channel channel;
        int came = channel_load(hub->db, arena, CHANNEL_ID(pairs[i][0], pairs[i][1]), &channel, err);

        if (came == 1)
            came = poll_round(hub, arena, &channel, &poll, err);
        result = came < 0 ? -1 : 0;
        done += came > 0;
        if (clock_ms() + poll.wait_ms < *next_ms)
            *next_ms = clock_ms() + poll.wait_ms;
    }
    arena_free(arena);
    return result ? -1 : done;
}

/* --- All of them ------------------------------------------------------------------------------ */

struct pollers *pollers_new(struct hub *hub)
{
    struct pollers *pollers = mem_alloc(sizeof *pollers);
    pthread_condattr_t attributes;

    pollers->hub = hub;
    pthread_mutex_init(&pollers->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pollers->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return pollers;
}

static struct poller *find(struct pollers *pollers, int64_t channel_id)
{
    for (struct poller *poller = pollers->first; poller; poller = poller->next)
        if (poller->channel_id == channel_id && !atomic_load(&poller->stopping))
            return poller;
    return NULL;
}

static void start(struct pollers *pollers, const int64_t pair[2])
{
    struct poller *poller = mem_alloc(sizeof *poller);
    pthread_attr_t attributes;
    pthread_t thread;

    *poller = (struct poller){ .pollers = pollers, .next = pollers->first, .tenant_id = pair[0],
        .channel_id = pair[1], .wanted = true };
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, run, poller) == 0) {
        pthread_setname_np(thread, "poll");
        pollers->first = poller;
        pollers->running++;
    } else {
        free(poller);               /* the next look tries again */
    }
    pthread_attr_destroy(&attributes);
}

/* Those of channels that are gone end; those that have ended are freed. */
static void sweep(struct pollers *pollers)
{
    struct poller **at = &pollers->first;

    while (*at) {
        struct poller *poller = *at;
        if (poller->ended) {
            *at = poller->next;
            free(poller);
            continue;
        }
        if (!poller->wanted)
            atomic_store(&poller->stopping, true);
        at = &poller->next;
    }
    pthread_cond_broadcast(&pollers->changed);
}

int pollers_step(struct pollers *pollers, int64_t *next_ms, struct err *err)
{
    struct arena *arena = arena_new(0);
    int64_t (*pairs)[2];
    size_t count;
    int result = list_polled(pollers->hub, arena, &pairs, &count, err);

    *next_ms = clock_ms() + (count > 0 ? LOOK_MS : IDLE_LOOK_MS);
    pthread_mutex_lock(&pollers->lock);
    for (struct poller *poller = pollers->first; poller && !result; poller = poller->next)
        poller->wanted = false;
    for (size_t i = 0; i < count && !result && !pollers->stopping; i++) {
        struct poller *poller = find(pollers, pairs[i][1]);
        if (poller)
            poller->wanted = true;
        else
            start(pollers, pairs[i]);
    }
    if (!result)
        sweep(pollers);
    pthread_mutex_unlock(&pollers->lock);
    arena_free(arena);
    return result;
}

void pollers_stop(struct pollers *pollers)
{
    pthread_mutex_lock(&pollers->lock);
    pollers->stopping = true;
    for (struct poller *poller = pollers->first; poller; poller = poller->next)
        atomic_store(&poller->stopping, true);
    pthread_cond_broadcast(&pollers->changed);
    pthread_mutex_unlock(&pollers->lock);
}

bool pollers_idle(struct pollers *pollers)
{
    bool idle;

    pthread_mutex_lock(&pollers->lock);
    idle = pollers->running == 0;
    pthread_mutex_unlock(&pollers->lock);
    return idle;
}

void pollers_free(struct pollers *pollers)
{
    while (pollers->first) {
        struct poller *poller = pollers->first;
        pollers->first = poller->next;
        free(poller);
    }
    pthread_cond_destroy(&pollers->changed);
    pthread_mutex_destroy(&pollers->lock);
    free(pollers);
}
