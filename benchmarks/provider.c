/* provider - a phone's server (SMS Gateway for Android) that takes its time.
 *
 *   provider DELAY_MS       answers each message so much later; -1: takes connections and requests and never answers
 *
 * Listens on a free port of loopback and prints it. GET /stats answers at once with what was there since the start and,
 * of `waiting`, since the last such question: {"taken", "answered", "waiting", "waiting_mean", "waiting_least",
 * "connections"}. Ends when its standard input does. */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINKS_MAX 8192
#define BYTES 8192
#define BACKLOG 4096

struct link {
    int socket;
    size_t got;
    bool open, waits;
    int64_t due_us;
    char bytes[BYTES];
};

/* Answers are due in the order in which the requests came: a ring. Who hangs up meanwhile is skipped. */
struct due {
    struct link *link;
    int64_t due_us;
};

static struct {
    int epoll, listener, delay_ms;
    int64_t taken, answered, waiting, least, connections;
    int64_t since_us, counted_us;
    double area;                    /* of `waiting` over time, since since_us */
    size_t head, count;
} all;

static struct link links[LINKS_MAX];
static struct due ring[LINKS_MAX];

/* Before `waiting` changes by `change`. */
static void count_waiting(int change)
{
    int64_t now = now_us();

    all.area += (double)all.waiting * (double)(now - all.counted_us);
    all.counted_us = now;
    all.waiting += change;
    if (all.waiting < all.least)
        all.least = all.waiting;
}

static void say(struct link *link, const char *status, const char *body, int length)
{
    char answer[1024];
    int size = snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d"
                        "\r\n\r\n%s", status, length, body);

    /* who does not take it hung up: the next read says so */
    if (send(link->socket, answer, (size_t)size, MSG_NOSIGNAL) != size)
        shutdown(link->socket, SHUT_RDWR);
}

static void accept_message(struct link *link)
{
    char body[128];
    int length = snprintf(body, sizeof body, "{\"id\":\"sms-%lld\",\"state\":\"Pending\",\"recipients\":[]}",
                          (long long)++all.answered);

    say(link, "202 Accepted", body, length);
}

static void say_stats(struct link *link)
{
    char body[512];
    int length;
    int64_t now = now_us();

    count_waiting(0);
    length = snprintf(body, sizeof body, "{\"taken\":%lld,\"answered\":%lld,\"waiting\":%lld,\"waiting_mean\":%.1f,"
                      "\"waiting_least\":%lld,\"connections\":%lld}", (long long)all.taken, (long long)all.answered,
                      (long long)all.waiting, all.area / (double)(now > all.since_us ? now - all.since_us : 1),
                      (long long)all.least, (long long)all.connections);
    say(link, "200 OK", body, length);
    all.area = 0;
    all.since_us = now;
    all.least = all.waiting;
}

static void take(struct link *link)
{
    if (!strncmp(link->bytes, "GET /stats", 10)) {
        say_stats(link);
        return;
    }
    if (strncmp(link->bytes, "POST /messages", 14))
        fail("provider: this is no message:\n%.300s", link->bytes);
    all.taken++;
    if (all.delay_ms == 0) {
        accept_message(link);
        return;
    }
    count_waiting(1);
    link->waits = true;
    link->due_us = now_us() + all.delay_ms * INT64_C(1000);
    if (all.delay_ms < 0)
        return;
    if (all.count == LINKS_MAX)
        fail("provider: more than %d answers are due", LINKS_MAX);
    ring[(all.head + all.count++) % LINKS_MAX] = (struct due){ link, link->due_us };
}

/* The length of the whole request that the link holds, or 0 when more is to come. */
static size_t whole(struct link *link)
{
    const char *end, *length;
    size_t size;

    link->bytes[link->got] = '\0';
    end = strstr(link->bytes, "\r\n\r\n");
    length = strcasestr(link->bytes, "\r\nContent-Length:");
    if (!end)
        return 0;
    size = (size_t)(end + 4 - link->bytes) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
    return link->got >= size ? size : 0;
}

static void hang_up(struct link *link)
{
    if (link->waits)
        count_waiting(-1);
    close(link->socket);
    link->open = link->waits = false;
    link->due_us = 0;
}

static void read_link(struct link *link)
{
    ssize_t got = recv(link->socket, link->bytes + link->got, BYTES - 1 - link->got, 0);
    size_t size;

    if (got <= 0) {
        hang_up(link);
        return;
    }
    link->got += (size_t)got;
    size = whole(link);
    if (!size)
        return;
    take(link);
    memmove(link->bytes, link->bytes + size, link->got - size);
    link->got -= size;
}

static void add_link(void)
{
    int socket = accept4(all.listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    struct epoll_event event = { .events = EPOLLIN };
    struct link *link = links;

    if (socket < 0)
        return;
    while (link < links + LINKS_MAX && link->open)
        link++;
    if (link == links + LINKS_MAX)
        fail("provider: more than %d connections", LINKS_MAX);
    link->socket = socket;
    link->open = true;
    link->got = 0;
    all.connections++;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    event.data.ptr = link;
    if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, socket, &event))
        fail("provider: epoll: %s", strerror(errno));
}

/* Answer what is due; milliseconds to the next, -1: there is none. */
static int answer_due(void)
{
    while (all.count > 0) {
        struct due *due = &ring[all.head];
        int64_t left_us = due->due_us - now_us();

        if (left_us > 0)
            return (int)(left_us / 1000) + 1;
        if (due->link->waits && due->link->due_us == due->due_us) {
            count_waiting(-1);
            due->link->waits = false;
            accept_message(due->link);
        }
        all.head = (all.head + 1) % LINKS_MAX;
        all.count--;
    }
    return -1;
}

static void add_fixed(int fd, void *mark)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = mark };

    if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, fd, &event))
        fail("provider: epoll: %s", strerror(errno));
}

static void listen_anywhere(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t length = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    all.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (all.listener < 0 || bind(all.listener, (struct sockaddr *)&address, sizeof address)
        || listen(all.listener, BACKLOG) || getsockname(all.listener, (struct sockaddr *)&address, &length))
        fail("provider: cannot listen: %s", strerror(errno));
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct rlimit files = { LINKS_MAX + 64, LINKS_MAX + 64 };
    struct epoll_event events[256];
    bool ended = false;

    if (argc != 2)
        fail("usage: provider DELAY_MS");
    all.delay_ms = atoi(argv[1]);
    setrlimit(RLIMIT_NOFILE, &files);
    all.since_us = all.counted_us = now_us();
    all.epoll = epoll_create1(EPOLL_CLOEXEC);
    listen_anywhere();
    add_fixed(all.listener, &all.listener);
    add_fixed(STDIN_FILENO, &ended);
    while (!ended) {
        int ready = epoll_wait(all.epoll, events, 256, answer_due());

        for (int i = 0; i < ready; i++)
            if (events[i].data.ptr == &ended)
                ended = true;
            else if (events[i].data.ptr == &all.listener)
                add_link();
            else
                read_link(events[i].data.ptr);
    }
    return 0;
}
