/* telegram.c - a Telegram bot: long poll or webhook; texts, files, replies, edits, reactions. What comes in is read in
 * lib/telegram.c. */
#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/outcome.h"
#include "channels/lib/telegram.h"

#include <string.h>

#define PHOTO_MAX_BYTES (10 * 1024 * 1024)
#define UPDATES_PER_ROUND "50"          /* of the largest kind they still fit into one answer */
#define ROUND_MARGIN_MS 5000            /* between Telegram's end of a long poll and ours */
#define UNPOLLED_WAIT_MS (5 * 60 * 1000)
#define NO_RIGHTS "The bot may not write there. Let an administrator of the group allow it."
#define FILE_BYTES "20 MB"              /* a bot gets no larger ones */

static const struct field settings[] = {
    { "token", FIELD_TEXT, FIELD_REQUIRED | FIELD_SECRET, "The bot's token, from @BotFather.", 3, 200, NULL, NULL, NULL,
      "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw" },
    { "mode", FIELD_ENUM, 0,
      "How messages come in: poll asks Telegram and works behind any firewall; webhook needs public-url with https.", 0,
      0, "poll|webhook", "poll" },
    { "secret_token", FIELD_TEXT, FIELD_SECRET,
      "What Telegram proves its webhooks with: 1 to 256 of A-Z a-z 0-9 _ -. Absent: the hub makes one.", 1, 256 },
    { "link_previews", FIELD_BOOL, 0, "Show a preview of the first link in a text.", 0, 0, NULL, "false" },
    { "silent", FIELD_BOOL, 0, "Deliver without a sound.", 0, 0, NULL, "false" },
    { "base_url", FIELD_URL, 0, "Where the Bot API is; only tests and those with a server of their own change it.", 0,
      0, NULL, "https://api.telegram.org" },
    { 0 }
};

/* --- Bodies ----------------------------------------------------------------------------------- */

/* A call in the making: JSON, or the parts of a form when there is a file. */
struct call {
    const struct channel *channel;
    const struct send_job *job;
    struct form form;
    struct buf text;
    struct json_writer writer;
    bool is_form;
    int64_t chat;               /* where to; 0: `to` is a public name */
};

static void call_begin(struct call *call, const char *method, bool is_form)
{
    telegram_begin(&call->form, call->job->arena, call->channel, method);
    call->is_form = is_form;
    if (is_form)
        return;
    buf_init(&call->text, LIMIT_JSON_BYTES);
    call->writer = json_writer(&call->text);
    json_object_begin(&call->writer);
}

/* One parameter; in a form everything that is no text is JSON. */
static void put(struct call *call, const char *name, struct str json)
{
    if (call->is_form) {
        form_value(&call->form, name, json);
        return;
    }
    json_key(&call->writer, name);
    json_put_raw(&call->writer, json);
}

static void put_text(struct call *call, const char *name, struct str text)
{
    if (call->is_form)
        form_value(&call->form, name, text);
    else
        json_text_at(&call->writer, name, text);
}

static void put_number(struct call *call, const char *name, int64_t number)
{
    put(call, name, str_c(arena_printf(call->job->arena, "%lld", (long long)number)));
}

static void put_chat(struct call *call)
{
    if (call->chat)
        put_number(call, "chat_id", call->chat);
    else
        put_text(call, "chat_id", str_c(call->job->conversation ? call->job->conversation : call->job->to));
}

/* What every message says about itself. A quoted message that is gone must not stop the answer. */
static void put_manner(struct call *call, bool as_reply)
{
    int64_t chat, message;

    if (channel_flag(call->channel, "silent"))
        put(call, "disable_notification", STR("true"));
    if (as_reply && call->job->reply_to && telegram_split(str_c(call->job->reply_to), &chat, &message)
        && chat == call->chat)
        put(call, "reply_parameters",
            str_c(arena_printf(call->job->arena, "{\"message_id\":%lld,\"allow_sending_without_reply\":true}",
                               (long long)message)));
}

