/* exchange.h - the only way out: one HTTP exchange with a deadline. Drivers are handed a `struct exchange`; production
 * hands in libcurl (net/client.h), tests and the simulator a scripted peer. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "net/http.h"

#include <stdatomic.h>

struct arena;

/* What address an exchange may reach (DESIGN.md 8). */
enum egress {
    EGRESS_PUBLIC,          /* public addresses only, always: what came from messages, media, tenants' URLs */
    EGRESS_CHANNEL          /* a channel's own base_url: also private or loopback where an egress_allow row names it */
};

/* Signing by AWS Signature Version 4, as S3 and everything that speaks like it wants it. */
struct exchange_aws {
    const char *service, *region;   /* "s3", "eu-central-1" */
    const char *key, *secret;
};

struct exchange_request {
    enum http_method method;
    const char *url;
    const struct http_header *headers;
    size_t header_count;
    struct str body;
    enum egress egress;
    int64_t tenant_id;              /* whose egress_allow rows count */
    int timeout_ms;                 /* whole exchange; 0: LIMIT_SEND_MS, at most LIMIT_SEND_LONG_MS */
    size_t answer_max;              /* bytes read of the answer; 0: LIMIT_EXCHANGE_BYTES */
    const struct exchange_aws *aws; /* sign the request so; NULL: not */
};

/* How far it came: the base of "surely not sent" against "not known" (RELIABILITY 2.3). */
enum exchange_end {
    EXCHANGE_ANSWERED,      /* a complete answer was read; `status` says which */
    EXCHANGE_NOT_SENT,      /* name, connect, TLS, refused address, or failed before any request byte was written */
    EXCHANGE_UNKNOWN        /* anything later without a complete answer: reset, timeout, truncated */
};

struct exchange_reply {
    enum exchange_end end;
    int status;
    struct http_header *headers;    /* in the arena */
    size_t header_count;
    struct str body;                /* in the arena */
    int retry_after_s;              /* of a Retry-After header, else 0 */
    struct err err;                 /* why it is not EXCHANGE_ANSWERED: a sentence for people, without secrets */
};

/* One mail to one recipient by SMTP submission. */
struct exchange_mail {
    const char *url;                /* smtp://host:587 (STARTTLS) or smtps://host:465 */
    const char *user, *password;    /* NULL: no login */
    const char *bearer;             /* OAuth token instead of the password, or NULL */
    bool plain;                     /* smtp:// may stay unencrypted; otherwise STARTTLS is required */
    const char *from, *to;          /* envelope; an empty `from` is the null sender. `to` NULL: only connect, log in */
    struct str body;                /* RFC 5322, lines end in CRLF */
    enum egress egress;
    int64_t tenant_id;
    int timeout_ms;
};

/* A byte stream that outlives one call: an IMAP session, a child process (net/stream.h). */
struct stream;
struct stream_request;

struct exchange {
    /* Run one exchange; blocking; fills the whole reply and never fails otherwise. */
    void (*run)(struct exchange *self, struct arena *arena, const struct exchange_request *request,
                struct exchange_reply *reply);

    /* Submit one mail; the same. `status` is the SMTP code of the last answer and `body` its text; EXCHANGE_NOT_SENT:
     * surely nothing was accepted, EXCHANGE_UNKNOWN: the end of the data may have been read. */
    void (*mail)(struct exchange *self, struct arena *arena, const struct exchange_mail *mail,
                 struct exchange_reply *reply);

    /* Open a stream, or take back the one that was kept for this channel. NULL with err. */
    struct stream *(*open)(struct exchange *self, const struct stream_request *request, struct err *err);
};

/* From now on what this thread waits for in an exchange or a stream ends within a second once `*flag` is set, as if the
 * peer had fallen silent. NULL: nothing interrupts it. */
void exchange_interrupted_by(const atomic_bool *flag);
bool exchange_interrupted(void);

/* self->mail and self->open, or a clear refusal where an exchange has none (that of tests, say). Callers use these. */
void exchange_mail_run(struct exchange *self, struct arena *arena, const struct exchange_mail *mail,
                       struct exchange_reply *reply);
struct stream *exchange_open(struct exchange *self, const struct stream_request *request, struct err *err);

/* The first header of that name (ASCII case ignored), or the absent slice; it lives as long as the reply's arena. */
struct str exchange_header(const struct exchange_reply *reply, const char *name);

/* The same of a request, for those who look at what was asked. */
struct str exchange_request_header(const struct exchange_request *request, const char *name);

/* Seconds to wait by a Retry-After value, a number or an HTTP date; 0 when it is neither or past, never more than
 * LIMIT_RETRY_AFTER_S. Every exchange fills `retry_after_s` with it. */
int exchange_retry_after_s(struct str value, int64_t now_ms);
