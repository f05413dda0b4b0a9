/* server.h - the HTTP library (libmicrohttpd) behind plain requests and responses; only server*.c knows its types. A
 * complete request goes to `respond` on a worker thread of the pool; its answer may come later, from any thread
 * (http_reply). What the library would repair is refused here (DESIGN.md 9): token names, control bytes, one Host,
 * Content-Length xor chunked, counts, sizes, slow headers and bodies. Refusals are problem documents and close.
 *
 * What libmicrohttpd 0.9.75 keeps to itself: it refuses in its own words (HTML, and closes) what it cannot parse: the
 * version, a line without colon, a bad Content-Length, broken chunks, a header larger than its 16 KiB. It takes bare LF
 * between chunks. A client that shuts its sending half down before the answer gets none. */
#pragma once

#include "base/err.h"
#include "net/http.h"

struct http_server;
struct http_exchange;       /* one request in flight */
struct ws;                  /* one WebSocket (net/ws.h) */
struct stream;              /* one open event stream (server-sent events) */

/* Called on a worker thread for each complete request. It must end in exactly one of http_reply, http_upgrade,
 * http_stream: now or later; http_reply from any thread (also after http_stop gave up waiting for it), the other two
 * best from here: then no callback of the socket runs before this function has returned. `request` lives until then. */
typedef void http_respond(void *arg, struct http_exchange *exchange, struct http_request *request);

struct http_options {
    const char *listen;             /* "127.0.0.1:8080", "[::1]:0", ":8080"; NULL: none */
    const char *socket_path;        /* unix socket, mode 0600; NULL: none */
    int event_threads;              /* 0: one per core, at most 4 */
    int workers;                    /* 0: one more than cores, at most 8 */
    size_t body_max;                /* bytes; the server answers 413 above (a respond-time check may be stricter) */
    /* The same for one request whose header is in, called on an event thread: it must not block. What takes more than
     * body_max shares LIMIT_UPLOADS_BYTES. NULL: body_max for all. */
    size_t (*body_max_of)(void *arg, const struct http_request *request);
    int connections_max;            /* 0: LIMIT_CONNECTIONS */
    int connections_per_address;    /* 0: LIMIT_CONNECTIONS_PER_ADDRESS */
    http_respond *respond;
    void *arg;
};

/* Bind and start. NULL on failure, with a hint (address in use, no permission). */
struct http_server *http_start(const struct http_options *options, struct err *err);

/* The TCP port that was bound (after port 0). */
int http_port(const struct http_server *server);

/* Stop accepting, let requests in flight finish up to `timeout_ms`, close streams and sockets, free. */
void http_stop(struct http_server *server, int timeout_ms);

/* Send the answer and end the exchange. Takes response->body over. Any thread. */
void http_reply(struct http_exchange *exchange, struct http_response *response);

/* The request of an exchange, for code that has only the latter. */
struct http_request *http_exchange_request(struct http_exchange *exchange);

/* Attach one pointer to an exchange (api/op keeps its context there). */
void http_set_data(struct http_exchange *exchange, void *data);
void *http_data(struct http_exchange *exchange);

/* --- Server-sent events: the answer stays open; frames are appended from any thread ------------------------------- */

/* Answer 200 text/event-stream and keep it open. `closed` (may be NULL) is called once, from another thread, when the
 * client went away, the stream was ended or the server stops; after it the stream must not be used. The exchange is
 * over; the request's arena lives until the stream is closed. NULL: no stream was opened and an answer has been sent
 * (HEAD, too many streams, the server stops); `closed` is not called then. */
struct stream *http_stream(struct http_exchange *exchange, void (*closed)(void *arg), void *arg);

/* Append bytes (copied). -1: over LIMIT_WS_QUEUE_BYTES unsent: the stream is ended. */
int stream_send(struct stream *stream, struct str bytes);
void stream_end(struct stream *stream);

/* --- Figures for metrics ------------------------------------------------------------------------------------------ */
struct http_stats {
    int64_t requests, refused, connections, streams, sockets, work_waiting;
};
void http_stats(struct http_server *server, struct http_stats *out);
