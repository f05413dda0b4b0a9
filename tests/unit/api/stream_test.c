/* Following the log: server-sent events and WebSocket, from a cursor, then live; rights, origins, slow readers. */
#include "ask.h"

static struct peer *open_stream(const char *target, const char *key, const char *headers)
{
    struct peer *peer = dial(world.server);
    char request[2000];

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n%s\r\n",
             target, http_port(world.server), key, headers ? headers : "");
    say(peer, request);
    return peer;
}

/* Wait until the text stands in what was read. */
static bool hears(struct peer *peer, const char *text)
{
    while (!strstr(peer->bytes, text))
        if (!hear_more(peer))
            return false;
    return true;
}

static void hears_no_more(struct peer *peer, const char *text, int ms)
{
    struct pollfd ready = { .fd = peer->fd, .events = POLLIN };

    while (poll(&ready, 1, ms) == 1 && hear_more(peer))
        continue;
    assert_null(strstr(peer->bytes, text));
}

static void happen(const char *text)
{
    const char *hook = text_of(must_ask(200, "GET /api/v1/channels/sandbox", world.admin, NULL), "hook_path");
    struct answer *answer = ask(path_of("POST %s", hook), NULL,
                                arena_printf(world.arena, "{\"from\":\"+15550002\",\"text\":\"%s\"}", text));

    assert_int_equal(answer->status, 200);
}

static const char *cursor_in(const struct peer *peer)
{
    const char *id = strstr(peer->bytes, "id: ");

    assert_non_null(id);
    return arena_printf(world.arena, "%.*s", (int)strcspn(id + 4, "\n"), id + 4);
}

/* --- Server-sent events ------------------------------------------------------------------------------------------ */

static void what_happens_is_told_live(void **state)
{
    struct peer *peer = open_stream("/api/v1/events", world.admin, NULL);

    (void)state;
    assert_true(hears(peer, "event: ready\n"));
    assert_non_null(strstr(peer->bytes, "Content-Type: text/event-stream"));
    happen("good morning");
    assert_true(hears(peer, "event: message.received\n"));
    /* the message is inside: no second call */
    assert_true(hears(peer, "\"text\":\"good morning\""));
    assert_true(hears(peer, "\"from\":\"+15550002\""));
    hang_up(peer);
}

static void nothing_between_is_lost(void **state)
{
    struct peer *peer = open_stream("/api/v1/events", world.admin, NULL);
    const char *cursor;

    (void)state;
    assert_true(hears(peer, "event: ready\n"));
    cursor = cursor_in(peer);
    hang_up(peer);
    happen("one");
    happen("two");
    peer = open_stream("/api/v1/events?kinds=message.received", world.admin,
                       path_of("Last-Event-ID: %s\r\n", cursor));
    assert_true(hears(peer, "\"text\":\"two\""));
    assert_true(strstr(peer->bytes, "\"text\":\"one\"") < strstr(peer->bytes, "\"text\":\"two\""));
    happen("three");
    assert_true(hears(peer, "\"text\":\"three\""));
    hang_up(peer);
    peer = open_stream(path_of("/api/v1/events?cursor=%s", cursor), world.admin, NULL);
    assert_true(hears(peer, "\"text\":\"three\""));
    assert_non_null(strstr(peer->bytes, "\"text\":\"one\""));
    hang_up(peer);
}

static void kinds_are_chosen(void **state)
{
    struct peer *peer = open_stream("/api/v1/events?kinds=device,channel.added", world.admin, NULL);

    (void)state;
    assert_true(hears(peer, "event: ready\n"));
    happen("not for you");
    must_ask(201, "POST /api/v1/devices", world.admin, "{\"name\":\"phone\"}");
    assert_true(hears(peer, "event: device.registered\n"));
    assert_null(strstr(peer->bytes, "message.received"));
    hang_up(peer);
}

