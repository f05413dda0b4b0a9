/* webhook.c - any provider that speaks HTTP and JSON: the settings say how its requests are signed, which members hold
 * what, and what it is sent. What comes in is read in lib/mapped.c; docs/channels/webhook.md has examples. */
#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/mapped.h"
#include "channels/lib/outcome.h"

#include <string.h>

#define PATH_MAX_BYTES 200
#define WORDS_MAX_BYTES 500
#define HEADER_MAX_BYTES 100

static const struct field settings[] = {
    { "secret", FIELD_TEXT, FIELD_SECRET, "What the provider signs with, or sends. Absent: nothing comes in.", 1, 500 },
    { "signature", FIELD_ENUM, 0,
      "How requests are proven: hmac (HMAC-SHA256 over the raw body), standard (Standard Webhooks), header (the secret "
      "itself in a header).", 0, 0, "hmac|standard|header", "hmac" },
    { "signature_header", FIELD_TEXT, 0, "Header that holds the signature or the secret.", 1, HEADER_MAX_BYTES, NULL,
      "X-Signature" },
    { "signature_prefix", FIELD_TEXT, 0, "What stands before it.", 1, 40, NULL, NULL, NULL, "sha256=" },
    { "signature_encoding", FIELD_ENUM, 0, "How an hmac is written.", 0, 0, "hex|base64", "hex" },
    { "timestamp_header", FIELD_TEXT, 0, "Header with the time that is signed as well.", 1, HEADER_MAX_BYTES },
    { "signed_text", FIELD_TEXT, 0,
      "What is signed. Absent: {body}, with timestamp_header {timestamp}.{body}.", 6, 100, NULL, NULL, NULL,
      "v0:{timestamp}:{body}" },
    { "tolerance_s", FIELD_INT, 0, "How far a signed time may be from the hub's clock, in seconds.", 1, 3600, NULL,
      "300" },

    { "events_path", FIELD_TEXT, 0, "Where in the body the array of events is; absent: the body is one.", 1,
      PATH_MAX_BYTES, NULL, NULL, NULL, "data.events" },
    { "kind_path", FIELD_TEXT, 0, "Member that says what an event is; absent: told by what it holds.", 1,
      PATH_MAX_BYTES, NULL, NULL, NULL, "type" },
    { "kind_message", FIELD_TEXT, 0, "Its words for a message, with commas between.", 1, WORDS_MAX_BYTES, NULL,
      "message" },
    { "kind_receipt", FIELD_TEXT, 0, "Its words for a receipt. Any other kind is counted and dropped.", 1,
      WORDS_MAX_BYTES, NULL, "status" },
    { "from_path", FIELD_TEXT, 0, "Who wrote: the address to answer to.", 1, PATH_MAX_BYTES, NULL, "from" },
    { "text_path", FIELD_TEXT, 0, "What was written.", 1, PATH_MAX_BYTES, NULL, "text" },
    { "id_path", FIELD_TEXT, 0,
      "The provider's id of the message. Where it is missing, two requests with the same body are one message.", 1,
      PATH_MAX_BYTES, NULL, "id" },
    { "time_path", FIELD_TEXT, 0, "When: seconds, milliseconds or RFC 3339.", 1, PATH_MAX_BYTES, NULL, "time" },
    { "name_path", FIELD_TEXT, 0, "The sender's name.", 1, PATH_MAX_BYTES, NULL, "name" },
    { "group_path", FIELD_TEXT, 0, "The group that it was written in.", 1, PATH_MAX_BYTES },
    { "reply_path", FIELD_TEXT, 0, "Id of the message that it answers.", 1, PATH_MAX_BYTES },
    { "file_path", FIELD_TEXT, 0, "Public URL of a file.", 1, PATH_MAX_BYTES },
    { "status_path", FIELD_TEXT, 0, "Receipts: what became of a message.", 1, PATH_MAX_BYTES, NULL, "status" },
    { "receipt_id_path", FIELD_TEXT, 0, "Receipts: which message; absent: id_path.", 1, PATH_MAX_BYTES },
    { "error_path", FIELD_TEXT, 0, "Why it failed, in receipts and in answers.", 1, PATH_MAX_BYTES, NULL, "error" },
    { "status_sent", FIELD_TEXT, 0, "Its words for sent.", 1, WORDS_MAX_BYTES, NULL, "sent" },
    { "status_delivered", FIELD_TEXT, 0, "Its words for delivered.", 1, WORDS_MAX_BYTES, NULL, "delivered" },
    { "status_read", FIELD_TEXT, 0, "Its words for read.", 1, WORDS_MAX_BYTES, NULL, "read" },
    { "status_failed", FIELD_TEXT, 0, "Its words for failed.", 1, WORDS_MAX_BYTES, NULL, "failed,undelivered" },

    { "send_url", FIELD_URL, 0, "Where messages are posted to; absent: the channel only receives.", 0, 0, NULL, NULL,
      NULL, "https://api.example.com/messages" },
    { "send_body", FIELD_OBJECT, 0,
      "JSON that is posted. In its texts {to} {text} {key} {group} {reply_to} {file_url} {file_name} {file_type} are "
      "filled in; a member that is one of them alone, with nothing to fill in, is left out.", 0, 8000, NULL,
      "{\"to\":\"{to}\",\"text\":\"{text}\"}" },
    { "auth_header", FIELD_TEXT, 0, "Header that holds auth_value.", 1, HEADER_MAX_BYTES, NULL, "Authorization" },
    { "auth_value", FIELD_TEXT, FIELD_SECRET, "Its whole value, like Bearer abc123.", 1, 1000 },
    { "answer_id_path", FIELD_TEXT, 0,
      "Member of the answer that is the message's id. Set: an answer without it is no success.", 1, PATH_MAX_BYTES,
      NULL, NULL, NULL, "data.id" },
    { 0 }
};

