/* imessage_send.c - texts and files out, and what became of those whose answer was lost. */
#include "channels/lib/imessage.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

#define LOOKUP_PAGE 200
#define LOOKUP_PAGES 5

static int least(int a, int b)
{
    return a < b ? a : b;
}

static bool holds(struct str text, const char *part)
{
    return text.len && memmem(text.data, text.len, part, strlen(part));
}

static enum send_outcome say(const struct imessage_call *call, enum send_outcome outcome, const char *code,
                             const char *hint)
{
    call->result->code = str_c(code);
    call->result->hint = str_c(hint);
    return outcome;
}

/* --- Judging ---------------------------------------------------------------------------------------- */

/* What the server's own words prove. False: nothing more than the status does. */
static bool judge_words(const struct imessage_call *call, struct str detail, enum send_outcome *outcome)
{
    if (holds(detail, "already queued"))
        *outcome = say(call, SEND_UNSURE, "already_queued",
                       "The server is still busy with an earlier try of this message; it is looked up.");
    else if (holds(detail, "Private API"))
        *outcome = say(call, SEND_REFUSED, "no_private_api",
                       "The server's private API is off or not connected. Set it up on the Mac (see the channel's "
                       "page), or do without this.");
    else
        return false;
    return true;
}

enum send_outcome imessage_judge(const struct imessage_call *call, const struct exchange_reply *reply,
                                 const struct json *answer)
{
    struct send_result *result = call->result;
    struct str detail = imessage_detail(answer);
    int64_t error = json_int(json_at(answer, "data.error"), 0);
    enum send_outcome outcome;

    if (reply->end != EXCHANGE_ANSWERED || (reply->status >= 200 && reply->status < 300))
        return outcome_of(call->job, reply, OUTCOME_PLAIN, result);
    if (error)
        return outcome_by_code(call->job, imessage_codes, error, reply, result);
    if (judge_words(call, detail, &outcome))
        return outcome;
    if (reply->status == 404 && !answer)
        result->hint = STR("The server does not know this call. Does base_url lead to the server itself, without a "
                           "path?");
    else if (detail.len && (reply->status >= 500 || reply->status == 400 || reply->status == 404))
        result->hint = str_c(arena_printf(call->job->arena, "%s: %.*s", reply->status >= 500
                                          ? "The server failed while it had the message; it may have been sent"
                                          : "The server refused it", (int)str_cut(detail, 150, false), detail.data));
    return outcome_of(call->job, reply, OUTCOME_PLAIN, result);
}

/* A question before the send failed: whatever the reason, nothing has been sent. */
static enum send_outcome judge_question(const struct imessage_call *call, const struct exchange_reply *reply)
{
    enum send_outcome outcome = outcome_of(call->job, reply, OUTCOME_5XX_NOT_SENT, call->result);

    return outcome == SEND_UNSURE ? SEND_RETRY : outcome;
}

/* --- Before a send ---------------------------------------------------------------------------------- */

static enum send_outcome ask_chat(const struct imessage_call *call, const char *guid, const char **found)
{
    struct arena *arena = call->job->arena;
    struct exchange_reply reply;
    struct str known;
    struct form form;

    imessage_begin(&form, arena, call->channel, arena_printf(arena, "/chat/%s", http_encode(arena, str_c(guid))));
    form_run(&form, call->exchange, least(call->job->timeout_ms, IMESSAGE_ASK_MS), &reply);
    if (reply.end == EXCHANGE_ANSWERED && reply.status == 404)
        return SEND_DONE;
    if (reply.end != EXCHANGE_ANSWERED || reply.status < 200 || reply.status > 299)
        return judge_question(call, &reply);
    known = json_text(json_at(form_answer(&form, &reply), "data.guid"));
    *found = known.len ? str_dup(arena, known) : guid;
    return SEND_DONE;
}

enum send_outcome imessage_find_chat(const struct imessage_call *call, const char **guid)
{
    static const char *const services[] = { "any", "iMessage", "SMS" };
    const char *to = call->job->conversation ? call->job->conversation : call->job->to;
    struct imessage_chat chat;

