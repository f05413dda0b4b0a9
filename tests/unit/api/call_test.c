/* What a call is read from and refused for, methods, lists and their cursors, and doing a thing once. */
#include "ask.h"

#include <pthread.h>

static const struct json *make_device(const char *name)
{
    return must_ask(201, "POST /api/v1/devices", world.admin, path_of("{\"name\":\"%s\"}", name));
}

static struct answer *make_with(const char *idempotency_key, const char *body)
{
    return ask_with("POST /api/v1/devices", world.admin, body,
                    path_of("Idempotency-Key: %s\r\n", idempotency_key));
}

/* --- Paths and methods ------------------------------------------------------------------------------------------- */

static void unknown_paths_are_404_with_a_hint(void **state)
{
    const struct json *problem = must_ask(404, "GET /api/v1/chanels", world.admin, NULL);

    (void)state;
    assert_non_null(strstr(text_of(problem, "hint"), "/api/v1/channels"));
    must_refuse(404, "not_found", "GET /api/v1/channels/", NULL, NULL);
    must_refuse(404, "not_found", "GET /", NULL, NULL);
}

static void methods_are_told(void **state)
{
    struct answer *answer = ask("PUT /api/v1/devices", world.admin, "{}");

    (void)state;
    assert_int_equal(answer->status, 405);
    assert_non_null(strstr(answer->head, "\r\nAllow: OPTIONS, GET, HEAD, POST\r\n"));
    answer = ask("OPTIONS /api/v1/devices", NULL, NULL);
    assert_int_equal(answer->status, 204);
    assert_non_null(strstr(answer->head, "\r\nAllow: OPTIONS, GET, HEAD, POST\r\n"));
    answer = ask("HEAD /api/v1/devices", world.admin, NULL);
    assert_int_equal(answer->status, 200);
    assert_int_equal(answer->len, 0);
}

