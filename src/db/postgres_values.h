/* postgres_values.h - values as PostgreSQL's binary format has them; plain bytes, no library. */
#pragma once

#include "base/buf.h"
#include "db/db.h"

/* The arguments of one execution as the library takes them: all binary. */
struct pg_values {
    const char *values[LIMIT_SQL_VALUES];
    int lengths[LIMIT_SQL_VALUES];
    int formats[LIMIT_SQL_VALUES];
    char numbers[LIMIT_SQL_VALUES][8];
};

/* The type number of a parameter of this db_type letter, or of an array of it. */
unsigned pg_type(char letter, bool array);

/* Point `out` at `count` values. Numbers are copied, texts are not. */
void pg_pack(struct pg_values *out, const struct db_value *values, size_t count);

/* Write `row_count` rows of strlen(types) values as one array per column into `arrays` and point `out` at them. False:
 * too large for it. */
bool pg_pack_set(struct pg_values *out, struct buf *arrays, const char *types, const struct db_value *values,
                 size_t row_count);

/* The statement with `:rows:` as the rows of `columns` arrays. free() it. */
char *pg_set_text(const char *sql, size_t columns);

/* Can a column of this type be read? Integers, booleans, floats, numeric, text, bytea and void can. */
bool pg_readable(unsigned type);

/* Read one non-NULL value. Numbers convert (numeric is cut to an integer); other types give 0, and numbers read as
 * text the absent slice. */
int64_t pg_int(unsigned type, const char *data, size_t len);
double pg_real(unsigned type, const char *data, size_t len);
struct str pg_text(unsigned type, const char *data, size_t len);
