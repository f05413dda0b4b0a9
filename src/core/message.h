/* message.h - the one canonical message, whatever the channel; its columns and the one table of
 * state changes. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "db/row.h"

struct arena;

enum message_direction { MESSAGE_IN, MESSAGE_OUT };

/* DESIGN.md 6. The numbers are stored. The first row and FAILED are the inbound ones. */
enum message_state {
    MESSAGE_RECEIVED, MESSAGE_PROCESSING, MESSAGE_PROCESSED,
    MESSAGE_DRAFT, MESSAGE_QUEUED, MESSAGE_SENDING, MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_READ,
    MESSAGE_HELD, MESSAGE_UNKNOWN, MESSAGE_FAILED, MESSAGE_CANCELLED, MESSAGE_EXPIRED,
    MESSAGE_SUPPRESSED,
    MESSAGE_STATES
};

/* Who wrote it: the truth for filtering (X05). Numbers are stored. */
enum message_origin {
    ORIGIN_CONTACT,     /* inbound */
    ORIGIN_PERSON,      /* a human user of the hub (API key, CLI, page) */
    ORIGIN_PHONE,       /* a human on the phone itself: pauses the agent like a person */
    ORIGIN_RULE,        /* a forwarding or answering rule */
    ORIGIN_AGENT,
    ORIGIN_AUTO,        /* a fixed auto-reply, a confirmation */
    ORIGIN_SCHEDULED,   /* a timed text */
    ORIGIN_PUSH,        /* what an agent pushes from the web */
    MESSAGE_ORIGINS
};

enum message_priority { PRIORITY_NORMAL, PRIORITY_BULK, PRIORITY_URGENT };

extern const char *const message_direction_words[];     /* "in", "out", NULL */
extern const char *const message_state_words[];         /* "received", ..., NULL */
extern const char *const message_origin_words[];
extern const char *const message_priority_words[];      /* "normal", "bulk", "urgent", NULL */
#define MESSAGE_TYPES \
    "text|sms|mms|imessage|whatsapp|telegram|email|image|audio|video|file|location|call|" \
    "notification"

struct message_times {
    int64_t provider_ms, offset_min;    /* the source's time and zone; 0 when it gave none */
    int64_t received_ms, updated_ms, scheduled_ms, expires_ms;
    int64_t sent_ms, delivered_ms, read_ms, edited_ms, deleted_ms;
};

struct message {
    int64_t id, tenant_id, conversation_id, position, channel_id, contact_id, device_id;
    int64_t direction, state, origin, priority, is_history, is_automatic, parts;
    int64_t generation;             /* core/send_key.h */
    int64_t reply_to_id, cause_id, decision_id;
    struct str type, address, text, metadata, external_id, error_code, error_hint;
    struct message_times times;
};

/* All columns of `messages`, in table order. JSON: id, conversation_id, ..., "from" or "to" are
 * added by message_json. */
extern const struct column message_columns[];

/* Of `messages m`: outgoing ones that need a person (held, unknown, failed). SQLite takes the index messages_stuck only
 * for a query that says these very words. */
#define MESSAGE_STUCK "m.direction = 1 AND m.state IN (9, 10, 11)"

/* Read the message out->id of the tenant out->tenant_id. 1 found, 0 not, -1 failed. */
int message_get(struct db_session *session, struct arena *arena, struct message *out,
                struct err *err);

/* Write the message as a JSON object value: its public columns, `from`/`to`, and for a deleted one
 * a tombstone: id, conversation_id, deleted_at and no text. */
void message_json(struct json_writer *writer, const struct message *message);

/* May a message go from one state to another? Pure; the figure in ARCHITECTURE.md is this table.
 * Beside DESIGN.md's arrows a failed message may be queued again, which only a person asks for. */
bool message_may(enum message_direction direction, enum message_state from, enum message_state to);

/* What a far side knows by the message's key has failed for good: its next try has another key
 * (core/send_key.h). 0, -1. */
int message_renew_key(struct db_session *tx, int64_t message_id, struct err *err);

/* What else changes with a state: times, the error, the provider's id. Absent slices leave the
 * column alone, an empty error slice clears it. */
struct message_change {
    enum message_state to;
    struct str error_code, error_hint, external_id;
    int64_t at_ms;
};

/* The one place where a message changes state: checks the table, updates the row if it is still in
 * `from`, adds the log line "message.<state>". Returns 1 when the row was changed, 0 when it is no
 * longer in `from` or the table forbids it, -1 failed. */
int message_advance(struct db_session *tx, const struct message *message, enum message_state from,
                    const struct message_change *change, struct err *err);

/* The log line of a state: "message.queued", ... A constant. */
const char *message_event_kind(enum message_state state);

/* Where a job of this priority stands between the lanes (jobs.rank_ms): its due time, moved earlier
 * by what the priority is worth, so that urgent goes first and bulk is passed for a bounded time
 * only. */
int64_t message_rank_ms(int64_t due_ms, int64_t priority);
