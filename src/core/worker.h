/* worker.h - everything that runs by itself: importing rows, deciding, sending, polling channels,
 * expiring, taking over what dead workers left. Every loop is a step that tests and the simulator
 * call by hand. */
#pragma once

#include "core/hub.h"

struct workers;

/* Start the threads: importer, decider, sender (an elastic pool of blocking threads), poller,
 * sweeper. */
struct workers *workers_start(struct hub *hub, struct err *err);

/* Stop claiming, give back what has not begun, wait for the rest up to `timeout_ms`, join, free.
 * False: a send or an agent still runs and uses the hub. Call it again, or end the process without
 * hub_close: then the lease runs out and another worker takes over. */
bool workers_stop(struct workers *workers, int timeout_ms);

/* The steps. Each returns the amount of work done (0: nothing was due), -1 with err on a storage
 * failure; and lowers `*next_ms` to the wall time when it should be called again at the latest. */
/* claims a batch, decides each */
int worker_decide_step(struct hub *hub, int64_t *next_ms, struct err *err);
/* claims a batch, sends each inline */
int worker_send_step(struct hub *hub, int64_t *next_ms, struct err *err);
/* each polled channel once */
int worker_poll_step(struct hub *hub, int64_t *next_ms, struct err *err);
/* expired leases, due scheduled, expiry */
int worker_sweep_step(struct hub *hub, int64_t *next_ms, struct err *err);
