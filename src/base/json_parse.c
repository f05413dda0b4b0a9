/* One pass over a document that was found to be UTF-8: grammar, ceilings and tree at once. It recurses no deeper than
 * LIMIT_JSON_DEPTH. RFC 8259, with integers of 64 bits. */
#include "base/json_tree.h"

#include "base/arena.h"
#include "base/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    struct arena *arena;
    const char *start, *at, *end;
    size_t values, depth;
    bool lenient;
    struct err *err;
};

static struct json *parse_value(struct parser *p);

/* --- Refusing ---------------------------------------------------------------------------------- */

/* Lines and columns count from 1, columns in characters. */
static int fail(const struct parser *p, enum err_code code, const char *at, const char *what, const char *why)
{
    const char *line_start = p->start;
    size_t line = 1;

    for (const char *byte = p->start; byte < at; byte++) {
        if (*byte == '\n') {
            line++;
            line_start = byte + 1;
        }
    }
    return err_set(p->err, code, "%s at line %zu, column %zu%s%s.", what, line,
                   str_utf8_length((struct str){ line_start, (size_t)(at - line_start) }) + 1, *why ? ": " : "", why);
}

static int fail_limit(const struct parser *p, const char *at, const char *what, int limit)
{
    char text[128];

    snprintf(text, sizeof text, "%s (the limit is %d)", what, limit);
    return fail(p, ERR_TOO_LARGE, at, text, "");
}

static int invalid(const struct parser *p, const char *at, const char *why)
{
    return fail(p, ERR_MALFORMED, at, at == p->end ? "The JSON ends too early," : "Not valid JSON",
                at == p->end ? "" : why);
}

/* --- Strings ----------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The unit of the \u escape at `at`, or -1. */
static int unit_at(const struct parser *p, const char *at)
{
    int unit = 0;

    if (p->end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int digit = 2; digit < 6; digit++) {
        int value = hex_value(at[digit]);

        if (value < 0)
            return -1;
        unit = unit * 16 + value;
    }
    return unit;
}

static char *put_point(char *out, int point)
{
    if (point < 0x80) {
        *out++ = (char)point;
    } else if (point < 0x800) {
        *out++ = (char)(0xc0 | point >> 6);
        *out++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *out++ = (char)(0xe0 | point >> 12);
        *out++ = (char)(0x80 | (point >> 6 & 0x3f));
        *out++ = (char)(0x80 | (point & 0x3f));
    } else {
        *out++ = (char)(0xf0 | point >> 18);
        *out++ = (char)(0x80 | (point >> 12 & 0x3f));
        *out++ = (char)(0x80 | (point >> 6 & 0x3f));
        *out++ = (char)(0x80 | (point & 0x3f));
    }
    return out;
}

/* The \u escape at `at`: a character, or two escapes that are one. NULL when refused. */
static char *put_unit(struct parser *p, char *out)
{
    const char *at = p->at;
    int unit = unit_at(p, at), low;

    if (unit < 0)
        return invalid(p, at, "invalid escape"), NULL;
    p->at += 6;
    low = unit >= 0xd800 && unit <= 0xdbff ? unit_at(p, p->at) : -1;
    if (low >= 0xdc00 && low <= 0xdfff) {
        p->at += 6;
        return put_point(out, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
    }
    if (unit >= 0xd800 && unit <= 0xdfff) {
        if (!p->lenient)
            return fail(p, ERR_MALFORMED, at, "Half of a surrogate pair", ""), NULL;
        unit = 0xfffd;
    } else if (unit == 0) {
        if (!p->lenient)
            return fail(p, ERR_MALFORMED, at, "The character NUL is not allowed: \\u0000", ""), NULL;
        return out;
    }
    return put_point(out, unit);
}

/* The escape at p->at, which moves behind it. No escape is shorter than what it stands for. */
static char *put_escape(struct parser *p, char *out)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (p->end - p->at < 2)
        return invalid(p, p->end, ""), NULL;
    if (p->at[1] == 'u')
        return put_unit(p, out);
    found = memchr(letters, p->at[1], sizeof letters - 1);
    if (!found)
        return invalid(p, p->at, "invalid escape"), NULL;
    *out = meant[found - letters];
    p->at += 2;
    return out + 1;
}

/* Where plain characters end: at a quote, a backslash, a control character or the end. */
static const char *plain_end(const char *at, const char *end)
{
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
        at++;
    return at;
}

/* The quote that ends a string; NULL when there is none, which is refused. */
static const char *closing_quote(struct parser *p)
{
    const char *at = p->at;

    for (;;) {
        at = plain_end(at, p->end);
        if (at < p->end && *at == '"')
            return at;
        if (at >= p->end - 1)
            return invalid(p, p->end, ""), NULL;
        if (*at != '\\')
            return invalid(p, at, "control characters must be escaped"), NULL;
        at += 2;
    }
}

