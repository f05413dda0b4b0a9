/* whatsapp.c - the WhatsApp Business Cloud API of Meta: texts, files, templates, reactions, read receipts and typing.
 * What comes in is in lib/whatsapp.c. */
#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"
#include "channels/lib/form.h"
#include "channels/lib/whatsapp.h"

#include <string.h>

#define MEGABYTE (1024 * 1024)

static const struct field settings[] = {
    { "phone_number_id", FIELD_TEXT, FIELD_REQUIRED, "Phone number ID (not the number itself) of the WhatsApp setup.",
      1, 40, NULL, NULL, NULL, "1234567890" },
    { "access_token", FIELD_TEXT, FIELD_REQUIRED | FIELD_SECRET,
      "Permanent token of a system user with whatsapp_business_messaging.", 1, 1000 },
    { "app_secret", FIELD_TEXT, FIELD_REQUIRED | FIELD_SECRET,
      "App secret (App settings, Basic): webhooks are signed with it.", 1, 200 },
    { "verify_token", FIELD_TEXT, FIELD_REQUIRED | FIELD_SECRET,
      "Words of your own that Meta says when it checks the webhook's address.", 1, 200 },
    { "waba_id", FIELD_TEXT, 0, "WhatsApp Business Account ID; `channels test` then checks its subscription.", 1, 40 },
    { "link_previews", FIELD_BOOL, 0, "Show a preview of the first link in a text.", 0, 0, NULL, "false" },
    { "graph_version", FIELD_TEXT, 0, "Version of the Graph API.", 2, 10, NULL, "v25.0" },
    { "base_url", FIELD_URL, 0, "Where the Graph API is; only tests and proxies change it.", 0, 0, NULL,
      "https://graph.facebook.com" },
    { 0 }
};

static const struct channel_default defaults[] = {
    { "phone_number_id", "whatsapp-phone-number-id" }, { "access_token", "whatsapp-access-token" },
    { "app_secret", "whatsapp-app-secret" }, { "verify_token", "whatsapp-verify-token" }, { 0 }
};

/* A request below the version: "/106540352242922/messages". */
static void begin(struct form *form, struct arena *arena, const struct channel *channel, const char *path)
{
    const char *token = channel_text(channel, "access_token");

    form_begin(form, arena, channel, channel_text(channel, "base_url"),
               arena_printf(arena, "/%s%s", channel_text(channel, "graph_version"), path));
    form_bearer(form, token ? token : "");
}

static void begin_own(struct form *form, struct arena *arena, const struct channel *channel, const char *below)
{
    const char *number = channel_text(channel, "phone_number_id");

    begin(form, arena, channel, arena_printf(arena, "/%s%s", http_encode(arena, str_c(number)), below));
}

/* --- Bodies ----------------------------------------------------------------------------------- */

/* A message body in the making. */
struct body {
    struct buf text;
    struct json_writer writer;
};

static void body_begin(struct body *body, const struct send_job *job)
{
    bool is_number = job->to[0] == '+' || (job->to[0] >= '0' && job->to[0] <= '9');

    buf_init(&body->text, LIMIT_JSON_BYTES);
    body->writer = json_writer(&body->text);
    json_object_begin(&body->writer);
    json_cstr_at(&body->writer, "messaging_product", "whatsapp");
    if (job->act == SEND_READ || job->act == SEND_TYPING)
        return;
    json_cstr_at(&body->writer, "recipient_type", "individual");
    /* somebody without a number is reached by the user id */
    json_cstr_at(&body->writer, is_number ? "to" : "recipient", job->to[0] == '+' ? job->to + 1 : job->to);
    json_cstr_at(&body->writer, "biz_opaque_callback_data", job->key);
    if (job->reply_to) {
        json_key(&body->writer, "context");
        json_object_begin(&body->writer);
        json_cstr_at(&body->writer, "message_id", job->reply_to);
        json_object_end(&body->writer);
    }
}

static void body_end(struct body *body, struct form *form)
{
    json_object_end(&body->writer);
    form_json(form, buf_slice(&body->text));
    buf_fini(&body->text);
}

static void put_text(struct body *body, const struct channel *channel, const struct send_job *job)
{
    json_cstr_at(&body->writer, "type", "text");
    json_key(&body->writer, "text");
    json_object_begin(&body->writer);
    json_bool_at(&body->writer, "preview_url", channel_flag(channel, "link_previews"));
    json_text_at(&body->writer, "body", job->text);
    json_object_end(&body->writer);
}

