/* imessage_event.c - from a message object to events, and the webhook that carries one. */
#include "channels/lib/imessage.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

#define OBJECT_MARK "\xef\xbf\xbc"
#define HISTORY_S 3600

/* Which chat a message object stands in. */
struct place {
    struct str address;             /* of the other side; in a group, of who wrote */
    struct str group;               /* the group's identifier, or absent */
    bool found;
};

static int add(const struct imessage_seen *seen, const struct channel_event *event, struct err *err)
{
    return events_add(seen->events, event, err);
}

/* A webhook's event is counted; a row that is seen again and again is not. */
static int ignore(const struct imessage_seen *seen, struct err *err)
{
    const struct channel_event event = { .kind = CHANNEL_IGNORED };

    return seen->source == IMESSAGE_QUERIED ? 0 : add(seen, &event, err);
}

static struct place place_of(const struct json *data)
{
    const struct json *first = json_at(data, "chats.0");
    struct place place = { .address = json_text(json_at(data, "handle.address")) };
    struct imessage_chat chat;

    if (!imessage_chat_read(json_text(json_get(first, "guid")), &chat))
        return place;
    place.found = true;
    if (chat.is_group || json_int(json_get(first, "style"), 0) == 43)
        place.group = chat.identifier;
    else if (!place.address.len || json_bool(json_get(data, "isFromMe"), false))
        place.address = chat.identifier;
    return place;
}

/* The text without object marks, below its subject. */
static struct str text_of(struct arena *arena, const struct json *data)
{
    struct str text = json_text(json_get(data, "text")), subject = str_trim(json_text(json_get(data, "subject"))),
        trimmed;
    struct buf out;

    buf_init(&out, LIMIT_WEBHOOK_BYTES);
    if (subject.len) {
        buf_str(&out, subject);
        buf_putc(&out, '\n');
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.len - i >= 3 && memcmp(text.data + i, OBJECT_MARK, 3) == 0)
            i += 2;
        else
            buf_putc(&out, text.data[i]);
    }
    trimmed = str_trim((struct str){ arena_copy(arena, out.data ? out.data : "", out.len), out.len });
    buf_fini(&out);
    return trimmed;
}

bool imessage_is_incomplete(const struct json *data)
{
    struct str text = json_text(json_get(data, "text"));
    bool is_bare = str_trim(text).len == 0 && !str_trim(json_text(json_get(data, "subject"))).len;
    bool has_mark = text.len && memmem(text.data, text.len, OBJECT_MARK, 3);

    if (json_count(json_get(data, "attachments")) > 0 || json_text(json_get(data, "balloonBundleId")).len
        || json_int(json_get(data, "dateRetracted"), 0) > 0 || json_int(json_get(data, "itemType"), 0) != 0
        || json_int(json_get(data, "groupActionType"), 0) != 0 || json_kind(json_get(data, "associatedMessageType")))
        return false;
    return is_bare || has_mark || json_int(json_get(data, "partCount"), 1) > 1;
}

/* --- Tapbacks --------------------------------------------------------------------------------------- */

/* "p:0/GUID" and "bp:GUID" name the part of a message; the message is meant. */
static struct str target_of(struct str associated)
{
    const char *slash = associated.len ? memrchr(associated.data, '/', associated.len) : NULL;
    const char *colon = associated.len ? memrchr(associated.data, ':', associated.len) : NULL;
    const char *mark = slash ? slash : colon;
    size_t skip = mark ? (size_t)(mark + 1 - associated.data) : 0;

    return (struct str){ associated.data ? associated.data + skip : NULL, associated.len - skip };
}

/* "Reacted X to ..." is how an emoji tapback reads where it has no field of its own. */
static struct str free_emoji(const struct json *data)
{
    struct str emoji = json_text(json_get(data, "associatedMessageEmoji")), text = json_text(json_get(data, "text")),
        word;

    if (emoji.len || !str_starts(text, "Reacted ") || !str_split(&text, ' ', &word) || !str_split(&text, ' ', &word))
        return emoji;
    return word;
}

static int add_tapback(const struct imessage_seen *seen, const struct json *data, struct str type, struct err *err)
{
    struct place place = place_of(data);
    bool removes = str_starts(type, "-") || str_starts(type, "300");
    struct str word = type.len && type.data[0] == '-' ? (struct str){ type.data + 1, type.len - 1 } : type;
    const char *emoji;
    struct channel_event event = { .kind = CHANNEL_REACTION, .address = place.address, .group = place.group,
        .external_id = target_of(json_text(json_get(data, "associatedMessageGuid"))),
        .provider_ms = json_int(json_get(data, "dateCreated"), 0) };

    /* 3000 to 3007 take back what 2000 to 2007 put there */
    if (str_starts(type, "300"))
        word = str_c(arena_printf(seen->events->arena, "200%.*s", (int)type.len - 3, type.data + 3));
    emoji = imessage_emoji(word);
    event.text = emoji ? str_c(emoji) : str_is(word, "2006") ? free_emoji(data) : (struct str){ 0 };
    /* stickers and votes in polls are no words; what we did ourselves is known */
    if (!event.external_id.len || !event.address.len || json_bool(json_get(data, "isFromMe"), false)
        || seen->updates_only
        || (!event.text.len && !str_is(word, "2006")) || (!removes && !event.text.len))
        return ignore(seen, err);
    if (removes)
        event.text = (struct str){ 0 };
    return add(seen, &event, err);
}

