/* stream.h - what lasts longer than one exchange: an IMAP session or a child process as a stream of bytes. A driver
 * takes the stream of its channel, speaks, and gives it back to be kept; it holds none between calls. */
#pragma once

#include "net/exchange.h"

struct buf;

/* What to open. A kept stream of the same channel and the same words is handed back instead. */
struct stream_request {
    int64_t channel_id, tenant_id;  /* whose it is; whose egress_allow rows count */
    const char *url;                /* imap://host, imaps://host:993; NULL: a child process */
    const char *user, *password;    /* logged in with before the stream is handed over */
    const char *bearer;             /* OAuth token instead of the password, or NULL */
    bool plain;                     /* imap:// may stay unencrypted; otherwise STARTTLS is required */
    const char *const *argv;        /* child process: the program (its name in the folder of client_programs, else its
                                     * whole path) and its arguments, ends with NULL; its standard error goes nowhere.
                                     * One call at a time has a channel's child: the next waits within timeout_ms */
    const char *const *envp;        /* its whole environment, ends with NULL */
    bool yields;                    /* a read of the child ends early, like one in vain, when another call waits */
    enum egress egress;
    int timeout_ms;                 /* to connect, log in, start */
};

/* Was it just opened (nothing was said yet), or kept from an earlier call? */
bool stream_is_fresh(const struct stream *stream);

/* Write all of it within the time. -1 with err: the stream is dead. */
int stream_write(struct stream *stream, struct str bytes, int timeout_ms, struct err *err);

/* Read up to `size` bytes, waiting at most `timeout_ms` for the first. Returns their number, 0: nothing came in time,
 * -1 with err: closed or failed. */
int stream_read(struct stream *stream, char *bytes, size_t size, int timeout_ms, struct err *err);

/* One line without its CR LF into `line`, which grows to its own cap (longer: -1): 1 read, 0 nothing whole came in time
 * (what came is kept for the next call), -1 with err. */
int stream_line(struct stream *stream, struct buf *line, int timeout_ms, struct err *err);

/* A deadline over several reads: begin it, and what is left of it in ms (0: it has passed). */
int64_t stream_until_us(int64_t timeout_ms);
int stream_left_ms(int64_t until_us);

/* Put whole lines back in front of what comes next, for the call after this one. -1 with err when they are more than
 * LIMIT_STREAM_BYTES with what is there: the stream is dead. */
int stream_unread(struct stream *stream, struct str lines, struct err *err);

/* Give it back: kept for the channel's next call, or closed (a child gets SIGTERM, then SIGKILL after 2 s). */
void stream_release(struct stream *stream, bool keep);
