#include "core/worker_inside.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/forward.h"
#include "core/hub.h"
#include "core/send.h"
#include "net/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Every lease that this process can hold: what is being sent, and what waits for an agent. */
#define HELD_MAX (LIMIT_SEND_WORKERS + LIMIT_WORK_QUEUE + 64)
#define FORWARDS 16

struct channel_use {
    int64_t channel_id;
    int used;
    bool starved;                   /* as below, for want of this channel's own */
};

struct sender {
    struct hub *hub;
    struct pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    int slots, each, used;          /* all; at most for one channel; taken */
    struct channel_use channels[LIMIT_SEND_WORKERS];
    struct queue_held held[HELD_MAX];
    size_t held_count;
    /* starved: somebody found no slot of all, and is to be woken when one is free */
    bool stopping, starved;
};

/* A claimed send in the pool. */
struct task {
    struct sender *sender;
    struct arena *arena;
    struct queue_send send;
};

/* --- Slots ------------------------------------------------------------------------------------ */

struct sender *sender_new(struct hub *hub, int slots)
{
    struct sender *sender = mem_alloc(sizeof *sender);
    struct pool_options options = { .name = "send", .threads_min = 1, .threads_max = slots,
        .queue_max = LIMIT_SEND_WORKERS };
    pthread_condattr_t monotonic;

    assert(slots >= 1 && slots <= LIMIT_SEND_WORKERS);
    sender->hub = hub;
    sender->slots = slots;
    sender->each = slots >= 8 ? slots / 8 : 1;
    pthread_mutex_init(&sender->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sender->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sender->pool = pool_new(&options);
    return sender;
}

static struct channel_use *use_of(struct sender *sender, int64_t channel_id)
{
    struct channel_use *empty = NULL;

    for (int i = 0; i < sender->slots; i++) {           /* every channel in use has one of them */
        if (sender->channels[i].used > 0 && sender->channels[i].channel_id == channel_id)
            return &sender->channels[i];
        if (sender->channels[i].used == 0 && !empty)
            empty = &sender->channels[i];
    }
    if (empty)
        *empty = (struct channel_use){ .channel_id = channel_id };
    return empty;
}

int sender_reserve(struct sender *sender, const struct queue_ready *ready)
{
    int most = ready->parallel > 0 && ready->parallel < sender->each ? ready->parallel : sender->each;
    struct channel_use *use;
    int given = 0;

    pthread_mutex_lock(&sender->lock);
    use = use_of(sender, ready->channel_id);
    if (!use || sender->used == sender->slots) {
        sender->starved = true;
    } else if (use->used >= most) {
        use->starved = true;
    } else if (!sender->stopping) {
        given = 1;
        use->used++;
        sender->used++;
    }
    pthread_mutex_unlock(&sender->lock);
    return given;
}

static void free_slots(struct sender *sender, int64_t channel_id, int count)
{
    struct channel_use *use;
    bool starved;

    if (count == 0)
        return;
    pthread_mutex_lock(&sender->lock);
    use = use_of(sender, channel_id);
    use->used -= count;
    sender->used -= count;
    /* who waits for another channel's slot has nothing from this one */
    starved = sender->starved || use->starved;
    sender->starved = use->starved = false;
    if (sender->used == 0)
        pthread_cond_broadcast(&sender->idle);
    pthread_mutex_unlock(&sender->lock);
    if (starved)
        wake_signal(sender->hub->wake);
}

/* --- Leases ----------------------------------------------------------------------------------- */

void worker_hold(struct sender *sender, int64_t job_id, int64_t attempt)
{
    if (!sender)
        return;
    pthread_mutex_lock(&sender->lock);
    if (sender->held_count < HELD_MAX)
        sender->held[sender->held_count++] = (struct queue_held){ job_id, attempt };
    pthread_mutex_unlock(&sender->lock);
}

void worker_release(struct sender *sender, int64_t job_id)
{
    if (!sender)
        return;
    pthread_mutex_lock(&sender->lock);
    for (size_t i = 0; i < sender->held_count; i++)
        if (sender->held[i].job_id == job_id)
            sender->held[i] = sender->held[--sender->held_count];
    pthread_mutex_unlock(&sender->lock);
}

int sender_heartbeat(struct sender *sender, struct err *err)
{
    struct queue_held held[HELD_MAX];
    size_t count;

    pthread_mutex_lock(&sender->lock);
    count = sender->held_count;
    memcpy(held, sender->held, count * sizeof held[0]);
    pthread_mutex_unlock(&sender->lock);
    return queue_heartbeat(sender->hub->db, held, count, err);
}

/* --- Sending ---------------------------------------------------------------------------------- */

void sender_refuse(struct sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    sender->stopping = true;
    pthread_mutex_unlock(&sender->lock);
}

bool worker_is_stopping(struct sender *sender)
{
    bool stopping = false;

    if (!sender)
        return stopping;
    pthread_mutex_lock(&sender->lock);
    stopping = sender->stopping;
    pthread_mutex_unlock(&sender->lock);
    return stopping;
}

static void run_task(void *arg)
{
    struct task *task = arg;
    struct sender *sender = task->sender;
    int64_t channel_id = task->send.channel_id;
    struct err err = { 0 };
    int failed = worker_is_stopping(sender) ? send_release(sender->hub, &task->send, &err)
                                     : send_run(sender->hub, &task->send, &err);

    if (failed)
        log_error("the result of a send was not stored; its lease runs out",
                  LOG_N("job", task->send.job_id),
                  LOG_T("detail", err.detail));
    worker_release(sender, task->send.job_id);
    arena_free(task->arena);
    free_slots(sender, channel_id, 1);
}

static struct str copy(struct arena *arena, struct str text)
{
    return text.data ? (struct str){ arena_copy(arena, text.data, text.len), text.len } : text;
}

static void start(struct sender *sender, const struct queue_send *send)
{
    struct arena *arena = arena_new(0);
    struct task *task = arena_alloc(arena, sizeof *task);

    *task = (struct task){ sender, arena, *send };
    task->send.to = copy(arena, send->to);
    task->send.text = copy(arena, send->text);
    task->send.reply_to = copy(arena, send->reply_to);
    task->send.target = copy(arena, send->target);
    task->send.conversation = copy(arena, send->conversation);
    task->send.metadata = copy(arena, send->metadata);
    worker_hold(sender, send->job_id, send->attempt);
    if (!pool_add(sender->pool, run_task, task))
        run_task(task);
}

void sender_start(struct sender *sender, const struct queue_claim *claim)
{
    for (size_t i = 0; i < claim->order_count; i++) {
        int left = claim->orders[i].slots;
        for (size_t k = 0; k < claim->count; k++)
            left -= claim->sends[k].channel_id == claim->orders[i].channel_id;
        free_slots(sender, claim->orders[i].channel_id, left);
    }
    for (size_t i = 0; i < claim->count; i++)
        start(sender, &claim->sends[i]);
}

/* --- Claiming --------------------------------------------------------------------------------- */

static struct queue_order order_of(const struct queue_ready *ready)
{
    return (struct queue_order){ .channel_id = ready->channel_id, .probes = ready->probes,
        .limited = ready->limited, .faults = ready->faults };
}

/* Without threads: as many as a sender would have under way. */
static size_t plan_orders(const struct queue_waiting *waiting, struct queue_order *orders)
{
    int slots = LIMIT_SEND_WORKERS_DEFAULT, each = LIMIT_SEND_WORKERS_DEFAULT / 8;

    for (size_t i = 0; i < waiting->count; i++)
        orders[i] = order_of(&waiting->ready[i]);
    for (int round = 0; round < each && slots > 0; round++)
        for (size_t i = 0; i < waiting->count && slots > 0; i++)
            if (round == 0 || (!orders[i].probes && (!waiting->ready[i].parallel
                || round < waiting->ready[i].parallel))) {
                orders[i].slots++;
                slots--;
            }
    return waiting->count;
}

/* One slot for each channel in turn, as long as there are any. */
static size_t reserve_orders(struct sender *sender, const struct queue_waiting *waiting,
                             struct queue_order *orders)
{
    bool any = true;

