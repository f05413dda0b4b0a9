#include "channels/lib/whatsapp.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/form.h"

#include <string.h>

#define SETUP "Set app_secret (App settings, Basic) and verify_token (your own words) of the app at " \
              "developers.facebook.com in the channel's settings."

/* --- Proof ------------------------------------------------------------------------------------ */

static int refuse(struct err *err, const char *what)
{
    err_set(err, ERR_FORBIDDEN, "%s", what);
    return err_hint(err, "%s", SETUP);
}

static bool knows_token(const struct channel *channel, const struct http_request *request)
{
    const char *token = channel_text(channel, "verify_token");

    return token && *token && str_eq_secret(http_query(request, "hub.verify_token"), str_c(token));
}

/* Meta asks once whether this is the right place; the bare challenge is the answer. */
static int shake_hands(const struct channel *channel, const struct webhook *webhook, struct events *events,
                       struct webhook_reply *reply, struct err *err)
{
    const struct http_request *request = webhook->request;
    struct str challenge = http_query(request, "hub.challenge");

    if (!str_is(http_query(request, "hub.mode"), "subscribe") || !knows_token(channel, request))
        return refuse(err, "The verify token does not fit.");
    if (!challenge.len || challenge.len > 200)
        return err_set(err, ERR_INVALID, "hub.challenge is missing or longer than 200 bytes.");
    reply->content_type = "text/plain; charset=utf-8";
    reply->body = (struct str){ arena_copy(events->arena, challenge.data, challenge.len), challenge.len };
    return 0;
}

static int verify(const struct channel *channel, const struct http_request *request, struct arena *arena,
                  struct err *err)
{
    struct str given = http_header(request, "X-Hub-Signature-256");

    if (!channel_text(channel, "app_secret"))
        return refuse(err, "The channel has no app_secret, so no signature can be checked.");
    if (!str_starts(given, "sha256="))
        return refuse(err, "The header X-Hub-Signature-256 is missing.");
    given = (struct str){ given.data + 7, given.len - 7 };
    if (!form_signed(arena, channel_text(channel, "app_secret"), &request->body, 1, given))
        return refuse(err, "The header X-Hub-Signature-256 does not fit the body.");
    return 0;
}

/* --- Statuses --------------------------------------------------------------------------------- */

static enum message_state state_of(struct str status)
{
    if (str_is(status, "sent"))
        return MESSAGE_SENT;
    if (str_is(status, "delivered"))
        return MESSAGE_DELIVERED;
    if (str_is(status, "read") || str_is(status, "played"))
        return MESSAGE_READ;
    return str_is(status, "failed") ? MESSAGE_FAILED : 0;
}

static int add_status(struct events *events, const struct json *status, struct err *err)
{
    struct str key = json_text(json_get(status, "biz_opaque_callback_data"));
    int64_t code = json_int(json_at(status, "errors.0.code"), 0);
    const struct outcome_code *row = outcome_code_find(whatsapp_errors, code);
    struct str recipient = json_text(json_get(status, "recipient_id"));
    struct channel_event event = {
        .kind = CHANNEL_RECEIPT,
        .external_id = json_text(json_get(status, "id")),
        .state = state_of(json_text(json_get(status, "status"))),
        .provider_ms = whatsapp_time_ms(json_get(status, "timestamp")),
        .key = key.len ? key : (struct str){ 0 },
    };

    event.address = whatsapp_address(
        events->arena, recipient.len ? recipient : json_text(json_get(status, "recipient_user_id")));
    if (!event.external_id.len)
        return err_set(err, ERR_MALFORMED, "A status without the id of a message.");
    if (!event.state)       /* "deleted", and what nobody knows yet */
        event = (struct channel_event){ .kind = CHANNEL_IGNORED, .external_id = event.external_id };
    if (event.state == MESSAGE_FAILED) {
        event.code = code ? str_c(arena_printf(events->arena, "%lld", (long long)code)) : STR("failed");
        event.hint = str_c(row->hint);
    }
    if (events_add(events, &event, err) < 0)
        return -1;
    if (event.state != MESSAGE_FAILED || !(row->flags & OUTCOME_OPTED_OUT) || !event.address.len)
        return 0;
    return events_add(
        events, &(struct channel_event){ .kind = CHANNEL_OPTED_OUT, .address = event.address, .code = event.code },
        err);
}

/* --- Values ----------------------------------------------------------------------------------- */