static void put_reaction(struct body *body, const struct send_job *job)
{
    json_cstr_at(&body->writer, "type", "reaction");
    json_key(&body->writer, "reaction");
    json_object_begin(&body->writer);
    json_cstr_at(&body->writer, "message_id", job->target);
    json_text_at(&body->writer, "emoji", job->text.data ? job->text : STR(""));
    json_object_end(&body->writer);
}

static void put_read(struct body *body, const struct send_job *job)
{
    json_cstr_at(&body->writer, "status", "read");
    json_cstr_at(&body->writer, "message_id", job->target);
    if (job->act != SEND_TYPING)
        return;
    json_key(&body->writer, "typing_indicator");
    json_object_begin(&body->writer);
    json_cstr_at(&body->writer, "type", "text");
    json_object_end(&body->writer);
}

/* --- Templates -------------------------------------------------------------------------------- */

/* The message's metadata {"template": {...}}, or NULL. */
static const struct json *template_of(const struct send_job *job)
{
    return job->metadata.len ? json_get(json_parse(job->arena, job->metadata, NULL), "template") : NULL;
}

static bool template_fits(const struct json *template)
{
    const struct json *body = json_get(template, "body"), *components = json_get(template, "components");

    for (size_t i = 0; i < json_count(body); i++)
        if (json_kind(json_item(body, i)) != JSON_KIND_STRING)
            return false;
    return json_kind(template) == JSON_KIND_OBJECT && json_text(json_get(template, "name")).len
        && (!body || json_kind(body) == JSON_KIND_ARRAY) && (!components || json_kind(components) == JSON_KIND_ARRAY)
        && !(body && components);
}

static void put_values(struct json_writer *writer, const struct json *values)
{
    json_array_begin(writer);
    json_object_begin(writer);
    json_cstr_at(writer, "type", "body");
    json_key(writer, "parameters");
    json_array_begin(writer);
    for (size_t i = 0; i < json_count(values); i++) {
        json_object_begin(writer);
        json_cstr_at(writer, "type", "text");
        json_text_at(writer, "text", json_text(json_item(values, i)));
        json_object_end(writer);
    }
    json_array_end(writer);
    json_object_end(writer);
    json_array_end(writer);
}

static void put_template(struct body *body, const struct json *template)
{
    const struct json *values = json_get(template, "body"), *components = json_get(template, "components");
    struct str language = json_text(json_get(template, "language"));
    struct buf raw;

    json_cstr_at(&body->writer, "type", "template");
    json_key(&body->writer, "template");
    json_object_begin(&body->writer);
    json_text_at(&body->writer, "name", json_text(json_get(template, "name")));
    json_key(&body->writer, "language");
    json_object_begin(&body->writer);
    json_text_at(&body->writer, "code", language.len ? language : STR("en_US"));
    json_object_end(&body->writer);
    if (values || components)
        json_key(&body->writer, "components");
    if (values)
        put_values(&body->writer, values);
    if (components) {
        buf_init(&raw, LIMIT_METADATA_BYTES);
        json_dump(&raw, components);
        json_put_raw(&body->writer, buf_slice(&raw));
        buf_fini(&raw);
    }
    json_object_end(&body->writer);
}

/* --- Files ------------------------------------------------------------------------------------ */

/* What WhatsApp shows a file as: the kind that its type and size allow, else a document. */
static const char *kind_of(const struct send_attachment *file, bool captioned)
{
    static const struct {
        const char *type, *kind;
        size_t max;
        bool captions;
    } kinds[] = {
        { "image/jpeg", "image", 5 * MEGABYTE, true },   { "image/png", "image", 5 * MEGABYTE, true },
        { "image/webp", "sticker", 100 * 1024, false },  { "video/mp4", "video", 16 * MEGABYTE, true },
        { "video/3gpp", "video", 16 * MEGABYTE, true },  { "audio/aac", "audio", 16 * MEGABYTE, false },
        { "audio/amr", "audio", 16 * MEGABYTE, false },  { "audio/mpeg", "audio", 16 * MEGABYTE, false },
        { "audio/mp4", "audio", 16 * MEGABYTE, false },  { "audio/ogg", "audio", 16 * MEGABYTE, false },
    };

    for (size_t i = 0; file->type && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(file->type, kinds[i].type) == 0 && file->data.len <= kinds[i].max
            && (kinds[i].captions || !captioned))
            return kinds[i].kind;
    return "document";
}

