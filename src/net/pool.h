/* pool.h - a pool of worker threads with a bounded queue. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct pool;

typedef void pool_work(void *arg);

struct pool_options {
    const char *name;           /* thread name, at most 15 characters */
    int threads_min;            /* started at once */
    int threads_max;            /* grows up to this while work waits; idle extra threads end after 10 s */
    size_t queue_max;           /* work waiting; more is refused */
    size_t stack_bytes;         /* 0: 256 KiB */
};

/* Start a pool; `name` must outlive this call only. Free it with pool_free. */
struct pool *pool_new(const struct pool_options *options);

/* Queue work. False when the queue is full or the pool stops. */
bool pool_add(struct pool *pool, pool_work *work, void *arg);

/* Work waiting, and work running. */
size_t pool_waiting(struct pool *pool);
size_t pool_running(struct pool *pool);

/* Run what is queued, then join and free. */
void pool_free(struct pool *pool);
