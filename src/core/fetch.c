#include "core/fetch.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/sniff.h"
#include "core/attachment.h"
#include "core/channel.h"
#include "core/event.h"
#include "core/media.h"
#include "core/worker_inside.h"
#include "net/pool.h"

#include <stdio.h>
#include <string.h>

#define FIRST_WAIT_MS 5000
#define LONGEST_WAIT_MS 3600000

/* What became of a try. */
enum fetch_end { FETCH_STORED, FETCH_AGAIN, FETCH_GIVEN_UP, FETCH_GONE };

struct fetching {
    struct hub *hub;
    struct sender *sender;          /* renews the lease; NULL: nobody does */
    struct arena *arena;
    struct job job;
    bool taken;
    struct attachment attachment;
    struct channel channel;
    struct media media;
    enum fetch_end end;
    int retry_after_s;
    struct err why;                 /* unless it was stored */
};

int64_t fetch_wait_ms(int64_t failures, uint32_t roll)
{
    int64_t wait_ms = FIRST_WAIT_MS;

    for (int64_t i = 1; i < failures && wait_ms < LONGEST_WAIT_MS; i++)
        wait_ms *= 3;
    if (wait_ms > LONGEST_WAIT_MS)
        wait_ms = LONGEST_WAIT_MS;
    return wait_ms / 2 + (int64_t)(((uint64_t)wait_ms / 2 * roll) >> 32);
}

/* --- One try ----------------------------------------------------------------------------------------------------- */

static int give_up(struct fetching *f, enum err_code code, const char *text)
{
    f->end = FETCH_GIVEN_UP;
    return err_set(&f->why, code, "%s", text);
}

/* What an answer means that is not the file. */
static int judge(struct fetching *f, const struct exchange_reply *reply)
{
    f->end = FETCH_AGAIN;
    f->retry_after_s = reply->retry_after_s;
    if (reply->end != EXCHANGE_ANSWERED && reply->err.code == ERR_TOO_LARGE)
        return give_up(f, ERR_TOO_LARGE, "The file is larger than the hub keeps.");
    if (reply->end != EXCHANGE_ANSWERED && (reply->err.code == ERR_FORBIDDEN || reply->err.code == ERR_INVALID))
        return give_up(f, reply->err.code, "The file's address is not one that may be reached.");
    if (reply->end != EXCHANGE_ANSWERED) {
        f->why = reply->err;
        return -1;
    }
    if (reply->status == 404 || reply->status == 410)
        return give_up(f, ERR_NOT_FOUND, "The file is not there any more.");
    return err_set(&f->why, ERR_UNAVAILABLE, "Asked for the file, the other side answered %d.", reply->status);
}

/* A URL from outside: public addresses only, on every hop. */
static int get_public(struct fetching *f, struct exchange_reply *reply)
{
    const char *url = str_dup(f->arena, f->attachment.ref);

    for (int hop = 0; hop <= LIMIT_FETCH_HOPS; hop++) {
        const struct exchange_request request = { .method = HTTP_GET, .url = url, .egress = EGRESS_PUBLIC,
            .tenant_id = f->job.tenant_id, .timeout_ms = LIMIT_SEND_MS, .answer_max = LIMIT_MEDIA_BYTES };
        struct str next;

        *reply = (struct exchange_reply){ 0 };
        f->hub->exchange->run(f->hub->exchange, f->arena, &request, reply);
        next = exchange_header(reply, "Location");
        if (reply->end != EXCHANGE_ANSWERED || reply->status < 300 || reply->status > 399 || !next.len)
            return 0;
        if (!str_starts(next, "https://") && !str_starts(next, "http://"))
            return give_up(f, ERR_INVALID, "The file's address leads to one that is no whole URL.");
        url = str_dup(f->arena, next);
    }
    return give_up(f, ERR_INVALID, "The file's address leads from one to the next without an end.");
}

static int get_by_driver(struct fetching *f, struct exchange_reply *reply)
{
    const struct channel_attachment wanted = { .name = f->attachment.name, .type = f->attachment.type,
        .ref = f->attachment.ref, .size = f->attachment.size, .arena = f->arena };

    if (f->channel.driver->fetch(&f->channel, &wanted, f->hub->exchange, reply, &f->why) == 0)
        return 0;
    f->end = f->why.code == ERR_NOT_FOUND || f->why.code == ERR_TOO_LARGE ? FETCH_GIVEN_UP : FETCH_AGAIN;
    f->retry_after_s = f->why.retry_after_s;
    return -1;
}

