#include "api/feed.h"

#include "api/feed_frame.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "core/key.h"
#include "net/server.h"
#include "net/unsent.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEEP_MS 15000               /* a comment, so that proxies and clients see life */
#define PACE_MS 20                  /* until a full queue is looked at again */
#define ROUND_US 5000               /* rounds are not closer together: wakes gather */
#define UNSENT_MAX (64 * 1024)      /* nothing is added above */
#define FAULT_MS 1000               /* after a failed read */

struct subscriber {
    struct feed *feed;
    struct subscriber *next;
    pthread_mutex_t lock;           /* guards stream and socket against their end */
    struct stream *stream;
    struct ws *socket;
    struct arena *arena;            /* of itself and its texts */
    struct subscription of;
    int64_t stalled_us;             /* since when nothing goes out; 0: it flows */
    size_t unsent;                  /* at the last look */
    size_t next_bytes;              /* of the frame that did not fit behind what is unsent; 0: none */
    bool ending;                    /* told to go; nothing more is sent */
    atomic_bool gone;
};

/* The subscribers of one tenant. */
struct audience {
    struct audience *next;
    struct subscriber *first;
    int64_t tenant_id;
    int64_t seq;                    /* the feed has read up to here for those in front */
    bool behind;                    /* somebody has less than that */
};

struct feed {
    struct hub *hub;
    pthread_t thread;
    bool has_thread;
    atomic_bool stopping;
    atomic_size_t count;
    pthread_mutex_t lock;           /* guards `joining` */
    pthread_cond_t joined;
    struct subscriber *joining;
    struct audience *audiences;     /* the thread's own from here on */
    struct arena *arena;            /* of one round */
    int64_t kept_us;
};

/* --- Coming and going -------------------------------------------------------------------------------------------- */

struct subscriber *feed_subscriber(struct feed *feed, const struct subscription *subscription)
{
    struct arena *arena = arena_new(512);
    struct subscriber *subscriber = arena_alloc(arena, sizeof *subscriber);
    struct str *kinds = arena_array(arena, subscription->kind_count + 1, sizeof *kinds);

    for (size_t i = 0; i < subscription->kind_count; i++)
        kinds[i] = str_c(str_dup(arena, subscription->kinds[i]));
    subscriber->feed = feed;
    subscriber->arena = arena;
    subscriber->of = *subscription;
    subscriber->of.kinds = kinds;
    pthread_mutex_init(&subscriber->lock, NULL);
    return subscriber;
}

static void subscriber_free(struct subscriber *subscriber)
{
    pthread_mutex_destroy(&subscriber->lock);
    arena_free(subscriber->arena);
}

void feed_join(struct subscriber *subscriber, struct stream *stream, struct ws *socket)
{
    struct feed *feed = subscriber->feed;

    if (!stream && !socket) {
        subscriber_free(subscriber);
        return;
    }
    subscriber->stream = stream;
    subscriber->socket = socket;
    atomic_fetch_add(&feed->count, 1);
    pthread_mutex_lock(&feed->lock);
    subscriber->next = feed->joining;
    feed->joining = subscriber;
    pthread_cond_signal(&feed->joined);
    pthread_mutex_unlock(&feed->lock);
    wake_signal(feed->hub->wake);
}

void feed_stream_closed(void *arg)
{
    struct subscriber *subscriber = arg;

    /* whoever sends holds the lock, so nobody sends any more behind this line */
    pthread_mutex_lock(&subscriber->lock);
    atomic_store(&subscriber->gone, true);
    pthread_mutex_unlock(&subscriber->lock);
}

void feed_socket_closed(void *arg, struct ws *socket)
{
    (void)socket;
    feed_stream_closed(arg);
}

static struct audience *audience_of(struct feed *feed, const struct subscription *of)
{
    struct audience *audience = feed->audiences;

    while (audience && audience->tenant_id != of->tenant_id)
        audience = audience->next;
    if (!audience) {
        audience = mem_alloc(sizeof *audience);
        *audience = (struct audience){ .next = feed->audiences, .tenant_id = of->tenant_id, .seq = of->newest };
        feed->audiences = audience;
    }
    return audience;
}

