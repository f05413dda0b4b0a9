/* load - a closed-loop HTTP load: N keep-alive connections, each with one POST in flight, from one thread.
 *
 *   load PORT PATH CLIENTS MILLISECONDS BODY [HEADER...]
 *
 * In BODY `%n` becomes a number that never repeats within the run, `%c` a number below 1,000. Prints one JSON object:
 * requests answered 2xx per second, latencies in milliseconds, other answers. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 4096
#define REQUEST_BYTES 8192
#define ANSWER_BYTES 16384
#define SAMPLES_MAX 4000000

struct client {
    int socket;
    size_t got;
    int64_t sent_us;
    char answer[ANSWER_BYTES];
};

static struct {
    int port, clients, epoll;
    const char *path, *body;
    char headers[2048];
    int64_t number, end_us;
    uint32_t *samples;
    size_t sample_count;
    int64_t good, bad;
    char first_bad[256];
} load;

static struct client clients[CLIENTS_MAX];

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static size_t fill(char *out, size_t size, const char *template, int64_t number)
{
    size_t length = 0;

    for (const char *at = template; *at && length + 24 < size; at++) {
        if (at[0] == '%' && (at[1] == 'n' || at[1] == 'c')) {
            int64_t value = at[1] == 'n' ? number : (number * 7919) % 1000;

            length += (size_t)snprintf(out + length, size - length, "%lld", (long long)value);
            at++;
        } else {
            out[length++] = *at;
        }
    }
    out[length] = '\0';
    return length;
}

static void send_request(struct client *client)
{
    char body[REQUEST_BYTES / 2], request[REQUEST_BYTES];
    size_t length = fill(body, sizeof body, load.body, load.number++);
    int size = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
                        load.path, load.headers, length, body);

    client->sent_us = now_us();
    client->got = 0;
    if (send(client->socket, request, (size_t)size, MSG_NOSIGNAL) != size)
        fail("send");
}

/* Is the answer complete? Its length comes from Content-Length. */
static bool complete(const struct client *client)
{
    const char *end = memmem(client->answer, client->got, "\r\n\r\n", 4), *length;

    if (!end)
        return false;
    length = strcasestr(client->answer, "\r\nContent-Length:");
    return client->got >= (size_t)(end + 4 - client->answer) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
}

static void read_answer(struct client *client)
{
    ssize_t got = recv(client->socket, client->answer + client->got, ANSWER_BYTES - 1 - client->got, 0);
    int64_t now;

    if (got <= 0)
        fail("the server closed a connection");
    client->got += (size_t)got;
    client->answer[client->got] = '\0';
    if (!complete(client))
        return;
    now = now_us();
    if (client->answer[9] == '2') {
        load.good++;
        if (load.sample_count < SAMPLES_MAX)
            load.samples[load.sample_count++] = (uint32_t)(now - client->sent_us);
    } else if (!load.bad++) {
        snprintf(load.first_bad, sizeof load.first_bad, "%.200s", client->answer);
    }
    if (now < load.end_us)
        send_request(client);
}

static void open_client(struct client *client)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)load.port) };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->socket < 0 || connect(client->socket, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, client->socket, &event))
        fail("epoll");
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static double percentile(double part)
{
    size_t index = (size_t)((double)load.sample_count * part);

    if (!load.sample_count)
        return 0;
    return load.samples[index < load.sample_count ? index : load.sample_count - 1] / 1000.0;
}

int main(int argc, char **argv)
{
    struct epoll_event events[256];
    int64_t start;

    if (argc < 6 || atoi(argv[3]) < 1 || atoi(argv[3]) > CLIENTS_MAX) {
        fprintf(stderr, "usage: load PORT PATH CLIENTS MILLISECONDS BODY [HEADER...]\n");
        return 2;
    }
    load.port = atoi(argv[1]);
    load.path = argv[2];
    load.clients = atoi(argv[3]);
    load.body = argv[5];
    load.number = (int64_t)time(NULL) * 1000000;
    for (int i = 6; i < argc; i++)
        snprintf(load.headers + strlen(load.headers), sizeof load.headers - strlen(load.headers), "%s\r\n", argv[i]);
    load.samples = malloc(SAMPLES_MAX * sizeof *load.samples);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!load.samples || load.epoll < 0)
        fail("start");
    for (int i = 0; i < load.clients; i++)
        open_client(&clients[i]);
    start = now_us();
    load.end_us = start + (int64_t)atoi(argv[4]) * 1000;
    for (int i = 0; i < load.clients; i++)
        send_request(&clients[i]);
    while (now_us() < load.end_us) {
        int count = epoll_wait(load.epoll, events, 256, 100);

        for (int i = 0; i < count; i++)
            read_answer(events[i].data.ptr);
    }
    start = now_us() - start;
    qsort(load.samples, load.sample_count, sizeof *load.samples, compare);
    if (load.bad)
        fprintf(stderr, "load: %lld answers were not 2xx; the first:\n%s\n", (long long)load.bad, load.first_bad);
    printf("{\"per_s\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"good\":%lld,\"bad\":%lld}\n",
           (double)load.good * 1e6 / (double)start, percentile(0.5), percentile(0.99), percentile(1),
           (long long)load.good, (long long)load.bad);
    return load.bad ? 1 : 0;
}
