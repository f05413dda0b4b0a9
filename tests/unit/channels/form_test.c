/* Requests and signatures that channels share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "channels/lib/form.h"
#include "channels/lib/outcome.h"
#include "net/script.h"

static struct arena *arena;
static const struct channel channel = { .id = 1, .tenant_id = 9, .name = "test" };

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

static void a_form_is_encoded(void **state)
{
    struct script *script = script_new();
    const struct exchange_request *request;
    struct exchange_reply reply;
    struct form form;

    (void)state;
    script_add(script,
               &(struct script_step){ .method = HTTP_POST,
                                      .url = "http://p.test/base/send",
                                      .status = 200,
                                      .body = "{\"id\":\"7\"}" });
    form_begin(&form, arena, &channel, "http://p.test/base//", "/send");
    form_bearer(&form, "t0ken");
    form_add(&form, "to", STR("+1 555"));
    form_add(&form, "text", STR("a&b=c 100% \xc3\xa9"));
    form_run(&form, script_exchange(script), 1500, &reply);
    request = script_request(script, 0);
    assert_int_equal(request->timeout_ms, 1500);
    assert_int_equal(request->tenant_id, 9);
    assert_int_equal(request->egress, EGRESS_CHANNEL);
    assert_true(str_is(request->body, "to=%2B1%20555&text=a%26b%3Dc%20100%25%20%C3%A9"));
    assert_true(str_is(exchange_request_header(request, "authorization"), "Bearer t0ken"));
    assert_true(str_is(exchange_request_header(request, "content-type"),
                       "application/x-www-form-urlencoded"));
    assert_int_equal(request->header_count, 2);
    assert_true(str_is(json_text(json_get(form_answer(&form, &reply), "id")), "7"));
    script_free(script);
}

/* Bytes of any kind arrive; names cannot end a header; the boundary stands in no part. */
static void files_are_parts(void **state)
{
    static const char bytes[] = "a\0b\r\n--part-\xff";
    const struct send_attachment file = { .name = "a\"b\r\nX: y.png", .type = "image/png",
                                          .data = { bytes, sizeof bytes - 1 } };
    const struct send_attachment bare = { .type = "text/plain\r\nX: y", .data = { "", 0 } };
    const struct exchange_request *request;
    struct script *script = script_new();
    struct exchange_reply reply;
    struct str type;
    struct form form;
    const char *boundary;
    struct buf wanted;

    (void)state;
    script_add(script, &(struct script_step){ .method = HTTP_POST, .url = "http://p.test/up", .status = 200 });
    form_begin(&form, arena, &channel, "http://p.test", "/up");
    form_value(&form, "type", STR("image/png"));
    form_file(&form, "file", &file);
    form_file(&form, "empty", &bare);
    form_run(&form, script_exchange(script), 0, &reply);
    request = script_request(script, 0);
    type = exchange_request_header(request, "content-type");
    assert_true(str_starts(type, "multipart/form-data; boundary=part-"));
    boundary = str_dup(arena, type) + strlen("multipart/form-data; boundary=");
    buf_init(&wanted, 4096);
    buf_printf(&wanted, "--%s\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\nimage/png\r\n", boundary);
    buf_printf(&wanted, "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%%22b%%0D%%0AX: y.png\"\r\n"
               "Content-Type: image/png\r\n\r\n", boundary);
    buf_add(&wanted, bytes, sizeof bytes - 1);
    buf_printf(&wanted, "\r\n--%s\r\nContent-Disposition: form-data; name=\"empty\"; filename=\"file\"\r\n"
               "Content-Type: application/octet-stream\r\n\r\n\r\n--%s--\r\n", boundary, boundary);
    assert_true(str_eq(request->body, buf_slice(&wanted)));
    assert_null(memmem(bytes, sizeof bytes, boundary, strlen(boundary)));
    buf_fini(&wanted);
    script_free(script);
}

