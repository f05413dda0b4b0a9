#include "channels/lib/form.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"

#include <assert.h>
#include <string.h>

void form_begin(struct form *form, struct arena *arena, const struct channel *channel,
                const char *base, const char *path)
{
    size_t length = strlen(base);

    while (length > 0 && base[length - 1] == '/')
        length--;
    *form = (struct form){ .arena = arena };
    form->request = (struct exchange_request){
        .method = HTTP_GET,
        .url = arena_printf(arena, "%.*s%s", (int)length, base, path),
        .headers = form->headers,
        .egress = EGRESS_CHANNEL,
        .tenant_id = channel->tenant_id,
    };
}

void form_header(struct form *form, const char *name, const char *value)
{
    assert(form->request.header_count < FORM_HEADERS);
    form->headers[form->request.header_count++] = (struct http_header){
        str_c(arena_strdup(form->arena, name)), str_c(arena_strdup(form->arena, value)),
    };
}

void form_basic(struct form *form, const char *user, const char *password)
{
    const char *pair =
        arena_printf(form->arena, "%s:%s", user ? user : "", password ? password : "");

    form_header(
        form, "Authorization",
        arena_printf(form->arena, "Basic %s", sign_base64(form->arena, pair, strlen(pair))));
}

void form_bearer(struct form *form, const char *token)
{
    form_header(form, "Authorization", arena_printf(form->arena, "Bearer %s", token));
}

static void add_body(struct form *form, struct str body, const char *type)
{
    if (!form->request.body.data)
        form_header(form, "Content-Type", type);
    form->request.method = HTTP_POST;
    form->request.body = body;
}

void form_add(struct form *form, const char *name, struct str value)
{
    struct str before = form->request.body;
    const char *text =
        arena_printf(form->arena, "%.*s%s%s=%s", STR_FMT(before), before.len ? "&" : "",
                     http_encode(form->arena, str_c(name)), http_encode(form->arena, value));

    add_body(form, str_c(text), "application/x-www-form-urlencoded");
}

void form_json(struct form *form, struct str json)
{
    add_body(form, (struct str){ arena_copy(form->arena, json.data, json.len), json.len },
             "application/json");
}

/* --- multipart/form-data ---------------------------------------------------------------------------- */

static void add_part(struct form *form, const struct form_part *part)
{
    assert(form->part_count < FORM_PARTS);
    form->parts[form->part_count++] = *part;
    form->request.method = HTTP_POST;
}

void form_value(struct form *form, const char *name, struct str value)
{
    add_part(form, &(struct form_part){ .name = arena_strdup(form->arena, name), .data = value });
}

void form_file(struct form *form, const char *name, const struct send_attachment *file)
{
    const struct form_part part = {
        .name = arena_strdup(form->arena, name),
        .file_name = file->name && *file->name ? arena_strdup(form->arena, file->name) : "file",
        .type = file->type && *file->type ? arena_strdup(form->arena, file->type) : "application/octet-stream",
        .data = file->data,
    };

    add_part(form, &part);
}

/* A name between quotes, escaped as browsers do: no name can end its header. */
static const char *quoted(struct arena *arena, const char *name)
{
    char *out = arena_alloc(arena, strlen(name) * 3 + 1), *at = out;

    for (; *name; name++) {
        if (*name == '"' || *name == '\r' || *name == '\n') {
            at = mempcpy(at, *name == '"' ? "%22" : *name == '\r' ? "%0D" : "%0A", 3);
            continue;
        }
        *at++ = *name;
    }
    return out;
}

/* A media type is the hub's own finding, but no byte of it may end its header either. */
static const char *clean_type(const char *type)
{
    return type[strcspn(type, "\r\n")] ? "application/octet-stream" : type;
}

static const char *part_head(const struct form *form, const struct form_part *part, const char *boundary)
{
    if (!part->file_name)
        return arena_printf(form->arena, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n", boundary,
                            quoted(form->arena, part->name));
    return arena_printf(form->arena,
                        "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n"
                        "Content-Type: %s\r\n\r\n",
                        boundary, quoted(form->arena, part->name), quoted(form->arena, part->file_name),
                        clean_type(part->type));
}