static void conversations_are_chosen(void **state)
{
    const char *id;
    struct peer *peer;

    (void)state;
    happen("first");
    id = text_of(must_ask(200, "GET /api/v1/events/list?kinds=message.received", world.admin, NULL),
                 "items.0.conversation_id");
    peer = open_stream(path_of("/api/v1/events?conversation_id=%s", id), world.admin, NULL);
    assert_true(hears(peer, "event: ready\n"));
    must_ask(201, "POST /api/v1/devices", world.admin, "{\"name\":\"phone\"}");
    happen("second");
    assert_true(hears(peer, "\"text\":\"second\""));
    assert_null(strstr(peer->bytes, "device.registered"));
    hang_up(peer);
}

static void cursors_are_checked(void **state)
{
    const char *token, *cursor;

    (void)state;
    must_refuse(422, "invalid", "GET /api/v1/events?cursor=nonsense", world.admin, NULL);
    must_refuse(422, "invalid", "GET /api/v1/events?kind=message", world.admin, NULL);
    happen("one");
    cursor = text_of(must_ask(200, "GET /api/v1/events/list", world.admin, NULL), "cursor");
    token = text_of(must_ask(201, "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}"), "token");
    must_refuse(422, "invalid", path_of("GET /api/v1/events?cursor=%s", cursor), token, NULL);
    world_must("UPDATE tenants SET horizon = 1000000");
    must_refuse(410, "resync", path_of("GET /api/v1/events?cursor=%s", cursor), world.admin, NULL);
}

static void other_tenants_hear_nothing(void **state)
{
    const char *token = text_of(must_ask(201, "POST /api/v1/tenants", world.admin, "{\"name\":\"acme\"}"), "token");
    struct peer *peer = open_stream("/api/v1/events", token, NULL);

    (void)state;
    assert_true(hears(peer, "event: ready\n"));
    happen("secret");
    hears_no_more(peer, "secret", 300);
    must_ask(201, "POST /api/v1/devices", token, "{\"name\":\"theirs\"}");
    assert_true(hears(peer, "device.registered"));
    assert_null(strstr(peer->bytes, "secret"));
    hang_up(peer);
}

static void a_revoked_key_hears_nothing_more(void **state)
{
    const struct json *made = must_ask(201, "POST /api/v1/keys", world.admin, "{\"name\":\"a\",\"scopes\":[\"read\"]}");
    struct peer *peer = open_stream("/api/v1/events", text_of(made, "token"), NULL);

    (void)state;
    assert_true(hears(peer, "event: ready\n"));
    happen("before");
    assert_true(hears(peer, "\"text\":\"before\""));
    assert_int_equal(ask(path_of("DELETE /api/v1/keys/%s", text_of(made, "id")), world.admin, NULL)->status, 204);
    happen("after");
    assert_true(hears(peer, "event: closed\n"));
    hears_no_more(peer, "\"text\":\"after\"", 200);
    hang_up(peer);
}

static void reading_needs_the_scope(void **state)
{
    const char *key = world_key(1, SCOPE_SEND);

    (void)state;
    must_refuse(403, "forbidden", "GET /api/v1/events", key, NULL);
    must_refuse(401, "unauthenticated", "GET /api/v1/events", NULL, NULL);
}

/* Much more than a queue holds, read slowly: nothing is lost and the order holds. */
static void a_slow_reader_gets_everything(void **state)
{
    enum { MANY = 120 };
    struct peer *peer;
    char text[8001], wanted[64];
    const char *cursor = text_of(must_ask(200, "GET /api/v1/events/list", world.admin, NULL), "cursor");
    int size = 4096, seen = 0;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < MANY; i++) {
        snprintf(wanted, sizeof wanted, "<%04d>", i);
        memcpy(text, wanted, 6);
        happen(text);
    }
    peer = dial(world.server);
    setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    say(peer, path_of("GET /api/v1/events?kinds=message.received&cursor=%s HTTP/1.1\r\nHost: hub\r\n", cursor));
    say(peer, path_of("Authorization: Bearer %s\r\n\r\n", world.admin));
    pause_for(300);
    while (seen < MANY) {
        snprintf(wanted, sizeof wanted, "\"text\":\"<%04d>", seen);
        if (!hears(peer, wanted))
            fail_msg("event %d did not come", seen);
        consume(peer, (size_t)(strstr(peer->bytes, wanted) - peer->bytes) + strlen(wanted));
        seen++;
    }
    hang_up(peer);
}

/* --- WebSocket --------------------------------------------------------------------------------------------------- */

