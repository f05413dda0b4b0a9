/* breaker.h - the circuit breaker of a channel, pure: five faults of the channel in a row stop its
 * traffic for a minute, then one probe message decides. What waits meanwhile loses no try. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAULTS 5
#define BREAKER_PAUSE_MS 60000

/* channels.breaker_faults and breaker_until_ms. */
struct breaker {
    int64_t faults, until_ms;
};

enum breaker_state {
    BREAKER_FLOWS,          /* claim as you like */
    BREAKER_STOPPED,        /* claim nothing before until_ms */
    BREAKER_PROBES          /* claim one; breaker_probe says so to everybody else */
};

/* What may be claimed now. */
enum breaker_state breaker_state(const struct breaker *breaker, int64_t now_ms);

/* One probe is on its way: the others stay stopped until it ended, at most the pause. */
struct breaker breaker_probe(const struct breaker *breaker, int64_t now_ms);

/* After a try: `fault` when the channel was at fault, else it worked (or the message was at
 * fault). */
struct breaker breaker_note(const struct breaker *breaker, bool fault, int64_t now_ms);
