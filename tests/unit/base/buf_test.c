#include "base/buf.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void appends(void **state)
{
    struct buf buf;
    size_t len;
    char *taken;

    (void)state;
    buf_init(&buf, 1000);
    assert_string_equal(buf_slice(&buf).data, "");
    buf_puts(&buf, "a");
    buf_putc(&buf, 'b');
    buf_str(&buf, STR("cd"));
    buf_add(&buf, "e\0f", 3);
    buf_int(&buf, -42);
    buf_printf(&buf, "[%s]", "x");
    assert_int_equal(buf.len, 13);
    assert_memory_equal(buf.data, "abcde\0f-42[x]", 14);
    assert_false(buf.overflow);
    taken = buf_take(&buf, &len);
    assert_int_equal(len, 13);
    assert_int_equal(buf.len, 0);
    assert_null(buf.data);
    free(taken);
    taken = buf_take(&buf, NULL);
    assert_string_equal(taken, "");
    free(taken);
    buf_fini(&buf);
}

static void writes_integers(void **state)
{
    static const struct { long long number; const char *text; } rows[] = {
        { 0, "0" }, { 7, "7" }, { -1, "-1" }, { INT64_MAX, "9223372036854775807" },
        { INT64_MIN, "-9223372036854775808" },
    };
    struct buf buf;

    (void)state;
    buf_init(&buf, 100);
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        buf_clear(&buf);
        buf_int(&buf, rows[row].number);
        assert_string_equal(buf.data, rows[row].text);
    }
    buf_fini(&buf);
}

static void keeps_its_ceiling(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 10);
    buf_puts(&buf, "0123456789");
    assert_false(buf.overflow);
    buf_puts(&buf, "");
    assert_false(buf.overflow);
    buf_putc(&buf, 'x');
    assert_true(buf.overflow);
    assert_string_equal(buf.data, "0123456789");
    buf_clear(&buf);
    assert_false(buf.overflow);
    buf_printf(&buf, "%s", "01234567890");
    assert_true(buf.overflow);
    buf_puts(&buf, "a");            /* stays set: an answer with a hole in it would be worse */
    assert_int_equal(buf.len, 0);
    assert_null(buf_room(&buf, 1));
    buf_fini(&buf);
}

static void gives_room(void **state)
{
    struct buf buf;
    char *room;

    (void)state;
    buf_init(&buf, 100000);
    for (int round = 0; round < 1000; round++) {
        room = buf_room(&buf, 100);
        assert_non_null(room);
        memset(room, 'a' + round % 26, 100);
        buf_added(&buf, 100);
        assert_int_equal(buf.data[buf.len], 0);
    }
    assert_int_equal(buf.len, 100000);
    assert_int_equal(buf.data[150], 'b');
    assert_null(buf_room(&buf, 1));
    buf_fini(&buf);
}

static void errors_are_filled(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(err_set(NULL, ERR_INTERNAL, "x"), -1);
    assert_int_equal(err_hint(NULL, "x"), -1);
    assert_int_equal(err_field(NULL, "a", "x"), -1);
    assert_int_equal(err_field(&err, "limit", "\"%s\" is %d.", "limit", 7), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.field, "limit");
    assert_string_equal(err.detail, "\"limit\" is 7.");
    assert_int_equal(err_hint(&err, "Try %d.", 8), -1);
    assert_string_equal(err.hint, "Try 8.");
    err_set(&err, ERR_GONE, "gone");
    assert_string_equal(err.field, "");
    assert_string_equal(err.hint, "");
    assert_string_equal(err_word(err.code), "resync");
    err_clear(&err);
    assert_int_equal(err.code, ERR_NONE);
    for (int code = ERR_NONE; code < ERR_CODES; code++) {
        assert_non_null(err_word((enum err_code)code));
        assert_in_range(err_status((enum err_code)code), 200, 507);
        assert_in_range(err_exit((enum err_code)code), 0, 5);
    }
    assert_int_equal(err_status(ERR_INTERNAL), 503);
    assert_int_equal(err_exit(ERR_RATE_LIMITED), 5);
}

/* Wherever a text is cut, what is left is whole characters. */
static void errors_are_cut_between_characters(void **state)
{
    char text[2048], name[200];
    struct err err;

    (void)state;
    for (size_t shift = 0; shift < 12; shift++) {
        static const char *const characters[] = { "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };

        for (size_t kind = 0; kind < 3; kind++) {
            size_t len = shift;

            memset(text, 'x', len);
            for (; len < 1500; len += strlen(characters[kind]))
                memcpy(text + len, characters[kind], strlen(characters[kind]) + 1);
            memcpy(name, text, sizeof name - 1);
            name[sizeof name - 1] = '\0';
            err_field(&err, name, "%s", text);
            err_hint(&err, "%s", text);
            assert_true(str_utf8_valid(str_c(err.detail)));
            assert_true(str_utf8_valid(str_c(err.hint)));
            assert_true(str_utf8_valid(str_c(err.field)));
            assert_in_range(strlen(err.detail), sizeof err.detail - 4, sizeof err.detail - 1);
            assert_in_range(strlen(err.field), sizeof err.field - 4, sizeof err.field - 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),
        cmocka_unit_test(writes_integers),
        cmocka_unit_test(keeps_its_ceiling),
        cmocka_unit_test(gives_room),
        cmocka_unit_test(errors_are_filled),
        cmocka_unit_test(errors_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
