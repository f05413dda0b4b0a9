/* send.h - one claimed send, from its claim to its result: every part one after the other, the
 * outcome classified, what follows written in one commit. And the way back for what a dead worker
 * left. */
#pragma once

#include "core/hub.h"
#include "core/queue.h"

/* Send it (or look it up, or end it as its verdict says) and store the result. Blocks up to the
 * channel's time-out for each part. 0: stored, or the lease was lost and nothing was; -1: the
 * database did not take the result, the lease runs out and the message becomes unknown. */
int send_run(struct hub *hub, const struct queue_send *send, struct err *err);

/* What the far side of `channel` is told of a claimed send; `job` holds its arena already. 1; 0 it cannot be offered
 * and was ended; -1. */
struct channel;
struct send_job;
int send_offer(struct hub *hub, const struct channel *channel, const struct queue_send *send, struct send_job *job,
               struct err *err);

/* Give a claimed send back untouched: nothing of it has left. */
int send_release(struct hub *hub, const struct queue_send *send, struct err *err);

/* Its worker's lease ran out at or before `stale_ms` (the database's clock). What had begun may
 * have gone out. */
int send_take_over(struct hub *hub, const struct queue_send *send, int64_t stale_ms,
                   struct err *err);
