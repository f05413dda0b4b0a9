/* work_clock.h - a clock that stands until it is moved, or the real one for tests with threads. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define START_MS INT64_C(1790000000000)

static _Atomic int64_t test_now_ms = START_MS;
static bool test_real_clock;        /* for tests with threads */

static inline int64_t test_wall_ms(void)
{
    struct timespec now;

    if (!test_real_clock)
        return atomic_load(&test_now_ms);
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int64_t test_mono_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline void pass_ms(int64_t ms)
{
    atomic_fetch_add(&test_now_ms, ms);
}
