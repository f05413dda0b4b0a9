#include "net/client_address.h"

#include "net/client.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <string.h>
#include <sys/socket.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

struct block {
    unsigned char prefix[16];
    int bits;
};

#define IPV4(a, b, c, d) { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d }

/* Inside what is public by its first bits: IPv4 as ::ffff:a.b.c.d, so 96 bits more, and 2000::/3. */
static const struct block denied[] = {
    { IPV4(0, 0, 0, 0), 96 + 8 },           /* this network; Linux connects 0.0.0.0 to itself */
    { IPV4(10, 0, 0, 0), 96 + 8 },
    { IPV4(100, 64, 0, 0), 96 + 10 },       /* carrier NAT, and a metadata service at 100.100.100.200 */
    { IPV4(127, 0, 0, 0), 96 + 8 },
    { IPV4(169, 254, 0, 0), 96 + 16 },      /* link-local, and the metadata service at 169.254.169.254 */
    { IPV4(172, 16, 0, 0), 96 + 12 },
    { IPV4(192, 0, 0, 0), 96 + 24 },
    { IPV4(192, 0, 2, 0), 96 + 24 },        /* documentation, like the two below */
    { IPV4(192, 88, 99, 0), 96 + 24 },      /* 6to4 relays */
    { IPV4(192, 168, 0, 0), 96 + 16 },
    { IPV4(198, 18, 0, 0), 96 + 15 },       /* benchmarks between networks */
    { IPV4(198, 51, 100, 0), 96 + 24 },
    { IPV4(203, 0, 113, 0), 96 + 24 },
    { IPV4(224, 0, 0, 0), 96 + 4 },         /* multicast */
    { IPV4(240, 0, 0, 0), 96 + 4 },         /* reserved, broadcast */
    { { 0x20, 0x01, 0x00, 0x00 }, 23 },     /* protocol assignments: ORCHID, benchmarks (Teredo is unwrapped before) */
    { { 0x20, 0x01, 0x0d, 0xb8 }, 32 },     /* documentation */
    { { 0x3f, 0xff, 0x00 }, 20 },           /* documentation */
};

static bool in_block(const unsigned char address[16], const unsigned char prefix[16], int bits)
{
    int bytes = bits / 8, rest = bits % 8;
    unsigned char mask = (unsigned char)(0xff << (8 - rest));

    if (memcmp(address, prefix, (size_t)bytes) != 0)
        return false;
    return rest == 0 || ((address[bytes] ^ prefix[bytes]) & mask) == 0;
}

static struct in6_addr mapped(const unsigned char ipv4[4], unsigned char flip)
{
    struct in6_addr address = { .s6_addr = IPV4(0, 0, 0, 0) };

    for (int i = 0; i < 4; i++)
        address.s6_addr[12 + i] = ipv4[i] ^ flip;
    return address;
}

struct in6_addr client_address_unwrap(const struct in6_addr *address)
{
    static const unsigned char nat64[16] = { 0x00, 0x64, 0xff, 0x9b };
    static const unsigned char six_to_four[16] = { 0x20, 0x02 };
    static const unsigned char teredo[16] = { 0x20, 0x01, 0x00, 0x00 };
    const unsigned char *bytes = address->s6_addr;

    if (in_block(bytes, nat64, 96))
        return mapped(bytes + 12, 0);
    if (in_block(bytes, six_to_four, 16))
        return mapped(bytes + 2, 0);
    if (in_block(bytes, teredo, 32))
        return mapped(bytes + 12, 0xff);
    return *address;
}

bool client_address_public(const struct in6_addr *address)
{
    static const unsigned char global[16] = { 0x20 };           /* 2000::/3: all that is public in IPv6 */
    static const unsigned char ipv4[16] = IPV4(0, 0, 0, 0);
    struct in6_addr plain = client_address_unwrap(address);

    if (!in_block(plain.s6_addr, global, 3) && !in_block(plain.s6_addr, ipv4, 96))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(denied); i++) {
        if (in_block(plain.s6_addr, denied[i].prefix, denied[i].bits))
            return false;
    }
    return true;
}

bool client_address_of(const struct sockaddr *from, struct in6_addr *address, int *port)
{
    if (from->sa_family == AF_INET) {
        struct sockaddr_in ipv4;

        memcpy(&ipv4, from, sizeof ipv4);
        *address = mapped((const unsigned char *)&ipv4.sin_addr, 0);
        *port = ntohs(ipv4.sin_port);
        return true;
    }
    if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 ipv6;

        memcpy(&ipv6, from, sizeof ipv6);
        *address = ipv6.sin6_addr;
        *port = ntohs(ipv6.sin6_port);
        return true;
    }
    return false;
}

bool client_address_parse(const char *text, struct in6_addr *address)
{
    struct in_addr ipv4;

    if (inet_pton(AF_INET, text, &ipv4) == 1) {
        *address = mapped((const unsigned char *)&ipv4, 0);
        return true;
    }
    return inet_pton(AF_INET6, text, address) == 1;
}

bool client_address_own(const struct in6_addr *address)
{
    struct in6_addr plain = client_address_unwrap(address), own;
    struct ifaddrs *list, *item;
    bool found = false;
    int port;

    if (getifaddrs(&list) != 0)
        return true;
    for (item = list; item && !found; item = item->ifa_next) {
        if (item->ifa_addr && client_address_of(item->ifa_addr, &own, &port))
            found = memcmp(&own, &plain, sizeof own) == 0;
    }
    freeifaddrs(list);
    return found;
}
