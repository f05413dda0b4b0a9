#include "base/field.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/field_check.h"
#include "base/json.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

#define LONGEST_NAME 64
#define NEAR 3
#define ELSEWHERE (FIELD_PATH | FIELD_QUERY)

void field_begin(struct arena *arena, const struct field *table, struct fields *out)
{
    size_t count = 0;

    while (table[count].name)
        count++;
    *out = (struct fields){ table, arena_array(arena, count, sizeof *out->values), count };
}

/* The row with this name, or -1. */
static int64_t row_of(const struct fields *fields, struct str name)
{
    for (size_t row = 0; row < fields->count; row++)
        if (str_is(name, fields->table[row].name))
            return (int64_t)row;
    return -1;
}

/* The allowed names but those with one of the flags in `without`, for the hint. */
static const char *names_text(struct arena *arena, const struct field *table, unsigned without)
{
    struct buf out;
    const char *text;

    buf_init(&out, LIMIT_HINT_BYTES - LONGEST_NAME - 40);
    for (const struct field *field = table; field->name && !out.overflow; field++)
        if (!(field->flags & without))
            buf_printf(&out, "%s%s", out.len > 0 ? ", " : "", field->name);
    text = out.len == 0
        ? "none"
        : arena_printf(arena, "%s%s", buf_slice(&out).data, out.overflow ? ", ..." : "");
    buf_fini(&out);
    return text;
}

static int unknown(const struct field_reader *reader, const struct fields *fields, struct str name,
                   unsigned without)
{
    const char *shown = str_printable(
        reader->arena, (struct str){ name.data, str_cut(name, LONGEST_NAME, false) }, true);
    const char *full = arena_printf(reader->arena, "%s%s", reader->prefix, shown);
    const char **names = arena_array(reader->arena, fields->count + 1, sizeof *names);
    const char *allowed = names_text(reader->arena, fields->table, without), *nearest;
    size_t count = 0;

    for (size_t row = 0; row < fields->count; row++)
        if (!(fields->table[row].flags & without))
            names[count++] = fields->table[row].name;
    err_field(reader->err, full, "Unknown field \"%s\".", full);
    nearest = field_nearest(shown, names);
    if (nearest)
        return err_hint(reader->err, "Did you mean \"%s\"? Allowed: %s.", nearest, allowed);
    return err_hint(reader->err, "Allowed: %s.", allowed);
}

/* Defaults, then what is required, for the rows without one of the flags in `without`. */
static int finish(const struct field_reader *reader, struct fields *fields, unsigned without)
{
    for (size_t row = 0; row < fields->count; row++) {
        const struct field *field = &fields->table[row];
        const char *name;

        if (fields->values[row].field || field->flags & without)
            continue;
        if (field->fallback) {
            if (field_check_text(reader, field, str_c(field->fallback), &fields->values[row]) < 0)
                assert(!"a default that its own row allows");
        } else if (field->flags & FIELD_REQUIRED) {
            name = arena_printf(reader->arena, "%s%s", reader->prefix, field->name);
            err_field(reader->err, name, "\"%s\" is required: %s.", name,
                      field_allowed(reader->arena, field));
            return field_hint(reader, field);
        }
    }
    return 0;
}

int field_read_object(const struct field_reader *reader, const struct field *table,
                      const struct json *object, struct fields *out)
{
    void *position = NULL;
    const char *key;
    const struct json *given;

    field_begin(reader->arena, table, out);
    while (object && json_next(object, &position, &key, &given)) {
        int64_t row = row_of(out, str_c(key));

        if (row < 0)
            return unknown(reader, out, str_c(key), ELSEWHERE);
        if (table[row].flags & ELSEWHERE) {
            err_field(reader->err, key, "\"%s\" does not belong in the body.", key);
            return err_hint(reader->err, "Give it in the %s.",
                            table[row].flags & FIELD_PATH ? "path" : "query string");
        }
        if (field_check_json(reader, &table[row], given, &out->values[row]) < 0)
            return -1;
    }
    return finish(reader, out, ELSEWHERE);
}

int field_read_json(struct arena *arena, const struct field *table, const struct json *object,
                    struct fields *out, struct err *err)
{
    const struct field_reader reader = { arena, "", err };

    if (object && json_kind(object) != JSON_KIND_OBJECT) {
        err_set(err, ERR_INVALID, "The body must be a JSON object.");
        return err_hint(err, "Allowed: %s.", names_text(arena, table, ELSEWHERE));
    }
    return field_read_object(&reader, table, object, out);
}

