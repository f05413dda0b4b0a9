#include "channels/lib/imap.h"

#include "base/arena.h"
#include "base/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RESPONSE_MAX (LIMIT_MAIL_BYTES + 2 * IMAP_LINE_BYTES)
#define COMMAND_MAX 4096
#define UNTAGGED_MAX 20000      /* responses before the tagged one */
#define PIECE 16384

/* --- Tokens ----------------------------------------------------------------------------------- */

static struct imap_token take(struct str *rest, enum imap_kind kind, size_t from, size_t length, size_t behind)
{
    struct imap_token token = { kind, { rest->data + from, length } };

    *rest = (struct str){ rest->data + behind, rest->len - behind };
    return token;
}

static struct imap_token bad(struct str *rest)
{
    *rest = (struct str){ rest->data + rest->len, 0 };
    return (struct imap_token){ IMAP_BAD, { "", 0 } };
}

static struct imap_token quoted(struct str *rest)
{
    size_t at = 1;

    while (at < rest->len && rest->data[at] != '"')
        at += rest->data[at] == '\\' ? 2 : 1;
    return at < rest->len ? take(rest, IMAP_STRING, 1, at - 1, at + 1) : bad(rest);
}

/* The digits of "{12}" or "{12+}" at the front; their length with the brackets, 0: no literal. */
static size_t literal_head(struct str text, int64_t *size)
{
    size_t at = 1;
    struct str digits;

    while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    digits = (struct str){ text.data + 1, at - 1 };
    if (at < text.len && text.data[at] == '+')
        at++;
    if (at >= text.len || text.data[at] != '}' || !str_int(digits, 0, LIMIT_MAIL_BYTES, size))
        return 0;
    return at + 1;
}

static struct imap_token literal(struct str *rest)
{
    int64_t size = 0;
    size_t head = literal_head(*rest, &size);

    if (head == 0 || head + 2 > rest->len || memcmp(rest->data + head, "\r\n", 2) != 0
        || rest->len - head - 2 < (size_t)size)
        return bad(rest);
    return take(rest, IMAP_STRING, head + 2, (size_t)size, head + 2 + (size_t)size);
}

static struct imap_token atom(struct str *rest)
{
    size_t at = 0;

    while (at < rest->len && !strchr(" ()\"\r\n", rest->data[at])) {
        if (rest->data[at] == '[') {
            const char *end = memchr(rest->data + at, ']', rest->len - at);

            if (!end)
                return bad(rest);
            at = (size_t)(end - rest->data);
        }
        at++;
    }
    return at > 0 ? take(rest, IMAP_ATOM, 0, at, at) : bad(rest);
}

struct imap_token imap_token(struct str *rest)
{
    while (rest->len > 0 && *rest->data == ' ')
        *rest = (struct str){ rest->data + 1, rest->len - 1 };
    if (rest->len == 0)
        return (struct imap_token){ IMAP_END, { "", 0 } };
    switch (*rest->data) {
    case '(': return take(rest, IMAP_OPEN, 0, 1, 1);
    case ')': return take(rest, IMAP_CLOSE, 0, 1, 1);
    case '"': return quoted(rest);
    case '{': return literal(rest);
    case '\0': return bad(rest);
    default: return atom(rest);
    }
}

/* --- Responses -------------------------------------------------------------------------------- */

void imap_init(struct imap *imap, struct stream *stream)
{
    *imap = (struct imap){ .stream = stream };
    buf_init(&imap->line, IMAP_LINE_BYTES);
    buf_init(&imap->response, RESPONSE_MAX);
}

void imap_fini(struct imap *imap)
{
    buf_fini(&imap->line);
    buf_fini(&imap->response);
}

/* Does the line end in "{n}"? */
static bool ends_in_literal(struct str line, int64_t *size)
{
    size_t at = line.len;

    if (at < 3 || line.data[at - 1] != '}')
        return false;
    while (at > 0 && line.data[at - 1] != '{' && line.len - at < 16)
        at--;
    if (at == 0 || line.data[at - 1] != '{')
        return false;
    at--;
    return literal_head((struct str){ line.data + at, line.len - at }, size) == line.len - at;
}

static int read_literal(struct imap *imap, int64_t size, int64_t until_us, struct err *err)
{
    while (size > 0) {
        char piece[PIECE];
        int got = stream_read(imap->stream, piece, size < PIECE ? (size_t)size : PIECE, IMAP_STALL_MS, err);

        if (got < 0)
            return -1;
        if (got == 0 || stream_left_ms(until_us) == 0)
            return err_set(err, ERR_TIMEOUT, "The mail server stopped in the middle of an answer.");
        buf_add(&imap->response, piece, (size_t)got);
        size -= got;
    }
    return 0;
}

int imap_response(struct imap *imap, int timeout_ms, struct str *response, struct err *err)
{
    int64_t until_us = stream_until_us((int64_t)timeout_ms + IMAP_RESPONSE_MS), size;
    int came = stream_line(imap->stream, &imap->line, timeout_ms, err);

    buf_clear(&imap->response);
    imap->response.overflow = false;
    while (came == 1) {
        buf_str(&imap->response, buf_slice(&imap->line));
        if (imap->response.overflow)
            return err_set(err, ERR_TOO_LARGE, "The mail server's answer is larger than what is read of one.");
        if (!ends_in_literal(buf_slice(&imap->line), &size)) {
            *response = imap->response.data ? buf_slice(&imap->response) : STR("");
            return 1;
        }
        buf_puts(&imap->response, "\r\n");
        if (read_literal(imap, size, until_us, err))
            return -1;
        came = stream_line(imap->stream, &imap->line, IMAP_STALL_MS, err);
        if (came == 0)
            return err_set(err, ERR_TIMEOUT, "The mail server stopped in the middle of an answer.");
    }
    return came;
}

