/* SMS Gateway for Android (contracts 6.1): the phone posts each event itself and repeats it, with a
 * new signature, until it gets a 2xx. */
#include "channels/lib/phone.h"

#include "base/arena.h"
#include "base/json.h"
#include "channels/lib/form.h"

#include <string.h>

static int check_signature(const struct channel *channel, const struct webhook *webhook,
                           struct arena *arena, struct err *err)
{
    struct str time = http_header(webhook->request, "X-Timestamp");
    const struct str parts[] = { webhook->request->body, time };
    const char *key = channel_text(channel, "signing_key");

    if (!key) {
        err_set(err, ERR_FORBIDDEN,
                "This channel has no signing_key, so it takes nothing from SMS Gateway.");
        return err_hint(
            err,
            "Copy the signing key of the app (Settings, Webhooks) into the channel's settings.");
    }
    if (!form_signed(arena, key, parts, 2, http_header(webhook->request, "X-Signature"))) {
        err_set(err, ERR_FORBIDDEN, "The signature does not fit this channel's signing_key.");
        return err_hint(
            err,
            "Copy the signing key of the app (Settings, Webhooks) into the channel's settings.");
    }
    return form_fresh(time, webhook->now_ms, err);
}

/* `phoneNumber` was the only address field before 2026. */
static struct str address_of(const struct json *payload, const char *name)
{
    struct str address = json_text(json_get(payload, name));

    return address.len ? address : json_text(json_get(payload, "phoneNumber"));
}

static struct phone_text text_of(const struct json *body, const struct json *payload)
{
    return (struct phone_text){
        .app = "sms-gate",
        .device = json_text(json_get(body, "deviceId")),
        .from = address_of(payload, "sender"),
        .to = json_text(json_get(payload, "recipient")),
        .sent = json_text(json_get(payload, "receivedAt")),
        .id = json_text(json_get(payload, "messageId")),
        .sim = json_int(json_get(payload, "simNumber"), 0),
    };
}

static int add_sms(const struct channel *channel, const struct json *body, struct events *events,
                   struct err *err)
{
    const struct json *payload = json_get(body, "payload");
    struct phone_text text = text_of(body, payload);

    text.text = json_text(json_get(payload, "message"));
    return phone_add_text(channel, &text, events, err);
}

/* A binary text is kept as its base64. */
static int add_data(const struct channel *channel, const struct json *body, struct events *events,
                    struct err *err)
{
    const struct json *payload = json_get(body, "payload");
    struct phone_text text = text_of(body, payload);

    text.text = str_c(arena_printf(events->arena, "[binary SMS] %.*s",
                                   STR_FMT(json_text(json_get(payload, "data")))));
    return phone_add_text(channel, &text, events, err);
}

static int add_mms(const struct channel *channel, const struct json *body, struct events *events,
                   struct err *err)
{
    const struct json *payload = json_get(body, "payload");
    struct phone_text text = text_of(body, payload);

    text.text = json_text(json_get(payload, "body"));
    text.subject = json_text(json_get(payload, "subject"));
    text.attachments = json_get(payload, "attachments");
    text.type = STR("mms");
    return phone_add_text(channel, &text, events, err);
}

/* Only announced: the content follows as mms:downloaded, if the phone is set to fetch it. */
static int add_mms_notice(const struct channel *channel, const struct json *body,
                          struct events *events, struct err *err)
{
    const struct json *payload = json_get(body, "payload");
    struct phone_text text = text_of(body, payload);
    struct str subject = json_text(json_get(payload, "subject"));

    if (!channel_flag(channel, "mms_notice"))
        return phone_add_nothing(events, err);
    text.text = str_c(arena_printf(events->arena, "[MMS waiting, %lld bytes]%s%.*s",
                                   (long long)json_int(json_get(payload, "size"), 0),
                                   subject.len ? " " : "", STR_FMT(subject)));
    text.type = STR("mms");
    return phone_add_text(channel, &text, events, err);
}

static int add_receipt(const struct json *body, enum message_state state, const char *time,
                       struct events *events, struct err *err)
{
    const struct json *payload = json_get(body, "payload");
    struct phone_receipt receipt = {
        .id = json_text(json_get(payload, "messageId")),
        .at = json_text(json_get(payload, time)),
        .state = state,
        .reason = json_text(json_get(payload, "reason")),
        .segments = json_int(json_get(payload, "partsCount"), 0),
    };

    /* it comes once per SMS and names none; a repetition has the same time, also of a second registration */
    if (state == MESSAGE_DELIVERED)
        receipt.segment = receipt.at.len ? receipt.at : json_text(json_get(body, "id"));
    if (strcmp(time, "cancelledAt") == 0)
        receipt.reason = STR("cancelled");
    return phone_add_receipt(&receipt, events, err);
}

static int add_event(const struct channel *channel, const struct json *body, struct events *events,
                     struct err *err)
{
    struct str event = json_text(json_get(body, "event"));

    if (str_is(event, "sms:received"))
        return add_sms(channel, body, events, err);
    if (str_is(event, "sms:data-received"))
        return add_data(channel, body, events, err);
    if (str_is(event, "mms:downloaded"))
        return add_mms(channel, body, events, err);
    if (str_is(event, "mms:received"))
        return add_mms_notice(channel, body, events, err);
    if (str_is(event, "sms:sent"))
        return add_receipt(body, MESSAGE_SENT, "sentAt", events, err);
    if (str_is(event, "sms:delivered"))
        return add_receipt(body, MESSAGE_DELIVERED, "deliveredAt", events, err);
    if (str_is(event, "sms:failed"))
        return add_receipt(body, MESSAGE_FAILED, "failedAt", events, err);
    if (str_is(event, "sms:cancelled"))
        return add_receipt(body, MESSAGE_FAILED, "cancelledAt", events, err);
    if (str_is(event, "system:ping") || str_is(event, "app:started"))
        return phone_add_nothing(events, err);
    return err_set(err, ERR_MALFORMED, "The event \"%.*s\" is not known.",
                   (int)str_cut(event, 60, false), event.data ? event.data : "");
}

int phone_smsgate(const struct channel *channel, const struct webhook *webhook,
                  struct events *events, struct webhook_reply *reply, struct err *err)
{
    const struct json *body;

    (void)reply;
    if (check_signature(channel, webhook, events->arena, err) < 0)
        return -1;
    body = phone_json(webhook, events, err);
    return body ? add_event(channel, body, events, err) : -1;
}
