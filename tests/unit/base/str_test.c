#include "base/arena.h"
#include "base/str.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))
#define FAMILY                                                                                     \
    "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7" /* man ZWJ woman ZWJ girl */
#define FLAG "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa"                                               /* two regional letters */
#define WAVE "\xf0\x9f\x91\x8b\xf0\x9f\x8f\xbd"                                               /* hand and skin tone */

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

static void compares(void **state)
{
    struct str absent = { 0 };

    (void)state;
    assert_true(str_eq(STR("a"), STR("a")));
    assert_false(str_eq(STR("a"), STR("b")));
    assert_false(str_eq(STR("a"), STR("ab")));
    assert_true(str_eq(absent, str_c(NULL)));
    assert_false(str_eq(absent, STR("")));
    assert_true(str_eq_nocase(STR("StOp"), STR("sToP")));
    assert_false(str_eq_nocase(STR("@"), STR("`")));
    assert_false(str_eq_nocase(STR("STOP"), STR("STO")));
    assert_true(str_is(STR("x"), "x"));
    assert_false(str_is(absent, ""));
    assert_true(str_starts(STR("msg_1"), "msg_"));
    assert_false(str_starts(STR("ms"), "msg_"));
    assert_true(str_eq_secret(STR("token"), STR("token")));
    assert_false(str_eq_secret(STR("token"), STR("tokeN")));
    assert_false(str_eq_secret(STR("token"), STR("toke")));
    assert_false(str_eq_secret(absent, STR("")));
}

static void trims_and_splits(void **state)
{
    struct str rest = STR("a,,b"), part;

    (void)state;
    assert_true(str_is(str_trim(STR(" \t\r\n x y \v\f")), "x y"));
    assert_int_equal(str_trim(STR(" \n ")).len, 0);
    assert_true(str_split(&rest, ',', &part) && str_is(part, "a"));
    assert_true(str_split(&rest, ',', &part) && str_is(part, ""));
    assert_true(str_split(&rest, ',', &part) && str_is(part, "b"));
    assert_false(str_split(&rest, ',', &part));
    rest = STR("");
    assert_true(str_split(&rest, ',', &part) && part.len == 0);
    assert_false(str_split(&rest, ',', &part));
}

static void reads_integers(void **state)
{
    static const struct { const char *text; bool ok; int64_t value; } rows[] = {
        { "0", true, 0 }, { "42", true, 42 }, { "-7", true, -7 }, { "007", true, 7 },
        { "9223372036854775807", true, INT64_MAX }, { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 }, { "-9223372036854775809", false, 0 }, { "", false, 0 },
        { "-", false, 0 }, { "+1", false, 0 }, { " 1", false, 0 }, { "1 ", false, 0 }, { "0x10", false, 0 },
        { "1.0", false, 0 }, { "--1", false, 0 },
    };
    int64_t value = 99;

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        value = 99;
        assert_int_equal(str_int(str_c(rows[row].text), INT64_MIN, INT64_MAX, &value),
                         rows[row].ok);
        assert_int_equal(value, rows[row].ok ? rows[row].value : 99);
    }
    assert_false(str_int(STR("11"), 1, 10, &value));
    assert_false(str_int(STR("0"), 1, 10, &value));
    assert_true(str_int(STR("10"), 1, 10, &value));
}

static void knows_utf8(void **state)
{
    static const struct { const char *bytes; size_t len; bool valid; } rows[] = {
        { "", 0, true }, { "plain", 5, true }, { "\xc2\x80", 2, true }, { "\xdf\xbf", 2, true },
        { "\xe0\xa0\x80", 3, true }, { "\xed\x9f\xbf", 3, true }, { "\xee\x80\x80", 3, true },
        { "\xef\xbf\xbf", 3, true }, { "\xf0\x90\x80\x80", 4, true }, { "\xf4\x8f\xbf\xbf", 4, true },
        { "a\0b", 3, false }, { "12345678\0", 9, false }, { "1234567\0", 8, false },
        { "\x80", 1, false }, { "\xbf", 1, false }, { "\xc0\x80", 2, false }, { "\xc1\xbf", 2, false },
        { "\xe0\x9f\xbf", 3, false }, { "\xed\xa0\x80", 3, false }, { "\xed\xbf\xbf", 3, false },
        { "\xf0\x8f\xbf\xbf", 4, false }, { "\xf4\x90\x80\x80", 4, false }, { "\xf5\x80\x80\x80", 4, false },
        { "\xff", 1, false }, { "\xfe", 1, false }, { "\xe2\x82", 2, false }, { "\xf0\x9f\x91", 3, false },
        { "\xc3", 1, false }, { "\xe2\x28\xa1", 3, false }, { "12345678\xff", 9, false },
        { "1234567\xc3\xa9 and 12345678", 20, true },
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++)
        assert_int_equal(str_utf8_valid((struct str){ rows[row].bytes, rows[row].len }),
                         rows[row].valid);
    assert_int_equal(str_utf8_prefix(STR("caf\xc3\xa9 \xff x")), 6);
    assert_int_equal(str_utf8_length(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), 4);
    assert_int_equal(str_utf16_length(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), 5);
    assert_int_equal(str_utf16_length(STR(FAMILY)), 8);
}

