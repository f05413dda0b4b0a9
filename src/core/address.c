#include "core/address.h"

#include "base/arena.h"
#include "core/channel.h"
#include "core/country.h"

#include <stdlib.h>
#include <string.h>

#define LONGEST 15          /* digits of an E.164 number */
#define SHORTEST 7
#define WITHOUT_TRUNK 9 /* fewer digits without a trunk prefix are not taken for a whole number */
#define DIGITS_MAX 32   /* more digits are no phone number */

/* A number in the making: its digits, and whether it said '+'. */
struct digits {
    char text[DIGITS_MAX + 1];
    size_t count;
    bool plus;
};

/* ASCII digit of a digit in the scripts that phones show numbers in, or -1. */
static int digit_of(uint32_t point)
{
    static const uint32_t zeros[] = { '0', 0x660, 0x6f0, 0x966, 0x9e6, 0xff10 };

    for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++)
        if (point >= zeros[i] && point < zeros[i] + 10)
            return (int)(point - zeros[i]);
    return -1;
}

/* What people put between digits: brackets, dots, dashes, spaces, and the invisible marks of copied
 * numbers. */
static bool is_separator(uint32_t point)
{
    return (point < 0x80 && point > 0 && strchr(" \t-.()/", (int)point)) || point == 0xa0
        || point == 0xad || (point >= 0x2000 && point <= 0x2015)
        || (point >= 0x2028 && point <= 0x202f) || point == 0x2060 || point == 0x2212
        || (point >= 0x2066 && point <= 0x2069) || point == 0x3000 || point == 0xfeff
        || point == 0xff08 || point == 0xff09 || point == 0xff0d || point == 0xff0e;
}

/* The next code point of valid UTF-8. */
static uint32_t next_point(struct str s, size_t *at)
{
    unsigned char first = (unsigned char)s.data[(*at)++];
    uint32_t point = first < 0x80 ? first
        : first < 0xe0            ? first & 0x1f
        : first < 0xf0            ? first & 0x0f
                                  : first & 0x07;

    while (*at < s.len && ((unsigned char)s.data[*at] & 0xc0) == 0x80)
        point = point << 6 | ((unsigned char)s.data[(*at)++] & 0x3f);
    return point;
}

/* False: not a number at all. */
static bool read_digits(struct str given, struct digits *out)
{
    *out = (struct digits){ .count = 0 };
    for (size_t at = 0; at < given.len;) {
        uint32_t point = next_point(given, &at);
        int digit = digit_of(point);

        if (digit >= 0) {
            if (out->count == DIGITS_MAX)
                return false;
            out->text[out->count++] = (char)('0' + digit);
        } else if ((point == '+' || point == 0xff0b) && !out->plus && out->count == 0) {
            out->plus = true;
        } else if (!is_separator(point)) {
            return false;
        }
    }
    return out->count > 0;
}

static bool starts(const char *digits, const char *prefix)
{
    return prefix && *prefix && strncmp(digits, prefix, strlen(prefix)) == 0;
}

/* Argentina writes a mobile as area code, 15, number; abroad it is 9, area code, number. */
static bool argentine_mobile(const char *national, char out[DIGITS_MAX + 1])
{
    size_t area = starts(national, "11") ? 2 : strncmp(national + 3, "15", 2) == 0 ? 3 : 4;

    if (strlen(national) != 12 || strncmp(national + area, "15", 2) != 0)
        return false;
    out[0] = '9';
    memcpy(out + 1, national, area);
    memcpy(out + 1 + area, national + area + 2, 12 - area - 2 + 1);
    return true;
}

/* What follows the country code, as other countries dial it. */
static void clean_national(const struct country *country, const char *given,
                           char out[DIGITS_MAX + 1])
{
    /* no number begins with the trunk prefix 0 behind its country code, save where the 0 is part of
     * the number */
    while (country->trunk && strcmp(country->trunk, "0") == 0 && *given == '0'
           && !country->keeps_trunk)
        given++;
    if (strcmp(country->region, "AR") == 0 && argentine_mobile(given, out))
        return;
    if (strcmp(country->region, "MX") == 0 && *given == '1' && strlen(given) == 11)
        given++;        /* the mobile mark that Mexico gave up in 2019 */
    memcpy(out, given, strlen(given) + 1);
}

