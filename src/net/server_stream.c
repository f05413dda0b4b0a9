/* Sockets leave the HTTP library here: event streams when their header is sent, WebSockets by its upgrade call. */
#include "base/arena.h"
#include "base/limits.h"
#include "net/server_inside.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

struct stream {
    struct wire wire;
    struct http_exchange *exchange;     /* held, for its arena */
    void (*closed)(void *arg);
    void *arg;
};

/* The answer has a header and then, as far as the library knows, nothing. */
static ssize_t no_body(void *cls, uint64_t position, char *data, size_t max)
{
    (void)cls;
    (void)position;
    (void)data;
    (void)max;
    return MHD_CONTENT_READER_END_OF_STREAM;
}

static struct MHD_Response *stream_header(struct http_exchange *exchange)
{
    struct MHD_Response *answer = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 64, no_body, NULL, NULL);

    if (!answer)
        mem_exhausted(64);
    /* No chunks, the body ends with the connection: so its bytes can be written without the library. */
    MHD_set_response_options(answer, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    MHD_add_response_header(answer, "Content-Type", "text/event-stream");
    MHD_add_response_header(answer, "Cache-Control", "no-store");
    MHD_add_response_header(answer, "X-Accel-Buffering", "no");
    MHD_add_response_header(answer, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(answer, "X-Request-Id", exchange->request.request_id);
    return answer;
}

struct stream *http_stream(struct http_exchange *exchange, void (*closed)(void *arg), void *arg)
{
    struct stream *stream;
    struct refusal why;

    if (atomic_load(&exchange->state) == EXCHANGE_ABANDONED) {
        exchange_drop(exchange);
        return NULL;
    }
    if (wire_count(exchange->server->loop, WIRE_STREAM) >= LIMIT_STREAMS) {
        refuse(&why, 503, "Too many event streams are open.", "Close some, or poll the sync operation.");
        exchange_refuse(exchange, &why);
        return NULL;
    }
    if (exchange->request.method == HTTP_HEAD) {
        struct http_response response = { .status = 200 };

        http_reply(exchange, &response);
        return NULL;
    }
    stream = mem_alloc(sizeof *stream);
    wire_init(&stream->wire, exchange->server->loop, WIRE_STREAM);
    stream->exchange = exchange;
    stream->closed = closed;
    stream->arg = arg;
    exchange_hold(exchange);
    if (exchange_answer(exchange, stream_header(exchange), 200, &stream->wire))
        return stream;
    stream->closed = NULL;
    wire_lose(&stream->wire);
    return NULL;
}

int stream_send(struct stream *stream, struct str bytes)
{
    bool full;
    int status = wire_send_bytes(&stream->wire, bytes, &full);

    if (full)
        wire_finish(&stream->wire, NULL, true);
    return status;
}

void stream_end(struct stream *stream)
{
    wire_finish(&stream->wire, NULL, false);
}

void stream_gone(struct wire *wire)
{
    struct stream *stream = (struct stream *)wire;

    if (stream->closed)
        stream->closed(stream->arg);
    exchange_drop(stream->exchange);
    pthread_mutex_destroy(&wire->lock);
    free(stream);
}

static int duplicate(struct http_exchange *exchange)
{
    int fd = fcntl(exchange->connection->fd, F_DUPFD_CLOEXEC, 0);

    exchange->connection->taken = fd >= 0;
    return fd;
}

void take_over(struct http_exchange *exchange, bool completed)
{
    struct wire *wire = exchange->wire;
    int fd = completed && wire->kind == WIRE_STREAM ? duplicate(exchange) : -1;

    if (fd >= 0)
        wire_attach(wire, fd, NULL);
    else
        wire_lose(wire);
}

/* The 101 is sent. Our duplicate is the socket from now on; the library forgets its own and frees the connection. */
static void on_upgraded(void *cls, struct MHD_Connection *mhd, void *context, const char *early, size_t early_len,
                        MHD_socket socket, struct MHD_UpgradeResponseHandle *handle)
{
    struct http_exchange *exchange = context;
    struct wire *wire = exchange->wire;
    struct ws_frame *frame = NULL;
    int fd = duplicate(exchange);

    (void)cls;
    (void)mhd;
    (void)socket;
    if (early_len > 0) {
        frame = wire_frame(early_len);
        memcpy(frame->data, early, early_len);
    }
    exchange->wire = NULL;
    if (fd >= 0) {
        wire_attach(wire, fd, frame);
    } else {
        wire_frame_release(frame);
        wire_lose(wire);
    }
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

bool server_upgrade(struct http_exchange *exchange, struct wire *wire, const char *accept, const char *protocol)
{
    struct MHD_Response *answer = MHD_create_response_for_upgrade(on_upgraded, NULL);

    if (!answer)
        mem_exhausted(64);
    MHD_add_response_header(answer, "Upgrade", "websocket");
    MHD_add_response_header(answer, "Sec-WebSocket-Accept", accept);
    if (protocol)
        MHD_add_response_header(answer, "Sec-WebSocket-Protocol", protocol);
    MHD_add_response_header(answer, "X-Request-Id", exchange->request.request_id);
    return exchange_answer(exchange, answer, 101, wire);
}
