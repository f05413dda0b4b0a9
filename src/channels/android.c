/* android.c - a phone as a text message channel. Out: the local server of SMS Gateway for Android
 * (contracts 6.1 A; its cloud speaks the same). In: that app's webhooks, and the plain forwarders
 * httpSMS, textbee and SmsForwarder, told apart by path and headers before anything is read. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/form.h"
#include "channels/lib/outcome.h"
#include "channels/lib/phone.h"

#include <string.h>

static const struct field settings[] = {
    { "base_url", FIELD_URL, 0,
      "Where the phone's local server listens; absent: the channel only receives.", 0, 0, NULL,
      NULL, NULL, "http://192.168.1.20:8080" },
    { "username", FIELD_TEXT, 0, "User name shown in the app, for base_url.", 1, 200, NULL, "sms" },
    { "password", FIELD_TEXT, FIELD_SECRET, "Password shown in the app, for base_url.", 1, 200 },
    { "signing_key", FIELD_TEXT, FIELD_SECRET,
      "Signing key of the app's webhooks (Settings, Webhooks).", 1, 200 },
    { "server_token", FIELD_TEXT, FIELD_SECRET,
      "Makes the hub the app's private server: the phone fetches what is to be sent. Enter the same text in the app as "
      "private token.", 12, 200 },
    { "server_url", FIELD_URL, 0, "How the phone reaches the hub, for the webhooks it is told to call; absent: "
      "the hub's public URL, or as it "
      "asks.", 0, 0, NULL, NULL, NULL, "https://hub.example.com" },
    { "forwarder_key", FIELD_TEXT, FIELD_SECRET,
      "What httpSMS and textbee send as API key, textbee's server and "
      "SmsForwarder sign with. Absent: they are refused.",
      6, 200 },
    { "device_id", FIELD_TEXT, 0, "Send only through this device, where the server has several.", 1,
      100 },
    { "sim_slot", FIELD_INT, 0,
      "The SIM to send with, counted from 1; absent: the phone's default.", 1, 3 },
    { "receive_sim", FIELD_INT, 0,
      "Take only what this SIM received, where each SIM has a channel of its own.", 1, 3 },
    { "mms_notice", FIELD_BOOL, 0, "Store a line for an MMS that the phone only announces.", 0, 0,
      NULL, "false" },
    { 0 }
};

/* --- Sending ---------------------------------------------------------------------------------- */

static void begin(struct form *form, struct arena *arena, const struct channel *channel,
                  const char *path)
{
    form_begin(form, arena, channel, channel_text(channel, "base_url"), path);
    form_basic(form, channel_text(channel, "username"), channel_text(channel, "password"));
}

static enum send_outcome no_address(struct send_result *result)
{
    result->code = STR("no_base_url");
    result->hint = STR(
        "This channel only receives. Set base_url to the phone's local server to send through it.");
    result->channel_fault = true;
    return SEND_REFUSED;
}

static void add_message(struct form *form, const struct channel *channel,
                        const struct send_job *job)
{
    const char *device = channel_text(channel, "device_id");
    struct json_writer writer;
    struct buf body;

    buf_init(&body, LIMIT_JSON_BYTES);
    writer = json_writer(&body);
    json_object_begin(&writer);
    json_cstr_at(&writer, "id", job->key);
    json_key(&writer, "textMessage");
    json_object_begin(&writer);
    json_text_at(&writer, "text", job->text);
    json_object_end(&writer);
    json_key(&writer, "phoneNumbers");
    json_array_begin(&writer);
    json_put_text(&writer, str_c(job->to));
    json_array_end(&writer);
    if (channel_number(channel, "sim_slot", 0))
        json_int_at(&writer, "simNumber", channel_number(channel, "sim_slot", 0));
    if (device)
        json_cstr_at(&writer, "deviceId", device);
    json_bool_at(&writer, "withDeliveryReport", true);
    json_object_end(&writer);
    form_json(form, buf_slice(&body));
    buf_fini(&body);
}

/* The receipt in an answer about a message: "Sent", "Delivered", "Failed"; 0: none yet. */
static enum message_state state_of(struct str state)
{
    if (str_is(state, "Sent"))
        return MESSAGE_SENT;
    if (str_is(state, "Delivered"))
        return MESSAGE_DELIVERED;
    return str_is(state, "Failed") || str_is(state, "Cancelled") ? MESSAGE_FAILED : 0;
}

