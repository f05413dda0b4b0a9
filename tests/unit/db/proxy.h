/* proxy.h - a unix-socket proxy in front of PostgreSQL that, when told to, lets the next COMMIT through, waits for the
 * server's answer, and cuts the link instead of passing it on. */
#pragma once

#include "base/arena.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PROXY_LINKS 64

struct proxy {
    char folder[64];
    char server[108];
    int listener;
    int client[PROXY_LINKS], upstream[PROXY_LINKS];
    bool cutting[PROXY_LINKS];      /* COMMIT went out: the next answer is the last */
    int count;
    atomic_bool armed, stop;
    atomic_int lost;
    pthread_t thread;
};

static inline void proxy_close(struct proxy *proxy, int i)
{
    close(proxy->client[i]);
    close(proxy->upstream[i]);
    proxy->client[i] = proxy->upstream[i] = -1;
}

static inline void proxy_accept(struct proxy *proxy)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int client = accept(proxy->listener, NULL, NULL), upstream = socket(AF_UNIX, SOCK_STREAM, 0);
    int at = 0;

    memcpy(address.sun_path, proxy->server, sizeof proxy->server);
    while (at < proxy->count && proxy->client[at] >= 0)
        at++;
    if (client < 0 || upstream < 0 || at == PROXY_LINKS
        || connect(upstream, (struct sockaddr *)&address, sizeof address)) {
        close(client);
        close(upstream);
        return;
    }
    proxy->client[at] = client;
    proxy->upstream[at] = upstream;
    proxy->cutting[at] = false;
    proxy->count = at == proxy->count ? at + 1 : proxy->count;
}

/* Pass on what `from` sent. False: that link has ended. */
static inline bool proxy_pass(struct proxy *proxy, int i, bool from_client)
{
    int from = from_client ? proxy->client[i] : proxy->upstream[i];
    int to = from_client ? proxy->upstream[i] : proxy->client[i];
    char data[65536];
    ssize_t got = read(from, data, sizeof data);

    if (got <= 0)
        return false;
    if (!from_client && proxy->cutting[i]) {
        atomic_fetch_add(&proxy->lost, 1);
        return false;
    }
    if (from_client && atomic_load(&proxy->armed) && memmem(data, (size_t)got, "COMMIT", 6)) {
        atomic_store(&proxy->armed, false);
        proxy->cutting[i] = true;
    }
    for (ssize_t sent = 0, part; sent < got; sent += part) {
        part = send(to, data + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (part <= 0)
            return false;
    }
    return true;
}

static inline void *proxy_main(void *arg)
{
    struct proxy *proxy = arg;

    while (!atomic_load(&proxy->stop)) {
        struct pollfd waits[1 + 2 * PROXY_LINKS] = { { .fd = proxy->listener, .events = POLLIN } };
        int count = proxy->count;

        for (int i = 0; i < count; i++) {
            waits[1 + 2 * i] = (struct pollfd){ .fd = proxy->client[i], .events = POLLIN };
            waits[2 + 2 * i] = (struct pollfd){ .fd = proxy->upstream[i], .events = POLLIN };
        }
        if (poll(waits, (nfds_t)(1 + 2 * count), 50) <= 0)
            continue;
        for (int i = 0; i < count; i++) {
            bool alive = true;

            if (waits[1 + 2 * i].revents)
                alive = proxy_pass(proxy, i, true);
            if (alive && waits[2 + 2 * i].revents)
                alive = proxy_pass(proxy, i, false);
            if (!alive)
                proxy_close(proxy, i);
        }
        if (waits[0].revents)
            proxy_accept(proxy);
    }
    return NULL;
}

/* Start one in front of the server that `url` ("...?host=FOLDER&...") names. */
static inline struct proxy *proxy_start(const char *url)
{
    struct proxy *proxy = mem_alloc(sizeof *proxy);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *host = strstr(url, "host=") + 5;

    snprintf(proxy->server, sizeof proxy->server, "%.*s/.s.PGSQL.5432", (int)strcspn(host, "&"), host);
    snprintf(proxy->folder, sizeof proxy->folder, "/tmp/hub-proxy.XXXXXX");
    if (!mkdtemp(proxy->folder))
        abort();
    snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.5432", proxy->folder);
    proxy->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(proxy->listener, (struct sockaddr *)&address, sizeof address) || listen(proxy->listener, 16)
        || pthread_create(&proxy->thread, NULL, proxy_main, proxy))
        abort();
    return proxy;
}

static inline void proxy_stop(struct proxy *proxy)
{
    char path[108];

    atomic_store(&proxy->stop, true);
    pthread_join(proxy->thread, NULL);
    for (int i = 0; i < proxy->count; i++)
        if (proxy->client[i] >= 0)
            proxy_close(proxy, i);
    close(proxy->listener);
    snprintf(path, sizeof path, "%s/.s.PGSQL.5432", proxy->folder);
    unlink(path);
    rmdir(proxy->folder);
    free(proxy);
}
