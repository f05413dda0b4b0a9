#include "base/arena.h"
#include "core/agent.h"
#include "core/channel.h"
#include "core/split.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

const struct channel_driver *const channel_drivers[] = { NULL };
const struct agent_driver *const agent_drivers[] = { NULL };

#define SMILE "\xf0\x9f\x98\x80"
#define EURO "\xe2\x82\xac"

/* "a*160" as text: `count` times `piece`. */
static struct str times(struct arena *arena, const char *piece, int count)
{
    size_t size = strlen(piece);
    char *out = arena_alloc(arena, size * (size_t)count + 1);

    for (int i = 0; i < count; i++)
        memcpy(out + size * (size_t)i, piece, size);
    return (struct str){ out, size * (size_t)count };
}

/* The vectors of contracts/channels.md 8.3. */
static void counts_segments_as_carriers_do(void **state)
{
    struct arena *arena = arena_new(0);
    const struct {
        const char *a;
        int a_count;
        const char *b;
        int b_count;
        const char *c;
        int c_count;
        const char *encoding;
        int segments, last;
    } vectors[] = {
        { "a", 160, "", 0, "", 0, "GSM-7", 1, 160 },
        { "a", 161, "", 0, "", 0, "GSM-7", 2, 8 },
        { "a", 306, "", 0, "", 0, "GSM-7", 2, 153 },
        { "a", 307, "", 0, "", 0, "GSM-7", 3, 1 },
        { EURO, 80, "", 0, "", 0, "GSM-7", 1, 160 },
        { EURO, 81, "", 0, "", 0, "GSM-7", 2, 10 },
        { "a", 152, EURO, 1, "a", 10, "GSM-7", 2, 12 },
        { "\xc3\xa9", 70, "", 0, "", 0, "GSM-7", 1, 70 },
        { "\xc3\xb1", 160, "", 0, "", 0, "GSM-7", 1, 160 },
        { "\xc3\x87", 160, "", 0, "", 0, "GSM-7", 1, 160 },
        { "\xc3\xa7", 70, "", 0, "", 0, "UCS-2", 1, 70 },
        { "\xc3\xa7", 71, "", 0, "", 0, "UCS-2", 2, 4 },
        { SMILE, 35, "", 0, "", 0, "UCS-2", 1, 70 },
        { SMILE, 36, "", 0, "", 0, "UCS-2", 2, 6 },
        { "a", 69, SMILE, 1, "", 0, "UCS-2", 2, 4 },
        { "a", 66, SMILE, 1, "a", 66, "UCS-2", 3, 1 },
        { "it\xe2\x80\x99s", 1, "", 0, "", 0, "UCS-2", 1, 4 },
        { "a\r\nb", 1, "", 0, "", 0, "GSM-7", 1, 4 },
        { "{}[]~^\\|", 1, "", 0, "", 0, "GSM-7", 1, 16 },
        { "`", 1, "", 0, "", 0, "UCS-2", 1, 1 },
        { "\t", 1, "", 0, "", 0, "UCS-2", 1, 1 },
        { "@\xc2\xa3$\xc2\xa5\xc3\xa8\xc3\xa9\xc3\xb9\xc3\xac\xc3\xb2\xce\x94_\xce\xa9", 1, "", 0,
          "", 0, "GSM-7", 1, 12 },
        { "", 0, "", 0, "", 0, "GSM-7", 1, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct str a = times(arena, vectors[i].a, vectors[i].a_count);
        struct str b = times(arena, vectors[i].b, vectors[i].b_count);
        struct str c = times(arena, vectors[i].c, vectors[i].c_count);
        const char *all = arena_printf(arena, "%.*s%.*s%.*s", STR_FMT(a), STR_FMT(b), STR_FMT(c));
        struct split_segments got = split_segments(str_c(all));

        assert_string_equal(got.encoding, vectors[i].encoding);
        assert_int_equal(got.segments, vectors[i].segments);
        assert_int_equal(got.last_units, vectors[i].last);
    }
    arena_free(arena);
}

/* Whatever the text, its parts put together are the text, none is too long, none tears a character.
 */
static void parts_add_up_to_the_text(void **state)
{
    static const char *const pieces[] = {
        "word ", "x",           SMILE, "e\xcc\x81", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb",
        "\n",    "\xe3\x81\x82"
    };
    struct channel_driver driver = { .text_max = 40 };
    struct arena *arena = arena_new(0);
    uint32_t random = 1;

    (void)state;
    for (int round = 0; round < 300; round++) {
        char text[2000] = "";
        size_t len = 0, total = 0;
        struct str rest, part;
        int count = 0;

        for (int i = 0; i < round % 90; i++) {
            random = random * 1664525 + 1013904223;
            len += (size_t)snprintf(text + len, sizeof text - len, "%s",
                                    pieces[random >> 16 & 7 ? (random >> 20) % 7 : 0]);
        }
        driver.can = round & 1 ? CHANNEL_CAN_UTF16 : 0;
        rest = (struct str){ text, len };
        while (split_next(&driver, &rest, &part)) {
            size_t units = driver.can ? str_utf16_length(part) : str_utf8_length(part);

            assert_true(units <= 40);
            assert_true(part.data == text + total);
            assert_true(str_utf8_valid(part));
            assert_true(str_eq(split_part(&driver, (struct str){ text, len }, count), part));
            total += part.len;
            count++;
        }
        assert_int_equal(total, len);
        assert_int_equal(count, split_count(&driver, (struct str){ text, len }));
        assert_true(count >= 1);
    }
    driver.text_max = 0;
    assert_int_equal(split_count(&driver, times(arena, "long ", 10000)), 1);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_segments_as_carriers_do),
        cmocka_unit_test(parts_add_up_to_the_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