static void shows_controls(void **state)
{
    (void)state;
    assert_string_equal(str_printable(arena, STR("a\tb\nc"), false), "a\tb\nc");
    assert_string_equal(str_printable(arena, STR("a\tb\nc"), true), "a\\x09b\\x0ac");
    assert_string_equal(str_printable(arena, STR("\x1b[31mred\x7f\r"), false),
                        "\\x1b[31mred\\x7f\\x0d");
    assert_string_equal(str_printable(arena, STR("\xc2\x9b" "31m"), false), "\\x9b31m");
    assert_string_equal(str_printable(arena,
                                      STR("a\xe2\x80\xae"
                                          "b\xe2\x81\xa6"),
                                      false),
                        "a\\u202eb\\u2066");
    assert_string_equal(str_printable(arena,
                                      STR("\xff"
                                          "caf\xc3\xa9"),
                                      false),
                        "\\xff"
                        "caf\xc3\xa9");
    assert_string_equal(str_printable(arena, (struct str){ "a\0b", 3 }, false), "a\\x00b");
    assert_string_equal(str_printable(arena, STR(""), false), "");
}

static void folds_words(void **state)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        { "STOP", "stop" },
        { "  Stop!  ", "stop" },
        { "\xe2\x80\x9cStop.\xe2\x80\x9d", "stop" },
        { "\xc2\xab"
          "ARR\xc3\x8aT\xc2\xbb",
          "arr\xc3\xaat" },
        { "\xef\xbc\xb3\xef\xbc\xb4\xef\xbc\xaf\xef\xbc\xb0", "stop" },
        { "opt   out\n\tnow", "opt out now" },
        { "Stra\xc3\x9f"
          "e",
          "strasse" },
        { "e\xcc\x81t\xc3\xa9", "\xc3\xa9t\xc3\xa9" },
        { "st\xe2\x80\x8bop\xef\xb8\x8f", "stop" },
        { "\xc2\xb4stop\xc2\xb4", "stop" },
        { "`stop`", "stop" },
        { "cafe\xcc\x81.", "caf\xc3\xa9" },
        { "!?", "" },
        { "", "" },
        { "don't", "don't" },
        { "1-2", "1-2" },
        { "\xc2\xa0stop\xc2\xa0", "stop" },
        { "\xd0\xa1\xd0\xa2\xd0\x9e\xd0\x9f", "\xd1\x81\xd1\x82\xd0\xbe\xd0\xbf" },
        { "\xff"
          "a",
          "\xef\xbf\xbd"
          "a" },
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        struct str folded = str_fold(arena, str_c(rows[row].from));

        assert_string_equal(str_dup(arena, folded), rows[row].to);
    }
    assert_null(str_fold(arena, (struct str){ 0 }).data);
}

static void composes(void **state)
{
    (void)state;
    assert_string_equal(str_nfc(arena, STR("e\xcc\x81")).data, "\xc3\xa9");
    assert_string_equal(str_nfc(arena, STR("plain caf\xc3\xa9")).data, "plain caf\xc3\xa9");
    assert_string_equal(str_nfc(arena, (struct str){ "a\0b", 3 }).data, "ab");
    assert_string_equal(str_nfc(arena, STR("a\xff\xe2\x82z")).data,
                        "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
    assert_string_equal(str_nfc(arena, STR("\xed\xa0\xbd")).data,
                        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(str_nfc(arena, STR("\xea\xb0\x80")).data, "\xea\xb0\x80");
    assert_string_equal(str_nfc(arena, STR("\xe1\x84\x80\xe1\x85\xa1")).data, "\xea\xb0\x80");
    assert_string_equal(str_nfc(arena, STR(FAMILY)).data, FAMILY);
}

static void cuts_between_graphemes(void **state)
{
    static const struct { const char *text; size_t max; bool utf16; size_t expected; } rows[] = {
        { "", 5, false, 0 }, { "abc", 5, false, 3 }, { "abc", 3, false, 3 }, { "abcdef", 3, false, 3 },
        { "e\xcc\x81" "e\xcc\x81", 3, false, 3 },           /* never between a letter and its mark */
        { "e\xcc\x81" "e\xcc\x81", 1, false, 3 },           /* at least one grapheme */
        { "a" FAMILY "b", 3, false, 1 },
        { "a" FAMILY "b", 6, false, 1 + sizeof FAMILY - 1 },
        { "a" FAMILY "b", 8, true, 1 }, { "a" FAMILY "b", 9, true, 1 + sizeof FAMILY - 1 },
        { FAMILY "b", 2, true, sizeof FAMILY - 1 },
        { FLAG FLAG, 3, false, 8 }, { FLAG FLAG, 2, false, 8 }, { WAVE "!", 1, false, 8 },
        { "a\r\nb", 2, false, 1 }, { "\r\nb", 1, false, 2 },
        { "\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 3, true, 4 }, { "\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 4, true, 8 },
        { "one two three", 10, false, 8 },                  /* after white space in the last third */
        { "a bbbbbbbbbbbbbbb", 10, false, 10 },             /* but not before it */
        { "aaaaaaaaa bbb", 10, false, 10 },
        { "abc", 0, false, 1 },
        { "\xff\xff\xff", 2, false, 2 },
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++)
        assert_int_equal(str_cut(str_c(rows[row].text), rows[row].max, rows[row].utf16),
                         rows[row].expected);
}

static void copies(void **state)
{
    (void)state;
    assert_string_equal(str_dup(arena, (struct str){ "abcdef", 3 }), "abc");
    assert_null(str_dup(arena, (struct str){ 0 }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(trims_and_splits),
        cmocka_unit_test(reads_integers),
        cmocka_unit_test(knows_utf8),
        cmocka_unit_test(shows_controls),
        cmocka_unit_test(folds_words),
        cmocka_unit_test(composes),
        cmocka_unit_test(cuts_between_graphemes),
        cmocka_unit_test(copies),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
