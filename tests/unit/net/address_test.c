/* The address wall: classes, the spellings of RELIABILITY E12, and a trap that must not be reached. */
#include "base/arena.h"
#include "net/client.h"
#include "net/client_address.h"
#include "peer.h"

#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static const struct peer_turn fine = { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, PEER_CLOSE };

static void classes_are_told_apart(void **state)
{
    static const struct {
        const char *address;
        bool public;
    } cases[] = {
        { "8.8.8.8", true }, { "93.184.216.34", true }, { "100.63.255.255", true }, { "100.128.0.0", true },
        { "172.15.255.255", true }, { "172.32.0.0", true }, { "192.0.1.0", true }, { "198.20.0.0", true },
        { "2606:4700::1111", true }, { "2a00:1450::1", true }, { "64:ff9b::8.8.8.8", true },
        { "2002:808:808::1", true },
        { "2001:0:4136:e378:8000:63bf:f7f7:f7f7", true },
        { "0.0.0.0", false }, { "0.1.2.3", false }, { "10.0.0.1", false }, { "100.64.0.1", false },
        { "100.100.100.200", false }, { "127.0.0.1", false }, { "127.255.255.254", false },
        { "169.254.169.254", false },
        { "172.16.0.1", false }, { "172.31.255.255", false }, { "192.0.0.8", false }, { "192.0.2.1", false },
        { "192.168.1.1", false }, { "198.18.0.1", false }, { "198.19.255.255", false }, { "224.0.0.1", false },
        { "239.255.255.255", false }, { "240.0.0.1", false }, { "255.255.255.255", false },
        { "::", false }, { "::1", false }, { "::ffff:127.0.0.1", false }, { "::ffff:10.1.2.3", false },
        { "::127.0.0.1", false }, { "::ffff:0:127.0.0.1", false }, { "64:ff9b::127.0.0.1", false },
        { "64:ff9b::169.254.169.254", false }, { "64:ff9b:1::8.8.8.8", false }, { "2002:7f00:1::", false },
        { "2002:a9fe:a9fe::1", false }, { "2001:0:4136:e378:8000:63bf:80ff:fffe", false }, { "fe80::1", false },
        { "fec0::1", false }, { "fc00::1", false }, { "fd00:ec2::254", false }, { "ff02::1", false },
        { "2001:db8::1", false }, { "2001:10::1", false }, { "3fff::1", false }, { "100::1", false },
        { "5f00::1", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct in6_addr address;

        assert_true(client_address_parse(cases[i].address, &address));
        if (client_address_public(&address) != cases[i].public)
            fail_msg("%s counts as %s", cases[i].address, cases[i].public ? "private" : "public");
    }
}

/* The ways to write an address that a filter on text lets through; the port is put in for '#'. `arrives`: is it
 * loopback and connectable here, so that the trap would hear of it? (Circled digits and ideographic dots would be where
 * the locale is a UTF-8 one.) */
static const struct {
    const char *url;
    bool arrives;
} spellings[] = {
    { "http://127.0.0.1:#/", true },
    { "http://127.1:#/", true },
    { "http://127.0.1:#/", true },
    { "http://2130706433:#/", true },
    { "http://0x7f000001:#/", true },
    { "http://0x7f.0.0.1:#/", true },
    { "http://0177.0.0.1:#/", true },
    { "http://017700000001:#/", true },
    { "http://127.0.0.1.:#/", true },
    { "http://localhost:#/", true },
    { "http://LOCALHOST.:#/", true },
    { "http://0.0.0.0:#/", true },
    { "http://0:#/", true },
    { "http://[::1]:#/", true },
    { "http://[::]:#/", true },
    { "http://[::ffff:127.0.0.1]:#/", true },
    { "http://[::ffff:7f00:1]:#/", true },
    { "http://[0:0:0:0:0:ffff:127.0.0.1]:#/", true },
    { "http://example.com@127.0.0.1:#/", true },
    { "http://example.com:80@127.0.0.1:#/#@example.com", true },
    { "http://127.0.0.1:#\\@example.com/", false },
    { "http://127.0.0.1:#%23@example.com:1/", false },
    { "http://\xE2\x91\xA0\xE2\x91\xA1\xE2\x91\xA6.0.0.1:#/", false },
    { "http://127\xE3\x80\x82" "0\xE3\x80\x82" "0\xE3\x80\x82" "1:#/", false },
    { "http://[64:ff9b::127.0.0.1]:#/", false },
    { "http://[2002:7f00:1::]:#/", false },
    { "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:#/", false },
    { "http://169.254.169.254/latest/meta-data/", false },
    { "http://[fd00:ec2::254]/latest/meta-data/", false },
    { "http://100.100.100.200/latest/meta-data/", false },
    { "http://2852039166/latest/meta-data/", false },
    { "https://127.0.0.1:#/", false },
    { "HTTP://127.0.0.1:#/", true },
    { "file:///etc/passwd", false },
    { "gopher://127.0.0.1:#/_GET", false },
    { "ftp://127.0.0.1:#/", false },
    { "dict://127.0.0.1:#/", false },
    { "//127.0.0.1:#/", false },
    { "127.0.0.1:#", false },
    { "http://127.0.0.1:# /", false },
    { "http://127.0.0.1:#/\r\nX-Injected: 1", false },
    { "http:///", false },
    { "", false },
};

static const char *with_port(struct arena *arena, const char *url, int port)
{
    const char *at = strchr(url, '#');

    return at ? arena_printf(arena, "%.*s%d%s", (int)(at - url), url, port, at + 1) : url;
}

static bool yes(void *arg, int64_t tenant_id, const struct in6_addr *address, int port)
{
    (void)arg, (void)tenant_id, (void)address, (void)port;
    return true;
}

static bool no(void *arg, int64_t tenant_id, const struct in6_addr *address, int port)
{
    return !yes(arg, tenant_id, address, port);
}

static struct exchange_reply ask(struct client *client, struct arena *arena, const char *url, enum egress egress)
{
    struct exchange_request request = { .method = HTTP_POST, .url = url, .egress = egress, .tenant_id = 7,
                                        .timeout_ms = 2000 };
    struct exchange_reply reply;

    client_exchange(client)->run(client_exchange(client), arena, &request, &reply);
    return reply;
}

static void no_spelling_reaches_the_trap(void **state)
{
    struct client *strict = client_new(no, NULL), *open = client_new(yes, NULL);
    struct arena *arena = arena_new(0);
    static struct peer trap;        /* not on the stack: its thread outlives a failed test */

    (void)state;
    peer_start(&trap, &fine, 1);
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        const char *url = with_port(arena, spellings[i].url, trap.port);
        struct client *clients[] = { open, strict, strict };
        enum egress egress[] = { EGRESS_PUBLIC, EGRESS_PUBLIC, EGRESS_CHANNEL };

        for (int j = 0; j < 3; j++) {
            struct exchange_reply reply = ask(clients[j], arena, url, egress[j]);

            if (reply.end != EXCHANGE_NOT_SENT || atomic_load(&trap.connections) != 0)
                fail_msg("%s got through: end %d", url, reply.end);
            if (spellings[i].arrives && reply.err.code != ERR_FORBIDDEN)
                fail_msg("%s was not refused for its address: %s", url, reply.err.detail);
        }
    }
    peer_stop(&trap);
    client_free(strict);
    client_free(open);
    arena_free(arena);
}

