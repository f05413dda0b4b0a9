/* outbox.h - accept what is to be sent, like any other message: idempotency, contact, conversation,
 * message = queued, job, log line in one transaction; many requests share one commit. Also what
 * people do to messages on their way. */
#pragma once

#include "core/hub.h"
#include "core/idempotency.h"
#include "core/message.h"

struct channel;
struct channel_attachment;

/* Where it goes instead when it is not delivered within the time (core/fallback.h). */
struct outbox_fallback {
    int64_t channel_id;                     /* 0: nowhere */
    struct str to;                          /* absent: the same address */
    int64_t after_ms;                       /* from when it is due */
};

/* What is to be sent and where. Either `conversation_id`, or `channel_id` with `to`. */
struct outbox_request {
    int64_t tenant_id, conversation_id, channel_id;
    struct str to;
    struct str text, type, metadata;        /* the text may be empty where there are files */
    const struct channel_attachment *attachments;   /* files: `data`, `media_id`, or a public URL as `ref` */
    size_t attachment_count;
    enum message_origin origin;
    int64_t priority;
    int64_t scheduled_ms, expires_ms;       /* 0: at once; 0: 24 hours */
    int64_t reply_to_id, cause_id, decision_id;
    bool draft;                             /* stored, not queued */
    struct outbox_fallback fallback;
};

struct outbox_write {
    struct db_write_item item;              /* first */
    struct outbox_request request;
    const struct idempotency *idempotency;  /* or NULL */
    int64_t message_id;                     /* drawn by outbox_prepare */
    bool replayed;                          /* out: the idempotency key was known: nothing stored */
    bool suppressed;                        /* out: the contact opted out: stored as suppressed */
    void *prepared;
};

/* Route and check: finds channel and contact address, splits the text, refuses groups for machines,
 * empty messages, channels that cannot send (hint), or no files. Stores the bytes of files that come
 * with it, and writes nothing else. Draws the id. */
int outbox_prepare(struct hub *hub, struct arena *arena, struct outbox_write *write,
                   struct err *err);

/* Prepare, submit and wait. */
int outbox_send(struct hub *hub, struct arena *arena, struct outbox_write *write, struct err *err);

/* Store a prepared write inside a transaction that already runs (core/decide): same rules, same
 * rows. Fills what comes out of it. */
int outbox_add(struct db_session *tx, struct outbox_write *write, struct err *err);

/* `send --dry-run`: what would happen. */
struct outbox_plan {
    struct str channel_name, kind, to;      /* in the arena; `to` normalised */
    int parts, segments;                    /* segments: SMS; else parts */
    const char *encoding;                   /* "GSM-7", "UCS-2" or "text" */
    int64_t next_send_ms;                   /* when the rate limit lets it go; 0: now */
    bool opted_out;
};
int outbox_plan(struct hub *hub, struct arena *arena, const struct outbox_request *request,
                struct outbox_plan *out, struct err *err);

/* Persons' doings. Each: 1 done, 0 not in a state that allows it, -1 failed (ERR_NOT_FOUND too).
 * Retrying is for failed, held and unknown messages, resolving for unknown ones. */
int outbox_cancel(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err);
int outbox_hold(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err);
int outbox_retry(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err);
int outbox_resolve(struct hub *hub, int64_t tenant_id, int64_t message_id, bool arrived,
                   struct err *err);
int outbox_send_draft(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err);