/* The bytes into the store. */
static int keep(struct fetching *f, const struct exchange_reply *reply)
{
    if (reply->end != EXCHANGE_ANSWERED || reply->status < 200 || reply->status > 299)
        return judge(f, reply);
    f->media.tenant_id = f->job.tenant_id;
    if (media_put(f->hub, f->arena, &f->media, reply->body, &f->why)) {
        f->end = f->why.code == ERR_INVALID || f->why.code == ERR_TOO_LARGE ? FETCH_GIVEN_UP : FETCH_AGAIN;
        return -1;
    }
    f->end = FETCH_STORED;
    return 0;
}

static void try_once(struct fetching *f)
{
    bool ours = !f->attachment.is_public && f->channel.driver && f->channel.driver->fetch;
    struct exchange_reply reply = { 0 };
    size_t room = 2 * (f->attachment.size > 0 && f->attachment.size < LIMIT_MEDIA_BYTES ? (size_t)f->attachment.size
                                                                                         : LIMIT_MEDIA_BYTES);

    f->end = FETCH_AGAIN;
    if (media_hold(room, &f->why))
        return;
    if ((ours ? get_by_driver(f, &reply) : get_public(f, &reply)) == 0)
        keep(f, &reply);
    media_release(room);
}

/* The file and its channel. A message that is gone, or a file that is not pending, wants nothing. */
static int load(struct fetching *f, struct err *err)
{
    struct db_session *session = db_read(f->hub->db, f->job.tenant_id, err);
    int found;

    if (!session)
        return -1;
    f->attachment.message_id = f->job.message_id;
    f->attachment.position = f->job.lane_seq;
    found = attachment_get(session, f->arena, &f->attachment, err);
    db_read_end(session);
    if (found == 1 && f->attachment.state == ATTACHMENT_PENDING) {
        found = channel_load(f->hub->db, f->arena, CHANNEL_ID(f->job.tenant_id, f->job.channel_id), &f->channel, err);
        if (found < 0 && err->code != ERR_UNAVAILABLE)
            found = 0;
        return found < 0 ? -1 : 1;
    }
    f->end = FETCH_GONE;
    return found < 0 ? -1 : 0;
}

/* --- Its result -------------------------------------------------------------------------------------------------- */

/* A message that waits to go out with this file need not wait any longer. */
static int settle(struct db_session *tx, const struct fetching *f, struct err *err)
{
    bool stored = f->end == FETCH_STORED;
    int64_t now_ms = clock_ms();
    const char *data = arena_printf(db_arena(tx), "{\"position\":%lld}", (long long)f->attachment.position);
    struct str type = stored ? f->media.type : f->attachment.type, name = f->attachment.name;
    const char *safe = stored && name.len > 0 ? sniff_name(db_arena(tx), name, str_dup(db_arena(tx), type))
                                              : str_dup(db_arena(tx), name);
    int64_t changed = db_exec(tx,
        "UPDATE attachments SET state = $1, media_id = $2, type = $3, size = $4, reason = $5, updated_ms = $6, "
        "name = $7 WHERE message_id = $8 AND position = $9 AND state = 0",
        DB_ARGS(db_int(stored ? ATTACHMENT_STORED : ATTACHMENT_FAILED), db_id(stored ? f->media.id : 0), db_text(type),
                db_int(stored ? f->media.size : f->attachment.size), db_cstr(stored ? NULL : f->why.detail),
                db_int(now_ms), db_cstr(safe), db_int(f->job.message_id), db_int(f->attachment.position)), err);

    if (changed <= 0)
        return (int)changed;
    event_add(tx, &(struct event){ .tenant_id = f->job.tenant_id,
        .kind = stored ? "attachment.stored" : "attachment.failed", .object_id = f->job.message_id,
        .conversation_id = f->job.conversation_id, .at_ms = now_ms, .data = str_c(data) });
    return db_exec(tx, "UPDATE messages SET updated_ms = $1 WHERE id = $2",
                   DB_ARGS(db_int(now_ms), db_int(f->job.message_id)), err) < 0
        || db_exec(tx, "UPDATE jobs SET due_ms = $1 WHERE message_id = $2 AND kind = 1 AND state = 2 AND head = 1 "
                   "AND last_error = 'file_pending'", DB_ARGS(db_int(now_ms), db_int(f->job.message_id)), err) < 0
        ? -1 : 0;
}

