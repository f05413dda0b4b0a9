/* httpSMS (contracts 6.2): the calls of its phone app, whose server address is a setting. The app
 * drops a text when it is answered with 4xx and repeats it on 5xx, so 4xx is said only of what no
 * repeat can mend. It reads the answers' JSON. Sending needs Google's push service: this app only
 * receives. */
#include "channels/lib/phone.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

/* {"data": `data`, "message": ..., "status": "success"}: what all answers look like; `data` is
 * serialised. */
static void answer(struct events *events, struct webhook_reply *reply, struct str data,
                   const char *message)
{
    struct json_writer writer;
    struct buf out;

    buf_init(&out, LIMIT_WEBHOOK_BYTES * 2);
    writer = json_writer(&out);
    json_object_begin(&writer);
    json_key(&writer, "data");
    json_put_raw(&writer, data);
    json_cstr_at(&writer, "message", message);
    json_cstr_at(&writer, "status", "success");
    json_object_end(&writer);
    reply->content_type = "application/json";
    reply->body = (struct str){ arena_copy(events->arena, out.data, out.len), out.len };
    buf_fini(&out);
}

/* The stored message as the app's own server would show it; the app does not take less. */
static struct str stored_json(struct events *events, const struct phone_text *text, struct str id)
{
    static const char *const times[] = { "created_at", "order_timestamp", "request_received_at",
                                         "updated_at", "received_at" };
    struct json_writer writer;
    struct str out;
    struct buf json;

    buf_init(&json, LIMIT_WEBHOOK_BYTES * 2);
    writer = json_writer(&json);
    json_object_begin(&writer);
    json_text_at(&writer, "id", id);
    json_text_at(&writer, "owner", text->to.data ? text->to : STR(""));
    json_text_at(&writer, "contact", text->from);
    json_text_at(&writer, "content", text->text.data ? text->text : STR(""));
    json_cstr_at(&writer, "sim", text->sim == 2 ? "SIM2" : "SIM1");
    json_cstr_at(&writer, "type", "mobile-originated");
    json_cstr_at(&writer, "status", "received");
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        json_text_at(&writer, times[i], text->sent.data ? text->sent : STR("1970-01-01T00:00:00Z"));
    json_object_end(&writer);
    out = (struct str){ arena_copy(events->arena, json.data, json.len), json.len };
    buf_fini(&json);
    return out;
}

/* "SIM1", "SIM2" */
static int64_t sim_of(struct str sim)
{
    int64_t number = 0;

    if (str_starts(sim, "SIM"))
        str_int((struct str){ sim.data + 3, sim.len - 3 }, 1, 9, &number);
    return number;
}

static struct phone_text text_of(const struct json *body)
{
    return (struct phone_text){
        .app = "httpsms",
        .from = json_text(json_get(body, "from")),
        .to = json_text(json_get(body, "to")),
        .text = json_text(json_get(body, "content")),
        .sent = json_text(json_get(body, "timestamp")),
        .sim = sim_of(json_text(json_get(body, "sim"))),
        .attachments = json_get(body, "attachments"),
        .is_encrypted = json_bool(json_get(body, "encrypted"), false),
    };
}

static int add_message(const struct channel *channel, const struct json *body,
                       struct events *events, struct webhook_reply *reply, struct err *err)
{
    struct phone_text text = text_of(body);

    if (json_count(text.attachments) > 0)
        text.type = STR("mms");
    if (phone_add_text(channel, &text, events, err) < 0)
        return -1;
    answer(events, reply, stored_json(events, &text, events->items[events->count - 1].external_id),
           "message received successfully");
    return 0;
}

/* Stored like a message, since it is one more way in which a person wanted something. */
static int add_missed_call(const struct channel *channel, const struct json *body,
                           struct events *events, struct webhook_reply *reply, struct err *err)
{
    struct phone_text text = text_of(body);

    text.text = STR("[missed call]");
    text.type = STR("call");
    if (phone_add_text(channel, &text, events, err) < 0)
        return -1;
    answer(events, reply, stored_json(events, &text, events->items[events->count - 1].external_id),
           "missed call received successfully");
    return 0;
}

/* Heartbeats and the push token: the app wants to see itself. */
static int add_nothing(const struct channel *channel, struct events *events,
                       struct webhook_reply *reply, struct err *err)
{
    const char *self = arena_printf(events->arena, "{\"id\":\"%s\",\"user_id\":\"%s\"}",
                                    channel->hook, channel->hook);

    if (phone_add_nothing(events, err) < 0)
        return -1;
    answer(events, reply, str_c(self), "ok");
    return 0;
}

int phone_httpsms(const struct channel *channel, const struct webhook *webhook,
                  struct events *events, struct webhook_reply *reply, struct err *err)
{
    struct str path = webhook->path;
    bool post = webhook->request->method == HTTP_POST;
    const struct json *body;

    if (phone_check_key(channel, webhook, err) < 0)
        return -1;
    if ((post && str_is(path, "/v1/heartbeats")) || str_is(path, "/v1/phones/fcm-token"))
        return add_nothing(channel, events, reply, err);
    if (post
        && (str_is(path, "/v1/messages/receive") || str_is(path, "/v1/messages/calls/missed"))) {
        body = phone_json(webhook, events, err);
        if (!body)
            return -1;
        return str_is(path, "/v1/messages/receive")
            ? add_message(channel, body, events, reply, err)
            : add_missed_call(channel, body, events, reply, err);
    }
    /* outstanding messages and their events: this hub gave the app none, and 404 is what it expects
     * then */
    err_set(err, ERR_NOT_FOUND, "This hub sends nothing through httpSMS.");
    return err_hint(
        err, "To send texts through the phone use SMS Gateway for Android and set base_url.");
}