static struct str complete(struct arena *arena, const char *code, const char *national)
{
    size_t count = strlen(code) + strlen(national);

    if (count < SHORTEST || count > LONGEST)
        return (struct str){ 0 };
    return str_c(arena_printf(arena, "+%s%s", code, national));
}

/* Digits that begin with a country code. */
static struct str international(struct arena *arena, const char *digits)
{
    const struct country *country = country_of_number(digits);
    char national[DIGITS_MAX + 1];

    if (!country)
        return *digits == '0' ? (struct str){ 0 } : complete(arena, "", digits);
    clean_national(country, digits + strlen(country->code), national);
    return complete(arena, country->code, national);
}

static bool fits(const struct country *country, const char *national)
{
    size_t count = strlen(national);

    return count >= country->shortest && count <= country->longest;
}

static struct str with_code(struct arena *arena, const struct country *country,
                            const char *national)
{
    char out[DIGITS_MAX + 1];

    clean_national(country, national, out);
    return fits(country, out) ? complete(arena, country->code, out) : (struct str){ 0 };
}

/* Digits as they are dialled inside the country. */
static struct str domestic(struct arena *arena, const struct country *country, const char *digits)
{
    bool has_trunk = country->trunk && !country->keeps_trunk;
    struct str out = { 0 };

    if (has_trunk && starts(digits, country->trunk))
        out = with_code(arena, country, digits + strlen(country->trunk));
    /* without its trunk prefix it is rather a number whose '+' was lost, or a local one that misses
     * its area code */
    if (!out.data && has_trunk && starts(digits, country->code))
        out = with_code(arena, country, digits + strlen(country->code));
    if (!out.data && (!has_trunk || strlen(digits) >= WITHOUT_TRUNK))
        out = with_code(arena, country, digits);
    if (!out.data && !has_trunk && starts(digits, country->code))
        out = with_code(arena, country, digits + strlen(country->code));
    return out;
}

struct str address_phone(struct arena *arena, struct str given, const char *region)
{
    const struct country *country = country_find(region);
    struct digits digits;
    struct str out = { 0 };
    const char *idd;

    given = str_trim(str_nfc(arena, given));
    if (memchr(given.data ? given.data : "", '@', given.len))
        return address_other(arena, given);
    if (!given.data || !read_digits(given, &digits))
        return given;
    idd = country ? country->dial_out : "00";
    if (digits.plus)
        out = international(arena, digits.text);
    else if (starts(digits.text, idd) && digits.count > strlen(idd) + SHORTEST - 1)
        out = international(arena, digits.text + strlen(idd));
    if (!out.data && !digits.plus && country)
        out = domestic(arena, country, digits.text);
    return out.data ? out : str_c(arena_printf(arena, "%s%s", digits.plus ? "+" : "", digits.text));
}

struct str address_other(struct arena *arena, struct str given)
{
    struct str out = str_trim(str_nfc(arena, given));
    const char *at = out.data ? memchr(out.data, '@', out.len) : NULL;
    char *lower;

    if (!at || at == out.data || at == out.data + out.len - 1)
        return out;
    lower = arena_copy(arena, out.data, out.len);
    for (size_t i = 0; i < out.len; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z')
            lower[i] = (char)(lower[i] + 32);
    return (struct str){ lower, out.len };
}

bool address_is_phone(struct str address)
{
    if (address.len < SHORTEST + 1 || address.len > LONGEST + 1 || address.data[0] != '+'
        || address.data[1] == '0')
        return false;
    for (size_t i = 1; i < address.len; i++)
        if (address.data[i] < '0' || address.data[i] > '9')
            return false;
    return true;
}

struct str channel_address(struct arena *arena, const struct channel *channel, struct str given)
{
    return channel->driver->can & CHANNEL_PHONE_ADDRESS
        ? address_phone(arena, given, channel->region)
        : address_other(arena, given);
}