static void put_file(struct body *body, const struct send_job *job, struct str id)
{
    const char *kind = kind_of(job->attachment, job->text.len > 0);

    json_cstr_at(&body->writer, "type", kind);
    json_key(&body->writer, kind);
    json_object_begin(&body->writer);
    json_text_at(&body->writer, "id", id);
    if (job->text.len)
        json_text_at(&body->writer, "caption", job->text);
    if (strcmp(kind, "document") == 0 && job->attachment->name)
        json_cstr_at(&body->writer, "filename", job->attachment->name);
    json_object_end(&body->writer);
}

/* --- Outcomes --------------------------------------------------------------------------------- */

/* An answer outside 200 to 299, or none. Meta's own error number says that nothing was sent; where the number is
 * 131000, "unknown", under a 5xx, not even that. */
static enum send_outcome declined(const struct send_job *job, const struct form *form,
                                  const struct exchange_reply *reply, struct send_result *result)
{
    int64_t code = json_int(json_at(form_answer(form, reply), "error.code"), -1);

    if (code == 0 && reply->status == 401)
        code = 190;
    if (code <= 0 || (reply->status >= 500 && code == 131000))
        return outcome_of(job, reply, OUTCOME_PLAIN, result);
    return outcome_by_code(job, whatsapp_errors, code, reply, result);
}

static bool is_success(const struct exchange_reply *reply)
{
    return reply->end == EXCHANGE_ANSWERED && reply->status >= 200 && reply->status < 300;
}

static enum send_outcome says(struct send_result *result, enum send_outcome outcome, const char *code, const char *hint)
{
    result->code = str_c(code);
    result->hint = str_c(hint);
    return outcome;
}

/* The peer's number as WhatsApp knows it, where it is another one (a Brazilian ninth digit, a Mexican 1). */
static void take_number(const struct send_job *job, const struct json *answer, struct send_result *result)
{
    struct str number = json_text(json_at(answer, "contacts.0.wa_id"));
    const char *digits = job->to[0] == '+' ? job->to + 1 : job->to;

    if (number.len && digits[0] >= '0' && digits[0] <= '9' && !str_is(number, digits))
        result->moved_to = whatsapp_address(job->arena, number);
}

static enum send_outcome judge(const struct send_job *job, const struct form *form, const struct exchange_reply *reply,
                               struct send_result *result)
{
    const struct json *answer = form_answer(form, reply);

    if (!is_success(reply))
        return declined(job, form, reply, result);
    if (job->act == SEND_READ || job->act == SEND_TYPING)
        return SEND_DONE;
    result->external_id = json_text(json_at(answer, "messages.0.id"));
    take_number(job, answer, result);
    if (result->external_id.len)
        return SEND_DONE;
    result->channel_fault = true;
    return says(result, SEND_UNSURE, "no_id",
                "The answer does not say whether WhatsApp has the message. Is base_url Meta's?");
}

/* --- Sending ---------------------------------------------------------------------------------- */

/* Put the file into WhatsApp's store. Whatever goes wrong here, no message was sent. */
static enum send_outcome upload(const struct channel *channel, const struct send_job *job, struct exchange *exchange,
                                struct str *id, struct send_result *result)
{
    const struct send_attachment *file = job->attachment;
    struct exchange_reply reply;
    enum send_outcome outcome;
    struct form form;

    begin_own(&form, job->arena, channel, "/media");
    form_value(&form, "messaging_product", STR("whatsapp"));
    form_value(&form, "type", str_c(file->type ? file->type : "application/octet-stream"));
    form_file(&form, "file", file);
    form_run(&form, exchange, job->timeout_ms / 3 * 2, &reply);
    *id = json_text(json_get(form_answer(&form, &reply), "id"));
    if (is_success(&reply) && id->len)
        return SEND_DONE;
    if (is_success(&reply))
        return says(result, SEND_RETRY, "no_media_id", "The upload's answer names no file. Is base_url Meta's?");
    outcome = declined(job, &form, &reply, result);
    return outcome == SEND_UNSURE ? SEND_RETRY : outcome;
}

static bool is_possible(const struct send_job *job, struct send_result *result)
{
    bool acts = job->act == SEND_REACTION || job->act == SEND_READ || job->act == SEND_TYPING;

    if (job->act != SEND_MESSAGE && !acts)
        says(result, SEND_REFUSED, "not_supported", "The Cloud API can neither change nor unsend a message.");
    else if (acts && !job->target)
        says(result, SEND_REFUSED, "no_target", "WhatsApp needs the message that this is about: there is none yet.");
    else if (job->conversation)
        says(result, SEND_REFUSED, "no_groups", "This channel writes to one person at a time, not into groups.");
    else if (template_of(job) && !template_fits(template_of(job)))
        says(result, SEND_REFUSED, "bad_template",
             "Write the metadata as {\"template\": {\"name\": \"order_ready\", \"language\": \"en_US\", \"body\": "
             "[\"first value\"]}}, with `components` instead of `body` for more than texts.");
    else
        return true;
    return false;
}