    *guid = imessage_chat_read(str_c(to), &chat) ? to : NULL;
    for (size_t i = 0; !*guid && i < sizeof services / sizeof services[0]; i++) {
        const char *wanted =
            arena_printf(call->job->arena, "%s;%c;%s", services[i], call->job->conversation ? '+' : '-', to);
        enum send_outcome outcome = ask_chat(call, wanted, guid);

        if (outcome != SEND_DONE)
            return outcome;
    }
    /* a group is never replaced by a chat with one person */
    if (!*guid && call->job->conversation)
        return say(call, SEND_REFUSED, "no_such_group",
                   "The Mac has no such group any more. Somebody in the group has to write first.");
    return SEND_DONE;
}

enum send_outcome imessage_private_api(const struct imessage_call *call, bool *has)
{
    struct exchange_reply reply;
    const struct json *data;
    struct form form;

    imessage_begin(&form, call->job->arena, call->channel, "/server/info");
    form_run(&form, call->exchange, least(call->job->timeout_ms, IMESSAGE_ASK_MS), &reply);
    *has = false;
    if (reply.end != EXCHANGE_ANSWERED || reply.status < 200 || reply.status > 299)
        return judge_question(call, &reply);
    data = json_get(form_answer(&form, &reply), "data");
    *has = json_bool(json_get(data, "private_api"), false) && json_bool(json_get(data, "helper_connected"), false);
    return SEND_DONE;
}

/* --- After a send ----------------------------------------------------------------------------------- */

/* The server waits until the message stands in the Mac's store and answers with it. It finds it by its letters and
 * digits alone, so it may have found another. */
static enum send_outcome sent(const struct imessage_call *call, const struct json *message)
{
    struct str guid = json_text(json_get(message, "guid")), text = json_text(json_get(message, "text"));
    int64_t error = json_int(json_get(message, "error"), 0);
    const struct exchange_reply answered = { .end = EXCHANGE_ANSWERED, .status = 200 };

    if (!guid.len)
        return say(call, SEND_UNSURE, "no_guid",
                   "What answered did not name the message, so it may not have been the server; it is looked up.");
    if (!call->job->attachment && text.len && !imessage_same_text(call->job->arena, text, call->job->text))
        return say(call, SEND_UNSURE, "wrong_match",
                   "The server answered with another message than the one it was given; it is looked up.");
    if (error)
        return outcome_by_code(call->job, imessage_codes, error, &answered, call->result);
    call->result->external_id = guid;
    return SEND_DONE;
}

/* Run a request that sends. */
static enum send_outcome submit(const struct imessage_call *call, struct form *form, int timeout_ms,
                                const struct json **answer)
{
    struct exchange_reply reply;

    form_run(form, call->exchange, least(call->job->timeout_ms, timeout_ms), &reply);
    *answer = form_answer(form, &reply);
    return imessage_judge(call, &reply, *answer);
}

static const char *temp_guid(const struct send_job *job)
{
    return arena_printf(job->arena, IMESSAGE_KEY_PREFIX "%s", job->key);
}

/* --- Texts ------------------------------------------------------------------------------------------ */

/* With `guid` into that chat, else to the contact as the first message of a new one; `text` absent: only the chat
 * is made. */
static void write_text(const struct imessage_call *call, struct form *form, const char *guid, struct str text,
                       bool is_reply)
{
    const char *method = imessage_setting(call->channel, "method"), *service;
    struct json_writer writer;
    struct buf body;

    service = imessage_setting(call->channel, "service");
    imessage_begin(form, call->job->arena, call->channel, guid ? "/message/text" : "/chat/new");
    buf_init(&body, LIMIT_JSON_BYTES);
    writer = json_writer(&body);
    json_object_begin(&writer);
    if (guid) {
        json_cstr_at(&writer, "chatGuid", guid);
    } else {
        json_key(&writer, "addresses");
        json_array_begin(&writer);
        json_put_text(&writer, str_c(call->job->to));
        json_array_end(&writer);
        if (service)
            json_cstr_at(&writer, "service", service);
    }
    json_cstr_at(&writer, "tempGuid", temp_guid(call->job));
    if (text.data)
        json_text_at(&writer, "message", text);
    if (method)
        json_cstr_at(&writer, "method", is_reply || !text.data ? "private-api" : method);
    if (is_reply)
        json_cstr_at(&writer, "selectedMessageGuid", call->job->reply_to);
    json_object_end(&writer);
    form_json(form, buf_slice(&body));
    buf_fini(&body);
}

static enum send_outcome send_text(const struct imessage_call *call, const char *guid, bool is_reply)
{
    const struct json *answer, *data;
    enum send_outcome outcome;
    struct form form;

