#include "net/wire.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_BYTES (64 * 1024)
#define READS_PER_TURN 4                /* so that one loud socket does not starve the others */
#define FRAMES_PER_WRITE 16
#define EVENTS_PER_TURN 128
#define CLOSE_US (5 * 1000000LL)        /* patience for the peer's half of a close */
#define DRAIN_US (1 * 1000000LL)        /* the same while the hub stops */
#define DEAD_PEER_MS 60000              /* unacknowledged bytes: the kernel gives up */

struct wire_item {
    struct wire_item *next;
    struct ws_frame *frame;
};

/* Wires with one and the same patience, the most impatient first. */
struct wire_list {
    struct wire *first, *last;
};

struct wire_loop {
    pthread_t thread;
    int epoll_fd, event_fd;
    int64_t idle_us;
    pthread_mutex_t lock;           /* guards the posted list */
    struct wire *posted;
    atomic_bool draining, stopping;
    bool drained;
    struct wire_list open, closing;
    atomic_int counts[2];
    char *buffer;
    void *spare;
};

struct ws_frame *wire_frame(size_t len)
{
    struct ws_frame *frame = malloc(sizeof *frame + len);

    if (!frame)
        mem_exhausted(len);
    atomic_init(&frame->refs, 1);
    frame->len = len;
    return frame;
}

void wire_frame_release(struct ws_frame *frame)
{
    if (frame && atomic_fetch_sub_explicit(&frame->refs, 1, memory_order_acq_rel) == 1)
        free(frame);
}

/* --- The queue; all with the wire's lock held --------------------------------------------------------------------- */

static void push(struct wire *wire, struct ws_frame *frame)
{
    struct wire_item *item = mem_alloc(sizeof *item);

    item->frame = frame;
    if (wire->last)
        wire->last->next = item;
    else
        wire->first = item;
    wire->last = item;
    wire->queued += frame->len;
}

static void pop(struct wire *wire)
{
    struct wire_item *item = wire->first;

    wire->first = item->next;
    if (!wire->first)
        wire->last = NULL;
    wire->queued -= item->frame->len;
    wire->sent = 0;
    wire_frame_release(item->frame);
    free(item);
}

/* Drop what has not been sent, but for a frame that is on its way. */
static void drop_unsent(struct wire *wire)
{
    struct wire_item *kept = wire->sent > 0 ? wire->first : NULL;
    size_t sent = wire->sent;

    if (kept)
        wire->first = kept->next;
    while (wire->first)
        pop(wire);
    if (kept) {
        kept->next = NULL;
        wire->first = wire->last = kept;
        wire->sent = sent;
    }
}

static void poll_for(struct wire *wire, int operation)
{
    struct epoll_event event = { .data.ptr = wire };

    event.events = EPOLLIN | EPOLLRDHUP | (wire->blocked ? EPOLLOUT : 0);
    epoll_ctl(wire->loop->epoll_fd, operation, wire->fd, &event);
}

static void set_blocked(struct wire *wire, bool blocked)
{
    if (wire->blocked == blocked)
        return;
    wire->blocked = blocked;
    if (wire->polled)
        poll_for(wire, EPOLL_CTL_MOD);
}

/* Send from the queue until it is empty or the kernel is full. A broken socket is the loop's to see. */
static void flush(struct wire *wire)
{
    while (wire->first && wire->fd >= 0) {
        struct iovec parts[FRAMES_PER_WRITE];
        struct msghdr message = { .msg_iov = parts };
        size_t skip = wire->sent;
        ssize_t sent;

        for (struct wire_item *item = wire->first; item && message.msg_iovlen < FRAMES_PER_WRITE;
             item = item->next) {
            parts[message.msg_iovlen++] = (struct iovec){ item->frame->data + skip, item->frame->len - skip };
            skip = 0;
        }
        sent = sendmsg(wire->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            if (errno != EAGAIN)
                shutdown(wire->fd, SHUT_RDWR);
            set_blocked(wire, errno == EAGAIN);
            return;
        }
        wire->sent += (size_t)sent;
        while (wire->first && wire->sent >= wire->first->frame->len) {
            size_t rest = wire->sent - wire->first->frame->len;

            pop(wire);
            wire->sent = rest;
        }
    }
    set_blocked(wire, false);
    if (wire->state == WIRE_CLOSING && wire->fd >= 0)
        shutdown(wire->fd, SHUT_WR);
}

