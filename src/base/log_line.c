#include "base/log_line.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"

#include <stdio.h>
#include <string.h>

#define SHOWN_HASH_BYTES 8
#define MORE "\xe2\x80\xa6"  /* an ellipsis */
#define MESSAGE_BYTES 256   /* all of it escaped still leaves most of a line */
#define TAIL_BYTES 32       /* for the mark of a cut line and its end */

static const char *const level_words[] = { "debug", "info", "warn", "error" };

/* The longest valid part of a text within `limit` bytes; `*cut` when there was more. */
static struct str shorten(struct str text, size_t limit, bool *cut)
{
    *cut = text.len > limit;
    if (*cut) {
        text.len = limit;
        while (text.len > 0 && ((unsigned char)text.data[text.len] & 0xc0) == 0x80)
            text.len--;
    }
    return text;
}

/* What may be shown of a personal value: the same person gives the same few hex digits. */
static struct str pseudonym(struct arena *arena, const struct log_style *style, struct str text)
{
    unsigned char hash[SIGN_HASH_BYTES];

    if (!style->personal_key)
        return STR("hidden");
    sign_hmac_sha256((struct str){ (const char *)style->personal_key, SIGN_KEY_BYTES }, text, hash);
    return str_c(arena_printf(arena, "h:%s", sign_hex(arena, hash, SHOWN_HASH_BYTES)));
}

static bool is_bare(struct str text)
{
    if (text.len == 0)
        return false;
    for (size_t at = 0; at < text.len; at++)
        if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:/"
                    "+@,%#*()[]{}<>?!&;~$^|",
                    text.data[at])
            || text.data[at] == '\0')
            return false;
    return true;
}

/* Quotes where needed; quotes and backslashes escaped, controls and broken bytes visible. */
static void add_plain(struct arena *arena, struct buf *out, struct str text, bool cut)
{
    const char *shown;

    if (!text.data) {
        buf_putc(out, '-');
        return;
    }
    if (!cut && is_bare(text)) {
        buf_str(out, text);
        return;
    }
    buf_putc(out, '"');
    while (text.len > 0) {
        size_t run = 0;

        while (run < text.len && text.data[run] != '"' && text.data[run] != '\\')
            run++;
        shown = str_printable(arena, (struct str){ text.data, run }, true);
        buf_puts(out, shown);
        if (run < text.len) {
            buf_putc(out, '\\');
            buf_putc(out, text.data[run++]);
        }
        text.data += run;
        text.len -= run;
    }
    buf_puts(out, cut ? MORE "\"" : "\"");
}

static void add_json(struct arena *arena, struct buf *out, struct str text, bool cut)
{
    struct json_writer w = json_writer(out);

    if (text.data)
        text = str_c(
            arena_printf(arena, "%s%s", str_printable(arena, text, true), cut ? MORE : ""));
    json_put_text(&w, text);
}

static void add_field(struct arena *arena, struct buf *out, const struct log_style *style,
                      const struct log_field *field)
{
    struct str text = field->text;
    bool cut = false;
    char digits[24];
    bool number = field->kind == LOG_IS_INT;

    if (number) {
        snprintf(digits, sizeof digits, "%lld", (long long)field->number);
        text = str_c(digits);
    }
    if (field->class == LOG_PERSONAL && text.data)
        text = pseudonym(arena, style, text);
    else
        text = shorten(text, LIMIT_LOG_VALUE_BYTES, &cut);
    buf_printf(out, style->json ? ",\"%s\":" : " %s=", field->key);
    if (number && field->class == LOG_PUBLIC)
        buf_str(out, text);
    else if (style->json)
        add_json(arena, out, text, cut);
    else
        add_plain(arena, out, text, cut);
}

void log_line(struct buf *out, const struct log_style *style, enum log_level level,
              const char *message, const struct log_field *fields)
{
    struct arena *arena = arena_new(0);
    char time[CLOCK_ISO_BYTES];
    size_t start = out->len;
    struct buf piece;
    bool cut;
    struct str sentence = shorten(str_c(message), MESSAGE_BYTES, &cut);

    buf_init(&piece, LIMIT_LOG_LINE_BYTES);
    buf_printf(out, style->json ? "{\"time\":\"%s\",\"level\":\"%s\",\"message\":" : "%s %-5s ",
               clock_iso_into(time, clock_ms()), level_words[level]);
    if (style->json)
        add_json(arena, out, sentence, cut);
    else
        buf_puts(out, str_printable(arena, sentence, true));
    cut = false;
    for (const struct log_field *field = fields; field && field->key && !cut; field++) {
        if (field->class == LOG_SECRET)
            continue;
        buf_clear(&piece);
        add_field(arena, &piece, style, field);
        cut = piece.overflow || out->len - start + piece.len > LIMIT_LOG_LINE_BYTES - TAIL_BYTES;
        if (!cut)
            buf_str(out, buf_slice(&piece));
    }
    if (cut)
        buf_puts(out, style->json ? ",\"cut\":true" : " cut=true");
    buf_puts(out, style->json ? "}\n" : "\n");
    buf_fini(&piece);
    arena_free(arena);
}