static void call_run(struct call *call, struct exchange *exchange, int timeout_ms, struct exchange_reply *reply)
{
    if (!call->is_form) {
        json_object_end(&call->writer);
        form_json(&call->form, buf_slice(&call->text));
        buf_fini(&call->text);
    }
    form_run(&call->form, exchange, timeout_ms, reply);
}

static void write_text(struct call *call)
{
    call_begin(call, "sendMessage", false);
    put_chat(call);
    put_text(call, "text", call->job->text);
    if (!channel_flag(call->channel, "link_previews"))
        put(call, "link_preview_options", STR("{\"is_disabled\":true}"));
    put_manner(call, true);
}

/* How Telegram shows a file of that type; whatever it may not like goes as a document. */
static void write_file(struct call *call, bool as_document)
{
    static const struct {
        const char *type, *method, *member;
    } kinds[] = {
        { "image/jpeg", "sendPhoto", "photo" },     { "image/png", "sendPhoto", "photo" },
        { "image/webp", "sendPhoto", "photo" },     { "image/gif", "sendAnimation", "animation" },
        { "video/mp4", "sendVideo", "video" },      { "audio/mpeg", "sendAudio", "audio" },
        { "audio/mp4", "sendAudio", "audio" },      { "audio/ogg", "sendVoice", "voice" },
    };
    const struct send_attachment *file = call->job->attachment;
    const char *method = "sendDocument", *member = "document";

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && !as_document; i++)
        if (file->type && strcmp(file->type, kinds[i].type) == 0
            && (file->data.len <= PHOTO_MAX_BYTES || strcmp(kinds[i].method, "sendPhoto") != 0)) {
            method = kinds[i].method;
            member = kinds[i].member;
        }
    call_begin(call, method, true);
    put_chat(call);
    if (call->job->text.len)
        put_text(call, "caption", call->job->text);
    put_manner(call, true);
    form_file(&call->form, member, file);
}

static void write_act(struct call *call, int64_t message, bool caption)
{
    static const char *const methods[] = {
        [SEND_REACTION] = "setMessageReaction", [SEND_EDIT] = "editMessageText", [SEND_DELETE] = "deleteMessage",
        [SEND_TYPING] = "sendChatAction",
    };
    const struct send_job *job = call->job;

    call_begin(call, caption ? "editMessageCaption" : methods[job->act], false);
    put_chat(call);
    if (job->act == SEND_TYPING) {
        put_text(call, "action", STR("typing"));
        return;
    }
    put_number(call, "message_id", message);
    if (job->act == SEND_EDIT)
        put_text(call, caption ? "caption" : "text", job->text);
    if (job->act != SEND_REACTION)
        return;
    json_key(&call->writer, "reaction");
    json_array_begin(&call->writer);
    if (job->text.len) {
        json_object_begin(&call->writer);
        json_cstr_at(&call->writer, "type", "emoji");
        json_text_at(&call->writer, "emoji", job->text);
        json_object_end(&call->writer);
    }
    json_array_end(&call->writer);
}

/* --- Outcomes --------------------------------------------------------------------------------- */

static enum send_outcome says(struct send_result *result, enum send_outcome outcome, const char *code,
                              const char *hint)
{
    result->code = str_c(code);
    result->hint = str_c(hint);
    return outcome;
}

