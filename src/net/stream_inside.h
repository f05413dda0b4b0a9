/* stream_inside.h - for those who make streams: client_stream.c and script_stream.c. */
#pragma once

#include "base/buf.h"
#include "net/stream.h"

/* Each gets what stream.h says of the function of its name; a failed one is not called again but to release. */
struct stream_kind {
    int (*write)(struct stream *stream, struct str bytes, int timeout_ms, struct err *err);
    int (*read)(struct stream *stream, char *bytes, size_t size, int timeout_ms, struct err *err);
    void (*release)(struct stream *stream, bool keep);
};

struct stream {
    const struct stream_kind *kind;
    bool fresh, dead;
    struct buf ahead;           /* read, not asked for yet: from `at` on */
    size_t at;
};

/* Begin: nothing was read, nobody has it yet. */
void stream_init(struct stream *stream, const struct stream_kind *kind);

/* Free what was read ahead; the stream itself is its kind's. */
void stream_fini(struct stream *stream);
