#include "channels/lib/mime.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>

#define CHARSET_MAX 40
#define INPUT_MAX (8 * 1024 * 1024)     /* of one text part */
#define REPLACEMENT "\xef\xbf\xbd"

/* What mail programs write, and what it means. */
static const char *const aliases[][2] = {
    { "utf8", "UTF-8" }, { "utf-8", "UTF-8" }, { "us-ascii", "UTF-8" }, { "ascii", "UTF-8" },
    { "iso-8859-1", "WINDOWS-1252" }, { "iso8859-1", "WINDOWS-1252" }, { "latin1", "WINDOWS-1252" },
    { "cp1252", "WINDOWS-1252" }, { "iso-8859-9", "WINDOWS-1254" }, { "iso-8859-11", "WINDOWS-874" },
    { "gb2312", "GB18030" }, { "gbk", "GB18030" }, { "x-gbk", "GB18030" }, { "cp936", "GB18030" },
    { "hz-gb-2312", "HZ" }, { "ks_c_5601-1987", "CP949" }, { "ks_c_5601-1989", "CP949" }, { "euc-kr", "CP949" },
    { "x-sjis", "CP932" }, { "shift_jis", "CP932" }, { "shift-jis", "CP932" }, { "sjis", "CP932" },
    { "unicode-1-1-utf-7", "UTF-7" }, { "x-mac-roman", "MACINTOSH" }, { "big5-hkscs", "BIG5-HKSCS" },
};

static struct str take(struct arena *arena, struct buf *out)
{
    struct str text = { arena_copy(arena, out->data ? out->data : "", out->len), out->len };

    buf_fini(out);
    return text;
}

/* What UTF-8 has in it, invalid bytes replaced, cut between characters. */
static struct str clean(struct arena *arena, struct str text, size_t max)
{
    if (text.len > max)
        text.len = max;
    text = str_nfc(arena, text);
    if (text.len > max)
        text.len = str_utf8_prefix((struct str){ text.data, max });
    return text;
}

/* The whole text through iconv; false when the charset is unknown. */
static bool convert(struct arena *arena, struct str bytes, const char *charset, size_t max, struct str *out)
{
    iconv_t cd = iconv_open("UTF-8", charset);
    char *in = (char *)bytes.data;
    size_t left = bytes.len;
    struct buf text;

    if (cd == (iconv_t)-1)
        return false;
    buf_init(&text, max + 4096);
    while (left > 0 && text.len < max && !text.overflow) {
        char piece[1024], *to = piece;
        size_t room = sizeof piece, status = iconv(cd, &in, &left, &to, &room);
        int error = errno;

        buf_add(&text, piece, (size_t)(to - piece));
        if (status != (size_t)-1 || error == E2BIG)
            continue;
        buf_puts(&text, REPLACEMENT);
        if (error == EINVAL)
            break;              /* half a character at the end */
        in++;
        left--;
        iconv(cd, NULL, NULL, NULL, NULL);
    }
    iconv_close(cd);
    *out = clean(arena, buf_slice(&text), max);
    buf_fini(&text);
    return true;
}

/* Is it UTF-8, perhaps damaged? One whole character of it before the first damage says so; a NUL is no damage. */
static bool is_utf8(struct str bytes)
{
    size_t at = 0;

    for (;;) {
        at += str_utf8_prefix((struct str){ bytes.data + at, bytes.len - at });
        if (at == bytes.len)
            return true;
        if (bytes.data[at] != '\0')
            break;
        at++;
    }
    for (size_t i = 0; i < at; i++)
        if ((unsigned char)bytes.data[i] >= 0x80)
            return true;
    return false;
}

struct str mime_text_decode(struct arena *arena, struct str bytes, const char *charset, size_t max)
{
    struct str out = { 0 };
    const char *name = charset && strlen(charset) < CHARSET_MAX && !strchr(charset, '/') ? charset : "";

    if (bytes.len > INPUT_MAX)
        bytes.len = INPUT_MAX;
    if (bytes.len == 0)
        return STR("");
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcasecmp(name, aliases[i][0]) == 0) {
            name = aliases[i][1];
            break;
        }
    if (*name && strcmp(name, "UTF-8") != 0 && convert(arena, bytes, name, max, &out))
        return out;
    if (is_utf8(bytes) || !convert(arena, bytes, "WINDOWS-1252", max, &out))
        return clean(arena, bytes, max);
    return out;
}

struct str mime_text_lines(struct arena *arena, struct str text)
{
    struct buf out;

    buf_init(&out, text.len + 1);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c == '\r') {
            buf_putc(&out, '\n');
            i += i + 1 < text.len && text.data[i + 1] == '\n';
        } else if (c != '\0') {
            buf_putc(&out, c);
        }
    }
    return take(arena, &out);
}

/* Quote marks at the front of a flowed line, and the line without them and its stuffed space. */
static size_t unquote(struct str *line)
{
    size_t depth = 0;

    while (depth < line->len && line->data[depth] == '>')
        depth++;
    *line = (struct str){ line->data + depth, line->len - depth };
    if (line->len > 0 && line->data[0] == ' ')
        *line = (struct str){ line->data + 1, line->len - 1 };
    return depth;
}

struct str mime_text_flowed(struct arena *arena, struct str text, bool delete_space)
{
    struct str rest = text, line;
    bool open = false;          /* the last line goes on here */
    size_t depth = 0;
    struct buf out;

    buf_init(&out, text.len * 2 + 16);
    while (str_split(&rest, '\n', &line)) {
        size_t quotes = unquote(&line);
        bool signature = str_is(line, "-- ");
        bool flows = line.len > 0 && line.data[line.len - 1] == ' ' && !signature;

        if (open && (quotes != depth || signature)) {
            buf_putc(&out, '\n');
            open = false;
        }
        if (!open && quotes > 0) {
            for (size_t i = 0; i < quotes; i++)
                buf_putc(&out, '>');
            buf_putc(&out, ' ');
        }
        if (flows && delete_space)
            line.len--;
        buf_str(&out, line);
        if (!flows && rest.data)
            buf_putc(&out, '\n');
        open = flows;
        depth = quotes;
    }
    return take(arena, &out);
}
