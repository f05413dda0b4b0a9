#include "cli/lib/width.h"

#include "base/arena.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#define VARIATION_EMOJI 0xfe0f
#define ZERO_WIDTH_JOINER 0x200d
#define TERMINAL_MIN 20
#define TERMINAL_MAX 1000

struct cluster {
    size_t bytes, columns;
    bool unsure;
};

static bool is_flag_letter(utf8proc_int32_t point)
{
    return point >= 0x1f1e6 && point <= 0x1f1ff;
}

static bool is_skin_tone(utf8proc_int32_t point)
{
    return point >= 0x1f3fb && point <= 0x1f3ff;
}

static size_t point_at(struct str text, utf8proc_int32_t *point)
{
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.len, point);

    if (size > 0)
        return (size_t)size;
    *point = 0xfffd;
    return 1;
}

/* The first grapheme of a text that is not empty. */
static struct cluster first_cluster(struct str text)
{
    utf8proc_int32_t before, point, state = 0;
    struct cluster cluster = { point_at(text, &before), 0, false };

    cluster.columns = (size_t)utf8proc_charwidth(before);
    while (cluster.bytes < text.len) {
        struct str rest = { text.data + cluster.bytes, text.len - cluster.bytes };
        size_t size = point_at(rest, &point);

        if (utf8proc_grapheme_break_stateful(before, point, &state))
            break;
        cluster.unsure |= point == VARIATION_EMOJI || point == ZERO_WIDTH_JOINER || is_flag_letter(point)
            || is_skin_tone(point);
        if (point == VARIATION_EMOJI && cluster.columns < 2)
            cluster.columns = 2;
        cluster.columns += (size_t)utf8proc_charwidth(point);
        cluster.bytes += size;
        before = point;
    }
    return cluster;
}

size_t width_of(struct str text)
{
    size_t columns = 0;

    while (text.len) {
        struct cluster cluster = first_cluster(text);

        columns += cluster.columns;
        text = (struct str){ text.data + cluster.bytes, text.len - cluster.bytes };
    }
    return columns;
}

bool width_unsure(struct str text)
{
    while (text.len) {
        struct cluster cluster = first_cluster(text);

        if (cluster.unsure)
            return true;
        text = (struct str){ text.data + cluster.bytes, text.len - cluster.bytes };
    }
    return false;
}

size_t width_prefix(struct str text, size_t columns)
{
    size_t bytes = 0;

    while (bytes < text.len) {
        struct cluster cluster = first_cluster((struct str){ text.data + bytes, text.len - bytes });

        if (cluster.columns > columns)
            break;
        columns -= cluster.columns;
        bytes += cluster.bytes;
    }
    return bytes;
}

struct str width_cut(struct arena *arena, struct str text, size_t columns)
{
    if (width_prefix(text, columns) == text.len)
        return text;
    if (!columns)
        return STR("");
    text.len = width_prefix(text, columns - 1);
    while (text.len && text.data[text.len - 1] == ' ')
        text.len--;
    return str_c(arena_printf(arena, "%.*s\u2026", STR_FMT(text)));
}

size_t width_of_terminal(FILE *stream, size_t otherwise)
{
    const char *told = getenv("COLUMNS");
    struct winsize size;
    int64_t columns;

    if (!isatty(fileno(stream)))
        return otherwise;
    if (told && str_int(str_c(told), TERMINAL_MIN, TERMINAL_MAX, &columns))
        return (size_t)columns;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) || !size.ws_col)
        return 80;
    return size.ws_col < TERMINAL_MIN ? TERMINAL_MIN : size.ws_col;
}
