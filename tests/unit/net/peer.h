/* peer.h - a small TCP peer in a thread: says what it is told for each request, and counts what reached it. */
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_CONNECTIONS 16

/* What happens after a request was read: wait, say this, then keep the connection, close it, or reset it. */
struct peer_turn {
    const char *reply;
    int delay_ms;
    enum { PEER_KEEP, PEER_CLOSE, PEER_RESET } then;
};

struct peer {
    int listener, port, stop[2];
    pthread_t thread;
    const struct peer_turn *turns;      /* one per request; the last one repeats */
    int turn_count;
    atomic_int connections, requests;
    char last[65536];                   /* the last request; read it after peer_stop */
    int fds[PEER_CONNECTIONS];          /* 0: free */
};

/* Bytes of the whole request in `text`, or 0 when it is not complete. */
static inline size_t peer_request_size(const char *text, size_t have)
{
    const char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\nContent-Length:");
    size_t size;

    if (!end)
        return 0;
    size = (size_t)(end + 4 - text) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
    return have >= size ? size : 0;
}

static inline void peer_end(struct peer *peer, int slot, bool reset)
{
    struct linger linger = { 1, 0 };

    if (reset)
        setsockopt(peer->fds[slot], SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(peer->fds[slot]);
    peer->fds[slot] = 0;
}

/* One request on one connection: read it whole, take the turn. */
static inline void peer_serve(struct peer *peer, int slot)
{
    static _Thread_local char text[sizeof peer->last];
    const struct peer_turn *turn;
    size_t have = 0;
    ssize_t got;
    int number;

    memset(text, 0, sizeof text);
    do {
        got = read(peer->fds[slot], text + have, sizeof text - 1 - have);
        have += got > 0 ? (size_t)got : 0;
    } while (got > 0 && !peer_request_size(text, have));
    if (got <= 0) {             /* a kept connection that ends is no request */
        peer_end(peer, slot, false);
        return;
    }
    memcpy(peer->last, text, sizeof text);
    number = atomic_fetch_add(&peer->requests, 1);
    turn = &peer->turns[number < peer->turn_count ? number : peer->turn_count - 1];
    if (turn->delay_ms)
        poll(NULL, 0, turn->delay_ms);
    /* The end goes with the last bytes: who had the whole answer before it would take the connection for a kept one. */
    if (turn->reply)
        (void)!send(peer->fds[slot], turn->reply, strlen(turn->reply),
                    MSG_NOSIGNAL | (turn->then == PEER_CLOSE ? MSG_MORE : 0));
    if (turn->then != PEER_KEEP)
        peer_end(peer, slot, turn->then == PEER_RESET);
}

static inline void *peer_loop(void *arg)
{
    struct peer *peer = arg;

    for (;;) {
        struct pollfd polled[PEER_CONNECTIONS + 2] = { { peer->stop[0], POLLIN, 0 }, { peer->listener, POLLIN, 0 } };

        for (int i = 0; i < PEER_CONNECTIONS; i++)
            polled[i + 2] = (struct pollfd){ peer->fds[i] ? peer->fds[i] : -1, POLLIN, 0 };
        poll(polled, PEER_CONNECTIONS + 2, -1);
        if (polled[0].revents)
            return NULL;
        for (int i = 0; i < PEER_CONNECTIONS; i++) {
            if (polled[i + 2].revents) {
                peer_serve(peer, i);
            } else if (polled[1].revents && !peer->fds[i]) {
                peer->fds[i] = accept(peer->listener, NULL, NULL);
                atomic_fetch_add(&peer->connections, 1);
                polled[1].revents = 0;
            }
        }
    }
}

/* Listen on every address of the machine, IPv4 and IPv6, on a port of the kernel's choice. */
static inline void peer_start(struct peer *peer, const struct peer_turn *turns, int count)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
    socklen_t size = sizeof address;
    int off = 0, failed;

    memset(peer, 0, sizeof *peer);
    peer->turns = turns;
    peer->turn_count = count;
    peer->listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    failed = setsockopt(peer->listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    failed |= bind(peer->listener, (struct sockaddr *)&address, size) | listen(peer->listener, 64) | pipe(peer->stop);
    failed |= getsockname(peer->listener, (struct sockaddr *)&address, &size);
    peer->port = ntohs(address.sin6_port);
    failed |= pthread_create(&peer->thread, NULL, peer_loop, peer);
    if (failed)
        abort();
}

static inline void peer_stop(struct peer *peer)
{
    (void)!write(peer->stop[1], "", 1);
    pthread_join(peer->thread, NULL);
    for (int i = 0; i < PEER_CONNECTIONS; i++) {
        if (peer->fds[i])
            close(peer->fds[i]);
    }
    close(peer->listener);
    close(peer->stop[0]);
    close(peer->stop[1]);
}