/* "stop" and "resume" of marketing. */
static int add_preference(struct events *events, const struct json *preference, struct err *err)
{
    struct str wanted = json_text(json_get(preference, "value"));
    struct str number = json_text(json_get(preference, "wa_id")), user = json_text(json_get(preference, "user_id"));
    struct channel_event event = {
        .kind = str_is(wanted, "stop") ? CHANNEL_OPTED_OUT : str_is(wanted, "resume") ? CHANNEL_OPTED_IN
                                                                                       : CHANNEL_IGNORED,
        .address = whatsapp_address(events->arena, number.len ? number : user),
        .code = wanted,
        .provider_ms = whatsapp_time_ms(json_get(preference, "timestamp")),
    };

    if (number.len && user.len)
        event.aliases[0] = user;
    if (event.kind == CHANNEL_IGNORED || !event.address.len)
        event = (struct channel_event){ .kind = CHANNEL_IGNORED };
    return events_add(events, &event, err);
}

static int add_value(struct events *events, struct str field, const struct json *value, struct err *err)
{
    const struct whatsapp_value of = { value, events, str_is(field, "smb_message_echoes") };
    const struct json *messages = json_get(value, of.is_echo ? "message_echoes" : "messages");
    const struct json *statuses = json_get(value, "statuses"), *wishes = json_get(value, "user_preferences");
    size_t before = events->count;

    for (size_t i = 0; i < json_count(messages); i++)
        if (whatsapp_add_message(&of, json_item(messages, i), err) < 0)
            return -1;
    for (size_t i = 0; i < json_count(statuses); i++)
        if (add_status(events, json_item(statuses, i), err) < 0)
            return -1;
    for (size_t i = 0; str_is(field, "user_preferences") && i < json_count(wishes); i++)
        if (add_preference(events, json_item(wishes, i), err) < 0)
            return -1;
    if (events->count > before)
        return 0;
    /* errors of the account, template reviews, quality: understood, nothing to store */
    return events_add(events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err);
}

/* Is the value for another of the app's phone numbers? Meta posts those of all numbers to one address. */
static bool is_other(const struct channel *channel, const struct json *value)
{
    const char *own = channel_text(channel, "phone_number_id");
    struct str number = json_text(json_at(value, "metadata.phone_number_id"));

    return own && number.len && !str_is(number, own);
}

/* How many values there are, and how many of them are for other numbers. */
struct tally {
    size_t values, others;
};

static int add_entries(const struct channel *channel, const struct json *entries, struct events *events,
                       struct tally *tally, struct err *err)
{
    for (size_t i = 0; i < json_count(entries); i++) {
        const struct json *changes = json_get(json_item(entries, i), "changes");

        for (size_t j = 0; j < json_count(changes); j++) {
            const struct json *change = json_item(changes, j), *value = json_get(change, "value");
            int failed;

            tally->values++;
            tally->others += is_other(channel, value);
            failed = is_other(channel, value)
                ? events_add(events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err)
                : add_value(events, json_text(json_get(change, "field")), value, err);
            if (failed)
                return -1;
        }
    }
    return 0;
}

int whatsapp_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                     struct webhook_reply *reply, struct err *err)
{
    const struct http_request *request = webhook->request;
    struct tally tally = { 0 };
    const struct json *body;

    if (request->method == HTTP_GET)
        return shake_hands(channel, webhook, events, reply, err);
    if (verify(channel, request, events->arena, err) < 0)
        return -1;
    body = json_parse_lenient(events->arena, request->body, err);
    if (!body) {
        err->code = ERR_MALFORMED;
        return -1;
    }
    if (!str_is(json_text(json_get(body, "object")), "whatsapp_business_account"))
        return err_set(err, ERR_MALFORMED, "The body is not about a whatsapp_business_account.");
    if (json_kind(json_get(body, "entry")) != JSON_KIND_ARRAY)
        return err_set(err, ERR_MALFORMED, "The body has no list of entries.");
    if (add_entries(channel, json_get(body, "entry"), events, &tally, err) < 0)
        return -1;
    if (tally.values && tally.others == tally.values)
        return err_set(err, ERR_MALFORMED, "The body is for another phone_number_id than this channel's. Set the app's "
                       "webhook address to /webhooks/whatsapp, which serves all its numbers.");
    return 0;
}

bool whatsapp_claims(const struct channel *channel, const struct webhook *webhook)
{
    const struct http_request *request = webhook->request;
    const struct json *body, *entries;

    if (request->method == HTTP_GET)
        return knows_token(channel, request);
    body = json_parse_lenient(request->arena, request->body, NULL);
    entries = json_get(body, "entry");
    for (size_t i = 0; i < json_count(entries); i++) {
        const struct json *changes = json_get(json_item(entries, i), "changes");

        for (size_t j = 0; j < json_count(changes); j++)
            if (!is_other(channel, json_get(json_item(changes, j), "value")))
                return true;
    }
    return false;
}