/* A 400 has no number of its own: the words are all there is. */
static enum send_outcome refused(const struct send_job *job, struct str said, struct send_result *result)
{
    static const struct {
        const char *words, *code, *hint;
    } known[] = {
        { "chat not found", "chat_not_found",
          "Telegram does not know this chat. A person must write to the bot first (Start, or t.me/<bot>?start=...)." },
        { "message to edit not found", "gone", "The message to change is gone." },
        { "can't be edited", "too_old", "Telegram lets a bot change this message no more." },
        { "can't be deleted", "too_old", "A bot can unsend its messages for 48 hours only." },
        { "text is empty", "empty", "The text is empty; Telegram does not take such." },
        { "too long", "too_long", "Longer than Telegram takes: 4096 characters, 1024 with a file." },
        { "not enough rights", "no_rights", NO_RIGHTS },
        { "have no rights", "no_rights", NO_RIGHTS },
        { "WRITE_FORBIDDEN", "no_rights", NO_RIGHTS },
        { "REACTION_INVALID", "reaction_invalid", "Telegram takes only some emoji as reactions, and this is none." },
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (telegram_says(job->arena, said, known[i].words))
            return says(result, SEND_REFUSED, known[i].code, known[i].hint);
    return says(result, SEND_REFUSED, "400", arena_printf(job->arena, "Telegram refused it: %.*s",
                                                          (int)str_cut(said, 200, false), said.len ? said.data : ""));
}

/* Is a failure that says this no failure, since it is already as it should be? */
static bool is_done_already(const struct send_job *job, struct str said)
{
    return (job->act == SEND_EDIT && telegram_says(job->arena, said, "is not modified"))
        || (job->act == SEND_DELETE && telegram_says(job->arena, said, "to delete not found"));
}

/* An answer that is not "ok": its error_code says what happened, whatever the status line does. */
static enum send_outcome declined(const struct send_job *job, const struct json *answer,
                                  const struct exchange_reply *reply, struct send_result *result)
{
    int64_t code = json_int(json_get(answer, "error_code"), 0);
    struct str said = json_text(json_get(answer, "description"));
    enum send_outcome outcome;

    if (code == 400)
        return is_done_already(job, said) ? SEND_DONE : refused(job, said, result);
    if (code == 403) {
        result->opted_out = true;
        return says(result, SEND_REFUSED, "403",
                    "The bot may not write there: it was blocked or removed, or the person never wrote to it. Nothing "
                    "more is sent until they do.");
    }
    if (code == 401 || code == 404) {
        result->channel_fault = true;
        return says(result, SEND_REFUSED, code == 401 ? "401" : "404",
                    "Telegram does not know the bot's token. Copy it again from @BotFather into the channel.");
    }
    if (code == 429) {
        int64_t wait_s = json_int(json_at(answer, "parameters.retry_after"), 0);

        result->throttled = true;
        result->retry_after_s = wait_s > LIMIT_RETRY_AFTER_S ? LIMIT_RETRY_AFTER_S
            : wait_s > 0                                     ? (int)wait_s
                                                             : reply->retry_after_s;
        return says(result, SEND_RETRY, "429", "Telegram asks the whole bot to send slower. It goes on by itself.");
    }
    outcome = outcome_of(job, reply, OUTCOME_PLAIN, result);
    if (outcome != SEND_DONE)
        return outcome;
    result->channel_fault = true;
    return says(result, SEND_UNSURE, "no_answer",
                "The answer does not say whether Telegram has the message. Is base_url that of the Bot API?");
}

static enum send_outcome judge(const struct call *call, const struct exchange_reply *reply, struct send_result *result)
{
    const struct send_job *job = call->job;
    const struct json *answer = form_answer(&call->form, reply);
    int64_t message = json_int(json_at(answer, "result.message_id"), 0);
    enum send_outcome outcome;

    if (!json_bool(json_get(answer, "ok"), false) || (job->act == SEND_MESSAGE && message <= 0)) {
        outcome = declined(job, answer, reply, result);
        /* what is done twice is still the same, but for a message */
        return outcome == SEND_UNSURE && job->act != SEND_MESSAGE ? SEND_RETRY : outcome;
    }
    if (job->act == SEND_MESSAGE)
        result->external_id =
            telegram_id(job->arena, json_int(json_at(answer, "result.chat.id"), call->chat), message);
    return SEND_DONE;
}

/* --- Sending ---------------------------------------------------------------------------------- */

/* How often a call is made in another way after a refusal, which says that nothing was done. */
enum again { AGAIN_NO, AGAIN_MOVED, AGAIN_AS_DOCUMENT, AGAIN_CAPTION };

static enum again again(const struct call *call, const struct exchange_reply *reply, int64_t *moved)
{
    static const char *const bad_photo[] = { "PHOTO_INVALID", "IMAGE_PROCESS_FAILED", "PHOTO_SAVE_FILE_INVALID",
                                             "VIDEO_CONTENT", "VOICE_MESSAGES_FORBIDDEN", "wrong type" };
    const struct json *answer = form_answer(&call->form, reply);
    struct str said = json_text(json_get(answer, "description"));

