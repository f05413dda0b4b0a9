/* push.h - telling the far side of a channel that pulls (core/offer.h) when something waits for it: by an event on an
 * answer that stays open, or by the end of a call that waited for it. One thread per process looks for all of them.
 * Included only inside api/. */
#pragma once

#include "api/op.h"
#include "core/channel.h"

struct push;

#define PUSH_MAX 2000               /* that listen or wait at once; and of one channel */
#define PUSH_CHANNEL_MAX 16

/* Start the thread (none with hub->manual); end all that wait, for the moment before the server stops; and free, when
 * no socket is left. NULL is fine for the last two. */
struct push *push_new(struct hub *hub);
void push_stop(struct push *push);
void push_free(struct push *push);

/* Keep the call's answer open as server-sent events: `retry`, then an event `name` whenever something new waits, and
 * once a minute while it still does, and a comment each minute. It ends after an hour; the client comes back.
 * OP_LATER, or OP_FAILED (ERR_UNAVAILABLE: too many). */
enum op_done push_open(struct push *push, struct op_call *call, const struct channel *channel, const char *name,
                       struct err *err);

/* Run the rest of the call on a worker when something waits, or after `timeout_ms`, or when the hub stops. OP_LATER, or
 * OP_FAILED. */
struct push_wish {
    const struct channel *channel;
    int timeout_ms;
    enum op_done (*run)(struct op_call *call, struct err *err);
};
enum op_done push_wait(struct push *push, struct op_call *call, const struct push_wish *wish, struct err *err);

/* One round; returns the wait until the next, in ms. */
int push_step(struct push *push);
