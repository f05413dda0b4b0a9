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
    CHANNEL_IGNORED         /* understood, nothing to store; counted */
};

struct channel_event {
    enum channel_event_kind kind;
    struct str external_id;         /* the provider's id of the message; a hash of what makes it
                                     * unique where it gives none */
    struct str address;             /* as given: of the sender, of CHANNEL_OWN_MESSAGE the recipient */
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
    enum message_state state;       /* CHANNEL_RECEIPT */
    struct str code, hint;          /* CHANNEL_RECEIPT failed */
};

/* A list that a driver appends to; everything is copied into the list's arena. */
struct events {
    struct arena *arena;
    struct channel_event *items;
    size_t count, cap;
};

/* Append; over LIMIT_WEBHOOK_EVENTS returns -1 with ERR_TOO_LARGE. Strings are copied, made valid
 * UTF-8 (NFC, no NUL). */
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
};
