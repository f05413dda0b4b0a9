/* field.h - typed field tables: one row says a value's name, type, limits and help, and gives its
 * checking, its error text, its JSON schema, its CLI flag and its line in `config show`. Used for
 * operation inputs, channel settings and the configuration. Values are read into a `struct fields`,
 * a plain list that is looked up by name. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct buf;
struct json;

enum field_type {
    FIELD_TEXT,       /* string; min/max bytes (max 0: LIMIT_NAME_BYTES) */
    FIELD_INT,        /* integer in [min, max] */
    FIELD_BOOL,
    FIELD_TIME,       /* RFC 3339 string or milliseconds; value in ms */
    FIELD_URL,        /* absolute http or https URL */
    FIELD_ENUM,       /* one of `choices` ("a|b|c"); value is the text, `number` its index */
    FIELD_ID,         /* public id; `choices` is its prefix ("msg"); `number` the decoded integer */
    FIELD_OBJECT,     /* free JSON object, kept as serialised text, max bytes */
    FIELD_TEXTS,      /* array of strings; max elements; in a query: comma separated */
    FIELD_IDS,        /* array of public ids with prefix `choices`; max elements */
    FIELD_LIST        /* array of objects, each checked against `of`; max elements */
};

enum {
    FIELD_REQUIRED = 1,
    FIELD_SECRET = 2,       /* never logged, never shown, sealed when stored */
    FIELD_PERSONAL = 4,     /* logged as a truncated HMAC only */
    FIELD_PATH = 8,         /* taken from the path: /api/v1/messages/{id} */
    FIELD_QUERY = 16,       /* taken from the query string; on GET all fields are */
    FIELD_NULLABLE = 32     /* JSON null is allowed and means "remove" */
};

struct field {
    const char *name;
    enum field_type type;
    unsigned flags;
    const char *help;           /* one sentence; OpenAPI description and CLI help */
    int64_t min, max;
    const char *choices;        /* FIELD_ENUM: "sms|mms"; FIELD_ID: prefix */
    const char *fallback;       /* default value as text, or NULL */
    const struct field *of;     /* FIELD_LIST: the element's table */
    const char *example;        /* for the documentation, or NULL */
};

/* One value that was given (or came from the default). */
struct value {
    const struct field *field;
    bool is_null;
    struct str text;            /* text, URL, enum word, serialised object; NUL-terminated */
    int64_t number;             /* int, bool, time (ms), enum index, decoded id */
    int offset_min;             /* FIELD_TIME: zone offset given, minutes */
    struct str *texts;          /* FIELD_TEXTS */
    int64_t *ids;               /* FIELD_IDS */
    struct fields **list;       /* FIELD_LIST */
    size_t count;               /* elements of the three above */
};

struct fields {
    const struct field *table;  /* ends with a NULL name */
    struct value *values;       /* one per row of the table; `field` NULL when absent */
    size_t count;
};

/* How FIELD_ID texts are decoded. Returns false for a wrong id. */
typedef bool field_id_decoder(const char *prefix, struct str text, int64_t *id);

/* Check a JSON object against a table: unknown fields are refused (naming the nearest known one),
 * types, limits and required fields are checked. Fields flagged FIELD_PATH or FIELD_QUERY are not
 * looked for in the object. `out` lives in the arena. */
int field_read_json(struct arena *arena, const struct field *table, const struct json *object,
                    struct fields *out, struct err *err);

/* Set one value from text (query parameter, path part, flag, environment, file). */
int field_set_text(struct arena *arena, struct fields *fields, const char *name, struct str text,
                   struct err *err);

/* An empty `struct fields` for a table; then field_set_text; then field_finish fills defaults and
 * checks what is required. field_read_json does all of it for the object's part and leaves path and
 * query values to be set. */
void field_begin(struct arena *arena, const struct field *table, struct fields *out);
int field_finish(struct arena *arena, struct fields *fields, struct err *err);

/* A copy with everything it points to but the table, in another arena. */
struct fields *field_copy(struct arena *arena, const struct fields *fields);

/* Look up by name: the value or NULL when absent; the typed ones return the fallback given when
 * absent. An unknown name is a programming error and asserts. */
const struct value *field_get(const struct fields *fields, const char *name);
struct str field_text(const struct fields *fields, const char *name);     /* absent when absent */
const char *field_cstr(const struct fields *fields, const char *name);    /* NULL when absent */
int64_t field_number(const struct fields *fields, const char *name, int64_t fallback);
bool field_flag(const struct fields *fields, const char *name);

/* The nearest of `names` to `word` (edit distance at most 3), or NULL: for "did you mean". `names`
 * ends with NULL. */
const char *field_nearest(const char *word, const char *const *names);

/* Append the JSON schema of one field, or of a whole table as an object schema without path and
 * query fields. */
void field_schema(struct buf *out, const struct field *field);
void field_table_schema(struct buf *out, const struct field *table);

/* Install another FIELD_ID decoder than id_decode (NULL: that one). Call before threads start. */
void field_install_ids(field_id_decoder *decode);
