/* Connections and their deadlines: slow headers, slow bodies, idle keep-alive, slow readers are cut here. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "net/server_inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINGER_US (2 * 1000000LL)
#define LINGER_STEP_MS 20
#define LINGER_STEP_BYTES (256 * 1024)

static void name_peer(struct connection *connection, const struct sockaddr *address)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (connection->door == HTTP_DOOR_SOCKET) {
        snprintf(connection->peer, sizeof connection->peer, "unix");
        /* Without credentials the peer is nobody, never root. */
        connection->uid = getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.uid
                                                                                                 : UINT32_MAX;
    } else if (address && address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, connection->peer,
                  sizeof connection->peer);
    } else if (address && address->sa_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;

        if (IN6_IS_ADDR_V4MAPPED(six))
            inet_ntop(AF_INET, six->s6_addr + 12, connection->peer, sizeof connection->peer);
        else
            inet_ntop(AF_INET6, six, connection->peer, sizeof connection->peer);
    }
}

struct connection *connection_new(struct door *door, int fd, const void *address)
{
    struct http_server *server = door->server;
    struct connection *connection = mem_alloc(sizeof *connection);

    connection->server = server;
    connection->fd = fd;
    connection->door = door->kind;
    pthread_mutex_init(&connection->lock, NULL);
    name_peer(connection, address);
    connection_enter(connection, PHASE_HEADER, server->limits.header_ms * 1000LL);
    pthread_mutex_lock(&server->lock);
    connection->next = server->first;
    if (server->first)
        server->first->prev = connection;
    server->first = connection;
    pthread_mutex_unlock(&server->lock);
    atomic_fetch_add(&server->counters.connections, 1);
    return connection;
}

void connection_free(struct connection *connection)
{
    struct http_server *server = connection->server;
    int kept = connection->linger && !connection->taken ? fcntl(connection->fd, F_DUPFD_CLOEXEC, 0) : -1;

    if (!connection->taken)
        shutdown(connection->fd, SHUT_WR);
    pthread_mutex_lock(&server->lock);
    *(connection->prev ? &connection->prev->next : &server->first) = connection->next;
    if (connection->next)
        connection->next->prev = connection->prev;
    if (kept >= 0 && server->lingerers < SERVER_LINGERERS && !server->sweeper_stop) {
        server->lingering[server->lingerers] = kept;
        server->linger_until_us[server->lingerers++] = clock_mono_us() + LINGER_US;
        pthread_cond_signal(&server->sweep);
        kept = -1;
    }
    pthread_mutex_unlock(&server->lock);
    if (kept >= 0)
        close(kept);
    atomic_fetch_sub(&server->counters.connections, 1);
    pthread_mutex_destroy(&connection->lock);
    free(connection->target);
    free(connection);
}

bool connection_enter(struct connection *connection, enum phase phase, int64_t patience_us)
{
    int64_t now_us = clock_mono_us();

    /* The deadline first: who sees the new phase must see its deadline too. */
    atomic_store(&connection->since_us, now_us);
    atomic_store(&connection->deadline_us, patience_us == INT64_MAX ? INT64_MAX : now_us + patience_us);
    if (atomic_exchange(&connection->phase, phase) != PHASE_CUT)
        return true;
    atomic_store(&connection->phase, PHASE_CUT);
    return false;
}

void connection_refuse(struct connection *connection, struct refusal *why)
{
    struct arena *arena = arena_new(0);
    struct http_response response = { .status = why->status };
    struct buf text;

    http_problem(&response, arena, &why->err, NULL);
    buf_init(&text, 16 * 1024);
    buf_printf(&text, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
               "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n", response.status,
               http_reason(response.status), response.content_type, response.body.len);
    buf_str(&text, buf_slice(&response.body));
    /* It fits an empty socket buffer; who does not read gets no second try. */
    if (send(connection->fd, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        atomic_fetch_add(&connection->server->counters.refused, 1);
    buf_fini(&text);
    buf_fini(&response.body);
    arena_free(arena);
}

/* Idle between requests, but has a part of the next one come already? The library does not say, the kernel does. */
static bool header_begun(struct connection *connection, int64_t idle_us)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    return connection->door == HTTP_DOOR_TCP &&
           getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_last_data_recv * 1000LL + 50000 < idle_us;
}

static void cut(struct connection *connection, int phase)
{
    struct refusal why;

    if (!atomic_compare_exchange_strong(&connection->phase, &phase, PHASE_CUT))
        return;
    if (phase == PHASE_HEADER || phase == PHASE_BODY) {
        refuse(&why, 408, phase == PHASE_HEADER ? "The request's header did not arrive in time."
                                                : "The request's body arrives too slowly.",
               "Send the request again, faster.");
        connection_refuse(connection, &why);
    }
    shutdown(connection->fd, SHUT_RDWR);
}

static void look_at(struct connection *connection, int64_t now_us)
{
    int phase = atomic_load(&connection->phase);
    int64_t deadline_us = atomic_load(&connection->deadline_us);
    int64_t header_us = connection->server->limits.header_ms * 1000LL;
    int64_t idle_us = now_us - atomic_load(&connection->since_us);

    if (phase == PHASE_CUT)
        return;
    if (deadline_us <= now_us)
        cut(connection, phase);
    else if (phase == PHASE_IDLE && idle_us > header_us && deadline_us > now_us + header_us &&
             header_begun(connection, idle_us))
        atomic_compare_exchange_strong(&connection->deadline_us, &deadline_us, now_us + header_us);
}

/* Read away what refused clients still send, so that closing does not reset the answer out of their hands. */
static void read_away(struct http_server *server, int64_t now_us)
{
    for (int i = 0; i < server->lingerers; i++) {
        bool over = server->linger_until_us[i] <= now_us || server->sweeper_stop;
        ssize_t len = over ? 0 : recv(server->lingering[i], NULL, LINGER_STEP_BYTES, MSG_DONTWAIT | MSG_TRUNC);

        if (len > 0 || (len < 0 && (errno == EAGAIN || errno == EINTR)))
            continue;
        close(server->lingering[i]);
        server->lingerers--;
        server->lingering[i] = server->lingering[server->lingerers];
        server->linger_until_us[i] = server->linger_until_us[server->lingerers];
        i--;
    }
}

static void *sweep(void *arg)
{
    struct http_server *server = arg;
    int shortest_ms = server->limits.header_ms < server->limits.idle_ms ? server->limits.header_ms
                                                                        : server->limits.idle_ms;
    int period_ms = shortest_ms / 8 > 1000 ? 1000 : shortest_ms / 8 < 10 ? 10 : shortest_ms / 8;
    int64_t next_us = 0;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_setname_np(pthread_self(), "hub-sweep");
    pthread_mutex_lock(&server->lock);
    while (!server->sweeper_stop) {
        int64_t now_us = clock_mono_us();
        struct timespec until;
        long wait_ms;

        if (now_us >= next_us) {
            for (struct connection *connection = server->first; connection; connection = connection->next)
                look_at(connection, now_us);
            next_us = now_us + period_ms * 1000LL;
        }
        read_away(server, now_us);
        wait_ms = server->lingerers && LINGER_STEP_MS < period_ms ? LINGER_STEP_MS : period_ms;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += wait_ms * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&server->sweep, &server->lock, &until);
    }
    read_away(server, 0);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

void sweeper_start(struct http_server *server)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->sweep, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&server->sweeper, NULL, sweep, server) != 0)
        mem_exhausted(0);
}

void sweeper_stop(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->sweeper_stop = true;
    pthread_cond_signal(&server->sweep);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->sweeper, NULL);
    pthread_cond_destroy(&server->sweep);
}
