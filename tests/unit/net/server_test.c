/* Requests that are in order, from raw sockets and from libcurl. */
#include "serve.h"

#include <curl/curl.h>
#include <pthread.h>
#include <sys/un.h>

static struct http_server *server;

/* Answers from a thread of its own, a moment later. */
static void *answer_later(void *arg)
{
    struct http_exchange *exchange = arg;
    struct http_response response = { .status = 202, .content_type = "text/plain" };

    pause_for(20);
    buf_init(&response.body, 64);
    buf_printf(&response.body, "later %zu", http_exchange_request(exchange)->body.len);
    http_reply(exchange, &response);
    return NULL;
}

static void respond(void *arg, struct http_exchange *exchange, struct http_request *request)
{
    struct http_response response = { .status = 200 };
    pthread_t thread;

    assert_ptr_equal(arg, &server);
    if (str_is(request->path, "/later")) {
        pthread_create(&thread, NULL, answer_later, exchange);
        pthread_detach(thread);
        return;
    }
    http_set_data(exchange, request);
    assert_ptr_equal(http_data(exchange), http_exchange_request(exchange));
    buf_init(&response.body, 1024 * 1024);
    if (str_is(request->path, "/none")) {
        response.status = 204;
    } else if (str_is(request->path, "/body")) {
        response.content_type = "application/octet-stream";
        buf_str(&response.body, request->body);
    } else {
        buf_printf(&response.body, "%s %.*s raw=%.*s query=%zu/%.*s body=%zu door=%d peer=%s x=%.*s",
                   http_method_name(request->method), STR_FMT(request->path), STR_FMT(request->raw_path),
                   request->query_count, STR_FMT(http_query(request, "q")), request->body.len, request->door,
                   request->peer, STR_FMT(http_header(request, "x-test")));
        http_respond_header(&response, request->arena, "X-Reply", "yes");
    }
    http_reply(exchange, &response);
}

