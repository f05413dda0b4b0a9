#include "net/stream_inside.h"

#include "base/clock.h"
#include "base/limits.h"

#include <string.h>

#define PIECE 4096

void stream_init(struct stream *stream, const struct stream_kind *kind)
{
    stream->kind = kind;
    stream->fresh = true;
    buf_init(&stream->ahead, LIMIT_STREAM_BYTES);
}

void stream_fini(struct stream *stream)
{
    buf_fini(&stream->ahead);
}

bool stream_is_fresh(const struct stream *stream)
{
    return stream->fresh;
}

static int failed(struct stream *stream, int result)
{
    stream->dead |= result < 0;
    return result;
}

static int check_alive(const struct stream *stream, struct err *err)
{
    return stream->dead ? err_set(err, ERR_UNAVAILABLE, "The stream has failed before.") : 0;
}

int stream_write(struct stream *stream, struct str bytes, int timeout_ms, struct err *err)
{
    if (check_alive(stream, err))
        return -1;
    return failed(stream, stream->kind->write(stream, bytes, timeout_ms, err));
}

int stream_read(struct stream *stream, char *bytes, size_t size, int timeout_ms, struct err *err)
{
    size_t left = stream->ahead.len - stream->at, part = left < size ? left : size;

    if (part > 0) {
        memcpy(bytes, stream->ahead.data + stream->at, part);
        stream->at += part;
        return (int)part;
    }
    if (check_alive(stream, err))
        return -1;
    return failed(stream, stream->kind->read(stream, bytes, size, timeout_ms, err));
}

/* Move what is ahead, up to its first line's end, to `line`: 1 the line is whole, 0 not yet, -1 too long. */
static int take(struct stream *stream, struct buf *line, struct err *err)
{
    size_t left = stream->ahead.len - stream->at, part;
    const char *from = left ? stream->ahead.data + stream->at : "", *end = memchr(from, '\n', left);

    part = end ? (size_t)(end - from) : left;
    buf_add(line, from, part);
    stream->at += end ? part + 1 : part;
    if (line->overflow) {
        stream->dead = true;
        return err_set(err, ERR_TOO_LARGE, "The other side sent a line of more than %zu bytes.", line->max);
    }
    if (stream->at == stream->ahead.len) {
        buf_clear(&stream->ahead);
        stream->at = 0;
    }
    if (end && line->len > 0 && line->data[line->len - 1] == '\r')
        line->data[--line->len] = '\0';
    return end != NULL;
}

/* Half a line goes back in front of what comes next; one that is longer than that holds is lost, and with it the
 * stream. */
static int put_back(struct stream *stream, struct buf *line, struct err *err)
{
    buf_clear(&stream->ahead);
    stream->at = 0;
    buf_str(&stream->ahead, buf_slice(line));
    buf_clear(line);
    if (!stream->ahead.overflow)
        return 0;
    stream->dead = true;
    return err_set(err, ERR_TIMEOUT, "The other side stopped in the middle of a long line.");
}

int stream_line(struct stream *stream, struct buf *line, int timeout_ms, struct err *err)
{
    int64_t until_us = clock_mono_us() + timeout_ms * 1000LL;
    int whole;

    buf_clear(line);
    line->overflow = false;
    while ((whole = take(stream, line, err)) == 0) {
        int64_t left_us = until_us - clock_mono_us();
        char piece[PIECE];
        int got;

        if (check_alive(stream, err))
            return -1;
        got = failed(stream, stream->kind->read(stream, piece, sizeof piece, left_us > 0 ? (int)(left_us / 1000) : 0,
                                                err));
        if (got < 0)
            return -1;
        if (got == 0)
            return put_back(stream, line, err);
        buf_add(&stream->ahead, piece, (size_t)got);
    }
    return whole;
}

int stream_unread(struct stream *stream, struct str lines, struct err *err)
{
    struct buf both;

    buf_init(&both, LIMIT_STREAM_BYTES);
    buf_str(&both, lines);
    if (stream->ahead.len > stream->at)
        buf_add(&both, stream->ahead.data + stream->at, stream->ahead.len - stream->at);
    stream->dead |= both.overflow;
    buf_fini(&stream->ahead);
    stream->ahead = both;
    stream->at = 0;
    return both.overflow ? err_set(err, ERR_TOO_LARGE, "The other side says more than is kept of it.") : 0;
}

void stream_release(struct stream *stream, bool keep)
{
    if (stream)
        stream->kind->release(stream, keep && !stream->dead);
}

int64_t stream_until_us(int64_t timeout_ms)
{
    return clock_mono_us() + timeout_ms * 1000;
}

int stream_left_ms(int64_t until_us)
{
    int64_t left_us = until_us - clock_mono_us();

    return left_us > 0 ? (int)(left_us / 1000) + 1 : 0;
}
