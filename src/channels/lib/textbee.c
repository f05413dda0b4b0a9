/* textbee (contracts 6.3): its phone app repeats whatever is not answered 2xx; its server gives a
 * webhook up at the first 4xx and repeats on 5xx for a month. */
#include "channels/lib/phone.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/form.h"

#include <string.h>

#define DEVICES "/gateway/devices"

static bool ends_with(struct str text, const char *end)
{
    size_t length = strlen(end);

    return text.len >= length && memcmp(text.data + text.len - length, end, length) == 0;
}

/* The id in ".../gateway/devices/{id}/...", absent when there is none. */
static struct str device_of(struct str path)
{
    const char *at = memmem(path.data, path.len, DEVICES, strlen(DEVICES));
    struct str rest, device = { 0 };

    if (!at)
        return device;
    rest =
        (struct str){ at + strlen(DEVICES), (size_t)(path.data + path.len - at) - strlen(DEVICES) };
    if (rest.len < 2 || rest.data[0] != '/')
        return device;
    rest = (struct str){ rest.data + 1, rest.len - 1 };
    str_split(&rest, '/', &device);
    return device;
}

static struct str number_text(struct arena *arena, const struct json *value)
{
    struct str text = json_text(value);

    if (json_kind(value) == JSON_KIND_INT)
        text = str_c(arena_printf(arena, "%lld", (long long)json_int(value, 0)));
    return text;
}

static void answer(struct events *events, struct webhook_reply *reply, struct str device)
{
    struct json_writer writer;
    struct buf out;

    buf_init(&out, LIMIT_HEADER_BYTES * 4);
    writer = json_writer(&out);
    json_object_begin(&writer);
    json_bool_at(&writer, "success", true);
    json_key(&writer, "data");
    json_object_begin(&writer);
    json_text_at(&writer, "_id", str_nfc(events->arena, device));
    json_object_end(&writer);
    json_object_end(&writer);
    reply->content_type = "application/json";
    reply->body = (struct str){ arena_copy(events->arena, out.data, out.len), out.len };
    buf_fini(&out);
}

/* "SENT", "DELIVERED", "FAILED", "DELIVERY_FAILED"; 0: another one. */
static enum message_state state_of(struct str status)
{
    if (str_is(status, "SENT"))
        return MESSAGE_SENT;
    if (str_is(status, "DELIVERED"))
        return MESSAGE_DELIVERED;
    return str_is(status, "FAILED") || str_is(status, "DELIVERY_FAILED") ? MESSAGE_FAILED : 0;
}

static int add_status(const struct json *body, const char *const *times, struct events *events,
                      struct err *err)
{
    struct phone_receipt receipt = {
        .id = json_text(json_get(body, "smsId")),
        .state = state_of(json_text(json_get(body, "status"))),
        .reason = json_text(json_get(body, "errorMessage")),
    };

    if (!receipt.state)
        return phone_add_nothing(events, err);
    receipt.at = number_text(events->arena,
                             json_get(body,
                                      receipt.state == MESSAGE_SENT            ? times[0]
                                          : receipt.state == MESSAGE_DELIVERED ? times[1]
                                                                               : times[2]));
    return phone_add_receipt(&receipt, events, err);
}

int phone_textbee(const struct channel *channel, const struct webhook *webhook,
                  struct events *events, struct webhook_reply *reply, struct err *err)
{
    static const char *const times[] = { "sentAtInMillis", "deliveredAtInMillis",
                                         "failedAtInMillis" };
    struct str device = device_of(webhook->path);
    struct phone_text text = { .app = "textbee", .device = device };
    const struct json *body;

    if (phone_check_key(channel, webhook, err) < 0)
        return -1;
    body = phone_json(webhook, events, err);
    if (!body)
        return -1;
    answer(events, reply, device.len ? device : str_c(channel->hook));
    if (ends_with(webhook->path, "/sms-status"))
        return add_status(body, times, events, err);
    if (!ends_with(webhook->path, "/receive-sms"))
        return phone_add_nothing(events, err); /* registration, changes of the device, heartbeats */
    text.from = json_text(json_get(body, "sender"));
    text.text = json_text(json_get(body, "message"));
    text.sent = number_text(events->arena, json_get(body, "receivedAtInMillis"));
    return phone_add_text(channel, &text, events, err);
}

int phone_textbee_server(const struct channel *channel, const struct webhook *webhook,
                         struct events *events, struct webhook_reply *reply, struct err *err)
{
    static const char *const times[] = { "sentAt", "deliveredAt", "failedAt" };
    const char *key = channel_text(channel, "forwarder_key");
    const struct json *body;
    struct phone_text text;

    (void)reply;
    if (!key) {
        err_set(err, ERR_FORBIDDEN,
                "This channel has no forwarder_key, so it takes nothing from textbee.");
        return err_hint(
            err, "Set forwarder_key in the channel's settings to the webhook's signing secret.");
    }
    if (!form_signed(events->arena, key, &webhook->request->body, 1,
                     http_header(webhook->request, "X-Signature"))) {
        err_set(err, ERR_FORBIDDEN, "The signature does not fit this channel's forwarder_key.");
        return err_hint(
            err, "Set forwarder_key in the channel's settings to the webhook's signing secret.");
    }
    body = phone_json(webhook, events, err);
    if (!body)
        return -1;
    if (!str_is(json_text(json_get(body, "webhookEvent")), "MESSAGE_RECEIVED"))
        return add_status(body, times, events, err);
    /* one text has been seen under two smsIds: only device, sender, text and second count */
    text = (struct phone_text){
        .app = "textbee",
        .device = json_text(json_get(body, "deviceId")),
        .from = json_text(json_get(body, "sender")),
        .text = json_text(json_get(body, "message")),
        .sent = json_text(json_get(body, "receivedAt")),
    };
    return phone_add_text(channel, &text, events, err);
}
