#include "case_file.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX (1024 * 1024)

/* Where the reading stands. */
struct reader {
    struct arena *arena;
    struct channel_case *current;
    struct err *err;
    struct str rest;                /* of the line */
    size_t literal;                 /* the line of the talk that is one, 0: none */
    bool failed;
};

static void fail(struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct reader *reader, const char *format, ...)
{
    char text[300];
    va_list args;

    if (reader->failed)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    reader->failed = true;
    err_set(reader->err, ERR_INVALID, "%s", text);
}

struct str case_value(const struct pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (str_is(pairs->items[i].name, name))
            return pairs->items[i].value;
    return (struct str){ 0 };
}

bool case_fits(const struct pair *pair, struct str found)
{
    if (pair->op == '~')
        return found.data && memmem(found.data, found.len, pair->value.data, pair->value.len);
    if (str_is(pair->value, "*"))
        return found.len > 0;
    if (str_is(pair->value, "-"))
        return found.len == 0;
    return found.data && str_eq(found, pair->value);
}

/* --- Tokens ----------------------------------------------------------------------------------- */

static int hex_of(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 32) : NULL;

    return at && (c | 32) != ' ' ? (int)(at - digits) : 0;
}

/* One escape behind a backslash. */
static char escape(struct str *rest)
{
    char c = rest->data[0];

    if (c == 'x' && rest->len >= 3) {
        int value = hex_of(rest->data[1]) * 16 + hex_of(rest->data[2]);

        *rest = (struct str){ rest->data + 3, rest->len - 3 };
        return (char)value;
    }
    *rest = (struct str){ rest->data + 1, rest->len - 1 };
    return (char)(c == 'n' ? '\n' : c == 't' ? '\t' : c);
}

/* What $name stands for at the front of `rest` (behind the dollar), and how long the name is. */
static struct str variable(const struct channel_case *one, struct str rest, size_t *length)
{
    struct str name = { rest.data, 0 }, value;

    while (name.len < rest.len
           && (rest.data[name.len] == '_'
               || (rest.data[name.len] >= 'a' && rest.data[name.len] <= 'z')))
        name.len++;
    *length = name.len;
    if (str_is(name, "hook"))
        return STR("hook-0123456789");
    if (str_is(name, "key"))
        return case_value(&one->given, "key");
    for (size_t i = 0; i < one->settings.count; i++)
        if (str_eq(one->settings.items[i].name, name))
            return one->settings.items[i].value;
    value = (struct str){ 0 };
    return value;
}

/* The next token with quotes, escapes and variables worked out; absent at the line's end. */
static struct str token(struct reader *reader)
{
    struct str rest = reader->rest, out = { 0 };
    bool quoted = false;
    struct buf text;

    while (rest.len && (*rest.data == ' ' || *rest.data == '\t'))
        rest = (struct str){ rest.data + 1, rest.len - 1 };
    if (!rest.len) {
        reader->rest = rest;
        return out;
    }
    buf_init(&text, FILE_MAX);
    while (rest.len && (quoted || (*rest.data != ' ' && *rest.data != '\t'))) {
        char c = *rest.data;
        size_t length;
        struct str value;

        rest = (struct str){ rest.data + 1, rest.len - 1 };
        if (c == '"') {
            quoted = !quoted;
        } else if (c == '\\' && quoted && rest.len) {
            buf_putc(&text, escape(&rest));
        } else if (c == '$' && (value = variable(reader->current, rest, &length)).data) {
            buf_str(&text, value);
            rest = (struct str){ rest.data + length, rest.len - length };
        } else {
            buf_putc(&text, c);
        }
    }
    reader->rest = rest;
    out = (struct str){ arena_copy(reader->arena, text.data ? text.data : "", text.len), text.len };
    buf_fini(&text);
    return out;
}

/* What is left of the line. */
static struct str rest_of_line(struct reader *reader)
{
    struct str text = str_trim(reader->rest);

    reader->rest = (struct str){ 0 };
    return (struct str){ str_dup(reader->arena, text.data ? text : STR("")), text.len };
}

static void add_pair(struct reader *reader, struct pairs *pairs, struct str text)
{
    const char *equals = text.data ? memchr(text.data, '=', text.len) : NULL;
    struct pair *pair;

    if (!equals || equals == text.data)
        fail(reader, "\"%.*s\" is not name=value", STR_FMT(text));
    else if (pairs->count == CASE_PAIRS)
        fail(reader, "more than %d attributes", CASE_PAIRS);
    else {
        pair = &pairs->items[pairs->count++];
        pair->op = equals[-1] == '~' ? '~' : '=';
        pair->name = (struct str){ text.data, (size_t)(equals - text.data) - (pair->op == '~') };
        pair->value = (struct str){ equals + 1, text.len - (size_t)(equals + 1 - text.data) };
    }
}

