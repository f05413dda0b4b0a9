#include "net/ws.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/sign.h"
#include "net/server_inside.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define PINGS_MISSED 2
#define KEPT_BYTES (64 * 1024)          /* message buffer that an idle parser may keep */
#define REASON_BYTES 123                /* a control frame's payload less the code */

enum { OPCODE_TEXT = 1, OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_CONTROL = 8 };

struct ws {
    struct wire wire;                   /* first: a wire of this kind is a ws */
    struct ws_callbacks callbacks;
    void *arg;
    struct parser *parser;              /* only while a message is incomplete */
    int pings;                          /* not answered yet */
};

/* What reads frames: nearly 9 KiB, so the sockets of a loop share one as long as their messages come whole. */
struct parser {
    wslay_event_context_ptr context;
    struct ws *ws;
    struct buf message, answers;
    const char *input;
    size_t input_len;
    uint64_t given, used;               /* bytes the library took, and those of finished frames: equal between frames */
    uint64_t frame_bytes;
    int opcode;                         /* of the frame being read */
    bool partial;                       /* a message has begun and not ended */
    int fault;                          /* close code for what the library lets pass */
};

/* --- Frames out --------------------------------------------------------------------------------------------------- */

static struct ws_frame *build_frame(int opcode, struct str payload)
{
    size_t extra = payload.len < 126 ? 0 : payload.len < 65536 ? 2 : 8;
    struct ws_frame *frame = wire_frame(2 + extra + payload.len);
    unsigned char *at = (unsigned char *)frame->data;

    *at++ = (unsigned char)(0x80 | opcode);
    *at++ = (unsigned char)(extra == 0 ? payload.len : extra == 2 ? 126 : 127);
    for (size_t i = extra; i > 0; i--)
        *at++ = (unsigned char)((uint64_t)payload.len >> 8 * (i - 1));
    if (payload.len)
        memcpy(at, payload.data, payload.len);
    return frame;
}

static struct ws_frame *close_frame(int code, const char *reason)
{
    char payload[2 + REASON_BYTES + 1];
    int len = snprintf(payload + 2, sizeof payload - 2, "%s", reason ? reason : "");

    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (len > REASON_BYTES)
        len = REASON_BYTES;
    return build_frame(OPCODE_CLOSE, (struct str){ payload, 2 + (size_t)len });
}

struct ws_frame *ws_frame_new(struct str text)
{
    return build_frame(OPCODE_TEXT, text);
}

void ws_frame_release(struct ws_frame *frame)
{
    wire_frame_release(frame);
}

struct ws_frame *ws_farewell(void)
{
    return close_frame(WSLAY_CODE_GOING_AWAY, "the hub is stopping");
}

static void finish(struct ws *socket, int code, const char *reason, bool at_once)
{
    struct ws_frame *last = close_frame(code, reason);

    wire_finish(&socket->wire, last, at_once);
    wire_frame_release(last);
}

int ws_send(struct ws *socket, struct ws_frame *frame)
{
    bool full;
    int status = wire_send(&socket->wire, frame, &full);

    if (full)
        finish(socket, 1013, "resync", true);
    return status;
}

int ws_send_text(struct ws *socket, struct str text)
{
    struct ws_frame *frame = ws_frame_new(text);
    int status = ws_send(socket, frame);

    ws_frame_release(frame);
    return status;
}

void ws_close(struct ws *socket, int code, const char *reason)
{
    finish(socket, code, reason, false);
}

bool ws_tick(struct wire *wire)
{
    struct ws *socket = (struct ws *)wire;

    if (socket->pings == PINGS_MISSED)
        return false;
    socket->pings++;
    wire_send_bytes(wire, STR("\x89\x00"), NULL);
    return true;
}

/* --- Frames in, on the loop's thread ------------------------------------------------------------------------------ */

static ssize_t feed(wslay_event_context_ptr context, uint8_t *to, size_t max, int flags, void *arg)
{
    struct parser *parser = arg;
    size_t len = parser->input_len < max ? parser->input_len : max;

    (void)flags;
    if (len == 0) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, parser->input, len);
    parser->input += len;
    parser->input_len -= len;
    parser->given += len;
    return (ssize_t)len;
}

static ssize_t collect_answer(wslay_event_context_ptr context, const uint8_t *data, size_t len, int flags, void *arg)
{
    struct parser *parser = arg;

    (void)context;
    (void)flags;
    buf_add(&parser->answers, data, len);
    return (ssize_t)len;
}

static void fail(struct parser *parser, int code)
{
    if (!parser->fault)
        parser->fault = code;
    wslay_event_shutdown_read(parser->context);
}