/* The hash of all parts: nobody can write a part that holds the boundary that comes of it. */
static const char *boundary_of(const struct form *form)
{
    unsigned char hashes[FORM_PARTS][SIGN_HASH_BYTES], all[SIGN_HASH_BYTES];

    for (size_t i = 0; i < form->part_count; i++)
        sign_sha256(form->parts[i].data, hashes[i]);
    sign_sha256((struct str){ (const char *)hashes, form->part_count * SIGN_HASH_BYTES }, all);
    return arena_printf(form->arena, "part-%.32s", sign_hex(form->arena, all, sizeof all));
}

static void join_parts(struct form *form)
{
    const char *boundary = boundary_of(form), *heads[FORM_PARTS];
    const char *tail = arena_printf(form->arena, "--%s--\r\n", boundary);
    size_t length = strlen(tail);
    char *body, *at;

    for (size_t i = 0; i < form->part_count; i++) {
        heads[i] = part_head(form, &form->parts[i], boundary);
        length += strlen(heads[i]) + form->parts[i].data.len + 2;
    }
    body = at = arena_alloc(form->arena, length + 1);
    for (size_t i = 0; i < form->part_count; i++) {
        at = mempcpy(at, heads[i], strlen(heads[i]));
        if (form->parts[i].data.len)
            at = mempcpy(at, form->parts[i].data.data, form->parts[i].data.len);
        at = mempcpy(at, "\r\n", 2);
    }
    memcpy(at, tail, strlen(tail));
    add_body(form, (struct str){ body, length },
             arena_printf(form->arena, "multipart/form-data; boundary=%s", boundary));
}

/* --- Exchanges -------------------------------------------------------------------------------------- */

void form_run(struct form *form, struct exchange *exchange, int timeout_ms,
              struct exchange_reply *reply)
{
    if (form->part_count && !form->request.body.data)
        join_parts(form);
    form->request.headers = form->headers; /* the form may have been copied since it began */
    form->request.timeout_ms = timeout_ms > 0 ? timeout_ms : LIMIT_SEND_MS;
    exchange->run(exchange, form->arena, &form->request, reply);
}

const struct json *form_answer(const struct form *form, const struct exchange_reply *reply)
{
    return reply->end == EXCHANGE_ANSWERED ? json_parse_lenient(form->arena, reply->body, NULL)
                                           : NULL;
}

/* --- Signatures ------------------------------------------------------------------------------------- */

bool form_signed(struct arena *arena, const char *key, const struct str *parts, size_t count,
                 struct str given)
{
    unsigned char mac[SIGN_HASH_BYTES];
    size_t length = 0, at = 0;
    char *joined;

    if (!key || !*key || !given.data)
        return false;
    for (size_t i = 0; i < count; i++)
        length += parts[i].len;
    joined = arena_alloc(arena, length + 1);
    for (size_t i = 0; i < count; at += parts[i++].len)
        if (parts[i].len)
            memcpy(joined + at, parts[i].data, parts[i].len);
    sign_hmac_sha256(str_c(key), (struct str){ joined, length }, mac);
    return str_eq_secret(str_c(sign_hex(arena, mac, sizeof mac)), given);
}

int form_fresh(struct str seconds, int64_t now_ms, struct err *err)
{
    int64_t signed_s, away_s;

    if (!str_int(seconds, 0, INT64_MAX / 1000, &signed_s))
        return err_set(err, ERR_FORBIDDEN,
                       "The signature's time is missing or is no number of seconds.");
    away_s = now_ms / 1000 - signed_s;
    if (away_s >= -LIMIT_SIGNATURE_AGE_S && away_s <= LIMIT_SIGNATURE_AGE_S)
        return 0;
    err_set(err, ERR_FORBIDDEN,
            "The signature's time is %lld seconds away from the hub's clock; %d are allowed.",
            (long long)(away_s < 0 ? -away_s : away_s), LIMIT_SIGNATURE_AGE_S);
    return err_hint(err, "Set the sender's clock, or the hub's.");
}
