/* imap.h - just enough IMAP (RFC 3501, 2177) on a stream that is logged in: commands, their answers as tokens. What the
 * server says is bounded and checked; a session that breaks the protocol is given up. */
#pragma once

#include "base/buf.h"
#include "net/stream.h"

struct arena;

#define IMAP_LINE_BYTES (1024 * 1024)   /* one line: ten thousand numbers of a search */
#define IMAP_STALL_MS 20000             /* nothing at all for so long ends the session */
#define IMAP_RESPONSE_MS 300000         /* one response with a large mail in it */

enum imap_kind { IMAP_END, IMAP_ATOM, IMAP_STRING, IMAP_OPEN, IMAP_CLOSE, IMAP_BAD };

/* One token. `text` points into the response. Of a quoted string the escapes stand as they came. An atom keeps its
 * brackets with all that is in them: "[UIDNEXT 7]", "BODY[]<0>". */
struct imap_token {
    enum imap_kind kind;
    struct str text;
};

/* Take the next token off `rest`; IMAP_END when nothing is left, IMAP_BAD when it is none. */
struct imap_token imap_token(struct str *rest);

/* A session during one call. */
struct imap {
    struct stream *stream;
    int tag;
    struct buf line, response;
    char said[200];             /* the text of the last tagged answer, printable ASCII */
    /* Called with each untagged response of a command, behind its "* "; may be NULL. */
    void (*each)(void *arg, struct str response);
    void *arg;
};

/* Begin on a stream, which stays the caller's; and free what the session read. */
void imap_init(struct imap *imap, struct stream *stream);

/* See imap_init. */
void imap_fini(struct imap *imap);

/* One whole response, literals in it: 1 it is in `*response` until the next call, 0 nothing in time, -1 the session is
 * over. */
int imap_response(struct imap *imap, int timeout_ms, struct str *response, struct err *err);

/* Send a command and read to its tagged answer: 1 OK, 0 NO or BAD (`said`), -1 the session is over. The format must not
 * put line breaks in. */
int imap_command(struct imap *imap, struct err *err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* IDLE for at most `timeout_ms`: 1 the mailbox has something new, 0 nothing happened, 2 the server does not know IDLE,
 * -1 the session is over. */
int imap_idle(struct imap *imap, int timeout_ms, struct err *err);

/* A text as a quoted string, in the arena; NULL when it cannot be one (line breaks, not ASCII). */
const char *imap_quote(struct arena *arena, const char *text);
