/* imessage.c - requests to the server, chats, texts and Apple's error numbers. */
#include "channels/lib/imessage.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

#define OBJECT_MARK "\xef\xbf\xbc"      /* U+FFFC, where a file stands in a text */

/* --- Who asks --------------------------------------------------------------------------------------- */

static const char *with_password(struct form *form, const char *path, const char *password)
{
    return arena_printf(form->arena, "/api/v1%s%cpassword=%s", path, strchr(path, '?') ? '&' : '?',
                        http_encode(form->arena, str_c(password)));
}

static const char *with_header(struct form *form, const char *path, const char *key)
{
    (void)key;
    return arena_printf(form->arena, "/api/v1%s", path);
}

static const struct scheme {
    const char *setting, *header;       /* what proves who asks; the header that carries it, NULL: the query does */
    const char *(*path)(struct form *form, const char *path, const char *value);
    bool ends_typing;
} schemes[] = {
    { "password", NULL, with_password, false },
    { "api_key", "X-API-Key", with_header, true },
};

static const struct scheme *scheme_of(const struct channel *channel)
{
    for (const struct field *field = channel->driver->settings; field->name; field++)
        if (strcmp(field->name, schemes[1].setting) == 0)
            return &schemes[1];
    return &schemes[0];
}

const char *imessage_setting(const struct channel *channel, const char *name)
{
    for (const struct field *field = channel->driver->settings; field->name; field++)
        if (strcmp(field->name, name) == 0)
            return channel_text(channel, name);
    return NULL;
}

bool imessage_ends_typing(const struct channel *channel)
{
    return scheme_of(channel)->ends_typing;
}

void imessage_begin(struct form *form, struct arena *arena, const struct channel *channel, const char *path)
{
    const struct scheme *scheme = scheme_of(channel);
    const char *value = channel_text(channel, scheme->setting);

    *form = (struct form){ .arena = arena };
    form_begin(form, arena, channel, channel_text(channel, "base_url"), scheme->path(form, path, value ? value : ""));
    if (scheme->header && value)
        form_header(form, scheme->header, value);
    form->request.answer_max = IMESSAGE_ANSWER_BYTES;
}

/* --- Asking ----------------------------------------------------------------------------------------- */

struct str imessage_detail(const struct json *answer)
{
    struct str detail = json_text(json_at(answer, "error.message"));

    if (!detail.len)
        detail = json_text(json_at(answer, "error.error"));
    if (!detail.len)
        detail = json_text(json_get(answer, "error"));
    return detail.len ? detail : json_text(json_get(answer, "message"));
}

static void refused_key(struct err *err)
{
    err_set(err, ERR_UNAVAILABLE, "The server refuses the channel's password or key.");
    err_hint(err, "Copy it again from the server into the channel's settings (password, or api_key).");
}

const struct json *imessage_ask(struct form *form, struct exchange *exchange, struct err *err)
{
    struct exchange_reply reply;
    const struct json *answer;

    form_run(form, exchange, IMESSAGE_ASK_MS, &reply);
    if (reply.end != EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "The server does not answer: %s", reply.err.detail);
        err_hint(err, "%s", reply.err.hint[0] ? reply.err.hint
                 : "Is the Mac awake, is the server running, and is base_url its address?");
        return NULL;
    }
    answer = form_answer(form, &reply);
    if (reply.status == 401 || reply.status == 403) {
        refused_key(err);
        return NULL;
    }
    if (json_kind(answer) != JSON_KIND_OBJECT) {
        err_set(err, ERR_UNAVAILABLE, "What answers at base_url with status %d is not the server.", reply.status);
        err_hint(err, "A tunnel or proxy in between, or a wrong port? The server's own port is 1234 by default.");
        return NULL;
    }
    if (reply.status >= 200 && reply.status < 300 && json_get(answer, "data"))
        return json_get(answer, "data");
    err_set(err, reply.status == 404 ? ERR_NOT_FOUND : ERR_UNAVAILABLE, "The server answered with status %d: %.*s",
            reply.status, (int)str_cut(imessage_detail(answer), 150, false), imessage_detail(answer).data);
    err_hint(err, "Look at the server's own log on the Mac.");
    return NULL;
}

static void add_reactions_to(struct json_writer *writer, struct arena *arena, struct str guid)
{
    json_key(writer, "where");
    json_array_begin(writer);
    json_object_begin(writer);
    json_cstr_at(writer, "statement", "message.associated_message_guid LIKE :guid");
    json_key(writer, "args");
    json_object_begin(writer);
    json_cstr_at(writer, "guid", arena_printf(arena, "%%%.*s", STR_FMT(guid)));
    json_object_end(writer);
    json_object_end(writer);
    json_array_end(writer);
}

void imessage_query_begin(struct form *form, struct arena *arena, const struct channel *channel,
                          const struct imessage_query *query)
{
    struct json_writer writer;
    struct buf body;

    imessage_begin(form, arena, channel, "/message/query");
    buf_init(&body, LIMIT_JSON_BYTES);
    writer = json_writer(&body);
    json_object_begin(&writer);
    if (query->after_ms > 0)
        json_int_at(&writer, "after", query->after_ms);
    if (query->before_ms > 0)
        json_int_at(&writer, "before", query->before_ms);
    json_cstr_at(&writer, "sort", query->newest_first ? "DESC" : "ASC");
    json_int_at(&writer, "limit", query->limit);
    json_int_at(&writer, "offset", query->offset);
    json_key(&writer, "with");
    json_put_raw(&writer, STR("[\"chats\",\"attachments\",\"message-summary-info\"]"));
    if (query->reactions_to.len)
        add_reactions_to(&writer, arena, query->reactions_to);
    json_object_end(&writer);
    form_json(form, buf_slice(&body));
    buf_fini(&body);
}

