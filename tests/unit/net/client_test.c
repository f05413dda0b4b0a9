/* The exchange over libcurl against small local peers: what counts as answered, not sent, not known. */
#include "base/arena.h"
#include "base/limits.h"
#include "net/client.h"
#include "peer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

static const struct peer_turn keep = { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, PEER_KEEP };

static atomic_bool allowing;

static bool loopback(void *arg, int64_t tenant_id, const struct in6_addr *address, int port)
{
    (void)arg, (void)tenant_id, (void)address, (void)port;
    return atomic_load(&allowing);
}

struct test {
    struct client *client;
    struct arena *arena;
    struct peer peer;
};

static int begin(void **state)
{
    struct test *test = mem_alloc(sizeof *test);

    atomic_store(&allowing, true);
    test->client = client_new(loopback, NULL);
    test->arena = arena_new(0);
    *state = test;
    return 0;
}

static int end(void **state)
{
    struct test *test = *state;

    client_free(test->client);
    arena_free(test->arena);
    free(test);
    return 0;
}

static struct exchange_request to(struct test *test, int port)
{
    return (struct exchange_request){ .method = HTTP_POST, .body = STR("hello"), .egress = EGRESS_CHANNEL,
                                      .url = arena_printf(test->arena, "http://127.0.0.1:%d/x", port),
                                      .tenant_id = 1, .timeout_ms = 2000 };
}

static struct exchange_reply run(struct test *test, const struct exchange_request *request)
{
    struct exchange *exchange = client_exchange(test->client);
    struct exchange_reply reply;

    exchange->run(exchange, test->arena, request, &reply);
    return reply;
}

/* One request to a peer that takes one turn. */
static struct exchange_reply against(struct test *test, const char *reply, int then)
{
    const struct peer_turn turn = { reply, 0, then };
    struct exchange_request request;
    struct exchange_reply got;

    peer_start(&test->peer, &turn, 1);
    request = to(test, test->peer.port);
    got = run(test, &request);
    peer_stop(&test->peer);
    return got;
}

#define assert_str(slice, text) assert_string_equal(str_dup(test->arena, (slice)), (text))

static void an_answer_comes_whole(void **state)
{
    struct test *test = *state;
    struct exchange_reply reply = against(test, "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nX-Id:  7 \r\n"
                                                "Empty:\r\nContent-Length: 5\r\n\r\nfirst", PEER_CLOSE);

    assert_int_equal(reply.end, EXCHANGE_ANSWERED);
    assert_int_equal(reply.status, 201);
    assert_int_equal(reply.err.code, ERR_NONE);
    assert_str(reply.body, "first");
    assert_str(exchange_header(&reply, "x-id"), "7");
    assert_str(exchange_header(&reply, "Empty"), "");
    assert_null(exchange_header(&reply, "absent").data);
    assert_int_equal(reply.header_count, 4);
}

