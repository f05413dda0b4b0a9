/* imessage_act.c - tapbacks, edits, unsending, read marks and typing: all need the server's private API. */
#include "channels/lib/imessage.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

#define OWN_REACTIONS 50

static enum send_outcome refuse(const struct imessage_call *call, const char *code, const char *hint)
{
    call->result->code = str_c(code);
    call->result->hint = str_c(hint);
    return SEND_REFUSED;
}

static int timeout_of(const struct imessage_call *call)
{
    return call->job->timeout_ms < IMESSAGE_TEXT_MS ? call->job->timeout_ms : IMESSAGE_TEXT_MS;
}

static enum send_outcome submit(const struct imessage_call *call, struct form *form)
{
    struct exchange_reply reply;

    form_run(form, call->exchange, timeout_of(call), &reply);
    return imessage_judge(call, &reply, form_answer(form, &reply));
}

/* --- Tapbacks --------------------------------------------------------------------------------------- */

/* The newest of our own tapbacks on the message, to take it back: its word, or NULL when there is none. */
static enum send_outcome own_tapback(const struct imessage_call *call, const char **word)
{
    const struct imessage_query query = { .limit = OWN_REACTIONS, .newest_first = true,
        .reactions_to = str_c(call->job->target) };
    struct exchange_reply reply;
    const struct json *rows;
    struct form form;

    imessage_query_begin(&form, call->job->arena, call->channel, &query);
    form_run(&form, call->exchange, timeout_of(call), &reply);
    *word = NULL;
    if (reply.end != EXCHANGE_ANSWERED || reply.status != 200)
        return imessage_judge(call, &reply, form_answer(&form, &reply));
    rows = json_get(form_answer(&form, &reply), "data");
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        struct str type = json_text(json_get(row, "associatedMessageType"));
        const char *emoji = imessage_emoji(type);

        if (!json_bool(json_get(row, "isFromMe"), false))
            continue;
        *word = emoji ? imessage_tapback(str_c(emoji)) : NULL;
        break;
    }
    return SEND_DONE;
}

static enum send_outcome react(const struct imessage_call *call)
{
    struct str emoji = str_trim(call->job->text);
    const char *word = imessage_tapback(emoji), *guid;
    enum send_outcome outcome;
    struct json_writer writer;
    struct buf body;
    struct form form;

    if (emoji.len && !word)
        return refuse(call, "no_tapback", "iMessage has six reactions only: \xe2\x9d\xa4\xef\xb8\x8f \xf0\x9f\x91\x8d "
                      "\xf0\x9f\x91\x8e \xf0\x9f\x98\x82 \xe2\x80\xbc\xef\xb8\x8f \xe2\x9d\x93. Choose one of them.");
    outcome = imessage_find_chat(call, &guid);
    if (outcome != SEND_DONE)
        return outcome;
    if (!guid)
        return refuse(call, "no_chat", "The Mac has no chat with this contact, so there is nothing to react to.");
    if (!emoji.len) {
        outcome = own_tapback(call, &word);
        if (outcome != SEND_DONE || !word)
            return outcome;             /* none is left to be taken back */
    }
    imessage_begin(&form, call->job->arena, call->channel, "/message/react");
    buf_init(&body, LIMIT_JSON_BYTES);
    writer = json_writer(&body);
    json_object_begin(&writer);
    json_cstr_at(&writer, "chatGuid", guid);
    json_cstr_at(&writer, "selectedMessageGuid", call->job->target);
    json_cstr_at(&writer, "reaction", arena_printf(call->job->arena, "%s%s", emoji.len ? "" : "-", word));
    json_int_at(&writer, "partIndex", 0);
    json_object_end(&writer);
    form_json(&form, buf_slice(&body));
    buf_fini(&body);
    return submit(call, &form);
}

/* --- Messages that are out -------------------------------------------------------------------------- */

static void begin_on_target(const struct imessage_call *call, struct form *form, const char *what)
{
    struct arena *arena = call->job->arena;

    imessage_begin(form, arena, call->channel,
                   arena_printf(arena, "/message/%s/%s", http_encode(arena, str_c(call->job->target)), what));
}

static enum send_outcome edit(const struct imessage_call *call)
{
    struct json_writer writer;
    struct buf body;
    struct form form;

    begin_on_target(call, &form, "edit");
    buf_init(&body, LIMIT_JSON_BYTES);
    writer = json_writer(&body);
    json_object_begin(&writer);
    json_text_at(&writer, "editedMessage", call->job->text);
    json_text_at(&writer, "backwardsCompatibilityMessage", call->job->text);
    json_int_at(&writer, "partIndex", 0);
    json_object_end(&writer);
    form_json(&form, buf_slice(&body));
    buf_fini(&body);
    return submit(call, &form);
}

static enum send_outcome unsend(const struct imessage_call *call)
{
    struct form form;

    begin_on_target(call, &form, "unsend");
    form_json(&form, STR("{\"partIndex\":0}"));
    return submit(call, &form);
}

/* --- Chats ------------------------------------------------------------------------------------------ */

static enum send_outcome on_chat(const struct imessage_call *call, const char *what, bool ends)
{
    struct arena *arena = call->job->arena;
    enum send_outcome outcome;
    const char *guid;
    struct form form;

    outcome = imessage_find_chat(call, &guid);
    if (outcome != SEND_DONE || !guid)
        return outcome;                 /* no chat: nobody sees it anyway */
    imessage_begin(&form, arena, call->channel,
                   arena_printf(arena, "/chat/%s/%s", http_encode(arena, str_c(guid)), what));
    form_json(&form, STR("{}"));
    if (ends)
        form.request.method = HTTP_DELETE;
    return submit(call, &form);
}

static enum send_outcome type(const struct imessage_call *call)
{
    bool ends = str_is(call->job->text, "off");

    /* a server whose stop starts it again is not asked; the next message ends it */
    return ends && !imessage_ends_typing(call->channel) ? SEND_DONE : on_chat(call, "typing", ends);
}

enum send_outcome imessage_act(const struct imessage_call *call)
{
    enum send_outcome outcome;
    bool has;

    if (!call->job->target && call->job->act != SEND_TYPING && call->job->act != SEND_READ)
        return refuse(call, "no_target", "The server's id of that message is not known, so nothing can be done to it.");
    outcome = imessage_private_api(call, &has);
    if (outcome != SEND_DONE)
        return outcome;
    if (!has)
        return refuse(call, "no_private_api",
                      "This needs the server's private API, which is off or not connected: `channels "
                      "test` shows it, the channel's page says how to set it up on the Mac.");
    switch (call->job->act) {
    case SEND_REACTION:
        return react(call);
    case SEND_EDIT:
        return edit(call);
    case SEND_DELETE:
        return unsend(call);
    case SEND_READ:
        return on_chat(call, "read", false);
    case SEND_TYPING:
        return type(call);
    default:
        return refuse(call, "unknown_act", "This channel cannot do that.");
    }
}