static void add_pairs(struct reader *reader, struct pairs *pairs)
{
    struct str text;

    while (!reader->failed && (text = token(reader)).data)
        add_pair(reader, pairs, text);
}

static const char *word(struct reader *reader, const char *what)
{
    struct str text = token(reader);

    if (!text.data)
        fail(reader, "%s is missing", what);
    return text.data ? text.data : "";
}

/* --- Lines ------------------------------------------------------------------------------------ */

static void read_expect(struct reader *reader)
{
    struct channel_case *one = reader->current;
    struct expected *expected = &one->expected[one->expected_count];
    struct str kind;

    if (one->expected_count == CASE_LINES) {
        fail(reader, "more than %d expect lines", CASE_LINES);
        return;
    }
    one->expected_count++;
    one->last_is_mail = false;
    expected->step.method = http_method_find(str_c(word(reader, "the method")));
    expected->step.url = word(reader, "the URL");
    expected->step.status = 200;
    while (!reader->failed && (kind = token(reader)).data) {
        struct pairs *pairs = str_is(kind, "header") ? &expected->headers
            : str_is(kind, "form")                   ? &expected->form
            : str_is(kind, "json")                   ? &expected->json
            : str_is(kind, "part")                   ? &expected->parts
                                                     : NULL;

        if (!pairs)
            fail(reader, "after expect METHOD URL come header, form, json or part, not \"%.*s\"",
                 STR_FMT(kind));
        else
            add_pair(reader, pairs, token(reader));
    }
}

/* The literal is whole: its size goes to the end of the line before it. */
static void end_literal(struct reader *reader)
{
    struct talk_line *talk = reader->current->talk;
    size_t at = reader->literal;

    if (at == 0)
        return;
    talk[at - 1].text.len -= 2;     /* its CRLF */
    talk[at - 1].text = str_c(arena_printf(reader->arena, "%.*s {%zu}\r\n", STR_FMT(talk[at - 1].text),
                                           talk[at].text.len));
    reader->literal = 0;
}

/* How it ends, when `word` says so and not a status. */
static bool read_end(const char *word, enum exchange_end *end, int *after_ms)
{
    if (strcmp(word, "refused") == 0)
        *end = EXCHANGE_NOT_SENT;
    else if (strcmp(word, "reset") == 0)
        *end = EXCHANGE_UNKNOWN;
    else if (strcmp(word, "timeout") == 0)
        *after_ms = 1000 * 1000;
    else
        return false;
    return true;
}

static void read_mail_reply(struct reader *reader, struct script_mail *step)
{
    const char *status = word(reader, "the status");
    int64_t number;

    if (!read_end(status, &step->end, &step->after_ms)) {
        if (str_int(str_c(status), 100, 599, &number))
            step->status = (int)number;
        else
            fail(reader, "reply: a status, refused, reset or timeout");
    }
    step->text = rest_of_line(reader).data;
}

static void read_reply(struct reader *reader)
{
    struct channel_case *one = reader->current;
    struct script_step *step =
        one->expected_count ? &one->expected[one->expected_count - 1].step : NULL;
    const char *status;
    struct str rest;
    int64_t number;

    if (one->last_is_mail) {
        read_mail_reply(reader, &one->mails[one->mail_count - 1].step);
        return;
    }
    status = word(reader, "the status");
    if (!step) {
        fail(reader, "reply without expect");
        return;
    }
    if (!read_end(status, &step->end, &step->after_ms)) {
        if (str_int(str_c(status), 100, 599, &number))
            step->status = (int)number;
        else
            fail(reader, "reply: a status, refused, reset or timeout");
    }
    while (str_starts(rest = str_trim(reader->rest), "header ")) {
        struct pairs pairs = { .count = 0 };

        token(reader);
        add_pair(reader, &pairs, token(reader));
        if (pairs.count)
            step->headers =
                arena_printf(reader->arena, "%s%.*s: %.*s\n", step->headers ? step->headers : "",
                             STR_FMT(pairs.items[0].name), STR_FMT(pairs.items[0].value));
    }
    rest = rest_of_line(reader);
    step->body = rest.len ? rest.data : NULL;
}

static void read_mail(struct reader *reader)
{
    struct channel_case *one = reader->current;
    struct expected_mail *mail = &one->mails[one->mail_count];
    struct str to;

    if (one->mail_count == CASE_LINES) {
        fail(reader, "more than %d mail lines", CASE_LINES);
        return;
    }
    one->mail_count++;
    one->last_is_mail = true;
    add_pairs(reader, &mail->pairs);
    to = case_value(&mail->pairs, "to");
    mail->step.to = str_is(to, "-") ? NULL : to.data ? str_dup(reader->arena, to) : "*";
    mail->step.status = 250;
}

