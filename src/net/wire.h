/* wire.h - sockets that left the HTTP library: the common half of WebSockets and event streams. One thread (the loop)
 * reads them all and closes them; anybody may send. Bytes to send are frames shared by reference count; what the kernel
 * does not take at once waits in a bounded queue. For net/ only. */
#pragma once

#include "base/str.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes ready to send; a WebSocket frame with its header, or a piece of an event stream. */
struct ws_frame {
    atomic_int refs;
    size_t len;
    char data[];
};

enum wire_kind { WIRE_WEBSOCKET, WIRE_STREAM };

enum wire_state {
    WIRE_OPEN,
    WIRE_CLOSING,       /* the last frame is queued, nothing more is taken */
    WIRE_DEAD           /* the socket is closed */
};

struct wire_item;
struct wire_loop;

struct wire {
    struct wire_loop *loop;
    pthread_mutex_t lock;               /* guards fd, the queue and the state */
    struct wire_item *first, *last;     /* unsent frames */
    size_t queued, sent;                /* bytes of all of them; bytes of the first that are gone */
    struct wire *next, *prev;           /* the loop's lists, by due time */
    struct wire *next_posted;
    struct ws_frame *early;             /* bytes that the HTTP library had read already */
    int64_t due_us;                     /* ping, or end of patience when closing */
    int fd;                             /* -1 until the HTTP library has let go */
    enum wire_kind kind;
    enum wire_state state;
    bool posted, polled, blocked;       /* in the posted list; in the epoll set; waiting for room in the kernel */
    bool listed, closing_listed, lost;  /* in a list, in which; never got a socket */
};

/* Start the loop's thread. `idle_ms`: how often sockets are pinged. */
struct wire_loop *wire_loop_new(int idle_ms);

/* Close all wires politely from now on, also new ones. */
void wire_loop_drain(struct wire_loop *loop);

/* Drain, wait up to a second, close what is left, join, free. */
void wire_loop_free(struct wire_loop *loop);

/* One pointer that the loop keeps for ws.c, only used on its thread. */
void **wire_loop_spare(struct wire_loop *loop);

/* Wires of one kind that are not dead yet. */
int wire_count(struct wire_loop *loop, enum wire_kind kind);

/* Set up the wire part of a socket. Its owner gets it back, once, in ws_gone or stream_gone, on the loop's thread. */
void wire_init(struct wire *wire, struct wire_loop *loop, enum wire_kind kind);

/* Give it its socket, already a private duplicate, and what was read from it before (taken over; may be NULL); the loop
 * starts to read it. */
void wire_attach(struct wire *wire, int fd, struct ws_frame *early);

/* The HTTP library never let go (the client left before the answer): the wire dies. */
void wire_lose(struct wire *wire);

/* Send a frame; a reference is taken. -1 when the wire is not open or its queue is full (`*full`; may be NULL). */
int wire_send(struct wire *wire, struct ws_frame *frame, bool *full);

/* The same with bytes, copied only as far as the kernel does not take them. */
int wire_send_bytes(struct wire *wire, struct str bytes, bool *full);

/* Send a last frame (NULL: none) and close. With `at_once` unsent frames are dropped, save one that is half sent. */
void wire_finish(struct wire *wire, struct ws_frame *last, bool at_once);

/* A frame of `len` bytes, not yet filled; one reference. And letting go of one. */
struct ws_frame *wire_frame(size_t len);
void wire_frame_release(struct ws_frame *frame);

/* --- What the loop calls, on its thread and without locks --------------------------------------------------------- */

/* Bytes came in for an open WebSocket. */
void ws_input(struct wire *wire, char *data, size_t len);

/* A ping is due. False: the peer has been silent for too long, close. */
bool ws_tick(struct wire *wire);

/* The last frame for a WebSocket when the hub stops; the caller releases it. */
struct ws_frame *ws_farewell(void);

/* Free what ws.c kept in wire_loop_spare. */
void ws_spare_free(void *spare);

/* The wire is dead: tell its user and free it. */
void ws_gone(struct wire *wire);
void stream_gone(struct wire *wire);
