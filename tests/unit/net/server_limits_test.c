/* Deadlines, full queues, stopping, and the unix socket. */
#include "serve.h"

#include "base/clock.h"
#include "base/limits.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/un.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct http_exchange *held[64];
static int held_count;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void reply(struct http_exchange *exchange, const char *text)
{
    struct http_response response = { .status = 200 };

    buf_init(&response.body, 64 * 1024 * 1024);
    buf_puts(&response.body, text);
    if (strcmp(text, "huge") == 0)
        for (int i = 0; i < 16 * 1024; i++)
            buf_printf(&response.body, "%01024d", i);
    http_reply(exchange, &response);
}

/* /hold keeps the exchange, /block keeps the worker until the gate opens. */
static void respond(void *arg, struct http_exchange *exchange, struct http_request *request)
{
    (void)arg;
    if (str_is(request->path, "/hold")) {
        pthread_mutex_lock(&lock);
        held[held_count++] = exchange;
        pthread_mutex_unlock(&lock);
        return;
    }
    if (str_is(request->path, "/block")) {
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
    }
    if (str_is(request->path, "/who")) {
        char who[128];

        snprintf(who, sizeof who, "%d %u %s", request->door, request->uid, request->peer);
        reply(exchange, who);
        return;
    }
    reply(exchange, str_is(request->path, "/huge") ? "huge" : "done");
}

static bool holds(int wanted)
{
    int have = -1;

    for (int i = 0; i < 2000 && have != wanted; i++) {
        pthread_mutex_lock(&lock);
        have = held_count;
        pthread_mutex_unlock(&lock);
        pause_for(1);
    }
    return have == wanted;
}

static int restore(void **state)
{
    (void)state;
    *server_limits() = (struct server_limits){ .header_ms = 10000, .idle_ms = 60000, .ping_ms = 30000,
                                               .body_bytes_per_s = 1024, .work_queue = 4096,
                                               .bodies_bytes = LIMIT_BODIES_BYTES };
    held_count = 0;
    return 0;
}