    write_text(call, &form, guid, call->job->text.data ? call->job->text : STR(""), guid && is_reply);
    outcome = submit(call, &form, IMESSAGE_TEXT_MS, &answer);
    if (outcome != SEND_DONE)
        return outcome;
    data = json_get(answer, "data");
    /* a new chat's answer is the chat; the message stands in it, or is looked up */
    return sent(call, guid ? data : json_at(data, "messages.0"));
}

/* --- Files ------------------------------------------------------------------------------------------ */

static enum send_outcome new_chat_for_file(const struct imessage_call *call, const char **guid)
{
    const struct json *answer;
    enum send_outcome outcome;
    struct form form;
    bool has;

    outcome = imessage_private_api(call, &has);
    if (outcome != SEND_DONE)
        return outcome;
    if (!has)
        return say(call, SEND_REFUSED, "new_chat_needs_text",
                   "The Mac has no chat with this contact, and without its private API a file cannot begin one. "
                   "Send a text first.");
    write_text(call, &form, NULL, (struct str){ 0 }, false);
    outcome = submit(call, &form, IMESSAGE_TEXT_MS, &answer);
    if (outcome == SEND_UNSURE)
        outcome = SEND_RETRY;           /* no message was in it */
    *guid = str_dup(call->job->arena, json_text(json_at(answer, "data.guid")));
    if (outcome == SEND_DONE && !*guid)
        return say(call, SEND_RETRY, "no_chat",
                   "The server did not say which chat it made. It is tried again by itself.");
    return outcome;
}

static enum send_outcome send_file(const struct imessage_call *call, const char *guid, bool is_reply)
{
    const struct send_attachment *file = call->job->attachment;
    const char *method = imessage_setting(call->channel, "method");
    const struct json *answer;
    enum send_outcome outcome;
    struct form form;

    if (!guid) {
        outcome = new_chat_for_file(call, &guid);
        if (outcome != SEND_DONE)
            return outcome;
    }
    imessage_begin(&form, call->job->arena, call->channel, "/message/attachment");
    form_value(&form, "chatGuid", str_c(guid));
    form_value(&form, "tempGuid", str_c(temp_guid(call->job)));
    form_value(&form, "name", str_c(file->name && *file->name ? file->name : "file"));
    if (method)
        form_value(&form, "method", str_c(is_reply ? "private-api" : method));
    if (is_reply)
        form_value(&form, "selectedMessageGuid", str_c(call->job->reply_to));
    form_file(&form, "attachment", file);
    outcome = submit(call, &form, IMESSAGE_FILE_MS, &answer);
    return outcome == SEND_DONE ? sent(call, json_get(answer, "data")) : outcome;
}

enum send_outcome imessage_send(const struct channel *channel, const struct send_job *job, struct exchange *exchange,
                                struct send_result *result)
{
    const struct imessage_call call = { channel, job, exchange, result };
    enum send_outcome outcome;
    bool is_reply = false;
    const char *guid;

    if (job->act != SEND_MESSAGE)
        return imessage_act(&call);
    outcome = imessage_find_chat(&call, &guid);
    /* without the private API an answer arrives as well, only not below what it answers */
    if (outcome == SEND_DONE && guid && job->reply_to)
        outcome = imessage_private_api(&call, &is_reply);
    if (outcome != SEND_DONE)
        return outcome;
    return job->attachment ? send_file(&call, guid, is_reply) : send_text(&call, guid, is_reply);
}

/* --- Looking up ------------------------------------------------------------------------------------- */

struct search {
    struct str peer;                /* the address or the group's identifier */
    bool is_group;
    const struct json *found;
    size_t count;
    bool certain;
};

static bool same_name(struct str a, struct str b)
{
    const char *dot = a.len ? memrchr(a.data, '.', a.len) : NULL, *other = b.len ? memrchr(b.data, '.', b.len) : NULL;

    return str_eq_nocase((struct str){ a.data, dot ? (size_t)(dot - a.data) : a.len },
                         (struct str){ b.data, other ? (size_t)(other - b.data) : b.len });
}

