#include "core/split.h"

#include "base/arena.h"
#include "base/limits.h"
#include "core/channel.h"

#include <stdint.h>

#define GSM_SINGLE 160
#define GSM_JOINED 153              /* with a header that says which part it is */
#define UCS_SINGLE 70
#define UCS_JOINED 67

bool split_next(const struct channel_driver *driver, struct str *rest, struct str *part)
{
    size_t cut;

    if (!rest->data)
        return false;
    cut = driver->text_max
              ? str_cut(*rest, driver->text_max, (driver->can & CHANNEL_CAN_UTF16) != 0)
              : rest->len;
    *part = (struct str){ rest->data, cut };
    if (cut < rest->len)
        *rest = (struct str){ rest->data + cut, rest->len - cut };
    else
        *rest = (struct str){ 0 };
    return true;
}

int split_count(const struct channel_driver *driver, struct str text)
{
    struct str rest = text.data ? text : STR(""), part;
    int count = 0;

    while (split_next(driver, &rest, &part))
        count++;
    return count;
}

struct str split_part(const struct channel_driver *driver, struct str text, int index)
{
    struct str rest = text.data ? text : STR(""), part = { 0 };

    for (int i = 0; i <= index; i++)
        if (!split_next(driver, &rest, &part))
            return (struct str){ 0 };
    return part;
}

/* --- Files ------------------------------------------------------------------------------------ */

struct split_plan split_plan(const struct channel_driver *driver, struct str text, int files)
{
    struct split_plan plan = { .files = files };
    size_t units;

    if (text.len > 0 || files == 0)
        plan.texts = split_count(driver, text);
    units = driver->can & CHANNEL_CAN_UTF16 ? str_utf16_length(text) : str_utf8_length(text);
    plan.captioned = files > 0 && plan.texts == 1 && units <= driver->caption_max;
    if (plan.captioned)
        plan.texts = 0;
    plan.parts = plan.texts + files;
    return plan;
}

struct str split_plan_part(const struct channel_driver *driver, const struct split_plan *plan, struct str text,
                           int index, int *file)
{
    *file = index < plan->texts ? -1 : index - plan->texts;
    if (*file < 0)
        return split_part(driver, text, index);
    return *file == 0 && plan->captioned ? text : STR("");
}

/* --- SMS -------------------------------------------------------------------------------------- */

/* The code points of the GSM 03.38 default alphabet beyond ASCII; ASCII's own exceptions are below.
 */
static const uint16_t gsm_beyond_ascii[] = { 0xa1,  0xa3,  0xa4,  0xa5,  0xa7,  0xbf,  0xc4,  0xc5,
                                             0xc6,  0xc7,  0xc9,  0xd1,  0xd6,  0xd8,  0xdc,  0xdf,
                                             0xe0,  0xe4,  0xe5,  0xe6,  0xe8,  0xe9,  0xec,  0xf1,
                                             0xf2,  0xf6,  0xf8,  0xf9,  0xfc,  0x393, 0x394, 0x398,
                                             0x39b, 0x39e, 0x3a0, 0x3a3, 0x3a6, 0x3a8, 0x3a9 };

/* Septets of a code point: 1, 2 with an escape, 0 when it is not in the alphabet. */
static int gsm_septets(uint32_t point)
{
    if (point < 0x80) {
        if (point == '\f' || point == '^' || point == '{' || point == '}' || point == '\\'
            || point == '[' || point == '~' || point == ']' || point == '|')
            return 2;
        if (point == '`')
            return 0;
        return (point >= ' ' && point < 0x7f) || point == '\n' || point == '\r' ? 1 : 0;
    }
    if (point == 0x20ac)
        return 2;
    for (size_t i = 0; i < sizeof gsm_beyond_ascii / sizeof gsm_beyond_ascii[0]; i++)
        if (gsm_beyond_ascii[i] == point)
            return 1;
    return 0;
}

/* The next code point of valid UTF-8. */
static uint32_t next_point(struct str s, size_t *at)
{
    unsigned char first = (unsigned char)s.data[(*at)++];
    int more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    uint32_t point = more == 0 ? first : first & (0x3fu >> more);

    while (more-- > 0 && *at < s.len)
        point = point << 6 | ((unsigned char)s.data[(*at)++] & 0x3f);
    return point;
}

static bool is_gsm(struct str text)
{
    for (size_t at = 0; at < text.len;)
        if (gsm_septets(next_point(text, &at)) == 0)
            return false;
    return true;
}

/* Pack greedily; a character of two units is never torn. */
static void pack(struct str text, bool gsm, int max, struct split_segments *out)
{
    out->segments = 1;
    out->units = out->last_units = 0;
    for (size_t at = 0; at < text.len;) {
        uint32_t point = next_point(text, &at);
        int units = gsm ? gsm_septets(point) : point > 0xffff ? 2 : 1;

        if (out->last_units + units > max) {
            out->segments++;
            out->last_units = 0;
        }
        out->last_units += units;
        out->units += units;
    }
}

struct split_segments split_segments(struct str text)
{
    bool gsm = is_gsm(text);
    struct split_segments out = { .encoding = gsm ? "GSM-7" : "UCS-2" };

    pack(text, gsm, gsm ? GSM_SINGLE : UCS_SINGLE, &out);
    if (out.segments > 1)
        pack(text, gsm, gsm ? GSM_JOINED : UCS_JOINED, &out);
    return out;
}

struct str split_hint(struct arena *arena, int64_t part, int64_t parts, struct str hint)
{
    struct str whole;

    if (parts <= 1)
        return hint;
    if (!hint.len)
        hint = STR("It failed.");
    whole = str_c(arena_printf(arena, "Part %lld of %lld: %.*s", (long long)part + 1, (long long)parts, STR_FMT(hint)));
    if (whole.len >= LIMIT_HINT_BYTES)
        whole.len = str_utf8_prefix((struct str){ whole.data, LIMIT_HINT_BYTES - 1 });
    return whole;
}