#define UPGRADE "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* Bytes of frames hold NULs; make them visible to strstr. */
static bool hears_frame(struct peer *peer, const char *text)
{
    while (true) {
        for (size_t i = 0; i < peer->len; i++)
            if (peer->bytes[i] == '\0')
                peer->bytes[i] = ' ';
        if (strstr(peer->bytes, text))
            return true;
        if (!hear_more(peer))
            return false;
    }
}

static void a_socket_hears_the_same(void **state)
{
    struct peer *peer = open_stream("/ws", world.admin, UPGRADE);

    (void)state;
    assert_true(hears_frame(peer, "\"kind\":\"ready\""));
    assert_non_null(strstr(peer->bytes, "HTTP/1.1 101"));
    happen("over the socket");
    assert_true(hears_frame(peer, "\"kind\":\"message.received\""));
    assert_true(hears_frame(peer, "\"text\":\"over the socket\""));
    hang_up(peer);
}

static struct peer *open_with_protocol(const char *protocols)
{
    struct peer *peer = dial(world.server);

    say(peer, "GET /ws HTTP/1.1\r\nHost: hub\r\n" UPGRADE);
    say(peer, path_of("Sec-WebSocket-Protocol: %s\r\n\r\n", protocols));
    return peer;
}

static void a_browser_sends_its_key_as_protocol(void **state)
{
    struct peer *peer = open_with_protocol(path_of("message-hub, bearer.%s", world.admin));

    (void)state;
    assert_true(hears_frame(peer, "\"kind\":\"ready\""));
    assert_non_null(strstr(peer->bytes, "Sec-WebSocket-Protocol: message-hub\r\n"));
    hang_up(peer);
    peer = open_with_protocol("bearer.mh_wrong");
    assert_true(hears_frame(peer, "HTTP/1.1 401"));
    hang_up(peer);
}

static void foreign_pages_are_refused(void **state)
{
    struct peer *peer = open_stream("/ws", world.admin, UPGRADE "Origin: https://evil.example\r\n");

    (void)state;
    assert_true(hears_frame(peer, "HTTP/1.1 403"));
    hang_up(peer);
    peer = open_stream("/ws", world.admin, UPGRADE "Origin: null\r\n");
    assert_true(hears_frame(peer, "HTTP/1.1 403"));
    hang_up(peer);
    peer = open_stream("/ws", world.admin, arena_printf(world.arena, UPGRADE "Origin: http://127.0.0.1:%d\r\n",
                                                        http_port(world.server)));
    assert_true(hears_frame(peer, "\"kind\":\"ready\""));
    hang_up(peer);
}

static int start_with_origin(void **state)
{
    *state = (void *)(uintptr_t)"--allowed-origins=https://inbox.example,https://other.example";
    return world_start(state);
}

static void named_pages_are_let_in(void **state)
{
    struct peer *peer = open_stream("/ws", world.admin, UPGRADE "Origin: https://other.example\r\n");

    (void)state;
    assert_true(hears_frame(peer, "\"kind\":\"ready\""));
    hang_up(peer);
    peer = open_stream("/ws", world.admin, UPGRADE "Origin: https://other.example.evil\r\n");
    assert_true(hears_frame(peer, "HTTP/1.1 403"));
    hang_up(peer);
}

static void a_plain_get_is_told_to_upgrade(void **state)
{
    (void)state;
    assert_int_equal(ask("GET /ws", world.admin, NULL)->status, 426);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_start, world_stop)
    const struct CMUnitTest tests[] = {
        CASE(what_happens_is_told_live), CASE(nothing_between_is_lost), CASE(kinds_are_chosen),
        CASE(conversations_are_chosen), CASE(cursors_are_checked), CASE(other_tenants_hear_nothing),
        CASE(a_revoked_key_hears_nothing_more), CASE(reading_needs_the_scope), CASE(a_slow_reader_gets_everything),
        CASE(a_socket_hears_the_same), CASE(a_browser_sends_its_key_as_protocol), CASE(foreign_pages_are_refused),
        cmocka_unit_test_setup_teardown(named_pages_are_let_in, start_with_origin, world_stop),
        CASE(a_plain_get_is_told_to_upgrade),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