static bool is_ours(const struct imessage_call *call, const struct search *search, const struct json *row)
{
    const struct json *chats = json_get(row, "chats"), *files = json_get(row, "attachments");
    const struct send_attachment *file = call->job->attachment;
    struct imessage_chat chat;
    bool in_chat = false;

    for (size_t i = 0; i < json_count(chats) && !in_chat; i++)
        in_chat = imessage_chat_read(json_text(json_get(json_item(chats, i), "guid")), &chat)
            && chat.is_group == search->is_group && str_eq_nocase(chat.identifier, search->peer);
    if (!in_chat || !json_bool(json_get(row, "isFromMe"), false)
        || json_text(json_get(row, "associatedMessageType")).len)
        return false;
    if (!file)
        return imessage_same_text(call->job->arena, json_text(json_get(row, "text")), call->job->text);
    for (size_t i = 0; i < json_count(files); i++)
        if (same_name(json_text(json_get(json_item(files, i), "transferName")), str_c(file->name)))
            return true;
    return false;
}

static void search_page(const struct imessage_call *call, struct search *search, const struct json *rows)
{
    const char *ours = temp_guid(call->job);

    for (size_t i = 0; i < json_count(rows) && !search->certain; i++) {
        const struct json *row = json_item(rows, i);
        struct str temp = json_text(json_get(row, "tempGuid"));

        search->certain = str_is(temp, ours);
        if (!search->certain && (temp.len || !is_ours(call, search, row)))
            continue;
        search->found = row;
        search->count = search->certain ? 1 : search->count + 1;
    }
}

/* What the one row that fits says of the message. */
static enum send_outcome found(const struct imessage_call *call, const struct json *row)
{
    int64_t error = json_int(json_get(row, "error"), 0);
    const struct exchange_reply answered = { .end = EXCHANGE_ANSWERED, .status = 200 };
    enum send_outcome outcome = SEND_DONE;

    if (error)
        outcome = outcome_by_code(call->job, imessage_codes, error, &answered, call->result);
    if (outcome == SEND_UNSURE || outcome == SEND_RETRY)
        return outcome;
    call->result->external_id = json_text(json_get(row, "guid"));
    if (outcome == SEND_REFUSED)
        call->result->settled = MESSAGE_FAILED;
    else if (json_int(json_get(row, "dateRead"), 0) > 0)
        call->result->settled = MESSAGE_READ;
    else if (json_int(json_get(row, "dateDelivered"), 0) > 0)
        call->result->settled = MESSAGE_DELIVERED;
    return SEND_DONE;
}

static enum send_outcome judge_search(const struct imessage_call *call, const struct search *search)
{
    if (search->count == 1)
        return found(call, search->found);
    if (search->count > 1)
        return say(call, SEND_UNSURE, "ambiguous",
                   "The Mac has several equal messages of that time. Look at Messages on the Mac, then resolve it.");
    return say(call, SEND_UNSURE, "not_found",
               "The Mac shows no such message; it may still be on its way. Look at Messages on the Mac, then "
               "resolve it.");
}

enum send_outcome imessage_lookup(const struct channel *channel, const struct send_job *job, struct exchange *exchange,
                                  struct send_result *result)
{
    const struct imessage_call call = { channel, job, exchange, result };
    const char *to = job->conversation ? job->conversation : job->to;
    struct search search = { .is_group = job->conversation != NULL };
    struct imessage_query query = { .after_ms = job->since_ms - IMESSAGE_OVERLAP_MS,
        .before_ms = job->since_ms + channel->driver->send_ms + IMESSAGE_OVERLAP_MS, .limit = LOOKUP_PAGE };
    struct imessage_chat chat;
    size_t count = LOOKUP_PAGE;

    if (job->since_ms <= 0)
        return say(&call, SEND_UNSURE, "no_time", "It is not known when this was sent, so it cannot be looked up.");
    search.peer = str_c(to);
    if (imessage_chat_read(str_c(to), &chat)) {
        search.peer = chat.identifier;
        search.is_group = chat.is_group;
    }
    for (int page = 0; page < LOOKUP_PAGES && count == LOOKUP_PAGE && !search.certain; page++) {
        struct exchange_reply reply;
        const struct json *rows;
        struct form form;

        query.offset = page * LOOKUP_PAGE;
        imessage_query_begin(&form, job->arena, channel, &query);
        form_run(&form, exchange, least(job->timeout_ms, IMESSAGE_ASK_MS), &reply);
        rows = json_get(form_answer(&form, &reply), "data");
        if (reply.end != EXCHANGE_ANSWERED || reply.status != 200)
            return outcome_unknown(job, &reply, result);
        if (json_kind(rows) != JSON_KIND_ARRAY)
            return say(&call, SEND_UNSURE, "no_list", "What answered is not the server; it is looked up again later.");
        count = json_count(rows);
        search_page(&call, &search, rows);
    }
    return judge_search(&call, &search);
}
