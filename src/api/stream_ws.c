#include "api/feed.h"
#include "api/state.h"
#include "api/stream.h"
#include "base/arena.h"
#include "net/ws.h"

#define PROTOCOL "message-hub"

/* A browser needs one of the protocols it offered: ours, or else the one that carries its token. */
static const char *choose_protocol(const struct op_call *call)
{
    struct str rest = http_header(call->request, "Sec-WebSocket-Protocol"), part;
    const char *chosen = NULL;

    while (rest.data && str_split(&rest, ',', &part)) {
        part = str_trim(part);
        if (str_is(part, PROTOCOL))
            return PROTOCOL;
        if (!chosen && str_starts(part, "bearer."))
            chosen = str_dup(call->arena, part);
    }
    return chosen;
}

enum op_done stream_socket(struct op_call *call, struct err *err)
{
    static const struct ws_callbacks callbacks = { .closed = feed_socket_closed };
    struct subscription subscription;
    struct subscriber *subscriber;
    struct ws_frame *first;
    struct ws *socket;

    if (stream_origin(call, err) < 0 || stream_subscription(call, &subscription, err) < 0)
        return OP_FAILED;
    /* the call's memory ends with the upgrade */
    first = ws_frame_new(str_c(stream_ready(call, subscription.seq)));
    subscriber = feed_subscriber(call->api->feed, &subscription);
    buf_fini(&call->response.body);
    socket = http_upgrade(call->exchange, choose_protocol(call), &callbacks, subscriber);
    if (socket)
        ws_send(socket, first);
    ws_frame_release(first);
    feed_join(subscriber, NULL, socket);
    return OP_LATER;
}