/* --- Templates -------------------------------------------------------------------------------- */

/* What a placeholder stands for; absent: nothing. */
static struct str value_of(const struct send_job *job, struct str name)
{
    const struct send_attachment *file = job->attachment;

    return str_is(name, "to") ? str_c(job->conversation ? job->conversation : job->to)
        : str_is(name, "text")      ? job->text
        : str_is(name, "key")       ? str_c(job->key)
        : str_is(name, "group")     ? str_c(job->conversation)
        : str_is(name, "reply_to")  ? str_c(job->reply_to)
        : str_is(name, "file_url")  ? str_c(file ? file->url : NULL)
        : str_is(name, "file_name") ? str_c(file ? file->name : NULL)
        : str_is(name, "file_type") ? str_c(file ? file->type : NULL)
                                    : (struct str){ 0 };
}

/* "{name}" at the beginning of `text`: its name, or absent. */
static struct str placeholder(struct str text)
{
    static const char *const names[] = { "to", "text", "key", "group", "reply_to", "file_url", "file_name",
                                         "file_type" };
    const char *end = text.len && text.data[0] == '{' ? memchr(text.data, '}', text.len) : NULL;
    struct str name = { text.data + 1, end ? (size_t)(end - text.data - 1) : 0 };

    for (size_t i = 0; end && i < sizeof names / sizeof names[0]; i++)
        if (str_is(name, names[i]))
            return name;
    return (struct str){ 0 };
}

/* One text with its placeholders filled in; false: it is nothing but one with nothing to fill in. */
static bool fill_text(struct json_writer *writer, const struct send_job *job, const char *key, struct str text)
{
    struct str name = placeholder(text), value = name.data ? value_of(job, name) : (struct str){ 0 };
    struct buf out;

    if (name.data && name.len + 2 == text.len && !value.len)
        return false;
    buf_init(&out, LIMIT_JSON_BYTES);
    while (text.len) {
        name = placeholder(text);
        if (name.data) {
            buf_str(&out, value_of(job, name));
            text = (struct str){ text.data + name.len + 2, text.len - name.len - 2 };
            continue;
        }
        buf_putc(&out, *text.data);
        text = (struct str){ text.data + 1, text.len - 1 };
    }
    if (key)
        mapped_key(writer, str_c(key));
    json_put_text(writer, out.len ? buf_slice(&out) : STR(""));
    buf_fini(&out);
    return true;
}

static void fill(struct json_writer *writer, const struct send_job *job, const char *key, const struct json *value)
{
    const struct json *member;
    void *position = NULL;
    const char *name;
    struct buf raw;

    if (json_kind(value) == JSON_KIND_STRING) {
        fill_text(writer, job, key, json_text(value));
        return;
    }
    if (key)
        mapped_key(writer, str_c(key));
    if (json_kind(value) == JSON_KIND_OBJECT) {
        json_object_begin(writer);
        while (json_next(value, &position, &name, &member))
            fill(writer, job, name, member);
        json_object_end(writer);
    } else if (json_kind(value) == JSON_KIND_ARRAY) {
        json_array_begin(writer);
        for (size_t i = 0; i < json_count(value); i++)
            fill(writer, job, NULL, json_item(value, i));
        json_array_end(writer);
    } else {
        buf_init(&raw, LIMIT_JSON_NUMBER_CHARS * 2);
        json_dump(&raw, value);
        json_put_raw(writer, buf_slice(&raw));
        buf_fini(&raw);
    }
}

/* --- Sending ---------------------------------------------------------------------------------- */

static enum send_outcome says(struct send_result *result, enum send_outcome outcome, const char *code,
                              const char *hint)
{
    result->code = str_c(code);
    result->hint = str_c(hint);
    return outcome;
}

/* A line of the settings may not become two of a request. */
static bool is_clean(const char *text)
{
    return !text || !text[strcspn(text, "\r\n")];
}

