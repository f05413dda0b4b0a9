/* Provider webhooks at /hooks/<hook>, through the sandbox channel. */
#include "ask.h"

static const char *hook_of_sandbox(void)
{
    return text_of(must_ask(200, "GET /api/v1/channels/sandbox", world.admin, NULL), "hook_path");
}

static void what_comes_in_is_stored_before_the_answer(void **state)
{
    const char *line = path_of("POST %s", hook_of_sandbox());

    (void)state;
    assert_int_equal(ask(line, NULL, "{\"from\":\"+15550002\",\"text\":\"hello\",\"id\":\"a1\"}")->status, 200);
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages WHERE text = 'hello' AND direction = 0"), 1);
    assert_int_equal(world_number("SELECT COUNT(*) FROM events WHERE kind = 'message.received'"), 1);
    /* the same again is the same message */
    assert_int_equal(ask(line, NULL, "{\"from\":\"+15550002\",\"text\":\"hello\",\"id\":\"a1\"}")->status, 200);
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages"), 1);
}

/* What Android's SMS gateway sends: the MAC of body and timestamp. */
static struct answer *send_signed(const char *line, const char *key, const char *body)
{
    char stamp[24];
    unsigned char mac[SIGN_HASH_BYTES];

    snprintf(stamp, sizeof stamp, "%lld", (long long)time(NULL));
    sign_hmac_sha256(str_c(key), str_c(arena_printf(world.arena, "%s%s", body, stamp)), mac);
    return ask_with(line, NULL, body, arena_printf(world.arena, "X-Signature: %s\r\nX-Timestamp: %s\r\n",
                                                   sign_hex(world.arena, mac, sizeof mac), stamp));
}

static const char *line_of_phone(void)
{
    const struct json *channel = must_ask(201, "POST /api/v1/channels", world.admin,
        "{\"kind\":\"android\",\"name\":\"phone\",\"settings\":{\"signing_key\":\"sesame\"}}");

    return path_of("POST %s", text_of(channel, "hook_path"));
}

static void what_is_signed_but_not_understood_is_parked_once(void **state)
{
    static const char body[] = "{\"event\":\"sms:from-the-future\",\"deviceId\":\"d\",\"id\":\"1\",\"payload\":{}}";
    const char *line = line_of_phone();

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(send_signed(line, "sesame", body)->status, 200);
    assert_int_equal(world_number("SELECT COUNT(*) FROM parked WHERE source = 'hook'"), 1);
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages"), 0);
}

/* An edit that came before its message is refused and parked; once the message is there, a replay finds it. */
static void what_was_parked_can_be_replayed(void **state)
{
    const char *line = path_of("POST %s", hook_of_sandbox()), *id;
    const struct json *list;

    (void)state;
    assert_int_equal(ask(line, NULL, "{\"edit\":\"helloo\",\"id\":\"in-1\",\"from\":\"+15550002\"}")->status, 200);
    list = must_ask(200, "GET /api/v1/parked", world.admin, NULL);
    assert_int_equal(json_count(json_get(list, "items")), 1);
    id = text_of(json_item(json_get(list, "items"), 0), "id");
    assert_null(json_get(json_item(json_get(list, "items"), 0), "request"));
    assert_non_null(strstr(text_of(must_ask(200, path_of("GET /api/v1/parked/%s", id), world.admin, NULL), "content"),
                           "helloo"));
    must_refuse(409, "conflict", path_of("POST /api/v1/parked/%s/replay", id), world.admin, NULL);
    assert_int_equal(ask(line, NULL, "{\"from\":\"+15550002\",\"text\":\"hello\",\"id\":\"in-1\"}")->status, 200);
    must_ask(204, path_of("POST /api/v1/parked/%s/replay", id), world.admin, NULL);
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages WHERE text = 'helloo'"), 1);
    must_refuse(409, "conflict", path_of("POST /api/v1/parked/%s/replay", id), world.admin, NULL);
    assert_int_equal(world_number("SELECT COUNT(*) FROM parked WHERE replayed_ms > 0"), 1);
    must_ask(204, path_of("DELETE /api/v1/parked/%s", id), world.admin, NULL);
    must_refuse(404, "not_found", path_of("POST /api/v1/parked/%s/replay", id), world.admin, NULL);
    must_refuse(403, "forbidden", "GET /api/v1/parked", world_key(1, SCOPE_READ), NULL);
}

