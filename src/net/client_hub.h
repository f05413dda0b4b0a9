/* client_hub.h - one call from the command line to a hub: over TCP with a key, or over the data folder's unix socket.
 * Not for drivers: it may reach any address the user names. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "net/http.h"

struct hub_call {
    const char *url;                /* "http://127.0.0.1:8080" (a base; a path in it is kept), or NULL with `socket` */
    const char *socket;             /* path of the unix socket, or NULL */
    const char *key;                /* bearer token, or NULL */
    enum http_method method;
    const char *path;               /* "/api/v1/messages?limit=5" */
    struct str body;                /* absent: none */
    const char *content_type;       /* of the body; NULL: JSON */
    const char *idempotency_key;    /* or NULL */
    const char *tenant;             /* X-Hub-Tenant, or NULL */
    int timeout_ms;                 /* 0: none (streams) */
    /* Called with each piece of a 2xx answer as it arrives; non-zero stops. NULL: the answer is collected. */
    int (*each)(void *arg, struct str piece);
    void *arg;
};

struct hub_answer {
    int status;
    struct buf body;                /* collected answer, or the problem of a refusal; buf_fini it */
};

/* 0 when an answer came (whatever its status), -1 when none did: err says what to try. */
int hub_call(const struct hub_call *call, struct hub_answer *answer, struct err *err);
