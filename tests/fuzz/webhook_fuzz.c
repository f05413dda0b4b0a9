/* Any request to any driver's receive(): whatever comes, it is refused with a reason or becomes
 * events whose texts are valid and whose ids are there, and twice the same gives the same. The
 * input is "KIND METHOD PATH", header lines, an empty line and the body. An x-api-key is taken for
 * the right one, and "X-Signature: 0" and its like are signed here, or nothing would ever get past the checks. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"
#include "channels/lib/twilio.h"
#include "core/channel.h"

#include <stdlib.h>
#include <string.h>

#define SECRET "SECabc"
#define LONG_SECRET "SECabcSECabcSECabcSECabcSECabcSEC"   /* where a short one is refused */
#define PUBLIC_URL "https://hub.test"
#define NOW_MS 1719045971000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds)
        abort();
}

/* The secrets, and of what else is needed the example. */
static void set_secrets(struct arena *arena, struct channel *channel, struct str key)
{
    field_begin(arena, channel->driver->settings, &channel->settings);
    for (const struct field *field = channel->driver->settings; field->name; field++)
        if (!(field->flags & FIELD_SECRET) && field->flags & FIELD_REQUIRED)
            need(field_set_text(arena, &channel->settings, field->name,
                                str_c(field->example ? field->example : "1"), NULL) == 0);
    for (const struct field *field = channel->driver->settings; field->name; field++)
        if (field->flags & FIELD_SECRET
            && field_set_text(arena, &channel->settings, field->name, key, NULL) < 0)
            need(field_set_text(arena, &channel->settings, field->name, STR(SECRET), NULL) == 0
                 || field_set_text(arena, &channel->settings, field->name, STR(LONG_SECRET), NULL) == 0);
    need(field_finish(arena, &channel->settings, NULL) == 0);
}

/* The header lines up to the empty one; what follows is the body. */
static void read_headers(struct http_request *request, struct str rest)
{
    struct str line, name;

    request->headers =
        arena_array(request->arena, LIMIT_HEADER_COUNT + 1, sizeof *request->headers);
    while (str_split(&rest, '\n', &line) && line.len)
        if (request->header_count < LIMIT_HEADER_COUNT && str_split(&line, ':', &name) && line.data)
            request->headers[request->header_count++] =
                (struct http_header){ name, str_trim(line) };
    request->body = rest.data ? rest : STR("");
}

/* The header's value where it asks to be signed, else NULL. */
static struct str *to_sign(struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (str_is(request->headers[i].name, name) && str_is(request->headers[i].value, "0"))
            return &request->headers[i].value;
    return NULL;
}

/* HMAC-SHA1 over the URL and the form's pairs. */
static void sign_form(struct http_request *request)
{
    struct str *value = to_sign(request, "X-Twilio-Signature");
    struct twilio_form form;
    unsigned char mac[SIGN_SHA1_BYTES];
    struct buf all;

    if (!value || !twilio_form_read(request->arena, request->body, &form))
        return;
    buf_init(&all, LIMIT_WEBHOOK_BYTES * 2);
    buf_printf(&all, PUBLIC_URL "%.*s%s%.*s", STR_FMT(request->raw_path), request->raw_query.data ? "?" : "",
               STR_FMT(request->raw_query));
    for (size_t i = 0; i < form.count; i++) {
        buf_str(&all, form.pairs[i].name);
        buf_str(&all, form.pairs[i].value);
    }
    sign_hmac_sha1(STR(SECRET), buf_slice(&all), mac);
    *value = str_c(sign_base64(request->arena, mac, sizeof mac));
    buf_fini(&all);
}

static void sign_body(struct http_request *request)
{
    struct str *value = to_sign(request, "X-Hub-Signature-256");
    unsigned char mac[SIGN_HASH_BYTES];

    sign_hmac_sha256(STR(SECRET), request->body, mac);
    if (value)
        *value = str_c(arena_printf(request->arena, "sha256=%s", sign_hex(request->arena, mac, sizeof mac)));
}

