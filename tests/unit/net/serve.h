/* serve.h - a server on a free port of the loopback, and a client that speaks in raw bytes; for the tests of net/. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "net/server.h"
#include "net/server_inside.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PEER_WAIT_MS 5000

struct peer {
    int fd;
    size_t len;
    char bytes[256 * 1024];     /* read and not yet consumed */
};

struct answer {
    int status;
    char head[8192];
    char body[128 * 1024];
    size_t len;
};

static inline struct http_server *serve(http_respond *respond, void *arg)
{
    struct http_options options = { .listen = "127.0.0.1:0", .workers = 4, .event_threads = 2, .respond = respond,
                                    .arg = arg, .body_max = 64 * 1024 };
    struct err err = { 0 };
    struct http_server *server = http_start(&options, &err);

    if (!server)
        fail_msg("%s %s", err.detail, err.hint);
    return server;
}

static inline struct peer *dial(struct http_server *server)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)http_port(server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct peer *peer = mem_alloc(sizeof *peer);

    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&address, sizeof address), 0);
    return peer;
}

static inline void hang_up(struct peer *peer)
{
    close(peer->fd);
    free(peer);
}

static inline void say_bytes(struct peer *peer, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t sent = send(peer->fd, at, len, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        at += sent;
        len -= (size_t)sent;
    }
}

static inline void say(struct peer *peer, const char *text)
{
    say_bytes(peer, text, strlen(text));
}

/* Read more; false at the end of the connection or after PEER_WAIT_MS. */
static inline bool hear_more(struct peer *peer)
{
    struct pollfd ready = { .fd = peer->fd, .events = POLLIN };
    ssize_t got;

    if (peer->len == sizeof peer->bytes - 1 || poll(&ready, 1, PEER_WAIT_MS) != 1)
        return false;
    got = recv(peer->fd, peer->bytes + peer->len, sizeof peer->bytes - 1 - peer->len, 0);
    if (got <= 0)
        return false;
    peer->len += (size_t)got;
    peer->bytes[peer->len] = '\0';
    return true;
}

static inline void consume(struct peer *peer, size_t len)
{
    peer->len -= len;
    memmove(peer->bytes, peer->bytes + len, peer->len + 1);
}

/* Read one answer whose length is announced. Status 0: none came. `head_only`: it answers a HEAD or has no body. */
static inline struct answer *hear(struct peer *peer, bool head_only)
{
    static struct answer answer;
    char *end, *length;

    memset(&answer, 0, sizeof answer);
    while (!(end = peer->len ? strstr(peer->bytes, "\r\n\r\n") : NULL))
        if (!hear_more(peer))
            return &answer;
    snprintf(answer.head, sizeof answer.head, "%.*s", (int)(end - peer->bytes) + 2, peer->bytes);
    consume(peer, (size_t)(end - peer->bytes) + 4);
    length = strcasestr(answer.head, "\r\nContent-Length:");
    answer.len = head_only || !length ? 0 : strtoul(length + 17, NULL, 10);
    assert_true(answer.len < sizeof answer.body);
    while (peer->len < answer.len)
        if (!hear_more(peer))
            return &answer;
    memcpy(answer.body, peer->bytes, answer.len);
    consume(peer, answer.len);
    answer.status = atoi(answer.head + 9);
    return &answer;
}

/* Does the server close, without another byte? */
static inline bool is_closed(struct peer *peer)
{
    struct pollfd ready = { .fd = peer->fd, .events = POLLIN };
    char byte;

    return peer->len == 0 && poll(&ready, 1, PEER_WAIT_MS) == 1 && recv(peer->fd, &byte, 1, 0) <= 0;
}

static inline void pause_for(int ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000L }, NULL);
}
