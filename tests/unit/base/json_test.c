#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const char *dumped(const struct json *value)
{
    struct buf out;
    const char *text;

    buf_init(&out, LIMIT_ANSWER_BYTES);
    json_dump(&out, value);
    assert_false(out.overflow);
    text = arena_strdup(arena, buf_slice(&out).data);
    buf_fini(&out);
    return text;
}

static void accepts(void **state)
{
    static const struct {
        const char *text, *compact;
    } rows[] = {
        { "{}", "{}" },
        { " [ ] ", "[]" },
        { "null", "null" },
        { "\ttrue\n", "true" },
        { "-0", "0" },
        { "7", "7" },
        { "\"\"", "\"\"" },
        { "[1,2.5,\"x\",null,false,{\"a\":[]}]", "[1,2.5,\"x\",null,false,{\"a\":[]}]" },
        { "{\"z\":1,\"a\":2,\"m\":{\"y\":3,\"b\":4}}",
          "{\"z\":1,\"a\":2,\"m\":{\"y\":3,\"b\":4}}" },
        { "9223372036854775807", "9223372036854775807" },
        { "-9223372036854775808", "-9223372036854775808" },
        { "1e3", "1000.0" },
        { "0.1", "0.1" },
        { "1e-7", "1e-07" },
        { "1.7976931348623157e308", "1.7976931348623157e+308" },
        { "\"\\u00e9\\ud83d\\ude00\\/\"", "\"\xc3\xa9\xf0\x9f\x98\x80/\"" },
        { "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\"",
          "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\"" },
        { "{\"a\":1,\"A\":2,\"\":3}", "{\"a\":1,\"A\":2,\"\":3}" },
        { "\"\x7f\"", "\"\x7f\"" },
        { "{\"k\\\"ey\":\"\\\\u0000\"}", "{\"k\\\"ey\":\"\\\\u0000\"}" },
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        struct err err = { 0 };
        struct json *value = json_parse(arena, str_c(rows[row].text), &err);

        assert_string_equal(err.detail, "");
        assert_string_equal(dumped(value), rows[row].compact);
        assert_string_equal(dumped(json_parse(arena, str_c(rows[row].compact), &err)),
                            rows[row].compact);
    }
}

static void refuses(void **state)
{
    static const struct { const char *text, *detail; } rows[] = {
        { "", "The JSON document is empty." }, { " \n", "The JSON document is empty." },
        { "{", "The JSON ends too early, at line 1, column 2." },
        { "[1,", "The JSON ends too early, at line 1, column 4." },
        { "\"abc", "The JSON ends too early, at line 1, column 5." },
        { "{}x", "Not valid JSON at line 1, column 3: end of file expected." },
        { "[1,]", "Not valid JSON at line 1, column 4: a value expected." },
        { "{\"a\":1,}", "Not valid JSON at line 1, column 8: string expected." },
        { "{'a':1}", "Not valid JSON at line 1, column 2: string or '}' expected." },
        { "[01]", "Not valid JSON at line 1, column 2: this is no number." },
        { "{\"a\" 1}", "Not valid JSON at line 1, column 6: ':' expected." },
        { "[1 2]", "Not valid JSON at line 1, column 4: ',' or ']' expected." },
        { "nul", "Not valid JSON at line 1, column 1: a value expected." },
        { "[NaN]", "Not valid JSON at line 1, column 2: a value expected." },
        { "\"\\x\"", "Not valid JSON at line 1, column 2: invalid escape." },
        { "\"\\u12\"", "Not valid JSON at line 1, column 2: invalid escape." },
        { "\"a\nb\"", "Not valid JSON at line 1, column 3: control characters must be escaped." },
        { "\"a\x01\"", "Not valid JSON at line 1, column 3: control characters must be escaped." },
        { "{\n\"a\":1,\n\"a\":2}", "Not valid JSON at line 3, column 1: duplicate object key." },
        { "[9223372036854775808]", "Not valid JSON at line 1, column 2: too big integer." },
        { "[1e999]", "Not valid JSON at line 1, column 2: real number overflow." },
        { "[\"\xc3\xa9\",\n\"\xff\"]", "Bytes that are not UTF-8 at line 2, column 2." },
        { "\"\xed\xa0\x80\"", "Bytes that are not UTF-8 at line 1, column 2." },
        { "\"a\\u0000b\"", "The character NUL is not allowed: \\u0000 at line 1, column 3." },
        { "{\"\\u0000\":1}", "The character NUL is not allowed: \\u0000 at line 1, column 3." },
        { "[\"\xf0\x9f\x98\x80\\ud83d\"]", "Half of a surrogate pair at line 1, column 4." },
        { "\"\\ude00\\ud83d\"", "Half of a surrogate pair at line 1, column 2." },
        { "\"\\ud83d\\u0041\"", "Half of a surrogate pair at line 1, column 2." },
        { "/* c */ 1", "Not valid JSON at line 1, column 1: a value expected." },
        { "\xef\xbb\xbf{}", "Not valid JSON at line 1, column 1: a value expected." },
        { "{\"a\":1 \"b\"}", "Not valid JSON at line 1, column 8: ',' or '}' expected." },
        { "{\"a\":", "The JSON ends too early, at line 1, column 6." },
        { "\"ab\\", "The JSON ends too early, at line 1, column 5." },
        { "\"\\ud83d\\u00\"", "Half of a surrogate pair at line 1, column 2." },
        { "-", "Not valid JSON at line 1, column 1: this is no number." },
        { "[1.]", "Not valid JSON at line 1, column 2: this is no number." },
        { "[1e+]", "Not valid JSON at line 1, column 2: this is no number." },
        { "[.5]", "Not valid JSON at line 1, column 2: this is no number." },
        { "truely", "Not valid JSON at line 1, column 5: end of file expected." },
        { "]", "Not valid JSON at line 1, column 1: a value expected." },
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        struct err err = { 0 };

        assert_null(json_parse(arena, str_c(rows[row].text), &err));
        assert_int_equal(err.code, ERR_MALFORMED);
        assert_string_equal(err.detail, rows[row].detail);
        assert_null(json_parse(arena, str_c(rows[row].text), NULL));
    }
    assert_null(json_parse(arena, (struct str){ "[1]\0", 4 }, NULL));
    assert_null(json_parse(arena, (struct str){ 0 }, NULL));
}

