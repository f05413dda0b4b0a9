/* What people do to messages on their way. Every doing takes the conversation's row first, because
 * it changes the lane. */
#include "base/arena.h"
#include "base/clock.h"
#include "core/outbox_group.h"
#include "core/queue.h"
#include "core/split.h"

enum doing { CANCEL, HOLD, RETRY, ARRIVED, NOT_ARRIVED, SEND_DRAFT };

/* One doing; `done` is its outcome. */
struct deed {
    enum doing doing;
    int64_t tenant_id, message_id;
    int64_t job_id;                 /* RETRY, SEND_DRAFT: of the new job */
    int64_t now_ms;
    int parts;                      /* SEND_DRAFT: of the text as it is now */
    int done;
};

/* Take the message's conversation, then read the message as it is under that lock. */
static int take(struct db_session *tx, const struct deed *deed, struct message *message,
                struct err *err)
{
    int found;

    *message = (struct message){ .tenant_id = deed->tenant_id, .id = deed->message_id };
    found = message_get(tx, db_arena(tx), message, err);
    if (found == 1)
        found = conversation_lock(tx, deed->tenant_id, message->conversation_id, err);
    if (found == 1)
        found = message_get(tx, db_arena(tx), message, err);
    if (found == 0 || (found == 1 && message->direction != MESSAGE_OUT))
        return err_set(err, ERR_NOT_FOUND, "There is no such outgoing message.");
    return found < 0 ? -1 : 0;
}

static int advance(struct db_session *tx, const struct deed *deed, const struct message *message,
                   enum message_state to, struct err *err)
{
    struct message_change change = { .to = to, .at_ms = deed->now_ms };

    if (to == MESSAGE_QUEUED || to == MESSAGE_SENT)
        change.error_code = change.error_hint = STR("");
    if (to == MESSAGE_FAILED) {
        change.error_code = STR("not_arrived");
        change.error_hint = STR("A person said that it did not arrive. Retry it to send it again.");
    }
    return message_advance(tx, message, (enum message_state)message->state, &change, err);
}

/* The lane goes on without this message's job. */
static int leave_lane(struct db_session *tx, const struct message *message, bool keep,
                      struct err *err)
{
    const char *sql = keep
                          ? "UPDATE jobs SET state = 3, head = 0 WHERE message_id = $1 AND kind = 1"
                          : "DELETE FROM jobs WHERE message_id = $1 AND kind = 1";

    if (db_exec(tx, sql, DB_ARGS(db_int(message->id)), err) < 0)
        return -1;
    return queue_promote(tx, JOB_SEND, &message->conversation_id, 1, err);
}

/* How far the message came before: parts that the provider took are not sent again, and attempt
 * numbers go on growing. */
static int read_progress(struct db_session *tx, int64_t message_id, struct outbox_job *job,
                         struct err *err)
{
    return db_query_int(tx, "SELECT MAX(attempt) FROM attempts WHERE message_id = $1 AND act_id IS NULL",
                        DB_ARGS(db_int(message_id)), 0, &job->attempt, err)
        || db_query_int(tx, "SELECT MAX(part) + 1 FROM attempts WHERE message_id = $1 "
                        "AND outcome = $2 AND act_id IS NULL", DB_ARGS(db_int(message_id), db_int(ATTEMPT_DONE)), 0,
                        &job->part, err) ? -1 : 0;
}

static int add_job(struct db_session *tx, const struct deed *deed, const struct message *message,
                   struct err *err)
{
    struct outbox_job job = { .id = deed->job_id, .tenant_id = message->tenant_id,
        .channel_id = message->channel_id, .conversation_id = message->conversation_id,
        .message_id = message->id, .lane_seq = message->position, .priority = message->priority,
        .now_ms = deed->now_ms, .scheduled = message->times.scheduled_ms > deed->now_ms };

    job.due_ms = job.scheduled ? message->times.scheduled_ms : deed->now_ms;
    if (read_progress(tx, message->id, &job, err))
        return -1;
    /* a message in which every part went out is sent again whole: that is what was asked for */
    if (job.part >= message->parts)
        job.part = 0;
    return outbox_add_job(tx, &job, err);
}

/* Queue it (again); one that would be too late already gets a new day. */
static int requeue(struct db_session *tx, const struct deed *deed, const struct message *message,
                   struct err *err)
{
    int64_t start_ms = message->times.scheduled_ms > deed->now_ms ? message->times.scheduled_ms
                                                                  : deed->now_ms;
    int moved = advance(tx, deed, message, MESSAGE_QUEUED, err);

    if (moved != 1)
        return moved;
    if (message->times.expires_ms <= start_ms
        && db_exec(tx, "UPDATE messages SET expires_ms = $1 WHERE id = $2",
                   DB_ARGS(db_int(start_ms + OUTBOX_EXPIRY_MS), db_int(message->id)), err) < 0)
        return -1;
    if (leave_lane(tx, message, false, err) || add_job(tx, deed, message, err))
        return -1;
    return 1;
}

/* A draft takes its place in the conversation when it is sent, not when it was written. */
static int send_draft(struct db_session *tx, const struct deed *deed, struct message *message,
                      struct err *err)
{
    bool by_person = message->origin == ORIGIN_PERSON;

