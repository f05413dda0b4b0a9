#include "api/push.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "core/offer.h"
#include "net/server.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEEP_MS 60000               /* a comment, and a reminder of what still waits */
#define LIFE_MS (60 * 60 * 1000)    /* of a stream: then the secret is asked for again */
#define ROUND_MS 20                 /* rounds are not closer together: wakes gather */
#define FAULT_MS 1000               /* after a failed read */
#define NAME_BYTES 40

/* Who listens (stream) or waits (call). */
struct line {
    struct line *next;
    pthread_mutex_t lock;           /* guards the stream against its end */
    struct stream *stream;
    struct op_call *call;
    enum op_done (*run)(struct op_call *call, struct err *err);
    int64_t channel_id, newest;     /* the job that it was told of last */
    int64_t told_us, kept_us, end_us;
    char name[NAME_BYTES];
    bool ending, gone;              /* told to go; the stream is no more */
};

struct push {
    struct hub *hub;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;           /* guards the list and what follows */
    pthread_cond_t joined;
    struct line *lines;
    int count;
    bool stopping;
};

/* --- Coming and going -------------------------------------------------------------------------------------------- */

static bool has_room(const struct push *push, int64_t channel_id)
{
    int own = 0;

    for (const struct line *line = push->lines; line; line = line->next)
        own += line->channel_id == channel_id;
    return push->count < PUSH_MAX && own < PUSH_CHANNEL_MAX;
}

/* False: too many, or the hub stops; the line is the caller's again. */
static bool join(struct push *push, struct line *line)
{
    bool joined;

    pthread_mutex_lock(&push->lock);
    joined = !push->stopping && has_room(push, line->channel_id);
    if (joined) {
        line->next = push->lines;
        push->lines = line;
        push->count++;
        pthread_cond_signal(&push->joined);
    }
    pthread_mutex_unlock(&push->lock);
    if (joined)
        wake_signal(push->hub->wake);
    return joined;
}

static struct line *line_new(const struct channel *channel, int life_ms)
{
    struct line *line = mem_alloc(sizeof *line);

    *line = (struct line){ .channel_id = channel->id, .kept_us = clock_mono_us(),
                           .end_us = clock_mono_us() + life_ms * INT64_C(1000) };
    pthread_mutex_init(&line->lock, NULL);
    return line;
}

static void line_free(struct line *line)
{
    pthread_mutex_destroy(&line->lock);
    free(line);
}

static enum op_done too_many(struct err *err)
{
    err_set(err, ERR_UNAVAILABLE, "Too many listen to this channel already.");
    err->retry_after_s = 30;
    err_hint(err, "Close the others, or come back in a moment.");
    return OP_FAILED;
}

static void closed(void *arg)
{
    struct line *line = arg;

    /* whoever sends holds the lock, so nobody sends any more behind this line */
    pthread_mutex_lock(&line->lock);
    line->gone = true;
    pthread_mutex_unlock(&line->lock);
}

enum op_done push_open(struct push *push, struct op_call *call, const struct channel *channel, const char *name,
                       struct err *err)
{
    struct line *line = line_new(channel, LIFE_MS);

    snprintf(line->name, sizeof line->name, "%s", name);
    /* its place is taken before the answer begins; rounds pass over a line without a stream */
    if (!join(push, line)) {
        line_free(line);
        return too_many(err);
    }
    buf_fini(&call->response.body);
    pthread_mutex_lock(&line->lock);
    line->stream = http_stream(call->exchange, closed, line);
    if (line->stream)
        stream_send(line->stream, STR("retry: 5000\n\n"));
    else
        line->gone = true;
    pthread_mutex_unlock(&line->lock);
    return OP_LATER;
}

enum op_done push_wait(struct push *push, struct op_call *call, const struct push_wish *wish, struct err *err)
{
    struct line *line = line_new(wish->channel, wish->timeout_ms);

    line->call = call;
    line->run = wish->run;
    if (join(push, line))
        return OP_LATER;
    line_free(line);
    return too_many(err);
}

/* --- Rounds ------------------------------------------------------------------------------------------------------ */

/* With the line's lock held. */
static void tell(struct line *line, const struct offer_waiting *waiting, int64_t now_us)
{
    char event[2 * NAME_BYTES];

    if (line->gone || line->ending || !line->stream)
        return;
    if (now_us >= line->end_us) {
        line->ending = true;
        stream_end(line->stream);
        return;
    }
    if (waiting && (waiting->newest != line->newest || now_us - line->told_us >= KEEP_MS * INT64_C(1000))) {
        snprintf(event, sizeof event, "event: %s\ndata: {}\n\n", line->name);
        stream_send(line->stream, str_c(event));
        line->newest = waiting->newest;
        line->told_us = line->kept_us = now_us;
    }
    if (now_us - line->kept_us >= KEEP_MS * INT64_C(1000)) {
        stream_send(line->stream, STR(": still here\n\n"));
        line->kept_us = now_us;
    }
}

static const struct offer_waiting *find(const struct offer_waiting *waiting, int count, int64_t channel_id)
{
    for (int i = 0; i < count; i++)
        if (waiting[i].channel_id == channel_id)
            return &waiting[i];
    return NULL;
}

