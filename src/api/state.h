/* state.h - what one running API holds, and the steps of a call that op.c takes in order; included only inside
 * api/. */
#pragma once

#include "api/api.h"
#include "api/route.h"

#include <stdatomic.h>

struct feed;
struct guard;
struct pool;
struct push;

struct api {
    struct hub *hub;
    struct http_server *_Atomic server;
    struct arena *arena;                /* routes and document; freed at the end */
    struct routes *routes;
    struct str openapi;
    struct pool *slow;                  /* for op_slow */
    struct feed *feed;                  /* event streams */
    struct push *push;                  /* what phones and bridges wait for */
    struct guard *guard;                /* against guessing */
    _Atomic int64_t calls;              /* begun and not ended: they use what api_close frees */
    _Atomic int64_t answers[6];         /* of what led to no operation, by hundreds of the status */
    _Atomic int64_t denied_ms;          /* when the last refused access was written to the audit */
};

/* Who asks: fills key, tenant_id and actor, then checks the operation's scope. ERR_UNAUTHENTICATED, ERR_FORBIDDEN. */
int op_authenticate(struct op_call *call, struct err *err);

/* Fill call->in from path, query and body by the operation's table. */
int op_read_fields(struct op_call *call, const struct route *route, const struct route_match *match, struct err *err);

/* Read the Idempotency-Key header; 1 when the call is answered from the stored answer, 0 to go on, -1 refused. */
int op_idempotency(struct op_call *call, struct err *err);

/* Write "access.denied" to the audit behind the answer; more than ten a second are only counted in the log. */
void op_denied(struct op_call *call, const char *detail);