/* c: and s: lines, and the m: lines of a literal. */
static void read_talk(struct reader *reader, char kind)
{
    struct channel_case *one = reader->current;
    struct str text = str_trim(reader->rest);
    struct talk_line *last = one->talk_count ? &one->talk[one->talk_count - 1] : NULL;

    text = text.len && *text.data == '"' ? token(reader) : rest_of_line(reader);
    if (!one->talk)
        one->talk = arena_array(reader->arena, CASE_TALK, sizeof *one->talk);
    if (one->talk_count + 2 > CASE_TALK || (kind == 'm' && !last)) {
        fail(reader, "more than %d lines of a stream, or m: without s:", CASE_TALK);
    } else if (kind == 'm' && last->line == SCRIPT_SAY && !reader->literal) {
        /* the s: line waits for the size of what comes now */
        reader->literal = one->talk_count;
        one->talk[one->talk_count++] = (struct talk_line){ SCRIPT_SAY, text };
    } else if (kind == 'm') {
        last->text = str_c(arena_printf(reader->arena, "%.*s\r\n%.*s", STR_FMT(last->text), STR_FMT(text)));
    } else {
        end_literal(reader);
        if (kind == 's')
            text = str_c(arena_printf(reader->arena, "%.*s\r\n", STR_FMT(text)));
        one->talk[one->talk_count++] = (struct talk_line){ kind == 's' ? SCRIPT_SAY : SCRIPT_EXPECT, text };
    }
}

static void read_stream(struct reader *reader)
{
    struct channel_case *one = reader->current;
    const char *what = word(reader, "closed or refused");
    bool refused = strcmp(what, "refused") == 0;

    end_literal(reader);
    if (!one->talk)
        one->talk = arena_array(reader->arena, CASE_TALK, sizeof *one->talk);
    if ((!refused && strcmp(what, "closed") != 0) || one->talk_count == CASE_TALK)
        fail(reader, "stream closed, or stream refused WHY");
    else
        one->talk[one->talk_count++] = (struct talk_line){ refused ? SCRIPT_REFUSE : SCRIPT_CLOSE,
                                                           rest_of_line(reader) };
}

static void read_header(struct reader *reader)
{
    struct str line = rest_of_line(reader), name;
    struct pairs *headers = &reader->current->inbound.headers;

    if (!str_split(&line, ':', &name) || !line.data || headers->count == CASE_PAIRS)
        fail(reader, "not a header line \"Name: value\"");
    else
        headers->items[headers->count++] = (struct pair){ str_trim(name), str_trim(line), '=' };
}

static void read_body(struct reader *reader)
{
    struct inbound *inbound = &reader->current->inbound;
    struct str text = rest_of_line(reader);

    if (inbound->body.data) {
        const char *joined =
            arena_printf(reader->arena, "%.*s\n%.*s", STR_FMT(inbound->body), STR_FMT(text));

        text = str_c(joined);
    }
    inbound->body = text;
}

static void read_signature(struct reader *reader, bool made)
{
    struct signature *signature = &reader->current->inbound.signature;
    struct str part;

    signature->header = word(reader, "the header");
    signature->setting = made ? word(reader, "the setting") : NULL;
    while ((part = token(reader)).data && signature->part_count < 4)
        if (str_starts(part, "as:"))
            signature->as = part.data + 3;
        else
            signature->parts[signature->part_count++] = part.data;
    if (!signature->part_count)
        fail(reader, "sign over what? body, header:NAME");
}

static void read_event(struct reader *reader)
{
    struct channel_case *one = reader->current;

    if (one->event_count == CASE_LINES) {
        fail(reader, "more than %d event lines", CASE_LINES);
        return;
    }
    one->events[one->event_count].kind = word(reader, "the kind");
    add_pairs(reader, &one->events[one->event_count++].pairs);
}

static void read_call(struct reader *reader, enum case_call call)
{
    struct channel_case *one = reader->current;

    if (one->call != CALL_NONE)
        fail(reader, "a second call in one case");
    one->call = call;
    if (call == CALL_RECEIVE) {
        one->inbound.method = http_method_find(str_c(word(reader, "the method")));
        one->inbound.target = word(reader, "the path");
    } else {
        add_pairs(reader, &one->given);
    }
}

static void read_now(struct reader *reader)
{
    if (!clock_parse(rest_of_line(reader), &reader->current->now_ms, NULL))
        fail(reader, "now: not a time");
}

