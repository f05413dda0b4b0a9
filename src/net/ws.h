/* ws.h - WebSocket (RFC 6455) on a connection taken over from the HTTP server. One event thread serves all sockets;
 * frames sent to many are built once and shared by reference count. No compression, masked frames enforced, ping every
 * 30 s (two without answer: dropped), text messages up to LIMIT_WS_MESSAGE_BYTES; binary ones are refused with 1003. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "net/server.h"

struct ws;
struct ws_frame;            /* a text frame built once */

struct ws_callbacks {
    /* A complete text message arrived. On the socket thread; must not block. */
    void (*message)(void *arg, struct ws *socket, struct str text);
    /* The socket is gone (either side closed, error, overflow, server stop). Called once; `socket` is dead after it. */
    void (*closed)(void *arg, struct ws *socket);
};

/* Answer 101 and take the connection over. Checks Upgrade, Connection, Sec-WebSocket-Version 13 and the key; on a wrong
 * handshake, or with too many sockets, replies 400, 426 or 503 itself and returns NULL. The exchange is over either
 * way; do not use the request after it. `arg` is the callbacks'. `protocol` (may be NULL) is the chosen subprotocol. */
struct ws *http_upgrade(struct http_exchange *exchange, const char *protocol, const struct ws_callbacks *callbacks,
                        void *arg);

/* Build a text frame; hand it to any number of sockets; release it once. */
struct ws_frame *ws_frame_new(struct str text);
void ws_frame_release(struct ws_frame *frame);

/* Queue a frame (any thread). -1: the bounded queue is full: the socket is closed with 1013 "resync". */
int ws_send(struct ws *socket, struct ws_frame *frame);
int ws_send_text(struct ws *socket, struct str text);

/* Close with a code (1000, 1008, 1011, ...) and a short reason. */
void ws_close(struct ws *socket, int code, const char *reason);
