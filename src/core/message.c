#include "core/message.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "core/event.h"

#include <stddef.h>

/* What an urgent and a normal job are ahead of a bulk one. */
#define URGENT_AHEAD_MS (120 * 1000)
#define NORMAL_AHEAD_MS (30 * 1000)

const char *const message_direction_words[] = { "in", "out", NULL };
const char *const message_state_words[] = { "received",  "processing", "processed",  "draft",
                                            "queued",    "sending",    "sent",       "delivered",
                                            "read",      "held",       "unknown",    "failed",
                                            "cancelled", "expired",    "suppressed", NULL };
const char *const message_origin_words[] = { "contact", "person",    "phone", "rule", "agent",
                                             "auto",    "scheduled", "push",  NULL };
const char *const message_priority_words[] = { "normal", "bulk", "urgent", NULL };

#define AT(member) offsetof(struct message, member)

const struct column message_columns[] = {
    { "id", COL_REF, AT(id), COL_PUBLIC, ID_MESSAGE, NULL, NULL },
    { "tenant_id", COL_INT, AT(tenant_id), 0, NULL, NULL, NULL },
    { "conversation_id", COL_REF, AT(conversation_id), COL_PUBLIC, ID_CONVERSATION, NULL, NULL },
    { "position", COL_INT, AT(position), COL_PUBLIC, NULL, NULL, NULL },
    { "channel_id", COL_REF, AT(channel_id), COL_PUBLIC, ID_CHANNEL, NULL, NULL },
    { "contact_id", COL_REF, AT(contact_id), COL_PUBLIC, ID_CONTACT, NULL, NULL },
    { "device_id", COL_REF, AT(device_id), COL_PUBLIC, ID_DEVICE, NULL, NULL },
    { "direction", COL_ENUM, AT(direction), COL_PUBLIC, NULL, message_direction_words, NULL },
    { "state", COL_ENUM, AT(state), COL_PUBLIC, NULL, message_state_words, NULL },
    { "type", COL_TEXT, AT(type), COL_PUBLIC, NULL, NULL, NULL },
    { "origin", COL_ENUM, AT(origin), COL_PUBLIC, NULL, message_origin_words, NULL },
    { "priority", COL_ENUM, AT(priority), COL_PUBLIC, NULL, message_priority_words, NULL },
    { "address", COL_TEXT, AT(address), 0, NULL, NULL, NULL },
    { "text", COL_TEXT, AT(text), COL_PUBLIC, NULL, NULL, NULL },
    { "metadata", COL_JSON, AT(metadata), COL_PUBLIC, NULL, NULL, NULL },
    { "external_id", COL_TEXT, AT(external_id), COL_PUBLIC, NULL, NULL, NULL },
    { "reply_to_id", COL_REF, AT(reply_to_id), COL_PUBLIC, ID_MESSAGE, NULL, NULL },
    { "cause_id", COL_REF, AT(cause_id), COL_PUBLIC, ID_MESSAGE, NULL, NULL },
    { "decision_id", COL_REF, AT(decision_id), COL_PUBLIC, ID_DECISION, NULL, NULL },
    { "is_history", COL_BOOL, AT(is_history), COL_PUBLIC, NULL, NULL, NULL },
    { "is_automatic", COL_BOOL, AT(is_automatic), COL_PUBLIC, NULL, NULL, NULL },
    { "provider_ms", COL_TIME, AT(times.provider_ms), COL_PUBLIC, NULL, NULL, "provider_at" },
    { "offset_min", COL_INT, AT(times.offset_min), COL_PUBLIC, NULL, NULL, NULL },
    { "received_ms", COL_TIME, AT(times.received_ms), COL_PUBLIC, NULL, NULL, "received_at" },
    { "updated_ms", COL_TIME, AT(times.updated_ms), COL_PUBLIC, NULL, NULL, "updated_at" },
    { "scheduled_ms", COL_TIME, AT(times.scheduled_ms), COL_PUBLIC, NULL, NULL, "scheduled_at" },
    { "expires_ms", COL_TIME, AT(times.expires_ms), COL_PUBLIC, NULL, NULL, "expires_at" },
    { "sent_ms", COL_TIME, AT(times.sent_ms), COL_PUBLIC, NULL, NULL, "sent_at" },
    { "delivered_ms", COL_TIME, AT(times.delivered_ms), COL_PUBLIC, NULL, NULL, "delivered_at" },
    { "read_ms", COL_TIME, AT(times.read_ms), COL_PUBLIC, NULL, NULL, "read_at" },
    { "edited_ms", COL_TIME, AT(times.edited_ms), COL_PUBLIC, NULL, NULL, "edited_at" },
    { "deleted_ms", COL_TIME, AT(times.deleted_ms), COL_PUBLIC, NULL, NULL, "deleted_at" },
    { "parts", COL_INT, AT(parts), COL_PUBLIC, NULL, NULL, NULL },
    { "error_code", COL_TEXT, AT(error_code), COL_PUBLIC, NULL, NULL, NULL },
    { "error_hint", COL_TEXT, AT(error_hint), COL_PUBLIC, NULL, NULL, NULL },
    { "generation", COL_INT, AT(generation), 0, NULL, NULL, NULL },
    { 0 }
};

