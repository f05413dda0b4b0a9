#include "cli/lib/cell.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static const char *const red[] = { "failed", "refused", "revoked", "suspended", "error", NULL };
static const char *const yellow[] = { "held", "unknown", "disabled", "suppressed", "expired", "cancelled", NULL };

static struct str local_time(struct arena *arena, struct str text, enum cell_time form)
{
    time_t seconds, now_seconds = (time_t)(clock_ms() / 1000);
    struct tm parts, now;
    char out[32];
    size_t length;
    int64_t ms;

    if (text.len < 20 || text.data[4] != '-' || text.data[10] != 'T' || !clock_parse(text, &ms, NULL))
        return (struct str){ 0 };
    seconds = (time_t)(ms / 1000);
    if (!localtime_r(&seconds, &parts) || !localtime_r(&now_seconds, &now))
        return (struct str){ 0 };
    if (form == CELL_TIME_LONG)
        length = strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &parts);
    else if (parts.tm_year != now.tm_year)
        length = strftime(out, sizeof out, "%Y-%m-%d", &parts);
    else if (parts.tm_yday != now.tm_yday)
        length = strftime(out, sizeof out, "%b %d %H:%M", &parts);
    else
        length = strftime(out, sizeof out, "%H:%M:%S", &parts);
    return length ? str_c(arena_strdup(arena, out)) : (struct str){ 0 };
}

/* An object inside a list is shown as what people call it. */
static const struct json *called(const struct json *value)
{
    const struct json *name = json_get(value, "name");

    if (json_kind(value) != JSON_KIND_OBJECT)
        return value;
    return name ? name : json_get(value, "id") ? json_get(value, "id") : value;
}

static struct str joined(struct arena *arena, const struct json *list, enum cell_time time)
{
    struct str copy;
    struct buf text;

    buf_init(&text, LIMIT_ANSWER_BYTES);
    for (size_t i = 0; i < json_count(list); i++) {
        buf_puts(&text, i ? "," : "");
        buf_str(&text, cell_text(arena, called(json_item(list, i)), time));
    }
    copy = (struct str){ arena_copy(arena, text.data ? text.data : "", text.len), text.len };
    buf_fini(&text);
    return copy;
}

static struct str shown(struct arena *arena, const struct json *value, enum cell_time time, bool one_line)
{
    struct buf text;
    struct str copy;

    switch (json_kind(value)) {
    case JSON_KIND_NULL:
        return STR("");
    case JSON_KIND_STRING:
        copy = time == CELL_TIME_RAW ? (struct str){ 0 } : local_time(arena, json_text(value), time);
        return copy.data ? copy : str_c(str_printable(arena, json_text(value), one_line));
    case JSON_KIND_BOOL:
        return json_bool(value, false) ? STR("yes") : STR("no");
    default:
        break;
    }
    if (json_kind(value) == JSON_KIND_ARRAY)
        return joined(arena, value, time);
    buf_init(&text, LIMIT_ANSWER_BYTES);
    json_dump(&text, value);
    copy = str_c(str_printable(arena, buf_slice(&text), true));
    buf_fini(&text);
    return copy;
}

struct str cell_text(struct arena *arena, const struct json *value, enum cell_time time)
{
    return shown(arena, value, time, true);
}

struct str cell_lines(struct arena *arena, const struct json *value, enum cell_time time)
{
    struct str rest = shown(arena, value, time, false), part, copy;
    struct buf text;

    buf_init(&text, 4 * LIMIT_ANSWER_BYTES);
    while (str_split(&rest, '\t', &part)) {
        buf_str(&text, part);
        buf_puts(&text, rest.data ? "    " : "");
    }
    copy = (struct str){ arena_copy(arena, text.data ? text.data : "", text.len), text.len };
    buf_fini(&text);
    return copy;
}

/* C1 controls and DEL, and what turns the direction of writing: not escaped by JSON itself. */
static bool is_control(uint32_t point)
{
    return (point >= 0x7f && point <= 0x9f) || point == 0x061c || point == 0x200e || point == 0x200f
        || (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

void cell_put_json(struct str json)
{
    const unsigned char *at = (const unsigned char *)json.data, *end = at + json.len;

    while (at < end) {
        size_t size = *at < 0x80 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
        uint32_t point = *at;

        if (size > (size_t)(end - at))
            size = (size_t)(end - at);
        if (size == 2)
            point = (point & 0x1f) << 6 | (at[1] & 0x3f);
        else if (size == 3)
            point = (point & 0x0f) << 12 | (uint32_t)(at[1] & 0x3f) << 6 | (at[2] & 0x3f);
        if (size < 4 && is_control(point))
            printf("\\u%04x", (unsigned)point);
        else
            fwrite(at, 1, size, stdout);
        at += size;
    }
}

bool cell_is_empty(const struct json *value)
{
    switch (json_kind(value)) {
    case JSON_KIND_NULL:
        return true;
    case JSON_KIND_STRING:
        return json_text(value).len == 0;
    case JSON_KIND_ARRAY:
    case JSON_KIND_OBJECT:
        return json_count(value) == 0;
    default:
        return false;
    }
}

static bool is_one_of(struct str word, const char *const *words)
{
    while (*words && !str_is(word, *words))
        words++;
    return *words;
}

const char *cell_style(struct str word)
{
    if (is_one_of(word, red))
        return "31";
    return is_one_of(word, yellow) ? "33" : NULL;
}
