/* lines.h - a channel's program as a stream of JSON lines: what exec.c and its halves share. The protocol is described
 * in docs/channels/exec.md. */
#pragma once

#include "core/channel.h"
#include "net/stream.h"

struct json;

#define LINES_MAX_BYTES LIMIT_STREAM_BYTES      /* one line */

/* A program that is spoken with. */
struct lines {
    struct arena *arena;        /* set by the caller, like the next two */
    struct exchange *exchange;
    bool yields;                /* other calls need not wait for this one: reads end early when one does */
    struct stream *stream;
    int64_t until_us;           /* of the whole call */
    struct buf line;            /* the last one read */
    struct buf others;          /* lines that the next call is to read */
};

/* Start the channel's program, or take the one that runs, and wait until it says that it is ready: half of
 * `timeout_ms` for its turn, half for all that follows. -1 with err: nothing was said to it yet. After 0 lines_end must
 * follow. */
int lines_begin(struct lines *lines, const struct channel *channel, int timeout_ms, struct err *err);

/* Write one JSON line. -1 with err: the program has not read it whole. */
int lines_say(struct lines *lines, struct str json, struct err *err);

/* The next line as JSON: 1, NULL when it is none; 0: nothing within `timeout_ms`, or what is left of the call; -1 with
 * err. */
int lines_read(struct lines *lines, int timeout_ms, const struct json **json, struct err *err);

/* Leave the line just read to the next call. */
void lines_leave(struct lines *lines);

/* Give the program back, or end it. */
void lines_end(struct lines *lines, bool keep);

/* What a line says unasked: one event, or CHANNEL_IGNORED. A cursor in it replaces `cursor`. -1 with err: too many. */
int lines_event(const struct json *json, struct events *events, struct str *cursor, struct err *err);
