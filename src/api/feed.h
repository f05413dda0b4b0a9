/* feed.h - the log, fanned out to whoever listens: one thread per process reads it once per tenant and wake, builds
 * each frame once and hands it to all that match. Truth is the cursor: who falls behind is fed at its own pace from
 * where it is; who takes nothing for FEED_STALL_MS is told to resync and closed. A key's rights are looked at again
 * before each batch. Included only inside api/. */
#pragma once

#include "core/hub.h"

#include <stdbool.h>

#define FEED_STALL_MS 10000
#define FEED_KINDS_MAX 16

struct feed;
struct stream;
struct subscriber;
struct ws;

/* Who listens, from where and to what. Texts are copied. */
struct subscription {
    int64_t tenant_id, key_id;      /* key 0: the socket's owner, always good */
    int64_t seq;                    /* the last line it has */
    int64_t newest;                 /* the last line there was when it came */
    int64_t conversation_id;        /* 0: all */
    const struct str *kinds;        /* "message" or "message.received"; none: all */
    size_t kind_count;
};

/* Start the thread (none with hub->manual); and stop it, when no socket is left. NULL is fine for feed_free. */
struct feed *feed_new(struct hub *hub);
void feed_free(struct feed *feed);

/* A subscriber that nobody feeds yet: hand it to http_stream or http_upgrade with feed_stream_closed or
 * feed_socket_closed, then call feed_join with what they returned (NULL frees it). One of the two is given. */
struct subscriber *feed_subscriber(struct feed *feed, const struct subscription *subscription);
void feed_join(struct subscriber *subscriber, struct stream *stream, struct ws *socket);
void feed_stream_closed(void *subscriber);
void feed_socket_closed(void *subscriber, struct ws *socket);

/* One round. Returns how long to wait for a wake before the next, in ms. Tests call it by hand. */
int feed_step(struct feed *feed);

/* How many listen. */
size_t feed_count(struct feed *feed);