static void a_request_goes_out_as_given(void **state)
{
    struct test *test = *state;
    struct http_header headers[] = { { STR("Authorization"), STR("Bearer s3cret") }, { STR("X-Empty"), STR("") } };
    struct exchange_request request;
    static const struct { enum http_method method; struct str body; const char *expect; } cases[] = {
        { HTTP_GET, { 0 }, "GET /x" }, { HTTP_DELETE, { 0 }, "DELETE /x" }, { HTTP_HEAD, { 0 }, "HEAD /x" },
        { HTTP_POST, { 0 }, "POST /x" }, { HTTP_PUT, { "{\"a\":1}", 7 }, "PUT /x" },
        { HTTP_PATCH, { "a\0b", 3 }, "PATCH /x" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        peer_start(&test->peer, &keep, 1);
        request = to(test, test->peer.port);
        request.method = cases[i].method;
        request.body = cases[i].body;
        request.headers = headers;
        request.header_count = 2;
        assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
        peer_stop(&test->peer);
        assert_memory_equal(test->peer.last, cases[i].expect, strlen(cases[i].expect));
        assert_non_null(strstr(test->peer.last, "\r\nAuthorization: Bearer s3cret\r\n"));
        assert_non_null(strstr(test->peer.last, "\r\nX-Empty:\r\n"));
        assert_non_null(strstr(test->peer.last, "\r\nUser-Agent: message-hub/"));
        assert_null(strstr(test->peer.last, "Expect:"));
        assert_null(strstr(test->peer.last, "Content-Type:"));
        if (cases[i].body.len)
            assert_memory_equal(strstr(test->peer.last, "\r\n\r\n") + 4, cases[i].body.data, cases[i].body.len);
    }
}

static void headers_cannot_smuggle(void **state)
{
    struct test *test = *state;
    static const struct http_header bad[] = {
        { { "X", 1 }, { "a\r\nEvil: 1", 10 } }, { { "X", 1 }, { "a\nEvil", 6 } }, { { "X", 1 }, { "a\0b", 3 } },
        { { "X: y\r\nZ", 7 }, { "1", 1 } }, { { "", 0 }, { "1", 1 } }, { { "X Y", 3 }, { "1", 1 } },
        { { "Transfer-Encoding", 17 }, { "chunked", 7 } }, { { "content-length", 14 }, { "0", 1 } },
        { { "Host", 4 }, { "example.com", 11 } },
    };
    struct exchange_request request;

    peer_start(&test->peer, &keep, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct exchange_reply reply;

        request = to(test, test->peer.port);
        request.headers = &bad[i];
        request.header_count = 1;
        reply = run(test, &request);
        assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
        assert_int_equal(reply.err.code, ERR_INVALID);
    }
    assert_int_equal(atomic_load(&test->peer.connections), 0);
    peer_stop(&test->peer);
}

static void errors_are_answers(void **state)
{
    struct test *test = *state;
    struct exchange_reply reply = against(test, "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n"
                                                "Connection: close\r\n\r\n<html><h1>502</h1></html>", PEER_CLOSE);

    assert_int_equal(reply.end, EXCHANGE_ANSWERED);
    assert_int_equal(reply.status, 502);
    assert_true(str_starts(reply.body, "<html>"));
    reply = against(test, "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 429 Slow\r\nRetry-After: 17\r\n"
                          "Content-Length: 0\r\n\r\n", PEER_CLOSE);
    assert_int_equal(reply.end, EXCHANGE_ANSWERED);
    assert_int_equal(reply.status, 429);
    assert_int_equal(reply.retry_after_s, 17);
    assert_null(exchange_header(&reply, "X-Early").data);
}

static void broken_answers_are_not_known(void **state)
{
    struct test *test = *state;
    static const struct { const char *reply; int then; } cases[] = {
        { NULL, PEER_CLOSE },
        { NULL, PEER_RESET },
        { "HTTP/1.1 200", PEER_CLOSE },
        { "HTTP/1.1 200 OK\r\nContent-Le", PEER_CLOSE },
        { "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", PEER_CLOSE },
        { "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", PEER_RESET },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", PEER_CLOSE },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", PEER_CLOSE },
        { "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", PEER_CLOSE },
        { "SSH-2.0-OpenSSH_9.2\r\n", PEER_CLOSE },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange_reply reply = against(test, cases[i].reply, cases[i].then);

        if (reply.end != EXCHANGE_UNKNOWN || reply.status != 0 || reply.err.code == ERR_NONE)
            fail_msg("case %zu: end %d, status %d, %s", i, reply.end, reply.status, reply.err.detail);
        assert_int_equal(atomic_load(&test->peer.requests), 1);
    }
}

static int64_t now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void the_deadline_holds(void **state)
{
    struct test *test = *state;
    const struct peer_turn slow = { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 900, PEER_CLOSE };
    struct exchange_request request;
    struct exchange_reply reply;
    int64_t before;

    peer_start(&test->peer, &slow, 1);
    request = to(test, test->peer.port);
    request.timeout_ms = 250;
    before = now_ms();
    reply = run(test, &request);
    assert_in_range(now_ms() - before, 200, 800);
    peer_stop(&test->peer);
    assert_int_equal(reply.end, EXCHANGE_UNKNOWN);
    assert_int_equal(reply.err.code, ERR_TIMEOUT);
}

