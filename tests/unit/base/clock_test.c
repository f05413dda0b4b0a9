#include "base/arena.h"
#include "base/clock.h"

#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

static void parses(void **state)
{
    static const struct { const char *text; int64_t ms; int offset_min; } rows[] = {
        { "1970-01-01T00:00:00Z", 0, 0 }, { "2026-11-20T18:42:26.123Z", 1795200146123, 0 },
        { "2026-11-20T18:42:26Z", 1795200146000, 0 }, { "2026-11-20t18:42:26z", 1795200146000, 0 },
        { "2026-11-20 18:42:26+00:00", 1795200146000, 0 }, { "2026-11-20T19:42:26+01:00", 1795200146000, 60 },
        { "2026-11-20T13:12:26-0530", 1795200146000, -330 }, { "2026-11-20T18:42Z", 1795200120000, 0 },
        { "2026-11-20T18:42:26.5Z", 1795200146500, 0 }, { "2026-11-20T18:42:26,123456789Z", 1795200146123, 0 },
        { "2024-02-29T00:00:00Z", 1709164800000, 0 }, { "2000-02-29T00:00:00Z", 951782400000, 0 },
        { "2016-12-31T23:59:60Z", 1483228800000, 0 }, { "9999-12-31T23:59:59.999Z", CLOCK_MAX_MS, 0 },
        { "0", 0, 0 }, { "1795200146", 1795200146000, 0 }, { "1795200146123", 1795200146123, 0 },
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        int64_t ms = -1;
        int offset = -1;

        assert_true(clock_parse(str_c(rows[row].text), &ms, &offset));
        assert_int_equal(ms, rows[row].ms);
        assert_int_equal(offset, rows[row].offset_min);
        assert_true(clock_parse(str_c(rows[row].text), &ms, NULL));
    }
}

static void refuses(void **state)
{
    static const char *const rows[] = {
        "", "now", "-1", "2026-11-20", "2026-11-20T18:42:26", "2026-11-20T18:42:26 Z", "2026-11-20T18:42:26.Z",
        "2026-11-20T24:00:00Z", "2026-11-20T18:60:00Z", "2026-11-20T18:42:61Z", "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2100-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z", "2026-11-00T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z", "2026-11-20T18:42:26+24:00",
        "2026-11-20T18:42:26+01:60", "2026-11-20T18:42:26+01", "2026-11-20T18:42:26Zx", "2026/11/20T18:42:26Z",
        "1795200146.5", "253402300800000", "99999999999999999999",
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        int64_t ms = 7;
        int offset = 7;

        assert_false(clock_parse(str_c(rows[row]), &ms, &offset));
        assert_int_equal(ms, 7);
        assert_int_equal(offset, 7);
    }
}

static void prints(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    assert_string_equal(clock_iso(arena, 1795200146123), "2026-11-20T18:42:26.123Z");
    assert_string_equal(clock_iso(arena, 0), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_iso(arena, 951782400000), "2000-02-29T00:00:00.000Z");
    assert_string_equal(clock_iso(arena, INT64_MAX), "9999-12-31T23:59:59.999Z");
    assert_string_equal(clock_iso(arena, -5), "1970-01-01T00:00:00.000Z");
    arena_free(arena);
}

/* The calendar agrees with the C library's, and printing with parsing. */
static void agrees_with_libc(void **state)
{
    (void)state;
    for (int64_t second = 1; second < CLOCK_MAX_MS / 1000; second += 86400 * 97 + 12345) {
        time_t time = (time_t)second;
        char ours[CLOCK_ISO_BYTES], theirs[CLOCK_ISO_BYTES];
        struct tm tm;
        int64_t ms;

        gmtime_r(&time, &tm);
        assert_int_equal(strftime(theirs, sizeof theirs, "%Y-%m-%dT%H:%M:%S.000Z", &tm),
                         CLOCK_ISO_BYTES - 1);
        assert_string_equal(clock_iso_into(ours, second * 1000), theirs);
        assert_true(clock_parse(str_c(ours), &ms, NULL));
        assert_int_equal(ms, second * 1000);
    }
}

static int64_t fixed_wall(void)
{
    return 42;
}

static int64_t fixed_mono(void)
{
    return 43;
}

static void is_replaced(void **state)
{
    int64_t before;

    (void)state;
    clock_install(fixed_wall, fixed_mono);
    assert_int_equal(clock_ms(), 42);
    assert_int_equal(clock_mono_us(), 43);
    clock_install(NULL, NULL);
    assert_true(clock_ms() > 1700000000000);
    before = clock_mono_us();
    assert_true(clock_mono_us() >= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses),
        cmocka_unit_test(refuses),
        cmocka_unit_test(prints),
        cmocka_unit_test(agrees_with_libc),
        cmocka_unit_test(is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
