/* Webhooks of any provider: proven and read as the channel's settings say. */
#include "channels/lib/mapped.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"

#include <string.h>

#define SIGNED_PARTS 8
#define ID_BYTES 16             /* of a hash that stands in for an id */

struct str mapped_text(struct arena *arena, const struct json *value)
{
    if (json_kind(value) == JSON_KIND_INT)
        return str_c(arena_printf(arena, "%lld", (long long)json_int(value, 0)));
    return json_text(value);
}

void mapped_key(struct json_writer *writer, struct str name)
{
    json_put_text(writer, name.data ? name : STR(""));
    buf_putc(writer->out, ':');
    writer->comma = false;
}

struct str mapped_at(struct arena *arena, const struct channel *channel, const char *setting, const struct json *json)
{
    const char *path = channel_text(channel, setting);

    return path ? mapped_text(arena, json_at(json, path)) : (struct str){ 0 };
}

/* Is `word` one of those in the comma-separated setting? */
static bool is_listed(const struct channel *channel, const char *setting, struct str word)
{
    struct str rest = str_c(channel_text(channel, setting)), one;

    while (word.len && str_split(&rest, ',', &one))
        if (str_eq_nocase(str_trim(one), word))
            return true;
    return false;
}

/* --- Proof ------------------------------------------------------------------------------------ */

static int wrong(struct err *err, const char *detail)
{
    err_set(err, ERR_FORBIDDEN, "%s", detail);
    return err_hint(err, "Compare secret, signature and signature_header of the channel with what the provider says.");
}

static int check_time(const struct channel *channel, struct str given, int64_t now_ms, struct err *err)
{
    int64_t at_ms, away_ms, tolerance_s = channel_number(channel, "tolerance_s", LIMIT_SIGNATURE_AGE_S);

    if (!clock_parse(given, &at_ms, NULL))
        return wrong(err, "The time that the signature covers is missing or is none.");
    away_ms = at_ms > now_ms ? at_ms - now_ms : now_ms - at_ms;
    if (away_ms <= tolerance_s * 1000)
        return 0;
    err_set(err, ERR_FORBIDDEN, "The signature's time is %lld seconds away from the hub's clock; %lld are allowed.",
            (long long)(away_ms / 1000), (long long)tolerance_s);
    return err_hint(err, "Set the sender's clock, or the hub's.");
}

/* The HMAC over `count` parts as text. */
static const char *hmac(struct arena *arena, struct str key, const struct str *parts, size_t count, bool base64)
{
    unsigned char mac[SIGN_HASH_BYTES];
    size_t length = 0, at = 0;
    char *joined;

    for (size_t i = 0; i < count; i++)
        length += parts[i].len;
    joined = arena_alloc(arena, length + 1);
    for (size_t i = 0; i < count; at += parts[i++].len)
        if (parts[i].len)
            memcpy(joined + at, parts[i].data, parts[i].len);
    sign_hmac_sha256(key, (struct str){ joined, length }, mac);
    return base64 ? sign_base64(arena, mac, sizeof mac) : sign_hex(arena, mac, sizeof mac);
}

/* Split "v0:{timestamp}:{body}" into what is signed. The number of parts, 0 when it does not hold what it must. */
static size_t signed_parts(const struct channel *channel, const struct webhook *webhook, struct str time,
                           struct str *parts)
{
    const char *format = channel_text(channel, "signed_text"), *timed = channel_text(channel, "timestamp_header");
    bool has_body = false, has_time = false;
    size_t count = 0;

    if (!format)
        format = timed ? "{timestamp}.{body}" : "{body}";
    while (*format && count < SIGNED_PARTS) {
        struct str rest = str_c(format);
        size_t plain = strcspn(format, "{");

        if (str_starts(rest, "{body}")) {
            parts[count++] = webhook->request->body;
            has_body = true;
            format += strlen("{body}");
        } else if (str_starts(rest, "{timestamp}")) {
            parts[count++] = time;
            has_time = true;
            format += strlen("{timestamp}");
        } else {
            parts[count++] = (struct str){ format, plain ? plain : 1 };
            format += plain ? plain : 1;
        }
    }
    return *format || !has_body || has_time != (timed != NULL) ? 0 : count;
}

static int check_hmac(const struct channel *channel, const struct webhook *webhook, struct arena *arena,
                      const char *secret, struct err *err)
{
    const char *timed = channel_text(channel, "timestamp_header"), *prefix = channel_text(channel, "signature_prefix");
    struct str given = http_header(webhook->request, channel_text(channel, "signature_header"));
    struct str time = timed ? http_header(webhook->request, timed) : (struct str){ 0 }, parts[SIGNED_PARTS];
    size_t count = signed_parts(channel, webhook, time, parts), skip = prefix ? strlen(prefix) : 0;
    const char *wanted;

    if (!count) {
        err_set(err, ERR_FORBIDDEN, "The channel's settings do not say what a signature covers.");
        return err_hint(err, "signed_text must hold {body}, and {timestamp} exactly when timestamp_header is set.");
    }
    if (!given.len || (prefix && !str_starts(given, prefix)))
        return wrong(err, "The request has no signature in the header that the channel names.");
    wanted = hmac(arena, str_c(secret), parts, count,
                  strcmp(channel_text(channel, "signature_encoding"), "base64") == 0);
    if (!str_eq_secret(str_c(wanted), (struct str){ given.data + skip, given.len - skip }))
        return wrong(err, "The signature is wrong.");
    return timed ? check_time(channel, time, webhook->now_ms, err) : 0;
}

