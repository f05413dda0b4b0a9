/* script.h - a scripted peer behind `struct exchange`: canned replies for expected requests, for tests and the
 * simulator. Nothing leaves the process. Any thread. */
#pragma once

#include "net/exchange.h"

struct script;

/* One expected request and what comes back. Texts are copied. */
struct script_step {
    enum http_method method;
    const char *url;            /* the whole URL, or its beginning when it ends in '*' */
    enum exchange_end end;      /* EXCHANGE_NOT_SENT and EXCHANGE_UNKNOWN: no answer, `status` and the rest unused */
    int status;
    const char *headers;        /* "Name: value\n" lines, NULL for none */
    const char *body;           /* NULL for an empty one */
    int after_ms;               /* past the request's timeout the reply is EXCHANGE_UNKNOWN; nobody really waits */
    int times;                  /* how often it serves: 0 once, -1 for ever */
};

/* One expected mail, and what the server says. `to` NULL: a login without a mail; "*": to anybody. */
struct script_mail {
    const char *to;
    enum exchange_end end;
    int status;
    const char *text;           /* of the answer */
    int after_ms, times;        /* as above */
};

/* One line of the talk on streams, in order over all that are opened. A write that is not the line expected fails and
 * is counted by script_surprises; a read before a line is said, or behind the last, finds nothing in time. */
enum script_line {
    SCRIPT_EXPECT,              /* the driver writes this line (its beginning when it ends in '*') */
    SCRIPT_SAY,                 /* it reads these bytes, line ends included */
    SCRIPT_CLOSE,               /* the stream ends here */
    SCRIPT_REFUSE               /* opening fails with this sentence */
};

/* A peer that expects nothing yet. Free it with script_free (NULL is fine). */
struct script *script_new(void);
void script_free(struct script *script);

/* Expect one more request. The first step in order that fits and is not used up serves. A request that no step fits is
 * EXCHANGE_NOT_SENT and counted by script_surprises. */
void script_add(struct script *script, const struct script_step *step);

/* The same for mail and for streams. */
void script_add_mail(struct script *script, const struct script_mail *mail);
void script_add_line(struct script *script, enum script_line line, struct str text);

/* The exchange face of it; lives as long as the script. */
struct exchange *script_exchange(struct script *script);

/* How many requests were asked, how many of them (and mails, and lines) no step fitted, and how many times steps were
 * not asked for (those that serve for ever count until their first use). */
size_t script_asked(struct script *script);
size_t script_surprises(struct script *script);
size_t script_left(struct script *script);

/* The n-th request (0 is the first), copied when it was asked; NULL past the last. Lives as long as the script. */
const struct exchange_request *script_request(struct script *script, size_t n);

/* How many mails were given, and the n-th of them, like a request. */
size_t script_mailed(struct script *script);
const struct exchange_mail *script_mail_sent(struct script *script, size_t n);
