/* Server-sent events: open, send, close from both sides, overflow, stop. */
#include "serve.h"

#include "base/limits.h"

#include <pthread.h>

#define STREAMS 40

static struct http_server *server;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stream *open_streams[STREAMS];      /* guarded by the lock; NULL once closed */
static struct arena *arenas[STREAMS];
static int opened, closed_count;

static void closed(void *arg)
{
    struct stream **slot = arg;

    pthread_mutex_lock(&lock);
    assert_non_null(*slot);
    *slot = NULL;
    closed_count++;
    /* The arena still lives, and ends with the stream. */
    arena_strdup(arenas[slot - open_streams], "still there");
    pthread_mutex_unlock(&lock);
}

static void respond(void *arg, struct http_exchange *exchange, struct http_request *request)
{
    struct stream *stream;

    (void)arg;
    pthread_mutex_lock(&lock);
    arenas[opened] = request->arena;
    stream = http_stream(exchange, closed, &open_streams[opened]);
    if (stream) {
        stream_send(stream, STR(": hello\n\n"));
        open_streams[opened++] = stream;
    }
    pthread_mutex_unlock(&lock);
}

static bool counts(int *value, int wanted)
{
    int have = -1;

    for (int i = 0; i < 3000 && have != wanted; i++) {
        pthread_mutex_lock(&lock);
        have = *value;
        pthread_mutex_unlock(&lock);
        pause_for(1);
    }
    return have == wanted;
}

static int start(void **state)
{
    (void)state;
    opened = closed_count = 0;
    memset(open_streams, 0, sizeof open_streams);
    server = serve(respond, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_stop(server, 1000);
    assert_int_equal(closed_count, opened);
    return 0;
}

static bool hears_text(struct peer *peer, const char *text)
{
    while (!peer->len || !strstr(peer->bytes, text))
        if (!hear_more(peer))
            return false;
    return true;
}

static struct peer *listen_to(const char *version)
{
    struct peer *peer = dial(server);
    char request[128];

    snprintf(request, sizeof request, "GET /events HTTP/%s\r\nHost: h\r\nX-Request-Id: s1\r\n\r\n", version);
    say(peer, request);
    assert_true(hears_text(peer, ": hello\n\n"));
    return peer;
}

static int send_to(int which, struct str bytes)
{
    int status = -2;

    pthread_mutex_lock(&lock);
    if (open_streams[which])
        status = stream_send(open_streams[which], bytes);
    pthread_mutex_unlock(&lock);
    return status;
}

static void events_flow(void **state)
{
    struct peer *peer = listen_to("1.1"), *old = listen_to("1.0");
    char text[64];

    (void)state;
    assert_non_null(strstr(peer->bytes, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(peer->bytes, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(peer->bytes, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(peer->bytes, "Connection: close\r\n"));
    assert_non_null(strstr(peer->bytes, "X-Request-Id: s1\r\n"));
    assert_null(strstr(peer->bytes, "Transfer-Encoding"));
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "data: %d\n\n", i);
        assert_int_equal(send_to(0, str_c(text)), 0);
        assert_true(hears_text(peer, text));
    }
    assert_int_equal(send_to(1, STR("data: old\n\n")), 0);
    assert_true(hears_text(old, "data: old\n\n"));
    /* A second request on the stream's connection is not one. */
    say(peer, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(send_to(0, STR("data: on\n\n")), 0);
    assert_true(hears_text(peer, "data: on\n\n"));
    assert_int_equal(opened, 2);
    hang_up(peer);
    hang_up(old);
    assert_true(counts(&closed_count, 2));
    assert_int_equal(send_to(0, STR("x")), -2);
}

static void the_server_ends_a_stream(void **state)
{
    struct peer *peer = listen_to("1.1");

    (void)state;
    pthread_mutex_lock(&lock);
    stream_send(open_streams[0], STR("data: last\n\n"));
    stream_end(open_streams[0]);
    assert_int_equal(stream_send(open_streams[0], STR("data: after\n\n")), -1);
    pthread_mutex_unlock(&lock);
    assert_true(hears_text(peer, "data: last\n\n"));
    assert_null(strstr(peer->bytes, "after"));
    peer->len = 0;
    assert_true(is_closed(peer));
    hang_up(peer);
    assert_true(counts(&closed_count, 1));
}

static void who_does_not_read_is_dropped(void **state)
{
    struct peer *frozen = listen_to("1.1"), *lively = listen_to("1.1");
    static char text[8192];
    int sent = 0, status = 0;

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\n';
    while (sent < 10000 && (status = send_to(0, (struct str){ text, sizeof text })) == 0)
        sent++;
    assert_int_equal(status, -1);
    assert_true(sent >= LIMIT_WS_QUEUE_BYTES / (int)sizeof text);
    assert_int_equal(send_to(0, STR("more")), -1);
    assert_int_equal(send_to(1, STR("data: alive\n\n")), 0);
    assert_true(hears_text(lively, "data: alive\n\n"));
    /* Patience for the frozen one ends after seconds. It was told: its stream is over. */
    for (int i = 0; i < 4 && !counts(&closed_count, 1); i++)
        ;
    assert_true(counts(&closed_count, 1));
    hang_up(frozen);
    hang_up(lively);
}

static void heads_open_no_stream(void **state)
{
    struct peer *peer = dial(server);

    (void)state;
    say(peer, "HEAD /events HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(hear(peer, true)->status, 200);
    hang_up(peer);
    assert_int_equal(opened, 0);
}

static void stopping_closes_all_streams(void **state)
{
    struct peer *peers[STREAMS];

    (void)state;
    for (int i = 0; i < STREAMS; i++)
        peers[i] = listen_to("1.1");
    http_stop(server, 1000);
    assert_int_equal(closed_count, STREAMS);
    for (int i = 0; i < STREAMS; i++) {
        peers[i]->len = 0;
        assert_true(is_closed(peers[i]));
        hang_up(peers[i]);
    }
    server = serve(respond, NULL);
}

/* Clients that come and go while others send: nothing is lost, closed comes once for each. */
static void *come_and_go(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++) {
        struct peer *peer = dial(server);

        say(peer, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
        if (i % 3)
            hears_text(peer, "data: tick");
        hang_up(peer);
    }
    return NULL;
}

static void streams_close_while_others_send(void **state)
{
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, come_and_go, NULL);
    for (int round = 0, over = 0; round < 20000 && over < STREAMS; round++) {
        for (int i = 0; i < STREAMS; i++)
            send_to(i, STR("data: tick\n\n"));
        pause_for(1);
        pthread_mutex_lock(&lock);
        over = closed_count;
        pthread_mutex_unlock(&lock);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(counts(&closed_count, opened));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_flow, start, stop),
        cmocka_unit_test_setup_teardown(the_server_ends_a_stream, start, stop),
        cmocka_unit_test_setup_teardown(who_does_not_read_is_dropped, start, stop),
        cmocka_unit_test_setup_teardown(heads_open_no_stream, start, stop),
        cmocka_unit_test_setup_teardown(stopping_closes_all_streams, start, stop),
        cmocka_unit_test_setup_teardown(streams_close_while_others_send, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
