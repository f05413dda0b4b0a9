#include "base/field_check.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static field_id_decoder *decode_id = id_decode;

void field_install_ids(field_id_decoder *decode)
{
    decode_id = decode ? decode : id_decode;
}

int64_t field_max(const struct field *field)
{
    if (field->type == FIELD_INT)
        return field->max < field->min || (field->max == 0 && field->min == 0) ? INT64_MAX
                                                                               : field->max;
    if (field->max > 0)
        return field->max;
    switch (field->type) {
    case FIELD_URL: return LIMIT_URL_BYTES;
    case FIELD_OBJECT: return LIMIT_METADATA_BYTES;
    case FIELD_TEXTS: case FIELD_IDS: case FIELD_LIST: return LIMIT_FIELD_ITEMS;
    default: return LIMIT_NAME_BYTES;
    }
}

int64_t field_min(const struct field *field)
{
    return field->type == FIELD_INT && field->max == 0 && field->min == 0 ? INT64_MIN : field->min;
}

/* "1 to 200 bytes", "at most 200 bytes" */
static const char *amount(struct arena *arena, const struct field *field, const char *unit)
{
    long long min = field_min(field), max = field_max(field);

    return min > 0 ? arena_printf(arena, "%lld to %lld %s", min, max, unit)
                   : arena_printf(arena, "at most %lld %s", max, unit);
}

static const char *choices(struct arena *arena, const char *list)
{
    struct str rest = str_c(list), word;
    struct buf out;
    const char *text;

    buf_init(&out, LIMIT_DETAIL_BYTES);
    while (str_split(&rest, '|', &word)) {
        if (out.len > 0)
            buf_puts(&out, ", ");
        buf_str(&out, word);
    }
    text = str_dup(arena, buf_slice(&out));
    buf_fini(&out);
    return text;
}

static const char *integers(struct arena *arena, const struct field *field)
{
    long long min = field_min(field), max = field_max(field);

    if (min == INT64_MIN)
        return "an integer";
    return max == INT64_MAX ? arena_printf(arena, "an integer of at least %lld", min)
                            : arena_printf(arena, "an integer from %lld to %lld", min, max);
}

const char *field_allowed(struct arena *arena, const struct field *field)
{
    switch (field->type) {
    case FIELD_TEXT: return arena_printf(arena, "a text of %s", amount(arena, field, "bytes"));
    case FIELD_INT: return integers(arena, field);
    case FIELD_BOOL: return "true or false";
    case FIELD_TIME: return "a time like \"2026-11-20T18:42:26Z\" or milliseconds since 1970";
    case FIELD_URL:
        return arena_printf(arena, "an absolute http or https URL without credentials, of %s",
                            amount(arena, field, "bytes"));
    case FIELD_ENUM: return arena_printf(arena, "one of: %s", choices(arena, field->choices));
    case FIELD_ID:
        return arena_printf(arena, "an id like \"%s_\" and 13 characters", field->choices);
    case FIELD_OBJECT:
        return arena_printf(arena, "a JSON object of %s", amount(arena, field, "bytes"));
    case FIELD_TEXTS: return arena_printf(arena, "an array of %s", amount(arena, field, "texts"));
    case FIELD_IDS:
        return arena_printf(arena, "an array of %s like \"%s_\" and 13 characters",
                            amount(arena, field, "ids"), field->choices);
    case FIELD_LIST: return arena_printf(arena, "an array of %s", amount(arena, field, "objects"));
    }
    assert(!"a known field type");
    return "";
}

int field_hint(const struct field_reader *reader, const struct field *field)
{
    if (field->example)
        return err_hint(reader->err, "For example: %s", field->example);
    return field->help ? err_hint(reader->err, "%s", field->help) : -1;
}

static int wrong(const struct field_reader *reader, const struct field *field, const char *why, ...)
    __attribute__((format(printf, 3, 4)));

