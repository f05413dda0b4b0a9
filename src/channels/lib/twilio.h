/* twilio.h - Twilio's Programmable Messaging: what its webhooks say and prove, and what its error numbers mean. */
#pragma once

#include "channels/lib/outcome.h"
#include "core/channel.h"

#define TWILIO_PAIRS 200        /* of one form; an MMS with ten files has about fifty */

/* A form's pairs as they are signed: decoded, in the order of their names. Lives in the arena given. */
struct twilio_form {
    struct http_header pairs[TWILIO_PAIRS];
    size_t count;
};

/* Read a body or a query. What is no whole escape stands for itself, so that whatever was signed can be checked. False
 * for more than TWILIO_PAIRS pairs. */
bool twilio_form_read(struct arena *arena, struct str text, struct twilio_form *form);

/* The first value of that name, "" for an empty one; absent when there is none. */
struct str twilio_form_get(const struct twilio_form *form, const char *name);

/* Is `given` the header X-Twilio-Signature of a request to `url` with these pairs: base64 of HMAC-SHA1 by the auth
 * token over the URL and each name and value? A port may be written or not, as in Twilio's own libraries. Constant
 * time. */
bool twilio_signed(struct arena *arena, const char *token, const char *url, const struct twilio_form *form,
                   struct str given);

/* A driver's receive(): inbound messages, and status call-backs with our key in the query (mid). */
int twilio_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                   struct webhook_reply *reply, struct err *err);

/* A driver's claims(): the request names the channel's account, and its number or Messaging Service. */
bool twilio_claims(const struct channel *channel, const struct webhook *webhook);

/* What an error number means (https://www.twilio.com/docs/api/errors). Unknown ones are permanent. */
extern const struct outcome_code twilio_errors[];

/* Where a status leads; 0: nowhere (unknown, or a state that says nothing new). "queued" and what comes before "sent"
 * are MESSAGE_SENT: Twilio has the message. */
enum message_state twilio_state(struct str status);

/* An address as Twilio writes it and as contacts have it: on a channel whose sender is "whatsapp:+1555" all are
 * WhatsApp's and the prefix says nothing. */
const char *twilio_to(const struct channel *channel, struct arena *arena, const char *address);
struct str twilio_from(const struct channel *channel, struct str address);
