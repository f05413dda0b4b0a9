/* HTML mail as text, in one pass that never looks back: enough to read and answer it. */
#include "channels/lib/mime.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

#define TAG_MAX 16
#define HREF_MAX 2000

struct html {
    struct str rest;
    struct buf out;
    struct str href;            /* of the link that is open */
    size_t link_at;             /* where its text begins */
    int breaks;                 /* line ends that are due before the next character */
    bool space;                 /* one is due */
    int pre;                    /* inside <pre>: white space stays */
};

static const struct { const char *name, *text; } entities[] = {
    { "amp", "&" }, { "lt", "<" }, { "gt", ">" }, { "quot", "\"" }, { "apos", "'" }, { "nbsp", "\xc2\xa0" },
    { "copy", "\xc2\xa9" }, { "reg", "\xc2\xae" }, { "hellip", "\xe2\x80\xa6" }, { "mdash", "\xe2\x80\x94" },
    { "ndash", "\xe2\x80\x93" }, { "lsquo", "\xe2\x80\x98" }, { "rsquo", "\xe2\x80\x99" },
    { "ldquo", "\xe2\x80\x9c" }, { "rdquo", "\xe2\x80\x9d" }, { "euro", "\xe2\x82\xac" }, { "bull", "\xe2\x80\xa2" },
    { "auml", "\xc3\xa4" }, { "ouml", "\xc3\xb6" }, { "uuml", "\xc3\xbc" }, { "Auml", "\xc3\x84" },
    { "Ouml", "\xc3\x96" }, { "Uuml", "\xc3\x9c" }, { "szlig", "\xc3\x9f" }, { "eacute", "\xc3\xa9" },
    { "egrave", "\xc3\xa8" }, { "agrave", "\xc3\xa0" }, { "ccedil", "\xc3\xa7" }, { "ntilde", "\xc3\xb1" },
    { "zwnj", "" }, { "shy", "" },
};

/* --- Output ----------------------------------------------------------------------------------- */

static void put(struct html *html, const char *bytes, size_t size)
{
    if (html->breaks > 0 && html->out.len > 0)
        for (int i = 0; i < html->breaks; i++)
            buf_putc(&html->out, '\n');
    else if (html->space && html->out.len > 0)
        buf_putc(&html->out, ' ');
    html->breaks = 0;
    html->space = false;
    buf_add(&html->out, bytes, size);
}

static void break_line(struct html *html, int lines)
{
    if (html->breaks < lines)
        html->breaks = lines;
    html->space = false;
}

static void put_point(struct html *html, uint32_t point)
{
    char bytes[4];
    size_t size = 0;

    if (point == 0 || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        point = 0xfffd;
    if (point < 0x80) {
        bytes[size++] = (char)point;
    } else if (point < 0x800) {
        bytes[size++] = (char)(0xc0 | point >> 6);
    } else {
        if (point < 0x10000) {
            bytes[size++] = (char)(0xe0 | point >> 12);
        } else {
            bytes[size++] = (char)(0xf0 | point >> 18);
            bytes[size++] = (char)(0x80 | (point >> 12 & 0x3f));
        }
        bytes[size++] = (char)(0x80 | (point >> 6 & 0x3f));
    }
    if (point >= 0x80)
        bytes[size++] = (char)(0x80 | (point & 0x3f));
    put(html, bytes, size);
}

/* --- Input ------------------------------------------------------------------------------------ */

static void skip(struct html *html, size_t count)
{
    html->rest = (struct str){ html->rest.data + count, html->rest.len - count };
}

static uint32_t number_of(struct str digits, int base)
{
    uint32_t value = 0;

    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.data[i] | 32;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;

        if (digit >= base || value > 0x10ffff)
            return 0;
        value = value * (uint32_t)base + (uint32_t)digit;
    }
    return value;
}

static void entity(struct html *html)
{
    size_t max = html->rest.len < 12 ? html->rest.len : 12;
    const char *end = memchr(html->rest.data, ';', max);
    struct str name = { html->rest.data + 1, end ? (size_t)(end - html->rest.data) - 1 : 0 };

    if (name.len > 1 && name.data[0] == '#') {
        bool hex = (name.data[1] | 32) == 'x';

        put_point(html, number_of((struct str){ name.data + 1 + hex, name.len - 1 - hex }, hex ? 16 : 10));
        skip(html, name.len + 2);
        return;
    }
    for (size_t i = 0; name.len && i < sizeof entities / sizeof entities[0]; i++)
        if (str_is(name, entities[i].name)) {
            put(html, entities[i].text, strlen(entities[i].text));
            skip(html, name.len + 2);
            return;
        }
    put(html, "&", 1);
    skip(html, 1);
}

/* Skip to behind the first `end` (ASCII case ignored), or to the end of all. */
static void skip_past(struct html *html, const char *end)
{
    size_t length = strlen(end);

    while (html->rest.len >= length
           && !str_eq_nocase((struct str){ html->rest.data, length }, (struct str){ end, length }))
        skip(html, 1);
    skip(html, html->rest.len < length ? html->rest.len : length);
}