/* ERR_INVALID: "name" must be <what is allowed> (<what was found>). */
static int wrong(const struct field_reader *reader, const struct field *field, const char *why, ...)
{
    const char *name = arena_printf(reader->arena, "%s%s", reader->prefix, field->name);
    char reason[128];
    va_list args;

    va_start(args, why);
    vsnprintf(reason, sizeof reason, why, args);
    va_end(args);
    err_field(reader->err, name, "\"%s\" must be %s%s%s.", name,
              field_allowed(reader->arena, field), field->flags & FIELD_NULLABLE ? ", or null" : "",
              reason);
    return field_hint(reader, field);
}

static int wrong_kind(const struct field_reader *reader, const struct field *field,
                      const struct json *given)
{
    static const char *const kinds[] = {
        "null", "true or false", "an integer", "a number with a fraction", "a string", "an array",
        "an object"
    };

    return wrong(reader, field, " (it is %s)", kinds[json_kind(given)]);
}

/* A host, an address in brackets, and perhaps a port. */
static bool is_authority(struct str s)
{
    const char *colon;
    struct str host = s;
    int64_t port;

    if (s.len > 0 && s.data[0] == '[') {
        const char *end = memchr(s.data, ']', s.len);

        host.len = end ? (size_t)(end + 1 - s.data) : 0;
        if (host.len < 4 || strspn(s.data + 1, "0123456789abcdefABCDEF:.") < host.len - 2)
            return false;
        colon = host.len < s.len ? s.data + host.len : NULL;
    } else {
        colon = memchr(s.data, ':', s.len);
        host.len = colon ? (size_t)(colon - s.data) : s.len;
        for (size_t at = 0; at < host.len; at++)
            if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_",
                        host.data[at]))
                return false;
    }
    if (host.len == 0)
        return false;
    return !colon
        || (*colon == ':'
            && str_int((struct str){ colon + 1, (size_t)(s.data + s.len - colon - 1) }, 1, 65535,
                       &port));
}

static bool is_url(struct str s)
{
    size_t scheme = s.len > 7 && str_eq_nocase((struct str){ s.data, 7 }, STR("http://")) ? 7
        : s.len > 8 && str_eq_nocase((struct str){ s.data, 8 }, STR("https://")) ? 8 : 0;
    struct str authority;

    if (scheme == 0)
        return false;
    for (size_t at = 0; at < s.len; at++)
        if ((unsigned char)s.data[at] <= ' ' || s.data[at] == 0x7f || strchr("\"<>\\", s.data[at]))
            return false;
    authority = (struct str){ s.data + scheme, strcspn(s.data + scheme, "/?#") };
    return is_authority(authority);     /* which has no '@' */
}

/* The index of `word` in "a|b|c", or -1. */
static int64_t choice_index(const char *list, struct str word)
{
    struct str rest = str_c(list), one;

    for (int64_t index = 0; str_split(&rest, '|', &one); index++)
        if (str_eq(one, word))
            return index;
    return -1;
}

static int wrong_choice(const struct field_reader *reader, const struct field *field,
                        const char *word)
{
    struct str rest = str_c(field->choices), one;
    const char *names[65] = { NULL }, *nearest;

    wrong(reader, field, "%s", "");
    for (size_t count = 0; count < 64 && str_split(&rest, '|', &one); count++)
        names[count] = str_dup(reader->arena, one);
    nearest = field_nearest(word, names);
    return nearest ? err_hint(reader->err, "Did you mean \"%s\"?", nearest) : -1;
}

/* The types that are a text wherever they come from. `text` is valid UTF-8 in the arena. */
static int check_word(const struct field_reader *reader, const struct field *field, struct str text,
                      struct value *out)
{
    out->text = text;
    switch (field->type) {
    case FIELD_ENUM:
        out->number = choice_index(field->choices, text);
        return out->number < 0 ? wrong_choice(reader, field, text.data) : 0;
    case FIELD_ID:
        return decode_id(field->choices, text, &out->number) ? 0 : wrong(reader, field, "%s", "");
    case FIELD_TIME:
        /* bare digits are milliseconds, as they are in JSON */
        if (str_int(text, 0, INT64_MAX, &out->number))
            return out->number <= CLOCK_MAX_MS
                ? 0
                : wrong(reader, field, " (it is after the year 9999)");
        return clock_parse(text, &out->number, &out->offset_min) ? 0
                                                                 : wrong(reader, field, "%s", "");
    default:
        if ((int64_t)text.len > field_max(field) || (int64_t)text.len < field->min)
            return wrong(reader, field, " (it has %zu)", text.len);
        if (field->type == FIELD_URL && !is_url(text))
            return wrong(reader, field, "%s", "");
        return 0;
    }
}

