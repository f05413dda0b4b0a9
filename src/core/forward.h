/* forward.h - a rule's forwarding to a webhook: one job, one HTTP request, tried three times. */
#pragma once

#include "core/hub.h"
#include "core/queue_lane.h"

/* Run due webhook jobs, up to `limit`, each claimed before and finished after. Returns how many,
 * -1; lowers `*next_ms`. */
int forward_step(struct hub *hub, int limit, int64_t *next_ms, struct err *err);
