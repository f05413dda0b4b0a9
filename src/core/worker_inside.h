/* worker_inside.h - what the parts of core/worker share, and what core/decide hands to the sender;
 * included by worker*.c and decide.c alone. */
#pragma once

#include "core/queue_lane.h"
#include "core/worker.h"

/* The sender: slots for what is under way, and a pool of blocking threads. Any thread may call. */
struct sender;

/* A sender with so many slots. */
struct sender *sender_new(struct hub *hub, int slots);

/* Take no more; give back what has not begun; wait for the rest up to `timeout_ms`. False: something
 * still runs. */
bool sender_stop(struct sender *sender, int timeout_ms);

/* After sender_stop said true, and when no agent can call it any more. */
void sender_free(struct sender *sender);

/* From now on nothing more begins. */
void sender_refuse(struct sender *sender);

/* Does nothing more begin? NULL: it does. */
bool worker_is_stopping(struct sender *sender);

/* A free slot for a channel, which never gets more than an eighth of all, nor more than its driver sends at once
 * (ready->parallel). Returns 1 or 0. */
int sender_reserve(struct sender *sender, const struct queue_ready *ready);

/* Start what a claim took into reserved slots, and free the slots of its orders that it left.
 * Copies. */
void sender_start(struct sender *sender, const struct queue_claim *claim);

/* Claim what fits into the free slots and start it. Returns how many, -1; lowers `*next_ms`. */
int sender_step(struct sender *sender, int64_t *next_ms, struct err *err);

/* Jobs whose lease this process renews while it works on them. NULL: nobody renews (single
 * steps). */
void worker_hold(struct sender *sender, int64_t job_id, int64_t attempt);
void worker_release(struct sender *sender, int64_t job_id);

/* Renew the leases of everything held or being sent. */
int sender_heartbeat(struct sender *sender, struct err *err);

/* worker_poll.c: a thread for each channel that is polled. */
struct pollers;
struct pollers *pollers_new(struct hub *hub);

/* Start threads for channels that were added, end those of channels that are gone. Lowers `*next_ms`. */
int pollers_step(struct pollers *pollers, int64_t *next_ms, struct err *err);

/* End all threads: what they wait for is interrupted. Does not wait. */
void pollers_stop(struct pollers *pollers);
bool pollers_idle(struct pollers *pollers);

/* After pollers_idle said true. */
void pollers_free(struct pollers *pollers);