/* A string from its quote on. */
static int parse_string(struct parser *p, struct str *text)
{
    const char *plain = plain_end(++p->at, p->end), *end;
    char *out, *copy;

    if (plain < p->end && *plain == '"') {
        *text = (struct str){ arena_copy(p->arena, p->at, (size_t)(plain - p->at)), (size_t)(plain - p->at) };
        p->at = plain + 1;
        return 0;
    }
    end = closing_quote(p);
    if (!end)
        return -1;
    copy = out = arena_copy(p->arena, p->at, (size_t)(end - p->at));
    while (p->at < end) {
        plain = plain_end(p->at, end);
        memcpy(out, p->at, (size_t)(plain - p->at));
        out += plain - p->at;
        p->at = plain;
        if (plain < end && !(out = put_escape(p, out)))
            return -1;
    }
    *out = '\0';
    *text = (struct str){ copy, (size_t)(out - copy) };
    p->at = end + 1;
    return 0;
}

/* --- Numbers and words ------------------------------------------------------------------------- */

static bool in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Digits from `at` on: where they end, or NULL when there is none. */
static const char *digits(const char *at, const char *end)
{
    const char *start = at;

    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at > start ? at : NULL;
}

/* Does [at, end) follow the grammar of numbers, and is it an integer? */
static bool is_number(const char *at, const char *end, bool *whole)
{
    *whole = true;
    at += *at == '-';
    if (at < end && *at == '0')
        at++;
    else if (!(at = digits(at, end)))
        return false;
    if (at < end && *at == '.') {
        *whole = false;
        if (!(at = digits(at + 1, end)))
            return false;
    }
    if (at < end && (*at | 0x20) == 'e') {
        *whole = false;
        at++;
        at += at < end && (*at == '+' || *at == '-');
        at = digits(at, end);
    }
    return at == end;
}

static int parse_number(struct parser *p, struct json *value)
{
    const char *start = p->at;
    char text[LIMIT_JSON_NUMBER_CHARS + 1];
    size_t len;
    bool whole;

    while (p->at < p->end && in_number(*p->at))
        p->at++;
    len = (size_t)(p->at - start);
    if (len > LIMIT_JSON_NUMBER_CHARS)
        return fail_limit(p, start, "A number has too many characters", LIMIT_JSON_NUMBER_CHARS);
    if (!is_number(start, p->at, &whole))
        return invalid(p, start, "this is no number");
    value->kind = JSON_KIND_INT;
    if (whole && str_int((struct str){ start, len }, INT64_MIN, INT64_MAX, &value->number))
        return 0;
    if (whole && !p->lenient) {
        invalid(p, start, "too big integer");
        return err_hint(p->err, "Integers must fit into 64 bits; send larger ones as strings.");
    }
    memcpy(text, start, len);
    text[len] = '\0';
    value->kind = JSON_KIND_REAL;
    value->real = strtod(text, NULL);
    return isinf(value->real) ? invalid(p, start, "real number overflow") : 0;
}

static int parse_word(struct parser *p, struct json *value)
{
    static const struct {
        struct str word;
        enum json_kind kind;
        int64_t number;
    } words[] = {
        { { "null", 4 }, JSON_KIND_NULL, 0 },
        { { "true", 4 }, JSON_KIND_BOOL, 1 },
        { { "false", 5 }, JSON_KIND_BOOL, 0 },
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct str word = words[i].word;

        if ((size_t)(p->end - p->at) < word.len || memcmp(p->at, word.data, word.len) != 0)
            continue;
        value->kind = words[i].kind;
        value->number = words[i].number;
        p->at += word.len;
        return 0;
    }
    return invalid(p, p->at, "a value expected");
}

/* --- Objects and arrays ------------------------------------------------------------------------ */

static void skip_white(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
        p->at++;
}

static bool is_next(const struct parser *p, char c)
{
    return p->at < p->end && *p->at == c;
}

static uint32_t hash_of(struct str key)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 16777619u;
    return hash;
}

/* The link to the member with this key, or to the end. */
static struct json **find_link(struct json *object, struct str key, uint32_t hash)
{
    struct json **link = &object->list.first;

    while (*link && ((*link)->key_hash != hash || !str_eq((*link)->key, key)))
        link = &(*link)->next;
    return link;
}

