/* guard.h - guessing is slowed down: a network (IPv4 /24, IPv6 /64) whose keys or signatures were wrong GUARD_FAILURES
 * times within a minute is refused for the rest of it, before anything is looked up. Loopback is left alone: behind a
 * proxy everybody comes from there. Included only inside api/. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GUARD_FAILURES 60
#define GUARD_WINDOW_MS 60000

struct guard;

/* An empty memory of failures; release with guard_free (NULL is fine). */
struct guard *guard_new(void);
void guard_free(struct guard *guard);

/* Seconds to wait for this numeric address, 0: none. Any thread. */
int guard_wait_s(struct guard *guard, const char *peer, int64_t now_ms);

/* A key or signature of this address was wrong. Any thread. */
void guard_failed(struct guard *guard, const char *peer, int64_t now_ms);
