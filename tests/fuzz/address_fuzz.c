/* Any 16 bytes as an address: the wall agrees with a slow reading of the same rules, bit by bit from their texts. */
#include "net/client.h"
#include "net/client_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool bit(const struct in6_addr *address, int at)
{
    return address->s6_addr[at / 8] >> (7 - at % 8) & 1;
}

/* Is the address in the block that "prefix/bits" writes? */
static bool within(const struct in6_addr *address, const char *block)
{
    struct in6_addr prefix;
    char text[64];
    int bits;

    if (sscanf(block, "%63[^/]/%d", text, &bits) != 2 || inet_pton(AF_INET6, text, &prefix) != 1)
        abort();
    for (int at = 0; at < bits; at++) {
        if (bit(address, at) != bit(&prefix, at))
            return false;
    }
    return true;
}

static struct in6_addr inner(const struct in6_addr *address)
{
    unsigned char ipv4[4];
    char text[32];
    struct in6_addr plain;
    int at = within(address, "2002::/16") ? 2 : 12;
    bool flipped = within(address, "2001::/32");

    if (at == 12 && !flipped && !within(address, "64:ff9b::/96"))
        return *address;
    for (int i = 0; i < 4; i++)
        ipv4[i] = (unsigned char)(flipped ? ~address->s6_addr[at + i] : address->s6_addr[at + i]);
    snprintf(text, sizeof text, "::ffff:%d.%d.%d.%d", ipv4[0], ipv4[1], ipv4[2], ipv4[3]);
    if (inet_pton(AF_INET6, text, &plain) != 1)
        abort();
    return plain;
}

static bool public_by_the_texts(const struct in6_addr *address)
{
    static const char *const denied[] = {
        "::ffff:0.0.0.0/104", "::ffff:10.0.0.0/104", "::ffff:100.64.0.0/106", "::ffff:127.0.0.0/104",
        "::ffff:169.254.0.0/112", "::ffff:172.16.0.0/108", "::ffff:192.0.0.0/120", "::ffff:192.0.2.0/120",
        "::ffff:192.88.99.0/120", "::ffff:192.168.0.0/112", "::ffff:198.18.0.0/111", "::ffff:198.51.100.0/120",
        "::ffff:203.0.113.0/120", "::ffff:224.0.0.0/100", "::ffff:240.0.0.0/100", "2001::/23", "2001:db8::/32",
        "3fff::/20",
    };
    struct in6_addr plain = inner(address);

    if (!within(&plain, "2000::/3") && !within(&plain, "::ffff:0.0.0.0/96"))
        return false;
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
        if (within(&plain, denied[i]))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const heads[] = { "::ffff:0.0.0.0", "64:ff9b::", "2002::", "2001::", "fe80::", "::" };
    struct in6_addr address = { 0 }, unwrapped;

    if (size < 17)
        return 0;
    memcpy(&address, data + 1, sizeof address);
    if (data[0] < 6) {      /* most of the rules are about a few beginnings */
        struct in6_addr head;

        inet_pton(AF_INET6, heads[data[0]], &head);
        memcpy(&address, &head, data[0] == 2 ? 2 : 12);
    }
    unwrapped = client_address_unwrap(&address);
    if (client_address_public(&address) != public_by_the_texts(&address) ||
        client_address_public(&unwrapped) != client_address_public(&address))
        abort();
    return 0;
}
