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

void form_run(struct form *form, struct exchange *exchange, int timeout_ms,
              struct exchange_reply *reply)
{
    form->request.headers = form->headers; /* the form may have been copied since it began */
    form->request.timeout_ms =
        timeout_ms > 0 && timeout_ms < LIMIT_SEND_MS ? timeout_ms : LIMIT_SEND_MS;
    exchange->run(exchange, form->arena, &form->request, reply);
}

const struct json *form_answer(const struct form *form, const struct exchange_reply *reply)
{
    return reply->end == EXCHANGE_ANSWERED ? json_parse_lenient(form->arena, reply->body, NULL)
                                           : NULL;
}

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