static void frame_begins(wslay_event_context_ptr context, const struct wslay_event_on_frame_recv_start_arg *frame,
                         void *arg)
{
    struct parser *parser = arg;
    uint64_t len = frame->payload_length;

    (void)context;
    parser->opcode = frame->opcode;
    parser->frame_bytes = 2 + (len < 126 ? 0U : len < 65536 ? 2U : 8U) + 4 + len;
    if (frame->opcode >= OPCODE_CONTROL) {
        if (frame->opcode == OPCODE_CLOSE && len == 1)
            fail(parser, WSLAY_CODE_PROTOCOL_ERROR);
        return;
    }
    parser->partial = true;
    if (frame->opcode == OPCODE_BINARY)
        fail(parser, WSLAY_CODE_UNSUPPORTED_DATA);
    if (len > LIMIT_WS_FRAME_BYTES || parser->message.len + len > LIMIT_WS_MESSAGE_BYTES)
        fail(parser, WSLAY_CODE_MESSAGE_TOO_BIG);
}

static void frame_part(wslay_event_context_ptr context, const struct wslay_event_on_frame_recv_chunk_arg *part,
                       void *arg)
{
    struct parser *parser = arg;

    (void)context;
    if (parser->opcode < OPCODE_CONTROL && !parser->fault)
        buf_add(&parser->message, part->data, part->data_length);
}

static void frame_ends(wslay_event_context_ptr context, void *arg)
{
    struct parser *parser = arg;

    (void)context;
    parser->used += parser->frame_bytes;
}

static void message_ends(wslay_event_context_ptr context, const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
    struct parser *parser = arg;
    struct ws *socket = parser->ws;

    (void)context;
    if (message->opcode == WSLAY_PONG)
        socket->pings = 0;
    if (message->opcode >= OPCODE_CONTROL)
        return;
    parser->partial = false;
    if (!parser->fault && socket->callbacks.message)
        socket->callbacks.message(socket->arg, socket, buf_slice(&parser->message));
    buf_clear(&parser->message);
}

static void parser_free(struct parser *parser)
{
    if (!parser)
        return;
    wslay_event_context_free(parser->context);
    buf_fini(&parser->message);
    buf_fini(&parser->answers);
    free(parser);
}

void ws_spare_free(void *spare)
{
    parser_free(spare);
}

static struct parser *parser_new(void)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = feed, .send_callback = collect_answer, .on_frame_recv_start_callback = frame_begins,
        .on_frame_recv_chunk_callback = frame_part, .on_frame_recv_end_callback = frame_ends,
        .on_msg_recv_callback = message_ends,
    };
    struct parser *parser = mem_alloc(sizeof *parser);

    buf_init(&parser->message, LIMIT_WS_MESSAGE_BYTES);
    buf_init(&parser->answers, LIMIT_WS_QUEUE_BYTES);
    if (wslay_event_context_server_init(&parser->context, &callbacks, parser) != 0)
        mem_exhausted(sizeof *parser);
    /* The library would allocate by the length a frame announces; we keep what has arrived. */
    wslay_event_config_set_no_buffering(parser->context, 1);
    return parser;
}

/* Send what the library wants to say: pongs, and the close that answers or ends it all. */
static void send_answers(struct parser *parser, int status)
{
    struct ws *socket = parser->ws;
    bool ends = !wslay_event_get_read_enabled(parser->context), full = false;
    struct ws_frame *frame;

    if (status != 0 && !parser->fault)
        parser->fault = WSLAY_CODE_PROTOCOL_ERROR;
    if (parser->fault) {
        finish(socket, parser->fault, NULL, false);
        return;
    }
    if (wslay_event_want_write(parser->context))
        wslay_event_send(parser->context);
    if (parser->answers.len == 0)
        return;
    frame = wire_frame(parser->answers.len);
    memcpy(frame->data, parser->answers.data, frame->len);
    buf_clear(&parser->answers);
    if (ends)
        wire_finish(&socket->wire, frame, false);
    else
        wire_send(&socket->wire, frame, &full);
    wire_frame_release(frame);
    if (full)
        finish(socket, 1013, "resync", true);
}