/* What the phone says about a message that it has. */
static enum send_outcome accepted(const struct send_job *job, const struct json *answer,
                                  struct send_result *result)
{
    struct str id = json_text(json_get(answer, "id"));
    struct str reason = json_text(json_at(answer, "recipients.0.error"));

    result->external_id = id.len ? id : str_c(arena_strdup(job->arena, job->key));
    result->settled = state_of(json_text(json_get(answer, "state")));
    if (result->settled == MESSAGE_FAILED) {
        result->code = reason.len ? reason : STR("failed");
        result->hint = str_c(phone_failure_hint(reason));
    }
    return SEND_DONE;
}

static enum send_outcome android_send(const struct channel *channel, const struct send_job *job,
                                      struct exchange *exchange, struct send_result *result)
{
    struct exchange_reply reply;
    struct form form;
    struct str said;

    if (!channel_text(channel, "base_url"))
        return no_address(result);
    /* numbers were checked when the contact was stored; short codes must pass as well */
    begin(&form, job->arena, channel, "/messages?skipPhoneValidation=true");
    add_message(&form, channel, job);
    form_run(&form, exchange, job->timeout_ms, &reply);
    if (reply.end == EXCHANGE_ANSWERED && reply.status == 409) {
        /* an earlier try arrived after all */
        result->external_id = str_c(arena_strdup(job->arena, job->key));
        return SEND_DONE;
    }
    if (reply.end == EXCHANGE_ANSWERED && reply.status >= 200 && reply.status < 300)
        return accepted(job, form_answer(&form, &reply), result);
    said = json_text(json_get(form_answer(&form, &reply), "message"));
    if (said.len && reply.status >= 400 && reply.status < 500 && reply.status != 401
        && reply.status != 403 && reply.status != 429)
        result->hint = str_c(arena_printf(job->arena, "The phone refused it: %.*s",
                                          (int)str_cut(said, 200, false), said.data));
    return outcome_of(job, &reply, OUTCOME_PLAIN, result);
}

static enum send_outcome android_lookup(const struct channel *channel, const struct send_job *job,
                                        struct exchange *exchange, struct send_result *result)
{
    struct exchange_reply reply;
    struct form form;

    if (!channel_text(channel, "base_url")) {
        no_address(result);
        return SEND_UNSURE;
    }
    begin(&form, job->arena, channel,
          arena_printf(job->arena, "/messages/%s", http_encode(job->arena, str_c(job->key))));
    form_run(&form, exchange, job->timeout_ms, &reply);
    if (reply.end == EXCHANGE_ANSWERED && reply.status == 404) {
        result->code = STR("not_found");
        result->hint = STR("The phone never got this message.");
        return SEND_RETRY;
    }
    if (reply.end == EXCHANGE_ANSWERED && reply.status >= 200 && reply.status < 300)
        return accepted(job, form_answer(&form, &reply), result);
    return outcome_unknown(job, &reply, result);
}

/* --- Receiving -------------------------------------------------------------------------------- */

static int android_receive(const struct channel *channel, const struct webhook *webhook,
                           struct events *events, struct webhook_reply *reply, struct err *err)
{
    const struct http_request *request = webhook->request;

    if (phone_is_server(webhook->path))
        return phone_server(channel, webhook, events, reply, err);
    if (str_starts(webhook->path, "/v1/"))
        return phone_httpsms(channel, webhook, events, reply, err);
    if (webhook->path.len && memmem(webhook->path.data, webhook->path.len, "/gateway/devices", 16))
        return phone_textbee(channel, webhook, events, reply, err);
    if (http_header(request, "X-Signature").data && http_header(request, "X-Timestamp").data)
        return phone_smsgate(channel, webhook, events, reply, err);
    if (http_header(request, "X-Signature").data)
        return phone_textbee_server(channel, webhook, events, reply, err);
    return phone_smsforwarder(channel, webhook, events, reply, err);
}

static bool android_pulls(const struct channel *channel)
{
    return channel_text(channel, "server_token") && !channel_text(channel, "base_url");
}

static int android_offer(const struct channel *channel, const struct send_job *jobs, size_t count,
                         struct webhook_reply *reply, struct err *err)
{
    (void)err;
    return phone_offer(channel, jobs, count, reply);
}

/* --- Probing ---------------------------------------------------------------------------------- */

/* One question of the probe: the answer's JSON, or NULL and the reason in `err`. */
static const struct json *ask(const struct channel *channel, struct exchange *exchange,
                              struct arena *arena, const char *path, struct err *err)
{
    struct exchange_reply reply;
    const struct json *answer;
    struct form form;

