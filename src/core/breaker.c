#include "core/breaker.h"

enum breaker_state breaker_state(const struct breaker *breaker, int64_t now_ms)
{
    if (breaker->faults < BREAKER_FAULTS)
        return BREAKER_FLOWS;
    /* A clock that was set back must not stop a channel for longer than the pause. */
    if (breaker->until_ms > now_ms && breaker->until_ms - now_ms <= BREAKER_PAUSE_MS)
        return BREAKER_STOPPED;
    return BREAKER_PROBES;
}

struct breaker breaker_probe(const struct breaker *breaker, int64_t now_ms)
{
    return (struct breaker){ breaker->faults, now_ms + BREAKER_PAUSE_MS };
}

struct breaker breaker_note(const struct breaker *breaker, bool fault, int64_t now_ms)
{
    struct breaker next = *breaker;

    if (!fault)
        return (struct breaker){ 0, 0 };
    if (next.faults < INT64_MAX)
        next.faults++;
    if (next.faults >= BREAKER_FAULTS)
        next.until_ms = now_ms + BREAKER_PAUSE_MS;
    return next;
}
