/* whatsapp.h - the WhatsApp Cloud API: what its webhooks say and prove, and what its error numbers mean. */
#pragma once

#include "channels/lib/outcome.h"
#include "core/channel.h"

struct json;

/* What an error number means; unknown ones are permanent. */
extern const struct outcome_code whatsapp_errors[];

/* A driver's receive(): the verify handshake (GET), and everything that Meta posts, signed by X-Hub-Signature-256. */
int whatsapp_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                     struct webhook_reply *reply, struct err *err);

/* A driver's claims(): the handshake has the channel's verify_token; a post names its phone number id. */
bool whatsapp_claims(const struct channel *channel, const struct webhook *webhook);

/* --- Inside ----------------------------------------------------------------------------------- */

/* One "value" of a webhook, while its parts become events. */
struct whatsapp_value {
    const struct json *value;       /* with contacts[], of whoever writes */
    struct events *events;
    bool is_echo;                   /* the owner wrote it in the phone app */
};

/* Append what one of messages[] (or message_echoes[]) says. ERR_TOO_LARGE when there are too many. */
int whatsapp_add_message(const struct whatsapp_value *of, const struct json *message, struct err *err);

/* A number as contacts have it: "+" before the digits of a wa_id; a user id ("US.1234") stays. Absent for absent. */
struct str whatsapp_address(struct arena *arena, struct str given);

/* A time that is seconds, or at times milliseconds, as text; 0: none. */
int64_t whatsapp_time_ms(const struct json *timestamp);