    if (json_int(json_get(answer, "error_code"), 0) != 400)
        return AGAIN_NO;
    *moved = json_int(json_at(answer, "parameters.migrate_to_chat_id"), 0);
    if (*moved)
        return AGAIN_MOVED;
    if (call->job->act == SEND_EDIT && telegram_says(call->job->arena, said, "no text in the message"))
        return AGAIN_CAPTION;
    for (size_t i = 0; call->job->attachment && i < sizeof bad_photo / sizeof bad_photo[0]; i++)
        if (telegram_says(call->job->arena, said, bad_photo[i]))
            return AGAIN_AS_DOCUMENT;
    return AGAIN_NO;
}

static bool is_possible(const struct send_job *job, int64_t *chat, int64_t *message, struct send_result *result)
{
    const char *to = job->conversation ? job->conversation : job->to;

    *chat = *message = 0;
    if (job->act == SEND_READ)
        says(result, SEND_REFUSED, "not_supported", "Telegram bots cannot tell anybody that something was read.");
    else if (job->act != SEND_MESSAGE && job->act != SEND_TYPING
             && (!job->target || !telegram_split(str_c(job->target), chat, message)))
        says(result, SEND_REFUSED, "no_target", "Which message is meant is not known to Telegram: it has no id there.");
    else if (*chat == 0 && !str_int(str_c(to), INT64_MIN, INT64_MAX, chat) && to[0] != '@')
        says(result, SEND_REFUSED, "bad_address",
             "That is no chat of Telegram: a chat's number, or @name of a public group or channel.");
    else
        return true;
    return false;
}

static enum send_outcome telegram_send(const struct channel *channel, const struct send_job *job,
                                       struct exchange *exchange, struct send_result *result)
{
    struct call call = { .channel = channel, .job = job };
    bool as_document = false, caption = false;
    struct exchange_reply reply;
    int64_t message, moved = 0;
    enum again next;

    if (!is_possible(job, &call.chat, &message, result))
        return SEND_REFUSED;
    if (job->act == SEND_TYPING && str_is(job->text, "off"))
        return SEND_DONE;       /* it ends by itself after five seconds */
    for (int tries = 0;; tries++) {
        if (job->act != SEND_MESSAGE)
            write_act(&call, message, caption);
        else if (job->attachment)
            write_file(&call, as_document);
        else
            write_text(&call);
        call_run(&call, exchange, tries == 0 ? job->timeout_ms / 3 * 2 : job->timeout_ms / 3, &reply);
        next = tries == 0 ? again(&call, &reply, &moved) : AGAIN_NO;
        if (next == AGAIN_NO)
            break;
        as_document = next == AGAIN_AS_DOCUMENT;
        caption = next == AGAIN_CAPTION;
        if (next == AGAIN_MOVED) {
            call.chat = moved;
            result->moved_to = str_c(arena_printf(job->arena, "%lld", (long long)moved));
        }
    }
    return judge(&call, &reply, result);
}

/* --- Receiving -------------------------------------------------------------------------------- */

static int telegram_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                            struct webhook_reply *reply, struct err *err)
{
    struct str given = http_header(webhook->request, "X-Telegram-Bot-Api-Secret-Token");
    const char *secret = telegram_secret(events->arena, channel);
    const struct json *update;

    (void)reply;
    if (!secret || !given.data || !str_eq_secret(str_c(secret), given)) {
        err_set(err, ERR_FORBIDDEN, "The webhook does not carry this channel's secret.");
        return err_hint(err, "Set secret_token and token in the channel, then run `message-hub channels test %s`: it "
                             "sets the webhook anew.", channel->name);
    }
    if (webhook->request->method != HTTP_POST)
        return err_set(err, ERR_METHOD, "Telegram posts its updates.");
    update = json_parse_lenient(events->arena, webhook->request->body, err);
    if (!update && err)
        err->code = ERR_MALFORMED;
    return update ? telegram_update(update, events, err) : -1;
}