static void begin(struct form *form, struct arena *arena, const struct channel *channel)
{
    const char *value = channel_text(channel, "auth_value"), *url = channel_text(channel, "send_url");

    form_begin(form, arena, channel, url, url[strlen(url) - 1] == '/' ? "/" : "");
    if (value && is_clean(value) && is_clean(channel_text(channel, "auth_header")))
        form_header(form, channel_text(channel, "auth_header"), value);
}

static enum send_outcome webhook_send(const struct channel *channel, const struct send_job *job,
                                      struct exchange *exchange, struct send_result *result)
{
    const char *format = channel_text(channel, "send_body"), *path = channel_text(channel, "answer_id_path");
    const struct json *template = json_parse(job->arena, str_c(format), NULL), *answer;
    struct exchange_reply reply;
    struct json_writer writer;
    struct form form;
    struct buf body;
    struct str why;

    if (!channel_text(channel, "send_url")) {
        result->channel_fault = true;
        return says(result, SEND_REFUSED, "no_send_url",
                    "This channel only receives. Set send_url to send through it.");
    }
    if (job->act != SEND_MESSAGE)
        return says(result, SEND_REFUSED, "not_supported", "This kind of channel sends messages only.");
    if (job->attachment && (!job->attachment->url || !strstr(format, "{file_url}")))
        return says(result, SEND_REFUSED, "no_files",
                    "Files go out as a URL: put {file_url} into send_body, and set public-url.");
    begin(&form, job->arena, channel);
    buf_init(&body, LIMIT_JSON_BYTES * 2);
    writer = json_writer(&body);
    fill(&writer, job, NULL, template);
    form_json(&form, buf_slice(&body));
    buf_fini(&body);
    form_run(&form, exchange, job->timeout_ms, &reply);
    answer = form_answer(&form, &reply);
    why = mapped_at(job->arena, channel, "error_path", answer);
    if (reply.end != EXCHANGE_ANSWERED || reply.status < 200 || reply.status > 299) {
        if (why.len && reply.status >= 400 && reply.status < 500 && reply.status != 401 && reply.status != 403
            && reply.status != 429)
            result->hint = str_c(arena_printf(job->arena, "The provider refused it: %.*s",
                                              (int)str_cut(why, 200, false), why.data));
        return outcome_of(job, &reply, OUTCOME_PLAIN, result);
    }
    result->external_id = mapped_at(job->arena, channel, "answer_id_path", answer);
    if (!path || result->external_id.len)
        return SEND_DONE;
    result->channel_fault = true;
    return says(result, SEND_UNSURE, "no_id",
                "The answer has no id where answer_id_path leads: whether the provider has the message is not known.");
}

/* --- Probing ---------------------------------------------------------------------------------- */

static int webhook_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                         struct err *err)
{
    const char *hook = arena_printf(report->arena, "%s/hooks/%s", channel->public_url ? channel->public_url : "",
                                    channel->hook);
    bool receives = channel_text(channel, "secret") != NULL, sends = channel_text(channel, "send_url") != NULL;
    struct exchange_reply reply;
    struct form form;

    json_bool_at(report->json, "can_receive", receives);
    json_bool_at(report->json, "can_send", sends);
    json_cstr_at(report->json, "hook", hook);
    report->summary = str_c(arena_printf(report->arena, "%s", receives
                                             ? "Signed requests to the hook are taken."
                                             : "Nothing comes in until secret is set."));
    if (!sends)
        return 0;
    begin(&form, report->arena, channel);
    form.request.method = HTTP_HEAD;
    form_run(&form, exchange, LIMIT_CONNECT_MS * 2, &reply);
    if (reply.end != EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "The provider at send_url does not answer: %s", reply.err.detail);
        return err_hint(err, "%s", reply.err.hint[0] ? reply.err.hint : "Is send_url right, and is it reachable?");
    }
    json_int_at(report->json, "send_url_status", reply.status);
    if (reply.status == 401 || reply.status == 403) {
        err_set(err, ERR_UNAVAILABLE, "The provider refuses auth_value (status %d).", reply.status);
        return err_hint(err, "Compare auth_header and auth_value with what the provider says.");
    }
    report->summary = str_c(arena_printf(report->arena, "%.*s send_url answers (status %d to an empty question).",
                                         STR_FMT(report->summary), reply.status));
    return 0;
}

const struct channel_driver channel_webhook = {
    .kind = "webhook",
    .title = "Any provider with webhooks",
    .about = "A provider that is not listed: it posts signed JSON to the hub and takes JSON by HTTP. Needs its "
             "documentation: the settings say how it signs and what its members are called.",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_REPLY | CHANNEL_CAN_RECEIPT | CHANNEL_CAN_GROUP,
    .text_max = 4096,
    .caption_max = 4096,
    .send = webhook_send,
    .receive = mapped_receive,
    .probe = webhook_probe,
};