static void answers_have_their_headers(void **state)
{
    struct answer *answer = ask_with("GET /livez", NULL, NULL, "X-Request-Id: abc-123\r\n");

    (void)state;
    assert_non_null(strstr(answer->head, "\r\nX-Request-Id: abc-123\r\n"));
    assert_non_null(strstr(answer->head, "\r\nX-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(answer->head, "\r\nCache-Control: no-store\r\n"));
    answer = ask("GET /nowhere", NULL, NULL);
    assert_non_null(strstr(answer->head, "\r\nContent-Type: application/problem+json"));
}

/* --- Fields ------------------------------------------------------------------------------------------------------ */

static void names_the_field(const char *field, const char *what, const char *body)
{
    const struct json *problem = must_ask(422, what, world.admin, body);

    assert_string_equal(text_of(problem, "code"), "invalid");
    assert_string_equal(text_of(problem, "field"), field);
    assert_non_null(text_of(problem, "hint"));
}

static void bodies_are_checked(void **state)
{
    (void)state;
    names_the_field("name", "POST /api/v1/devices", "{}");
    names_the_field("name", "POST /api/v1/devices", "{\"name\":5}");
    names_the_field("nmae", "POST /api/v1/devices", "{\"nmae\":\"x\"}");
    names_the_field("limit", "POST /api/v1/devices?limit=1", "{\"name\":\"x\"}");
    names_the_field("name", "POST /api/v1/devices?name=x", "{\"name\":\"x\"}");
    must_refuse(400, "malformed", "POST /api/v1/devices", world.admin, "{\"name\":");
    must_refuse(400, "malformed", "POST /api/v1/devices", world.admin, "{\"name\":\"a\",\"name\":\"b\"}");
    must_refuse(400, "malformed", "POST /api/v1/devices", world.admin, "{\"name\":\"\xff\"}");
    must_refuse(422, "invalid", "POST /api/v1/devices", world.admin, "[]");
    assert_int_equal(world_number("SELECT COUNT(*) FROM devices"), 0);
}

static void only_json_is_read(void **state)
{
    struct peer *peer = dial(world.server);
    struct answer *answer;

    (void)state;
    say(peer, path_of("POST /api/v1/devices HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer %s\r\n"
                      "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 6\r\n\r\nname=x",
                      world.admin));
    answer = hear(peer, false);
    assert_int_equal(answer->status, 415);
    assert_non_null(strstr(answer->body, "application/json"));
    hang_up(peer);
}

static void queries_are_checked(void **state)
{
    (void)state;
    names_the_field("limit", "GET /api/v1/devices?limit=0", NULL);
    names_the_field("limit", "GET /api/v1/devices?limit=501", NULL);
    names_the_field("limit", "GET /api/v1/devices?limit=1&limit=2", NULL);
    names_the_field("limt", "GET /api/v1/devices?limt=1", NULL);
    must_refuse(400, "malformed", "GET /api/v1/devices", world.admin, "{}");
}

static void large_bodies_are_413(void **state)
{
    size_t len = LIMIT_JSON_BYTES;
    char *body = mem_alloc(len + 20);

    (void)state;
    memset(body, 'x', len + 10);
    memcpy(body, "{\"name\":\"", 9);
    memcpy(body + len + 10, "\"}", 3);
    must_refuse(413, "too_large", "POST /api/v1/devices", world.admin, body);
    free(body);
}

/* --- Lists ------------------------------------------------------------------------------------------------------- */

static void lists_page(void **state)
{
    const char *names[] = { "a", "b", "c", "d", "e" }, *next = NULL;
    char seen[16] = "";

    (void)state;
    for (size_t i = 0; i < 5; i++)
        make_device(names[i]);
    for (int page = 0; page < 3; page++) {
        const struct json *list = must_ask(200, next ? path_of("GET /api/v1/devices?limit=2&cursor=%s", next)
                                                     : "GET /api/v1/devices?limit=2", world.admin, NULL);
        const struct json *items = json_at(list, "items");

        assert_int_equal(json_count(items), page < 2 ? 2 : 1);
        for (size_t i = 0; i < json_count(items); i++)
            strncat(seen, text_of(json_item(items, i), "name"), 1);
        next = text_of(list, "next");
        assert_true((next != NULL) == (page < 2));
    }
    assert_string_equal(seen, "abcde");
}

static void cursors_are_not_guessed(void **state)
{
    const char *token, *next, *changed;

    (void)state;
    make_device("a");
    make_device("b");
    next = text_of(must_ask(200, "GET /api/v1/devices?limit=1", world.admin, NULL), "next");
    changed = arena_strdup(world.arena, (char *)(uintptr_t)next);
    ((char *)(uintptr_t)changed)[5] = changed[5] == 'A' ? 'B' : 'A';
    names_the_field("cursor", path_of("GET /api/v1/devices?cursor=%s", changed), NULL);
    names_the_field("cursor", "GET /api/v1/devices?cursor=nonsense", NULL);
    must_refuse(400, "malformed", "GET /api/v1/devices?cursor=%00", world.admin, NULL);
    /* of another list, and of another tenant */
    names_the_field("cursor", path_of("GET /api/v1/keys?cursor=%s", next), NULL);
    token = text_of(must_ask(201, "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}"), "token");
    must_refuse(422, "invalid", path_of("GET /api/v1/devices?cursor=%s", next), token, NULL);
}

/* --- Once -------------------------------------------------------------------------------------------------------- */

static void the_same_request_is_done_once(void **state)
{
    struct answer *answer = make_with("k1", "{\"name\":\"a\"}");
    const char *first;

    (void)state;
    assert_int_equal(answer->status, 201);
    first = arena_printf(world.arena, "%.*s", (int)answer->len, answer->body);
    answer = make_with("k1", "{\"name\":\"a\"}");
    assert_int_equal(answer->status, 201);
    assert_non_null(strstr(answer->head, "\r\nIdempotent-Replayed: true\r\n"));
    assert_string_equal(arena_printf(world.arena, "%.*s", (int)answer->len, answer->body), first);
    assert_int_equal(world_number("SELECT COUNT(*) FROM devices"), 1);
    /* the answer holds a key: what is stored must not */
    assert_int_equal(world_number("SELECT COUNT(*) FROM idempotency WHERE answer LIKE '%\"token\"%'"), 0);
    assert_int_equal(world_number("SELECT COUNT(*) FROM idempotency"), 1);
}

static void another_request_under_the_same_key_is_refused(void **state)
{
    struct answer *answer;

    (void)state;
    assert_int_equal(make_with("k1", "{\"name\":\"a\"}")->status, 201);
    answer = make_with("k1", "{\"name\":\"b\"}");
    assert_int_equal(answer->status, 422);
    assert_string_equal(text_of(json_of(answer), "code"), "idempotency_key_reused");
    assert_int_equal(make_with("k2", "{\"name\":\"b\"}")->status, 201);
    assert_int_equal(ask_with("POST /api/v1/devices", world.admin, "{\"name\":\"c\"}", "Idempotency-Key: \r\n")->status,
                     422);
}

static void a_refusal_is_not_remembered(void **state)
{
    (void)state;
    assert_int_equal(make_with("k1", "{\"name\":\"a\",\"channel\":\"later\"}")->status, 422);
    must_ask(201, "POST /api/v1/channels", world.admin, "{\"kind\":\"sandbox\",\"name\":\"later\"}");
    assert_int_equal(make_with("k1", "{\"name\":\"a\",\"channel\":\"later\"}")->status, 201);
}

struct twins {
    pthread_t threads[8];
    int created, replayed, other;
    pthread_mutex_t lock;
};

static void *twin(void *arg)
{
    static const char body[] = "{\"name\":\"twin\"}";
    struct twins *twins = arg;
    struct peer *peer = dial(world.server);
    char request[600];

    snprintf(request, sizeof request, "POST /api/v1/devices HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\nIdempotency-Key: twin\r\nContent-Length: %zu\r\n\r\n%s", world.admin,
             strlen(body), body);
    say(peer, request);
    while (!strstr(peer->bytes, "\r\n\r\n") && hear_more(peer))
        continue;
    pthread_mutex_lock(&twins->lock);
    if (!strncmp(peer->bytes, "HTTP/1.1 201", 12))
        *(strstr(peer->bytes, "Idempotent-Replayed") ? &twins->replayed : &twins->created) += 1;
    else
        twins->other++;
    pthread_mutex_unlock(&twins->lock);
    hang_up(peer);
    return NULL;
}

static void twins_at_once_are_one(void **state)
{
    struct twins twins = { .lock = PTHREAD_MUTEX_INITIALIZER };

    (void)state;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&twins.threads[i], NULL, twin, &twins), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(twins.threads[i], NULL);
    assert_int_equal(twins.created, 1);
    assert_int_equal(twins.replayed, 7);
    assert_int_equal(twins.other, 0);
    assert_int_equal(world_number("SELECT COUNT(*) FROM devices"), 1);
}

/* Its answer, which must have this status, in world.arena. */
static const char *receive_with(int status, const char *key, const char *path, const char *body)
{
    struct answer *answer = ask_with(path_of("POST %s", path), world.admin, body,
                                     path_of("Idempotency-Key: %s\r\n", key));

    assert_int_equal(answer->status, status);
    return arena_strdup(world.arena, answer->body);
}

/* Commits of the writer; on PostgreSQL, where others commit too, answers that did not come with their message. */
static int64_t commits(void)
{
    struct db_stats stats;

    if (world.schema[0])
        return world_number("SELECT COUNT(*) FROM idempotency i WHERE NOT EXISTS (SELECT 1 FROM messages m "
                            "WHERE m.xmin = i.xmin) AND i.name <> 'k2'");
    db_stats(world.hub.db, &stats);
    return stats.groups;
}

static void a_message_and_its_answer_share_one_commit(void **state)
{
    static const char one[] = "/api/v1/messages", many[] = "/api/v1/messages/batch";
    static const char body[] = "{\"from\":\"+15550100\",\"text\":\"a\",\"id\":\"one\",\"channel\":\"sandbox\"}";
    static const char batch[] = "{\"messages\":[{\"from\":\"+15550100\",\"text\":\"b\",\"id\":\"two\"}],"
                                "\"channel\":\"sandbox\"}";
    int64_t before, each = world.schema[0] ? 0 : 1;
    const char *first;

    (void)state;
    /* ids are drawn, the key is noted as used */
    must_ask(201, "POST /api/v1/messages", world.admin,
             "{\"from\":\"+15550101\",\"text\":\"x\",\"channel\":\"sandbox\"}");
    before = commits();
    first = receive_with(201, "k1", one, body);
    assert_int_equal(commits() - before, each);
    assert_string_equal(receive_with(201, "k1", one, body), first);
    first = receive_with(200, "k2", one, body);
    assert_int_equal(commits() - before, 2 * each);
    assert_string_equal(receive_with(200, "k2", one, body), first);
    first = receive_with(200, "k3", many, batch);
    assert_non_null(strstr(first, "\"stored\":1"));
    assert_int_equal(commits() - before, 3 * each);
    assert_string_equal(receive_with(200, "k3", many, batch), first);
    assert_int_equal(world_number("SELECT COUNT(*) FROM messages"), 3);
    assert_int_equal(world_number("SELECT COUNT(*) FROM idempotency"), 3);
}

static void changes_are_audited_in_the_same_commit(void **state)
{
    const char *id = text_of(make_device("a"), "id");

    (void)state;
    must_ask(200, path_of("PATCH /api/v1/devices/%s", id), world.admin, "{\"name\":\"b\"}");
    assert_int_equal(world_number("SELECT COUNT(*) FROM audit WHERE action = 'device.register'"), 1);
    assert_int_equal(world_number("SELECT COUNT(*) FROM audit WHERE action = 'device.rename' AND actor LIKE 'key_%' "
                                  "AND object LIKE 'dev_%' AND request_id IS NOT NULL"), 1);
    must_refuse(422, "invalid", path_of("PATCH /api/v1/devices/%s", id), world.admin, "{\"name\":\"\"}");
    assert_int_equal(world_number("SELECT COUNT(*) FROM audit WHERE action = 'device.rename'"), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        CASE(unknown_paths_are_404_with_a_hint), CASE(methods_are_told), CASE(answers_have_their_headers),
        CASE(bodies_are_checked), CASE(only_json_is_read), CASE(queries_are_checked), CASE(large_bodies_are_413),
        CASE(lists_page), CASE(cursors_are_not_guessed), CASE(the_same_request_is_done_once),
        CASE(another_request_under_the_same_key_is_refused), CASE(a_refusal_is_not_remembered),
        CASE(twins_at_once_are_one), CASE(a_message_and_its_answer_share_one_commit),
        CASE(changes_are_audited_in_the_same_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
