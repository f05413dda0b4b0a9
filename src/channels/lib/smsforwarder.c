/* SmsForwarder (contracts 6.4): the user writes the template. A form (from, content, timestamp,
 * sign), in the query of a GET too, or JSON with the tags' names; `sign` proves the time and the
 * secret, not the content. */
#include "channels/lib/phone.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"
#include "channels/lib/form.h"

#include <string.h>

#define DECODES_MAX 3       /* the sign arrives encoded once or twice */

/* The request's values, from wherever they came. */
struct given {
    const struct http_header *pairs;
    size_t count;
    const struct json *json;
};

static int read_given(const struct webhook *webhook, struct events *events, struct given *out,
                      struct err *err)
{
    const struct http_request *request = webhook->request;
    struct str type = http_header(request, "Content-Type");
    bool form = type.len >= 33
        && str_eq_nocase((struct str){ type.data, 33 }, STR("application/x-www-form-urlencoded"));
    struct http_header *pairs;

    *out = (struct given){ .pairs = request->query, .count = request->query_count };
    if (request->method == HTTP_GET)
        return 0;
    if (!form && str_starts(str_trim(request->body), "{")) {
        out->json = phone_json(webhook, events, err);
        return out->json ? 0 : -1;
    }
    if (!http_form(events->arena, request->body, &pairs, &out->count))
        return err_set(err, ERR_FORBIDDEN,
                       "The body is neither JSON nor a form, so nothing proves who sent it.");
    out->pairs = pairs;
    return 0;
}

static struct str value_of(struct arena *arena, const struct given *given, const char *name)
{
    const struct json *value = json_get(given->json, name);

    if (json_kind(value) == JSON_KIND_INT)
        return str_c(arena_printf(arena, "%lld", (long long)json_int(value, 0)));
    if (given->json)
        return json_text(value);
    for (size_t i = 0; i < given->count; i++)
        if (str_is(given->pairs[i].name, name))
            return given->pairs[i].value;
    return (struct str){ 0 };
}

/* base64 of the MAC, however often it was percent-encoded on its way; a '+' may have become a
 * space. */
static struct str plain_sign(struct arena *arena, struct str sign)
{
    char *text;

    for (int i = 0; i < DECODES_MAX && sign.data && memchr(sign.data, '%', sign.len); i++)
        if (!http_decode(arena, sign, false, &sign))
            return (struct str){ 0 };
    if (!sign.data)
        return sign;
    text = arena_copy(arena, sign.data, sign.len);
    for (size_t i = 0; i < sign.len; i++)
        if (text[i] == ' ')
            text[i] = '+';
    return (struct str){ text, sign.len };
}

static int check_sign(const struct channel *channel, const struct webhook *webhook,
                      struct arena *arena, const struct given *given, struct err *err)
{
    const char *key = channel_text(channel, "forwarder_key");
    struct str time = value_of(arena, given, "timestamp"),
               sign = plain_sign(arena, value_of(arena, given, "sign"));
    unsigned char mac[SIGN_HASH_BYTES];
    int64_t ms;

    if (!key) {
        err_set(err, ERR_FORBIDDEN,
                "This channel has no forwarder_key, so it takes nothing from SmsForwarder.");
        return err_hint(
            err, "Set forwarder_key in the channel's settings and the same as secret in the app.");
    }
    if (!sign.len || !str_int(time, 0, INT64_MAX, &ms)) {
        err_set(err, ERR_FORBIDDEN, "The request has no sign and timestamp.");
        return err_hint(
            err, "Set a secret in the app and put [timestamp] and [sign] into its template.");
    }
    sign_hmac_sha256(str_c(key), str_c(arena_printf(arena, "%.*s\n%s", STR_FMT(time), key)), mac);
    if (!str_eq_secret(str_c(sign_base64(arena, mac, sizeof mac)), sign)) {
        err_set(err, ERR_FORBIDDEN, "The sign does not fit this channel's forwarder_key.");
        return err_hint(
            err, "Set forwarder_key in the channel's settings and the same as secret in the app.");
    }
    return form_fresh(str_c(arena_printf(arena, "%lld", (long long)(ms / 1000))), webhook->now_ms,
                      err);
}

/* The words inside the app's decorated text, which is number, words, SIM, SubId, time and device on
 * lines of their own; the whole text when it is not decorated. */
static struct str undecorated(struct str all, struct str from)
{
    static const char sub_id[] = "\nSubId\xef\xbc\x9a";
    struct str raw = all, first;
    const char *end = NULL, *at;

    if (!str_split(&raw, '\n', &first) || !raw.data || !str_eq(str_trim(first), str_trim(from)))
        return all;
    for (at = raw.data;
         at && (at = memmem(at, (size_t)(raw.data + raw.len - at), sub_id, strlen(sub_id))); at++)
        end = at;
    if (!end)
        return all;
    while (end > raw.data && *--end != '\n')                /* back over the SIM's line, if there is one */
        ;
    return (struct str){ raw.data, (size_t)(end - raw.data) };
}

/* Words and what tells them from equal ones: the time of receipt where the template gives it, else
 * what the decorated text says around the words; the timestamp is that of the delivery, another one
 * at each try. */
static void read_words(struct arena *arena, const struct given *given, struct phone_text *text)
{
    struct str all = value_of(arena, given, "content");

    text->text = value_of(arena, given, "org_content");
    text->told = value_of(arena, given, "receive_time");
    if (text->text.data)
        return;
    if (!all.data)
        all = value_of(arena, given, "msg");
    text->text = undecorated(all, text->from);
    if (!text->told.data && text->text.len < all.len)
        text->told = all;
}

/* "SIM1_name", "SIM 2", "1" */
static int64_t slot_of(struct str slot)
{
    for (size_t i = 0; i < slot.len; i++)
        if (slot.data[i] >= '1' && slot.data[i] <= '3')
            return slot.data[i] - '0';
    return 0;
}

int phone_smsforwarder(const struct channel *channel, const struct webhook *webhook,
                       struct events *events, struct webhook_reply *reply, struct err *err)
{
    struct arena *arena = events->arena;
    struct given given;
    struct phone_text text = { .app = "smsforwarder" };
    struct str slot;

    if (read_given(webhook, events, &given, err) < 0) {
        err->code = ERR_FORBIDDEN;      /* unread, so unproven: not kept */
        return -1;
    }
    if (check_sign(channel, webhook, arena, &given, err) < 0)
        return -1;
    text.from = value_of(arena, &given, "from");
    read_words(arena, &given, &text);
    text.device = value_of(arena, &given, "device_mark");
    text.sent = value_of(arena, &given, "timestamp");
    slot = value_of(arena, &given, "card_slot");
    text.sim = slot_of(slot.data ? slot : value_of(arena, &given, "title"));
    if (phone_add_text(channel, &text, events, err) < 0)
        return -1;
    reply->content_type = "application/json";
    reply->body = STR("{\"code\":200,\"msg\":\"success\"}");    /* for "response must contain" */
    return 0;
}
