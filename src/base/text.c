/* The parts of str.h that need Unicode's tables. */
#include "base/arena.h"
#include "base/str.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#define REPLACEMENT 0xfffd

/* The code point at `*at`, which moves behind it; REPLACEMENT for one invalid byte, with `*valid`
 * false. */
static int32_t next_point(struct str s, size_t *at, bool *valid)
{
    utf8proc_int32_t point;
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)s.data + *at,
                                             (utf8proc_ssize_t)(s.len - *at), &point);

    *valid = size > 0;
    *at += size > 0 ? (size_t)size : 1;
    return size > 0 ? point : REPLACEMENT;
}

static bool is_bidi(int32_t point)
{
    return point == 0x061c || point == 0x200e || point == 0x200f
        || (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

static bool must_escape(int32_t point, bool one_line)
{
    if (point == '\n' || point == '\t')
        return one_line;
    if (point < 0x20 || (point >= 0x7f && point <= 0x9f) || is_bidi(point))
        return true;
    return one_line && (point == 0x2028 || point == 0x2029);
}

const char *str_printable(struct arena *arena, struct str s, bool one_line)
{
    /* one escape is at most six bytes and stands for at least one */
    char *out = arena_alloc(arena, s.len * 6 + 1), *end = out;

    for (size_t at = 0; at < s.len;) {
        size_t start = at;
        bool valid;
        int32_t point = next_point(s, &at, &valid);

        if (!valid) {
            end += snprintf(end, 7, "\\x%02x", (unsigned char)s.data[start]);
        } else if (must_escape(point, one_line)) {
            end += snprintf(end, 7, point < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)point);
        } else {
            memcpy(end, s.data + start, at - start);
            end += at - start;
        }
    }
    *end = '\0';
    return out;
}

/* `s` itself when valid, otherwise a copy without NUL and with U+FFFD for each invalid byte. */
static struct str clean(struct arena *arena, struct str s)
{
    size_t len = 0;
    char *out;

    if (str_utf8_valid(s))
        return s;
    out = arena_alloc(arena, s.len * 3 + 1);
    for (size_t at = 0; at < s.len;) {
        size_t start = at;
        bool valid;
        int32_t point = next_point(s, &at, &valid);

        if (!valid) {
            memcpy(out + len, "\xef\xbf\xbd", 3);
            len += 3;
        } else if (point != 0) {
            memcpy(out + len, s.data + start, at - start);
            len += at - start;
        }
    }
    return (struct str){ out, len };
}

/* Decomposed code points of valid UTF-8, with room for utf8proc_reencode, which works in place. */
static int32_t *decompose(struct arena *arena, struct str s, utf8proc_option_t options,
                          size_t *count)
{
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)s.data;
    utf8proc_ssize_t needed = utf8proc_decompose(bytes, (utf8proc_ssize_t)s.len, NULL, 0, options);
    int32_t *points;

    assert(needed >= 0);
    points = arena_array(arena, (size_t)needed + 1, sizeof *points);
    needed = utf8proc_decompose(bytes, (utf8proc_ssize_t)s.len, points, needed, options);
    assert(needed >= 0);
    *count = (size_t)needed;
    return points;
}

static struct str compose(int32_t *points, size_t count)
{
    utf8proc_ssize_t len = utf8proc_reencode(points, (utf8proc_ssize_t)count,
                                             UTF8PROC_STABLE | UTF8PROC_COMPOSE);

    assert(len >= 0);
    return (struct str){ (const char *)points, (size_t)len };
}

static bool is_white(int32_t point)
{
    utf8proc_category_t category = utf8proc_category(point);

    return (point >= '\t' && point <= '\r') || point == 0x85 || category == UTF8PROC_CATEGORY_ZS
        || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/* What is stripped at both ends: white space, controls, punctuation, and accents used as quotes. */
static bool is_edge(int32_t point)
{
    utf8proc_category_t category = utf8proc_category(point);

    return is_white(point) || category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_SK
        || (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO);
}

static bool is_mark(int32_t point)
{
    return utf8proc_category(point) == UTF8PROC_CATEGORY_MN;
}

/* Strip the edges and collapse white space in place; the new count. A mark without a letter before
 * it (the acute accent decomposes into a space and a mark) belongs to the edge. */
static size_t squeeze(int32_t *points, size_t count)
{
    size_t first = 0, kept = 0;

    while (first < count && (is_edge(points[first]) || is_mark(points[first])))
        first++;
    while (count > first) {
        size_t base = count - 1;

        while (base > first && is_mark(points[base]))
            base--;
        if (!is_edge(points[base]))
            break;
        count = base;
    }
    for (size_t at = first; at < count; at++) {
        if (!is_white(points[at]))
            points[kept++] = points[at];
        else if (kept > 0 && points[kept - 1] != ' ')
            points[kept++] = ' ';
    }
    return kept;
}

struct str str_fold(struct arena *arena, struct str s)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE
        | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
    size_t count;
    int32_t *points;

    if (!s.data)
        return s;
    points = decompose(arena, clean(arena, s), options, &count);
    return compose(points, squeeze(points, count));
}

struct str str_nfc(struct arena *arena, struct str s)
{
    bool composed = true;
    size_t count;
    int32_t *points;

    if (!s.data)
        return s;
    s = clean(arena, s);
    /* nothing below U+0300 composes or decomposes in NFC, and that is most text */
    for (size_t at = 0; at < s.len && composed; at++)
        composed = (unsigned char)s.data[at] < 0xcc;
    if (composed)
        return (struct str){ arena_copy(arena, s.data, s.len), s.len };
    points = decompose(arena, s, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &count);
    return compose(points, count);
}

size_t str_cut(struct str s, size_t max_units, bool utf16)
{
    size_t units = 0, boundary = 0, spaced = 0;
    utf8proc_int32_t state = 0;
    int32_t previous = 0;

    for (size_t at = 0; at < s.len;) {
        size_t start = at;
        bool valid;
        int32_t point = next_point(s, &at, &valid);

        if (start > 0 && utf8proc_grapheme_break_stateful(previous, point, &state)) {
            boundary = start;
            if (is_white(previous) && units > max_units - max_units / 3)
                spaced = start;
        }
        units += utf16 && point > 0xffff ? 2 : 1;
        /* the first grapheme is taken whole, however long */
        if (units > max_units && boundary > 0)
            return spaced ? spaced : boundary;
        previous = point;
    }
    return s.len;
}
