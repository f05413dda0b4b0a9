/* phone.h - the apps that hand on what an Android phone receives, each in its own dialect
 * (contracts 6.1 to 6.4). All take and return what a driver's receive() does; the caller has chosen
 * the app by path and headers.
 *
 * None of them is open: without the channel's secret for it (signing_key or forwarder_key)
 * everything is refused. */
#pragma once

#include "core/channel.h"

struct json;

/* SMS Gateway for Android: JSON, HMAC-SHA256 of body and X-Timestamp by `signing_key`. */
int phone_smsgate(const struct channel *channel, const struct webhook *webhook,
                  struct events *events, struct webhook_reply *reply, struct err *err);

/* The same app with the hub as its private server: the calls below /mobile/v1, by `server_token`. And what is to be
 * sent, as its GET /message is answered; 0. */
bool phone_is_server(struct str path);
int phone_server(const struct channel *channel, const struct webhook *webhook,
                 struct events *events, struct webhook_reply *reply, struct err *err);
int phone_offer(const struct channel *channel, const struct send_job *jobs, size_t count,
                struct webhook_reply *reply);

/* httpSMS: the calls of its phone app below /v1/, x-api-key = `forwarder_key`. */
int phone_httpsms(const struct channel *channel, const struct webhook *webhook,
                  struct events *events, struct webhook_reply *reply, struct err *err);

/* textbee: the calls of its phone app below .../gateway/devices, x-api-key = `forwarder_key`; and
 * its server's webhook, HMAC-SHA256 of the body by `forwarder_key`. */
int phone_textbee(const struct channel *channel, const struct webhook *webhook,
                  struct events *events, struct webhook_reply *reply, struct err *err);
int phone_textbee_server(const struct channel *channel, const struct webhook *webhook,
                         struct events *events, struct webhook_reply *reply, struct err *err);

/* SmsForwarder: a form or JSON of the user's own making with `sign` by `forwarder_key`. */
int phone_smsforwarder(const struct channel *channel, const struct webhook *webhook,
                       struct events *events, struct webhook_reply *reply, struct err *err);

/* --- What they share -------------------------------------------------------------------------- */

/* One text as an app tells it. Absent members are unknown. */
struct phone_text {
    const char *app;            /* "sms-gate", ... */
    struct str device, from, to, text, type;
    struct str subject;
    struct str sent; /* the time as the app wrote it: RFC 3339, seconds or milliseconds */
    struct str told; /* what tells this text from an equal one where that is not `sent` */
    struct str id;   /* the app's id; not unique by itself */
    int64_t sim;     /* 1, 2, 3; 0: unknown */
    const struct json *attachments;
    bool is_encrypted;
};

/* Append a text as CHANNEL_MESSAGE. Its external id is a hash of device, sender, second (or
 * `told`), id, SIM and text; a text of a SIM that the channel does not take (`receive_sim`) is
 * CHANNEL_IGNORED. */
int phone_add_text(const struct channel *channel, const struct phone_text *text,
                   struct events *events, struct err *err);

/* Append a receipt: `reason` is the app's word for a failure. */
struct phone_receipt {
    struct str id, reason, at;
    struct str segment; /* delivered: what tells the SMS of a long text apart; absent: all of them */
    int64_t segments;   /* of how many it is made; 0: not said */
    enum message_state state;
};
int phone_add_receipt(const struct phone_receipt *receipt, struct events *events, struct err *err);

/* Append "understood, nothing to store". */
int phone_add_nothing(struct events *events, struct err *err);

/* What to do about an Android send failure ("Send result: RESULT_ERROR_NO_SERVICE"), in plain
 * words; never NULL. */
const char *phone_failure_hint(struct str reason);

/* Check a shared key in the header x-api-key against `forwarder_key`. */
int phone_check_key(const struct channel *channel, const struct webhook *webhook, struct err *err);

/* The body as JSON, tolerant of what phones write; ERR_MALFORMED when it is none. */
const struct json *phone_json(const struct webhook *webhook, struct events *events,
                              struct err *err);