/* The lines that hold a word and attributes. */
static bool read_attributes(struct reader *reader, const char *line)
{
    struct channel_case *one = reader->current;
    const struct { const char *line; const char **word; struct pairs *pairs; } kinds[] = {
        { "setting", NULL, &one->settings }, { "outcome", &one->outcome, &one->outcome_pairs },
        { "error", &one->error, &one->error_pairs }, { "answer", &one->answer, &one->answer_pairs },
        { "report", NULL, &one->report_pairs }, { "fetched", &one->fetched, &one->fetched_pairs },
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(line, kinds[i].line) == 0) {
            if (kinds[i].word)
                *kinds[i].word = word(reader, "the word");
            add_pairs(reader, kinds[i].pairs);
            return true;
        }
    return false;
}

static void read_line(struct reader *reader, const char *line)
{
    static const char *const calls[] = { "", "send", "lookup", "receive", "poll", "probe", "fetch" };

    for (int call = CALL_SEND; call < CALLS; call++)
        if (strcmp(line, calls[call]) == 0) {
            read_call(reader, (enum case_call)call);
            return;
        }
    if (read_attributes(reader, line))
        return;
    if (strcmp(line, "expect") == 0)
        read_expect(reader);
    else if (strcmp(line, "reply") == 0)
        read_reply(reader);
    else if (strcmp(line, "mail") == 0)
        read_mail(reader);
    else if (line[0] && strcmp(line + 1, ":") == 0 && strchr("csm", line[0]))
        read_talk(reader, line[0]);
    else if (strcmp(line, "stream") == 0)
        read_stream(reader);
    else if (strcmp(line, "header") == 0)
        read_header(reader);
    else if (strcmp(line, "body") == 0)
        read_body(reader);
    else if (strcmp(line, "sign") == 0 || strcmp(line, "signed") == 0)
        read_signature(reader, strcmp(line, "sign") == 0);
    else if (strcmp(line, "proof") == 0)
        reader->current->inbound.proof = word(reader, "the header");
    else if (strcmp(line, "event") == 0)
        read_event(reader);
    else if (strcmp(line, "now") == 0)
        read_now(reader);
    else if (strcmp(line, "region") == 0)
        reader->current->region = word(reader, "the country");
    else if (strcmp(line, "public") == 0)
        reader->current->public_url = word(reader, "the URL");
    else if (strcmp(line, "cursor") == 0)
        reader->current->cursor = rest_of_line(reader).data;
    else if (strcmp(line, "unnumbered") == 0)
        reader->current->unnumbered = true;
    else if (strcmp(line, "unsigned") == 0)
        reader->current->is_unsigned = true;
    else
        fail(reader, "\"%s\" is no line of a case", line);
}

/* --- Files ------------------------------------------------------------------------------------ */

static struct str read_file(struct arena *arena, const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = file ? arena_alloc(arena, FILE_MAX) : NULL;
    size_t length = file ? fread(text, 1, FILE_MAX - 1, file) : 0;

    if (file)
        fclose(file);
    return (struct str){ text, length };
}

static size_t count_names(struct str text)
{
    struct str rest = text, line;
    size_t count = 0;

    while (str_split(&rest, '\n', &line))
        count += str_starts(str_trim(line), "name ");
    return count;
}

int case_file_read(struct arena *arena, const char *path, struct channel_case **cases,
                   struct err *err)
{
    struct str text = read_file(arena, path), rest = text, line;
    struct reader reader = { .arena = arena, .err = err };
    int count = 0, number = 0;

    if (!text.data)
        return err_set(err, ERR_INVALID, "%s cannot be read", path);
    *cases = arena_array(arena, count_names(text) + 1, sizeof **cases);
    while (!reader.failed && str_split(&rest, '\n', &line)) {
        const char *keyword;

        number++;
        reader.rest = str_trim(line);
        if (!reader.rest.len || *reader.rest.data == '#')
            continue;
        if (str_starts(reader.rest, "name ")) {
            if (reader.current)
                end_literal(&reader);
            reader.current = &(*cases)[count++];
            *reader.current = (struct channel_case){ .file = path, .line = number, .region = "US",
                                                     .public_url = "https://hub.test",
                                                     .now_ms = 1719045971000 };
        }
        if (!reader.current)
            return err_set(err, ERR_INVALID, "%s:%d: a case begins with a name line", path, number);
        keyword = token(&reader).data;
        if (strcmp(keyword, "name") == 0)
            reader.current->name = rest_of_line(&reader).data;
        else
            read_line(&reader, keyword);
    }
    if (reader.current && !reader.failed)
        end_literal(&reader);
    if (reader.failed) {
        char reason[LIMIT_DETAIL_BYTES];

        snprintf(reason, sizeof reason, "%s", err->detail);
        return err_set(err, ERR_INVALID, "%s:%d: %s", path, number, reason);
    }
    return count;
}
