/* Any JSON against a table with every type, and any text for every field: an error names a field and is valid text, a
 * value keeps its row's limits. The first byte chooses: 0 to 199 JSON, above it a text for one of the fields. */
#include "base/arena.h"
#include "base/field.h"
#include "base/json.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct field row_table[] = {
    { .name = "text", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = 20 },
    { .name = "kind", .type = FIELD_ENUM, .choices = "sms|mms", .fallback = "sms" },
    { 0 }
};

static const struct field table[] = {
    { .name = "text", .type = FIELD_TEXT, .min = 1, .max = 30 },
    { .name = "name", .type = FIELD_TEXT, .flags = FIELD_NULLABLE },
    { .name = "limit", .type = FIELD_INT, .min = 1, .max = 500, .fallback = "50", .example = "100" },
    { .name = "dry_run", .type = FIELD_BOOL, .fallback = "false" },
    { .name = "at", .type = FIELD_TIME, .flags = FIELD_NULLABLE },
    { .name = "url", .type = FIELD_URL, .max = 100 },
    { .name = "priority", .type = FIELD_ENUM, .choices = "low|normal|high" },
    { .name = "contact", .type = FIELD_ID, .choices = "con" },
    { .name = "metadata", .type = FIELD_OBJECT, .max = 60 },
    { .name = "tags", .type = FIELD_TEXTS, .max = 3 },
    { .name = "ids", .type = FIELD_IDS, .choices = "msg", .max = 3 },
    { .name = "messages", .type = FIELD_LIST, .min = 1, .max = 4, .of = row_table },
    { .name = "page", .type = FIELD_INT, .flags = FIELD_QUERY, .min = 1, .max = 9 },
    { 0 }
};

static void check_error(const struct err *err)
{
    if (err->code != ERR_INVALID || err->detail[0] == '\0' || !str_utf8_valid(str_c(err->detail))
        || !str_utf8_valid(str_c(err->hint)) || !str_utf8_valid(str_c(err->field)))
        abort();
}

static void check_value(struct arena *arena, const struct value *value)
{
    const struct field *field = value->field;

    if (!field || value->is_null)
        return;
    if (value->text.data
        && (strlen(value->text.data) != value->text.len || !str_utf8_valid(value->text)))
        abort();
    if (field->type == FIELD_TEXT
        && (value->text.len < (size_t)field->min
            || value->text.len > (field->max ? (size_t)field->max : LIMIT_NAME_BYTES)))
        abort();
    if (field->type == FIELD_INT && (value->number < field->min || value->number > field->max))
        abort();
    if (field->type == FIELD_URL && strncasecmp(value->text.data, "http", 4) != 0)
        abort();
    if (field->type == FIELD_OBJECT
        && (value->text.len > 60 || !json_parse(arena, value->text, NULL)))
        abort();
    if (value->count > 4)
        abort();
    for (size_t at = 0; field->type == FIELD_LIST && at < value->count; at++)
        if (!field_cstr(value->list[at], "text") || !field_cstr(value->list[at], "kind"))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct fields fields = { 0 };
    struct err err = { 0 };
    int failed = 0;

    if (size > 0 && data[0] < 200) {
        const struct json *object =
            json_parse_lenient(arena, (struct str){ (const char *)data + 1, size - 1 }, NULL);

        if (object)
            failed = field_read_json(arena, table, object, &fields, &err);
    } else if (size > 0) {
        const char *name = table[data[0] % (sizeof table / sizeof *table - 1)].name;

        field_begin(arena, table, &fields);
        failed = field_set_text(arena, &fields, name,
                                (struct str){ (const char *)data + 1, size - 1 }, &err);
    }
    if (failed)
        check_error(&err);
    for (size_t row = 0; !failed && row < fields.count; row++)
        check_value(arena, &fields.values[row]);
    arena_free(arena);
    return 0;
}
