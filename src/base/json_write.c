/* The writer half of json.h: every answer goes through it, so text is copied in runs between the
 * bytes to escape. */
#include "base/clock.h"
#include "base/json.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct json_writer json_writer(struct buf *out)
{
    return (struct json_writer){ out, false };
}

static void separate(struct json_writer *w)
{
    if (w->comma)
        buf_putc(w->out, ',');
    w->comma = true;
}

void json_object_begin(struct json_writer *w)
{
    separate(w);
    buf_putc(w->out, '{');
    w->comma = false;
}

void json_object_end(struct json_writer *w)
{
    buf_putc(w->out, '}');
    w->comma = true;
}

void json_array_begin(struct json_writer *w)
{
    separate(w);
    buf_putc(w->out, '[');
    w->comma = false;
}

void json_array_end(struct json_writer *w)
{
    buf_putc(w->out, ']');
    w->comma = true;
}

void json_key(struct json_writer *w, const char *key)
{
    size_t len = strlen(key);
    char *room = buf_room(w->out, len + 4), *at = room;

    if (!room)
        return;
    if (w->comma)
        *at++ = ',';
    *at++ = '"';
    memcpy(at, key, len);
    at += len;
    *at++ = '"';
    *at++ = ':';
    buf_added(w->out, (size_t)(at - room));
    w->comma = false;
}

/* Bytes before the first that needs an escape, eight at a time while there are eight. */
static size_t plain_run(const char *data, size_t len)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    size_t at = 0;

    for (; len - at >= 8; at += 8) {
        uint64_t word, quote, slash;

        memcpy(&word, data + at, sizeof word);
        quote = word ^ (ones * '"');
        slash = word ^ (ones * '\\');
        /* a byte below 0x20, or equal to one of the two, leaves its high bit set */
        if ((((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash))
            & high)
            break;
    }
    while (at < len && (unsigned char)data[at] >= 0x20 && data[at] != '"' && data[at] != '\\')
        at++;
    return at;
}

static void add_escape(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    char escape[6] = { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] };

    switch (c) {
    case '"': case '\\': escape[1] = (char)c; break;
    case '\b': escape[1] = 'b'; break;
    case '\f': escape[1] = 'f'; break;
    case '\n': escape[1] = 'n'; break;
    case '\r': escape[1] = 'r'; break;
    case '\t': escape[1] = 't'; break;
    }
    buf_add(out, escape, escape[1] == 'u' ? sizeof escape : 2);
}

static void add_quoted(struct buf *out, struct str text)
{
    buf_putc(out, '"');
    while (text.len > 0 && !out->overflow) {
        size_t run = plain_run(text.data, text.len);

        if (run > 0)
            buf_add(out, text.data, run);
        if (run < text.len)
            add_escape(out, (unsigned char)text.data[run++]);
        text.data += run;
        text.len -= run;
    }
    buf_putc(out, '"');
}

void json_put_text(struct json_writer *w, struct str text)
{
    if (!text.data) {
        json_put_null(w);
        return;
    }
    separate(w);
    add_quoted(w->out, text);
}

void json_put_int(struct json_writer *w, int64_t number)
{
    separate(w);
    buf_int(w->out, number);
}

void json_put_real(struct json_writer *w, double number)
{
    char text[40];
    int len = 0;
    char point = *localeconv()->decimal_point;

    if (!isfinite(number)) {
        json_put_null(w);
        return;
    }
    /* the shortest that reads back as the same number */
    for (int precision = 15; precision <= 17; precision++) {
        len = snprintf(text, sizeof text, "%.*g", precision, number);
        if (strtod(text, NULL) == number)
            break;
    }
    assert(len > 0 && (size_t)len < sizeof text - 2);
    for (int at = 0; at < len && point != '.'; at++)
        if (text[at] == point)
            text[at] = '.';
    if (!strpbrk(text, ".e"))
        memcpy(text + len, ".0", sizeof ".0");      /* a real stays a real when it is read again */
    separate(w);
    buf_puts(w->out, text);
}

void json_put_bool(struct json_writer *w, bool flag)
{
    separate(w);
    buf_puts(w->out, flag ? "true" : "false");
}

void json_put_null(struct json_writer *w)
{
    separate(w);
    buf_puts(w->out, "null");
}

void json_put_raw(struct json_writer *w, struct str json)
{
    if (!json.data) {
        json_put_null(w);
        return;
    }
    separate(w);
    buf_str(w->out, json);
}

void json_text_at(struct json_writer *w, const char *key, struct str text)
{
    json_key(w, key);
    json_put_text(w, text);
}

void json_cstr_at(struct json_writer *w, const char *key, const char *text)
{
    json_text_at(w, key, str_c(text));
}

void json_int_at(struct json_writer *w, const char *key, int64_t number)
{
    json_key(w, key);
    json_put_int(w, number);
}

void json_bool_at(struct json_writer *w, const char *key, bool flag)
{
    json_key(w, key);
    json_put_bool(w, flag);
}

void json_time_at(struct json_writer *w, const char *key, int64_t ms)
{
    char text[CLOCK_ISO_BYTES];

    json_key(w, key);
    if (ms == 0)
        json_put_null(w);
    else
        json_put_text(w, (struct str){ clock_iso_into(text, ms), CLOCK_ISO_BYTES - 1 });
}

static void put_value(struct json_writer *w, const struct json *value);

static void put_members(struct json_writer *w, const struct json *object)
{
    const struct json *member;
    void *position = NULL;
    const char *key;

    json_object_begin(w);
    while (json_next(object, &position, &key, &member)) {
        json_put_text(w, str_c(key));       /* not json_key: these keys come from outside */
        buf_putc(w->out, ':');
        w->comma = false;
        put_value(w, member);
    }
    json_object_end(w);
}

static void put_value(struct json_writer *w, const struct json *value)
{
    switch (json_kind(value)) {
    case JSON_KIND_NULL: json_put_null(w); break;
    case JSON_KIND_BOOL: json_put_bool(w, json_bool(value, false)); break;
    case JSON_KIND_INT: json_put_int(w, json_int(value, 0)); break;
    case JSON_KIND_REAL: json_put_real(w, json_number(value, 0)); break;
    case JSON_KIND_STRING: json_put_text(w, json_text(value)); break;
    case JSON_KIND_ARRAY:
        json_array_begin(w);
        for (size_t at = 0; at < json_count(value); at++)
            put_value(w, json_item(value, at));
        json_array_end(w);
        break;
    case JSON_KIND_OBJECT: put_members(w, value); break;
    }
}

void json_dump(struct buf *out, const struct json *value)
{
    struct json_writer w = json_writer(out);

    put_value(&w, value);       /* no deeper than LIMIT_JSON_DEPTH: json_parse saw to that */
}