static void sign(struct http_request *request)
{
    struct str time = http_header(request, "X-Timestamp");
    unsigned char mac[SIGN_HASH_BYTES];
    char *all = arena_alloc(request->arena, request->body.len + time.len + 1);

    memcpy(all, request->body.data, request->body.len);
    if (time.len)
        memcpy(all + request->body.len, time.data, time.len);
    sign_hmac_sha256(STR(SECRET), (struct str){ all, request->body.len + time.len }, mac);
    if (to_sign(request, "X-Signature"))
        *to_sign(request, "X-Signature") = str_c(sign_hex(request->arena, mac, sizeof mac));
    sign_form(request);
    sign_body(request);
}

static bool read_request(struct arena *arena, struct str input, struct channel *channel,
                         struct http_request *request)
{
    struct str rest = input, line, word = { 0 }, query;

    *request = (struct http_request){ .arena = arena };
    if (!str_split(&rest, '\n', &line) || !str_split(&line, ' ', &word))
        return false;
    channel->driver = channel_driver_find(word);
    if (!channel->driver || !channel->driver->receive || !str_split(&line, ' ', &word)
        || !line.data)
        return false;
    request->method = http_method_find(word);
    query = line;
    str_split(&query, '?', &request->path);
    request->raw_query = query;
    request->raw_path = request->path;
    if (query.data && !http_form(arena, query, &request->query, &request->query_count))
        return false;
    read_headers(request, rest);
    sign(request);
    return true;
}

static void check_text(struct str text)
{
    need(!text.data || str_utf8_valid(text));
}

static void check_event(struct arena *arena, const struct channel *channel,
                        const struct channel_event *event)
{
    struct str address = event->address, once;

    check_text(event->external_id);
    check_text(event->address);
    check_text(event->name);
    check_text(event->group);
    check_text(event->text);
    check_text(event->type);
    check_text(event->code);
    check_text(event->hint);
    need(event->kind == CHANNEL_IGNORED || event->kind == CHANNEL_OPTED_OUT || event->kind == CHANNEL_OPTED_IN
         || event->kind == CHANNEL_MOVED || event->external_id.len > 0 || event->key.len > 0);
    need(event->metadata.len <= LIMIT_METADATA_BYTES);
    need(!event->metadata.data
         || json_kind(json_parse(arena, event->metadata, NULL)) == JSON_KIND_OBJECT);
    if (!address.data)
        return;
    once = channel_address(arena, channel, address);
    need(str_eq(once, channel_address(arena, channel, once)));
}

static int receive(struct arena *arena, const struct channel *channel,
                   const struct http_request *request, struct events *events)
{
    struct webhook webhook = { request, request->path, NOW_MS };
    struct webhook_reply reply = { 0 };
    struct err err = { 0 };
    int status;

    *events = (struct events){ .arena = arena };
    if (str_is(webhook.path, "/"))
        webhook.path.len = 0;
    status = channel->driver->receive(channel, &webhook, events, &reply, &err);
    need(status == 0
         || (status == -1 && err.code != ERR_NONE && err.detail[0] && err.code != ERR_INTERNAL));
    check_text(str_c(err.detail));
    check_text(str_c(err.hint));
    check_text(str_c(err.field));
    if (status == 0 && reply.content_type && strcmp(reply.content_type, "application/json") == 0)
        need(json_parse(arena, reply.body, NULL) != NULL);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct channel channel = {
        .id = 1, .tenant_id = 1, .name = "fuzz", .hook = "hook-0123456789", .region = "US",
        .public_url = PUBLIC_URL,
    };
    struct http_request request;
    struct events first, second;
    int status;

    if (read_request(arena, (struct str){ (const char *)data, size }, &channel, &request)) {
        channel.kind = channel.driver->kind;
        set_secrets(arena, &channel, http_header(&request, "x-api-key"));
        status = receive(arena, &channel, &request, &first);
        need(receive(arena, &channel, &request, &second) == status && first.count == second.count);
        for (size_t i = 0; status == 0 && i < first.count; i++) {
            check_event(arena, &channel, &first.items[i]);
            need(str_eq(first.items[i].external_id, second.items[i].external_id));
        }
    }
    arena_free(arena);
    return 0;
}
