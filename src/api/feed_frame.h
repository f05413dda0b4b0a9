/* feed_frame.h - one page of the log as frames that are built once for all subscribers. Only feed*.c include this. */
#pragma once

#include "core/event.h"
#include "core/hub.h"
#include "net/ws.h"

struct feed_frame {
    int64_t seq, conversation_id;
    const char *kind;
    struct str sse;             /* id, event and data lines */
    struct str json;            /* a slice of it: the data */
    struct ws_frame *ws;        /* built when the first socket wants it */
};

struct feed_page {
    struct arena *arena;
    struct feed_frame *frames;
    size_t count;
    int64_t last;               /* the last number seen */
    bool more;                  /* the page was full */
};

/* Read up to `limit` lines after `after`; lines about messages hold the message. 0, or -1 (ERR_GONE: behind the
 * horizon). */
int feed_page_read(struct hub *hub, struct feed_page *page, int64_t tenant_id, int64_t after, struct err *err);

/* Release what outlives the arena. */
void feed_page_end(struct feed_page *page);