/* A listener whose queue is full answers no further SYN: the connect never ends. */
static void a_connect_that_hangs_is_not_sent(void **state)
{
    struct test *test = *state;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), waiting[8];
    struct exchange_request request;
    struct exchange_reply reply;

    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    for (int i = 0; i < 8; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(waiting[i], (struct sockaddr *)&address, size);
    }
    request = to(test, ntohs(address.sin_port));
    request.timeout_ms = 300;
    reply = run(test, &request);
    assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
    assert_int_equal(reply.err.code, ERR_TIMEOUT);
    for (int i = 0; i < 8; i++)
        close(waiting[i]);
    close(listener);
}

static void nobody_there_is_not_sent(void **state)
{
    struct test *test = *state;
    struct exchange_request request;
    struct exchange_reply reply;

    peer_start(&test->peer, &keep, 1);
    peer_stop(&test->peer);
    request = to(test, test->peer.port);
    reply = run(test, &request);
    assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
    assert_int_equal(reply.err.code, ERR_UNAVAILABLE);
    request.url = "http://name.invalid/";
    reply = run(test, &request);
    assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
    assert_int_equal(reply.err.code, ERR_UNAVAILABLE);
    request.url = arena_printf(test->arena, "http://127.0.0.1:%d/?token=s3cret", test->peer.port);
    reply = run(test, &request);
    assert_null(strstr(reply.err.detail, "s3cret"));
}

static void the_answer_is_capped(void **state)
{
    struct test *test = *state;
    struct exchange_request request;
    struct exchange_reply reply;
    struct peer_turn turn = { "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", 0, PEER_CLOSE };

    peer_start(&test->peer, &turn, 1);
    request = to(test, test->peer.port);
    request.answer_max = 10;
    assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    request.answer_max = 9;
    reply = run(test, &request);
    assert_int_equal(reply.end, EXCHANGE_UNKNOWN);
    assert_int_equal(reply.err.code, ERR_TOO_LARGE);
    assert_int_equal(reply.body.len, 0);
    peer_stop(&test->peer);
}

static void headers_are_capped(void **state)
{
    struct test *test = *state;
    struct buf text;
    struct exchange_reply reply;

    buf_init(&text, 65536);
    buf_puts(&text, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i <= LIMIT_HEADER_COUNT; i++)
        buf_printf(&text, "X-%d: 1\r\n", i);
    buf_puts(&text, "\r\n");
    reply = against(test, text.data, PEER_CLOSE);
    assert_int_equal(reply.end, EXCHANGE_UNKNOWN);
    assert_int_equal(reply.err.code, ERR_TOO_LARGE);
    buf_fini(&text);
}

static void redirects_are_not_followed(void **state)
{
    struct test *test = *state;
    struct peer trap;
    struct exchange_reply reply;

    peer_start(&trap, &keep, 1);
    reply = against(test, arena_printf(test->arena, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\n"
                                                    "Content-Length: 0\r\n\r\n", trap.port), PEER_CLOSE);
    assert_int_equal(reply.end, EXCHANGE_ANSWERED);
    assert_int_equal(reply.status, 302);
    assert_int_equal(atomic_load(&trap.connections), 0);
    peer_stop(&trap);
}

static void proxies_of_the_environment_are_ignored(void **state)
{
    struct test *test = *state;
    struct peer proxy;

    peer_start(&proxy, &keep, 1);
    setenv("http_proxy", arena_printf(test->arena, "http://127.0.0.1:%d", proxy.port), 1);
    setenv("ALL_PROXY", getenv("http_proxy"), 1);
    assert_int_equal(against(test, keep.reply, PEER_CLOSE).end, EXCHANGE_ANSWERED);
    assert_int_equal(atomic_load(&proxy.connections), 0);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    peer_stop(&proxy);
}

static void connections_are_kept_but_not_across_tenants(void **state)
{
    struct test *test = *state;
    struct exchange_request request;

    peer_start(&test->peer, &keep, 1);
    request = to(test, test->peer.port);
    for (int i = 0; i < 5; i++)
        assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    assert_int_equal(atomic_load(&test->peer.connections), 1);
    request.tenant_id = 2;
    assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    assert_int_equal(atomic_load(&test->peer.connections), 2);
    request.tenant_id = 1;
    assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    assert_int_equal(atomic_load(&test->peer.connections), 2);
    request.egress = EGRESS_PUBLIC;
    assert_int_equal(run(test, &request).end, EXCHANGE_NOT_SENT);
    assert_int_equal(atomic_load(&test->peer.requests), 7);
    peer_stop(&test->peer);
}