/* Is the line done? Only closed() says so of a stream; with its lock taken and given back nobody is inside any more. */
static bool is_over(struct push *push, struct line *line, const struct offer_waiting *waiting, int64_t now_us)
{
    bool over;

    if (line->call)
        return waiting || push->stopping || now_us >= line->end_us;
    pthread_mutex_lock(&line->lock);
    over = line->gone;
    tell(line, waiting, now_us);
    pthread_mutex_unlock(&line->lock);
    return over;
}

static void end(struct line *line)
{
    if (line->call)
        op_slow(line->call, line->run);
    line_free(line);
}

/* Take the lines that are over out of the list, and end them without its lock. */
static void serve_lines(struct push *push, const struct offer_waiting *waiting, int count)
{
    int64_t now_us = clock_mono_us();
    struct line *over = NULL;

    pthread_mutex_lock(&push->lock);
    for (struct line **at = &push->lines; *at;) {
        struct line *line = *at;

        if (!is_over(push, line, find(waiting, count, line->channel_id), now_us)) {
            at = &line->next;
            continue;
        }
        *at = line->next;
        push->count--;
        line->next = over;
        over = line;
    }
    pthread_mutex_unlock(&push->lock);
    while (over) {
        struct line *next = over->next;

        end(over);
        over = next;
    }
}

static int read_waiting(struct push *push, struct offer_waiting *out, int64_t *next_ms)
{
    struct err err = { 0 };
    struct db_session *session = db_read(push->hub->db, 0, &err);
    int count = session ? offer_waiting(session, out, PUSH_MAX, next_ms, &err) : -1;

    if (session)
        db_read_end(session);
    if (count < 0)
        log_warn("what waits for phones and bridges could not be read", LOG_T("detail", err.detail));
    return count;
}

static int wait_of(struct push *push, int64_t next_ms)
{
    int64_t now_us = clock_mono_us(), wait_ms = next_ms == INT64_MAX ? KEEP_MS : next_ms - clock_ms();

    pthread_mutex_lock(&push->lock);
    for (const struct line *line = push->lines; line; line = line->next)
        if ((line->end_us - now_us) / 1000 + 1 < wait_ms)
            wait_ms = (line->end_us - now_us) / 1000 + 1;
    pthread_mutex_unlock(&push->lock);
    return wait_ms < 0 ? 0 : wait_ms > 1000 ? 1000 : (int)wait_ms;
}

int push_step(struct push *push)
{
    struct arena *arena = arena_new(0);
    struct offer_waiting *waiting = arena_array(arena, PUSH_MAX, sizeof *waiting);
    int64_t next_ms = INT64_MAX;
    int count = read_waiting(push, waiting, &next_ms);

    serve_lines(push, waiting, count > 0 ? count : 0);
    arena_free(arena);
    return count < 0 ? FAULT_MS : wait_of(push, next_ms);
}

/* Without anybody no commit needs to wake us. False: the end. */
static bool wait_for_lines(struct push *push)
{
    bool goes_on;

    pthread_mutex_lock(&push->lock);
    while (!push->lines && !push->stopping)
        pthread_cond_wait(&push->joined, &push->lock);
    goes_on = !push->stopping;
    pthread_mutex_unlock(&push->lock);
    return goes_on;
}

static void *push_main(void *arg)
{
    struct push *push = arg;

    while (wait_for_lines(push)) {
        uint32_t seen = wake_seen(push->hub->wake);
        int wait_ms = push_step(push);

        nanosleep(&(const struct timespec){ 0, ROUND_MS * 1000000L }, NULL);
        if (wait_ms > ROUND_MS)
            wake_wait(push->hub->wake, seen, wait_ms - ROUND_MS);
    }
    return NULL;
}

/* --- Beginning and end ------------------------------------------------------------------------------------------- */

struct push *push_new(struct hub *hub)
{
    struct push *push = mem_alloc(sizeof *push);

    *push = (struct push){ .hub = hub };
    pthread_mutex_init(&push->lock, NULL);
    pthread_cond_init(&push->joined, NULL);
    push->has_thread = !hub->manual && pthread_create(&push->thread, NULL, push_main, push) == 0;
    if (!hub->manual && !push->has_thread)
        mem_exhausted(sizeof *push);
    return push;
}

void push_stop(struct push *push)
{
    if (!push)
        return;
    pthread_mutex_lock(&push->lock);
    push->stopping = true;
    pthread_cond_signal(&push->joined);
    pthread_mutex_unlock(&push->lock);
    wake_signal(push->hub->wake);
    if (push->has_thread)
        pthread_join(push->thread, NULL);
    push->has_thread = false;
    serve_lines(push, NULL, 0);
}

void push_free(struct push *push)
{
    if (!push)
        return;
    push_stop(push);
    while (push->lines) {
        struct line *next = push->lines->next;

        line_free(push->lines);
        push->lines = next;
    }
    pthread_cond_destroy(&push->joined);
    pthread_mutex_destroy(&push->lock);
    free(push);
}