/* --- Commands --------------------------------------------------------------------------------- */

static void remember(struct imap *imap, struct str text)
{
    size_t length = 0;

    for (size_t i = 0; i < text.len && length + 1 < sizeof imap->said; i++)
        imap->said[length++] = (char)(text.data[i] >= ' ' && text.data[i] < 0x7f ? text.data[i] : '?');
    imap->said[length] = '\0';
}

/* What a response is for us: 1 tagged OK, 0 tagged NO or BAD, 2 goes on, 3 a continuation, -1 BYE. */
static int look_at(struct imap *imap, struct str response, struct err *err)
{
    char tag[16];
    size_t length = (size_t)snprintf(tag, sizeof tag, "h%d ", imap->tag);

    if (str_starts(response, "+"))
        return 3;
    if (str_starts(response, tag)) {
        struct str rest = { response.data + length, response.len - length };

        remember(imap, rest);
        return str_eq_nocase(imap_token(&rest).text, STR("OK"));
    }
    if (!str_starts(response, "* "))
        return 2;
    response = (struct str){ response.data + 2, response.len - 2 };
    if (response.len >= 3 && str_eq_nocase((struct str){ response.data, 3 }, STR("BYE"))) {
        remember(imap, response);
        return err_set(err, ERR_UNAVAILABLE, "The mail server ended the session: %s", imap->said);
    }
    if (imap->each)
        imap->each(imap->arg, response);
    return 2;
}

static int begin(struct imap *imap, const char *command, struct err *err)
{
    char line[COMMAND_MAX + 32];
    int length;

    if (strlen(command) >= COMMAND_MAX - 1 || strpbrk(command, "\r\n"))
        return err_set(err, ERR_INVALID, "A folder name or search is too long for the mail server.");
    length = snprintf(line, sizeof line, "h%d %s\r\n", ++imap->tag, command);
    return stream_write(imap->stream, (struct str){ line, (size_t)length }, IMAP_STALL_MS, err);
}

/* Read to the tagged answer, or to a continuation. */
static int finish(struct imap *imap, struct err *err)
{
    struct str response;

    for (int i = 0; i < UNTAGGED_MAX; i++) {
        int came = imap_response(imap, IMAP_STALL_MS, &response, err), what;

        if (came == 0)
            return err_set(err, ERR_TIMEOUT, "The mail server did not answer in time.");
        what = came < 0 ? -1 : look_at(imap, response, err);
        if (what != 2)
            return what;
    }
    return err_set(err, ERR_TOO_LARGE, "The mail server answered one command with more than %d lines.", UNTAGGED_MAX);
}

int imap_command(struct imap *imap, struct err *err, const char *format, ...)
{
    char command[COMMAND_MAX];
    va_list args;
    int result;

    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    result = begin(imap, command, err);
    if (result == 0)
        result = finish(imap, err);
    return result == 3 ? err_set(err, ERR_MALFORMED, "The mail server asks for more where nothing follows.") : result;
}

/* "* 4 EXISTS": what came while idling, whatever else is said. */
static void note_exists(void *arg, struct str response)
{
    imap_token(&response);
    if (str_eq_nocase(imap_token(&response).text, STR("EXISTS")))
        *(bool *)arg = true;
}

int imap_idle(struct imap *imap, int timeout_ms, struct err *err)
{
    int64_t until_us = stream_until_us(timeout_ms);
    bool news = false;
    int what, came = 1;

    imap->each = note_exists;
    imap->arg = &news;
    what = begin(imap, "IDLE", err);
    if (what == 0)
        what = finish(imap, err);
    if (what != 3)
        return what < 0 ? -1 : 2;
    while (!news && came == 1) {
        int left_ms = stream_left_ms(until_us);
        struct str response;

        came = left_ms > 0 ? imap_response(imap, left_ms, &response, err) : 0;
        if (came < 0 || (came == 1 && look_at(imap, response, err) < 0))
            return -1;
    }
    if (stream_write(imap->stream, STR("DONE\r\n"), IMAP_STALL_MS, err))
        return -1;
    what = finish(imap, err);
    if (what == 3)
        return err_set(err, ERR_MALFORMED, "The mail server goes on to idle where it was told to stop.");
    return what < 0 ? -1 : news;
}

const char *imap_quote(struct arena *arena, const char *text)
{
    struct buf out;
    const char *quote;

    buf_init(&out, COMMAND_MAX);
    buf_putc(&out, '"');
    for (const char *c = text; *c; c++) {
        if (*c < ' ' || *c == 0x7f) {
            buf_fini(&out);
            return NULL;
        }
        if (*c == '"' || *c == '\\')
            buf_putc(&out, '\\');
        buf_putc(&out, *c);
    }
    buf_putc(&out, '"');
    quote = out.overflow ? NULL : arena_strdup(arena, out.data);
    buf_fini(&out);
    return quote;
}
