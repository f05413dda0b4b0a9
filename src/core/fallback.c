#include "core/fallback.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/event.h"
#include "core/outbox_group.h"
#include "core/queue_lane.h"

#define DUE_MAX 50
#define COLUMNS 5

/* One that is looked at. */
struct fallback {
    struct hub *hub;
    struct arena *arena;
    int64_t message_id, tenant_id, channel_id;
    struct str address;
    bool is_due;
    struct outbox_write write;      /* what goes out instead */
    const char *failure;            /* why it cannot go out */
    bool done;                      /* out: it was decided */
};

enum fallback_verdict fallback_verdict(enum message_state state, bool is_due)
{
    switch (state) {
    case MESSAGE_FAILED:
        return FALLBACK_SENDS;
    case MESSAGE_DELIVERED:
    case MESSAGE_READ:
    case MESSAGE_CANCELLED:
    case MESSAGE_SUPPRESSED:
    case MESSAGE_EXPIRED:
        return FALLBACK_NEEDLESS;
    case MESSAGE_QUEUED:
    case MESSAGE_SENT:
    case MESSAGE_UNKNOWN:
        return is_due ? FALLBACK_SENDS : FALLBACK_WAITS;
    default:
        return FALLBACK_WAITS;
    }
}

int fallback_store(struct db_session *tx, struct outbox_prepared **writes, size_t count, struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), count * COLUMNS, sizeof *values);
    struct db_set set = { "INSERT INTO fallbacks (message_id, tenant_id, channel_id, address, due_ms) :rows:", "iiiti",
                          values, 0 };

    for (size_t i = 0; i < count; i++) {
        const struct outbox_request *request = &writes[i]->write->request;
        int64_t from_ms = request->scheduled_ms > writes[i]->now_ms ? request->scheduled_ms : writes[i]->now_ms;
        struct db_value *row = values + set.row_count * COLUMNS;

        if (!request->fallback.channel_id || request->draft || writes[i]->write->suppressed)
            continue;
        set.row_count++;
        row[0] = db_int(writes[i]->write->message_id);
        row[1] = db_int(request->tenant_id);
        row[2] = db_int(request->fallback.channel_id);
        row[3] = db_text(request->fallback.to);
        row[4] = db_int(from_ms + request->fallback.after_ms);
    }
    if (set.row_count == 0)
        return 0;
    return db_exec_rows(tx, &set, err) == (int64_t)set.row_count ? 0 : -1;
}

/* --- Deciding one ------------------------------------------------------------------------------ */

static int settle(struct db_session *tx, const struct fallback *f, int state, const char *reason, struct err *err)
{
    int64_t changed = db_exec(tx,
        "UPDATE fallbacks SET state = $1, sent_id = $2, reason = $3, decided_ms = $4 WHERE message_id = $5 AND "
        "state = 0",
        DB_ARGS(db_int(state), db_id(state == 1 ? f->write.message_id : 0), db_cstr(reason), db_int(clock_ms()),
                db_int(f->message_id)), err);

    return changed < 0 ? -1 : changed == 1;
}

static void tell(struct db_session *tx, const struct message *message, const char *kind, const char *data)
{
    event_add(tx, &(struct event){ .tenant_id = message->tenant_id, .kind = kind, .object_id = message->id,
        .conversation_id = message->conversation_id, .at_ms = clock_ms(), .data = str_c(data) });
}

/* Surely not sent yet: it is not sent any more. */
static int cancel(struct db_session *tx, const struct message *message, struct err *err)
{
    const struct message_change change = { .to = MESSAGE_CANCELLED, .at_ms = clock_ms(), .error_code = STR("fell_back"),
        .error_hint = STR("It was not sent in time; it went out over the fallback channel.") };

    if (message_advance(tx, message, MESSAGE_QUEUED, &change, err) < 0 ||
        db_exec(tx, "DELETE FROM jobs WHERE message_id = $1 AND kind = 1", DB_ARGS(db_int(message->id)), err) < 0)
        return -1;
    return queue_promote(tx, JOB_SEND, &message->conversation_id, 1, err);
}

static const char *reason_of(const struct message *message)
{
    return message->state == MESSAGE_FAILED ? "It failed."
        : message->state == MESSAGE_QUEUED  ? "It was not sent in time."
                                            : "No receipt came in time.";
}

static int send_instead(struct db_session *tx, struct fallback *f, const struct message *message, struct err *err)
{
    char id[ID_TEXT_BYTES];
    int settled = settle(tx, f, 1, reason_of(message), err);

    if (settled != 1)
        return settled;
    if (message->state == MESSAGE_QUEUED && cancel(tx, message, err))
        return -1;
    if (outbox_add(tx, &f->write, err))
        return -1;
    tell(tx, message, "message.fell_back", arena_printf(db_arena(tx), "{\"message\":\"%s\",\"reason\":\"%s\"}",
                                                        id_encode(id, ID_MESSAGE, f->write.message_id),
                                                        reason_of(message)));
    tell(tx, &(const struct message){ .id = f->write.message_id, .tenant_id = message->tenant_id },
         "message.fallback_of", arena_printf(db_arena(tx), "{\"message\":\"%s\",\"reason\":\"%s\"}",
                                             id_encode(id, ID_MESSAGE, message->id), reason_of(message)));
    return 1;
}

