/* fetch.h - getting the bytes of files that came as a reference: one job per file, at once after the message is stored,
 * again with growing waits, given up after LIMIT_FETCH_MS with a reason that everybody sees. */
#pragma once

#include "core/hub.h"
#include "core/queue_lane.h"

struct pool;
struct sender;

/* Run due fetch jobs, up to `limit`, each claimed before and finished after. Returns how many, -1; lowers
 * `*next_ms`. */
int fetch_step(struct hub *hub, int limit, int64_t *next_ms, struct err *err);

/* The same on the threads of a pool, at most LIMIT_FETCHES at once; `sender` renews their leases. */
int fetch_start(struct hub *hub, struct pool *pool, struct sender *sender, int64_t *next_ms, struct err *err);

/* How long to wait after so many failures: 5 s, 15 s, 45 s, ... an hour at most, with jitter by `roll`. Pure. */
int64_t fetch_wait_ms(int64_t failures, uint32_t roll);