/* --- Chats and texts -------------------------------------------------------------------------------- */

bool imessage_chat_read(struct str guid, struct imessage_chat *out)
{
    struct str rest = guid, kind;

    if (!guid.len || !str_split(&rest, ';', &out->service) || !str_split(&rest, ';', &kind) || !rest.len)
        return false;
    out->identifier = rest;
    out->is_group = str_is(kind, "+");
    return out->service.len > 0 && (out->is_group || str_is(kind, "-"));
}

/* Without white space and object marks. */
static struct str bare(struct arena *arena, struct str text)
{
    struct str whole = str_nfc(arena, text);
    char *out = arena_alloc(arena, whole.len + 1);
    size_t length = 0;

    for (size_t i = 0; i < whole.len; i++) {
        if (strchr(" \t\r\n", whole.data[i]))
            continue;
        if (whole.len - i >= 3 && memcmp(whole.data + i, OBJECT_MARK, 3) == 0) {
            i += 2;
            continue;
        }
        out[length++] = whole.data[i];
    }
    return (struct str){ out, length };
}

bool imessage_same_text(struct arena *arena, struct str a, struct str b)
{
    return str_eq(bare(arena, a), bare(arena, b));
}

/* --- Tapbacks --------------------------------------------------------------------------------------- */

static const struct {
    const char *word, *number, *emoji, *plain;      /* `plain`: without the variation selector */
} tapbacks[] = {
    { "love", "2000", "\xe2\x9d\xa4\xef\xb8\x8f", "\xe2\x9d\xa4" },
    { "like", "2001", "\xf0\x9f\x91\x8d", "\xf0\x9f\x91\x8d" },
    { "dislike", "2002", "\xf0\x9f\x91\x8e", "\xf0\x9f\x91\x8e" },
    { "laugh", "2003", "\xf0\x9f\x98\x82", "\xf0\x9f\x98\x82" },
    { "emphasize", "2004", "\xe2\x80\xbc\xef\xb8\x8f", "\xe2\x80\xbc" },
    { "question", "2005", "\xe2\x9d\x93", "\xe2\x9d\x93" },
};

#define TAPBACKS (sizeof tapbacks / sizeof tapbacks[0])

const char *imessage_emoji(struct str word)
{
    for (size_t i = 0; i < TAPBACKS; i++)
        if (str_is(word, tapbacks[i].word) || str_is(word, tapbacks[i].number))
            return tapbacks[i].emoji;
    return NULL;
}

const char *imessage_tapback(struct str emoji)
{
    for (size_t i = 0; i < TAPBACKS; i++)
        if (str_is(emoji, tapbacks[i].emoji) || str_is(emoji, tapbacks[i].plain) || str_is(emoji, tapbacks[i].word))
            return tapbacks[i].word;
    return NULL;
}

/* --- Apple's error numbers -------------------------------------------------------------------------- */

#define NETWORK_HINT "Apple's servers could not be reached from the Mac. It is tried again by itself."
#define ACCOUNT_HINT \
    "Apple refuses this Apple ID or this Mac. Open Messages on the Mac and sign in again; where that fails, ask " \
    "Apple's support."
#define FILE_HINT "Apple did not take the file. Send a smaller one, or another format."

const struct outcome_code imessage_codes[] = {
    { 3, 3, SEND_RETRY, 0, 60, "Apple's servers did not take it in time. It is tried again by itself." },
    { 6, 10, SEND_RETRY, 0, 60, NETWORK_HINT },
    { 11, 11, SEND_REFUSED, OUTCOME_FAULT, 0, ACCOUNT_HINT },
    { 15, 15, SEND_RETRY, 0, 120, "Apple's servers are in trouble. It is tried again by itself." },
    { 19, 20, SEND_REFUSED, OUTCOME_FAULT, 0, ACCOUNT_HINT },
    { 21, 21, SEND_REFUSED, 0, 0, "This is no address that iMessage knows. Check it, or use another channel." },
    { 22, 22, SEND_REFUSED, 0, 0, "The contact is not on iMessage. Send it as an SMS through another channel." },
    { 23, 23, SEND_REFUSED, 0, 0, "The contact's device cannot take this kind of message. Send plain text." },
    { 24, 24, SEND_REFUSED, 0, 0, "The contact's side refused the message." },
    { 25, 25, SEND_REFUSED, 0, 0, FILE_HINT },
    { 30, 33, SEND_REFUSED, OUTCOME_FAULT, 0, ACCOUNT_HINT },
    { 34, 37, SEND_REFUSED, 0, 0, FILE_HINT },
    { 38, 38, SEND_REFUSED, OUTCOME_FAULT, 0, "Apple wants a newer macOS on this Mac. Update it." },
    { 39, 39, SEND_RETRY, 0, 60, "A part of Messages on the Mac crashed. It is tried again by itself." },
    { 40, 40, SEND_REFUSED, OUTCOME_FAULT, 0, ACCOUNT_HINT },
    { 41, 41, SEND_REFUSED, 0, 0, FILE_HINT },
    { 0, 0, SEND_UNSURE, 0, 0,
      "Messages on the Mac reports a failure that does not say whether it was sent. Look at the Mac, then resolve "
      "it." },
};