static void take_joining(struct feed *feed)
{
    struct subscriber *joining;

    pthread_mutex_lock(&feed->lock);
    joining = feed->joining;
    feed->joining = NULL;
    pthread_mutex_unlock(&feed->lock);
    while (joining) {
        struct subscriber *next = joining->next;
        struct audience *audience = audience_of(feed, &joining->of);

        joining->next = audience->first;
        audience->first = joining;
        audience->behind = audience->behind || joining->of.seq < audience->seq;
        joining = next;
    }
}

/* Free those whose socket is gone, and audiences without anybody. */
static void sweep(struct feed *feed)
{
    for (struct audience **at = &feed->audiences; *at;) {
        struct audience *audience = *at;

        for (struct subscriber **link = &audience->first; *link;) {
            struct subscriber *subscriber = *link;

            if (!atomic_load(&subscriber->gone)) {
                link = &subscriber->next;
                continue;
            }
            *link = subscriber->next;
            /* the closing thread may still be inside its last unlock */
            pthread_mutex_lock(&subscriber->lock);
            pthread_mutex_unlock(&subscriber->lock);
            subscriber_free(subscriber);
            atomic_fetch_sub(&feed->count, 1);
        }
        if (audience->first) {
            at = &audience->next;
            continue;
        }
        *at = audience->next;
        free(audience);
    }
}

/* --- Sending; with the subscriber's lock held -------------------------------------------------------------------- */

static bool listens(const struct subscriber *subscriber)
{
    return !subscriber->ending && !atomic_load(&subscriber->gone);
}

static size_t unsent_of(const struct subscriber *subscriber)
{
    return subscriber->stream ? stream_unsent(subscriber->stream) : ws_unsent(subscriber->socket);
}

static void end(struct subscriber *subscriber, int code, const char *reason)
{
    subscriber->ending = true;
    if (subscriber->socket) {
        ws_close(subscriber->socket, code, reason);
    } else {
        stream_send(subscriber->stream, code == 1013 ? STR("event: resync\ndata: {}\n\n")
                                                     : STR("event: closed\ndata: {}\n\n"));
        stream_end(subscriber->stream);
    }
}

static bool wants(const struct subscription *of, const struct feed_frame *frame)
{
    if (of->conversation_id && of->conversation_id != frame->conversation_id)
        return false;
    for (size_t i = 0; i < of->kind_count; i++) {
        size_t len = of->kinds[i].len;

        if (!strncmp(frame->kind, of->kinds[i].data, len) && (frame->kind[len] == '\0' || frame->kind[len] == '.'))
            return true;
    }
    return of->kind_count == 0;
}

static int send_frame(struct subscriber *subscriber, struct feed_frame *frame)
{
    if (subscriber->stream)
        return stream_send(subscriber->stream, frame->sse);
    if (!frame->ws)
        frame->ws = ws_frame_new(frame->json);
    return ws_send(subscriber->socket, frame->ws);
}

/* Is there room for its next frame? A reader that takes nothing for long is closed. */
static bool flows(struct subscriber *subscriber, int64_t now_us)
{
    size_t unsent = unsent_of(subscriber);
    bool full = unsent >= UNSENT_MAX || (unsent > 0 && unsent + subscriber->next_bytes > LIMIT_WS_QUEUE_BYTES);

    if (!full || unsent < subscriber->unsent)
        subscriber->stalled_us = 0;
    else if (!subscriber->stalled_us)
        subscriber->stalled_us = now_us;
    else if (now_us - subscriber->stalled_us > FEED_STALL_MS * 1000LL)
        end(subscriber, 1013, "resync");
    subscriber->unsent = unsent;
    return !full;
}

