#include "net/http.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define RESPONSE_HEADERS (sizeof ((struct http_response *)0)->headers / sizeof (struct http_header))
#define PROBLEM_BYTES (8 * 1024)    /* detail, hint and field, every byte escaped */

static const char *const methods[HTTP_METHODS] = {
    [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT",
    [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
};

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 304, "Not Modified" },
    { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
    { 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 408, "Request Timeout" }, { 409, "Conflict" },
    { 410, "Gone" }, { 411, "Length Required" }, { 412, "Precondition Failed" }, { 413, "Content Too Large" },
    { 414, "URI Too Long" }, { 415, "Unsupported Media Type" }, { 417, "Expectation Failed" },
    { 421, "Misdirected Request" }, { 422, "Unprocessable Content" }, { 426, "Upgrade Required" },
    { 428, "Precondition Required" }, { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" },
    { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" }, { 507, "Insufficient Storage" },
};

struct str http_header(const struct http_request *request, const char *name)
{
    struct str wanted = str_c(name);

    for (size_t i = 0; i < request->header_count; i++)
        if (str_eq_nocase(request->headers[i].name, wanted))
            return request->headers[i].value;
    return (struct str){ 0 };
}

struct str http_query(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->query_count; i++)
        if (str_is(request->query[i].name, name))
            return request->query[i].value;
    return (struct str){ 0 };
}

const char *http_method_name(enum http_method method)
{
    return method < HTTP_METHODS ? methods[method] : "";
}

enum http_method http_method_find(struct str name)
{
    for (int method = 0; method < HTTP_METHODS; method++)
        if (str_is(name, methods[method]))
            return (enum http_method)method;
    return HTTP_METHODS;
}

void http_respond_header(struct http_response *response, struct arena *arena, const char *name, const char *value)
{
    char *copy = arena_strdup(arena, value);

    assert(response->header_count < RESPONSE_HEADERS);
    assert(copy);
    /* A line break in a value would let its author write headers of their own. */
    for (char *at = copy; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    response->headers[response->header_count++] =
        (struct http_header){ str_c(arena_strdup(arena, name)), str_c(copy) };
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool http_decode(struct arena *arena, struct str text, bool plus_is_space, struct str *out)
{
    bool encoded = false;
    char *copy;
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\0')
            return false;
        encoded |= text.data[i] == '%' || (plus_is_space && text.data[i] == '+');
    }
    if (!encoded) {
        *out = (struct str){ text.data ? text.data : "", text.len };
        return true;
    }
    copy = arena_copy(arena, text.data, text.len);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 1 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;

            if (high < 0 || low < 0 || (high | low) == 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        copy[len++] = c;
    }
    copy[len] = '\0';
    *out = (struct str){ copy, len };
    return true;
}

const char *http_encode(struct arena *arena, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *encoded = arena_array(arena, text.len + 1, 3);
    char *at = encoded;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
            c == '.' || c == '_' || c == '~') {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = digits[c >> 4];
            *at++ = digits[c & 15];
        }
    }
    *at = '\0';
    return encoded;
}

bool http_form(struct arena *arena, struct str text, struct http_header **pairs, size_t *count)
{
    struct str rest = text, part;
    size_t found = 0;

    *pairs = NULL;
    *count = 0;
    while (str_split(&rest, '&', &part))
        found += part.len > 0;
    if (found > LIMIT_HEADER_COUNT)
        return false;
    if (found == 0)
        return true;
    *pairs = arena_array(arena, found, sizeof **pairs);
    rest = text;
    while (str_split(&rest, '&', &part)) {
        struct http_header *pair = &(*pairs)[*count];
        struct str name, value = part;

        if (part.len == 0)
            continue;
        str_split(&value, '=', &name);
        if (!http_decode(arena, name, true, &pair->name) || !http_decode(arena, value, true, &pair->value))
            return false;
        ++*count;
    }
    return true;
}

const char *http_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

void http_problem(struct http_response *response, struct arena *arena, const struct err *err,
                  const char *request_id)
{
    int status = response->status >= 400 ? response->status : err_status(err->code);
    struct json_writer json;

    buf_fini(&response->body);
    memset(response, 0, sizeof *response);
    response->status = status;
    response->content_type = "application/problem+json";
    buf_init(&response->body, PROBLEM_BYTES);
    json = json_writer(&response->body);
    json_object_begin(&json);
    json_cstr_at(&json, "title", http_reason(status));
    json_int_at(&json, "status", status);
    json_cstr_at(&json, "code", err_word(err->code));
    /* Details are cut to fit and may carry a piece of the input. */
    json_text_at(&json, "detail", str_nfc(arena, str_c(err->detail)));
    if (err->hint[0])
        json_text_at(&json, "hint", str_nfc(arena, str_c(err->hint)));
    if (err->field[0])
        json_text_at(&json, "field", str_nfc(arena, str_c(err->field)));
    if (request_id && request_id[0])
        json_cstr_at(&json, "request_id", request_id);
    json_object_end(&json);
    http_respond_header(response, arena, "Cache-Control", "no-store");
    if (status == 429 || status == 503)
        http_respond_header(response, arena, "Retry-After",
                            arena_printf(arena, "%d", err->retry_after_s > 0 ? err->retry_after_s : 1));
}