static void slow_headers_are_cut(void **state)
{
    struct http_server *server;
    struct peer *silent, *slow, *kept;
    int64_t start_us;

    (void)state;
    server_limits()->header_ms = 300;
    server = serve(respond, NULL);
    silent = dial(server);
    slow = dial(server);
    start_us = clock_mono_us();
    say(slow, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 100 && clock_mono_us() - start_us < 5000000; i++) {
        struct pollfd ready = { .fd = slow->fd, .events = POLLIN };

        say(slow, "X");
        if (poll(&ready, 1, 20) == 1)
            break;
    }
    assert_int_equal(hear(slow, false)->status, 408);
    assert_true(is_closed(slow));
    assert_true(clock_mono_us() - start_us > 250000 && clock_mono_us() - start_us < 2000000);
    assert_int_equal(hear(silent, false)->status, 408);
    assert_true(is_closed(silent));
    /* The second request of a connection may not dribble either, and not before its request line is complete. */
    kept = dial(server);
    say(kept, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(hear(kept, false)->status, 200);
    pause_for(400);
    start_us = clock_mono_us();
    say(kept, "GET /");
    assert_true(is_closed(kept));
    assert_true(clock_mono_us() - start_us < 2000000);
    hang_up(silent);
    hang_up(slow);
    hang_up(kept);
    http_stop(server, 100);
}

static void idle_connections_are_cut_and_busy_ones_are_not(void **state)
{
    struct http_server *server;
    struct peer *idle, *busy;

    (void)state;
    server_limits()->idle_ms = 200;
    server = serve(respond, NULL);
    idle = dial(server);
    busy = dial(server);
    say(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(hear(idle, false)->status, 200);
    say(busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(holds(1));
    assert_true(is_closed(idle));
    pause_for(400);
    reply(held[0], "late");
    assert_string_equal(hear(busy, false)->body, "late");
    hang_up(idle);
    hang_up(busy);
    http_stop(server, 100);
}

static void slow_bodies_are_cut(void **state)
{
    struct http_server *server;
    struct peer *sender, *steady;
    int64_t start_us = clock_mono_us();

    (void)state;
    server_limits()->header_ms = 500;
    server_limits()->body_bytes_per_s = 10000;
    server = serve(respond, NULL);
    sender = dial(server);
    say(sender, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nx");
    steady = dial(server);
    say(steady, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65536\r\n\r\n");
    for (int i = 0; i < 65; i++) {
        char piece[1000] = { 0 };

        say_bytes(steady, piece, sizeof piece);
        pause_for(20);
    }
    assert_int_equal(hear(sender, false)->status, 408);
    assert_true(is_closed(sender));
    assert_true(clock_mono_us() - start_us > 450000);
    say_bytes(steady, (char[536]){ 0 }, 536);
    assert_int_equal(hear(steady, false)->status, 200);
    hang_up(sender);
    hang_up(steady);
    http_stop(server, 100);
}

/* 16 MiB that nobody reads. */
static void slow_readers_are_cut(void **state)
{
    struct http_server *server;
    struct http_stats stats = { .connections = 1 };
    struct peer *reader;
    size_t got = 0;

    (void)state;
    server_limits()->idle_ms = 300;
    server_limits()->body_bytes_per_s = 10000000;
    server = serve(respond, NULL);
    reader = dial(server);
    say(reader, "GET /huge HTTP/1.1\r\nHost: h\r\n\r\n");
    for (int i = 0; i < 3000 && stats.connections > 0; i++) {
        pause_for(1);
        if (i > 100)
            http_stats(server, &stats);
    }
    assert_int_equal(stats.connections, 0);
    while (hear_more(reader)) {
        got += reader->len;
        reader->len = 0;
    }
    assert_true(got > 0 && got < 16 * 1024 * 1024);
    hang_up(reader);
    http_stop(server, 100);
}

static void a_full_queue_answers_503(void **state)
{
    struct http_server *server;
    struct http_options options = { .listen = "127.0.0.1:0", .workers = 1, .event_threads = 1, .respond = respond };
    struct peer *peers[10];
    struct err err;
    int ok = 0, busy = 0;

    (void)state;
    server_limits()->work_queue = 4;
    server = http_start(&options, &err);
    assert_non_null(server);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 10; i++) {
        peers[i] = dial(server);
        say(peers[i], "GET /block HTTP/1.1\r\nHost: h\r\n\r\n");
        pause_for(20);
    }
    for (int i = 5; i < 10; i++) {
        struct answer *answer = hear(peers[i], false);

        busy += answer->status == 503;
        assert_non_null(strstr(answer->head, "Retry-After: 1\r\n"));
        assert_non_null(strstr(answer->body, "\"code\":\"unavailable\""));
        /* It may ask again on the same connection. */
        assert_null(strstr(answer->head, "Connection: close"));
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < 5; i++)
        ok += hear(peers[i], false)->status == 200;
    assert_int_equal(busy, 5);
    assert_int_equal(ok, 5);
    for (int i = 0; i < 10; i++)
        hang_up(peers[i]);
    http_stop(server, 100);
}

static void *release(void *arg)
{
    (void)arg;
    pause_for(150);
    for (int i = 0; i < held_count; i++)
        reply(held[i], "finished");
    return NULL;
}

static void stopping_waits_for_answers(void **state)
{
    struct http_server *server = serve(respond, NULL);
    struct peer *peers[8], *idle = dial(server);
    pthread_t thread;

    (void)state;
    say(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(hear(idle, false)->status, 200);
    for (int i = 0; i < 8; i++) {
        peers[i] = dial(server);
        say(peers[i], "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    assert_true(holds(8));
    pthread_create(&thread, NULL, release, NULL);
    http_stop(server, 5000);
    pthread_join(thread, NULL);
    for (int i = 0; i < 8; i++) {
        struct answer *answer = hear(peers[i], false);

        assert_string_equal(answer->body, "finished");
        assert_non_null(strstr(answer->head, "Connection: close"));
        assert_true(is_closed(peers[i]));
        hang_up(peers[i]);
    }
    assert_true(is_closed(idle));
    hang_up(idle);
}

static void stopping_answers_what_nobody_answers(void **state)
{
    struct http_server *server = serve(respond, NULL);
    struct peer *peers[8];
    int64_t start_us;

    (void)state;
    for (int i = 0; i < 8; i++) {
        peers[i] = dial(server);
        say(peers[i], "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    assert_true(holds(8));
    start_us = clock_mono_us();
    http_stop(server, 200);
    assert_true(clock_mono_us() - start_us < 2000000);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(hear(peers[i], false)->status, 503);
        hang_up(peers[i]);
    }
    /* The application comes too late, and must be able to. */
    for (int i = 0; i < 7; i++)
        reply(held[i], "too late");
    assert_null(http_stream(held[7], NULL, NULL));
}

static struct peer *dial_path(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct peer *peer = mem_alloc(sizeof *peer);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    peer->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&address, sizeof address), 0);
    return peer;
}

static void the_unix_socket_knows_its_peer(void **state)
{
    char folder[] = "/tmp/hub-socket-XXXXXX", path[64], wanted[64];
    struct http_options options = { .socket_path = path, .respond = respond };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct http_server *server;
    struct peer *peer;
    struct stat file;
    struct err err;
    int stale;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/hub.sock", folder);
    /* What a crashed hub left behind. */
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    stale = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    close(stale);
    server = http_start(&options, &err);
    if (!server)
        fail_msg("%s", err.detail);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    peer = dial_path(path);
    snprintf(wanted, sizeof wanted, "%d %u unix", HTTP_DOOR_SOCKET, (unsigned)getuid());
    for (int i = 0; i < 3; i++) {
        say(peer, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_string_equal(hear(peer, false)->body, wanted);
    }
    /* A living one is not pushed aside, nor is a file that is no socket. */
    assert_null(http_start(&options, &err));
    assert_non_null(strstr(err.hint, "Another program"));
    say(peer, "GET /who HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_string_equal(hear(peer, false)->body, wanted);
    hang_up(peer);
    http_stop(server, 100);
    assert_int_not_equal(stat(path, &file), 0);
    fclose(fopen(path, "w"));
    assert_null(http_start(&options, &err));
    assert_int_equal(stat(path, &file), 0);
    unlink(path);
    rmdir(folder);
}

static void large_bodies_share_a_budget(void **state)
{
    enum { PART = 60000 };
    struct http_options options = { .listen = "127.0.0.1:0", .respond = respond };
    static char part[PART + 1];
    struct http_server *server;
    struct peer *first, *second;
    struct err err;

    (void)state;
    server_limits()->bodies_bytes = 150000;
    server = http_start(&options, &err);
    memset(part, 'x', PART);
    first = dial(server);
    say(first, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 120000\r\n\r\n");
    say(first, part);
    pause_for(100);
    second = dial(server);
    say(second, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 120000\r\n\r\n");
    say(second, part);
    say(second, part);
    assert_int_equal(hear(second, false)->status, 503);
    hang_up(second);
    pause_for(100);
    say(first, part);
    assert_int_equal(hear(first, false)->status, 200);
    /* what was answered and what was refused count no more */
    for (int i = 0; i < 4; i++) {
        say(first, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 120000\r\n\r\n");
        say(first, part);
        say(first, part);
        assert_int_equal(hear(first, false)->status, 200);
    }
    hang_up(first);
    http_stop(server, 100);
}

static void addresses_have_a_connection_limit(void **state)
{
    struct http_options options = { .listen = "127.0.0.1:0", .workers = 1, .event_threads = 2, .respond = respond,
                                    .connections_per_address = 4 };
    struct http_server *server;
    struct peer *peers[6];
    struct err err;
    int served = 0;

    (void)state;
    server = http_start(&options, &err);
    for (int i = 0; i < 6; i++) {
        peers[i] = dial(server);
        say(peers[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        served += hear(peers[i], false)->status == 200;
    }
    assert_int_equal(served, 4);
    for (int i = 0; i < 6; i++)
        hang_up(peers[i]);
    http_stop(server, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(slow_headers_are_cut, restore),
        cmocka_unit_test_setup(idle_connections_are_cut_and_busy_ones_are_not, restore),
        cmocka_unit_test_setup(slow_bodies_are_cut, restore),
        cmocka_unit_test_setup(slow_readers_are_cut, restore),
        cmocka_unit_test_setup(a_full_queue_answers_503, restore),
        cmocka_unit_test_setup(stopping_waits_for_answers, restore),
        cmocka_unit_test_setup(stopping_answers_what_nobody_answers, restore),
        cmocka_unit_test_setup(the_unix_socket_knows_its_peer, restore),
        cmocka_unit_test_setup(addresses_have_a_connection_limit, restore),
        cmocka_unit_test_setup(large_bodies_share_a_budget, restore),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
