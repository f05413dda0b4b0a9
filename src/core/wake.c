#include "core/wake.h"

#include "base/arena.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A futex: signalling without waiters is one atomic addition and one load. */
struct wake {
    _Atomic uint32_t count;
    _Atomic uint32_t waiters;
};

struct wake *wake_new(void)
{
    return mem_alloc(sizeof(struct wake));
}

void wake_free(struct wake *wake)
{
    free(wake);
}

void wake_signal(struct wake *wake)
{
    atomic_fetch_add(&wake->count, 1);
    if (atomic_load(&wake->waiters) > 0)
        syscall(SYS_futex, &wake->count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

uint32_t wake_seen(struct wake *wake)
{
    return atomic_load(&wake->count);
}

uint32_t wake_wait(struct wake *wake, uint32_t seen, int timeout_ms)
{
    struct timespec until;

    if (atomic_load(&wake->count) != seen || timeout_ms == 0)
        return atomic_load(&wake->count);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    atomic_fetch_add(&wake->waiters, 1);
    /* FUTEX_WAIT_BITSET takes an absolute monotonic time, so an interrupted wait starts over
     * without growing. */
    while (atomic_load(&wake->count) == seen)
        if (syscall(SYS_futex, &wake->count, FUTEX_WAIT_BITSET_PRIVATE, seen,
                    timeout_ms < 0 ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY)
                < 0
            && errno == ETIMEDOUT)
            break;
    atomic_fetch_sub(&wake->waiters, 1);
    return atomic_load(&wake->count);
}