    for (size_t i = 0; i < waiting->count; i++)
        orders[i] = order_of(&waiting->ready[i]);
    while (any) {
        any = false;
        for (size_t i = 0; i < waiting->count; i++) {
            if (orders[i].probes && orders[i].slots > 0)
                continue;
            if (sender_reserve(sender, &waiting->ready[i]) == 1) {
                orders[i].slots++;
                any = true;
            }
        }
    }
    return waiting->count;
}

static int peek(struct hub *hub, struct queue_waiting *waiting, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    int failed;

    waiting->next_ms = INT64_MAX;
    if (!session)
        return -1;
    failed = queue_peek(session, waiting, err);
    db_read_end(session);
    return failed;
}

/* What waits now, after what has become due has joined. */
static int look(struct hub *hub, struct queue_waiting *waiting, int64_t *next_ms, struct err *err)
{
    if (peek(hub, waiting, err))
        return -1;
    if (waiting->next_ms <= clock_ms() && (queue_join(hub, err) < 0 || peek(hub, waiting, err)))
        return -1;
    if (waiting->next_ms < *next_ms)
        *next_ms = waiting->next_ms;
    return 0;
}

int sender_step(struct sender *sender, int64_t *next_ms, struct err *err)
{
    struct queue_waiting waiting;
    struct queue_order orders[QUEUE_READY_MAX];
    struct queue_claim claim = { .orders = orders };
    int failed;

    if (look(sender->hub, &waiting, next_ms, err))
        return -1;
    if (waiting.count == 0)
        return 0;
    claim.order_count = reserve_orders(sender, &waiting, orders);
    claim.arena = arena_new(0);
    failed = queue_claim(sender->hub, &claim, err);
    if (failed)
        claim.count = 0;
    sender_start(sender, &claim);
    arena_free(claim.arena);
    return failed ? -1 : (int)claim.count;
}

int worker_send_step(struct hub *hub, int64_t *next_ms, struct err *err)
{
    struct queue_waiting waiting;
    struct queue_order orders[QUEUE_READY_MAX];
    struct queue_claim claim = { .orders = orders };
    int failed, forwarded;

    if (look(hub, &waiting, next_ms, err))
        return -1;
    claim.order_count = plan_orders(&waiting, orders);
    claim.arena = arena_new(0);
    failed = queue_claim(hub, &claim, err);
    for (size_t i = 0; i < claim.count && !failed; i++)
        failed = send_run(hub, &claim.sends[i], err);
    arena_free(claim.arena);
    if (failed)
        return -1;
    forwarded = forward_step(hub, FORWARDS, next_ms, err);
    return forwarded < 0 ? -1 : (int)claim.count + forwarded;
}

/* --- Stopping --------------------------------------------------------------------------------- */

bool sender_stop(struct sender *sender, int timeout_ms)
{
    struct timespec until;
    int status = 0, left;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&sender->lock);
    sender->stopping = true;
    while (sender->used > 0 && status != ETIMEDOUT)
        status = pthread_cond_timedwait(&sender->idle, &sender->lock, &until);
    left = sender->used;
    pthread_mutex_unlock(&sender->lock);
    return left == 0;
}

void sender_free(struct sender *sender)
{
    pool_free(sender->pool);
    pthread_cond_destroy(&sender->idle);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
}