static enum send_outcome whatsapp_send(const struct channel *channel, const struct send_job *job,
                                       struct exchange *exchange, struct send_result *result)
{
    const struct json *template = template_of(job);
    enum send_outcome outcome = SEND_DONE;
    struct exchange_reply reply;
    struct str file = { 0 };
    struct body body;
    struct form form;

    if (!is_possible(job, result))
        return SEND_REFUSED;
    if ((job->act == SEND_TYPING && str_is(job->text, "off")) || (template && job->part > 0))
        return SEND_DONE;       /* typing ends by itself; a template is one message, whatever its text's length */
    if (job->attachment)
        outcome = upload(channel, job, exchange, &file, result);
    if (outcome != SEND_DONE)
        return outcome;
    begin_own(&form, job->arena, channel, "/messages");
    body_begin(&body, job);
    if (job->act == SEND_READ || job->act == SEND_TYPING)
        put_read(&body, job);
    else if (job->act == SEND_REACTION)
        put_reaction(&body, job);
    else if (file.len)
        put_file(&body, job, file);
    else if (template)
        put_template(&body, template);
    else
        put_text(&body, channel, job);
    body_end(&body, &form);
    form_run(&form, exchange, file.len ? job->timeout_ms / 3 : job->timeout_ms, &reply);
    return judge(job, &form, &reply, result);
}

/* --- Files that came in ----------------------------------------------------------------------- */

/* Why there is no file. */
static int no_file(const struct form *form, const struct exchange_reply *reply, struct err *err)
{
    int64_t code = json_int(json_at(form_answer(form, reply), "error.code"), 0);

    if (reply->end != EXCHANGE_ANSWERED) {
        *err = reply->err;
        return -1;
    }
    if (reply->status == 404 || reply->status == 410 || (reply->status == 400 && code == 100))
        return err_set(err, ERR_NOT_FOUND, "WhatsApp does not have this file any more.");
    err_set(err, ERR_UNAVAILABLE, "Asked for the file, WhatsApp answered with status %d.", reply->status);
    err->retry_after_s = reply->retry_after_s;
    return err_hint(err, "%s", code ? outcome_code_find(whatsapp_errors, code)->hint : "It is tried again by itself.");
}

static bool is_own(const struct channel *channel, struct str url)
{
    const char *base = channel_text(channel, "base_url");
    size_t length = strcspn(base + strcspn(base, ":") + 3, "/") + strcspn(base, ":") + 3;

    return url.len > length && memcmp(url.data, base, length) == 0 && url.data[length] == '/';
}

/* The bytes are what the API said they are. */
static int check_hash(struct arena *arena, struct str bytes, struct str wanted, struct err *err)
{
    unsigned char hash[SIGN_HASH_BYTES];

    sign_sha256(bytes, hash);
    if (!wanted.len || str_eq_nocase(str_c(sign_hex(arena, hash, sizeof hash)), wanted)
        || str_is(wanted, sign_base64(arena, hash, sizeof hash)))
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "The file did not arrive as WhatsApp has it.");
}

/* First where it is, then the file itself: that address lives for five minutes and wants the token as well. */
static int whatsapp_fetch(const struct channel *channel, const struct channel_attachment *attachment,
                          struct exchange *exchange, struct exchange_reply *reply, struct err *err)
{
    struct arena *arena = attachment->arena;
    const struct json *answer;
    struct str url;
    struct form form;

    begin(&form, arena, channel, arena_printf(arena, "/%s", http_encode(arena, attachment->ref)));
    form_run(&form, exchange, LIMIT_SEND_MS / 2, reply);
    answer = form_answer(&form, reply);
    url = json_text(json_get(answer, "url"));
    if (!is_success(reply))
        return no_file(&form, reply, err);
    if (json_int(json_get(answer, "file_size"), 0) > LIMIT_MEDIA_BYTES)
        return err_set(err, ERR_TOO_LARGE, "The file is larger than the hub keeps.");
    if (!is_own(channel, url) && !str_starts(url, "https://"))
        return err_set(err, ERR_UNAVAILABLE, "The answer does not say where the file is.");
    form_begin(&form, arena, channel, str_dup(arena, url), "");
    form_bearer(&form, channel_text(channel, "access_token") ? channel_text(channel, "access_token") : "");
    form.request.egress = is_own(channel, url) ? EGRESS_CHANNEL : EGRESS_PUBLIC;
    form.request.answer_max = LIMIT_MEDIA_BYTES;
    form_run(&form, exchange, LIMIT_SEND_MS / 2, reply);
    if (!is_success(reply))
        return no_file(&form, reply, err);
    return check_hash(arena, reply->body, json_text(json_get(answer, "sha256")), err);
}