/* --- Messages --------------------------------------------------------------------------------------- */

static size_t files_of(const struct json *data, struct channel_attachment *files)
{
    const struct json *list = json_get(data, "attachments");
    size_t count = 0;

    for (size_t i = 0; i < json_count(list) && count < LIMIT_ATTACHMENTS; i++) {
        const struct json *file = json_item(list, i);
        struct str guid = json_text(json_get(file, "guid"));

        if (!guid.len || json_bool(json_get(file, "hideAttachment"), false))
            continue;
        files[count++] = (struct channel_attachment){ .ref = guid, .name = json_text(json_get(file, "transferName")),
            .type = json_text(json_get(file, "mimeType")), .size = json_int(json_get(file, "totalBytes"), 0) };
    }
    return count;
}

/* What people may want to see of it: how it travelled, and its effect. */
static struct str metadata_of(struct arena *arena, const struct json *data)
{
    struct str service = json_text(json_at(data, "handle.service"));
    struct str effect = json_text(json_get(data, "expressiveSendStyleId"));
    struct str app = json_text(json_get(data, "balloonBundleId")), out = { 0 };
    struct json_writer writer;
    struct buf text;

    if ((!service.len && !effect.len && !app.len) || service.len + effect.len + app.len > LIMIT_METADATA_BYTES / 8)
        return out;
    buf_init(&text, LIMIT_METADATA_BYTES);
    writer = json_writer(&text);
    json_object_begin(&writer);
    if (service.len)
        json_text_at(&writer, "service", service);
    if (effect.len)
        json_text_at(&writer, "effect", effect);
    if (app.len)
        json_text_at(&writer, "app", app);
    json_object_end(&writer);
    out = (struct str){ arena_copy(arena, text.data, text.len), text.len };
    buf_fini(&text);
    return out;
}

static struct str key_of(const struct json *data)
{
    struct str temp = json_text(json_get(data, "tempGuid"));
    size_t prefix = sizeof IMESSAGE_KEY_PREFIX - 1;

    return str_starts(temp, IMESSAGE_KEY_PREFIX) ? (struct str){ temp.data + prefix, temp.len - prefix }
                                                 : (struct str){ 0 };
}

/* How it travelled, where that is a kind of message; the service of the chat's guid may be "any". */
static struct str type_of(const struct json *data)
{
    struct str service = json_text(json_at(data, "handle.service"));
    struct imessage_chat chat;

    if (!service.len && imessage_chat_read(json_text(json_at(data, "chats.0.guid")), &chat))
        service = chat.service;
    return str_is(service, "SMS") ? STR("sms") : str_starts(service, "iMessage") ? STR("imessage") : STR("text");
}

static int add_message(const struct imessage_seen *seen, const struct json *data, struct err *err)
{
    struct place place = place_of(data);
    struct channel_attachment *files = arena_array(seen->events->arena, LIMIT_ATTACHMENTS, sizeof *files);
    int64_t fence_ms = channel_number(seen->channel, "history_after_s", HISTORY_S) * 1000;
    bool is_own = json_bool(json_get(data, "isFromMe"), false);
    struct channel_event event = { .kind = is_own ? CHANNEL_OWN_MESSAGE : CHANNEL_MESSAGE,
        .external_id = json_text(json_get(data, "guid")), .address = place.address, .group = place.group,
        .text = text_of(seen->events->arena, data), .reply_to = json_text(json_get(data, "threadOriginatorGuid")),
        .metadata = metadata_of(seen->events->arena, data), .provider_ms = json_int(json_get(data, "dateCreated"), 0),
        .attachments = files, .key = key_of(data) };

    /* without its chat a message may belong to a group: it must not reach a person's own conversation. The catch-up
     * query brings it again, whole. */
    if (!place.found || (!place.group.len && !place.address.len) || (!is_own && !place.address.len))
        return ignore(seen, err);
    if (imessage_is_incomplete(data) && !event.key.len && !seen->as_it_is)
        return ignore(seen, err);
    if (is_own && place.group.len)
        event.address = (struct str){ 0 };
    event.attachment_count = files_of(data, files);
    if (event.attachment_count == 0)
        event.type = type_of(data);
    event.is_history = event.provider_ms > 0 && seen->now_ms - event.provider_ms > fence_ms;
    return add(seen, &event, err);
}

/* --- What became of messages ------------------------------------------------------------------------ */

