/* sync.h - delta sync: the newest version of every message that changed after a point of the log.
 * The union of pages is the truth whatever overlaps: a message that changes again comes again. */
#pragma once

#include "core/message.h"

/* Several lines of a page's window that name the same message make it appear once, and lines about
 * other things make nothing appear, so a page may be shorter than `limit`, or empty, and still have
 * more behind it. */
struct sync_page {
    int64_t tenant_id;
    int64_t after;              /* a seq; 0: from the start */
    int limit;                  /* lines of the log looked at, at most LIMIT_PAGE_MAX */
    int64_t device_id;          /* only what this device brought; 0: everything */
    struct message *messages;   /* out: in log order, in the arena; tombstones among them */
    size_t count;
    int64_t next;               /* out: continue after this seq */
    bool has_more;              /* out */
};

/* Fill the page. ERR_GONE when `after` lies behind the tenant's horizon (hint: resync). */
int sync_read(struct db_session *session, struct arena *arena, struct sync_page *page,
              struct err *err);

/* The seq to continue after so that everything since `since_ms` is seen, with some overlap, because
 * the order of the log is that of commits and not of clocks. 0 or -1. */
int sync_since(struct db_session *session, int64_t tenant_id, int64_t since_ms, int64_t *after,
               struct err *err);

/* A device tells how far it has come. 1, 0 unknown device, -1. */
struct sync_mark {
    int64_t tenant_id, device_id, seq, at_ms;
};
int sync_store_mark(struct db_session *tx, const struct sync_mark *mark, struct err *err);