void ws_input(struct wire *wire, char *data, size_t len)
{
    struct ws *socket = (struct ws *)wire;
    void **spare = wire_loop_spare(wire->loop);
    struct parser *parser = socket->parser;
    bool open;

    pthread_mutex_lock(&wire->lock);
    open = wire->state == WIRE_OPEN;
    pthread_mutex_unlock(&wire->lock);
    if (!open)
        return;
    if (!parser) {
        parser = *spare ? *spare : parser_new();
        *spare = NULL;
        socket->parser = parser;
    }
    parser->ws = socket;
    parser->input = data;
    parser->input_len = len;
    send_answers(parser, wslay_event_recv(parser->context));
    if (parser->fault || parser->partial || parser->given != parser->used ||
        !wslay_event_get_read_enabled(parser->context))
        return;
    /* Between messages: the parser is as good as new for the next socket. */
    socket->parser = NULL;
    if (parser->message.cap > KEPT_BYTES)
        buf_fini(&parser->message);
    if (*spare)
        parser_free(parser);
    else
        *spare = parser;
}

void ws_gone(struct wire *wire)
{
    struct ws *socket = (struct ws *)wire;

    if (socket->callbacks.closed)
        socket->callbacks.closed(socket->arg, socket);
    parser_free(socket->parser);
    pthread_mutex_destroy(&wire->lock);
    free(socket);
}

/* --- The handshake ------------------------------------------------------------------------------------------------ */

static bool has_word(struct str list, const char *word)
{
    struct str part;

    while (str_split(&list, ',', &part))
        if (str_eq_nocase(str_trim(part), str_c(word)))
            return true;
    return false;
}

static int check_handshake(const struct http_exchange *exchange, struct refusal *why)
{
    const struct http_request *request = &exchange->request;
    struct str key = http_header(request, "Sec-WebSocket-Key"), raw;

    if (request->method != HTTP_GET || exchange->http_1_0 || !has_word(http_header(request, "Upgrade"), "websocket") ||
        !has_word(http_header(request, "Connection"), "upgrade"))
        return refuse(why, 426, "This address speaks WebSocket.",
                      "Connect with a WebSocket client: GET with Connection: Upgrade and Upgrade: websocket.");
    if (!str_is(http_header(request, "Sec-WebSocket-Version"), "13"))
        return refuse(why, 426, "This version of the WebSocket protocol is not spoken here.",
                      "Send Sec-WebSocket-Version: 13.");
    if (key.len != 24 || !sign_unbase64(request->arena, key, &raw) || raw.len != 16)
        return refuse(why, 400, "Sec-WebSocket-Key is not 16 bytes in base64.",
                      "Send a fresh random key with each handshake.");
    return 0;
}

static const char *accept_text(const struct http_request *request)
{
    struct str key = http_header(request, "Sec-WebSocket-Key");
    const char *salted = arena_printf(request->arena, "%.*s" GUID, STR_FMT(key));
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len;

    if (!EVP_Digest(salted, strlen(salted), hash, &len, EVP_sha1(), NULL))
        mem_exhausted(0);
    return sign_base64(request->arena, hash, len);
}

static void reply_refusal(struct http_exchange *exchange, struct refusal *why)
{
    struct arena *arena = exchange->request.arena;
    struct http_response response = { .status = why->status };

    http_problem(&response, arena, &why->err, exchange->request.request_id);
    if (why->status == 426) {
        http_respond_header(&response, arena, "Upgrade", "websocket");
        http_respond_header(&response, arena, "Sec-WebSocket-Version", "13");
    }
    http_reply(exchange, &response);
}

struct ws *ws_new(struct wire_loop *loop, const struct ws_callbacks *callbacks, void *arg)
{
    struct ws *socket = mem_alloc(sizeof *socket);

    wire_init(&socket->wire, loop, WIRE_WEBSOCKET);
    socket->callbacks = *callbacks;
    socket->arg = arg;
    return socket;
}

struct wire *ws_wire(struct ws *socket)
{
    return &socket->wire;
}

struct ws *http_upgrade(struct http_exchange *exchange, const char *protocol, const struct ws_callbacks *callbacks,
                        void *arg)
{
    struct ws *socket;
    struct refusal why;

    if (atomic_load(&exchange->state) == EXCHANGE_ABANDONED) {
        exchange_drop(exchange);
        return NULL;
    }
    if (check_handshake(exchange, &why) != 0) {
        reply_refusal(exchange, &why);
        return NULL;
    }
    if (wire_count(exchange->server->loop, WIRE_WEBSOCKET) >= LIMIT_STREAMS) {
        refuse(&why, 503, "Too many WebSockets are open.", "Close some, or poll the sync operation.");
        exchange_refuse(exchange, &why);
        return NULL;
    }
    socket = ws_new(exchange->server->loop, callbacks, arg);
    if (server_upgrade(exchange, &socket->wire, accept_text(&exchange->request), protocol))
        return socket;
    socket->callbacks = (struct ws_callbacks){ 0 };
    wire_lose(&socket->wire);
    return NULL;
}
