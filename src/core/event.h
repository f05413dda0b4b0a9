/* event.h - the append-only log: what happened to what, per tenant, numbered without gaps in commit
 * order. Everybody who wants to know reads it with a cursor; writers never call readers. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "db/db.h"

struct arena;
struct json_writer;

struct event {
    int64_t tenant_id, seq;
    const char *kind;           /* "message.received", "message.sent", "conversation.assigned",
                                   "channel.added", ... */
    int64_t object_id;          /* of the kind's object */
    int64_t conversation_id;    /* 0: none */
    int64_t at_ms;
    struct str data;            /* small JSON object or absent; never message text */
};

/* Add a line inside a write transaction; copied. It gets its number from event_stamp when the
 * transaction commits. */
void event_add(struct db_session *tx, const struct event *event);

/* The db_hooks.stamp: locks the tenants in order of id, draws their next numbers, inserts the
 * lines, notifies channel "events" once. */
int event_stamp(struct db_session *tx, void **items, size_t count, struct err *err);

/* One page of a tenant's log: up to `limit` lines after `after`, in order. */
struct event_page {
    int64_t tenant_id, after;
    int limit;
    struct event *events;       /* out: in the arena */
    size_t count;
    int64_t last;               /* out: the last number seen, `after` when there is nothing newer */
};

/* Fill the page. ERR_GONE (hint: resync) when `after` lies behind the tenant's horizon. */
int event_read(struct db_session *session, struct arena *arena, struct event_page *page,
               struct err *err);

/* The tenant's newest number and its horizon. */
int event_position(struct db_session *session, int64_t tenant_id, int64_t *newest, int64_t *horizon,
                   struct err *err);

/* One line as a JSON object: seq, cursor, kind, object ("message"), id (public), conversation_id,
 * at, data. */
void event_json(struct json_writer *writer, const struct event *event);

/* Cursors are opaque outside: epoch, tenant and seq with a MAC. ERR_GONE for another epoch (hint:
 * resync from the start), ERR_INVALID for anything that is not a cursor of this tenant. */
const char *event_cursor(struct arena *arena, int64_t tenant_id, int64_t seq);
int event_cursor_read(struct str text, int64_t tenant_id, int64_t *seq, struct err *err);

/* Install the cursor key and the epoch (read from table hub at start). */
void event_install(const unsigned char key[32], int64_t epoch);
