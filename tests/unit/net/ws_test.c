/* WebSockets against a client that can also break every rule. */
#include "serve.h"

#include "base/limits.h"
#include "net/ws.h"

#include <pthread.h>

#define SOCKETS 256

static struct http_server *server;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ws *open_sockets[SOCKETS];      /* guarded by the lock; NULL once closed */
static int opened, closed_count;

/* Echoes; "bye" asks for a close, "shout" for ten echoes. */
static void message(void *arg, struct ws *socket, struct str text)
{
    (void)arg;
    if (str_is(text, "bye"))
        ws_close(socket, 1000, "as you wish");
    for (int i = 0; i < (str_is(text, "shout") ? 10 : 1); i++)
        ws_send_text(socket, text);
}

static void closed(void *arg, struct ws *socket)
{
    struct ws **slot = arg;

    pthread_mutex_lock(&lock);
    assert_ptr_equal(*slot, socket);
    *slot = NULL;
    closed_count++;
    pthread_mutex_unlock(&lock);
}

static void respond(void *arg, struct http_exchange *exchange, struct http_request *request)
{
    static const struct ws_callbacks callbacks = { message, closed };
    bool greets = str_is(request->path, "/greet");
    struct ws *socket;

    (void)arg;
    pthread_mutex_lock(&lock);
    socket = http_upgrade(exchange, greets ? "greeting" : NULL, &callbacks, &open_sockets[opened]);
    if (socket) {
        if (greets)
            assert_int_equal(ws_send_text(socket, STR("welcome")), 0);
        open_sockets[opened++] = socket;
    }
    pthread_mutex_unlock(&lock);
}

static bool counts(int *value, int wanted)
{
    int have = -1;

    for (int i = 0; i < 3000 && have != wanted; i++) {
        pthread_mutex_lock(&lock);
        have = *value;
        pthread_mutex_unlock(&lock);
        pause_for(1);
    }
    return have == wanted;
}

