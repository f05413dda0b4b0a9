/* form.h - requests to providers and the signatures of theirs: what HTTP channels share. */
#pragma once

#include "core/channel.h"

#define FORM_HEADERS 8
#define FORM_PARTS 12

/* One part of a multipart/form-data body. */
struct form_part {
    const char *name;               /* of the form's field */
    const char *file_name, *type;   /* of a file; NULL for a plain value */
    struct str data;                /* not copied: lives until form_run returns */
};

/* A request in the making. Strings live in the arena. */
struct form {
    struct arena *arena;
    struct exchange_request request;
    struct http_header headers[FORM_HEADERS];
    struct form_part parts[FORM_PARTS];
    size_t part_count;
};

/* Begin a request to the channel's own server: `base` (a setting, with or without a slash at its
 * end) and `path` ("/..."). */
void form_begin(struct form *form, struct arena *arena, const struct channel *channel,
                const char *base, const char *path);

/* Add a header; both strings are copied. More than FORM_HEADERS is a bug and asserts. */
void form_header(struct form *form, const char *name, const char *value);

/* Authorization: Basic or Bearer. A NULL password counts as empty. */
void form_basic(struct form *form, const char *user, const char *password);
void form_bearer(struct form *form, const char *token);

/* Add one pair to an application/x-www-form-urlencoded body; the first makes the request a POST. */
void form_add(struct form *form, const char *name, struct str value);

/* Add a plain value, or a file, to a multipart/form-data body (RFC 7578); the first makes the request a POST. The body
 * is put together by form_run, so a file is copied once however many parts there are. More than FORM_PARTS is a bug and
 * asserts. */
void form_value(struct form *form, const char *name, struct str value);
void form_file(struct form *form, const char *name, const struct send_attachment *file);

/* A JSON body; makes the request a POST. */
void form_json(struct form *form, struct str json);

/* Run it within `timeout_ms` (a job's; 0: LIMIT_SEND_MS). */
void form_run(struct form *form, struct exchange *exchange, int timeout_ms,
              struct exchange_reply *reply);

/* The answer's JSON, or NULL when it was not answered with JSON. */
const struct json *form_answer(const struct form *form, const struct exchange_reply *reply);

/* Is `given` the lower-case hex of HMAC-SHA256 over the `count` parts joined? False without a key;
 * constant time. */
bool form_signed(struct arena *arena, const char *key, const struct str *parts, size_t count,
                 struct str given);

/* Is a signed time, in decimal seconds, at most LIMIT_SIGNATURE_AGE_S from now? Otherwise
 * ERR_FORBIDDEN with the reason. */
int form_fresh(struct str seconds, int64_t now_ms, struct err *err);
