/* load - a closed-loop HTTP load: N keep-alive connections, each with one POST in flight, from one thread.
 *
 *   load PORT CLIENTS WARM_MS MEASURE_MS CHANNEL [HEADER...]
 *
 * Posts the benchmark's messages to /api/v1/messages. What is sent in the first WARM_MS is not counted. Prints one JSON
 * object: answers 201 per second and their latencies in milliseconds. Any other answer ends it with status 1. */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CLIENTS_MAX 4096
#define REQUEST_BYTES 8192
#define ANSWER_BYTES 16384
#define SAMPLES_MAX 4000000
#define SILENCE_MS 20000        /* a server that says nothing for so long is gone */

struct client {
    int socket;
    size_t got;
    int64_t sent_us;
    char answer[ANSWER_BYTES];
};

static struct {
    int epoll;
    const char *channel;
    char headers[2048];
    int64_t number, count_from_us, end_us;
    struct samples samples;
} load;

static struct client clients[CLIENTS_MAX];

static void send_request(struct client *client)
{
    char body[REQUEST_BYTES / 2], request[REQUEST_BYTES];
    size_t length = sample_json(body, sizeof body, load.number++, load.channel);
    int size = snprintf(request, sizeof request,
                        "POST /api/v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                        "%sContent-Length: %zu\r\n\r\n%s", load.headers, length, body);

    client->sent_us = now_us();
    client->got = 0;
    if (send(client->socket, request, (size_t)size, MSG_NOSIGNAL) != size)
        fail("load: a request could not be sent: %s", strerror(errno));
}

/* Is the answer complete? Its length comes from Content-Length. */
static bool complete(const struct client *client)
{
    const char *end = memmem(client->answer, client->got, "\r\n\r\n", 4), *length;
    size_t body = 0;

    if (!end)
        return false;
    length = strcasestr(client->answer, "\r\nContent-Length:");
    if (length && length < end)
        body = strtoul(length + 17, NULL, 10);
    return client->got >= (size_t)(end + 4 - client->answer) + body;
}

static void read_answer(struct client *client)
{
    ssize_t got = recv(client->socket, client->answer + client->got, ANSWER_BYTES - 1 - client->got, 0);
    int64_t now;

    if (got <= 0)
        fail("load: the server closed a connection");
    client->got += (size_t)got;
    client->answer[client->got] = '\0';
    if (!complete(client))
        return;
    now = now_us();
    if (strncmp(client->answer, "HTTP/1.1 201 ", 13))
        fail("load: an answer is not 201:\n%.1000s", client->answer);
    if (client->sent_us >= load.count_from_us && now < load.end_us)
        samples_add(&load.samples, now - client->sent_us);
    if (now < load.end_us)
        send_request(client);
}

static void open_client(struct client *client, int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->socket < 0 || connect(client->socket, (struct sockaddr *)&address, sizeof address))
        fail("load: cannot connect to port %d: %s", port, strerror(errno));
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, client->socket, &event))
        fail("load: epoll: %s", strerror(errno));
}

static void run(int count)
{
    struct epoll_event events[256];

    for (int i = 0; i < count; i++)
        send_request(&clients[i]);
    while (now_us() < load.end_us) {
        int ready = epoll_wait(load.epoll, events, 256, SILENCE_MS);

        if (ready == 0)
            fail("load: the server says nothing");
        for (int i = 0; i < ready; i++)
            read_answer(events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    int count = argc > 5 ? atoi(argv[2]) : 0, warm_ms, measure_ms;

    if (count < 1 || count > CLIENTS_MAX) {
        fprintf(stderr, "usage: load PORT CLIENTS WARM_MS MEASURE_MS CHANNEL [HEADER...]\n");
        return 2;
    }
    warm_ms = atoi(argv[3]);
    measure_ms = atoi(argv[4]);
    load.channel = argv[5];
    for (int i = 6; i < argc; i++)
        snprintf(load.headers + strlen(load.headers), sizeof load.headers - strlen(load.headers), "%s\r\n", argv[i]);
    samples_init(&load.samples, SAMPLES_MAX);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.epoll < 0)
        fail("load: epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++)
        open_client(&clients[i], atoi(argv[1]));
    load.count_from_us = now_us() + warm_ms * INT64_C(1000);
    load.end_us = load.count_from_us + measure_ms * INT64_C(1000);
    run(count);
    samples_sort(&load.samples);
    printf("{\"per_s\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"count\":%zu}\n",
           (double)load.samples.count * 1000 / measure_ms, samples_at(&load.samples, 0.5),
           samples_at(&load.samples, 0.99), samples_at(&load.samples, 1), load.samples.count);
    return 0;
}