static int check_count(const struct field_reader *reader, const struct field *field, size_t count)
{
    if ((int64_t)count > field_max(field) || (int64_t)count < field->min)
        return wrong(reader, field, " (it has %zu)", count);
    return 0;
}

/* The row for one element of FIELD_TEXTS or FIELD_IDS, named "tags[2]". */
static struct field element_row(const struct field_reader *reader, const struct field *field,
                                size_t index)
{
    struct field row = *field;

    row.name = arena_printf(reader->arena, "%s[%zu]", field->name, index);
    row.type = field->type == FIELD_IDS ? FIELD_ID : FIELD_TEXT;
    row.flags &= ~(unsigned)FIELD_NULLABLE;
    row.min = row.type == FIELD_TEXT;
    row.max = LIMIT_URL_BYTES;
    return row;
}

static int check_element(const struct field_reader *reader, const struct field *field,
                         struct str text, struct value *out)
{
    struct field row = element_row(reader, field, out->count);
    struct value element = { 0 };

    if (!text.data || !str_utf8_valid(text))
        return wrong(reader, &row, "%s",
                     text.data ? " (it is not UTF-8)" : " (it is not a string)");
    if (check_word(reader, &row, (struct str){ str_dup(reader->arena, text), text.len }, &element)
        < 0)
        return -1;
    if (field->type == FIELD_IDS)
        out->ids[out->count++] = element.number;
    else
        out->texts[out->count++] = element.text;
    return 0;
}

static void make_room(const struct field_reader *reader, struct value *out, size_t count)
{
    if (out->field->type == FIELD_IDS)
        out->ids = arena_array(reader->arena, count, sizeof *out->ids);
    else if (out->field->type == FIELD_TEXTS)
        out->texts = arena_array(reader->arena, count, sizeof *out->texts);
    else
        out->list = arena_array(reader->arena, count, sizeof *out->list);
}

static int check_row(const struct field_reader *reader, const struct field *field,
                     const struct json *given, struct value *out)
{
    struct field_reader inner = *reader;
    struct fields *fields = arena_alloc(reader->arena, sizeof *fields);
    const char *name =
        arena_printf(reader->arena, "%s%s[%zu]", reader->prefix, field->name, out->count);

    if (json_kind(given) != JSON_KIND_OBJECT)
        return err_field(reader->err, name, "\"%s\" must be an object.", name);
    inner.prefix = arena_printf(reader->arena, "%s.", name);
    if (field_read_object(&inner, field->of, given, fields) < 0)
        return -1;
    out->list[out->count++] = fields;
    return 0;
}

static int check_array(const struct field_reader *reader, const struct field *field,
                       const struct json *given, struct value *out)
{
    size_t count = json_count(given);

    if (json_kind(given) != JSON_KIND_ARRAY)
        return wrong_kind(reader, field, given);
    if (check_count(reader, field, count) < 0)
        return -1;
    make_room(reader, out, count);
    for (size_t at = 0; at < count; at++) {
        const struct json *item = json_item(given, at);

        if (field->type == FIELD_LIST ? check_row(reader, field, item, out) < 0
                                      : check_element(reader, field, json_text(item), out) < 0)
            return -1;
    }
    return 0;
}

