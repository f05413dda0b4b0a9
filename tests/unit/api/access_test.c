/* Who may do what: keys, scopes, tenants, the socket, one-time links, and what is written down of it. */
#include "ask.h"

#include <sys/un.h>

static int start_without_auth(void **state)
{
    *state = (void *)(uintptr_t)"--dev-no-auth=true";
    return world_start(state);
}

static const char *problem_of(struct answer *answer)
{
    /* everything but the request's own id must be equal */
    char *id = strstr(answer->body, "\"request_id\"");

    return arena_printf(world.arena, "%d %.*s", answer->status, id ? (int)(id - answer->body) : (int)answer->len,
                        answer->body);
}

/* --- Keys -------------------------------------------------------------------------------------------------------- */

static void health_is_open(void **state)
{
    (void)state;
    assert_string_equal(text_of(must_ask(200, "GET /livez", NULL, NULL), "status"), "ok");
    assert_string_equal(text_of(must_ask(200, "GET /readyz", NULL, NULL), "status"), "ready");
}

static void loopback_is_no_credential(void **state)
{
    (void)state;
    must_refuse(401, "unauthenticated", "GET /api/v1/keys", NULL, NULL);
    must_refuse(401, "unauthenticated", "GET /api/v1/keys", "", NULL);
    must_refuse(401, "unauthenticated", "GET /api/v1/keys", "mh_wrong", NULL);
    assert_non_null(strstr(ask("GET /api/v1/keys", NULL, NULL)->head, "WWW-Authenticate: Bearer"));
}