static int start(void **state)
{
    (void)state;
    opened = closed_count = 0;
    memset(open_sockets, 0, sizeof open_sockets);
    server = serve(respond, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_stop(server, 1000);
    assert_int_equal(closed_count, opened);
    server_limits()->ping_ms = 30000;
    return 0;
}

#define HANDSHAKE "Host: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static struct peer *shake_hands(const char *path)
{
    struct peer *peer = dial(server);
    struct answer *answer;

    say(peer, "GET ");
    say(peer, path);
    say(peer, " HTTP/1.1\r\n" HANDSHAKE);
    answer = hear(peer, true);
    assert_int_equal(answer->status, 101);
    assert_non_null(strcasestr(answer->head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strcasestr(answer->head, "Upgrade: websocket\r\n"));
    return peer;
}

static void say_frame(struct peer *peer, int first_byte, const void *payload, size_t len)
{
    unsigned char *frame = mem_alloc(len + 14), *at = frame;

    *at++ = (unsigned char)first_byte;
    *at++ = (unsigned char)(0x80 | (len < 126 ? len : len < 65536 ? 126 : 127));
    for (int i = len < 126 ? 0 : len < 65536 ? 2 : 8; i > 0; i--)
        *at++ = (unsigned char)((uint64_t)len >> 8 * (i - 1));
    memcpy(at, "\x11\x22\x33\x44", 4);
    for (size_t i = 0; i < len; i++)
        at[4 + i] = (unsigned char)(((const char *)payload)[i] ^ at[i % 4]);
    say_bytes(peer, frame, (size_t)(at - frame) + 4 + len);
    free(frame);
}

struct frame {
    int first_byte;         /* -1: none came */
    struct str payload;     /* until the next call */
};

static struct frame hear_frame(struct peer *peer)
{
    static char payload[sizeof peer->bytes];
    unsigned char *at = (unsigned char *)peer->bytes;
    size_t head = 2, len = 0;

    while (peer->len < 2 || peer->len < (head = at[1] == 126 ? 4 : at[1] == 127 ? 10 : 2))
        if (!hear_more(peer))
            return (struct frame){ -1, { 0 } };
    for (size_t i = 2; i < head; i++)
        len = len << 8 | at[i];
    len = head == 2 ? at[1] : len;
    while (peer->len < head + len)
        if (!hear_more(peer))
            return (struct frame){ -1, { 0 } };
    memcpy(payload, peer->bytes + head, len);
    int first_byte = at[0];
    consume(peer, head + len);
    return (struct frame){ first_byte, { payload, len } };
}

static bool hears(struct peer *peer, const char *text)
{
    struct frame frame = hear_frame(peer);

    return frame.first_byte == 0x81 && str_is(frame.payload, text);
}

/* The code of the close frame that comes next, and then the connection must end. */
static int hears_close(struct peer *peer)
{
    struct frame frame = hear_frame(peer);

    if (frame.first_byte != 0x88)
        return -1;
    if (!is_closed(peer))
        return -2;
    return frame.payload.len < 2 ? 0 : (unsigned char)frame.payload.data[0] << 8 | (unsigned char)frame.payload.data[1];
}

static void messages_are_echoed(void **state)
{
    static const size_t sizes[] = { 0, 1, 125, 126, 127, 4096, 65535, 65536 };
    struct peer *peer = shake_hands("/greet?a");
    static char text[65537];

    (void)state;
    assert_true(hears(peer, "welcome"));
    memset(text, 'z', sizeof text);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct frame frame;

        say_frame(peer, 0x81, text, sizes[i]);
        frame = hear_frame(peer);
        assert_int_equal(frame.first_byte, 0x81);
        assert_int_equal(frame.payload.len, sizes[i]);
        assert_memory_equal(frame.payload.data, text, sizes[i]);
    }
    say_frame(peer, 0x81, "sh\xc3\xa4\xf0\x9f\x98\x80", 8);
    assert_true(hears(peer, "sh\xc3\xa4\xf0\x9f\x98\x80"));
    hang_up(peer);
    assert_true(counts(&closed_count, 1));
}

static void frames_come_in_pieces_and_in_heaps(void **state)
{
    struct peer *peer = shake_hands("/");
    static const unsigned char hello[] = { 0x81, 0x85, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o' };
    char heap[4096];
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < sizeof hello; i++) {
        say_bytes(peer, hello + i, 1);
        pause_for(2);
    }
    assert_true(hears(peer, "hello"));
    while (len + sizeof hello <= sizeof heap) {
        memcpy(heap + len, hello, sizeof hello);
        len += sizeof hello;
    }
    say_bytes(peer, heap, len - 3);
    pause_for(20);
    say_bytes(peer, heap + len - 3, 3);
    for (size_t i = 0; i < len / sizeof hello; i++)
        assert_true(hears(peer, "hello"));
    /* Fragments, with a ping between them and a character cut in two. */
    say_frame(peer, 0x01, "caf\xc3", 4);
    say_frame(peer, 0x89, "are you there", 13);
    say_frame(peer, 0x00, "\xa9 ", 2);
    say_frame(peer, 0x80, "noir", 4);
    for (int i = 0; i < 2; i++) {
        struct frame frame = hear_frame(peer);

        assert_true(frame.first_byte == 0x8a || frame.first_byte == 0x81);
        assert_true(str_is(frame.payload, frame.first_byte == 0x8a ? "are you there" : "caf\xc3\xa9 noir"));
    }
    say_frame(peer, 0x81, "shout", 5);
    for (int i = 0; i < 10; i++)
        assert_true(hears(peer, "shout"));
    hang_up(peer);
}

static void frames_behind_the_handshake_are_not_lost(void **state)
{
    struct peer *peer = dial(server);
    static const char request[] = "GET / HTTP/1.1\r\n" HANDSHAKE "\x81\x82\0\0\0\0hi\x81\x82\0\0\0\0ho";

    (void)state;
    say_bytes(peer, request, sizeof request - 1);
    assert_int_equal(hear(peer, true)->status, 101);
    assert_true(hears(peer, "hi"));
    assert_true(hears(peer, "ho"));
    hang_up(peer);
}

static void both_sides_can_close(void **state)
{
    struct peer *peer = shake_hands("/");

    (void)state;
    say_frame(peer, 0x88, "\x03\xe8" "done", 6);
    assert_int_equal(hears_close(peer), 1000);
    hang_up(peer);
    assert_true(counts(&closed_count, 1));
    peer = shake_hands("/");
    say_frame(peer, 0x81, "bye", 3);
    assert_int_equal(hears_close(peer), 1000);
    hang_up(peer);
    assert_true(counts(&closed_count, 2));
    peer = shake_hands("/");
    say_frame(peer, 0x88, "", 0);
    assert_int_equal(hears_close(peer), 0);
    hang_up(peer);
    assert_true(counts(&closed_count, 3));
}

static void broken_rules_end_the_connection(void **state)
{
    static char large[LIMIT_WS_FRAME_BYTES + 1];
    static const struct {
        int code;
        const char *what, *bytes;
        size_t len;
    } cases[] = {
#define BYTES(code, what, text) { code, what, text, sizeof(text) - 1 }
        BYTES(1002, "unmasked", "\x81\x02hi"), BYTES(1002, "reserved bit", "\xc1\x82\0\0\0\0hi"),
        BYTES(1002, "opcode 3", "\x83\x82\0\0\0\0hi"), BYTES(1002, "opcode 11", "\x8b\x80\0\0\0\0"),
        BYTES(1002, "continuation of nothing", "\x80\x82\0\0\0\0hi"),
        BYTES(1002, "new message inside one", "\x01\x81\0\0\0\0a\x81\x81\0\0\0\0b"),
        BYTES(1002, "fragmented ping", "\x09\x81\0\0\0\0a"), BYTES(1002, "long ping", "\x89\xfe\0\x7e\0\0\0\0"),
        BYTES(1002, "padded length", "\x81\xfe\0\x05\0\0\0\0hello"),
        BYTES(1002, "close of one byte", "\x88\x81\0\0\0\0a"),
        BYTES(1002, "close code 999", "\x88\x82\0\0\0\0\x03\xe7"), BYTES(1003, "binary", "\x82\x81\0\0\0\0a"),
        BYTES(1007, "not UTF-8", "\x81\x82\0\0\0\0\xc3("), BYTES(1007, "cut UTF-8", "\x81\x81\0\0\0\0\xc3"),
        BYTES(1007, "surrogate", "\x81\x83\0\0\0\0\xed\xa0\x80"),
        BYTES(1009, "announced too large", "\x81\xff\0\0\0\0\0\x01\0\x01\0\0\0\0x"),
        BYTES(1002, "announced absurdly", "\x81\xff\xff\0\0\0\0\x01\0\x01\0\0\0\0x"),
#undef BYTES
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *peer = shake_hands("/");
        int code;

        say_bytes(peer, cases[i].bytes, cases[i].len);
        code = hears_close(peer);
        if (code != cases[i].code)
            fail_msg("%d, not %d: %s", code, cases[i].code, cases[i].what);
        hang_up(peer);
    }
    /* A message may be longer than a frame, but not without end. */
    struct peer *peer = shake_hands("/");
    for (int i = 0; i <= LIMIT_WS_MESSAGE_BYTES / LIMIT_WS_FRAME_BYTES; i++)
        say_frame(peer, i ? 0x00 : 0x01, large, LIMIT_WS_FRAME_BYTES);
    assert_int_equal(hears_close(peer), 1009);
    hang_up(peer);
    assert_true(counts(&closed_count, opened));
}

static void wrong_handshakes_are_refused(void **state)
{
    static const struct {
        int status;
        const char *request;
    } cases[] = {
        { 426, "GET / HTTP/1.1\r\nHost: h\r\n\r\n" },
        { 426, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" },
        { 426, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n" },
        { 426, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n" },
        { 400, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Version: 13\r\n\r\n" },
        { 426, "POST / HTTP/1.1\r\nContent-Length: 0\r\n" HANDSHAKE }, { 426, "GET / HTTP/1.0\r\n" HANDSHAKE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *peer = dial(server);
        struct answer *answer;

        say(peer, cases[i].request);
        answer = hear(peer, false);
        assert_int_equal(answer->status, cases[i].status);
        assert_non_null(strstr(answer->head, "application/problem+json"));
        if (answer->status == 426)
            assert_non_null(strstr(answer->head, "Sec-WebSocket-Version: 13"));
        hang_up(peer);
    }
    assert_int_equal(opened, 0);
}

static void silent_peers_are_dropped(void **state)
{
    struct peer *silent, *lively;
    struct frame frame;

    (void)state;
    http_stop(server, 100);
    server_limits()->ping_ms = 150;
    server = serve(respond, NULL);
    silent = shake_hands("/");
    lively = shake_hands("/");
    for (int i = 0; i < 6; i++) {
        frame = hear_frame(lively);
        assert_int_equal(frame.first_byte, 0x89);
        say_frame(lively, 0x8a, frame.payload.data, frame.payload.len);
    }
    assert_true(counts(&closed_count, 1));
    for (int i = 0; i < 2; i++)
        assert_int_equal(hear_frame(silent).first_byte, 0x89);
    assert_true(is_closed(silent));
    say_frame(lively, 0x81, "alive", 5);
    do
        frame = hear_frame(lively);
    while (frame.first_byte == 0x89);
    assert_true(str_is(frame.payload, "alive"));
    hang_up(silent);
    hang_up(lively);
}

static void who_does_not_read_is_told_to_resync(void **state)
{
    struct peer *frozen = shake_hands("/");
    static char text[5000];
    struct ws_frame *big;
    struct frame frame;
    int sent = 0, again;

    (void)state;
    memset(text, 'q', sizeof text);
    big = ws_frame_new((struct str){ text, sizeof text });
    pthread_mutex_lock(&lock);
    while (sent < 20000 && ws_send(open_sockets[0], big) == 0)
        sent++;
    again = ws_send(open_sockets[0], big);
    pthread_mutex_unlock(&lock);
    ws_frame_release(big);
    assert_in_range(sent, LIMIT_WS_QUEUE_BYTES / sizeof text, 19999);
    assert_int_equal(again, -1);
    /* Once it reads again: whole frames without a gap, then the close. */
    for (int i = 0; (frame = hear_frame(frozen)).first_byte == 0x81; i++)
        assert_int_equal(frame.payload.len, sizeof text);
    assert_int_equal(frame.first_byte, 0x88);
    assert_memory_equal(frame.payload.data, "\x03\xf5resync", 8);
    hang_up(frozen);
    assert_true(counts(&closed_count, 1));
}

static void broadcasts_reach_everybody(void **state)
{
    static struct peer *peers[200];
    char text[32];

    (void)state;
    for (int i = 0; i < 200; i++)
        peers[i] = shake_hands("/");
    for (int round = 0; round < 20; round++) {
        struct ws_frame *frame;

        snprintf(text, sizeof text, "round %d", round);
        frame = ws_frame_new(str_c(text));
        pthread_mutex_lock(&lock);
        for (int i = 0; i < opened; i++)
            if (open_sockets[i])
                ws_send(open_sockets[i], frame);
        pthread_mutex_unlock(&lock);
        ws_frame_release(frame);
        if (round == 10)
            for (int i = 100; i < 200; i++)
                hang_up(peers[i]);
        for (int i = 0; i < (round < 10 ? 200 : 100); i++)
            assert_true(hears(peers[i], text));
    }
    assert_true(counts(&closed_count, 100));
    for (int i = 0; i < 100; i++)
        hang_up(peers[i]);
}

static void stopping_says_goodbye(void **state)
{
    struct peer *peers[20];

    (void)state;
    for (int i = 0; i < 20; i++)
        peers[i] = shake_hands("/");
    http_stop(server, 1000);
    assert_int_equal(closed_count, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(hears_close(peers[i]), 1001);
        hang_up(peers[i]);
    }
    server = serve(respond, NULL);
}

static void *come_and_go(void *arg)
{
    (void)arg;
    for (int i = 0; i < 40; i++) {
        struct peer *peer = dial(server);

        say(peer, "GET / HTTP/1.1\r\n" HANDSHAKE);
        if (i % 4 == 1)
            hear_more(peer);
        if (i % 4 == 2)
            say_frame(peer, 0x81, "bye", 3);
        if (i % 4 == 3)
            say_frame(peer, 0x01, "half a mess", 11);
        hang_up(peer);
    }
    return NULL;
}

static void sockets_close_while_others_send(void **state)
{
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, come_and_go, NULL);
    for (int round = 0; round < 300; round++) {
        pthread_mutex_lock(&lock);
        for (int i = 0; i < opened; i++)
            if (open_sockets[i])
                round % 10 ? (void)ws_send_text(open_sockets[i], STR("tick")) : ws_close(open_sockets[i], 1000, NULL);
        pthread_mutex_unlock(&lock);
        pause_for(1);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_are_echoed, start, stop),
        cmocka_unit_test_setup_teardown(frames_come_in_pieces_and_in_heaps, start, stop),
        cmocka_unit_test_setup_teardown(frames_behind_the_handshake_are_not_lost, start, stop),
        cmocka_unit_test_setup_teardown(both_sides_can_close, start, stop),
        cmocka_unit_test_setup_teardown(broken_rules_end_the_connection, start, stop),
        cmocka_unit_test_setup_teardown(wrong_handshakes_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(silent_peers_are_dropped, start, stop),
        cmocka_unit_test_setup_teardown(who_does_not_read_is_told_to_resync, start, stop),
        cmocka_unit_test_setup_teardown(broadcasts_reach_everybody, start, stop),
        cmocka_unit_test_setup_teardown(stopping_says_goodbye, start, stop),
        cmocka_unit_test_setup_teardown(sockets_close_while_others_send, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