/* The value of href in a tag's attributes. */
static struct str href_of(struct str attributes)
{
    for (size_t i = 0; i + 6 < attributes.len; i++) {
        struct str value = { attributes.data + i + 5, attributes.len - i - 5 };
        const char *end;

        if (!str_eq_nocase((struct str){ attributes.data + i, 5 }, STR("href=")))
            continue;
        if (value.data[0] == '"' || value.data[0] == '\'') {
            end = memchr(value.data + 1, value.data[0], value.len - 1);
            return (struct str){ value.data + 1, end ? (size_t)(end - value.data) - 1 : value.len - 1 };
        }
        end = memchr(value.data, ' ', value.len);
        return (struct str){ value.data, end ? (size_t)(end - value.data) : value.len };
    }
    return (struct str){ 0 };
}

/* A link's address goes behind its text, unless it says the same. */
static void close_link(struct html *html)
{
    struct str href = html->href, text = { html->out.data + html->link_at, 0 };

    if (!href.data || html->out.len < html->link_at)
        return;
    html->href = (struct str){ 0 };
    text.len = html->out.len - html->link_at;
    if ((!str_starts(href, "http:") && !str_starts(href, "https:")) || href.len > HREF_MAX
        || (text.len && memmem(text.data, text.len, href.data, href.len)))
        return;
    put(html, " <", 2);
    put(html, href.data, href.len);
    put(html, ">", 1);
}

static void begin_or_end(struct html *html, const char *name, bool ends, struct str attributes)
{
    static const char blocks[] = " div tr table ul ol dl dd dt section article header footer form address center ";
    static const char gaps[] = " p h1 h2 h3 h4 h5 h6 pre blockquote hr ";
    char word[TAG_MAX + 3];

    snprintf(word, sizeof word, " %s ", name);
    if (strcmp(name, "br") == 0)
        html->breaks = html->breaks < 2 ? html->breaks + 1 : 2;
    else if (strcmp(name, "li") == 0 && !ends) {
        break_line(html, 1);
        put(html, "- ", 2);
    } else if (strstr(blocks, word) || strcmp(name, "li") == 0)
        break_line(html, 1);
    else if (strstr(gaps, word))
        break_line(html, 2);
    else if (strcmp(name, "td") == 0 || strcmp(name, "th") == 0)
        html->space = true;
    if (strcmp(name, "pre") == 0)
        html->pre += ends ? (html->pre > 0 ? -1 : 0) : 1;
    if (strcmp(name, "a") == 0) {
        close_link(html);
        html->href = ends ? (struct str){ 0 } : href_of(attributes);
        html->link_at = html->out.len;
    }
}

static void tag(struct html *html)
{
    static const char *const hidden[][2] = { { "script", "</script" }, { "style", "</style" }, { "title", "</title" },
                                             { "head", "</head" }, { "template", "</template" } };
    bool ends = html->rest.len > 1 && html->rest.data[1] == '/';
    struct str body = { html->rest.data + 1 + ends, html->rest.len - 1 - ends }, inside;
    char name[TAG_MAX + 1] = "";
    size_t length = 0;
    const char *end;

    if (str_starts(html->rest, "<!--")) {
        skip_past(html, "-->");
        return;
    }
    while (length < body.len && length < TAG_MAX
           && memchr("abcdefghijklmnopqrstuvwxyz0123456789", body.data[length] | 32, 36)) {
        name[length] = (char)(body.data[length] | 32);
        length++;
    }
    if (length == 0 && !str_starts(html->rest, "<!") && !str_starts(html->rest, "<?") && !ends) {
        put(html, "<", 1);
        skip(html, 1);
        return;
    }
    end = memchr(html->rest.data, '>', html->rest.len);
    inside = (struct str){ body.data, end ? (size_t)(end - body.data) : body.len };
    skip(html, end ? (size_t)(end - html->rest.data) + 1 : html->rest.len);
    begin_or_end(html, name, ends, inside);
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0] && !ends; i++)
        if (strcmp(name, hidden[i][0]) == 0) {
            skip_past(html, hidden[i][1]);
            skip_past(html, ">");
        }
}

struct str mime_html_text(struct arena *arena, struct str text)
{
    struct html html = { .rest = text };
    struct str out;

    buf_init(&html.out, LIMIT_TEXT_BYTES);
    while (html.rest.len > 0 && !html.out.overflow) {
        char c = *html.rest.data;

        if (c == '<') {
            tag(&html);
        } else if (c == '&') {
            entity(&html);
        } else if (c == '\n' && html.pre) {
            html.breaks++;
            skip(&html, 1);
        } else if ((c == ' ' || c == '\t' || c == '\r' || c == '\n') && !html.pre) {
            html.space = html.breaks == 0;
            skip(&html, 1);
        } else {
            put(&html, &c, 1);
            skip(&html, 1);
        }
    }
    close_link(&html);
    out = buf_slice(&html.out);
    out.len = out.data ? str_utf8_prefix(out) : 0;      /* what overflowed was cut anywhere */
    out = (struct str){ arena_copy(arena, out.data ? out.data : "", out.len), out.len };
    buf_fini(&html.out);
    return out;
}