int field_set_text(struct arena *arena, struct fields *fields, const char *name, struct str text,
                   struct err *err)
{
    const struct field_reader reader = { arena, "", err };
    int64_t row = row_of(fields, str_c(name));

    if (row < 0)
        return unknown(&reader, fields, str_c(name), 0);
    return field_check_text(&reader, &fields->table[row], text, &fields->values[row]);
}

int field_finish(struct arena *arena, struct fields *fields, struct err *err)
{
    return finish(&(const struct field_reader){ arena, "", err }, fields, 0);
}

static struct str copy_text(struct arena *arena, struct str text)
{
    return text.data ? (struct str){ str_dup(arena, text), text.len } : text;
}

static void copy_value(struct arena *arena, const struct value *value, struct value *out)
{
    *out = *value;
    out->text = copy_text(arena, value->text);
    if (value->ids)
        out->ids = arena_copy(arena, value->ids, value->count * sizeof *value->ids);
    if (value->texts)
        out->texts = arena_array(arena, value->count, sizeof *out->texts);
    if (value->list)
        out->list = arena_array(arena, value->count, sizeof(struct fields *));
    for (size_t i = 0; i < value->count; i++) {
        if (value->texts)
            out->texts[i] = copy_text(arena, value->texts[i]);
        if (value->list)
            out->list[i] = field_copy(arena, value->list[i]);
    }
}

struct fields *field_copy(struct arena *arena, const struct fields *fields)
{
    struct fields *copy = arena_copy(arena, fields, sizeof *fields);

    copy->values = arena_array(arena, fields->count, sizeof *copy->values);
    for (size_t row = 0; row < fields->count; row++)
        if (fields->values[row].field)
            copy_value(arena, &fields->values[row], &copy->values[row]);
    return copy;
}

const struct value *field_get(const struct fields *fields, const char *name)
{
    int64_t row = row_of(fields, str_c(name));

    assert(row >= 0);
    return fields->values[row].field ? &fields->values[row] : NULL;
}

/* A value that was given and is not null. */
static const struct value *present(const struct fields *fields, const char *name)
{
    const struct value *value = field_get(fields, name);

    return value && !value->is_null ? value : NULL;
}

struct str field_text(const struct fields *fields, const char *name)
{
    const struct value *value = present(fields, name);

    return value ? value->text : (struct str){ 0 };
}

const char *field_cstr(const struct fields *fields, const char *name)
{
    return field_text(fields, name).data;
}

int64_t field_number(const struct fields *fields, const char *name, int64_t fallback)
{
    const struct value *value = present(fields, name);

    return value ? value->number : fallback;
}

bool field_flag(const struct fields *fields, const char *name)
{
    return field_number(fields, name, 0) != 0;
}

static int smallest(int a, int b)
{
    return a < b ? a : b;
}

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* Insertions, deletions, changes and swaps of neighbours between two words, in three rows. */
static int distance(const char *a, const char *b)
{
    int rows[3][LONGEST_NAME + 1], *before = rows[0], *last = rows[1], *now = rows[2];
    int a_len = (int)strlen(a), b_len = (int)strlen(b);

    if (a_len > LONGEST_NAME || b_len > LONGEST_NAME)
        return LONGEST_NAME;
    for (int j = 0; j <= b_len; j++)
        last[j] = before[j] = j;
    for (int i = 1; i <= a_len; i++) {
        int *oldest = before;

        now[0] = i;
        for (int j = 1; j <= b_len; j++) {
            int changed = lower(a[i - 1]) != lower(b[j - 1]);

            now[j] = smallest(smallest(last[j], now[j - 1]) + 1, last[j - 1] + changed);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2])
                && lower(a[i - 2]) == lower(b[j - 1]))
                now[j] = smallest(now[j], before[j - 2] + 1);
        }
        before = last;
        last = now;
        now = oldest;
    }
    return last[b_len];
}

const char *field_nearest(const char *word, const char *const *names)
{
    const char *nearest = NULL;
    int least = NEAR + 1;

    for (; *names; names++) {
        int apart = distance(word, *names);

        /* nothing in common is not near, however short the words are */
        if (apart < least && apart < (int)strlen(word) && apart < (int)strlen(*names)) {
            least = apart;
            nearest = *names;
        }
    }
    return nearest;
}
