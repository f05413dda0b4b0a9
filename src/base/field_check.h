/* field_check.h - one given value against one row of a field table. Only field*.c include this. */
#pragma once

#include "base/field.h"

/* Where a value is read: `prefix` stands before field names in errors ("messages[3]."). */
struct field_reader {
    struct arena *arena;
    const char *prefix;
    struct err *err;
};

/* Check a JSON value, or a text from outside JSON, and fill `out`. 0, or -1 and ERR_INVALID naming
 * the field. */
int field_check_json(const struct field_reader *reader, const struct field *field,
                     const struct json *given, struct value *out);
int field_check_text(const struct field_reader *reader, const struct field *field, struct str text,
                     struct value *out);

/* Read an object against a table: the body of field_read_json, called again for the elements of a
 * FIELD_LIST. */
int field_read_object(const struct field_reader *reader, const struct field *table,
                      const struct json *object, struct fields *out);

/* Add "for example ..." or the field's help to an error. Returns -1. */
int field_hint(const struct field_reader *reader, const struct field *field);

/* What a row allows, as the end of "must be ...". In the arena. */
const char *field_allowed(struct arena *arena, const struct field *field);

/* The ceilings in force when a row names none: bytes of a text, elements of a list, range of an
 * integer. */
int64_t field_max(const struct field *field);
int64_t field_min(const struct field *field);
