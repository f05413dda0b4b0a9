#include "base/str.h"

#include "base/arena.h"

#include <sodium.h>
#include <string.h>

struct str str_c(const char *text)
{
    return (struct str){ text, text ? strlen(text) : 0 };
}

bool str_eq(struct str a, struct str b)
{
    if (!a.data || !b.data)
        return !a.data && !b.data;
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (!a.data || !b.data)
        return !a.data && !b.data;
    if (a.len != b.len)
        return false;
    for (size_t at = 0; at < a.len; at++)
        if (lower(a.data[at]) != lower(b.data[at]))
            return false;
    return true;
}

bool str_is(struct str a, const char *text)
{
    return str_eq(a, str_c(text));
}

bool str_starts(struct str a, const char *prefix)
{
    size_t len = strlen(prefix);

    return a.data && a.len >= len && memcmp(a.data, prefix, len) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_space(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool str_split(struct str *rest, char separator, struct str *part)
{
    const char *found;

    if (!rest->data)
        return false;
    found = rest->len ? memchr(rest->data, separator, rest->len) : NULL;
    if (!found) {
        *part = *rest;
        *rest = (struct str){ 0 };
        return true;
    }
    *part = (struct str){ rest->data, (size_t)(found - rest->data) };
    *rest = (struct str){ found + 1, rest->len - part->len - 1 };
    return true;
}

bool str_int(struct str s, int64_t min, int64_t max, int64_t *value)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    int64_t number = 0;

    if (s.len == (negative ? 1 : 0))
        return false;
    for (size_t at = negative ? 1 : 0; at < s.len; at++) {
        int digit = s.data[at] - '0';

        if (digit < 0 || digit > 9)
            return false;
        if (__builtin_mul_overflow(number, 10, &number)
            || __builtin_add_overflow(number, negative ? -digit : digit, &number))
            return false;
    }
    if (number < min || number > max)
        return false;
    *value = number;
    return true;
}

bool str_eq_secret(struct str a, struct str b)
{
    if (!a.data || !b.data)
        return !a.data && !b.data;
    return a.len == b.len && sodium_memcmp(a.data, b.data, a.len) == 0;
}

/* Bytes of the well-formed sequence at `at` (one byte is left), or 0; Unicode's table 3-7. */
static size_t sequence(const unsigned char *at, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t size;

    if (at[0] < 0x80)
        return at[0] != 0;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    size = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (at[0] == 0xe0)
        low = 0xa0;
    else if (at[0] == 0xed)
        high = 0x9f;
    else if (at[0] == 0xf0)
        low = 0x90;
    else if (at[0] == 0xf4)
        high = 0x8f;
    if (left < size || at[1] < low || at[1] > high)
        return 0;
    for (size_t next = 2; next < size; next++)
        if ((at[next] & 0xc0) != 0x80)
            return 0;
    return size;
}

/* Do the eight bytes hold only ASCII without NUL? */
static bool plain_word(const unsigned char *at)
{
    const uint64_t high = 0x8080808080808080u, ones = 0x0101010101010101u;
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return ((word | (word - ones)) & high) == 0;
}

size_t str_utf8_prefix(struct str s)
{
    const unsigned char *bytes = (const unsigned char *)s.data;
    size_t at = 0;

    while (at < s.len) {
        size_t size;

        if (s.len - at >= 8 && plain_word(bytes + at)) {
            at += 8;
            continue;
        }
        size = sequence(bytes + at, s.len - at);
        if (size == 0)
            return at;
        at += size;
    }
    return at;
}

bool str_utf8_valid(struct str s)
{
    return str_utf8_prefix(s) == s.len;
}

size_t str_utf8_length(struct str s)
{
    size_t length = 0;

    for (size_t at = 0; at < s.len; at++)
        length += ((unsigned char)s.data[at] & 0xc0) != 0x80;
    return length;
}

size_t str_utf16_length(struct str s)
{
    size_t length = 0;

    for (size_t at = 0; at < s.len; at++)
        length +=
            (((unsigned char)s.data[at] & 0xc0) != 0x80) + ((unsigned char)s.data[at] >= 0xf0);
    return length;
}

char *str_dup(struct arena *arena, struct str s)
{
    return s.data ? arena_copy(arena, s.data, s.len) : NULL;
}