static void wrong_and_unknown_keys_look_alike(void **state)
{
    const char *near = arena_strdup(world.arena, world.admin);
    const char *unknown, *wrong;

    (void)state;
    ((char *)(uintptr_t)near)[40] = near[40] == 'A' ? 'B' : 'A';
    wrong = problem_of(ask("GET /api/v1/keys", near, NULL));
    unknown = problem_of(ask("GET /api/v1/keys", "mh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL));
    assert_string_equal(wrong, unknown);
}

static void no_key_is_stored(void **state)
{
    (void)state;
    assert_int_equal(world_number("SELECT COUNT(*) FROM keys WHERE prefix LIKE 'mh_%' AND length(prefix) = 11"), 2);
    assert_int_equal(world_number("SELECT COUNT(*) FROM keys WHERE length(hash) <> 32"), 0);
}

static void scopes_hold(void **state)
{
    const char *reads = world_key(1, SCOPE_READ);

    (void)state;
    must_ask(200, "GET /api/v1/channels", reads, NULL);
    must_refuse(403, "forbidden", "GET /api/v1/keys", reads, NULL);
    must_refuse(403, "forbidden", "POST /api/v1/channels", reads, "{\"kind\":\"sandbox\",\"name\":\"x\"}");
    assert_int_equal(world_number("SELECT COUNT(*) FROM channels"), 1);
}

static const struct json *make_key(const char *scope)
{
    return must_ask(201, "POST /api/v1/keys", world.admin, path_of("{\"name\":\"a\",\"scopes\":[\"%s\"]}", scope));
}

static void a_key_gives_no_more_than_it_has(void **state)
{
    const char *admin = world_key(1, SCOPE_ADMIN | SCOPE_READ);

    (void)state;
    must_ask(201, "POST /api/v1/keys", admin, "{\"name\":\"a\",\"scopes\":[\"read\"]}");
    must_refuse(403, "forbidden", "POST /api/v1/keys", admin, "{\"name\":\"a\",\"scopes\":[\"send\"]}");
    must_refuse(422, "invalid", "POST /api/v1/keys", admin, "{\"name\":\"a\",\"scopes\":[\"everything\"]}");
    /* nor by taking over a key that has more */
    must_refuse(403, "forbidden", path_of("POST /api/v1/keys/%s/rotate", text_of(make_key("send"), "id")), admin, "{}");
    assert_int_equal(world_number("SELECT COUNT(*) FROM keys WHERE replaced_by IS NOT NULL"), 0);
}

static void keys_are_made_and_revoked_at_once(void **state)
{
    const struct json *made = make_key("read");
    const char *token = text_of(made, "token"), *id = text_of(made, "id");

    (void)state;
    assert_int_equal(strlen(token), 46);
    must_ask(200, "GET /api/v1/keys/self", token, NULL);
    assert_int_equal(ask(path_of("DELETE /api/v1/keys/%s", id), world.admin, NULL)->status, 204);
    must_refuse(401, "unauthenticated", "GET /api/v1/keys/self", token, NULL);
    must_refuse(404, "not_found", path_of("DELETE /api/v1/keys/%s", id), world.admin, NULL);
    assert_int_equal(world_number("SELECT COUNT(*) FROM audit WHERE action = 'key.revoke'"), 1);
}

static void keys_expire(void **state)
{
    char body[200];
    const char *token;

    (void)state;
    snprintf(body, sizeof body, "{\"name\":\"a\",\"scopes\":[\"read\"],\"expires_at\":%lld}",
             (long long)time(NULL) * 1000 + 1500);
    token = text_of(must_ask(201, "POST /api/v1/keys", world.admin, body), "token");
    must_ask(200, "GET /api/v1/keys/self", token, NULL);
    pause_for(1600);
    must_refuse(401, "unauthenticated", "GET /api/v1/keys/self", token, NULL);
    must_refuse(422, "invalid", "POST /api/v1/keys", world.admin,
                "{\"name\":\"a\",\"scopes\":[\"read\"],\"expires_at\":1000}");
}

static void rotation_overlaps(void **state)
{
    const struct json *old = make_key("read");
    const struct json *fresh = must_ask(201, path_of("POST /api/v1/keys/%s/rotate", text_of(old, "id")), world.admin,
                                        "{\"overlap_s\":1}");

    (void)state;
    assert_string_equal(text_of(fresh, "name"), "a");
    must_ask(200, "GET /api/v1/keys/self", text_of(old, "token"), NULL);
    must_ask(200, "GET /api/v1/keys/self", text_of(fresh, "token"), NULL);
    must_refuse(403, "forbidden", "GET /api/v1/keys", text_of(fresh, "token"), NULL);
    pause_for(1100);
    must_refuse(401, "unauthenticated", "GET /api/v1/keys/self", text_of(old, "token"), NULL);
    must_ask(200, "GET /api/v1/keys/self", text_of(fresh, "token"), NULL);
    must_refuse(404, "not_found", path_of("POST /api/v1/keys/%s/rotate", text_of(old, "id")), world.admin, "{}");
}

static void use_is_noted_behind(void **state)
{
    int64_t used = 0;

    (void)state;
    must_ask(200, "GET /api/v1/keys/self", world.admin, NULL);
    for (int i = 0; i < 100 && used == 0; i++) {
        pause_for(10);
        used = world_number("SELECT COUNT(*) FROM keys WHERE last_used_ms IS NOT NULL");
    }
    assert_int_equal(used, 1);
}

static void the_link_works_once(void **state)
{
    const char *body = path_of("{\"token\":\"%s\"}", world.hub.link), *token;

    (void)state;
    must_refuse(401, "unauthenticated", "GET /api/v1/keys", world.hub.link, NULL);
    must_refuse(401, "unauthenticated", "POST /api/v1/keys/claim", NULL, path_of("{\"token\":\"%s\"}", world.admin));
    token = text_of(must_ask(201, "POST /api/v1/keys/claim", NULL, body), "token");
    must_ask(200, "GET /api/v1/keys", token, NULL);
    must_refuse(401, "unauthenticated", "POST /api/v1/keys/claim", NULL, body);
}

static void a_second_start_prints_no_link(void **state)
{
    (void)state;
    assert_int_equal(strlen(world.hub.link), 46);
    world_close();
    world_open();
    assert_string_equal(world.hub.link, "");
    must_ask(200, "GET /api/v1/keys", world.admin, NULL);
}

/* --- Tenants ----------------------------------------------------------------------------------------------------- */

static void tenants_are_apart(void **state)
{
    const struct json *acme = must_ask(201, "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}");
    const char *token = text_of(acme, "token");
    const struct json *device = must_ask(201, "POST /api/v1/devices", world.admin, "{\"name\":\"phone\"}");
    const char *foreign = path_of("GET /api/v1/devices/%s", text_of(device, "id")), *random, *seen;
    char id[ID_TEXT_BYTES];

    (void)state;
    must_ask(200, foreign, world.admin, NULL);
    seen = problem_of(ask(foreign, token, NULL));
    random = problem_of(ask(path_of("GET /api/v1/devices/%s", id_encode(id, ID_DEVICE, 123456789)), token, NULL));
    assert_string_equal(seen, random);
    assert_int_equal(atoi(seen), 404);
    assert_string_equal(problem_of(ask("GET /api/v1/devices/dev_zzzzzzzzzzzzz", token, NULL)), random);
    assert_string_equal(problem_of(ask("GET /api/v1/devices/nonsense", token, NULL)), random);
    must_refuse(404, "not_found", path_of("DELETE /api/v1/devices/%s", text_of(device, "id")), token, NULL);
    assert_int_equal(json_count(json_at(must_ask(200, "GET /api/v1/devices", token, NULL), "items")), 0);
    must_refuse(403, "forbidden", "GET /api/v1/tenants", token, NULL);
    must_refuse(403, "forbidden", "GET /metrics", token, NULL);
}

static void a_suspended_tenant_stops_at_once(void **state)
{
    const struct json *acme = must_ask(201, "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}");
    const char *token = text_of(acme, "token"), *id = text_of(acme, "id");

    (void)state;
    must_ask(200, "GET /api/v1/devices", token, NULL);
    acme = must_ask(200, path_of("POST /api/v1/tenants/%s/suspend", id), world.admin, NULL);
    assert_string_equal(text_of(acme, "state"), "suspended");
    must_refuse(401, "unauthenticated", "GET /api/v1/devices", token, NULL);
    must_ask(200, path_of("POST /api/v1/tenants/%s/resume", id), world.admin, NULL);
    must_ask(200, "GET /api/v1/devices", token, NULL);
    must_refuse(409, "conflict", "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}");
    assert_int_equal(world_number("SELECT COUNT(*) FROM keys WHERE tenant_id > 1"), 1);
}

static void the_operators_tenant_stays(void **state)
{
    char id[ID_TEXT_BYTES];

    (void)state;
    must_refuse(409, "conflict", path_of("POST /api/v1/tenants/%s/suspend", id_encode(id, ID_TENANT, 1)), world.admin,
                NULL);
}

/* --- The socket, and going without ------------------------------------------------------------------------------- */

static struct answer *ask_socket(const char *request)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct peer *peer = mem_alloc(sizeof *peer);
    struct answer *answer;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", world.socket);
    peer->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&address, sizeof address), 0);
    say(peer, request);
    answer = hear(peer, false);
    hang_up(peer);
    return answer;
}