static int finish_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct fetching *f = arg;
    struct job job = f->job;
    uint32_t roll;
    int64_t wait_ms;
    int ended;

    if (f->end == FETCH_AGAIN && clock_ms() - job.first_ms >= LIMIT_FETCH_MS)
        f->end = FETCH_GIVEN_UP;
    if (f->end != FETCH_AGAIN) {
        ended = queue_remove(tx, &job, err);
        return ended < 0 || (ended == 1 && f->end != FETCH_GONE && settle(tx, f, err)) ? -1 : 0;
    }
    id_random(&roll, sizeof roll);
    job.failures++;
    wait_ms = fetch_wait_ms(job.failures, roll);
    if (f->retry_after_s > 0 && f->retry_after_s < LIMIT_FETCH_MS / 1000)
        wait_ms = f->retry_after_s * 1000LL;
    return queue_again(tx, &job, clock_ms() + wait_ms, str_c(f->why.detail), err) < 0 ? -1 : 0;
}

/* --- The entry points -------------------------------------------------------------------------------------------- */

static int take_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct fetching *f = arg;
    struct job job = f->job;
    int taken = queue_take(tx, &job, f->hub->node, err);

    f->taken = taken == 1;
    return taken < 0 ? -1 : 0;
}

static int work(struct fetching *f, struct err *err)
{
    int wanted = load(f, err);

    if (wanted == 1)
        try_once(f);
    return wanted < 0 ? -1 : db_write(f->hub->db, finish_tx, f, err);
}

static void work_on_thread(void *arg)
{
    struct fetching *f = arg;
    struct err err = { 0 };

    if (work(f, &err))
        log_error("the result of a fetch was not stored; its lease runs out", LOG_N("job", f->job.id),
                  LOG_T("detail", err.detail));
    worker_release(f->sender, f->job.id);
    arena_free(f->arena);
}

/* Take one job; without a pool it is worked on before this returns. */
static int begin(struct hub *hub, struct pool *pool, struct sender *sender, const struct job *job, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct fetching *f = arena_alloc(arena, sizeof *f);
    int failed;

    *f = (struct fetching){ .hub = hub, .sender = sender, .arena = arena, .job = *job };
    failed = db_write(hub->db, take_tx, f, err);
    f->job.attempt += f->taken;
    if (!failed && f->taken && pool) {
        worker_hold(sender, f->job.id, f->job.attempt);
        if (pool_add(pool, work_on_thread, f))
            return 0;
        worker_release(sender, f->job.id);
    }
    if (!failed && f->taken)
        failed = work(f, err);
    arena_free(arena);
    return failed;
}

/* Where and how jobs run. */
struct way {
    struct pool *pool;
    struct sender *sender;
    int limit;
};

static int fetch_due(struct hub *hub, const struct way *way, int64_t *next_ms, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct queue_due due = { .kind = JOB_FETCH, .limit = way->limit, .next_ms = INT64_MAX };
    struct db_session *session = db_read(hub->db, 0, err);
    int failed = session ? queue_due(session, arena, &due, err) : -1;

    if (session)
        db_read_end(session);
    if (!failed && due.next_ms < *next_ms)
        *next_ms = due.next_ms;
    for (size_t i = 0; i < due.count && !failed; i++)
        failed = begin(hub, way->pool, way->sender, &due.jobs[i], err);
    arena_free(arena);
    return failed ? -1 : (int)due.count;
}

int fetch_step(struct hub *hub, int limit, int64_t *next_ms, struct err *err)
{
    return fetch_due(hub, &(struct way){ .limit = limit }, next_ms, err);
}

int fetch_start(struct hub *hub, struct pool *pool, struct sender *sender, int64_t *next_ms, struct err *err)
{
    int busy = (int)(pool_waiting(pool) + pool_running(pool));

    /* each that ends commits something, which wakes the caller */
    if (busy >= LIMIT_FETCHES)
        return 0;
    return fetch_due(hub, &(struct way){ pool, sender, LIMIT_FETCHES - busy }, next_ms, err);
}