/* --- Polling ---------------------------------------------------------------------------------- */

/* Ask for updates. The cursor is the first one that was not stored; asking for it tells Telegram that all before it
 * were, so that is said only after they are committed. */
static void get_updates(struct form *form, const struct channel *channel, const struct poll *poll, int wait_s)
{
    struct json_writer writer;
    struct buf body;
    int64_t offset;

    telegram_begin(form, form->arena, channel, "getUpdates");
    buf_init(&body, LIMIT_URL_BYTES);
    writer = json_writer(&body);
    json_object_begin(&writer);
    if (poll->cursor.len && str_int(poll->cursor, 0, INT64_MAX, &offset))
        json_int_at(&writer, "offset", offset);
    json_key(&writer, "limit");
    json_put_raw(&writer, STR(UPDATES_PER_ROUND));
    json_int_at(&writer, "timeout", wait_s);
    json_key(&writer, "allowed_updates");
    json_put_raw(&writer, STR(TELEGRAM_UPDATES));
    json_object_end(&writer);
    form_json(form, buf_slice(&body));
    buf_fini(&body);
    form->request.answer_max = LIMIT_ANSWER_BYTES;
}

/* The highest number stored, whatever it was before: after a week of silence Telegram begins anew anywhere. */
static int take_updates(struct poll *poll, const struct json *updates, struct events *events, struct err *err)
{
    int64_t next = 0, number;

    for (size_t i = 0; i < json_count(updates); i++) {
        const struct json *update = json_item(updates, i);
        struct err why = { 0 };

        if (telegram_update(update, events, &why)) {
            if (why.code != ERR_MALFORMED)
                return *err = why, -1;
            /* one that cannot be read must not keep those behind it away */
            if (events_add(events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err))
                return -1;
        }
        number = json_int(json_get(update, "update_id"), -1);
        if (number >= next && number < INT64_MAX)
            next = number + 1;
    }
    if (next > 0)
        poll->cursor = str_c(arena_printf(events->arena, "%lld", (long long)next));
    return 0;
}

static int remove_webhook(const struct channel *channel, struct exchange *exchange, struct arena *arena,
                          struct err *err)
{
    struct exchange_reply reply;
    struct form form;

    telegram_begin(&form, arena, channel, "deleteWebhook");
    form_json(&form, STR("{\"drop_pending_updates\":false}"));
    form_run(&form, exchange, LIMIT_CONNECT_MS * 2, &reply);
    if (json_bool(json_get(form_answer(&form, &reply), "ok"), false))
        return 0;
    return telegram_failed(&form, &reply, err);
}

static bool webhook_in_the_way(const struct form *form, const struct exchange_reply *reply)
{
    return reply->end == EXCHANGE_ANSWERED && reply->status == 409
        && telegram_says(form->arena, json_text(json_get(form_answer(form, reply), "description")), "webhook");
}

/* Slower, for as long as Telegram says: no failure. */
static bool slow_down(const struct json *answer, const struct exchange_reply *reply, struct poll *poll)
{
    int64_t wait_s = json_int(json_at(answer, "parameters.retry_after"), reply->retry_after_s);

    if (reply->end != EXCHANGE_ANSWERED || reply->status != 429)
        return false;
    poll->wait_ms = (wait_s < 1 ? 1 : wait_s > 3600 ? 3600 : (int)wait_s) * 1000;
    return true;
}

static int telegram_poll(const struct channel *channel, struct poll *poll, struct exchange *exchange,
                         struct events *events, struct err *err)
{
    int wait_s = poll->timeout_ms > ROUND_MARGIN_MS ? (poll->timeout_ms - ROUND_MARGIN_MS) / 1000 : 0;
    struct form form = { .arena = events->arena };
    struct exchange_reply reply;
    const struct json *answer;

