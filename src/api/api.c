#include "api/feed.h"
#include "api/openapi.h"
#include "api/state.h"
#include "base/arena.h"
#include "net/pool.h"

#include <stdlib.h>

#define SLOW_THREADS_MAX 8
#define SLOW_QUEUE LIMIT_WRITE_QUEUE    /* every write that waits may turn out to be a duplicate */
#define ROUTES_BYTES (64 * 1024)

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
    api->feed = feed_new(hub);
    return api;
}

void api_serve(struct api *api, struct http_server *server)
{
    atomic_store(&api->server, server);
}

void api_close(struct api *api)
{
    if (!api)
        return;
    pool_free(api->slow);
    feed_free(api->feed);
    arena_free(api->arena);
    free(api);
}
