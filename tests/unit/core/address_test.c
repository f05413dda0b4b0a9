#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "core/address.h"
#include "core/country.h"

static struct arena *arena;

static int begin(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void expect(const char *given, const char *region, const char *wanted)
{
    struct str got = address_phone(arena, str_c(given), region);

    if (!str_is(got, wanted))
        fail_msg("%s in %s: got %.*s, wanted %s", given, region ? region : "no region",
                 STR_FMT(got), wanted);
    if (!str_is(address_phone(arena, got, region), wanted))
        fail_msg("%s in %s: a second time gives another form", given,
                 region ? region : "no region");
}

/* The vectors of contracts/channels.md 8.4, made with libphonenumber. */
static void the_vectors_of_libphonenumber(void **state)
{
    (void)state;
    expect("+44 (0)20 7946 0958", "US", "+442079460958");
    expect("07911 123456", "GB", "+447911123456");
    expect("8 (912) 345-67-89", "RU", "+79123456789");
    expect("02 1234567", "IT", "+39021234567");
    expect("011 15-2345-6789", "AR", "+5491123456789");
    expect("22000", "US", "22000");
    expect("+521 55 1234 5678", "US", "+525512345678");
}

static void numbers_as_people_write_them(void **state)
{
    (void)state;
    expect("(415) 555-2671", "US", "+14155552671");
    expect("1-415-555-2671", "us", "+14155552671");
    expect("011 44 20 7946 0958", "US", "+442079460958");
    expect("00 49 170 1234567", "DE", "+491701234567");
    expect("0170/1234567", "DE", "+491701234567");
    expect("491701234567", "DE", "+491701234567");
    expect("+49 (0) 170 1234567", NULL, "+491701234567");
    expect("06 20 123 4567", "HU", "+36201234567");
    expect("347 1234567", "IT", "+393471234567");
    expect("391 1234567", "IT", "+393911234567");
    expect("612 345 678", "ES", "+34612345678");
    expect("138 0013 8000", "CN", "+8613800138000");
    expect("0412 345 678", "AU", "+61412345678");
    expect("0011 1 415 555 2671", "AU", "+14155552671");
    expect("810 49 170 1234567", "RU", "+491701234567");
    expect("\xe2\x80\xaa+1 415\xc2\xa0" "555\xe2\x80\x91" "2671\xe2\x80\xac", "US", "+14155552671");
    expect("\xd9\xa0\xd9\xa7\xd9\xa9\xd9\xa1\xd9\xa1 123456", "GB", "+447911123456");
    expect("\xef\xbc\x8b\xef\xbc\x98\xef\xbc\x91 90 1234 5678", "JP", "+819012345678");
}

static void what_is_no_whole_number_stays(void **state)
{
    (void)state;
    expect("555-0100", "US", "5550100");
    expect("1234567", "DE", "1234567");
    expect("10 086", "CN", "10086");
    expect("  BANK ", "US", "BANK");
    expect("1-800-FLOWERS", "US", "1-800-FLOWERS");
    expect("*100#", "US", "*100#");
    expect("+12", "US", "+12");
    expect("07911 123456", NULL, "07911123456");
    expect("07911 123456", "ZZ", "07911123456");
    expect("", "US", "");
    expect("+999 12345678", "US", "+99912345678");
    expect("1234567890123456789012345678901234567890", "US",
           "1234567890123456789012345678901234567890");
    expect(" Kim.Lee@Example.COM ", "US", "kim.lee@example.com");
}

static void other_addresses(void **state)
{
    (void)state;
    assert_true(str_is(address_other(arena, STR(" Kim@Example.Org ")), "kim@example.org"));
    assert_true(str_is(address_other(arena, STR("@Kim")), "@Kim"));
    assert_true(str_is(address_other(arena, STR("-1001234567890")), "-1001234567890"));
    assert_true(str_is(address_other(arena, STR(" User-7 ")), "User-7"));
}

static void complete_numbers_are_known(void **state)
{
    (void)state;
    assert_true(address_is_phone(STR("+14155552671")));
    assert_false(address_is_phone(STR("14155552671")));
    assert_false(address_is_phone(STR("+1415555267a")));
    assert_false(address_is_phone(STR("+12345")));
    assert_false(address_is_phone(STR("+1234567890123456")));
    assert_false(address_is_phone(STR("+0123456789")));
    assert_false(address_is_phone(STR("BANK")));
    assert_false(address_is_phone((struct str){ 0 }));
}

/* However a number was written, its form is stable: two forms of one person would be two people. */
static void any_text_has_one_stable_form(void **state)
{
    static const char alphabet[] = "0011234567890156+ ()-./x@";
    static const char *const regions[] = { "US", "DE", "GB", "IT", "AR", "MX",
                                           "RU", "HU", "ES", "CI", "AU", NULL };
    unsigned seed = 7;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        char text[24];
        size_t length = 1 + (size_t)rand_r(&seed) % (sizeof text - 2);
        const char *region = regions[rand_r(&seed) % 12];
        struct str once, twice;

        for (size_t i = 0; i < length; i++)
            text[i] = alphabet[rand_r(&seed) % (sizeof alphabet - 1)];
        text[length] = '\0';
        once = address_phone(arena, str_c(text), region);
        twice = address_phone(arena, once, region);
        if (!str_eq(once, twice))
            fail_msg("\"%s\" in %s: %.*s, then %.*s", text, region ? region : "none", STR_FMT(once),
                     STR_FMT(twice));
        if (round % 1000 == 0)
            arena_reset(arena);
    }
}

static void countries_are_consistent(void **state)
{
    static const char *const regions[] = { "US", "RU", "IT", "DE", "CI", "HK", NULL };

    (void)state;
    for (int i = 0; regions[i]; i++) {
        const struct country *country = country_find(regions[i]);

        assert_non_null(country);
        assert_true(country->shortest <= country->longest);
        assert_true(strlen(country->code) + country->longest <= 15);
        assert_string_equal(country_of_number(country->code)->code, country->code);
    }
    assert_null(country_find("XX"));
    assert_null(country_find(NULL));
    assert_null(country_of_number("999"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_vectors_of_libphonenumber, begin, end),
        cmocka_unit_test_setup_teardown(numbers_as_people_write_them, begin, end),
        cmocka_unit_test_setup_teardown(what_is_no_whole_number_stays, begin, end),
        cmocka_unit_test_setup_teardown(other_addresses, begin, end),
        cmocka_unit_test_setup_teardown(complete_numbers_are_known, begin, end),
        cmocka_unit_test_setup_teardown(any_text_has_one_stable_form, begin, end),
        cmocka_unit_test(countries_are_consistent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
