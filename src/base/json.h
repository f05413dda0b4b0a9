/* json.h - reading JSON into a tree, and a small append-only writer. Both are our own: with a general library reading
 * took two fifths of the work of accepting a message.
 *
 * Reading is strict: valid UTF-8, no duplicate keys, no NUL, the depth, key, node and number
 * ceilings of limits.h. The tree lives in the arena given and is never freed piece by piece. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct json;        /* one value of a parsed document */

enum json_kind {
    JSON_KIND_NULL, JSON_KIND_BOOL, JSON_KIND_INT, JSON_KIND_REAL, JSON_KIND_STRING,
    JSON_KIND_ARRAY, JSON_KIND_OBJECT
};

/* Parse a whole document (any JSON value). NULL and `err` (ERR_MALFORMED, with line and column;
 * ERR_TOO_LARGE for ceilings) when it is not one. */
struct json *json_parse(struct arena *arena, struct str text, struct err *err);

/* The same for providers: NUL escapes are dropped and lone surrogate escapes become U+FFFD instead
 * of being refused, and the last of duplicate keys wins (contracts: storage traps). */
struct json *json_parse_lenient(struct arena *arena, struct str text, struct err *err);

/* What a value is; NULL counts as JSON_KIND_NULL. */
enum json_kind json_kind(const struct json *value);

/* A member of an object, or what a path leads to ("items.0.id"); NULL when there is none. */
const struct json *json_get(const struct json *object, const char *key);
const struct json *json_at(const struct json *object, const char *path);

/* Elements of an array or object; and one of them, NULL behind the end. */
size_t json_count(const struct json *value);
const struct json *json_item(const struct json *array, size_t index);

/* Walk an object: start with `*position` NULL; false at the end. */
bool json_next(const struct json *object, void **position, const char **key, const struct json **value);

/* Typed reads: the absent slice / fallback when the value is missing or of another kind. */
struct str json_text(const struct json *value);
int64_t json_int(const struct json *value, int64_t fallback);
double json_number(const struct json *value, double fallback);
bool json_bool(const struct json *value, bool fallback);

/* Serialise compactly, keys in document order, into `out`. */
void json_dump(struct buf *out, const struct json *value);

/* --- Writer ---------------------------------------------------------------------------------------- */

struct json_writer {
    struct buf *out;
    bool comma;
};

/* A writer that appends to a buf; commas are its own business. */
struct json_writer json_writer(struct buf *out);

/* Begin and end an object or array, as a value. */
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);

/* The key of the next value: a trusted literal. */
void json_key(struct json_writer *w, const char *key);

/* One value. Texts must be valid UTF-8; the absent slice writes null; json_put_raw takes JSON as it is. */
void json_put_text(struct json_writer *w, struct str text);
void json_put_int(struct json_writer *w, int64_t number);
void json_put_real(struct json_writer *w, double number);
void json_put_bool(struct json_writer *w, bool flag);
void json_put_null(struct json_writer *w);
void json_put_raw(struct json_writer *w, struct str json);

/* Key and value in one call. A time is RFC 3339 text, 0 is null. */
void json_text_at(struct json_writer *w, const char *key, struct str text);
void json_cstr_at(struct json_writer *w, const char *key, const char *text);
void json_int_at(struct json_writer *w, const char *key, int64_t number);
void json_bool_at(struct json_writer *w, const char *key, bool flag);
void json_time_at(struct json_writer *w, const char *key, int64_t ms);