static int start(void **state)
{
    (void)state;
    server = serve(respond, &server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_stop(server, 1000);
    return 0;
}

static void a_connection_serves_many_requests(void **state)
{
    struct peer *peer = dial(server);
    struct answer *answer;

    (void)state;
    say(peer, "GET /a%20b?q=1+2&r HTTP/1.1\r\nHost: h\r\nX-Test:  v \r\nX-Request-Id: mine-1.a\r\n\r\n");
    answer = hear(peer, false);
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer->body, "GET /a b raw=/a%20b query=2/1 2 body=0 door=0 peer=127.0.0.1 x=v");
    assert_non_null(strstr(answer->head, "X-Request-Id: mine-1.a\r\n"));
    assert_non_null(strstr(answer->head, "X-Reply: yes\r\n"));
    assert_non_null(strstr(answer->head, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(answer->head, "Content-Type: application/json\r\n"));
    assert_null(strstr(answer->head, "Server:"));
    assert_null(strstr(answer->head, "Connection:"));
    for (int i = 0; i < 50; i++) {
        say(peer, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-Request-Id: not clean\r\n\r\nhello");
        answer = hear(peer, false);
        assert_non_null(strstr(answer->body, "POST / raw=/ query=0/ body=5"));
        assert_null(strstr(answer->head, "not clean"));
        assert_non_null(strstr(answer->head, "X-Request-Id: "));
    }
    say(peer, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(hear(peer, false)->head, "Connection: close\r\n"));
    assert_true(is_closed(peer));
    hang_up(peer);
}

static void heads_and_empty_answers_have_no_body(void **state)
{
    struct peer *peer = dial(server);
    struct answer *answer;

    (void)state;
    say(peer, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\n\r\n"
              "GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    answer = hear(peer, true);
    assert_int_equal(answer->status, 200);
    assert_null(strstr(answer->head, "Content-Length: 0"));
    answer = hear(peer, true);
    assert_int_equal(answer->status, 204);
    assert_null(strstr(answer->head, "Content-Type:"));
    assert_non_null(strstr(hear(peer, false)->body, "GET /b "));
    hang_up(peer);
}

static void pipelined_answers_keep_their_order(void **state)
{
    struct peer *peer = dial(server);
    char request[256], wanted[32];

    (void)state;
    for (int i = 0; i < 200; i++) {
        snprintf(request, sizeof request, "POST /%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%0*d",
                 i % 5 ? "body" : "later", i + 1, i + 1, i);
        say(peer, request);
    }
    for (int i = 0; i < 200; i++) {
        struct answer *answer = hear(peer, false);

        snprintf(wanted, sizeof wanted, "later %d", i + 1);
        if (i % 5)
            assert_true((int)answer->len == i + 1 && atoi(answer->body) == i);
        else
            assert_string_equal(answer->body, wanted);
    }
    hang_up(peer);
}

static void bodies_come_in_chunks_and_slowly(void **state)
{
    struct peer *peer = dial(server);
    static const char head[] = "POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n";

    (void)state;
    say(peer, head);
    say(peer, "5\r\nhello\r\n1;name=value\r\n \r\n");
    pause_for(20);
    say(peer, "00b\r\n");
    pause_for(20);
    say(peer, "wide");
    pause_for(20);
    say(peer, " world!\r\n0\r\nTrailer: x\r\n\r\n");
    assert_string_equal(hear(peer, false)->body, "hello wide world!");
    say(peer, head);
    say(peer, "0\r\n\r\n");
    assert_int_equal(hear(peer, false)->len, 0);
    for (const char *at = "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"; *at; at++)
        say_bytes(peer, at, 1);
    assert_string_equal(hear(peer, false)->body, "abc");
    hang_up(peer);
}

static void large_bodies_arrive_whole(void **state)
{
    struct peer *peer = dial(server);
    static char body[64 * 1024];
    struct answer *answer;

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)('a' + i * 7 % 26);
    say(peer, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 65536\r\n\r\n");
    say_bytes(peer, body, sizeof body);
    answer = hear(peer, false);
    assert_int_equal(answer->status, 200);
    assert_memory_equal(answer->body, body, sizeof body);
    hang_up(peer);
}

static void who_expects_100_gets_it(void **state)
{
    struct peer *peer = dial(server);

    (void)state;
    say(peer, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(hear(peer, true)->status, 100);
    say(peer, "ok");
    assert_string_equal(hear(peer, false)->body, "ok");
    /* A body that is refused is not asked for. */
    say(peer, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(hear(peer, false)->status, 413);
    assert_true(is_closed(peer));
    hang_up(peer);
}

static void http_1_0_is_answered(void **state)
{
    struct peer *peer = dial(server);

    (void)state;
    say(peer, "GET /old HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(hear(peer, false)->body, "GET /old "));
    assert_true(is_closed(peer));
    hang_up(peer);
}

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
    buf_add(arg, data, size * count);
    return size * count;
}

static void libcurl_is_happy(void **state)
{
    CURL *curl = curl_easy_init();
    struct buf answer;
    char url[64];
    static char body[40000];
    long status, connects = 0;

    (void)state;
    memset(body, 'x', sizeof body);
    buf_init(&answer, 1024 * 1024);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/body", http_port(server));
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)sizeof body);
    for (int i = 0; i < 20; i++) {
        long made;

        buf_clear(&answer);
        assert_int_equal(curl_easy_perform(curl), CURLE_OK);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &made);
        connects += made;
        assert_int_equal(status, 200);
        assert_int_equal(answer.len, sizeof body);
    }
    assert_int_equal(connects, 1);
    buf_fini(&answer);
    curl_easy_cleanup(curl);
}

struct load {
    struct http_server *server;
    int sent;
};

static void *load_it(void *arg)
{
    struct load *load = arg;
    struct peer *peer = dial(load->server);
    static const char request[] = "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";

    for (int i = 0; i < 20; i++) {
        say(peer, request);
        while (!peer->len || !strstr(peer->bytes, "later 3"))
            if (!hear_more(peer))
                break;
        load->sent += peer->len && strstr(peer->bytes, "later 3") != NULL;
        peer->len = 0;
    }
    hang_up(peer);
    return NULL;
}

static void many_clients_are_answered_from_other_threads(void **state)
{
    pthread_t threads[24];
    struct load loads[24];
    struct http_stats stats;

    (void)state;
    for (int i = 0; i < 24; i++) {
        loads[i] = (struct load){ server, 0 };
        pthread_create(&threads[i], NULL, load_it, &loads[i]);
    }
    for (int i = 0; i < 24; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(loads[i].sent, 20);
    }
    http_stats(server, &stats);
    assert_true(stats.requests >= 480);
    assert_int_equal(stats.work_waiting, 0);
}

static void addresses_are_checked(void **state)
{
    struct http_options options = { .workers = 1, .respond = respond, .arg = &server };
    static const char *const bad[] = { "localhost", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "[::1:1" };
    struct err err;
    struct http_server *other;
    char taken[32];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.listen = bad[i];
        assert_null(http_start(&options, &err));
        assert_true(err.detail[0] && err.hint[0]);
    }
    snprintf(taken, sizeof taken, "127.0.0.1:%d", http_port(server));
    options.listen = taken;
    assert_null(http_start(&options, &err));
    assert_non_null(strstr(err.hint, "another port"));
    options.listen = ":0";
    other = http_start(&options, &err);
    assert_non_null(other);
    struct peer *peer = dial(other);
    say(peer, "GET /any HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_non_null(strstr(hear(peer, false)->body, "peer=127.0.0.1"));
    hang_up(peer);
    http_stop(other, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_serves_many_requests), cmocka_unit_test(heads_and_empty_answers_have_no_body),
        cmocka_unit_test(pipelined_answers_keep_their_order), cmocka_unit_test(bodies_come_in_chunks_and_slowly),
        cmocka_unit_test(large_bodies_arrive_whole), cmocka_unit_test(who_expects_100_gets_it),
        cmocka_unit_test(http_1_0_is_answered), cmocka_unit_test(libcurl_is_happy),
        cmocka_unit_test(many_clients_are_answered_from_other_threads), cmocka_unit_test(addresses_are_checked),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
