/* row.h - struct <-> row <-> JSON through a column table. One row of the table says where a column lives in the struct
 * and who may see it; the SELECT list, reading, INSERT values and JSON come from it. Queries stay hand-written SQL. */
#pragma once

#include "db/db.h"

struct json_writer;

enum column_type {
    COL_INT,        /* int64_t */
    COL_TEXT,       /* struct str, in the arena */
    COL_BLOB,       /* struct str */
    COL_BOOL,       /* int64_t 0/1; JSON true/false */
    COL_TIME,       /* int64_t ms, 0 = none (NULL); JSON RFC 3339 */
    COL_REF,        /* int64_t id, 0 = NULL; JSON public id with `prefix` */
    COL_JSON,       /* struct str of serialised JSON; JSON as it is */
    COL_ENUM        /* int64_t index into `words`; JSON the word */
};

enum {
    COL_PUBLIC = 1,     /* part of the JSON */
    COL_SECRET = 2      /* never in JSON, never logged */
};

struct column {
    const char *name;               /* in the database; also in JSON unless `json` is set; NULL ends the table */
    enum column_type type;
    size_t offset;
    unsigned flags;
    const char *prefix;             /* COL_REF */
    const char *const *words;       /* COL_ENUM, ends with NULL */
    const char *json;               /* another JSON name ("id" of a COL_REF), or NULL */
};

/* "a.id, a.tenant_id, ..." with the alias (or without when NULL), in the arena; the same pointer for the same table
 * and alias as long as the process lives, so that statement caches hit. */
const char *row_select(const struct column *columns, const char *alias);

/* Read the current row, whose columns from `first` on are those of row_select, into `out`; texts are copied into the
 * arena. */
void row_read(const struct db_rows *rows, int first, const struct column *columns, struct arena *arena, void *out);

/* The values in table order, for INSERT; `values` has room for all columns. Returns their number. */
size_t row_values(const struct column *columns, const void *in, struct db_value *values);

/* Write the public columns as members of the current JSON object. */
void row_json(struct json_writer *writer, const struct column *columns, const void *in);
