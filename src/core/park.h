/* park.h - what could not be understood is kept whole, with its reason, until somebody looks at it. */
#pragma once

#include "core/inbox.h"
#include "core/page.h"
#include "db/row.h"

struct parked {
    int64_t id, tenant_id, channel_id, created_ms, replayed_ms;
    struct str source, reason, content, content_type, digest, request;
};

/* All columns of `parked`, in table order. */
extern const struct column parked_columns[];

/* Park inside a write transaction, under an id drawn before. 1 kept, 0 the same content was parked
 * before, -1 failed. */
int park_add(struct db_session *tx, const struct inbox_parked *parcel, int64_t id, struct err *err);

/* One parked thing of a tenant, its content and its request opened (absent: none is kept). 1 found, 0 not, -1
 * failed. */
int park_get(struct db_session *session, int64_t tenant_id, int64_t id, struct parked *out, struct err *err);

/* Try again to understand it, with the driver as it is now, as if it came at the time when it came. 1: stored (what was
 * stored before is not stored twice), 0: there is nothing of that id, -1: not understood, or refused, for the reason in
 * `err`; it stays parked. */
int park_replay(struct hub *hub, int64_t tenant_id, int64_t id, struct err *err);

/* Throw it away. 1 done, 0 there was none, -1 failed. */
int park_drop(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err);

/* Up to page->limit parked things, newest first, below page->after_id (0: from the newest). Their
 * number, -1 on failure. */
int park_list(struct db_session *session, const struct page *page, struct parked **out,
              struct err *err);