    begin(&form, arena, channel, path);
    form_run(&form, exchange, LIMIT_CONNECT_MS * 2, &reply);
    if (reply.end != EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "The phone does not answer: %s", reply.err.detail);
        err_hint(err, "%s", reply.err.hint[0] ? reply.err.hint
                 : "Is the app's local server on, and is the phone in the same network?");
        return NULL;
    }
    if (reply.status == 401 || reply.status == 403) {
        err_set(err, ERR_UNAVAILABLE, "The phone refuses the user name or the password.");
        err_hint(err, "Copy both from the app's start page into username and password.");
        return NULL;
    }
    answer = form_answer(&form, &reply);
    if (reply.status < 200 || reply.status > 299 || !answer) {
        err_set(err, ERR_UNAVAILABLE, "The phone answered %s with status %d.", path, reply.status);
        err_hint(err, "Does base_url lead to the app's local server, with its port?");
        return NULL;
    }
    return answer;
}

/* Which events the phone posts to this channel's hook. */
static void report_webhooks(const struct channel *channel, const struct json *webhooks,
                            struct probe_report *report)
{
    static const char *const wanted[] = { "sms:received", "mms:downloaded", "sms:sent",
                                          "sms:delivered", "sms:failed" };
    const char *missing = NULL;

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        bool found = false;

        for (size_t j = 0; j < json_count(webhooks) && !found; j++) {
            struct str url = json_text(json_get(json_item(webhooks, j), "url"));

            found = str_is(json_text(json_get(json_item(webhooks, j), "event")), wanted[i])
                && url.len && memmem(url.data, url.len, channel->hook, strlen(channel->hook));
        }
        if (!found)
            missing =
                missing ? arena_printf(report->arena, "%s, %s", missing, wanted[i]) : wanted[i];
    }
    json_cstr_at(report->json, "webhooks_missing", missing ? missing : "");
    if (missing)
        report->summary =
            str_c(arena_printf(report->arena,
                               "The phone answers, but does not post these events to this "
                               "channel's hook: %s. Register them in the app.",
                               missing));
}

static int android_probe(const struct channel *channel, struct exchange *exchange,
                         struct probe_report *report, struct err *err)
{
    const struct json *health, *device, *webhooks;

    json_bool_at(report->json, "can_receive",
                 channel_text(channel, "signing_key") || channel_text(channel, "forwarder_key"));
    json_bool_at(report->json, "can_send", channel_text(channel, "base_url") != NULL
                 || channel_text(channel, "server_token") != NULL);
    if (android_pulls(channel)) {
        report->summary = str_c(arena_printf(report->arena, "The phone fetches its messages here. Server address for "
            "the app: <this hub's address>/hooks/%s/mobile/v1%s", channel->hook,
            channel_text(channel, "signing_key") ? "" : ". Set signing_key too: without it nothing is received."));
        return 0;
    }
    if (!channel_text(channel, "base_url")) {
        report->summary = STR("The channel only receives: no base_url is set.");
        return 0;
    }
    health = ask(channel, exchange, report->arena, "/health", err);
    device = health ? ask(channel, exchange, report->arena, "/device", err) : NULL;
    webhooks = device ? ask(channel, exchange, report->arena, "/webhooks", err) : NULL;
    if (!webhooks)
        return -1;
    json_text_at(report->json, "health", json_text(json_get(health, "status")));
    json_text_at(report->json, "app_version", json_text(json_get(health, "version")));
    if (json_kind(device) == JSON_KIND_ARRAY)
        device = json_item(device, 0);
    json_text_at(report->json, "device", json_text(json_get(device, "name")));
    report->summary = STR("The phone answers and posts its events to this channel.");
    report_webhooks(channel, webhooks, report);
    return 0;
}

const struct channel_driver channel_android = {
    .kind = "android",
    .title = "Android phone",
    .about = "Text messages through the SIM of an Android phone. Needs the app SMS Gateway for "
             "Android (sends and "
             "receives), or one of httpSMS, textbee and SmsForwarder (receive).",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_RECEIPT | CHANNEL_CAN_REPEAT | CHANNEL_CAN_UTF16
        | CHANNEL_SMS | CHANNEL_PHONE_ADDRESS,
    .text_max = 536,              /* 8 segments of UCS-2; Android refuses nine */
    .limits = { .per_hour = 60 }, /* Android stops an app at about 30 in 30 minutes */
    .send = android_send,
    .receive = android_receive,
    .pulls = android_pulls,
    .offer = android_offer,
    .lookup = android_lookup,
    .probe = android_probe,
};
