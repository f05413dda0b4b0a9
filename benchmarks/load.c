/* load - a closed-loop HTTP load: N keep-alive connections, each with one POST in flight, from one thread.
 *
 *   load PORT CLIENTS WARM_MS MEASURE_MS CHANNEL [HEADER...]
 *   load PORT CLIENTS WARM_MS MEASURE_MS @FILE
 *
 * Posts the benchmark's messages to /api/v1/messages, or the requests of a file, in which each follows a line with its
 * length; it ends with the file. What is sent in the first WARM_MS is not counted. Prints one JSON object: answers 201
 * (to a file: 20x) per second and their latencies in milliseconds, and how many there were with those that are not
 * counted. Any other answer ends it with status 1. */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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
    const char *file, *file_end;    /* what is left of it; NULL: there is none */
    int64_t number, all, count_from_us, end_us, last_us;
    int flying;
    struct samples samples;
} load;

static struct client clients[CLIENTS_MAX];

static void map_file(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat found;

    if (file < 0 || fstat(file, &found) || found.st_size == 0)
        fail("load: there are no requests in %s", path);
    load.file = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (load.file == MAP_FAILED)
        fail("load: %s: %s", path, strerror(errno));
    load.file_end = load.file + found.st_size;
    close(file);
}

/* The next request: of the file, or written into `room` of REQUEST_BYTES. NULL: that was all. */
static const char *next_request(char *room, size_t *size)
{
    char body[REQUEST_BYTES / 2], *text;
    const char *request;

    if (!load.file) {
        size_t length = sample_json(body, sizeof body, load.number++, load.channel);
        *size = (size_t)snprintf(room, REQUEST_BYTES,
                                 "POST /api/v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"
                                 "\r\n%sContent-Length: %zu\r\n\r\n%s", load.headers, length, body);
        return room;
    }
    if (load.file == load.file_end)
        return NULL;
    *size = strtoul(load.file, &text, 10);
    request = text + 1;
    if (*text != '\n' || *size == 0 || *size > (size_t)(load.file_end - request))
        fail("load: the file has no length where a request should begin");
    load.file = request + *size;
    return request;
}

/* False: there is nothing more to be sent. */
static bool send_request(struct client *client)
{
    char room[REQUEST_BYTES];
    size_t size;
    const char *request = next_request(room, &size);

    if (!request)
        return false;
    client->sent_us = now_us();
    client->got = 0;
    if (send(client->socket, request, size, MSG_NOSIGNAL) != (ssize_t)size)
        fail("load: a request could not be sent: %s", strerror(errno));
    load.flying++;
    return true;
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
    const char *wanted = load.file ? "HTTP/1.1 20" : "HTTP/1.1 201 ";
    ssize_t got = recv(client->socket, client->answer + client->got, ANSWER_BYTES - 1 - client->got, 0);
    int64_t now;

    if (got <= 0)
        fail("load: the server closed a connection");
    client->got += (size_t)got;
    client->answer[client->got] = '\0';
    if (!complete(client))
        return;
    now = now_us();
    if (strncmp(client->answer, wanted, strlen(wanted)))
        fail("load: an answer is not what is wanted, %s:\n%.1000s", wanted, client->answer);
    load.flying--;
    load.all++;
    if (client->sent_us >= load.count_from_us && now < load.end_us) {
        samples_add(&load.samples, now - client->sent_us);
        load.last_us = now;
    }
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
    while (now_us() < load.end_us && load.flying > 0) {
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
    double seconds;

    if (count < 1 || count > CLIENTS_MAX) {
        fprintf(stderr, "usage: load PORT CLIENTS WARM_MS MEASURE_MS CHANNEL|@FILE [HEADER...]\n");
        return 2;
    }
    warm_ms = atoi(argv[3]);
    measure_ms = atoi(argv[4]);
    load.channel = argv[5];
    if (argv[5][0] == '@')
        map_file(argv[5] + 1);
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
    seconds = load.flying > 0 ? measure_ms / 1000.0 : (double)(load.last_us - load.count_from_us) / 1e6;
    printf("{\"per_s\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"count\":%zu,\"all\":%lld}\n",
           load.samples.count ? (double)load.samples.count / seconds : 0, samples_at(&load.samples, 0.5),
           samples_at(&load.samples, 0.99), samples_at(&load.samples, 1), load.samples.count, (long long)load.all);
    return 0;
}
