/* server_inside.h - what the files of the HTTP server share; for net/ and for tests that need shorter limits. */
#pragma once

#include "net/http.h"
#include "net/pool.h"
#include "net/server.h"
#include "net/server_check.h"
#include "net/wire.h"

#include <pthread.h>
#include <stdatomic.h>

#define SERVER_LINGERERS 64     /* refused connections whose rest is read away, at once */

struct ws;
struct ws_callbacks;
struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;

/* Copied by http_start; a test may shorten them before. */
struct server_limits {
    int header_ms, idle_ms, ping_ms, body_bytes_per_s;
    size_t work_queue;
    long long bodies_bytes, uploads_bytes;
};
struct server_limits *server_limits(void);

/* A connection is always in one of these; the sweeper cuts it when the phase's deadline has passed. */
enum phase { PHASE_IDLE, PHASE_HEADER, PHASE_BODY, PHASE_WORK, PHASE_REPLY, PHASE_CUT };

struct connection {
    struct http_server *server;
    struct connection *prev, *next;     /* all connections; guarded by the server's lock */
    pthread_mutex_t lock;               /* guards `exchange` against http_stop */
    struct http_exchange *exchange;     /* the request in flight */
    char *target;                       /* request target as received; NULL: none, or longer than LIMIT_URL_BYTES */
    size_t target_len;
    _Atomic int64_t deadline_us, since_us;
    atomic_int phase;
    int fd;
    enum http_door door;
    uint32_t uid;
    bool linger, taken;                 /* refused: read its rest away; the socket lives on as a wire */
    char peer[64];
};

enum exchange_state {
    EXCHANGE_COLLECTING,    /* its body is coming in */
    EXCHANGE_WAITING,       /* suspended until somebody answers */
    EXCHANGE_ANSWERING,     /* answered, to be resumed */
    EXCHANGE_ABANDONED      /* the server stopped first and answered itself */
};

struct http_exchange {
    struct http_request request;
    struct http_server *server;
    struct connection *connection;
    struct MHD_Connection *mhd;
    atomic_int refs;                    /* the connection, the application, a stream */
    atomic_int state;
    struct MHD_Response *answer;
    int status;
    size_t answer_len;
    int64_t length;                     /* announced body, -1: chunked */
    size_t body_max;
    char *small;                        /* body of a known small length, in the arena */
    size_t small_len;
    struct buf large;                   /* any other body, grown as bytes arrive */
    long long charged;                  /* its bytes, in the server's count of them */
    int64_t body_since_us;
    struct wire *wire;                  /* answered by http_upgrade or http_stream */
    bool http_1_0;
    void *data;
};

struct door {
    struct http_server *server;
    enum http_door kind;
    struct MHD_Daemon *daemon;
    int fd, port;
    char *path;                         /* of the unix socket */
};

struct server_counters {
    atomic_llong requests, refused, connections;
    atomic_llong bodies_bytes;  /* of large bodies in flight: nobody has looked at who sends them */
    atomic_llong uploads_bytes; /* those of them that may be longer than others */
    atomic_int active;                  /* exchanges between their header and their end */
    atomic_int suspended;               /* connections that must be resumed before the library stops */
};

struct http_server {
    struct http_options options;
    struct server_limits limits;
    struct door doors[2];
    struct pool *pool;
    struct wire_loop *loop;
    struct server_counters counters;
    atomic_bool stopping;
    _Atomic uint64_t request_number;
    uint64_t request_seed;
    pthread_mutex_t lock;               /* guards the list of connections and what follows */
    struct connection *first;
    pthread_t sweeper;
    pthread_cond_t sweep;
    bool sweeper_stop;
    int lingerers, lingering[SERVER_LINGERERS];
    int64_t linger_until_us[SERVER_LINGERERS];
};

/* server_socket.c: open and close a door's listening socket. */
int door_open_tcp(struct door *door, const char *listen, struct err *err);
int door_open_socket(struct door *door, const char *path, struct err *err);
void door_close(struct door *door);

/* server_sweep.c: connections and their deadlines. */
struct connection *connection_new(struct door *door, int fd, const void *address);
void connection_free(struct connection *connection);
void sweeper_start(struct http_server *server);
void sweeper_stop(struct http_server *server);

/* Change the phase. False when the sweeper has cut the connection. */
bool connection_enter(struct connection *connection, enum phase phase, int64_t patience_us);

/* Answer on the bare socket; for where the library takes no answer. The caller closes. */
void connection_refuse(struct connection *connection, struct refusal *why);

/* server_stream.c: the exchange is over: its event stream gets the socket, any other wire hears that it gets none. */
void take_over(struct http_exchange *exchange, bool completed);

/* Answer 101 (for ws.c), the socket goes to the wire. Takes the exchange; false when it had been abandoned. */
bool server_upgrade(struct http_exchange *exchange, struct wire *wire, const char *accept, const char *protocol);

/* ws.c: a WebSocket whose handshake is done but which has no socket yet; wire_attach or wire_lose must follow. It is
 * the loop's and ends with callbacks->closed; `callbacks` is copied. And its wire. */
struct ws *ws_new(struct wire_loop *loop, const struct ws_callbacks *callbacks, void *arg);
struct wire *ws_wire(struct ws *socket);

/* server.c: answer an exchange, from any thread. Takes both; false when the exchange had been abandoned. `wire`: who
 * gets the socket, but not before the `respond` that calls it has returned (NULL: nobody). */
bool exchange_answer(struct http_exchange *exchange, struct MHD_Response *answer, int status, struct wire *wire);
struct MHD_Response *exchange_build(struct http_exchange *exchange, struct http_response *response);
void exchange_refuse(struct http_exchange *exchange, struct refusal *why);     /* instead of http_reply */
void exchange_hold(struct http_exchange *exchange);
void exchange_drop(struct http_exchange *exchange);

/* server.c: start the library behind a door. */
int door_start(struct door *door, struct err *err);