/* The control: without the wall the same spellings do arrive, so the test above has something to stop. */
static void the_trap_hears_what_is_allowed(void **state)
{
    struct client *open = client_new(yes, NULL);
    struct arena *arena = arena_new(0);
    static struct peer trap;        /* not on the stack: its thread outlives a failed test */
    int expected = 0;

    (void)state;
    peer_start(&trap, &fine, 1);
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        const char *url = with_port(arena, spellings[i].url, trap.port);

        if (!spellings[i].arrives)
            continue;
        if (ask(open, arena, url, EGRESS_CHANNEL).end != EXCHANGE_ANSWERED)
            fail_msg("%s did not arrive although it was allowed", url);
        assert_int_equal(atomic_load(&trap.connections), ++expected);
    }
    assert_true(expected >= 16);
    peer_stop(&trap);
    client_free(open);
    arena_free(arena);
}

struct seen {
    int64_t tenant_id;
    struct in6_addr address;
    int port;
};

static bool look(void *arg, int64_t tenant_id, const struct in6_addr *address, int port)
{
    *(struct seen *)arg = (struct seen){ tenant_id, *address, port };
    return false;
}

static void the_operator_is_asked_for_the_unwrapped_address(void **state)
{
    static const char *const urls[] = { "http://[64:ff9b::10.1.2.3]:8443/", "http://[2002:a01:203::5]:8443/",
                                        "http://10.1.2.3:8443/", "http://[::ffff:10.1.2.3]:8443/" };
    struct seen seen;
    struct client *client = client_new(look, &seen);
    struct arena *arena = arena_new(0);
    struct in6_addr expected;

    (void)state;
    assert_true(client_address_parse("::ffff:10.1.2.3", &expected));
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        memset(&seen, 0, sizeof seen);
        assert_int_equal(ask(client, arena, urls[i], EGRESS_CHANNEL).end, EXCHANGE_NOT_SENT);
        assert_int_equal(seen.tenant_id, 7);
        assert_int_equal(seen.port, 8443);
        assert_memory_equal(&seen.address, &expected, sizeof expected);
    }
    client_free(client);
    arena_free(arena);
}

static void own_addresses_are_known(void **state)
{
    struct in6_addr address;

    (void)state;
    assert_true(client_address_parse("127.0.0.1", &address));
    assert_true(client_address_own(&address));
    assert_true(client_address_parse("64:ff9b::127.0.0.1", &address));
    assert_true(client_address_own(&address));
    assert_true(client_address_parse("8.8.8.8", &address));
    assert_false(client_address_own(&address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_told_apart),
        cmocka_unit_test(no_spelling_reaches_the_trap),
        cmocka_unit_test(the_trap_hears_what_is_allowed),
        cmocka_unit_test(the_operator_is_asked_for_the_unwrapped_address),
        cmocka_unit_test(own_addresses_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
