#include "base/arena.h"
#include "base/id.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MANY 100000

static const unsigned char key[16] = "sixteen bytes...";

static void round_trips(void **state)
{
    static const int64_t ids[] = { 1,         2,        255, 65536, 1LL << 32, (1LL << 32) - 1,
                                   1LL << 53, INT64_MAX };
    char text[ID_TEXT_BYTES];
    int64_t id;

    (void)state;
    for (size_t at = 0; at < sizeof ids / sizeof *ids; at++) {
        id_encode(text, ID_MESSAGE, ids[at]);
        assert_int_equal(strlen(text), 17);
        assert_true(id_decode(ID_MESSAGE, str_c(text), &id));
        assert_int_equal(id, ids[at]);
    }
    assert_string_equal(id_encode(text, ID_MESSAGE, 0), "");
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, ID_TEXT_BYTES);
}

static void is_unique(void **state)
{
    char (*texts)[ID_TEXT_BYTES] = calloc(MANY, sizeof *texts);
    int64_t id;

    (void)state;
    for (int64_t number = 1; number <= MANY; number++) {
        id_encode(texts[number - 1], ID_CONTACT, number);
        assert_true(id_decode(ID_CONTACT, str_c(texts[number - 1]), &id));
        assert_int_equal(id, number);
    }
    qsort(texts, MANY, sizeof *texts, compare);
    for (size_t at = 1; at < MANY; at++)
        assert_string_not_equal(texts[at - 1], texts[at]);
    free(texts);
}

/* Neighbours share no visible order: about half of the low bits differ. */
static void hides_volume(void **state)
{
    char one[ID_TEXT_BYTES], two[ID_TEXT_BYTES];
    int same = 0;

    (void)state;
    for (int64_t number = 1; number <= 1000; number++) {
        id_encode(one, ID_MESSAGE, number);
        id_encode(two, ID_MESSAGE, number + 1);
        for (int at = 5; at < 17; at++)
            same += one[at] == two[at];
    }
    assert_in_range(same, 200, 600);    /* 12,000 places, one in 32 alike */
}

static void refuses(void **state)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    char text[ID_TEXT_BYTES], wrong[ID_TEXT_BYTES];
    int64_t id = 77, other;

    (void)state;
    id_encode(text, ID_MESSAGE, 12345);
    assert_false(id_decode(ID_CONTACT, str_c(text), &id));
    assert_false(id_decode(ID_MESSAGE, (struct str){ text, 16 }, &id));
    assert_false(id_decode(ID_MESSAGE, (struct str){ text, 18 }, &id));
    assert_false(id_decode(ID_MESSAGE, STR(""), &id));
    assert_false(id_decode(ID_MESSAGE, (struct str){ 0 }, &id));
    assert_false(id_decode("ms", str_c(text), &id));
    for (const char *foreign = "ilouABCZ-_ \x80"; *foreign; foreign++) {
        memcpy(wrong, text, sizeof wrong);
        wrong[9] = *foreign;
        assert_false(id_decode(ID_MESSAGE, str_c(wrong), &id));
    }
    memcpy(wrong, text, sizeof wrong);
    wrong[9] = '\0';
    assert_false(id_decode(ID_MESSAGE, (struct str){ wrong, 17 }, &id));
    /* one number has one text: the same with the 65th bit set is refused */
    memcpy(wrong, text, sizeof wrong);
    wrong[4] = alphabet[(strchr(alphabet, text[4]) - alphabet) + 16];
    assert_false(id_decode(ID_MESSAGE, str_c(wrong), &id));
    assert_int_equal(id, 77);
    /* under another prefix the same characters are another number */
    memcpy(wrong, text, sizeof wrong);
    memcpy(wrong, ID_CONTACT, 3);
    assert_true(!id_decode(ID_CONTACT, str_c(wrong), &other) || other != 12345);
}

static void depends_on_the_key(void **state)
{
    static const unsigned char other_key[16] = "another 16 bytes";
    char one[ID_TEXT_BYTES], two[ID_TEXT_BYTES];

    (void)state;
    id_encode(one, ID_MESSAGE, 1);
    id_install_key(other_key);
    id_encode(two, ID_MESSAGE, 1);
    id_install_key(key);
    assert_string_not_equal(one, two);
    id_encode(two, ID_MESSAGE, 1);
    assert_string_equal(one, two);
}

static void count_up(void *out, size_t size)
{
    memset(out, 0xff, size);
}

static void draws(void **state)
{
    struct arena *arena = arena_new(0);
    unsigned char bytes[32] = { 0 }, none[32] = { 0 };
    int seen[10] = { 0 };
    const char *token;

    (void)state;
    id_random(bytes, sizeof bytes);
    assert_memory_not_equal(bytes, none, sizeof bytes);
    for (int round = 0; round < 10000; round++)
        seen[id_random_below(10)]++;
    for (int at = 0; at < 10; at++)
        assert_in_range(seen[at], 800, 1200);
    assert_int_equal(id_random_below(1), 0);
    token = id_token(arena, "mh_", 32);
    assert_int_equal(strlen(token), 3 + 43);
    assert_memory_equal(token, "mh_", 3);
    assert_string_not_equal(token, id_token(arena, "mh_", 32));
    id_install_random(count_up);
    assert_int_equal(id_random_below(7), 6);
    assert_string_equal(id_token(arena, "x", 3), "x____");
    id_install_random(NULL);
    assert_string_not_equal(id_token(arena, "x", 16), id_token(arena, "x", 16));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(is_unique),
        cmocka_unit_test(hides_volume),
        cmocka_unit_test(refuses),
        cmocka_unit_test(depends_on_the_key),
        cmocka_unit_test(draws),
    };

    id_install_key(key);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
