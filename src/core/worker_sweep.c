#include "core/worker_inside.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/event.h"
#include "core/fallback.h"
#include "core/hub.h"
#include "core/inbox.h"
#include "core/media.h"
#include "core/send.h"
#include "core/silence.h"

#define SWEEP_MS 5000
#define SWEEP_MORE_MS 50            /* after a pass that found something: each takes a part of what there is */
#define EXPIRED_MAX 200
#define SILENT_MAX 64
/* at least a day; a client whose clock is off gets another */
#define IDEMPOTENCY_MS (48 * 3600000LL)
#define OLD_ROWS 500

/* --- Leases that ran out ---------------------------------------------------------------------- */

static int take_over_sends(struct hub *hub, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct db_session *session = db_read(hub->db, 0, err);
    struct queue_send *sends = NULL;
    size_t count = 0;
    int64_t stale_ms = session ? db_now_ms(session, err) : -1;
    int failed = stale_ms < 0 ? -1 : queue_expired_sends(session, arena, &sends, &count, err);

    if (session)
        db_read_end(session);
    for (size_t i = 0; i < count && !failed; i++)
        failed = send_take_over(hub, &sends[i], stale_ms, err);
    arena_free(arena);
    return failed ? -1 : (int)count;
}

/* The claim does it too, as soon as something is due. An idle hub writes nothing. */
static int join_due(struct hub *hub, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    int64_t due_ms;
    int failed;

    if (!session)
        return -1;
    failed = db_query_int(session, "SELECT min(due_ms) FROM jobs WHERE state = 2", DB_NO_ARGS,
                          INT64_MAX, &due_ms, err);
    db_read_end(session);
    return failed ? -1 : due_ms <= clock_ms() ? queue_join(hub, err) : 0;
}

/* --- Messages that became too old while they waited ------------------------------------------- */

struct expiring {
    struct message messages[EXPIRED_MAX];
    int64_t lanes[EXPIRED_MAX];
    size_t count;
    int expired;
};

static int read_expiring(struct hub *hub, struct expiring *e, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    struct db_rows *rows = session ? db_query(session,
        "SELECT m.id, m.tenant_id, m.conversation_id FROM jobs j JOIN messages m ON m.id = "
        "j.message_id WHERE j.kind = 1 AND j.state IN (0, 2) AND m.state = 4 AND m.expires_ms <= "
        "$1 LIMIT $2",
        DB_ARGS(db_int(clock_ms()), db_int(EXPIRED_MAX)), err) : NULL;
    int more = -1;

    while (rows && (more = db_next(rows, err)) == 1) {
        e->lanes[e->count] = db_col_int(rows, 2);
        e->messages[e->count++] = (struct message){ .id = db_col_int(rows, 0),
            .tenant_id = db_col_int(rows, 1),
            .conversation_id = db_col_int(rows, 2), .direction = MESSAGE_OUT,
                .state = MESSAGE_QUEUED };
    }
    if (session)
        db_read_end(session);
    return more;
}

static int expire_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct expiring *e = arg;
    const struct message_change change = { .to = MESSAGE_EXPIRED, .at_ms = clock_ms(),
        .error_code = STR("expired"),
        .error_hint =
            STR("It could not be sent before its expiry; send it again if it still matters.") };

    e->expired = 0;
    if (queue_lock_lanes(tx, e->lanes, e->count, err))
        return -1;
    for (size_t i = 0; i < e->count; i++) {
        int moved = message_advance(tx, &e->messages[i], MESSAGE_QUEUED, &change, err);
        if (moved < 0)
            return -1;
        if (moved == 1 &&
            db_exec(tx, "DELETE FROM jobs WHERE message_id = $1 AND kind = 1 AND state IN (0, 2)",
                                  DB_ARGS(db_int(e->messages[i].id)), err) < 0)
            return -1;
        e->expired += moved;
    }
    return queue_promote(tx, JOB_SEND, e->lanes, e->count, err);
}

static int expire_messages(struct hub *hub, struct err *err)
{
    struct arena *arena = arena_new(sizeof(struct expiring));
    struct expiring *e = arena_alloc(arena, sizeof *e);
    int failed = read_expiring(hub, e, err), expired;

    if (!failed && e->count > 0)
        failed = db_write(hub->db, expire_tx, e, err);
    expired = e->expired;
    arena_free(arena);
    return failed ? -1 : expired;
}

/* --- Old rows --------------------------------------------------------------------------------- */

static int forget_tx(struct db_session *tx, void *arg, struct err *err)
{
    int64_t now_ms = *(const int64_t *)arg;

    if (db_exec(tx,
                "DELETE FROM idempotency WHERE (tenant_id, key_id, name) IN (SELECT i.tenant_id, "
                "i.key_id, i.name "
                    "FROM idempotency i WHERE i.created_ms < $1 LIMIT $2)",
                DB_ARGS(db_int(now_ms - IDEMPOTENCY_MS), db_int(OLD_ROWS)), err) < 0)
        return -1;
    return limit_sweep(tx, now_ms, err);
}