static int add_receipt(const struct imessage_seen *seen, const struct json *data, struct err *err)
{
    int64_t error = json_int(json_get(data, "error"), 0), read_ms = json_int(json_get(data, "dateRead"), 0);
    int64_t delivered_ms = json_int(json_get(data, "dateDelivered"), 0);
    struct channel_event event = { .kind = CHANNEL_RECEIPT, .external_id = json_text(json_get(data, "guid")),
        .key = key_of(data) };

    if (!json_bool(json_get(data, "isFromMe"), false))
        return 0;
    if (read_ms > 0) {
        event.state = MESSAGE_READ;
        event.provider_ms = read_ms;
    } else if (delivered_ms > 0) {
        event.state = MESSAGE_DELIVERED;
        event.provider_ms = delivered_ms;
    } else if (error > 0) {
        event.state = MESSAGE_FAILED;
        event.code = str_c(arena_printf(seen->events->arena, "%lld", (long long)error));
        event.hint = str_c(outcome_code_find(imessage_codes, error)->hint);
    } else {
        return 0;
    }
    return add(seen, &event, err);
}

static int add_change(const struct imessage_seen *seen, const struct json *data, struct err *err)
{
    struct place place = place_of(data);
    struct channel_event event = { .kind = CHANNEL_EDIT, .external_id = json_text(json_get(data, "guid")),
        .address = place.address, .group = place.group, .text = text_of(seen->events->arena, data) };

    if (json_int(json_get(data, "dateRetracted"), 0) > 0) {
        event.kind = CHANNEL_DELETE;
        event.text = (struct str){ 0 };
        event.provider_ms = json_int(json_get(data, "dateRetracted"), 0);
        return add(seen, &event, err);
    }
    event.provider_ms = json_int(json_get(data, "dateEdited"), 0);
    return event.provider_ms > 0 && event.text.len ? add(seen, &event, err) : 0;
}

int imessage_events(const struct imessage_seen *seen, const struct json *data, struct err *err)
{
    const struct json *associated = json_get(data, "associatedMessageType");
    struct str type = json_text(associated);
    bool is_retracted = json_int(json_get(data, "dateRetracted"), 0) > 0;
    size_t before = seen->events->count;

    if (!json_text(json_get(data, "guid")).len)
        return err_set(err, ERR_MALFORMED, "The message has no guid.");
    if (json_kind(associated) == JSON_KIND_INT)
        type = str_c(arena_printf(seen->events->arena, "%lld", (long long)json_int(associated, 0)));
    if (type.len)
        return add_tapback(seen, data, type, err);
    if (json_int(json_get(data, "itemType"), 0) != 0 || json_int(json_get(data, "groupActionType"), 0) != 0)
        return ignore(seen, err);
    if ((seen->source == IMESSAGE_NEW || seen->source == IMESSAGE_QUERIED) && !seen->updates_only && !is_retracted
        && add_message(seen, data, err))
        return -1;
    if (add_receipt(seen, data, err) || add_change(seen, data, err))
        return -1;
    return seen->events->count == before ? ignore(seen, err) : 0;
}

/* --- Webhooks --------------------------------------------------------------------------------------- */

/* The hook's path is unguessable; a setting may ask for one more word. The server signs nothing. */
static bool knows_secret(const struct channel *channel, const struct http_request *request)
{
    const char *secret = channel_text(channel, "secret");

    if (!secret)
        return true;
    for (size_t i = 0; i < request->query_count; i++)
        if (str_is(request->query[i].name, "secret"))
            return str_eq_secret(request->query[i].value, str_c(secret));
    return false;
}

int imessage_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                     struct webhook_reply *reply, struct err *err)
{
    struct imessage_seen seen = { .channel = channel, .events = events, .now_ms = webhook->now_ms };
    const struct json *body, *data;
    struct str type;

    (void)reply;
    if (webhook->request->method != HTTP_POST) {
        err_set(err, ERR_INVALID, "This address takes the server's webhooks, by POST.");
        return err_hint(err, "Register it on the server as a webhook.");
    }
    if (!knows_secret(channel, webhook->request)) {
        err_set(err, ERR_FORBIDDEN, "The webhook's secret is missing or wrong.");
        return err_hint(err, "Register the hook's address with ?secret= and the channel's secret at its end.");
    }
    body = json_parse_lenient(events->arena, webhook->request->body, err);
    if (!body)
        return -1;
    type = json_text(json_get(body, "type"));
    data = json_get(body, "data");
    if (!type.len)
        return err_set(err, ERR_MALFORMED, "The webhook does not say what it is (type).");
    if (str_is(type, "new-message"))
        seen.source = IMESSAGE_NEW;
    else if (str_is(type, "updated-message") || str_is(type, "message-updated"))
        seen.source = IMESSAGE_UPDATED;
    else if (str_is(type, "message-send-error"))
        seen.source = IMESSAGE_ERROR;
    else
        return events_add(events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err);
    return imessage_events(&seen, data, err);
}