int message_get(struct db_session *session, struct arena *arena, struct message *out,
                struct err *err)
{
    const char *sql = arena_printf(arena,
        "SELECT %s FROM messages m WHERE m.tenant_id = $1 AND m.id = $2",
        row_select(message_columns, "m"));
    struct db_rows *rows = db_query(session, sql,
                                    DB_ARGS(db_int(out->tenant_id), db_int(out->id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    row_read(rows, 0, message_columns, arena, out);
    db_rows_end(rows);
    return 1;
}

static void id_at(struct json_writer *writer, const char *key, const char *prefix, int64_t id)
{
    char text[ID_TEXT_BYTES];

    json_cstr_at(writer, key, id_encode(text, prefix, id));
}

void message_json(struct json_writer *writer, const struct message *message)
{
    json_object_begin(writer);
    if (message->times.deleted_ms) {
        id_at(writer, "id", ID_MESSAGE, message->id);
        id_at(writer, "conversation_id", ID_CONVERSATION, message->conversation_id);
        json_time_at(writer, "deleted_at", message->times.deleted_ms);
    } else {
        row_json(writer, message_columns, message);
        json_text_at(writer, message->direction == MESSAGE_IN ? "from" : "to", message->address);
    }
    json_object_end(writer);
}

/* --- States ----------------------------------------------------------------------------------- */

#define TO(state) (1u << MESSAGE_##state)

static const unsigned inbound_moves[MESSAGE_STATES] = {
    [MESSAGE_RECEIVED] = TO(PROCESSING) | TO(FAILED),
    [MESSAGE_PROCESSING] = TO(PROCESSED) | TO(FAILED),
};

static const unsigned outbound_moves[MESSAGE_STATES] = {
    [MESSAGE_DRAFT] = TO(QUEUED) | TO(CANCELLED),
    [MESSAGE_QUEUED] =
        TO(SENDING) | TO(HELD) | TO(CANCELLED) | TO(EXPIRED) | TO(SUPPRESSED) | TO(FAILED),
    [MESSAGE_HELD] = TO(QUEUED) | TO(CANCELLED),
    [MESSAGE_SENDING] = TO(SENT) | TO(QUEUED) | TO(FAILED) | TO(UNKNOWN) | TO(DELIVERED) | TO(READ),
    [MESSAGE_SENT] = TO(DELIVERED) | TO(READ) | TO(FAILED),
    [MESSAGE_UNKNOWN] = TO(DELIVERED) | TO(READ) | TO(FAILED) | TO(SENT) | TO(QUEUED),
    [MESSAGE_DELIVERED] = TO(READ),
    [MESSAGE_FAILED] = TO(DELIVERED) | TO(QUEUED),
};

bool message_may(enum message_direction direction, enum message_state from, enum message_state to)
{
    const unsigned *moves = direction == MESSAGE_IN ? inbound_moves : outbound_moves;

    return from < MESSAGE_STATES && to < MESSAGE_STATES && (moves[from] >> to & 1);
}

const char *message_event_kind(enum message_state state)
{
    static const char *const kinds[MESSAGE_STATES] = {
        "message.received",  "message.processing", "message.processed",  "message.draft",
        "message.queued",    "message.sending",    "message.sent",       "message.delivered",
        "message.read",      "message.held",       "message.unknown",    "message.failed",
        "message.cancelled", "message.expired",    "message.suppressed",
    };

    return kinds[state];
}

int64_t message_rank_ms(int64_t due_ms, int64_t priority)
{
    if (priority == PRIORITY_URGENT)
        return due_ms - URGENT_AHEAD_MS;
    return priority == PRIORITY_NORMAL ? due_ms - NORMAL_AHEAD_MS : due_ms;
}

/* A provider's id that another row carries already (the phone reported the same text as its own
 * before the answer to our sending was stored) stays with that row. 1: free, 0: taken. */
static int external_id_free(struct db_session *tx, const struct message *message,
                            struct str external_id, struct err *err)
{
    int64_t owner;

    if (db_query_int(tx, "SELECT id FROM messages WHERE tenant_id = $1 AND channel_id = $2 "
                     "AND direction = $3 AND external_id = $4",
                     DB_ARGS(db_int(message->tenant_id), db_int(message->channel_id),
                             db_int(message->direction), db_text(external_id)), 0, &owner, err))
        return -1;
    return owner == 0 || owner == message->id;
}

static int set_external_id(struct db_session *tx, const struct message *message,
                           struct str external_id, struct err *err)
{
    int is_free = 0;

    if (external_id.data && external_id.len > 0)
        is_free = external_id_free(tx, message, external_id, err);
    if (is_free != 1)
        return is_free;
    return (int)db_exec(tx, "UPDATE messages SET external_id = $1 WHERE id = $2 AND tenant_id = $3",
                        DB_ARGS(db_text(external_id), db_int(message->id),
                                db_int(message->tenant_id)), err);
}

static struct db_value time_if(bool set, int64_t at_ms)
{
    return db_id(set ? at_ms : 0);
}

int message_advance(struct db_session *tx, const struct message *message, enum message_state from,
                    const struct message_change *change, struct err *err)
{
    enum message_state to = change->to;
    bool read = to == MESSAGE_READ, delivered = read || to == MESSAGE_DELIVERED;
    int64_t at_ms = change->at_ms, changed;

    if (!message_may((enum message_direction)message->direction, from, to))
        return 0;
    changed = db_exec(tx,
        "UPDATE messages SET state = $1, updated_ms = $2, sent_ms = COALESCE(sent_ms, $3), "
        "delivered_ms = COALESCE(delivered_ms, $4), read_ms = COALESCE(read_ms, $5), "
        "error_code = NULLIF(COALESCE($6, error_code), ''), "
        "error_hint = NULLIF(COALESCE($7, error_hint), '') "
        "WHERE id = $8 AND tenant_id = $9 AND state = $10",
        DB_ARGS(db_int(to), db_int(at_ms), time_if(delivered || to == MESSAGE_SENT, at_ms),
                time_if(delivered, at_ms), time_if(read, at_ms), db_text(change->error_code),
                db_text(change->error_hint), db_int(message->id), db_int(message->tenant_id),
                db_int(from)), err);
    if (changed != 1)
        return (int)changed;
    if (set_external_id(tx, message, change->external_id, err) < 0)
        return -1;
    event_add(tx, &(struct event){ .tenant_id = message->tenant_id, .kind = message_event_kind(to),
                                   .object_id = message->id, .at_ms = at_ms,
                                   .conversation_id = message->conversation_id });
    return 1;
}

int message_renew_key(struct db_session *tx, int64_t message_id, struct err *err)
{
    return db_exec(tx, "UPDATE messages SET generation = generation + 1 WHERE id = $1", DB_ARGS(db_int(message_id)),
                   err) < 0 ? -1 : 0;
}