/* `head`, then `count` times `each`, then `tail`. */
static struct str built(const char *head, const char *each, size_t count, const char *tail)
{
    struct buf out;
    struct str text;

    buf_init(&out, LIMIT_WEBHOOK_BYTES);
    buf_puts(&out, head);
    for (size_t at = 0; at < count; at++)
        buf_puts(&out, each);
    buf_puts(&out, tail);
    assert_false(out.overflow);
    text = (struct str){ arena_copy(arena, out.data, out.len), out.len };
    buf_fini(&out);
    return text;
}

static struct str with_keys(int count)
{
    struct buf out;
    struct str text;

    buf_init(&out, LIMIT_JSON_BYTES);
    for (int at = 0; at < count; at++)
        buf_printf(&out, "%s\"k%d\":{\"a\":1,\"b\":2}", at ? "," : "{", at);
    buf_puts(&out, "}");
    text = (struct str){ arena_copy(arena, out.data, out.len), out.len };
    buf_fini(&out);
    return text;
}

static void over(struct str text, const char *detail)
{
    struct err err = { 0 };

    assert_null(json_parse(arena, text, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_memory_equal(err.detail, detail, strlen(detail));
    assert_null(json_parse_lenient(arena, text, &err));
}

static void keeps_ceilings(void **state)
{
    (void)state;
    assert_non_null(json_parse(arena, with_keys(LIMIT_JSON_KEYS), NULL));
    over(with_keys(LIMIT_JSON_KEYS + 1),
         "An object has too many keys (the limit is 1000) at line 1, column ");
    assert_non_null(
        json_parse(arena, built("", "[", 31, "[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), NULL));
    over(built("", "[", 32, "[]"),
         "The document is nested too deep (the limit is 32) at line 1, column 33.");
    over(built("", "[", 1000000, ""),
         "The document is nested too deep (the limit is 32) at line 1, column 33.");
    assert_non_null(json_parse(arena, built("[0", ",0", LIMIT_JSON_NODES - 2, "]"), NULL));
    over(built("[0", ",0", LIMIT_JSON_NODES - 1, "]"),
         "The document has too many keys and values (the limit is 200000)");
    assert_non_null(json_parse(arena, built("0.", "1", LIMIT_JSON_NUMBER_CHARS - 2, ""), NULL));
    over(built("[0.", "1", LIMIT_JSON_NUMBER_CHARS - 1, "]"),
         "A number has too many characters (the limit is 64) at line 1, column 2.");
    assert_non_null(json_parse(arena, built("\"", "[{:1", 100000, "\""), NULL));    /* inside a text nothing counts */
}

static void lenient_repairs(void **state)
{
    static const struct { const char *text, *compact; } rows[] = {
        { "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}" }, { "\"a\\u0000b\"", "\"ab\"" },
        { "\"\\u0000\"", "\"\"" }, { "{\"a\":1,\"a\\u0000\":{\"b\":[]},\"c\":2}", "{\"a\":{\"b\":[]},\"c\":2}" },
        { "{\"k\\u0000\":[\"\\u0000\\u0000x\"]}", "{\"k\":[\"x\"]}" },
        { "\"\\ud83d\"", "\"\xef\xbf\xbd\"" }, { "\"\\ude00\\ud83dx\"", "\"\xef\xbf\xbd\xef\xbf\xbdx\"" },
        { "\"\\ud83d\\ud83d\\ude00\"", "\"\xef\xbf\xbd\xf0\x9f\x98\x80\"" },
        { "\"\\ud83d\\u0000\\ude00\"", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
        { "\"\\\\u0000\"", "\"\\\\u0000\"" }, { "[\"\\uD83D\\uDE00\"]", "[\"\xf0\x9f\x98\x80\"]" },
        { "[18446744073709551615,1]", "[1.8446744073709552e+19,1]" },
        { "[-9223372036854775809]", "[-9.223372036854776e+18]" }, { "[9223372036854775807]", "[9223372036854775807]" },
        { "{\"plain\":true}", "{\"plain\":true}" },
    };
    static const char *const refused[] = { "",        "{",        "[1,]", "\"\xff\"", "\"\\u00g0\"",
                                           "[1e999]", "\"\\ud83", "\"\\" };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        struct err err = { 0 };
        struct json *value = json_parse_lenient(arena, str_c(rows[row].text), &err);

        assert_string_equal(err.detail, "");
        assert_string_equal(dumped(value), rows[row].compact);
    }
    for (size_t row = 0; row < ARRAY_LEN(refused); row++)
        assert_null(json_parse_lenient(arena, str_c(refused[row]), NULL));
    /* the longest possible growth still fits */
    assert_non_null(json_parse_lenient(
        arena, built("[1", ",9999999999999999999", 100000, ",\"\\u0000\"]"), NULL));
}

static void reads(void **state)
{
    const struct json *root =
        json_parse(arena,
                   STR("{\"text\":\"hi\",\"n\":-5,\"r\":2.5,\"yes\":true,\"none\":null,"
                       "\"items\":[{\"id\":\"a\"},{\"id\":\"b\"}],\"o\":{\"x\":{\"y\":1}}}"),
                   NULL);
    static const char *const keys[] = { "text", "n", "r", "yes", "none", "items", "o" };
    const struct json *value;
    void *position = NULL;
    const char *key;
    size_t count = 0;

    (void)state;
    assert_non_null(root);
    assert_string_equal(json_text(json_get(root, "text")).data, "hi");
    assert_null(json_text(json_get(root, "n")).data);
    assert_null(json_text(NULL).data);
    assert_int_equal(json_int(json_get(root, "n"), 1), -5);
    assert_int_equal(json_int(json_get(root, "r"), 1), 1);
    assert_true(json_number(json_get(root, "r"), 0) == 2.5);
    assert_true(json_number(json_get(root, "n"), 0) == -5);
    assert_true(json_number(json_get(root, "text"), 8) == 8);
    assert_true(json_bool(json_get(root, "yes"), false));
    assert_true(json_bool(json_get(root, "text"), true));
    assert_int_equal(json_kind(json_get(root, "none")), JSON_KIND_NULL);
    assert_non_null(json_get(root, "none"));
    assert_null(json_get(root, "missing"));
    assert_null(json_get(json_get(root, "text"), "x"));
    assert_null(json_get(NULL, "x"));
    assert_int_equal(json_count(root), 7);
    assert_int_equal(json_count(json_get(root, "items")), 2);
    assert_int_equal(json_count(json_get(root, "text")), 0);
    assert_int_equal(json_count(NULL), 0);
    assert_string_equal(json_text(json_at(root, "items.1.id")).data, "b");
    assert_int_equal(json_int(json_at(root, "o.x.y"), 0), 1);
    assert_null(json_at(root, "items.2.id"));
    assert_null(json_at(root, "items.x"));
    assert_null(json_at(root, "items.-1"));
    assert_null(json_at(root, "text.x"));
    assert_null(json_at(root, "o..y"));
    assert_null(json_item(json_get(root, "items"), 2));
    while (json_next(root, &position, &key, &value))
        assert_string_equal(key, keys[count++]);
    assert_int_equal(count, 7);
    assert_false(json_next(json_get(root, "text"), &(void *){ NULL }, &key, &value));
}

static void writes(void **state)
{
    struct buf out;
    struct json_writer w;

    (void)state;
    buf_init(&out, 10000);
    w = json_writer(&out);
    json_object_begin(&w);
    json_cstr_at(&w, "text", "a\"b\\c\n\t\x01 caf\xc3\xa9 \x7f");
    json_cstr_at(&w, "none", NULL);
    json_int_at(&w, "n", INT64_MIN);
    json_bool_at(&w, "yes", true);
    json_time_at(&w, "at", 1795200146123);
    json_time_at(&w, "never", 0);
    json_key(&w, "list");
    json_array_begin(&w);
    json_put_int(&w, 1);
    json_object_begin(&w);
    json_object_end(&w);
    json_array_begin(&w);
    json_array_end(&w);
    json_put_null(&w);
    json_put_bool(&w, false);
    json_put_raw(&w, STR("{\"raw\":1}"));
    json_put_raw(&w, (struct str){ 0 });
    json_put_real(&w, 0.1);
    json_put_real(&w, 3);
    json_put_real(&w, (double)NAN);
    json_put_real(&w, (double)INFINITY);
    json_array_end(&w);
    json_object_end(&w);
    assert_string_equal(
        out.data,
        "{\"text\":\"a\\\"b\\\\c\\n\\t\\u0001 caf\xc3\xa9 \x7f\",\"none\":null,"
        "\"n\":-9223372036854775808,\"yes\":true,\"at\":\"2026-11-20T18:42:26.123Z\","
        "\"never\":null,\"list\":[1,{},[],null,false,{\"raw\":1},null,0.1,3.0,null,null]}");
    assert_non_null(json_parse(arena, buf_slice(&out), NULL));
    buf_fini(&out);
    buf_init(&out, 20);
    w = json_writer(&out);
    json_object_begin(&w);
    json_cstr_at(&w, "text", "this is longer than twenty bytes");
    assert_true(out.overflow);
    buf_fini(&out);
}

/* Every byte at every place of a word is escaped or copied right. */
static void escapes_round_trip(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    for (int c = 1; c < 0x80; c++) {
        for (size_t at = 0; at < 19; at++) {
            char text[20] = "aaaaaaaaaaaaaaaaaaa";
            struct json_writer w = json_writer(&out);
            struct str back;

            text[at] = (char)c;
            buf_clear(&out);
            json_put_text(&w, str_c(text));
            back = json_text(json_parse(arena, buf_slice(&out), NULL));
            assert_non_null(back.data);
            assert_string_equal(back.data, text);
        }
        arena_reset(arena);
    }
    buf_fini(&out);
}

static void reals_round_trip(void **state)
{
    static const double rows[] = { 0.1,     1.0 / 3, 1e300, 5e-324,
                                   DBL_MAX, DBL_MIN, -2.5,  123456789.123456789,
                                   1e15,    1e17 };
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        struct json_writer w = json_writer(&out);
        struct json *value;

        buf_clear(&out);
        json_put_real(&w, rows[row]);
        value = json_parse(arena, buf_slice(&out), NULL);
        assert_int_equal(json_kind(value), JSON_KIND_REAL);
        assert_true(json_number(value, 0) == rows[row]);
    }
    buf_fini(&out);
}

static void *parse_many(void *text)
{
    struct arena *own = arena_new(0);
    const char *same = text;

    for (int round = 0; round < 300; round++) {
        struct json *value = json_parse(own, str_c(same), NULL);

        if (!value || !json_text(json_at(value, "list.1.name")).data
            || json_parse(own, STR("[\"broken"), NULL)) {
            arena_free(own);
            return NULL;
        }
        arena_reset(own);
    }
    arena_free(own);
    return text;
}

static void threads_parse_side_by_side(void **state)
{
    static char text[] = "{\"list\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"n\":1.5,\"long\":"
                         "\"0123456789012345678901234567\"}";
    pthread_t threads[4];
    void *result;

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(threads); at++)
        assert_int_equal(pthread_create(&threads[at], NULL, parse_many, text), 0);
    for (size_t at = 0; at < ARRAY_LEN(threads); at++) {
        assert_int_equal(pthread_join(threads[at], &result), 0);
        assert_ptr_equal(result, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_parse_side_by_side),
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(keeps_ceilings),
        cmocka_unit_test(lenient_repairs),
        cmocka_unit_test(reads),
        cmocka_unit_test(writes),
        cmocka_unit_test(escapes_round_trip),
        cmocka_unit_test(reals_round_trip),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
