#include "net/pool.h"

#include "base/arena.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STACK_BYTES (256 * 1024)
#define IDLE_S 10       /* then an extra thread ends */

struct item {
    pool_work *work;
    void *arg;
};

enum thread_state { THREAD_NONE, THREAD_RUNNING, THREAD_ENDED };

struct pool_thread {
    struct pool *pool;
    pthread_t thread;
    enum thread_state state;
};

struct pool {
    struct pool_options options;
    char name[16];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct item *queue;             /* a ring of queue_max */
    size_t head, waiting, running;
    struct pool_thread *threads;    /* threads_max of them */
    int alive, idle;
    bool waking;                    /* somebody was signalled and has not come yet: one wake-up at a time */
    bool stopping;
};

static void *run(void *arg);

/* With the lock held. A thread that cannot be had now is missed only for speed, unless it would be the first. */
static void add_thread(struct pool *pool)
{
    struct pool_thread *slot = pool->threads;
    pthread_attr_t attributes;
    int status;

    while (slot->state == THREAD_RUNNING)
        slot++;
    if (slot->state == THREAD_ENDED)
        pthread_join(slot->thread, NULL);
    slot->pool = pool;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, pool->options.stack_bytes ? pool->options.stack_bytes : STACK_BYTES);
    status = pthread_create(&slot->thread, &attributes, run, slot);
    pthread_attr_destroy(&attributes);
    slot->state = status == 0 ? THREAD_RUNNING : THREAD_NONE;
    if (status == 0)
        pool->alive++;
    else if (pool->alive == 0)
        mem_exhausted(STACK_BYTES);
}

/* With the lock held: get one more thread to the waiting work, if there is one to get. */
static void call_one(struct pool *pool)
{
    if (pool->idle == 0) {
        if (pool->alive < pool->options.threads_max && !pool->stopping)
            add_thread(pool);
    } else if (!pool->waking) {
        pool->waking = true;
        pthread_cond_signal(&pool->wake);
    }
}

static bool wait_for_work(struct pool *pool)
{
    struct timespec until;
    int status = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_S;
    while (pool->waiting == 0 && !pool->stopping && status != ETIMEDOUT) {
        pool->idle++;
        if (pool->alive > pool->options.threads_min)
            status = pthread_cond_timedwait(&pool->wake, &pool->lock, &until);
        else
            pthread_cond_wait(&pool->wake, &pool->lock);
        pool->idle--;
        pool->waking = false;
    }
    return pool->waiting > 0;
}

static void *run(void *arg)
{
    struct pool_thread *self = arg;
    struct pool *pool = self->pool;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_setname_np(pthread_self(), pool->name);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct item item;

        if (!wait_for_work(pool)) {
            if (pool->stopping || pool->alive > pool->options.threads_min)
                break;
            continue;
        }
        item = pool->queue[pool->head];
        pool->head = (pool->head + 1) % pool->options.queue_max;
        pool->waiting--;
        pool->running++;
        /* Call the next only now: with short work the one that is awake takes the whole burst. */
        if (pool->waiting > 0)
            call_one(pool);
        pthread_mutex_unlock(&pool->lock);
        item.work(item.arg);
        pthread_mutex_lock(&pool->lock);
        pool->running--;
    }
    pool->alive--;
    self->state = THREAD_ENDED;
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct pool *pool_new(const struct pool_options *options)
{
    struct pool *pool = mem_alloc(sizeof *pool);
    pthread_condattr_t monotonic;

    assert(options->queue_max > 0 && options->threads_min > 0);
    assert(options->threads_max >= options->threads_min);
    pool->options = *options;
    snprintf(pool->name, sizeof pool->name, "%s", options->name);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pool->queue = mem_alloc(options->queue_max * sizeof *pool->queue);
    pool->threads = mem_alloc((size_t)options->threads_max * sizeof *pool->threads);
    pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < options->threads_min; i++)
        add_thread(pool);
    pthread_mutex_unlock(&pool->lock);
    return pool;
}

bool pool_add(struct pool *pool, pool_work *work, void *arg)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->stopping || pool->waiting == pool->options.queue_max) {
        pthread_mutex_unlock(&pool->lock);
        return false;
    }
    pool->queue[(pool->head + pool->waiting++) % pool->options.queue_max] = (struct item){ work, arg };
    call_one(pool);
    pthread_mutex_unlock(&pool->lock);
    return true;
}

size_t pool_waiting(struct pool *pool)
{
    size_t waiting;

    pthread_mutex_lock(&pool->lock);
    waiting = pool->waiting;
    pthread_mutex_unlock(&pool->lock);
    return waiting;
}

size_t pool_running(struct pool *pool)
{
    size_t running;

    pthread_mutex_lock(&pool->lock);
    running = pool->running;
    pthread_mutex_unlock(&pool->lock);
    return running;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->options.threads_max; i++) {
        enum thread_state state;

        pthread_mutex_lock(&pool->lock);
        state = pool->threads[i].state;
        pthread_mutex_unlock(&pool->lock);
        if (state != THREAD_NONE)
            pthread_join(pool->threads[i].thread, NULL);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    free(pool->queue);
    free(pool->threads);
    free(pool);
}
