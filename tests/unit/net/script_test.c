/* The scripted peer, and what exchanges share: headers and Retry-After. */
#include "base/arena.h"
#include "base/limits.h"
#include "net/script.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static struct exchange_reply ask(struct script *script, struct arena *arena, enum http_method method, const char *url)
{
    struct http_header header = { STR("Authorization"), STR("Bearer k") };
    struct exchange_request request = { .method = method, .url = url, .headers = &header, .header_count = 1,
                                        .body = STR("text"), .timeout_ms = 1000, .answer_max = 100 };
    struct exchange_reply reply;

    script_exchange(script)->run(script_exchange(script), arena, &request, &reply);
    return reply;
}

static void it_plays_what_was_added(void **state)
{
    struct script *script = script_new();
    struct arena *arena = arena_new(0);
    struct exchange_reply reply;

    (void)state;
    script_add(script, &(struct script_step){ HTTP_POST, "https://a/send", EXCHANGE_ANSWERED, 429,
                                              "Retry-After: 9\nX-Id: 1\n", "{\"id\":1}", 0, 0 });
    script_add(script, &(struct script_step){ HTTP_POST, "https://a/send", EXCHANGE_NOT_SENT, .times = 1 });
    script_add(script, &(struct script_step){ HTTP_POST, "https://a/*", EXCHANGE_UNKNOWN, .times = 2 });
    script_add(script, &(struct script_step){ HTTP_GET, "https://a/list", EXCHANGE_ANSWERED, 200, .after_ms = 1001 });
    assert_int_equal(script_left(script), 5);
    reply = ask(script, arena, HTTP_POST, "https://a/send");
    assert_int_equal(reply.end, EXCHANGE_ANSWERED);
    assert_int_equal(reply.status, 429);
    assert_int_equal(reply.retry_after_s, 9);
    assert_true(str_is(reply.body, "{\"id\":1}"));
    assert_true(str_is(exchange_header(&reply, "x-id"), "1"));
    assert_int_equal(ask(script, arena, HTTP_POST, "https://a/send").end, EXCHANGE_NOT_SENT);
    assert_int_equal(ask(script, arena, HTTP_POST, "https://a/send").end, EXCHANGE_UNKNOWN);
    assert_int_equal(ask(script, arena, HTTP_POST, "https://a/other").end, EXCHANGE_UNKNOWN);
    reply = ask(script, arena, HTTP_GET, "https://a/list");
    assert_int_equal(reply.end, EXCHANGE_UNKNOWN);
    assert_int_equal(reply.err.code, ERR_TIMEOUT);
    assert_int_equal(script_left(script), 0);
    assert_int_equal(script_surprises(script), 0);
    script_free(script);
    arena_free(arena);
}

static void it_records_and_reports_surprises(void **state)
{
    struct script *script = script_new();
    struct arena *arena = arena_new(0);
    struct exchange_reply reply;
    char url[] = "https://a/send";

    (void)state;
    script_add(script, &(struct script_step){ HTTP_POST, "https://a/send", EXCHANGE_ANSWERED, 200, .times = -1 });
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(script, arena, HTTP_POST, url).end, EXCHANGE_ANSWERED);
    reply = ask(script, arena, HTTP_DELETE, url);
    assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
    assert_int_equal(reply.err.code, ERR_INTERNAL);
    url[0] = 'x';
    assert_int_equal(script_asked(script), 4);
    assert_int_equal(script_surprises(script), 1);
    assert_int_equal(script_left(script), 0);
    assert_string_equal(script_request(script, 0)->url, "https://a/send");
    assert_int_equal(script_request(script, 3)->method, HTTP_DELETE);
    assert_true(str_is(script_request(script, 0)->body, "text"));
    assert_true(str_is(exchange_request_header(script_request(script, 0), "authorization"), "Bearer k"));
    assert_null(script_request(script, 4));
    script_free(script);
    arena_free(arena);
}

static void answers_over_the_ceiling_are_not_known(void **state)
{
    struct script *script = script_new();
    struct arena *arena = arena_new(0);
    char body[102] = { 0 };
    struct exchange_reply reply;

    (void)state;
    for (size_t i = 0; i < sizeof body - 1; i++)
        body[i] = 'a';
    script_add(script, &(struct script_step){ HTTP_GET, "*", EXCHANGE_ANSWERED, 200, .body = body });
    reply = ask(script, arena, HTTP_GET, "http://b/");
    assert_int_equal(reply.end, EXCHANGE_UNKNOWN);
    assert_int_equal(reply.err.code, ERR_TOO_LARGE);
    assert_int_equal(reply.body.len, 0);
    script_free(script);
    arena_free(arena);
}

static void retry_after_is_read(void **state)
{
    static const struct { const char *value; int seconds; } cases[] = {
        { "0", 0 }, { "1", 1 }, { " 120 ", 120 }, { "86401", LIMIT_RETRY_AFTER_S },
        { "99999999999999999999", 0 }, { "-5", 0 }, { "soon", 0 }, { "", 0 }, { "1.5", 0 },
        { "Fri, 20 Nov 2026 18:00:30 GMT", 30 }, { "Fri, 20 Nov 2026 17:59:59 GMT", 0 },
        { "Sat, 20 Nov 2027 18:00:00 GMT", LIMIT_RETRY_AFTER_S }, { "Fri, 20 Nox 2026 18:00:30 GMT", 0 },
        { "Fri, 20 Nov 2026 18:00:30 UTC", 0 }, { "Fri, xx Nov 2026 18:00:30 GMT", 0 },
        { "Friday, 20-Nov-26 18:00:30 GMT", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int seconds = exchange_retry_after_s(str_c(cases[i].value), 1795197600000);

        if (seconds != cases[i].seconds)
            fail_msg("'%s' gave %d", cases[i].value, seconds);
    }
    assert_int_equal(exchange_retry_after_s((struct str){ 0 }, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_plays_what_was_added),
        cmocka_unit_test(it_records_and_reports_surprises),
        cmocka_unit_test(answers_over_the_ceiling_are_not_known),
        cmocka_unit_test(retry_after_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
