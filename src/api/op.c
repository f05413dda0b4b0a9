#include "api/state.h"

#include "base/arena.h"
#include "base/log.h"
#include "core/idempotency.h"
#include "net/pool.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int op_not_found(const struct op_call *call, struct err *err)
{
    const char *name = call->op ? call->op->name : "object";

    err_set(err, ERR_NOT_FOUND, "There is no %.*s with this id.", (int)strcspn(name, "."), name);
    return err_hint(err, "List what there is, or check which key you use: every tenant sees its own only.");
}

/* What a client may know of a failure: internal details go to the log, and every 404 of a path id looks the same. */
static void refuse(struct op_call *call, const struct err *err)
{
    struct err shown = *err;

    if (err->code == ERR_INTERNAL) {
        log_error("operation failed", LOG_T("operation", call->op ? call->op->name : "none"),
                  LOG_T("detail", err->detail), LOG_T("request_id", call->request->request_id));
        err_set(&shown, ERR_INTERNAL, "Something went wrong on our side; nothing was changed.");
        err_hint(&shown, "Try again; the log of the hub names the cause under this request_id.");
    } else if (err->code == ERR_UNAVAILABLE || err->code == ERR_STORAGE_FULL) {
        log_warn("operation unavailable", LOG_T("operation", call->op ? call->op->name : "none"),
                 LOG_T("detail", err->detail), LOG_T("request_id", call->request->request_id));
    } else if (err->code == ERR_NOT_FOUND && !err->field[0] && call->op && strchr(call->op->path, '{')) {
        op_not_found(call, &shown);
    }
    call->response.status = 0;
    http_problem(&call->response, call->arena, &shown, call->request->request_id);
    if (err->code == ERR_UNAUTHENTICATED)
        http_respond_header(&call->response, call->arena, "WWW-Authenticate", "Bearer realm=\"message-hub\"");
}

static bool has_header(const struct http_response *response, const char *name)
{
    for (size_t i = 0; i < response->header_count; i++)
        if (str_eq_nocase(response->headers[i].name, str_c(name)))
            return true;
    return false;
}

void op_finish(struct op_call *call, const struct err *err)
{
    struct http_response *response = &call->response;
    struct api *api = call->api;
    _Atomic int64_t *answers;
    struct err large;

    if (!err && response->body.overflow) {
        err_set(&large, ERR_TOO_LARGE, "The answer would pass %d bytes.", LIMIT_ANSWER_BYTES);
        err_hint(&large, "Ask for less with `limit`.");
        err = &large;
    }
    if (err)
        refuse(call, err);
    if (!has_header(response, "Cache-Control"))
        http_respond_header(response, call->arena, "Cache-Control", "no-store");
    answers = call->route ? call->route->answers : api->answers;
    atomic_fetch_add_explicit(&answers[response->status / 100 % 6], 1, memory_order_relaxed);
    http_reply(call->exchange, response);
    atomic_fetch_sub(&api->calls, 1);
}

static void finish_done(struct op_call *call, enum op_done done, const struct err *err)
{
    if (done == OP_FAILED)
        assert(err->code != ERR_NONE);
    if (done != OP_LATER)
        op_finish(call, done == OP_FAILED ? err : NULL);
}

static void slow_run(void *arg)
{
    struct op_call *call = arg;
    struct err err = { 0 };

    finish_done(call, call->resume(call, &err), &err);
}

void op_slow(struct op_call *call, enum op_done (*run)(struct op_call *call, struct err *err))
{
    struct err err = { 0 };

    call->resume = run;
    if (pool_add(call->api->slow, slow_run, call))
        return;
    err_set(&err, ERR_UNAVAILABLE, "Too much is waiting.");
    err_hint(&err, "Try again in a moment.");
    op_finish(call, &err);
}

static int unknown_path(struct op_call *call, struct err *err)
{
    const char *nearest = route_nearest(call->api->routes, call->arena, call->request->path);

    err_set(err, ERR_NOT_FOUND, "Nothing answers at this path.");
    if (nearest)
        return err_hint(err, "Did you mean %s? /openapi.json lists everything.", nearest);
    return err_hint(err, "/openapi.json lists everything.");
}

static int status_of(const struct op *op)
{
    if (op->flags & OP_EMPTY)
        return 204;
    if (op->flags & OP_ACCEPTED)
        return 202;
    return op->flags & OP_CREATES ? 201 : 200;
}

/* Everything up to the run: 1 when the answer is ready, 0 to run, -1 refused. */
static int prepare(struct op_call *call, const char **allow, struct err *err)
{
    struct route_match match;
    const struct route *route;

    if (!route_find(call->api->routes, call->request->path, &match))
        return unknown_path(call, err);
    if (call->request->method == HTTP_OPTIONS) {
        *allow = route_allow(call->arena, &match);
        call->response.status = 204;
        return 1;
    }
    route = route_for(&match, call->request->method);
    if (!route) {
        *allow = route_allow(call->arena, &match);
        err_set(err, ERR_METHOD, "%s does not work at this path.", http_method_name(call->request->method));
        return err_hint(err, "Allowed: %s.", *allow);
    }
    call->route = route;
    call->op = route->op;
    call->response.status = status_of(call->op);
    if (op_authenticate(call, err) < 0 || op_read_fields(call, route, &match, err) < 0)
        return -1;
    return op_idempotency(call, err);
}

/* A stream that is open is no call any more; it ends with the server. */
static void run(struct op_call *call, struct err *err)
{
    struct api *api = call->api;
    bool streams = call->op->flags & OP_STREAM;
    enum op_done done = call->op->run(call, err);

    if (done == OP_LATER && streams)
        atomic_fetch_sub(&api->calls, 1);
    else
        finish_done(call, done, err);
}

size_t api_body_max(void *arg, const struct http_request *request)
{
    struct api *api = arg;
    struct route_match match;
    const struct route *route = route_find(api->routes, request->path, &match) ? route_for(&match, request->method)
                                                                               : NULL;

    return route && route->op->flags & OP_UPLOAD ? LIMIT_UPLOAD_BYTES : LIMIT_BATCH_BYTES;
}

void api_respond(void *arg, struct http_exchange *exchange, struct http_request *request)
{
    struct op_call *call = arena_alloc(request->arena, sizeof *call);
    struct err err = { 0 };
    const char *allow = NULL;
    int ready;

    call->api = arg;
    call->hub = call->api->hub;
    call->arena = request->arena;
    call->request = request;
    call->exchange = exchange;
    call->actor = "";
    buf_init(&call->response.body, LIMIT_ANSWER_BYTES);
    call->out = json_writer(&call->response.body);
    atomic_fetch_add(&call->api->calls, 1);
    ready = prepare(call, &allow, &err);
    if (ready == 0) {
        run(call, &err);
        return;
    }
    if (ready < 0)
        refuse(call, &err);
    if (allow)
        http_respond_header(&call->response, call->arena, "Allow", allow);
    op_finish(call, NULL);
}
