/* client.h - the exchange over libcurl: HTTP, mail by SMTP, streams by IMAP, and child processes. No proxy, redirects
 * not followed, certificates verified, the address checked in the open-socket callback on its binary form. All handles
 * share one X509 store. */
#pragma once

#include "net/exchange.h"

#include <netinet/in.h>

/* Says whether `tenant_id` may reach this private address (IPv4 as ::ffff:a.b.c.d) on this port: the operator's
 * egress_allow rows. Called on any thread, before each exchange, so it should answer from memory. */
typedef bool client_allows(void *arg, int64_t tenant_id, const struct in6_addr *address, int port);

struct client;

/* A client whose exchanges may run on any number of threads at once. `allows` NULL: nothing private is ever reachable.
 * The process ignores SIGPIPE from then on. Free it when no exchange runs any more; NULL is fine. */
struct client *client_new(client_allows *allows, void *arg);
void client_free(struct client *client);

/* Children are started from this folder only, by their names: files that root or this process's user owns and nobody
 * else can write to. The text is copied. Call it before the first exchange. */
void client_programs(struct client *client, const char *folder);

/* The exchange face of it; lives as long as the client. */
struct exchange *client_exchange(struct client *client);

/* Is this address public? IPv4 as ::ffff:a.b.c.d; NAT64, 6to4, Teredo and mapped forms are unwrapped first. */
bool client_address_public(const struct in6_addr *address);
