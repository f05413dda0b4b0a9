/* Texts of every width, cut and laid out; what no terminal of a test can be asked about. */
#include "base/arena.h"
#include "cli/lib/layout.h"
#include "cli/lib/width.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define FAMILY "\U0001F468\u200D\U0001F469\u200D\U0001F467"

static void widths(void **state)
{
    (void)state;
    assert_int_equal(width_of(STR("")), 0);
    assert_int_equal(width_of(STR("plain")), 5);
    assert_int_equal(width_of(STR("caf\u00e9")), 4);
    assert_int_equal(width_of(STR("cafe\u0301")), 4);
    assert_int_equal(width_of(STR("\u65e5\u672c")), 4);
    assert_int_equal(width_of(STR("\U0001F600")), 2);
    assert_int_equal(width_of(STR("\u2764\uFE0F")), 2);
    assert_in_range(width_of(STR(FAMILY)), 2, 6);
    assert_int_equal(width_of(STR("a\xff")), 2);
    assert_false(width_unsure(STR("\u65e5\u672c \U0001F600 caf\u00e9")));
    assert_true(width_unsure(STR(FAMILY)));
    assert_true(width_unsure(STR("\u2764\uFE0F")));
}

/* Whatever the width, the cut fits, is a whole beginning, and says that something is missing. */
static void cuts(void **state)
{
    const struct str texts[] = {
        STR("plain words in a row"), STR("\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8"),
        STR("cafe\u0301 cafe\u0301"),
        STR(FAMILY " family \U0001F1E9\U0001F1EA"), STR("\xff\xfe"), STR(""),
    };
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t columns = 0; columns < 24; columns++) {
            struct str cut = width_cut(arena, texts[i], columns);
            size_t kept = cut.len >= 3 ? cut.len - 3 : 0;

            assert_true(width_of(cut) <= columns);
            if (width_of(texts[i]) <= columns) {
                assert_true(str_eq(cut, texts[i]));
            } else if (columns) {
                assert_true(cut.len >= 3 && !memcmp(cut.data + kept, "\u2026", 3));
                assert_memory_equal(cut.data, texts[i].data, kept);
            }
        }
    assert_true(str_is(width_cut(arena, STR("cafe\u0301s"), 5), "cafe\u0301s"));
    assert_true(str_is(width_cut(arena, STR("cafe\u0301s"), 4), "caf\u2026"));
    arena_free(arena);
}

static size_t sum(const struct layout *layout)
{
    size_t width = 2 * (layout->count - 1);

    for (size_t i = 0; i < layout->count; i++)
        width += layout->columns[i].width;
    return width;
}

static void fits(void **state)
{
    (void)state;
    for (size_t room = 40; room < 200; room++) {
        struct layout layout = {
            .count = 4, .room = room,
            .columns = { { STR("ID"), 17, true }, { STR("NAME"), 12, false }, { STR("KIND"), 7, false },
                         { STR("TEXT"), 120, false } },
        };

        layout_fit(&layout);
        assert_true(sum(&layout) <= room || room < 41);
        assert_int_equal(layout.columns[0].width, 17);
        assert_int_equal(sum(&layout), room < 41 ? 41 : room < 162 ? room : 162);
        if (room >= 60)
            assert_int_equal(layout.columns[1].width, 12);      /* the widest gives first */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widths),
        cmocka_unit_test(cuts),
        cmocka_unit_test(fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
