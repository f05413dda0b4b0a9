/* The JSON schema half of field.h (OpenAPI 3.1, MCP tools). */
#include "base/buf.h"
#include "base/field_check.h"
#include "base/json.h"

#include <assert.h>

static void put_type(struct json_writer *w, const struct field *field, const char *type)
{
    json_key(w, "type");
    if (!(field->flags & FIELD_NULLABLE)) {
        json_put_text(w, str_c(type));
        return;
    }
    json_array_begin(w);
    json_put_text(w, str_c(type));
    json_put_text(w, STR("null"));
    json_array_end(w);
}

/* Our limits are bytes, a schema's are characters: the maximum still holds, and a minimum only says
 * "not empty". */
static void put_text_limits(struct json_writer *w, const struct field *field)
{
    if (field->min > 0)
        json_int_at(w, "minLength", 1);
    json_int_at(w, "maxLength", field_max(field));
}

static void put_choices(struct json_writer *w, const struct field *field)
{
    struct str rest = str_c(field->choices), word;

    json_key(w, "enum");
    json_array_begin(w);
    while (str_split(&rest, '|', &word))
        json_put_text(w, word);
    if (field->flags & FIELD_NULLABLE)
        json_put_null(w);
    json_array_end(w);
}

static void put_id_pattern(struct json_writer *w, const char *prefix)
{
    json_key(w, "pattern");
    buf_printf(w->out, "\"^%s_[0-9a-hjkmnp-tv-z]{13}$\"", prefix);
    w->comma = true;
}

static void put_table(struct json_writer *w, const struct field *table);

static void put_items(struct json_writer *w, const struct field *field)
{
    put_type(w, field, "array");
    if (field->min > 0)
        json_int_at(w, "minItems", field->min);
    json_int_at(w, "maxItems", field_max(field));
    json_key(w, "items");
    if (field->type == FIELD_LIST) {
        put_table(w, field->of);
        return;
    }
    json_object_begin(w);
    json_cstr_at(w, "type", "string");
    if (field->type == FIELD_IDS)
        put_id_pattern(w, field->choices);
    json_object_end(w);
}

static void put_time(struct json_writer *w, const struct field *field)
{
    json_key(w, "type");
    json_array_begin(w);
    json_put_text(w, STR("string"));
    json_put_text(w, STR("integer"));
    if (field->flags & FIELD_NULLABLE)
        json_put_text(w, STR("null"));
    json_array_end(w);
    json_cstr_at(w, "format", "date-time");
}

static void put_integer(struct json_writer *w, const struct field *field)
{
    put_type(w, field, "integer");
    if (field_min(field) != INT64_MIN)
        json_int_at(w, "minimum", field_min(field));
    if (field_max(field) != INT64_MAX)
        json_int_at(w, "maximum", field_max(field));
}

static void put_constraints(struct json_writer *w, const struct field *field)
{
    switch (field->type) {
    case FIELD_TEXT:
        put_type(w, field, "string");
        put_text_limits(w, field);
        break;
    case FIELD_INT:
        put_integer(w, field);
        break;
    case FIELD_BOOL:
        put_type(w, field, "boolean");
        break;
    case FIELD_TIME:
        put_time(w, field);
        break;
    case FIELD_URL:
        put_type(w, field, "string");
        json_cstr_at(w, "format", "uri");
        put_text_limits(w, field);
        break;
    case FIELD_ENUM:
        put_type(w, field, "string");
        put_choices(w, field);
        break;
    case FIELD_ID:
        put_type(w, field, "string");
        put_id_pattern(w, field->choices);
        break;
    case FIELD_OBJECT:
        put_type(w, field, "object");
        json_bool_at(w, "additionalProperties", true);
        break;
    case FIELD_TEXTS: case FIELD_IDS: case FIELD_LIST:
        put_items(w, field);
        break;
    }
}

/* A default or example is a text in the table; in the schema it has the field's own type. */
static void put_sample(struct json_writer *w, const struct field *field, const char *text)
{
    bool flag = str_is(str_c(text), "true") || str_is(str_c(text), "yes")
        || str_is(str_c(text), "on") || str_is(str_c(text), "1");
    int64_t number;
    struct str rest = str_c(text), part;

    switch (field->type) {
    case FIELD_INT:
        assert(str_int(str_c(text), INT64_MIN, INT64_MAX, &number));
        json_put_raw(w, str_c(text));
        break;
    case FIELD_BOOL:
        json_put_bool(w, flag);
        break;
    case FIELD_OBJECT: case FIELD_LIST:
        json_put_raw(w, str_c(text));
        break;
    case FIELD_TEXTS: case FIELD_IDS:
        if (text[0] == '[') {
            json_put_raw(w, rest);
            break;
        }
        json_array_begin(w);
        while (str_split(&rest, ',', &part))
            if (str_trim(part).len > 0)
                json_put_text(w, str_trim(part));
        json_array_end(w);
        break;
    default:
        json_put_text(w, str_c(text));
    }
}

static void put_field(struct json_writer *w, const struct field *field)
{
    json_object_begin(w);
    put_constraints(w, field);
    if (field->help)
        json_cstr_at(w, "description", field->help);
    if (field->flags & FIELD_SECRET)
        json_bool_at(w, "writeOnly", true);
    if (field->fallback) {
        json_key(w, "default");
        put_sample(w, field, field->fallback);
    }
    if (field->example) {
        json_key(w, "examples");
        json_array_begin(w);
        put_sample(w, field, field->example);
        json_array_end(w);
    }
    json_object_end(w);
}

static void put_table(struct json_writer *w, const struct field *table)
{
    const unsigned elsewhere = FIELD_PATH | FIELD_QUERY;

    json_object_begin(w);
    json_cstr_at(w, "type", "object");
    json_key(w, "properties");
    json_object_begin(w);
    for (const struct field *field = table; field->name; field++) {
        if (field->flags & elsewhere)
            continue;
        json_key(w, field->name);
        put_field(w, field);
    }
    json_object_end(w);
    json_key(w, "required");
    json_array_begin(w);
    for (const struct field *field = table; field->name; field++)
        if (!(field->flags & elsewhere) && field->flags & FIELD_REQUIRED && !field->fallback)
            json_put_text(w, str_c(field->name));
    json_array_end(w);
    json_bool_at(w, "additionalProperties", false);
    json_object_end(w);
}

void field_schema(struct buf *out, const struct field *field)
{
    struct json_writer w = json_writer(out);

    put_field(&w, field);
}

void field_table_schema(struct buf *out, const struct field *table)
{
    struct json_writer w = json_writer(out);

    put_table(&w, table);
}