/* Hand over what it has not seen of the page. With a full queue it stays behind. */
static void deliver(struct subscriber *subscriber, struct feed_page *page, int64_t now_us)
{
    for (size_t i = 0; i < page->count; i++) {
        struct feed_frame *frame = &page->frames[i];

        if (frame->seq <= subscriber->of.seq)
            continue;
        if (wants(&subscriber->of, frame)) {
            subscriber->next_bytes = frame->sse.len;
            if (!flows(subscriber, now_us))
                return;
            subscriber->next_bytes = 0;
            if (send_frame(subscriber, frame) < 0) {
                subscriber->ending = true;
                return;
            }
        }
        subscriber->of.seq = frame->seq;
    }
    if (page->last > subscriber->of.seq)
        subscriber->of.seq = page->last;
}

/* --- Rounds ------------------------------------------------------------------------------------------------------ */

/* May its key still read? Asked before each batch; a database that does not answer stops the batch. */
static int still_allowed(struct feed *feed, struct subscriber *subscriber)
{
    struct key key;
    struct err err;
    int found = subscriber->of.key_id ? key_check_again(feed->hub, subscriber->of.key_id, &key, &err) : 1;

    if (found == 1 && subscriber->of.key_id && !(key.scopes & SCOPE_READ))
        found = 0;
    return found;
}

/* Give a page to those in front (`front`), or to those behind. Has anybody moved on? */
static bool give(struct feed *feed, struct audience *audience, struct feed_page *page, bool front)
{
    int64_t now_us = clock_mono_us(), line = audience->seq;
    bool behind = false, moved = false;

    if (front)
        audience->seq = page->last;
    for (struct subscriber *subscriber = audience->first; subscriber; subscriber = subscriber->next) {
        int64_t before = subscriber->of.seq;
        bool meant = front == (before >= line);
        /* before the lock: the thread that closes the socket waits for it, and must not wait for the database */
        int allowed = meant ? still_allowed(feed, subscriber) : -1;

        pthread_mutex_lock(&subscriber->lock);
        if (listens(subscriber)) {
            if (allowed == 1)
                deliver(subscriber, page, now_us);
            else if (allowed == 0)
                end(subscriber, 1008, "the key is not valid any more");
            behind = behind || (listens(subscriber) && subscriber->of.seq < audience->seq);
        }
        pthread_mutex_unlock(&subscriber->lock);
        moved = moved || subscriber->of.seq > before;
    }
    audience->behind = behind;
    return moved;
}

/* The least position of those behind who can take more; -1 when all of them are stuck. */
static int64_t lowest(struct audience *audience)
{
    int64_t now_us = clock_mono_us(), lowest = -1;

    for (struct subscriber *subscriber = audience->first; subscriber; subscriber = subscriber->next) {
        pthread_mutex_lock(&subscriber->lock);
        if (listens(subscriber) && subscriber->of.seq < audience->seq && flows(subscriber, now_us) &&
            (lowest < 0 || subscriber->of.seq < lowest))
            lowest = subscriber->of.seq;
        pthread_mutex_unlock(&subscriber->lock);
    }
    return lowest;
}

/* Their place in the log is not kept any more. */
static void resync(struct audience *audience, int64_t seq)
{
    for (struct subscriber *subscriber = audience->first; subscriber; subscriber = subscriber->next) {
        pthread_mutex_lock(&subscriber->lock);
        if (listens(subscriber) && subscriber->of.seq <= seq)
            end(subscriber, 1013, "resync");
        pthread_mutex_unlock(&subscriber->lock);
    }
}

/* One page for those in front or behind. Returns the wait until the next round. */
static int feed_part(struct feed *feed, struct audience *audience, bool front)
{
    struct feed_page page = { .arena = feed->arena };
    int64_t after = front ? audience->seq : lowest(audience);
    struct err err = { 0 };
    int wait_ms = KEEP_MS;

    if (after < 0)
        return PACE_MS;
    if (feed_page_read(feed->hub, &page, audience->tenant_id, after, &err) < 0) {
        feed_page_end(&page);
        if (err.code == ERR_GONE) {
            resync(audience, after);
            return 0;
        }
        log_warn("streams wait for the database", LOG_T("detail", err.detail));
        return FAULT_MS;
    }
    if (page.last > after) {
        bool moved = give(feed, audience, &page, front);

        wait_ms = front ? (page.more ? 0 : KEEP_MS) : moved ? 0 : PACE_MS;
    }
    feed_page_end(&page);
    return wait_ms;
}

