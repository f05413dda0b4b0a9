/* Twilio's signatures against vectors that Twilio's own library made, and its error numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "channels/lib/twilio.h"

#define TOKEN "0123456789abcdef0123456789abcdef"
#define FORM \
    "MessageSid=SM00000000000000000000000000000001&SmsSid=SM00000000000000000000000000000001&" \
    "AccountSid=AC00000000000000000000000000000001&From=%2B15551230001&To=%2B15551230002&" \
    "Body=h%C3%A9llo+%F0%9F%91%8B&NumMedia=0&NumSegments=1&FromCountry=US&ToCity="

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

static bool fits(const char *token, const char *url, const char *body, const char *signature)
{
    struct twilio_form form;

    assert_true(twilio_form_read(arena, str_c(body), &form));
    return twilio_signed(arena, token, url, &form, str_c(signature));
}

static void known_signatures_fit(void **state)
{
    const char *url = "https://hub.example.com/webhooks/twilio/1?src=a%20b";

    (void)state;
    assert_true(fits("12345", "https://mycompany.com/myapp.php?foo=1&bar=2",
                     "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&"
                     "To=%2B18005551212",
                     "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
    assert_true(fits(TOKEN, url, FORM, "RdSixe72FmQPqzfXk/8I3kT3zTE="));
    assert_true(fits(TOKEN, "https://hub.example.com/tw/status?mid=42",
                     "MessageSid=SM00000000000000000000000000000003&MessageStatus=delivered&To=%2B15551230001",
                     "yUcP4L0ga9qo6cYoPslqalmuy4w="));
    assert_true(fits(TOKEN,
                     "https://hub.example.com/json?bodySHA256="
                     "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
                     "", "jarLb0Q+MD9YfUzW4BlDGOAKIJ8="));
}

/* Signed with the port or without, whatever the hub was told. */
static void ports_may_be_written(void **state)
{
    const char *without = "https://hub.example.com/webhooks/twilio/1?src=a%20b";
    const char *with = "https://hub.example.com:443/webhooks/twilio/1?src=a%20b";

    (void)state;
    assert_true(fits(TOKEN, without, FORM, "bvWg/nkovxbO74N29yiJEzfq9+k="));
    assert_true(fits(TOKEN, with, FORM, "RdSixe72FmQPqzfXk/8I3kT3zTE="));
    assert_true(fits(TOKEN, with, FORM, "bvWg/nkovxbO74N29yiJEzfq9+k="));
    assert_false(fits(TOKEN, "https://hub.example.com:8443/webhooks/twilio/1?src=a%20b", FORM,
                      "bvWg/nkovxbO74N29yiJEzfq9+k="));
}

static void others_do_not_fit(void **state)
{
    const char *url = "https://hub.example.com/webhooks/twilio/1?src=a%20b", *right = "RdSixe72FmQPqzfXk/8I3kT3zTE=";

    (void)state;
    assert_false(fits("other", url, FORM, right));
    assert_false(fits("", url, FORM, right));
    assert_false(fits(NULL, url, FORM, right));
    assert_false(fits(TOKEN, url, FORM, ""));
    assert_false(fits(TOKEN, url, FORM, "RdSixe72FmQPqzfXk/8I3kT3zTE"));
    assert_false(fits(TOKEN, url, FORM "x", right));
    assert_false(fits(TOKEN, url, FORM "&New=1", right));
    assert_false(fits(TOKEN, "http://hub.example.com/webhooks/twilio/1?src=a%20b", FORM, right));
    assert_false(fits(TOKEN, "https://hub.example.org/webhooks/twilio/1?src=a%20b", FORM, right));
    assert_false(fits(TOKEN, "https://hub.example.com/webhooks/twilio/1?src=a+b", FORM, right));
    assert_false(fits(TOKEN, "https://hub.example.com/webhooks/twilio/1", FORM, right));
}

static void forms_are_read_leniently(void **state)
{
    static const char nul[] = "a=%00&b=\0x";
    struct twilio_form form;
    char many[TWILIO_PAIRS * 4 + 16] = "";

    (void)state;
    assert_true(twilio_form_read(arena, (struct str){ nul, sizeof nul - 1 }, &form));
    assert_int_equal(form.count, 2);
    assert_int_equal(twilio_form_get(&form, "a").len, 1);
    assert_int_equal(twilio_form_get(&form, "b").len, 2);
    assert_true(twilio_form_read(arena, STR("x=%zz&y&=1&&z=a=b%2"), &form));
    assert_true(str_is(twilio_form_get(&form, "x"), "%zz"));
    assert_true(str_is(twilio_form_get(&form, "y"), ""));
    assert_true(str_is(twilio_form_get(&form, ""), "1"));
    assert_true(str_is(twilio_form_get(&form, "z"), "a=b%2"));
    assert_null(twilio_form_get(&form, "w").data);
    for (int i = 0; i < TWILIO_PAIRS; i++)
        memcpy(many + strlen(many), "a=1&", 5);
    assert_true(twilio_form_read(arena, str_c(many), &form));
    memcpy(many + strlen(many), "b=1", 4);
    assert_false(twilio_form_read(arena, str_c(many), &form));
}

static void numbers_are_explained(void **state)
{
    (void)state;
    assert_int_equal(outcome_code_find(twilio_errors, 21610)->flags, OUTCOME_OPTED_OUT);
    assert_int_equal(outcome_code_find(twilio_errors, 30003)->outcome, SEND_RETRY);
    assert_int_equal(outcome_code_find(twilio_errors, 21655)->flags, OUTCOME_FAULT);
    assert_int_equal(outcome_code_find(twilio_errors, 21649)->flags, 0);
    for (int code = 0; code < 70000; code++) {
        const struct outcome_code *row = outcome_code_find(twilio_errors, code);

        assert_non_null(row->hint);
        assert_true(row->outcome == SEND_RETRY || row->outcome == SEND_REFUSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(known_signatures_fit, begin, end),
        cmocka_unit_test_setup_teardown(ports_may_be_written, begin, end),
        cmocka_unit_test_setup_teardown(others_do_not_fit, begin, end),
        cmocka_unit_test_setup_teardown(forms_are_read_leniently, begin, end),
        cmocka_unit_test(numbers_are_explained),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
