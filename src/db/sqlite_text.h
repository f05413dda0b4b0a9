/* sqlite_text.h - the one SQL text, as SQLite wants it. */
#pragma once

#include <stddef.h>

/* The text with `$n` as `?n`, `:rows:` as VALUES of one row of `columns` columns, and without FOR UPDATE [SKIP
 * LOCKED]; literals and comments stay as they are. free() it. */
char *sqlite_text(const char *sql, size_t columns);

/* A migration's text: the words BIGINT and BYTEA as INTEGER and BLOB, outside literals and comments. free() it. */
char *sqlite_schema(const char *sql);