/* --- From any thread ---------------------------------------------------------------------------------------------- */

static void wake(struct wire_loop *loop)
{
    uint64_t one = 1;

    while (write(loop->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* Ask the loop to look at the wire. Other threads do it with the wire's lock held: without it the loop may be done with
 * the wire, and its owner have freed it, before this begins. */
static void post(struct wire *wire)
{
    struct wire_loop *loop = wire->loop;
    bool first;

    pthread_mutex_lock(&loop->lock);
    first = !loop->posted;
    if (!wire->posted) {
        wire->posted = true;
        wire->next_posted = loop->posted;
        loop->posted = wire;
    }
    /* Waking under the lock: afterwards the loop may be gone. */
    if (first)
        wake(loop);
    pthread_mutex_unlock(&loop->lock);
}

void wire_init(struct wire *wire, struct wire_loop *loop, enum wire_kind kind)
{
    wire->loop = loop;
    wire->kind = kind;
    wire->fd = -1;
    pthread_mutex_init(&wire->lock, NULL);
    atomic_fetch_add(&loop->counts[kind], 1);
}

void wire_attach(struct wire *wire, int fd, struct ws_frame *early)
{
    int on = 1, off = 0, dead_ms = DEAD_PEER_MS;

    /* On a unix socket these fail and are not needed. The HTTP library may have left the header waiting for a body. */
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
    pthread_mutex_lock(&wire->lock);
    wire->fd = fd;
    wire->early = early;
    post(wire);
    pthread_mutex_unlock(&wire->lock);
}

void wire_lose(struct wire *wire)
{
    pthread_mutex_lock(&wire->lock);
    wire->lost = true;
    post(wire);
    pthread_mutex_unlock(&wire->lock);
}

/* How many bytes the kernel takes right now, when nothing waits before them; with the lock held. */
static size_t send_now(struct wire *wire, const char *data, size_t len)
{
    ssize_t sent;

    if (wire->first || wire->fd < 0)
        return 0;
    do
        sent = send(wire->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN)
        shutdown(wire->fd, SHUT_RDWR);
    return sent > 0 ? (size_t)sent : 0;
}

/* Open, and room for `len` more? One frame always fits, so that a large one can pass at all. */
static bool may_send(const struct wire *wire, size_t len, bool *full)
{
    *full = wire->state == WIRE_OPEN && wire->queued > 0 && wire->queued + len > LIMIT_WS_QUEUE_BYTES;
    return wire->state == WIRE_OPEN && !*full;
}

int wire_send(struct wire *wire, struct ws_frame *frame, bool *full)
{
    bool is_full, taken;

    pthread_mutex_lock(&wire->lock);
    taken = may_send(wire, frame->len, &is_full);
    if (taken) {
        size_t sent = send_now(wire, frame->data, frame->len);

        if (sent < frame->len) {
            atomic_fetch_add_explicit(&frame->refs, 1, memory_order_relaxed);
            push(wire, frame);
            if (sent > 0)
                wire->sent = sent;
            set_blocked(wire, wire->fd >= 0);
        }
    }
    pthread_mutex_unlock(&wire->lock);
    if (full)
        *full = is_full;
    return taken ? 0 : -1;
}

int wire_send_bytes(struct wire *wire, struct str bytes, bool *full)
{
    bool is_full, taken;

    pthread_mutex_lock(&wire->lock);
    taken = may_send(wire, bytes.len, &is_full);
    if (taken) {
        size_t sent = send_now(wire, bytes.data, bytes.len);

        if (sent < bytes.len) {
            struct ws_frame *rest = wire_frame(bytes.len - sent);

            memcpy(rest->data, bytes.data + sent, rest->len);
            push(wire, rest);
            set_blocked(wire, wire->fd >= 0);
        }
    }
    pthread_mutex_unlock(&wire->lock);
    if (full)
        *full = is_full;
    return taken ? 0 : -1;
}

void wire_finish(struct wire *wire, struct ws_frame *last, bool at_once)
{
    pthread_mutex_lock(&wire->lock);
    if (wire->state == WIRE_OPEN) {
        wire->state = WIRE_CLOSING;
        if (at_once)
            drop_unsent(wire);
        if (last) {
            atomic_fetch_add_explicit(&last->refs, 1, memory_order_relaxed);
            push(wire, last);
        }
        flush(wire);
        post(wire);
    }
    pthread_mutex_unlock(&wire->lock);
}

void **wire_loop_spare(struct wire_loop *loop)
{
    return &loop->spare;
}

int wire_count(struct wire_loop *loop, enum wire_kind kind)
{
    return atomic_load_explicit(&loop->counts[kind], memory_order_relaxed);
}

/* --- On the loop's thread ----------------------------------------------------------------------------------------- */

static void list_remove(struct wire_loop *loop, struct wire *wire)
{
    struct wire_list *list = wire->closing_listed ? &loop->closing : &loop->open;

    if (!wire->listed)
        return;
    *(wire->prev ? &wire->prev->next : &list->first) = wire->next;
    *(wire->next ? &wire->next->prev : &list->last) = wire->prev;
    wire->listed = false;
}

/* Put it at the end of its list: all in one list wait equally long. */
static void list_append(struct wire_loop *loop, struct wire *wire, bool closing)
{
    struct wire_list *list = closing ? &loop->closing : &loop->open;

    list_remove(loop, wire);
    wire->due_us = clock_mono_us() + (!closing ? loop->idle_us : loop->draining ? DRAIN_US : CLOSE_US);
    wire->closing_listed = closing;
    wire->next = NULL;
    wire->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = wire;
    list->last = wire;
    wire->listed = true;
}

static bool is_dead(struct wire *wire)
{
    bool dead;

    pthread_mutex_lock(&wire->lock);
    dead = wire->state == WIRE_DEAD;
    pthread_mutex_unlock(&wire->lock);
    return dead;
}

/* Close the socket. The wire itself goes when the posted list is worked off, after all events of this turn. */
static void kill_wire(struct wire_loop *loop, struct wire *wire)
{
    pthread_mutex_lock(&wire->lock);
    if (wire->state == WIRE_DEAD) {
        pthread_mutex_unlock(&wire->lock);
        return;
    }
    wire->state = WIRE_DEAD;
    wire->sent = 0;
    while (wire->first)
        pop(wire);
    /* The HTTP library may hold its own descriptor of the socket for another moment: closing ours alone would leave the
     * epoll entry, with a pointer to a wire that is gone. */
    if (wire->polled)
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, wire->fd, NULL);
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
    wire->polled = false;
    pthread_mutex_unlock(&wire->lock);
    list_remove(loop, wire);
    post(wire);
}

static void farewell(struct wire *wire)
{
    struct ws_frame *last = wire->kind == WIRE_WEBSOCKET ? ws_farewell() : NULL;

    wire_finish(wire, last, false);
    wire_frame_release(last);
}

/* Bring a posted wire to where its state says it belongs. */
static void settle(struct wire_loop *loop, struct wire *wire)
{
    struct ws_frame *early;
    enum wire_state state;
    bool lost, attached;

    if (loop->draining)
        farewell(wire);
    pthread_mutex_lock(&wire->lock);
    early = wire->early;
    wire->early = NULL;
    state = wire->state;
    lost = wire->lost;
    attached = wire->fd >= 0;
    if (attached && !wire->polled) {
        wire->polled = true;
        poll_for(wire, EPOLL_CTL_ADD);
        flush(wire);
    }
    pthread_mutex_unlock(&wire->lock);
    if (early && state == WIRE_OPEN && wire->kind == WIRE_WEBSOCKET)
        ws_input(wire, early->data, early->len);
    wire_frame_release(early);
    if (state == WIRE_DEAD) {
        atomic_fetch_sub(&loop->counts[wire->kind], 1);
        if (wire->kind == WIRE_WEBSOCKET)
            ws_gone(wire);
        else
            stream_gone(wire);
    } else if (lost) {
        kill_wire(loop, wire);
    } else if (attached && (!wire->listed || wire->closing_listed != (state == WIRE_CLOSING))) {
        list_append(loop, wire, state == WIRE_CLOSING);
    }
}

static void settle_posted(struct wire_loop *loop)
{
    struct wire *wire;

    pthread_mutex_lock(&loop->lock);
    while ((wire = loop->posted)) {
        loop->posted = wire->next_posted;
        wire->posted = false;
        pthread_mutex_unlock(&loop->lock);
        settle(loop, wire);
        pthread_mutex_lock(&loop->lock);
    }
    pthread_mutex_unlock(&loop->lock);
}

static void read_wire(struct wire_loop *loop, struct wire *wire)
{
    for (int i = 0; i < READS_PER_TURN && !is_dead(wire); i++) {
        ssize_t len = recv(wire->fd, loop->buffer, READ_BYTES, MSG_DONTWAIT);

        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0 && errno == EAGAIN)
            return;
        if (len <= 0) {
            kill_wire(loop, wire);
            return;
        }
        /* Event streams have nothing to say; nor does a WebSocket after our last frame. */
        if (wire->kind == WIRE_WEBSOCKET && !wire->closing_listed)
            ws_input(wire, loop->buffer, (size_t)len);
        if (len < READ_BYTES)
            return;
    }
}

/* Ping the quiet, cut those whose patience is over; returns how long to sleep, at most a second. */
static int tick(struct wire_loop *loop)
{
    int64_t now_us = clock_mono_us(), next_us = now_us + 1000000;
    struct wire *wire;

    while ((wire = loop->closing.first) && wire->due_us <= now_us)
        kill_wire(loop, wire);
    while ((wire = loop->open.first) && wire->due_us <= now_us) {
        list_append(loop, wire, false);
        if (wire->kind == WIRE_WEBSOCKET && !ws_tick(wire))
            kill_wire(loop, wire);
    }
    if (loop->closing.first && loop->closing.first->due_us < next_us)
        next_us = loop->closing.first->due_us;
    if (loop->open.first && loop->open.first->due_us < next_us)
        next_us = loop->open.first->due_us;
    return (int)((next_us - now_us) / 1000) + 1;
}

static void drain_all(struct wire_loop *loop)
{
    for (struct wire *wire = loop->open.first; wire; wire = wire->next)
        farewell(wire);
    loop->drained = true;
}

static void *run(void *arg)
{
    struct wire_loop *loop = arg;
    struct epoll_event events[EVENTS_PER_TURN];
    int64_t end_us = 0;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_setname_np(pthread_self(), "hub-sockets");
    for (;;) {
        int timeout_ms = tick(loop), count;

        if (loop->stopping) {
            if (end_us == 0)
                end_us = clock_mono_us() + DRAIN_US;
            if (clock_mono_us() >= end_us)
                while (loop->open.first || loop->closing.first)
                    kill_wire(loop, loop->open.first ? loop->open.first : loop->closing.first);
            settle_posted(loop);
            if (!loop->open.first && !loop->closing.first)
                return NULL;
            timeout_ms = 20;
        }
        count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, timeout_ms);
        for (int i = 0; i < count; i++) {
            struct wire *wire = events[i].data.ptr;
            uint64_t ignored;

            if (!wire) {
                while (read(loop->event_fd, &ignored, sizeof ignored) < 0 && errno == EINTR)
                    ;
                continue;
            }
            if (events[i].events & EPOLLOUT) {
                pthread_mutex_lock(&wire->lock);
                flush(wire);
                pthread_mutex_unlock(&wire->lock);
            }
            if (events[i].events & ~(uint32_t)EPOLLOUT)
                read_wire(loop, wire);
        }
        if (loop->draining && !loop->drained)
            drain_all(loop);
        settle_posted(loop);
    }
}

struct wire_loop *wire_loop_new(int idle_ms)
{
    struct wire_loop *loop = mem_alloc(sizeof *loop);
    struct epoll_event event = { .events = EPOLLIN };

    loop->idle_us = idle_ms * 1000LL;
    loop->buffer = malloc(READ_BYTES);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!loop->buffer || loop->epoll_fd < 0 || loop->event_fd < 0)
        mem_exhausted(READ_BYTES);
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->event_fd, &event);
    pthread_mutex_init(&loop->lock, NULL);
    if (pthread_create(&loop->thread, NULL, run, loop) != 0)
        mem_exhausted(0);
    return loop;
}

void wire_loop_drain(struct wire_loop *loop)
{
    atomic_store(&loop->draining, true);
    wake(loop);
}

void wire_loop_free(struct wire_loop *loop)
{
    if (!loop)
        return;
    atomic_store(&loop->draining, true);
    atomic_store(&loop->stopping, true);
    wake(loop);
    pthread_join(loop->thread, NULL);
    close(loop->epoll_fd);
    close(loop->event_fd);
    pthread_mutex_destroy(&loop->lock);
    ws_spare_free(loop->spare);
    free(loop->buffer);
    free(loop);
}
