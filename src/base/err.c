#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* CLI exit codes: 1 failed, 2 usage, 3 authentication, 4 not found, 5 rate-limited (6 partial is
 * set by commands). */
static const struct {
    const char *word;
    int status;
    int exit;
} codes[ERR_CODES] = {
    [ERR_NONE] = { "ok", 200, 0 },
    [ERR_INVALID] = { "invalid", 422, 2 },
    [ERR_MALFORMED] = { "malformed", 400, 2 },
    [ERR_UNAUTHENTICATED] = { "unauthenticated", 401, 3 },
    [ERR_FORBIDDEN] = { "forbidden", 403, 3 },
    [ERR_NOT_FOUND] = { "not_found", 404, 4 },
    [ERR_METHOD] = { "method_not_allowed", 405, 2 },
    [ERR_CONFLICT] = { "conflict", 409, 1 },
    [ERR_GONE] = { "resync", 410, 1 },
    [ERR_TOO_LARGE] = { "too_large", 413, 2 },
    [ERR_MEDIA_TYPE] = { "media_type", 415, 2 },
    [ERR_KEY_REUSED] = { "idempotency_key_reused", 422, 2 },
    [ERR_RATE_LIMITED] = { "rate_limited", 429, 5 },
    [ERR_UNAVAILABLE] = { "unavailable", 503, 1 },
    [ERR_STORAGE_FULL] = { "storage_full", 507, 1 },
    [ERR_TIMEOUT] = { "timeout", 504, 1 },
    [ERR_INTERNAL] = { "internal", 503, 1 },
};

/* Drop the character that the end of the room cut in two: these texts go into JSON. */
static void drop_half(char *text, size_t room, int wanted)
{
    size_t len = room - 1, start = len;
    unsigned char lead;

    if (wanted < 0 || (size_t)wanted < room)
        return;
    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    lead = (unsigned char)text[--start];
    if (lead >= 0xc0 && len - start < (lead < 0xe0 ? 2u : lead < 0xf0 ? 3u : 4u))
        text[start] = '\0';
}

static void print(char *text, size_t room, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

static void print(char *text, size_t room, const char *format, va_list args)
{
    drop_half(text, room, vsnprintf(text, room, format, args));
}

int err_set(struct err *err, enum err_code code, const char *format, ...)
{
    va_list args;

    if (!err)
        return -1;
    memset(err, 0, sizeof *err);
    err->code = code;
    va_start(args, format);
    print(err->detail, sizeof err->detail, format, args);
    va_end(args);
    return -1;
}

int err_hint(struct err *err, const char *format, ...)
{
    va_list args;

    if (!err)
        return -1;
    va_start(args, format);
    print(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return -1;
}

int err_field(struct err *err, const char *field, const char *format, ...)
{
    va_list args;

    if (!err)
        return -1;
    memset(err, 0, sizeof *err);
    err->code = ERR_INVALID;
    drop_half(err->field, sizeof err->field, snprintf(err->field, sizeof err->field, "%s", field));
    va_start(args, format);
    print(err->detail, sizeof err->detail, format, args);
    va_end(args);
    return -1;
}

void err_clear(struct err *err)
{
    if (err)
        memset(err, 0, sizeof *err);
}

const char *err_word(enum err_code code)
{
    return code < ERR_CODES ? codes[code].word : "internal";
}

int err_status(enum err_code code)
{
    return code < ERR_CODES ? codes[code].status : 503;
}

int err_exit(enum err_code code)
{
    return code < ERR_CODES ? codes[code].exit : 1;
}