static void basic_without_password(void **state)
{
    struct form form;

    (void)state;
    form_begin(&form, arena, &channel, "http://p.test", "/");
    form_basic(&form, "user", NULL);
    assert_true(str_is(form.headers[0].value, "Basic dXNlcjo="));
    assert_string_equal(form.request.url, "http://p.test/");
    assert_int_equal(form.request.method, HTTP_GET);
}

static void signatures(void **state)
{
    const struct str parts[] = { STR("what do ya want "), STR("for nothing?") };
    const char *right =
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"; /* RFC 4231, 2 */

    (void)state;
    assert_true(form_signed(arena, "Jefe", parts, 2, str_c(right)));
    assert_false(form_signed(arena, "jefe", parts, 2, str_c(right)));
    assert_false(form_signed(arena, "Jefe", parts, 1, str_c(right)));
    assert_false(form_signed(arena, "", parts, 2, str_c(right)));
    assert_false(form_signed(arena, NULL, parts, 2, str_c(right)));
    assert_false(form_signed(arena, "Jefe", parts, 2, (struct str){ 0 }));
    assert_false(form_signed(arena, "Jefe", parts, 2, STR("")));
    assert_false(
        form_signed(arena, "Jefe", parts, 2,
                    STR("5BDCC146BF60754E6A042426089575C75A003F089D2739839DEC58B964EC3843")));
}

static void signed_times_have_a_window(void **state)
{
    struct err err = { 0 };

    (void)state;
    assert_int_equal(form_fresh(STR("1000"), 1000 * 1000, &err), 0);
    assert_int_equal(form_fresh(STR("1000"), 1300 * 1000, &err), 0);
    assert_int_equal(form_fresh(STR("1300"), 1000 * 1000, &err), 0);
    assert_int_equal(form_fresh(STR("1000"), 1301 * 1000, &err), -1);
    assert_int_equal(err.code, ERR_FORBIDDEN);
    assert_non_null(strstr(err.detail, "301 seconds"));
    assert_int_equal(form_fresh(STR("1301"), 1000 * 1000, &err), -1);
    assert_int_equal(form_fresh(STR("-1"), 1000, &err), -1);
    assert_int_equal(form_fresh(STR("1000 "), 1000 * 1000, &err), -1);
    assert_int_equal(form_fresh(STR("99999999999999999999"), 1000, &err), -1);
    assert_int_equal(form_fresh((struct str){ 0 }, 1000, &err), -1);
}

/* What a provider's documents promise is believed of 5xx alone. */
static void promised_5xx_is_tried_again(void **state)
{
    const struct send_job job = { .arena = arena };
    struct exchange_reply reply = { .end = EXCHANGE_ANSWERED, .status = 503, .retry_after_s = 4 };
    struct send_result result = { 0 };

    (void)state;
    assert_int_equal(outcome_of(&job, &reply, OUTCOME_5XX_NOT_SENT, &result), SEND_RETRY);
    assert_int_equal(result.retry_after_s, 4);
    assert_true(result.channel_fault);
    reply = (struct exchange_reply){ .end = EXCHANGE_UNKNOWN };
    result = (struct send_result){ .code = STR("mine"), .hint = STR("said") };
    assert_int_equal(outcome_of(&job, &reply, OUTCOME_5XX_NOT_SENT, &result), SEND_UNSURE);
    assert_true(str_is(result.code, "mine"));
    assert_true(str_is(result.hint, "said"));
    reply = (struct exchange_reply){ .end = EXCHANGE_ANSWERED, .status = 408 };
    assert_int_equal(outcome_of(&job, &reply, OUTCOME_PLAIN, &result), SEND_RETRY);
    reply.status = 204;
    assert_int_equal(outcome_of(&job, &reply, OUTCOME_PLAIN, &result), SEND_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_form_is_encoded, begin, end),
        cmocka_unit_test_setup_teardown(files_are_parts, begin, end),
        cmocka_unit_test_setup_teardown(basic_without_password, begin, end),
        cmocka_unit_test_setup_teardown(signatures, begin, end),
        cmocka_unit_test_setup_teardown(signed_times_have_a_window, begin, end),
        cmocka_unit_test_setup_teardown(promised_5xx_is_tried_again, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