static int check_object(const struct field_reader *reader, const struct field *field,
                        const struct json *given, struct value *out)
{
    struct buf text;
    bool fits;

    if (json_kind(given) != JSON_KIND_OBJECT)
        return wrong_kind(reader, field, given);
    buf_init(&text, (size_t)field_max(field));
    json_dump(&text, given);
    fits = !text.overflow;
    out->text =
        (struct str){ arena_copy(reader->arena, buf_slice(&text).data, text.len), text.len };
    buf_fini(&text);
    return fits ? 0 : wrong(reader, field, " (it is larger)");
}

int field_check_json(const struct field_reader *reader, const struct field *field,
                     const struct json *given, struct value *out)
{
    enum json_kind kind = json_kind(given);
    struct str text = json_text(given);

    *out = (struct value){ .field = field };
    if (kind == JSON_KIND_NULL && field->flags & FIELD_NULLABLE) {
        out->is_null = true;
        return 0;
    }
    switch (field->type) {
    case FIELD_OBJECT: return check_object(reader, field, given, out);
    case FIELD_TEXTS:
    case FIELD_IDS:
    case FIELD_LIST: return check_array(reader, field, given, out);
    case FIELD_INT:
        out->number = json_int(given, 0);
        if (kind != JSON_KIND_INT)
            return wrong_kind(reader, field, given);
        return out->number < field_min(field) || out->number > field_max(field)
            ? wrong(reader, field, "%s", "")
            : 0;
    case FIELD_BOOL:
        out->number = json_bool(given, false);
        return kind != JSON_KIND_BOOL ? wrong_kind(reader, field, given) : 0;
    case FIELD_TIME:
        if (kind == JSON_KIND_INT) {
            out->number = json_int(given, 0);
            return out->number >= 0 && out->number <= CLOCK_MAX_MS ? 0
                                                                   : wrong(reader, field, "%s", "");
        }
        break;
    default:
        break;
    }
    if (kind != JSON_KIND_STRING)
        return wrong_kind(reader, field, given);
    return check_word(reader, field, (struct str){ str_dup(reader->arena, text), text.len }, out);
}

/* An object or a list given as a text is its JSON. */
static int check_serialised(const struct field_reader *reader, const struct field *field,
                            struct str text, struct value *out)
{
    const char *name = arena_printf(reader->arena, "%s%s", reader->prefix, field->name);
    struct err inner = { 0 };
    const struct json *given = json_parse(reader->arena, text, &inner);

    if (!given)
        return err_field(reader->err, name, "\"%s\": %s", name, inner.detail);
    return field_check_json(reader, field, given, out);
}

/* Comma separated; empty parts do not count. */
static int check_commas(const struct field_reader *reader, const struct field *field,
                        struct str text, struct value *out)
{
    struct str rest = text, part;
    size_t count = 0;

    while (str_split(&rest, ',', &part))
        count += str_trim(part).len > 0;
    if (check_count(reader, field, count) < 0)
        return -1;
    make_room(reader, out, count);
    for (rest = text; str_split(&rest, ',', &part);)
        if (str_trim(part).len > 0 && check_element(reader, field, str_trim(part), out) < 0)
            return -1;
    return 0;
}

int field_check_text(const struct field_reader *reader, const struct field *field, struct str text,
                     struct value *out)
{
    static const char words[] = "false|true|0|1|no|yes|off|on";

    *out = (struct value){ .field = field };
    if (!text.data || !str_utf8_valid(text))
        return wrong(reader, field, "%s", text.data ? " (it is not UTF-8)" : " (it is missing)");
    text.data = str_dup(reader->arena, text);
    switch (field->type) {
    case FIELD_INT:
        out->text = text;
        return str_int(text, field_min(field), field_max(field), &out->number)
            ? 0
            : wrong(reader, field, "%s", "");
    case FIELD_BOOL:
        out->text = text;
        out->number = choice_index(words, text);
        if (out->number < 0)
            return wrong(reader, field, "%s", "");
        out->number &= 1;
        return 0;
    case FIELD_OBJECT: case FIELD_LIST: return check_serialised(reader, field, text, out);
    case FIELD_TEXTS: case FIELD_IDS: return check_commas(reader, field, text, out);
    default: return check_word(reader, field, text, out);
    }
}