    if (strcmp(channel_text(channel, "mode"), "webhook") == 0) {
        poll->wait_ms = UNPOLLED_WAIT_MS;
        return 0;
    }
    /* what waits is there at once; and what is wrong shows at once */
    get_updates(&form, channel, poll, poll->is_start ? 0 : wait_s);
    form_run(&form, exchange, poll->timeout_ms, &reply);
    if (poll->is_start && webhook_in_the_way(&form, &reply)) {
        if (remove_webhook(channel, exchange, events->arena, err))
            return -1;
        get_updates(&form, channel, poll, 0);
        form_run(&form, exchange, poll->timeout_ms / 2, &reply);
    }
    answer = form_answer(&form, &reply);
    poll->wait_ms = 0;
    if (slow_down(answer, &reply, poll))
        return 0;
    if (!json_bool(json_get(answer, "ok"), false) || json_kind(json_get(answer, "result")) != JSON_KIND_ARRAY)
        return telegram_failed(&form, &reply, err);
    return take_updates(poll, json_get(answer, "result"), events, err);
}

/* --- Files ------------------------------------------------------------------------------------ */

/* "photos/file 1.jpg" as a part of a URL; NULL when it could lead elsewhere. */
static const char *clean_path(struct arena *arena, struct str path)
{
    const char *out = "";
    struct str part;

    if (!path.len || path.data[0] == '/')
        return NULL;
    while (str_split(&path, '/', &part)) {
        if (!part.len || str_is(part, ".") || str_is(part, ".."))
            return NULL;
        out = arena_printf(arena, "%s/%s", out, http_encode(arena, part));
    }
    return out;
}

static int no_file(const struct form *form, const struct exchange_reply *reply, struct err *err)
{
    struct str said = json_text(json_get(form_answer(form, reply), "description"));

    if (telegram_says(form->arena, said, "too big"))
        return err_set(err, ERR_NOT_FOUND, "The file is larger than " FILE_BYTES ": Telegram gives such to no bot.");
    if (reply->end == EXCHANGE_ANSWERED && reply->status == 400)
        return err_set(err, ERR_NOT_FOUND, "Telegram has this file no more.");
    return telegram_failed(form, reply, err);
}

static int telegram_fetch(const struct channel *channel, const struct channel_attachment *attachment,
                          struct exchange *exchange, struct exchange_reply *reply, struct err *err)
{
    const char *token = channel_text(channel, "token"), *path;
    struct form form;

    telegram_begin(&form, attachment->arena, channel, "getFile");
    form_add(&form, "file_id", attachment->ref);
    form_run(&form, exchange, LIMIT_CONNECT_MS * 2, reply);
    if (!json_bool(json_get(form_answer(&form, reply), "ok"), false))
        return no_file(&form, reply, err);
    path = clean_path(attachment->arena, json_text(json_at(form_answer(&form, reply), "result.file_path")));
    if (!path) {
        err_set(err, ERR_UNAVAILABLE, "Telegram names no path to the file that can be fetched.");
        return err_hint(err, "A Bot API server of your own must run without --local.");
    }
    form_begin(&form, attachment->arena, channel, channel_text(channel, "base_url"),
               arena_printf(attachment->arena, "/file/bot%s%s", token ? token : "", path));
    form.request.answer_max = LIMIT_MEDIA_BYTES;
    form_run(&form, exchange, LIMIT_SEND_MS, reply);
    if (reply->end == EXCHANGE_ANSWERED && reply->status == 200)
        return 0;
    return telegram_failed(&form, reply, err);
}

const struct channel_driver channel_telegram = {
    .kind = "telegram",
    .title = "Telegram bot",
    .about = "Messages to and from a Telegram bot. Needs a bot and its token from @BotFather; people write to the bot "
             "first.",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_REPLY | CHANNEL_CAN_REACT | CHANNEL_CAN_EDIT
        | CHANNEL_CAN_DELETE | CHANNEL_CAN_TYPING | CHANNEL_CAN_GROUP | CHANNEL_CAN_UTF16,
    .text_max = 4096,
    .caption_max = 1024,
    .limits = { .per_second = 30, .spacing_ms = 1000 },
    .send = telegram_send,
    .receive = telegram_receive,
    .poll = telegram_poll,
    .fetch = telegram_fetch,
    .probe = telegram_probe,
};