static void a_kept_connection_obeys_a_withdrawn_permission(void **state)
{
    struct test *test = *state;
    struct exchange_request request;
    struct exchange_reply reply;

    peer_start(&test->peer, &keep, 1);
    request = to(test, test->peer.port);
    assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    atomic_store(&allowing, false);
    reply = run(test, &request);
    assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
    assert_int_equal(reply.err.code, ERR_FORBIDDEN);
    assert_int_equal(atomic_load(&test->peer.requests), 1);
    peer_stop(&test->peer);
}

/* The library would send the request a second time here; the peer may have acted on the first. */
static void a_kept_connection_that_dies_is_not_known(void **state)
{
    struct test *test = *state;
    const struct peer_turn turns[] = { keep, { NULL, 0, PEER_CLOSE }, keep };
    struct exchange_request request;
    struct exchange_reply reply;

    peer_start(&test->peer, turns, 3);
    request = to(test, test->peer.port);
    assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    reply = run(test, &request);
    assert_int_equal(reply.end, EXCHANGE_UNKNOWN);
    assert_int_equal(atomic_load(&test->peer.requests), 2);
    assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    peer_stop(&test->peer);
}

/* Closed while idle: nothing was written on it, so a new connection serves. */
static void a_connection_closed_while_idle_is_replaced(void **state)
{
    struct test *test = *state;
    const struct peer_turn turns[] = { { keep.reply, 0, PEER_CLOSE }, keep };
    struct exchange_request request;

    peer_start(&test->peer, turns, 2);
    request = to(test, test->peer.port);
    assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    poll(NULL, 0, 50);
    assert_int_equal(run(test, &request).end, EXCHANGE_ANSWERED);
    assert_int_equal(atomic_load(&test->peer.connections), 2);
    assert_int_equal(atomic_load(&test->peer.requests), 2);
    peer_stop(&test->peer);
}

struct crowd {
    struct test *test;
    int64_t tenant_id;
    atomic_int *answered;
};

static void *ask_often(void *arg)
{
    struct crowd *crowd = arg;
    struct arena *arena = arena_new(0);
    struct exchange *exchange = client_exchange(crowd->test->client);

    for (int i = 0; i < 25; i++) {
        struct exchange_request request = { .method = HTTP_GET, .egress = EGRESS_CHANNEL, .timeout_ms = 5000,
                                            .tenant_id = crowd->tenant_id };
        struct exchange_reply reply;

        request.url = arena_printf(arena, "http://127.0.0.1:%d/", crowd->test->peer.port);
        exchange->run(exchange, arena, &request, &reply);
        atomic_fetch_add(crowd->answered, reply.end == EXCHANGE_ANSWERED);
    }
    arena_free(arena);
    return NULL;
}

static void many_threads_share_a_client(void **state)
{
    struct test *test = *state;
    struct crowd crowd[8];
    pthread_t threads[8];
    atomic_int answered = 0;

    peer_start(&test->peer, &keep, 1);
    for (int i = 0; i < 8; i++) {
        crowd[i] = (struct crowd){ test, i % 3, &answered };
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &crowd[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    peer_stop(&test->peer);
    assert_int_equal(answered, 200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_comes_whole),
        TEST(a_request_goes_out_as_given),
        TEST(headers_cannot_smuggle),
        TEST(errors_are_answers),
        TEST(broken_answers_are_not_known),
        TEST(the_deadline_holds),
        TEST(a_connect_that_hangs_is_not_sent),
        TEST(nobody_there_is_not_sent),
        TEST(the_answer_is_capped),
        TEST(headers_are_capped),
        TEST(redirects_are_not_followed),
        TEST(proxies_of_the_environment_are_ignored),
        TEST(connections_are_kept_but_not_across_tenants),
        TEST(a_kept_connection_obeys_a_withdrawn_permission),
        TEST(a_kept_connection_that_dies_is_not_known),
        TEST(a_connection_closed_while_idle_is_replaced),
        TEST(many_threads_share_a_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
