/* work.h - for the tests of everything that runs by itself: single steps of the workers. */
#pragma once

#include "work_events.h"

/* How many messages were handed to the provider, however many parts they have. */
static inline int messages_sent(void)
{
    int count = 0;

    for (int i = 0; i < peer.count; i++)
        count += peer.sent[i].part == 0;
    return count;
}

/* One step; returns what it did and moves `next_ms`, if given. */
static inline int send_once(int64_t *next_ms)
{
    struct err err = { 0 };
    int64_t next = INT64_MAX;
    int done = worker_send_step(&hub, next_ms ? next_ms : &next, &err);

    if (done < 0)
        fail_msg("send step: %s", err.detail);
    return done;
}

static inline int decide_once(void)
{
    struct err err = { 0 };
    int64_t next = INT64_MAX;
    int done = worker_decide_step(&hub, &next, &err);

    if (done < 0)
        fail_msg("decide step: %s", err.detail);
    return done;
}

static inline int sweep_once(void)
{
    struct err err = { 0 };
    int64_t next = INT64_MAX;
    int done = worker_sweep_step(&hub, &next, &err);

    if (done < 0)
        fail_msg("sweep step: %s", err.detail);
    return done;
}

/* Until nothing is due any more. */
static inline void run_all(void)
{
    for (int i = 0; i < 1000; i++)
        if (decide_once() + send_once(NULL) == 0)
            return;
    fail_msg("the work does not end");
}