/* --- Probing ---------------------------------------------------------------------------------- */

/* One question of the probe: the answer's JSON, or NULL and the reason in `err`. */
static const struct json *ask(const struct channel *channel, struct exchange *exchange, struct arena *arena,
                              const char *path, struct err *err)
{
    struct exchange_reply reply;
    const struct json *answer;
    struct form form;
    int64_t code;

    begin(&form, arena, channel, path);
    form_run(&form, exchange, LIMIT_CONNECT_MS * 2, &reply);
    answer = form_answer(&form, &reply);
    code = json_int(json_at(answer, "error.code"), 0);
    if (is_success(&reply) && answer)
        return answer;
    if (reply.end != EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "Meta does not answer: %s", reply.err.detail);
        err_hint(err, "%s", reply.err.hint[0] ? reply.err.hint : "Does this machine reach the internet, and DNS?");
    } else if (code || reply.status == 401) {
        err_set(err, ERR_UNAVAILABLE, "Meta refuses the question (error %lld).", (long long)code);
        err_hint(err, "%s", code == 100 ? outcome_code_find(whatsapp_errors, 33)->hint
                                        : outcome_code_find(whatsapp_errors, code ? code : 190)->hint);
    } else {
        err_set(err, ERR_UNAVAILABLE, "The answer has status %d and is not what was asked for.", reply.status);
        err_hint(err, "Is base_url https://graph.facebook.com? A proxy may stand between.");
    }
    return NULL;
}

static int whatsapp_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                          struct err *err)
{
    const char *number = http_encode(report->arena, str_c(channel_text(channel, "phone_number_id")));
    const char *account = channel_text(channel, "waba_id");
    const struct json *answer =
        ask(channel, exchange, report->arena,
            arena_printf(report->arena, "/%s?fields=display_phone_number,verified_name,quality_rating", number), err);

    if (!answer)
        return -1;
    json_text_at(report->json, "number", json_text(json_get(answer, "display_phone_number")));
    json_text_at(report->json, "verified_name", json_text(json_get(answer, "verified_name")));
    json_text_at(report->json, "quality", json_text(json_get(answer, "quality_rating")));
    json_bool_at(report->json, "public_url_set", channel->public_url != NULL);
    report->summary = STR("The number works.");
    if (!channel->public_url)
        report->summary = STR("The number works. For messages and receipts to come in, the hub needs an address that "
                              "Meta reaches: start it with --public-url https://...");
    if (!account)
        return 0;
    answer = ask(channel, exchange, report->arena,
                 arena_printf(report->arena, "/%s/subscribed_apps", http_encode(report->arena, str_c(account))), err);
    if (!answer)
        return -1;
    json_bool_at(report->json, "subscribed", json_count(json_get(answer, "data")) > 0);
    if (json_count(json_get(answer, "data")) == 0)
        report->summary = STR("The number works, but nothing comes in: no app is subscribed to the account. Post to "
                              "its /subscribed_apps, or press Subscribe in the app's WhatsApp configuration.");
    return 0;
}

const struct channel_driver channel_whatsapp = {
    .kind = "whatsapp",
    .title = "WhatsApp Cloud API",
    .about = "WhatsApp for businesses, straight from Meta. Needs an app at developers.facebook.com with a phone "
             "number, and a hub that Meta can reach by https.",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_REPLY | CHANNEL_CAN_REACT | CHANNEL_CAN_RECEIPT
        | CHANNEL_CAN_READ | CHANNEL_CAN_TYPING | CHANNEL_CAN_UTF16 | CHANNEL_PHONE_ADDRESS | CHANNEL_OPT_OUT,
    .text_max = 4096,
    .caption_max = 1024,
    .limits = { .per_second = 80, .new_per_day = 250 },     /* the first tier; Meta raises it with use */
    .defaults = defaults,
    .alias = "whatsapp",
    .claims = whatsapp_claims,
    .send = whatsapp_send,
    .receive = whatsapp_receive,
    .fetch = whatsapp_fetch,
    .probe = whatsapp_probe,
};
