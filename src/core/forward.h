/* forward.h - a rule's forwarding to a webhook: one job, one HTTP request, tried three times. */
#pragma once

#include "core/hub.h"
#include "core/queue_lane.h"

/* Run due webhook jobs, up to `limit`, each claimed before and finished after. Returns how many,
 * -1; lowers `*next_ms`. */
int forward_step(struct hub *hub, int limit, int64_t *next_ms, struct err *err);

/* The same on the threads of a pool, as many at once as it has (FORWARD_THREADS): a webhook that is
 * slow to answer holds up no other. */
#define FORWARD_THREADS 16
struct pool;
int forward_start(struct hub *hub, struct pool *pool, int64_t *next_ms, struct err *err);