static int old_rows(struct db_session *session, int64_t now_ms, int64_t *count, struct err *err)
{
    return db_query_int(session,
                        "SELECT (SELECT count(*) FROM (SELECT 1 FROM idempotency WHERE created_ms "
                        "< $1 LIMIT 1) i) "
                                 "+ (SELECT count(*) FROM (SELECT 1 FROM limit_use WHERE "
                                 "window_ms < $2 LIMIT 1) u)",
                        DB_ARGS(db_int(now_ms - IDEMPOTENCY_MS),
                                db_int(now_ms - limit_width_ms(LIMIT_PER_DAY))), 0, count,
                        err);
}

/* Nothing is written when nothing is old. */
static int forget(struct hub *hub, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    int64_t now_ms = clock_ms(), count = 0;
    int failed = session ? old_rows(session, now_ms, &count, err) : -1;

    if (session)
        db_read_end(session);
    return failed || count == 0 ? failed : db_write(hub->db, forget_tx, &now_ms, err);
}

/* --- Channels that fell silent ---------------------------------------------------------------- */

struct silent {
    int64_t ids[SILENT_MAX], tenant_ids[SILENT_MAX];
    const char *why[SILENT_MAX];
    size_t count;
};

/* "Heard last 2026-11-20T10:00:00.000Z; usually it is silent for 4 minutes at most at this time." */
static int read_silent(struct hub *hub, struct arena *arena, struct silent *out, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    struct db_rows *rows = session ? db_query(session,
        "SELECT id, tenant_id, last_heard_ms, gaps FROM channels WHERE state = 0 AND alarm_ms IS NULL AND gaps IS NOT "
        "NULL ORDER BY id", DB_NO_ARGS, err) : NULL;
    int64_t now_ms = clock_ms();
    int more = -1;

    while (rows && out->count < SILENT_MAX && (more = db_next(rows, err)) == 1) {
        struct silence silence = silence_parse(db_col_text(rows, 3));
        int64_t heard_ms = db_col_int(rows, 2), due_ms = silence_due_ms(&silence, heard_ms);
        /* while the hub was down nothing could be heard */
        int64_t grace_ms = hub->started_ms > heard_ms ? hub->started_ms - heard_ms : 0;

        if (due_ms == INT64_MAX || due_ms + grace_ms > now_ms)
            continue;
        out->ids[out->count] = db_col_int(rows, 0);
        out->tenant_ids[out->count] = db_col_int(rows, 1);
        out->why[out->count++] = arena_printf(arena,
            "Nothing came since %s; usually something comes within %lld minutes at this time. Test the channel.",
            clock_iso(arena, heard_ms), (long long)((due_ms - heard_ms) / SILENCE_TIMES / 60000));
    }
    if (session)
        db_read_end(session);
    return more < 0 ? -1 : 0;
}

static int alarm_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct silent *silent = arg;

    for (size_t i = 0; i < silent->count; i++) {
        int64_t changed = db_exec(tx,
            "UPDATE channels SET alarm = $1, alarm_ms = $2 WHERE id = $3 AND alarm_ms IS NULL",
            DB_ARGS(db_cstr(silent->why[i]), db_int(clock_ms()), db_int(silent->ids[i])), err);
        if (changed < 0)
            return -1;
        if (changed == 1)
            event_add(tx, &(struct event){ .tenant_id = silent->tenant_ids[i], .kind = "channel.silent",
                                           .object_id = silent->ids[i], .at_ms = clock_ms() });
    }
    return 0;
}

static int raise_alarms(struct hub *hub, struct err *err)
{
    struct arena *arena = arena_new(sizeof(struct silent));
    struct silent *silent = arena_alloc(arena, sizeof *silent);
    int failed;

    silent->count = 0;
    failed = read_silent(hub, arena, silent, err);
    if (!failed && silent->count > 0)
        failed = db_write(hub->db, alarm_tx, silent, err);
    for (size_t i = 0; i < silent->count && !failed; i++)
        log_warn("a channel is silent", LOG_N("channel", silent->ids[i]), LOG_T("detail", silent->why[i]));
    failed = failed ? -1 : (int)silent->count;
    arena_free(arena);
    return failed;
}

int worker_sweep_step(struct hub *hub, int64_t *next_ms, struct err *err)
{
    int (*const parts[])(struct hub *, struct err *) = { take_over_sends, join_due,
        expire_messages, inbox_join_late, raise_alarms, fallback_step, media_sweep };
    int64_t again_ms;
    int done = 0, decided = queue_recover(hub, JOB_DECIDE, err), forwarded;

    forwarded = decided < 0 ? -1 : queue_recover(hub, JOB_WEBHOOK, err);
    if (forwarded < 0 || queue_recover(hub, JOB_FETCH, err) < 0)
        return -1;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        int part = parts[i](hub, err);
        if (part < 0)
            return -1;
        done += part;
    }
    done += decided + forwarded;
    again_ms = clock_ms() + (done > 0 ? SWEEP_MORE_MS : SWEEP_MS);
    if (again_ms < *next_ms)
        *next_ms = again_ms;
    return forget(hub, err) ? -1 : done;
}
