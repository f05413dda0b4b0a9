/* client_inside.h - what the files of the client share (client*.c only). */
#pragma once

#include "net/client.h"
#include "net/stream.h"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>

#define IDLE_HANDLES 32

/* A handle between two exchanges. It keeps connections, TLS sessions and resolved names, so it never changes tenants
 * nor egress class. */
struct idle {
    CURL *easy;
    int64_t tenant_id;
    enum egress egress;
    int64_t since_us;
};

struct client_stream;

struct client {
    struct exchange exchange;
    client_allows *allows;
    void *arg;
    pthread_mutex_t lock;
    X509_STORE *store;                  /* read at the first TLS connection: a megabyte and 20 ms */
    struct idle idle[IDLE_HANDLES];     /* oldest first */
    size_t idle_count;
    struct client_stream *kept;         /* streams between two calls, at most one of a channel */
    size_t kept_count;
    struct client_turn *turns;          /* of the children that a call speaks with now */
    pthread_cond_t turned;
    char *programs;                     /* the only folder that children are started from, or NULL */
};

/* --- client_guard.c: whom a connection may reach, and how TLS is spoken ------------------------------------------- */

struct client_guard {
    struct client *client;
    enum egress egress;
    int64_t tenant_id;
    bool refused;                       /* an address was denied */
    struct in6_addr address;            /* the last one that was tried */
    int port;
};

/* May this address be reached? Remembers a refusal. */
bool client_guard_allows(struct client_guard *guard, const struct in6_addr *address, int port);

/* Set what every handle has: addresses checked, no proxy, no signals, certificates verified against the shared store.
 * The guard must outlive the handle's transfer. */
void client_guard_set(struct client_guard *guard, CURL *easy);

/* Why nothing was sent, in a sentence. */
void client_guard_explain(const struct client_guard *guard, CURLcode code, struct err *err);

/* The URL in a form that the library takes, `schemes` being those allowed ("smtp", "smtps", NULL): no user, password,
 * fragment, no trailing dot of the host. NULL: it is not one. curl_url_cleanup it. */
CURLU *client_guard_url(const char *url, const char *const *schemes);

/* Set the library up; at the first exchange, because a hub without peers never needs it. */
void client_guard_init(void);

/* --- client_mail.c, client_stream.c: the other functions of struct exchange --------------------------------------- */

/* exchange->mail. */
void client_mail(struct exchange *self, struct arena *arena, const struct exchange_mail *mail,
                 struct exchange_reply *reply);

/* exchange->open: a kept stream of the channel, or a new one. */
struct stream *client_stream_open(struct exchange *self, const struct stream_request *request, struct err *err);

/* Close every kept stream; children get their signals together. */
void client_stream_close_all(struct client *client);

/* --- client_child.c ----------------------------------------------------------------------------------------------- */

/* Whose turn it is to speak with a channel's child. */
struct client_turn {
    int64_t channel_id;
    bool yields;
    int wake_fd;                        /* readable once another call waits */
    struct client_turn *next;
};

/* Wait for the channel's turn, at most request->timeout_ms; NULL with err. Give it back once (NULL is fine). */
struct client_turn *client_turn_take(struct client *client, const struct stream_request *request, struct err *err);
void client_turn_give(struct client *client, struct client_turn *turn);

struct client_child {
    int pid;                            /* also its process group; 0: reaped */
    int in_fd, out_fd;                  /* its standard input and output */
};

/* Start argv[0], a name in the folder `programs` (NULL: an absolute path), in a process group of its own with nothing
 * open but its input and output. */
int client_child_start(struct client_child *child, const struct stream_request *request, const char *programs,
                       struct err *err);

/* Has it not ended by itself? */
bool client_child_runs(const struct client_child *child);

/* Ask it to end: close its input, SIGTERM to the group. */
void client_child_ask(struct client_child *child);

/* Wait until `until_us` (monotonic), then SIGKILL to the group; reaped in any case. */
void client_child_end(struct client_child *child, int64_t until_us);