/* standardwebhooks.com: id.timestamp.body, the key in base64, any of several signatures. */
static int check_standard(const struct channel *channel, const struct webhook *webhook, struct arena *arena,
                          const char *secret, struct err *err)
{
    struct str rest = http_header(webhook->request, "webhook-signature"), one, key = str_c(secret);
    struct str id = http_header(webhook->request, "webhook-id");
    struct str time = http_header(webhook->request, "webhook-timestamp");
    const struct str parts[] = { id, STR("."), time, STR("."), webhook->request->body };
    bool good = false;
    const char *wanted;

    if (str_starts(key, "whsec_"))
        key = (struct str){ key.data + 6, key.len - 6 };
    if (!sign_unbase64(arena, key, &key) || !key.len)
        return wrong(err, "The channel's secret is none of Standard Webhooks: whsec_ and base64.");
    if (!id.len || !rest.len)
        return wrong(err, "The request has no webhook-id or no webhook-signature.");
    wanted = arena_printf(arena, "v1,%s", hmac(arena, key, parts, sizeof parts / sizeof parts[0], true));
    while (str_split(&rest, ' ', &one))
        good |= str_eq_secret(str_c(wanted), one);
    return good ? check_time(channel, time, webhook->now_ms, err) : wrong(err, "The signature is wrong.");
}

static int check_proof(const struct channel *channel, const struct webhook *webhook, struct arena *arena,
                       struct err *err)
{
    const char *how = channel_text(channel, "signature"), *secret = channel_text(channel, "secret");
    const char *prefix = channel_text(channel, "signature_prefix");
    struct str given;

    if (!secret || !*secret)
        return wrong(err, "The channel has no secret, so it takes nothing in.");
    if (strcmp(how, "standard") == 0)
        return check_standard(channel, webhook, arena, secret, err);
    if (strcmp(how, "hmac") == 0)
        return check_hmac(channel, webhook, arena, secret, err);
    given = http_header(webhook->request, channel_text(channel, "signature_header"));
    if (!given.data || !str_eq_secret(str_c(arena_printf(arena, "%s%s", prefix ? prefix : "", secret)), given))
        return wrong(err, "The request does not carry the channel's secret.");
    return 0;
}

/* --- Bodies ----------------------------------------------------------------------------------- */

/* A form's pairs as a JSON object, so that paths mean the same. */
static struct str form_as_json(struct arena *arena, struct str body)
{
    struct http_header *pairs;
    struct json_writer writer;
    struct str out = { 0 };
    struct buf text;
    size_t count;

    if (!http_form(arena, body, &pairs, &count))
        return out;
    buf_init(&text, LIMIT_WEBHOOK_BYTES * 2);
    writer = json_writer(&text);
    json_object_begin(&writer);
    for (size_t i = 0; i < count; i++) {
        struct str value = str_nfc(arena, pairs[i].value);

        mapped_key(&writer, str_nfc(arena, pairs[i].name));
        json_put_text(&writer, value.data ? value : STR(""));
    }
    json_object_end(&writer);
    if (!text.overflow)
        out = (struct str){ arena_copy(arena, text.data, text.len), text.len };
    buf_fini(&text);
    return out;
}

static const struct json *read_body(const struct webhook *webhook, struct arena *arena, struct err *err)
{
    struct str type = http_header(webhook->request, "Content-Type"), body = webhook->request->body;
    const struct json *json;

    if (type.len >= 33 && str_eq_nocase((struct str){ type.data, 33 }, STR("application/x-www-form-urlencoded")))
        body = form_as_json(arena, body);
    json = json_parse_lenient(arena, body, err);
    if (json)
        return json;
    if (err)
        err->code = ERR_MALFORMED;
    return NULL;
}

/* --- Events ----------------------------------------------------------------------------------- */

struct reading {
    const struct channel *channel;
    const struct json *json;
    struct events *events;
    struct str whole;           /* what the element is a part of, for its hash */
    struct str delivery;        /* Standard Webhooks: its id, the same however often it is posted */
    size_t index;
};

static struct str at(const struct reading *reading, const char *setting)
{
    return mapped_at(reading->events->arena, reading->channel, setting, reading->json);
}

/* The provider's id, or what is the same whenever the same thing is delivered again. */
static struct str id_of(const struct reading *reading)
{
    struct str id = at(reading, "id_path");
    unsigned char hash[SIGN_HASH_BYTES];

