#include "base/json_scan.h"

#include "base/arena.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

struct scan {
    struct str text;
    size_t at;
    size_t values;
    size_t depth;
    size_t keys[LIMIT_JSON_DEPTH + 1];      /* of the object open at each depth */
    struct arena *repair;
    char *out;          /* the repaired copy so far, NULL while nothing had to be rewritten */
    size_t out_len;
    size_t copied;      /* bytes of `text` already in `out` or replaced there */
    struct err *err;
};

/* Lines and columns count from 1, columns in characters. */
static int fail(const struct scan *scan, enum err_code code, size_t at, const char *what)
{
    size_t line = 1, start = 0;

    for (size_t byte = 0; byte < at; byte++) {
        if (scan->text.data[byte] == '\n') {
            line++;
            start = byte + 1;
        }
    }
    return err_set(scan->err, code, "%s at line %zu, column %zu.", what, line,
                   str_utf8_length((struct str){ scan->text.data + start, at - start }) + 1);
}

static int fail_limit(const struct scan *scan, size_t at, const char *what, int limit)
{
    char text[128];

    snprintf(text, sizeof text, "%s (the limit is %d)", what, limit);
    return fail(scan, ERR_TOO_LARGE, at, text);
}

/* Put `with` in the place of `[from, to)`. No replacement is longer than what it replaces, but for
 * the two bytes behind a too large integer, which is at least 19 bytes long. */
static void replace(struct scan *scan, size_t from, size_t to, const char *with)
{
    size_t len = strlen(with);

    if (!scan->out)
        scan->out = arena_alloc(scan->repair, scan->text.len + scan->text.len / 8 + 16);
    memcpy(scan->out + scan->out_len, scan->text.data + scan->copied, from - scan->copied);
    scan->out_len += from - scan->copied;
    memcpy(scan->out + scan->out_len, with, len);
    scan->out_len += len;
    scan->copied = to;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four hex digits of a \u escape at `at`, or -1. */
static int unit_at(const struct scan *scan, size_t at)
{
    int unit = 0;

    if (at + 6 > scan->text.len || scan->text.data[at] != '\\' || scan->text.data[at + 1] != 'u')
        return -1;
    for (size_t digit = at + 2; digit < at + 6; digit++) {
        int value = hex_value(scan->text.data[digit]);

        if (value < 0)
            return -1;
        unit = unit * 16 + value;
    }
    return unit;
}

/* One escape; a broken one is left to the library to name. */
static int scan_escape(struct scan *scan)
{
    size_t at = scan->at;
    int unit = unit_at(scan, at);

    if (unit < 0) {
        scan->at += scan->text.len - at < 2 ? 1 : 2;
        return 0;
    }
    scan->at += 6;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        int low = unit_at(scan, scan->at);

        if (low >= 0xdc00 && low <= 0xdfff) {
            scan->at += 6;
            return 0;
        }
    }
    if (unit >= 0xd800 && unit <= 0xdfff) {
        if (!scan->repair)
            return fail(scan, ERR_MALFORMED, at, "Half of a surrogate pair");
        replace(scan, at, scan->at, "\\ufffd");
    } else if (unit == 0) {
        if (!scan->repair)
            return fail(scan, ERR_MALFORMED, at, "The character NUL is not allowed: \\u0000");
        replace(scan, at, scan->at, "");
    }
    return 0;
}

static int scan_string(struct scan *scan)
{
    const char *data = scan->text.data;

    scan->at++;
    while (scan->at < scan->text.len && data[scan->at] != '"') {
        if (data[scan->at] != '\\')
            scan->at++;
        else if (scan_escape(scan) < 0)
            return -1;
    }
    scan->at++;     /* the closing quote, or behind the end: the library will say so */
    return 0;
}

static bool in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static int scan_number(struct scan *scan)
{
    size_t start = scan->at;
    bool whole = true;
    struct str number;
    int64_t value;

    while (scan->at < scan->text.len && in_number(scan->text.data[scan->at])) {
        char c = scan->text.data[scan->at++];

        whole = whole && c != '.' && c != 'e' && c != 'E';
    }
    number = (struct str){ scan->text.data + start, scan->at - start };
    if (number.len > LIMIT_JSON_NUMBER_CHARS)
        return fail_limit(scan, start, "A number has too many characters", LIMIT_JSON_NUMBER_CHARS);
    /* an integer too large for 64 bits becomes a real */
    if (scan->repair && whole && number.len > 18 && !str_int(number, INT64_MIN, INT64_MAX, &value))
        replace(scan, scan->at, scan->at, "e0");
    return 0;
}

/* One structural byte, string, number or word. */
static int scan_token(struct scan *scan)
{
    char c = scan->text.data[scan->at];

    switch (c) {
    case '{': case '[':
        if (scan->depth == LIMIT_JSON_DEPTH)
            return fail_limit(scan, scan->at, "The document is nested too deep", LIMIT_JSON_DEPTH);
        scan->keys[++scan->depth] = 0;
        scan->values++;
        break;
    case '}': case ']':
        scan->depth -= scan->depth > 0;
        break;
    case ':':
        if (++scan->keys[scan->depth] > LIMIT_JSON_KEYS)
            return fail_limit(scan, scan->at, "An object has too many keys", LIMIT_JSON_KEYS);
        break;
    case '"':
        scan->values++;
        return scan_string(scan);
    case 't': case 'f': case 'n':
        scan->values++;
        while (scan->at + 1 < scan->text.len && scan->text.data[scan->at + 1] >= 'a'
               && scan->text.data[scan->at + 1] <= 'z')
            scan->at++;
        break;
    default:
        if (in_number(c)) {
            scan->values++;
            return scan_number(scan);
        }
    }
    scan->at++;
    return 0;
}

int json_scan(struct str *text, struct arena *repair, struct err *err)
{
    struct scan scan = { .text = *text, .repair = repair, .err = err };
    size_t valid = str_utf8_prefix(*text);

    if (str_trim(*text).len == 0)
        return err_set(err, ERR_MALFORMED, "The JSON document is empty.");
    if (valid < text->len)
        return fail(&scan, ERR_MALFORMED, valid,
                    text->data[valid] == '\0' ? "A NUL byte" : "Bytes that are not UTF-8");
    while (scan.at < text->len) {
        if (scan_token(&scan) < 0)
            return -1;
        if (scan.values > LIMIT_JSON_NODES)
            return fail_limit(&scan, scan.at, "The document has too many keys and values",
                              LIMIT_JSON_NODES);
    }
    if (scan.out) {
        replace(&scan, text->len, text->len, "");
        *text = (struct str){ scan.out, scan.out_len };
    }
    return 0;
}
