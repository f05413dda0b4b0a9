/* channel_event.h - what a channel driver makes of a webhook or a poll: events, plain data. Part of
 * the drivers' contract (core/channel.h includes it). */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "core/message.h"
#include "net/http.h"

struct arena;

enum channel_event_kind {
    CHANNEL_MESSAGE,        /* a message from a contact (or group) */
    CHANNEL_OWN_MESSAGE,    /* a person wrote on the phone or in the provider's own app */
    CHANNEL_RECEIPT,        /* external_id reached `state` (sent, delivered, read, failed) */
    CHANNEL_EDIT,           /* external_id has now `text` */
    CHANNEL_DELETE,         /* external_id was unsent */
    CHANNEL_REACTION,       /* `text` (emoji) by `address` on external_id; absent text removes */
    CHANNEL_OPTED_OUT,      /* the provider says that `address` wants nothing more (`code`: its word) */
    CHANNEL_OPTED_IN,       /* ... and that it is reachable again */
    CHANNEL_MOVED,          /* `address` (or group) is now reached at `text`: one contact, another address */
    CHANNEL_IGNORED         /* understood, nothing to store; counted */
};

#define CHANNEL_ALIASES 3

/* A file that came with a message: its bytes, or what the driver's fetch() needs to get them. */
struct channel_attachment {
    struct str name, type;          /* as the provider says; the type is sniffed again, the name is only shown */
    struct str data;                /* the bytes, where they came along */
    struct str ref;                 /* URL or provider id for fetch(); absent when `data` is given */
    int64_t size;                   /* as announced; 0: unknown */
    struct arena *arena;            /* of fetch(): where the answer and what is needed to ask go; NULL in events */
    bool is_public;                 /* `ref` is a URL that anybody may have written: never given to the driver's
                                     * fetch(), reached at public addresses only */
    int64_t media_id;               /* the hub's own: a file it has already, instead of `data` and `ref` */
};

struct channel_event {
    enum channel_event_kind kind;
    struct str external_id;         /* the provider's id of the message; a hash of what makes it
                                     * unique where it gives none */
    struct str address;             /* as given: of the sender, of CHANNEL_OWN_MESSAGE the recipient */
    struct str aliases[CHANNEL_ALIASES];    /* further identifiers of the same person on this channel: a phone
                                     * number beside a privacy id, a user name; absent ones are skipped */
    struct str name;                /* as the provider shows it */
    struct str group;               /* group id, absent for one-to-one */
    struct str text;
    struct str type;                /* one of MESSAGE_TYPES; absent: "text" */
    struct str reply_to;            /* external id */
    struct str metadata;            /* serialised JSON object, at most LIMIT_METADATA_BYTES */
    int64_t provider_ms, offset_min;
    int64_t priority;
    bool is_history;                /* backfill: stored, never decided on */
    bool is_automatic;              /* auto-submitted: never answered by a machine */
    const struct channel_attachment *attachments;
    size_t attachment_count;        /* at most LIMIT_ATTACHMENTS */
    enum message_state state;       /* CHANNEL_RECEIPT */
    struct str key;                 /* CHANNEL_RECEIPT, CHANNEL_OWN_MESSAGE: our own token (send_job.key) where the
                                     * provider echoes it: names the message before, or without, its external id,
                                     * and gives it that id */
    struct str code, hint;          /* CHANNEL_RECEIPT failed */
    struct str segment;             /* CHANNEL_RECEIPT delivered, where each SMS of a long text has its own: a mark
                                     * that tells them apart; absent: it speaks of all */
    int64_t segments;               /* CHANNEL_RECEIPT: how many SMS the text became; 0: not said */
};

/* A list that a driver appends to; everything is copied into the list's arena. */
struct events {
    struct arena *arena;
    struct channel_event *items;
    size_t count, cap;
};

/* Append; over LIMIT_WEBHOOK_EVENTS returns -1 with ERR_TOO_LARGE. Strings are copied, made valid
 * UTF-8 (NFC, no NUL); the bytes of attachments are not copied and live as long as the request or answer. */
int events_add(struct events *events, const struct channel_event *event, struct err *err);

struct webhook {
    const struct http_request *request;     /* raw bytes in request->body */
    struct str path;                        /* what follows /hooks/<hook>, "" or "/..." */
    int64_t now_ms;                         /* for the signature window */
};

/* What the provider wants to hear after the commit; default 200 with an empty body. */
struct webhook_reply {
    int status;
    const char *content_type;
    struct str body;
    int offers;                             /* the far side asks for what is to be sent: up to so many jobs are claimed
                                             * for it and rendered by the driver's offer() */
    const char *push;                       /* the far side keeps this answer open as server-sent events: whenever a job
                                             * waits, an event of this name is sent */
};
