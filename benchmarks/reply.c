/* reply - how long a text takes through the hub: from the POST of a message that a rule answers to the moment at which
 * the answer is at the provider. It is both: the app that forwards texts, and the phone's server that gets the answer.
 *
 *   reply PROVIDER_PORT HUB_PORT CHANNEL COUNT [HEADER...]
 *
 * One message at a time, each from a contact of its own; the next when both answers are there. Every request to the
 * provider must be for the number that asked. Prints one JSON object: milliseconds to the provider, and of the POST. */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINKS_MAX 72            /* listener, client, and as many links as the hub has send workers */
#define BYTES 16384
#define SILENCE_MS 15000        /* no answer for so long: none will come */
#define WARM 20                 /* messages that are not counted */

struct link {
    size_t got;
    char bytes[BYTES];
};

static struct pollfd polls[LINKS_MAX];
static struct link links[LINKS_MAX];
static nfds_t link_count;
static char headers[2048];
static struct samples to_provider, of_post;
static int64_t sent_us;
static bool posted, provided;
static int current, counted_from = WARM;

static int add_link(int socket)
{
    int one = 1;

    if (link_count == LINKS_MAX)
        fail("reply: more than %d connections", LINKS_MAX);
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    polls[link_count] = (struct pollfd){ .fd = socket, .events = POLLIN };
    links[link_count].got = 0;
    return (int)link_count++;
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void listen_on(int port)
{
    struct sockaddr_in address = loopback(port);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        fail("reply: cannot listen on port %d: %s", port, strerror(errno));
    add_link(listener);
}

static void connect_to(int port)
{
    struct sockaddr_in address = loopback(port);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof address))
        fail("reply: cannot connect to port %d: %s", port, strerror(errno));
    add_link(client);
}

static void send_all(int socket, const char *bytes, int length)
{
    if (send(socket, bytes, (size_t)length, MSG_NOSIGNAL) != length)
        fail("reply: cannot send: %s", strerror(errno));
}

static void post(const char *channel)
{
    char body[1024], request[4096];
    int length = snprintf(body, sizeof body,
                          "{\"id\":\"reply-%d\",\"from\":\"+1202556%04d\",\"text\":\"what is the price of number %d\","
                          "\"type\":\"sms\",\"channel\":\"%s\"}", current, current, current, channel);
    int size = snprintf(request, sizeof request,
                        "POST /api/v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                        "%sContent-Length: %d\r\n\r\n%s", headers, length, body);

    posted = provided = false;
    sent_us = now_us();
    send_all(polls[1].fd, request, size);
}

/* The whole message that `link` holds: its length, or 0 when more is to come. */
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

static void take_answer(struct link *link)
{
    if (strncmp(link->bytes, "HTTP/1.1 201 ", 13))
        fail("reply: the message was not accepted:\n%s", link->bytes);
    if (current >= counted_from)
        samples_add(&of_post, now_us() - sent_us);
    posted = true;
}

static void take_request(struct link *link, int socket)
{
    char wanted[64], body[128], answer[256];
    int64_t took_us = now_us() - sent_us;
    int length, size;

    snprintf(wanted, sizeof wanted, "+1202556%04d", current);
    if (provided || strncmp(link->bytes, "POST /messages", 14) || !strstr(link->bytes, wanted))
        fail("reply: the provider got something else than the answer to %s:\n%s", wanted, link->bytes);
    if (current >= counted_from)
        samples_add(&to_provider, took_us);
    length = snprintf(body, sizeof body, "{\"id\":\"sms-%d\",\"state\":\"Pending\",\"recipients\":[]}", current);
    size = snprintf(answer, sizeof answer, "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"
                    "Content-Length: %d\r\n\r\n%s", length, body);
    send_all(socket, answer, size);
    provided = true;
}

static void drop(nfds_t at)
{
    close(polls[at].fd);
    link_count--;
    polls[at] = polls[link_count];
    links[at] = links[link_count];
}

static void read_link(nfds_t at)
{
    struct link *link = &links[at];
    ssize_t got = recv(polls[at].fd, link->bytes + link->got, BYTES - 1 - link->got, 0);
    size_t size;

    if (got <= 0 && at == 1)
        fail("reply: the hub closed the connection");
    if (got <= 0) {
        drop(at);
        return;
    }
    link->got += (size_t)got;
    size = whole(link);
    if (!size)
        return;
    if (at == 1)
        take_answer(link);
    else
        take_request(link, polls[at].fd);
    memmove(link->bytes, link->bytes + size, link->got - size);
    link->got -= size;
}

static void wait_for_both(void)
{
    while (!posted || !provided) {
        int ready = poll(polls, link_count, SILENCE_MS);

        if (ready == 0)
            fail("reply: nothing came for %d s; accepted: %s, answered: %s", SILENCE_MS / 1000, posted ? "yes" : "no",
                 provided ? "yes" : "no");
        if (polls[0].revents)
            add_link(accept(polls[0].fd, NULL, NULL));
        for (nfds_t at = link_count; at-- > 1;)
            if (polls[at].revents)
                read_link(at);
    }
}

int main(int argc, char **argv)
{
    int count = argc > 4 ? atoi(argv[4]) : 0;

    if (count < 1 || count + WARM > 10000)
        fail("usage: reply PROVIDER_PORT HUB_PORT CHANNEL COUNT [HEADER...]");
    for (int i = 5; i < argc; i++)
        snprintf(headers + strlen(headers), sizeof headers - strlen(headers), "%s\r\n", argv[i]);
    samples_init(&to_provider, (size_t)count);
    samples_init(&of_post, (size_t)count);
    listen_on(atoi(argv[1]));
    connect_to(atoi(argv[2]));
    for (current = 0; current < count + WARM; current++) {
        post(argv[3]);
        wait_for_both();
    }
    samples_sort(&to_provider);
    samples_sort(&of_post);
    printf("{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"post_p50_ms\":%.3f,\"count\":%zu}\n", samples_at(&to_provider, 0.5),
           samples_at(&to_provider, 0.99), samples_at(&of_post, 0.5), to_provider.count);
    return 0;
}
