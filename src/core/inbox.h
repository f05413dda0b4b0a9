/* inbox.h - accept what was received: one transaction with dedupe, contact, conversation, message,
 * log line and decide job; many requests share one commit. The only door for inbound messages:
 * HTTP, hooks, polls and inserted rows all end here. */
#pragma once

#include "core/channel.h"
#include "core/hub.h"

enum inbox_outcome { INBOX_STORED, INBOX_DUPLICATE, INBOX_IGNORED, INBOX_REFUSED };

/* What became of one event. */
struct inbox_result {
    enum inbox_outcome outcome;
    int64_t message_id;             /* the stored message; of a duplicate, the first one */
    struct err err;                 /* INBOX_REFUSED: why (unknown target of an edit, ...) */
};

/* Called inside the transaction when `results` are known, perhaps more than once: makes the answer in
 * write->idempotency fit them. 1: it is another one than before, 0: it was right, -1. On the writer's thread. */
struct inbox_write;
typedef int inbox_settle(struct db_session *tx, struct inbox_write *write, struct err *err);

/* A request to store the events of one webhook, batch, poll or row. The caller owns it and
 * everything it points to until `item.done` was called. Messages are stored under
 * `results[i].message_id`, drawn by inbox_prepare. */
struct inbox_write {
    struct db_write_item item;      /* first; kind is set by inbox_prepare */
    int64_t tenant_id, channel_id, device_id;
    const struct channel *channel;  /* the same one, loaded, if it is at hand: for inbox_prepare alone */
    const struct channel_event *events;
    size_t count;
    struct inbox_result *results;   /* `count` of them */
    struct str cursor;              /* poll: the channel's new cursor; absent: none */
    int64_t row_id;                 /* inbound_rows: the row to delete with it; 0: none */
    const struct idempotency *idempotency;  /* the answer to store with it, or NULL */
    bool replayed;                  /* out: the idempotency key was known; nothing was stored */
    inbox_settle *settle;           /* with `idempotency`: see there; may be NULL */
    void *prepared;                 /* inbox's own: normalised addresses, keys */
};

/* Check and normalise everything, draw ids, set item.kind; store the bytes of files that came along (core/attachment.h:
 * then it blocks for disk or network, and fails when they cannot be stored now). In the arena. */
int inbox_prepare(struct hub *hub, struct arena *arena, struct inbox_write *write, struct err *err);

/* Prepare, submit and wait. 0: committed; see results. */
int inbox_accept(struct hub *hub, struct arena *arena, struct inbox_write *write, struct err *err);

/* Content that passed its signature but was not understood, or a row that cannot be a message. */
struct inbox_parked {
    int64_t tenant_id, channel_id;  /* channel 0: unknown */
    const char *source, *reason;    /* "hook", "inbound_rows"; a sentence */
    struct str content, content_type;
    struct str request;             /* "hook": what park_request made; kept sealed */
};

/* A webhook without its body as text, for `request`; in the arena. */
struct str park_request(struct arena *arena, const struct webhook *webhook);

/* Keep it whole, to be looked at and replayed. The same content is parked once. */
int inbox_park(struct hub *hub, const struct inbox_parked *parcel, struct err *err);

/* Import up to `limit` rows of inbound_rows: each through the accept path, or parked with its
 * reason; the row is deleted in the same transaction. Returns the number handled, -1 on failure. */
int inbox_import_step(struct hub *hub, int limit, struct err *err);

/* Receipts that came before the answer that names their message, and were not seen by whoever
 * stored that answer because both committed at the same moment: apply them; forget those that no
 * message claimed within a week. For the sweeper. The number applied, -1 on failure. */
int inbox_join_late(struct hub *hub, struct err *err);