static void the_sockets_owner_is_the_operator(void **state)
{
    (void)state;
    must_ask(201, "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}");
    assert_int_equal(ask_socket("GET /api/v1/keys HTTP/1.1\r\nHost: hub\r\n\r\n")->status, 200);
    assert_int_equal(json_count(json_at(json_of(ask_socket("GET /api/v1/channels HTTP/1.1\r\nHost: hub\r\n\r\n")),
                                        "items")), 1);
    assert_int_equal(json_count(json_at(json_of(ask_socket("GET /api/v1/channels?tenant=acme HTTP/1.1\r\nHost: hub"
                                                           "\r\n\r\n")), "items")), 0);
    assert_int_equal(json_count(json_at(json_of(ask_socket("GET /api/v1/keys HTTP/1.1\r\nHost: hub\r\n"
                                                           "X-Hub-Tenant: acme\r\n\r\n")), "items")), 1);
    assert_int_equal(ask_socket("GET /api/v1/keys?tenant=nobody HTTP/1.1\r\nHost: hub\r\n\r\n")->status, 422);
    /* a wrong key is not made good by the socket */
    assert_int_equal(ask_socket("GET /api/v1/keys HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer mh_x\r\n\r\n")->status,
                     401);
}

static void a_key_cannot_choose_its_tenant(void **state)
{
    const char *token;

    (void)state;
    token = text_of(must_ask(201, "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}"), "token");
    assert_int_equal(json_count(json_at(json_of(ask_with("GET /api/v1/channels", token, NULL,
                                                         "X-Hub-Tenant: default\r\n")), "items")), 0);
    must_refuse(422, "invalid", "GET /api/v1/channels?tenant=default", token, NULL);
}

static void development_goes_without_on_loopback(void **state)
{
    (void)state;
    must_ask(200, "GET /api/v1/keys", NULL, NULL);
    must_refuse(401, "unauthenticated", "GET /api/v1/keys", "mh_wrong", NULL);
    assert_int_equal(ask_with("GET /api/v1/keys", NULL, NULL, "Origin: https://evil.example\r\n")->status, 401);
    assert_int_equal(ask_with("GET /api/v1/keys", NULL, NULL, "Origin: http://localhost.evil.example\r\n")->status,
                     401);
    assert_int_equal(ask_with("GET /api/v1/keys", NULL, NULL, "Origin: http://localhost:5173\r\n")->status, 200);
}

static void refused_access_is_written_down(void **state)
{
    int64_t lines = 0;

    (void)state;
    must_refuse(403, "forbidden", "GET /api/v1/keys", world_key(1, SCOPE_READ), NULL);
    for (int i = 0; i < 100 && lines == 0; i++) {
        pause_for(10);
        lines = world_number("SELECT COUNT(*) FROM audit WHERE action = 'access.denied' AND tenant_id = 1 "
                             "AND object = 'key.list' AND actor LIKE 'key_%' AND peer = '127.0.0.1'");
    }
    assert_int_equal(lines, 1);
    assert_int_equal(json_count(json_at(must_ask(200, "GET /api/v1/audit?action=access.denied", world.admin, NULL),
                                        "items")), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        CASE(health_is_open), CASE(loopback_is_no_credential), CASE(wrong_and_unknown_keys_look_alike),
        CASE(no_key_is_stored), CASE(scopes_hold), CASE(a_key_gives_no_more_than_it_has),
        CASE(keys_are_made_and_revoked_at_once), CASE(keys_expire), CASE(rotation_overlaps), CASE(use_is_noted_behind),
        CASE(the_link_works_once), CASE(a_second_start_prints_no_link), CASE(tenants_are_apart),
        CASE(a_suspended_tenant_stops_at_once), CASE(the_operators_tenant_stays),
        CASE(the_sockets_owner_is_the_operator), CASE(a_key_cannot_choose_its_tenant),
        CASE(refused_access_is_written_down),
        cmocka_unit_test_setup_teardown(development_goes_without_on_loopback, start_without_auth, world_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