static int give_up(struct db_session *tx, const struct fallback *f, const struct message *message, struct err *err)
{
    int settled = settle(tx, f, 3, f->failure, err);

    if (settled == 1)
        tell(tx, message, "message.fallback_failed", "{}");
    return settled;
}

static int decide_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct fallback *f = arg;
    struct message message = { .id = f->message_id, .tenant_id = f->tenant_id };
    int found = message_get(tx, db_arena(tx), &message, err), done;

    f->done = false;
    if (found == 1)
        found = conversation_lock(tx, f->tenant_id, message.conversation_id, err);
    if (found == 1)
        found = message_get(tx, db_arena(tx), &message, err);
    if (found < 0)
        return -1;
    switch (found ? fallback_verdict((enum message_state)message.state, f->is_due) : FALLBACK_NEEDLESS) {
    case FALLBACK_NEEDLESS:
        done = settle(tx, f, 2, NULL, err);
        break;
    case FALLBACK_SENDS:
        done = f->failure ? give_up(tx, f, &message, err) : send_instead(tx, f, &message, err);
        break;
    default:
        return 0;
    }
    f->done = done == 1;
    return done < 0 ? -1 : 0;
}

/* What would go out instead. 0; -1 storage failed. That it cannot go out is no failure of this. */
static int prepare(struct fallback *f, struct err *err)
{
    struct message message = { .id = f->message_id, .tenant_id = f->tenant_id };
    struct db_session *session = db_read(f->hub->db, f->tenant_id, err);
    int found = session ? message_get(session, f->arena, &message, err) : -1, files = 0;
    struct attachment *rows;

    if (found == 1 && (files = attachment_list(session, f->arena, message.id, &rows, err)) < 0)
        found = -1;
    if (session)
        db_read_end(session);
    if (found != 1)
        return found;
    f->write.request = (struct outbox_request){ .tenant_id = f->tenant_id, .channel_id = f->channel_id,
        .to = f->address, .text = message.text, .metadata = message.metadata, .priority = message.priority,
        .origin = (enum message_origin)message.origin, .attachment_count = (size_t)files };
    if (files > 0)
        f->write.request.attachments = attachment_again(f->arena, rows, (size_t)files);
    if (outbox_prepare(f->hub, f->arena, &f->write, err) == 0)
        return 0;
    if (err->code == ERR_UNAVAILABLE || err->code == ERR_STORAGE_FULL || err->code == ERR_INTERNAL)
        return -1;
    f->failure = arena_strdup(f->arena, err->detail);
    *err = (struct err){ 0 };
    return 0;
}

/* --- All that are due --------------------------------------------------------------------------- */

static int read_due(struct hub *hub, struct arena *arena, struct fallback *out, struct err *err)
{
    int64_t now_ms = clock_ms();
    struct db_session *session = db_read(hub->db, 0, err);
    struct db_rows *rows = session ? db_query(session,
        "SELECT f.message_id, f.tenant_id, f.channel_id, f.address, f.due_ms FROM fallbacks f JOIN messages m ON "
        "m.id = f.message_id WHERE f.state = 0 AND (f.due_ms <= $1 OR m.state = $2) AND m.state <> $3 "
        "ORDER BY f.due_ms LIMIT $4",
        DB_ARGS(db_int(now_ms), db_int(MESSAGE_FAILED), db_int(MESSAGE_SENDING), db_int(DUE_MAX)), err) : NULL;
    int count = 0, more = -1;

    while (rows && (more = db_next(rows, err)) == 1) {
        struct str address = db_col_text(rows, 3);

        out[count++] = (struct fallback){ .hub = hub, .arena = arena, .message_id = db_col_int(rows, 0),
            .tenant_id = db_col_int(rows, 1), .channel_id = db_col_int(rows, 2),
            .address = { str_dup(arena, address), address.len }, .is_due = db_col_int(rows, 4) <= now_ms };
    }
    if (session)
        db_read_end(session);
    return more < 0 ? -1 : count;
}

int fallback_step(struct hub *hub, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct fallback *due = arena_array(arena, DUE_MAX, sizeof *due);
    int count = read_due(hub, arena, due, err), done = 0;

    for (int i = 0; i < count; i++) {
        if (prepare(&due[i], err) || db_write(hub->db, decide_tx, &due[i], err)) {
            done = -1;
            break;
        }
        done += due[i].done;
    }
    arena_free(arena);
    return count < 0 ? -1 : done;
}
