#include "api/feed.h"
#include "api/guard.h"
#include "api/openapi.h"
#include "api/push.h"
#include "api/state.h"
#include "base/arena.h"
#include "net/pool.h"

#include <stdlib.h>
#include <time.h>

#define SLOW_THREADS_MAX 8
#define SLOW_QUEUE LIMIT_WRITE_QUEUE    /* every write that waits may turn out to be a duplicate */
#define ROUTES_BYTES (64 * 1024)
#define CALLS_MS 2000            /* for the calls that the server answered for */
#define CALLS_STEP_MS 2

struct api *api_open(struct hub *hub, struct err *err)
{
    const struct pool_options slow = { .name = "slow", .threads_min = 1, .threads_max = SLOW_THREADS_MAX,
                                       .queue_max = SLOW_QUEUE };
    struct api *api = mem_alloc(sizeof *api);

    api->hub = hub;
    api->arena = arena_new(ROUTES_BYTES);
    api->routes = routes_new(api->arena, op_tables, err);
    if (!api->routes || openapi_build(api->arena, op_tables, &api->openapi, err) < 0) {
        arena_free(api->arena);
        free(api);
        return NULL;
    }
    api->slow = pool_new(&slow);
    api->guard = guard_new();
    api->feed = feed_new(hub);
    api->push = push_new(hub);
    return api;
}

void api_serve(struct api *api, struct http_server *server)
{
    atomic_store(&api->server, server);
}

/* The server answers for calls that take too long to stop for; what they wrote comes back to them all the same. */
static bool wait_for_calls(struct api *api)
{
    const struct timespec step = { 0, CALLS_STEP_MS * 1000000L };

    for (int waited_ms = 0; atomic_load(&api->calls) > 0; waited_ms += CALLS_STEP_MS) {
        if (waited_ms >= CALLS_MS)
            return false;
        nanosleep(&step, NULL);
    }
    return true;
}

void api_stop(struct api *api)
{
    if (api)
        push_stop(api->push);
}

bool api_close(struct api *api)
{
    if (!api)
        return true;
    if (!wait_for_calls(api))
        return false;
    push_free(api->push);
    pool_free(api->slow);
    feed_free(api->feed);
    guard_free(api->guard);
    arena_free(api->arena);
    free(api);
    return true;
}