    if (id.len)
        return id;
    if (reading->delivery.len)
        return str_c(arena_printf(reading->events->arena, "%.*s.%zu", STR_FMT(reading->delivery), reading->index));
    sign_sha256(reading->whole, hash);
    return str_c(arena_printf(reading->events->arena, "h.%s.%zu",
                              sign_base64url(reading->events->arena, hash, ID_BYTES), reading->index));
}

static enum message_state state_of(const struct reading *reading, struct str status)
{
    static const struct {
        const char *setting;
        enum message_state state;
    } states[] = {
        { "status_sent", MESSAGE_SENT }, { "status_delivered", MESSAGE_DELIVERED },
        { "status_read", MESSAGE_READ }, { "status_failed", MESSAGE_FAILED },
    };

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (is_listed(reading->channel, states[i].setting, status))
            return states[i].state;
    return 0;
}

static int add_receipt(const struct reading *reading, struct str status, struct err *err)
{
    enum message_state state = state_of(reading, status);
    struct str id = at(reading, "receipt_id_path"), why = at(reading, "error_path");
    struct channel_event event = { .kind = CHANNEL_RECEIPT, .external_id = id, .state = state };
    int64_t at_ms;

    if (!id.len)
        id = event.external_id = at(reading, "id_path");
    if (!state)
        return events_add(reading->events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err);
    if (!id.len)
        return err_set(err, ERR_MALFORMED, "A status names no message: receipt_id_path leads to nothing.");
    if (clock_parse(at(reading, "time_path"), &at_ms, NULL))
        event.provider_ms = at_ms;
    if (state == MESSAGE_FAILED) {
        event.code = status;
        event.hint = why.len ? why : STR("The provider says that it failed, and nothing more.");
    }
    return events_add(reading->events, &event, err);
}

static int add_message(const struct reading *reading, struct err *err)
{
    struct channel_event event = {
        .kind = CHANNEL_MESSAGE,
        .external_id = id_of(reading),
        .address = at(reading, "from_path"),
        .name = at(reading, "name_path"),
        .text = at(reading, "text_path"),
        .group = at(reading, "group_path"),
        .reply_to = at(reading, "reply_path"),
    };
    struct channel_attachment file = { .name = STR("file"), .ref = at(reading, "file_path") };

    if (!event.address.len)
        return err_set(err, ERR_MALFORMED, "A message names no sender: from_path leads to nothing.");
    if (!event.text.len && !file.ref.len)
        return err_set(err, ERR_MALFORMED, "A message has no text: text_path leads to nothing.");
    if (!clock_parse(at(reading, "time_path"), &event.provider_ms, NULL))
        event.provider_ms = 0;
    if (file.ref.len) {
        event.attachments = &file;
        event.attachment_count = 1;
    }
    return events_add(reading->events, &event, err);
}

/* A message, a receipt, or neither: by the kind where the provider has one, else by what is there. */
static int add_event(const struct reading *reading, struct err *err)
{
    bool has_kind = channel_text(reading->channel, "kind_path") != NULL;
    struct str kind = at(reading, "kind_path"), status = at(reading, "status_path");

    if (json_kind(reading->json) != JSON_KIND_OBJECT)
        return err_set(err, ERR_MALFORMED, "The body, or an element of events_path, is no JSON object.");
    if (has_kind && is_listed(reading->channel, "kind_message", kind))
        return add_message(reading, err);
    if (has_kind && is_listed(reading->channel, "kind_receipt", kind))
        return add_receipt(reading, status, err);
    if (has_kind && kind.len)
        return events_add(reading->events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err);
    if (has_kind)
        return err_set(err, ERR_MALFORMED, "What kind of event it is is not said: kind_path leads to nothing.");
    return status.len && !at(reading, "from_path").len ? add_receipt(reading, status, err) : add_message(reading, err);
}

int mapped_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                   struct webhook_reply *reply, struct err *err)
{
    struct reading reading = { .channel = channel, .events = events, .whole = webhook->request->body };
    const char *path = channel_text(channel, "events_path");
    const struct json *body, *list;

    (void)reply;
    if (check_proof(channel, webhook, events->arena, err))
        return -1;
    if (webhook->request->method != HTTP_POST && webhook->request->method != HTTP_PUT)
        return err_set(err, ERR_METHOD, "This channel takes what is posted.");
    if (strcmp(channel_text(channel, "signature"), "standard") == 0)
        reading.delivery = http_header(webhook->request, "webhook-id");
    body = read_body(webhook, events->arena, err);
    if (!body)
        return -1;
    list = path ? json_at(body, path) : NULL;
    if (path && json_kind(list) != JSON_KIND_ARRAY)
        return err_set(err, ERR_MALFORMED, "events_path leads to no array.");
    for (; reading.index < (path ? json_count(list) : 1); reading.index++) {
        reading.json = path ? json_item(list, reading.index) : body;
        if (add_event(&reading, err))
            return -1;
    }
    return 0;
}
