#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "net/http.h"
#include "net/server_inside.h"

#include <string.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void methods_have_names(void **state)
{
    (void)state;
    for (int method = 0; method < HTTP_METHODS; method++)
        assert_int_equal(http_method_find(str_c(http_method_name((enum http_method)method))), method);
    assert_int_equal(http_method_find(STR("get")), HTTP_METHODS);
    assert_int_equal(http_method_find(STR("BREW")), HTTP_METHODS);
    assert_string_equal(http_method_name(HTTP_PATCH), "PATCH");
}

static void decoding_is_strict(void **state)
{
    static const struct {
        const char *text, *plain;       /* NULL: refused */
        bool plus;
    } cases[] = {
        { "", "", false }, { "a+b", "a+b", false }, { "a+b", "a b", true }, { "%41%6a%c3%A4", "Aj\xc3\xa4", false },
        { "%25%32", "%2", false }, { "100%", NULL, false }, { "%4", NULL, false }, { "%zz", NULL, false },
        { "a%00b", NULL, true }, { "%2", NULL, true }, { "%2%41", NULL, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str out;
        bool ok = http_decode(arena, str_c(cases[i].text), cases[i].plus, &out);

        assert_int_equal(ok, cases[i].plain != NULL);
        if (ok)
            assert_true(str_is(out, cases[i].plain));
    }
    assert_false(http_decode(arena, STR("a\0b"), false, &(struct str){ 0 }));
}

static void encoding_comes_back(void **state)
{
    char all[255];
    struct str out;

    (void)state;
    for (int i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    assert_true(http_decode(arena, str_c(http_encode(arena, (struct str){ all, 255 })), true, &out));
    assert_int_equal(out.len, 255);
    assert_memory_equal(out.data, all, 255);
    assert_string_equal(http_encode(arena, STR("a b/~._-\xff")), "a%20b%2F~._-%FF");
    assert_string_equal(http_encode(arena, STR("")), "");
}

static void forms_split_into_pairs(void **state)
{
    struct http_header *pairs;
    size_t count;
    struct buf many;

    (void)state;
    assert_true(http_form(arena, STR("a=1&&b=x%3Dy+z&c&=v&a=2="), &pairs, &count));
    assert_int_equal(count, 5);
    assert_true(str_is(pairs[0].name, "a") && str_is(pairs[0].value, "1"));
    assert_true(str_is(pairs[1].value, "x=y z"));
    assert_true(str_is(pairs[2].name, "c") && str_is(pairs[2].value, ""));
    assert_true(str_is(pairs[3].name, "") && str_is(pairs[3].value, "v"));
    assert_true(str_is(pairs[4].value, "2="));
    assert_true(http_form(arena, STR(""), &pairs, &count));
    assert_int_equal(count, 0);
    assert_false(http_form(arena, STR("a=%4"), &pairs, &count));
    buf_init(&many, 64 * 1024);
    for (int i = 0; i < LIMIT_HEADER_COUNT; i++)
        buf_puts(&many, "a=1&");
    assert_true(http_form(arena, buf_slice(&many), &pairs, &count));
    buf_puts(&many, "b");
    assert_false(http_form(arena, buf_slice(&many), &pairs, &count));
    buf_fini(&many);
}

static void headers_and_parameters_are_found(void **state)
{
    struct http_header headers[] = { { STR("Content-Type"), STR("a/b") }, { STR("X"), STR("1") },
                                     { STR("x"), STR("2") } };
    struct http_request request = { .headers = headers, .header_count = 3, .query = headers, .query_count = 3 };

    (void)state;
    assert_true(str_is(http_header(&request, "content-type"), "a/b"));
    assert_true(str_is(http_header(&request, "x"), "1"));
    assert_null(http_header(&request, "y").data);
    assert_true(str_is(http_query(&request, "x"), "2"));
    assert_null(http_query(&request, "content-type").data);
}

static void headers_cannot_be_split(void **state)
{
    struct http_response response = { 0 };

    (void)state;
    http_respond_header(&response, arena, "Location", "/a\r\nSet-Cookie: x=1");
    assert_int_equal(response.header_count, 1);
    assert_true(str_is(response.headers[0].value, "/a  Set-Cookie: x=1"));
}

static void a_problem_tells_everything(void **state)
{
    struct http_response response = { 0 };
    struct err err = { 0 };
    struct json *json;

    (void)state;
    err_field(&err, "to", "\"%s\" is no number", "caf\xc3\xa9 \xff\"");
    err_hint(&err, "Write it as +15550001.");
    http_problem(&response, arena, &err, "req-1");
    assert_int_equal(response.status, 422);
    assert_string_equal(response.content_type, "application/problem+json");
    json = json_parse(arena, buf_slice(&response.body), &err);
    assert_non_null(json);
    assert_true(str_is(json_text(json_get(json, "title")), "Unprocessable Content"));
    assert_int_equal(json_int(json_get(json, "status"), 0), 422);
    assert_true(str_is(json_text(json_get(json, "code")), "invalid"));
    assert_true(str_is(json_text(json_get(json, "field")), "to"));
    assert_true(str_is(json_text(json_get(json, "hint")), "Write it as +15550001."));
    assert_true(str_is(json_text(json_get(json, "request_id")), "req-1"));
    assert_true(str_starts(json_text(json_get(json, "detail")), "\"caf\xc3\xa9 \xef\xbf\xbd"));
    assert_int_equal(response.header_count, 1);
    assert_true(str_is(response.headers[0].name, "Cache-Control"));
    /* Used again: what was there is dropped, a wait is announced, a chosen status stays. */
    err_set(&err, ERR_RATE_LIMITED, "Slow down.");
    err.retry_after_s = 7;
    response.status = 0;
    http_problem(&response, arena, &err, NULL);
    assert_int_equal(response.status, 429);
    assert_true(str_is(response.headers[1].name, "Retry-After") && str_is(response.headers[1].value, "7"));
    response.status = 431;
    http_problem(&response, arena, &err, NULL);
    assert_int_equal(response.status, 431);
    assert_int_equal(response.header_count, 1);
    buf_fini(&response.body);
}

static void targets_are_split_or_refused(void **state)
{
    static const struct {
        const char *target, *host, *path, *query;       /* path NULL: refused */
    } cases[] = {
        { "/", "h", "/", NULL }, { "/a/b?x=1&y", "h", "/a/b", "x=1&y" }, { "/a?", "h", "/a", "" },
        { "/%c3%a4%2f", "h", "/\xc3\xa4/", NULL }, { "http://H:1/a?b", "h:1", "/a", "b" },
        { "http://h", "h", "/", NULL },
        { "https://h?q", "h", "/", "q" }, { "http://h/", "other", NULL, NULL }, { "http://h/", NULL, NULL, NULL },
        { "http://u@h/", "h", NULL, NULL }, { "a", "h", NULL, NULL }, { "", "h", NULL, NULL },
        { "*", "h", NULL, NULL }, { "?a", "h", NULL, NULL }, { "/a b", "h", NULL, NULL }, { "/a#b", "h", NULL, NULL },
        { "/\xc3\xa4", "h", NULL, NULL }, { "/%00", "h", NULL, NULL }, { "/%", "h", NULL, NULL },
        { "/%ff", "h", NULL, NULL }, { "/a?%", "h", NULL, NULL },
        { "/a?x=%00", "h", NULL, NULL }, { "/a?x=%ed%a0%80", "h", NULL, NULL }, { "/a\x01", "h", NULL, NULL },
        { "/a\x7f", "h", NULL, NULL }, { "/%c0%af", "h", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_request request = { .arena = arena };
        struct refusal why;
        int status = check_target(&request, str_c(cases[i].target), str_c(cases[i].host), &why);

        if ((status == 0) != (cases[i].path != NULL))
            fail_msg("%s", cases[i].target);
        if (status != 0) {
            assert_int_equal(why.status, 400);
            assert_true(why.err.detail[0] && why.err.hint[0]);
            continue;
        }
        assert_true(str_is(request.path, cases[i].path));
        assert_int_equal(request.raw_query.data != NULL, cases[i].query != NULL);
        if (cases[i].query)
            assert_true(str_is(request.raw_query, cases[i].query));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_have_names), cmocka_unit_test(decoding_is_strict),
        cmocka_unit_test(encoding_comes_back), cmocka_unit_test(forms_split_into_pairs),
        cmocka_unit_test(headers_and_parameters_are_found), cmocka_unit_test(headers_cannot_be_split),
        cmocka_unit_test(a_problem_tells_everything), cmocka_unit_test(targets_are_split_or_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