    if (db_exec(tx, "UPDATE conversations SET last_position = last_position + 1, "
                "last_message_id = $1, last_message_ms = $2, updated_ms = $2, "
                "paused_until_ms = COALESCE($3, paused_until_ms), "
                "auto_turns = CASE WHEN $3 IS NULL THEN auto_turns ELSE 0 END "
                "WHERE tenant_id = $4 AND id = $5",
                DB_ARGS(db_int(message->id), db_int(deed->now_ms),
                        db_id(by_person ? CONVERSATION_PAUSED_FOR_GOOD : 0),
                        db_int(message->tenant_id), db_int(message->conversation_id)), err) < 0
        || db_query_int(tx, "SELECT last_position FROM conversations WHERE id = $1",
                        DB_ARGS(db_int(message->conversation_id)), 0, &message->position, err)
        || db_exec(tx, "UPDATE messages SET position = $1, parts = $2 WHERE id = $3",
                   DB_ARGS(db_int(message->position), db_int(deed->parts), db_int(message->id)),
                   err) < 0)
        return -1;
    return requeue(tx, deed, message, err);
}

static int act(struct db_session *tx, const struct deed *deed, struct message *message,
               struct err *err)
{
    enum message_state state = (enum message_state)message->state;
    enum message_state to;
    int moved;

    if (deed->doing == RETRY)
        return state == MESSAGE_FAILED || state == MESSAGE_HELD || state == MESSAGE_UNKNOWN
            ? requeue(tx, deed, message, err) : 0;
    if (deed->doing == SEND_DRAFT)
        return state == MESSAGE_DRAFT ? send_draft(tx, deed, message, err) : 0;
    to = deed->doing == CANCEL ? MESSAGE_CANCELLED : deed->doing == HOLD ? MESSAGE_HELD
        : deed->doing == ARRIVED ? MESSAGE_SENT : MESSAGE_FAILED;
    /* only what is unknown is for people to resolve; and what fails by itself is not their doing */
    if ((deed->doing == ARRIVED || deed->doing == NOT_ARRIVED) && state != MESSAGE_UNKNOWN)
        return 0;
    moved = advance(tx, deed, message, to, err);
    if (moved != 1)
        return moved;
    if (deed->doing == NOT_ARRIVED && message_renew_key(tx, message->id, err))
        return -1;
    return leave_lane(tx, message, deed->doing == HOLD, err) ? -1 : 1;
}

static int deed_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct deed *deed = arg;
    struct message message;

    if (take(tx, deed, &message, err))
        return -1;
    deed->done = act(tx, deed, &message, err);
    return deed->done < 0 ? -1 : 0;
}

static int run(struct hub *hub, struct deed *deed, struct err *err)
{
    deed->now_ms = clock_ms();
    return db_write(hub->db, deed_tx, deed, err) ? -1 : deed->done;
}

int outbox_cancel(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err)
{
    struct deed deed = { .doing = CANCEL, .tenant_id = tenant_id, .message_id = message_id };

    return run(hub, &deed, err);
}

int outbox_hold(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err)
{
    struct deed deed = { .doing = HOLD, .tenant_id = tenant_id, .message_id = message_id };

    return run(hub, &deed, err);
}

int outbox_retry(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err)
{
    struct deed deed = { .doing = RETRY, .tenant_id = tenant_id, .message_id = message_id,
                         .job_id = ids_next(hub->ids, err) };

    return deed.job_id < 0 ? -1 : run(hub, &deed, err);
}

int outbox_resolve(struct hub *hub, int64_t tenant_id, int64_t message_id, bool arrived,
                   struct err *err)
{
    struct deed deed = { .doing = arrived ? ARRIVED : NOT_ARRIVED, .tenant_id = tenant_id,
                         .message_id = message_id };

    return run(hub, &deed, err);
}

/* A draft may have been edited since it was split, so it is split again. */
static int count_parts(struct hub *hub, struct deed *deed, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct message message = { .tenant_id = deed->tenant_id, .id = deed->message_id };
    struct db_session *session = db_read(hub->db, deed->tenant_id, err);
    struct channel channel;
    int found = session ? message_get(session, arena, &message, err) : -1, files = 0;
    struct attachment *list;

    if (found == 1 && (files = attachment_list(session, arena, message.id, &list, err)) < 0)
        found = -1;
    if (session)
        db_read_end(session);
    if (found == 1)
        found = channel_load(hub->db, arena, CHANNEL_ID(deed->tenant_id, message.channel_id),
                             &channel, err);
    if (found == 1 && channel.driver)
        deed->parts = split_plan(channel.driver, message.text, files).parts;
    if (found == 0)
        err_set(err, ERR_NOT_FOUND, "There is no such outgoing message.");
    if (found == 1 && deed->parts > LIMIT_PARTS_PER_MESSAGE)
        found = err_field(err, "text", "The text makes %d parts; at most %d are sent.",
                          deed->parts, LIMIT_PARTS_PER_MESSAGE);
    arena_free(arena);
    return found == 1 ? 0 : -1;
}

int outbox_send_draft(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err)
{
    struct deed deed = { .doing = SEND_DRAFT, .tenant_id = tenant_id, .message_id = message_id,
                         .parts = 1, .job_id = ids_next(hub->ids, err) };

    if (deed.job_id < 0 || count_parts(hub, &deed, err))
        return -1;
    return run(hub, &deed, err);
}