/* Signed at its time: hours later the signature still counts, and the driver still does not know the event. */
static void a_replay_is_judged_by_its_own_time(void **state)
{
    const char *id;
    const struct json *problem;

    (void)state;
    send_signed(line_of_phone(), "sesame", "{\"event\":\"sms:from-the-future\",\"deviceId\":\"d\",\"id\":\"1\"}");
    id = text_of(json_item(json_get(must_ask(200, "GET /api/v1/parked", world.admin, NULL), "items"), 0), "id");
    problem = must_ask(409, path_of("POST /api/v1/parked/%s/replay", id), world.admin, NULL);
    assert_non_null(strstr(text_of(problem, "detail"), "still not understood"));
    assert_int_equal(world_number("SELECT COUNT(*) FROM parked WHERE replayed_ms IS NULL"), 1);
    assert_int_equal(world_number("SELECT COUNT(*) FROM parked WHERE request IS NOT NULL"), 1);
}

static void a_wrong_signature_is_403_and_no_row(void **state)
{
    struct answer *answer = send_signed(line_of_phone(), "guess", "{\"event\":\"sms:received\",\"payload\":{}}");

    (void)state;
    assert_int_equal(answer->status, 403);
    assert_string_equal(text_of(json_of(answer), "code"), "forbidden");
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages"), 0);
    assert_int_equal(world_number("SELECT COUNT(*) FROM parked"), 0);
}

static void unknown_hooks_are_404(void **state)
{
    (void)state;
    must_refuse(404, "not_found", "POST /hooks/nobody-knows-this", NULL, "{}");
    must_refuse(404, "not_found", "GET /hooks/nobody-knows-this", NULL, NULL);
    must_refuse(404, "not_found", "POST /hooks/nobody-knows-this/below/it", NULL, "{}");
    assert_int_equal(world_number("SELECT COUNT(*) FROM parked"), 0);
}

static void a_disabled_channel_asks_for_patience(void **state)
{
    const char *line = path_of("POST %s", hook_of_sandbox());
    struct answer *answer;

    (void)state;
    must_ask(200, "POST /api/v1/channels/sandbox/disable", world.admin, NULL);
    answer = ask(line, NULL, "{\"from\":\"+15550002\",\"text\":\"hello\"}");
    assert_int_equal(answer->status, 503);
    assert_non_null(strstr(answer->head, "\r\nRetry-After: "));
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages"), 0);
    must_ask(200, "POST /api/v1/channels/sandbox/enable", world.admin, NULL);
    assert_int_equal(ask(line, NULL, "{\"from\":\"+15550002\",\"text\":\"hello\"}")->status, 200);
}

static void a_suspended_tenants_hooks_stop(void **state)
{
    const struct json *acme = must_ask(201, "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}");
    const char *token = text_of(acme, "token"), *id = text_of(acme, "id"), *line;

    (void)state;
    line = path_of("POST %s", text_of(must_ask(201, "POST /api/v1/channels", token,
                                               "{\"kind\":\"sandbox\",\"name\":\"theirs\"}"), "hook_path"));
    assert_int_equal(ask(line, NULL, "{\"from\":\"+15550002\",\"text\":\"hello\"}")->status, 200);
    must_ask(200, path_of("POST /api/v1/tenants/%s/suspend", id), world.admin, NULL);
    assert_int_equal(ask(line, NULL, "{\"from\":\"+15550002\",\"text\":\"again\"}")->status, 503);
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages WHERE tenant_id > 1"), 1);
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages WHERE tenant_id = 1"), 0);
}

static void hooks_show_only_to_managers(void **state)
{
    const struct json *row = must_ask(200, "GET /api/v1/channels/sandbox", world_key(1, SCOPE_READ), NULL);

    (void)state;
    assert_string_equal(text_of(row, "hook"), "");
    assert_string_equal(text_of(row, "hook_path"), "/hooks/");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        CASE(what_comes_in_is_stored_before_the_answer), CASE(what_is_signed_but_not_understood_is_parked_once),
        CASE(what_was_parked_can_be_replayed), CASE(a_replay_is_judged_by_its_own_time),
        CASE(unknown_hooks_are_404), CASE(a_disabled_channel_asks_for_patience), CASE(a_suspended_tenants_hooks_stop),
        CASE(hooks_show_only_to_managers), CASE(a_wrong_signature_is_403_and_no_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
