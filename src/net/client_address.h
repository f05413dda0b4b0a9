/* client_address.h - address classes for client.c (client_address_public is in client.h). IPv4 is ::ffff:a.b.c.d. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

/* The IPv4 address inside a NAT64, 6to4 or Teredo one; any other as it is. */
struct in6_addr client_address_unwrap(const struct in6_addr *address);

/* Address and port of an IPv4 or IPv6 socket address; false for every other family. */
bool client_address_of(const struct sockaddr *from, struct in6_addr *address, int *port);

/* The address that a numeric text names; false when it is none. */
bool client_address_parse(const char *text, struct in6_addr *address);

/* Does an interface of this machine have the address now? True also when the interfaces cannot be listed. */
bool client_address_own(const struct in6_addr *address);
