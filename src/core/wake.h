/* wake.h - "something was committed": what workers and stream readers sleep on. A counter that only
 * grows. */
#pragma once

#include <stdint.h>

struct wake;

/* Make one, and free it when nobody waits any more. */
struct wake *wake_new(void);
void wake_free(struct wake *wake);

/* Tell everyone that waits; any thread, cheap when nobody does. */
void wake_signal(struct wake *wake);

/* The counter now; and wait until it differs from `seen`, or `timeout_ms` passed (-1: no time-out).
 * Returns it. */
uint32_t wake_seen(struct wake *wake);
uint32_t wake_wait(struct wake *wake, uint32_t seen, int timeout_ms);