static int parse_member(struct parser *p, struct json *object)
{
    const char *start = p->at;
    struct json **link, *value;
    struct str key;
    uint32_t hash;

    if (!is_next(p, '"'))
        return invalid(p, p->at, object->list.first ? "string expected" : "string or '}' expected");
    p->values++;
    if (parse_string(p, &key) < 0)
        return -1;
    hash = hash_of(key);
    link = find_link(object, key, hash);
    if (*link && !p->lenient) {
        invalid(p, start, "duplicate object key");
        return err_hint(p->err, "Give each key of an object once.");
    }
    skip_white(p);
    if (!is_next(p, ':'))
        return invalid(p, p->at, "':' expected");
    if (++object->list.count > LIMIT_JSON_KEYS)
        return fail_limit(p, p->at, "An object has too many keys", LIMIT_JSON_KEYS);
    p->at++;
    value = parse_value(p);
    if (!value)
        return -1;
    value->key = key;
    value->key_hash = hash;
    value->next = *link ? (*link)->next : NULL;     /* the last one takes the place of the first */
    *link = value;
    return 0;
}

/* What stands behind a member or an element: 1 a comma, 0 the end, -1 refused. */
static int more(struct parser *p, char end, const char *expected)
{
    skip_white(p);
    if (is_next(p, ',')) {
        p->at++;
        skip_white(p);
        return 1;
    }
    if (!is_next(p, end))
        return invalid(p, p->at, expected);
    p->at++;
    return 0;
}

static int parse_object(struct parser *p, struct json *object)
{
    int next;

    object->kind = JSON_KIND_OBJECT;
    p->at++;
    skip_white(p);
    if (is_next(p, '}')) {
        p->at++;
        return 0;
    }
    do {
        if (parse_member(p, object) < 0)
            return -1;
        next = more(p, '}', "',' or '}' expected");
    } while (next > 0);
    if (next == 0 && p->lenient) {
        object->list.count = 0;     /* without the duplicates, which count towards the ceiling only */
        for (const struct json *value = object->list.first; value; value = value->next)
            object->list.count++;
    }
    return next;
}

static int parse_array(struct parser *p, struct json *array)
{
    struct json **link = &array->list.first, *value;
    size_t at = 0;
    int next;

    array->kind = JSON_KIND_ARRAY;
    p->at++;
    skip_white(p);
    if (is_next(p, ']')) {
        p->at++;
        return 0;
    }
    do {
        *link = parse_value(p);
        if (!*link)
            return -1;
        link = &(*link)->next;
        array->list.count++;
        next = more(p, ']', "',' or ']' expected");
    } while (next > 0);
    if (next < 0)
        return -1;
    array->list.items = arena_array(p->arena, array->list.count, sizeof *array->list.items);
    for (value = array->list.first; value; value = value->next)
        array->list.items[at++] = value;
    return 0;
}

static int parse_nested(struct parser *p, struct json *value)
{
    int failed;

    if (p->depth == LIMIT_JSON_DEPTH)
        return fail_limit(p, p->at, "The document is nested too deep", LIMIT_JSON_DEPTH);
    p->depth++;
    failed = *p->at == '{' ? parse_object(p, value) : parse_array(p, value);
    p->depth--;
    return failed;
}

static struct json *parse_value(struct parser *p)
{
    struct json *value;
    int failed;

    skip_white(p);
    if (++p->values > LIMIT_JSON_NODES)
        return fail_limit(p, p->at, "The document has too many keys and values", LIMIT_JSON_NODES), NULL;
    if (p->at == p->end)
        return invalid(p, p->end, ""), NULL;
    value = arena_alloc(p->arena, sizeof *value);
    if (*p->at == '"') {
        value->kind = JSON_KIND_STRING;
        failed = parse_string(p, &value->text);
    } else if (*p->at == '{' || *p->at == '[') {
        failed = parse_nested(p, value);
    } else if (in_number(*p->at) && *p->at != 'e' && *p->at != 'E') {
        failed = parse_number(p, value);
    } else {
        failed = parse_word(p, value);
    }
    return failed ? NULL : value;
}

/* --- Documents --------------------------------------------------------------------------------- */

static struct json *parse(struct parser *p)
{
    struct str text = { p->start, (size_t)(p->end - p->start) };
    size_t valid = str_utf8_prefix(text);
    struct json *root;

    if (str_trim(text).len == 0)
        return err_set(p->err, ERR_MALFORMED, "The JSON document is empty."), NULL;
    if (valid < text.len)
        return fail(p, ERR_MALFORMED, p->start + valid,
                    text.data[valid] == '\0' ? "A NUL byte" : "Bytes that are not UTF-8", ""), NULL;
    root = parse_value(p);
    if (!root)
        return NULL;
    skip_white(p);
    return p->at < p->end ? (invalid(p, p->at, "end of file expected"), NULL) : root;
}

struct json *json_parse(struct arena *arena, struct str text, struct err *err)
{
    struct parser p = { .arena = arena, .start = text.data, .at = text.data, .end = text.data + text.len, .err = err };

    return parse(&p);
}

struct json *json_parse_lenient(struct arena *arena, struct str text, struct err *err)
{
    struct parser p = { .arena = arena, .start = text.data, .at = text.data, .end = text.data + text.len,
                        .lenient = true, .err = err };

    return parse(&p);
}
