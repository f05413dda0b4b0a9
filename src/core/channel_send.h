/* channel_send.h - what a channel driver is asked to send and what it says of it: plain data. Part
 * of the drivers' contract (core/channel.h includes it). */
#pragma once

#include "base/str.h"
#include "core/message.h"

struct arena;

/* What the core decides from; the adapter cannot invent another outcome. */
enum send_outcome {
    SEND_DONE,          /* accepted; result->external_id is the provider's id where it gives one */
    SEND_RETRY,         /* surely not sent; worth another try (result->retry_after_s obeyed) */
    SEND_REFUSED,       /* surely not sent; no try will help */
    SEND_UNSURE         /* it may have gone out */
};

/* What is to be done; all but SEND_MESSAGE only where the driver's `can` says so. */
enum send_act {
    SEND_MESSAGE,
    SEND_REACTION,      /* `text` is the emoji, empty to take it back; on `target` */
    SEND_EDIT,          /* `target` has now `text` */
    SEND_DELETE,        /* unsend `target` */
    SEND_READ,          /* tell the peer that everything up to `target` was read */
    SEND_TYPING         /* show that somebody types; `text` "off" ends it */
};

/* A file that goes out: a part of its own. */
struct send_attachment {
    const char *name, *type;    /* sniffed type; a safe file name */
    struct str data;            /* the bytes; live until send() returns */
    const char *url;            /* where the provider can fetch it for an hour, or NULL: the hub has no public URL */
};

/* One part of one message. */
struct send_job {
    struct arena *arena;
    enum send_act act;
    const char *target;         /* external id of the message acted on; NULL for SEND_MESSAGE */
    const char *conversation;   /* the group's id, or NULL: one to one */
    const struct send_attachment *attachment;   /* this part is a file, `text` its caption; or NULL */
    const char *to;             /* the contact's address, as the provider gave it */
    struct str text;            /* this part */
    int part, parts;            /* 0-based; long texts are split by the core at text_max */
    int attempt;
    char key[40];               /* stable per message and part: the provider's idempotency token */
    const char *reply_to;       /* external id of the message answered, or NULL */
    struct str metadata;        /* the message's, a JSON object or absent: what a driver documents (a template) */
    int64_t since_ms;           /* lookup: when the try in question began, by the hub's clock */
    int timeout_ms;             /* for the whole send */
    int64_t now_ms;             /* the hub's clock */
    bool is_automatic;          /* a machine wrote it: a rule, an agent */
    /* Only with CHANNEL_CAN_THREAD: external id and metadata (a JSON object) of the message that it answers, or of the
     * last one that came in before it; absent where there is none. */
    const char *thread_id;
    struct str thread;
};

struct send_result {
    struct str external_id;     /* in the job's arena */
    struct str code;            /* the provider's own word or number */
    struct str hint;            /* in plain words: what happened and what to do */
    int retry_after_s;
    bool throttled;             /* the provider said "slower" (429): the wait is obeyed, the try
                                 * does not count */
    bool channel_fault;         /* the channel, not this message, is at fault: counts for the
                                 * circuit breaker */
    enum message_state settled; /* MESSAGE_SENT, _DELIVERED, _READ or _FAILED: the provider already
                                 * reports this receipt for the part; the core applies it in the
                                 * completing transaction, after the message is sent, like a receipt
                                 * that came later. 0: nothing is known yet */
    bool opted_out;             /* the provider says that this contact wants nothing more: nothing is sent until it
                                 * says otherwise */
    struct str moved_to;        /* the peer's address from now on, where the answer names another */
    int wait_ms;                /* a simulated peer's latency: the worker waits so long, at most
                                 * job->timeout_ms, before it records the result. 0 elsewhere */
};