static void keep_alive(struct audience *audience, struct feed *feed)
{
    for (struct subscriber *subscriber = audience->first; subscriber; subscriber = subscriber->next) {
        int allowed = still_allowed(feed, subscriber);

        pthread_mutex_lock(&subscriber->lock);
        if (listens(subscriber)) {
            if (allowed == 0)
                end(subscriber, 1008, "the key is not valid any more");
            else if (subscriber->stream && unsent_of(subscriber) == 0)
                stream_send(subscriber->stream, STR(": still here\n\n"));
        }
        pthread_mutex_unlock(&subscriber->lock);
    }
}

int feed_step(struct feed *feed)
{
    int64_t now_us = clock_mono_us();
    bool keep = now_us - feed->kept_us >= KEEP_MS * 1000LL;
    int wait_ms = KEEP_MS;

    take_joining(feed);
    sweep(feed);
    for (struct audience *audience = feed->audiences; audience; audience = audience->next) {
        int part_ms;

        arena_reset(feed->arena);
        part_ms = feed_part(feed, audience, true);
        wait_ms = part_ms < wait_ms ? part_ms : wait_ms;
        if (audience->behind) {
            arena_reset(feed->arena);
            part_ms = feed_part(feed, audience, false);
            part_ms = audience->behind && part_ms > PACE_MS ? PACE_MS : part_ms;
            wait_ms = part_ms < wait_ms ? part_ms : wait_ms;
        }
        if (keep)
            keep_alive(audience, feed);
    }
    if (keep)
        feed->kept_us = now_us;
    return wait_ms;
}

/* Without anybody no commit needs to wake us. */
static void wait_for_joining(struct feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    while (!feed->joining && !atomic_load(&feed->stopping))
        pthread_cond_wait(&feed->joined, &feed->lock);
    pthread_mutex_unlock(&feed->lock);
}

static void *feed_main(void *arg)
{
    struct feed *feed = arg;

    while (!atomic_load(&feed->stopping)) {
        uint32_t seen;
        int64_t began_us, rest_us;
        int wait_ms;

        if (!feed->audiences)
            wait_for_joining(feed);
        seen = wake_seen(feed->hub->wake);
        began_us = clock_mono_us();
        wait_ms = feed_step(feed);
        if (wait_ms > 0 && !atomic_load(&feed->stopping))
            wake_wait(feed->hub->wake, seen, wait_ms);
        rest_us = ROUND_US - (clock_mono_us() - began_us);
        if (rest_us > 0 && wait_ms > 0)
            nanosleep(&(const struct timespec){ 0, rest_us * 1000 }, NULL);
    }
    return NULL;
}

struct feed *feed_new(struct hub *hub)
{
    struct feed *feed = mem_alloc(sizeof *feed);

    *feed = (struct feed){ .hub = hub, .arena = arena_new(64 * 1024), .kept_us = clock_mono_us() };
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->joined, NULL);
    feed->has_thread = !hub->manual && pthread_create(&feed->thread, NULL, feed_main, feed) == 0;
    if (!hub->manual && !feed->has_thread)
        mem_exhausted(sizeof *feed);
    return feed;
}

void feed_free(struct feed *feed)
{
    if (!feed)
        return;
    pthread_mutex_lock(&feed->lock);
    atomic_store(&feed->stopping, true);
    pthread_cond_signal(&feed->joined);
    pthread_mutex_unlock(&feed->lock);
    wake_signal(feed->hub->wake);
    if (feed->has_thread)
        pthread_join(feed->thread, NULL);
    take_joining(feed);
    for (struct audience *audience = feed->audiences; audience; audience = audience->next)
        for (struct subscriber *subscriber = audience->first; subscriber; subscriber = subscriber->next)
            atomic_store(&subscriber->gone, true);
    sweep(feed);
    arena_free(feed->arena);
    pthread_cond_destroy(&feed->joined);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}

size_t feed_count(struct feed *feed)
{
    return atomic_load(&feed->count);
}
