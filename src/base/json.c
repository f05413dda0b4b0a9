#include "base/json.h"

#include "base/arena.h"
#include "base/json_scan.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* `struct json` is the library's json_t under our name. While a thread parses, what the library
 * allocates comes from the caller's arena and what it frees stays there; outside a parse the
 * library has ordinary memory. */
static _Thread_local struct arena *parsing;

static void *take(size_t size)
{
    return parsing ? arena_alloc(parsing, size) : mem_alloc(size);
}

static void give(void *memory)
{
    if (!parsing)
        free(memory);
}

static void prepare(void)
{
    json_set_alloc_funcs(take, give);
    json_object_seed(0);
}

static const json_t *library(const struct json *value)
{
    return (const json_t *)value;
}

static json_t *library_mutable(const struct json *value)
{
    return (json_t *)(uintptr_t)value;      /* the library's readers take no const */
}

/* The library's reason without its "near '...'", which repeats input and may cut a character in
 * two. */
static void refuse(struct err *err, const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    const char *near = strstr(error->text, " near ");
    int len = near ? (int)(near - error->text) : (int)strlen(error->text);

    if (code == json_error_premature_end_of_input)
        err_set(err, ERR_MALFORMED, "The JSON ends too early, at line %d, column %d.", error->line,
                error->column);
    else
        err_set(err, ERR_MALFORMED, "Not valid JSON at line %d, column %d: %.*s.", error->line,
                error->column, len, error->text);
    if (code == json_error_duplicate_key)
        err_hint(err, "Give each key of an object once.");
    else if (code == json_error_numeric_overflow)
        err_hint(err, "Integers must fit into 64 bits; send larger ones as strings.");
}

static struct json *load(struct arena *arena, struct str text, size_t flags, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t error;
    json_t *root;

    pthread_once(&once, prepare);
    parsing = arena;
    root = json_loadb(text.data, text.len, flags | JSON_DECODE_ANY, &error);
    parsing = NULL;
    if (!root)
        refuse(err, &error);
    return (struct json *)root;
}

struct json *json_parse(struct arena *arena, struct str text, struct err *err)
{
    if (json_scan(&text, NULL, err) < 0)
        return NULL;
    return load(arena, text, JSON_REJECT_DUPLICATES, err);
}

struct json *json_parse_lenient(struct arena *arena, struct str text, struct err *err)
{
    if (json_scan(&text, arena, err) < 0)
        return NULL;
    return load(arena, text, 0, err);
}

enum json_kind json_kind(const struct json *value)
{
    if (!value)
        return JSON_KIND_NULL;
    switch (json_typeof(library(value))) {
    case JSON_OBJECT: return JSON_KIND_OBJECT;
    case JSON_ARRAY: return JSON_KIND_ARRAY;
    case JSON_STRING: return JSON_KIND_STRING;
    case JSON_INTEGER: return JSON_KIND_INT;
    case JSON_REAL: return JSON_KIND_REAL;
    case JSON_TRUE: case JSON_FALSE: return JSON_KIND_BOOL;
    case JSON_NULL: break;
    }
    return JSON_KIND_NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
    return (const struct json *)json_object_get(library(object), key);
}

const struct json *json_at(const struct json *object, const char *path)
{
    const struct json *value = object;
    struct str rest = str_c(path), part;

    while (value && str_split(&rest, '.', &part)) {
        int64_t index;

        if (json_kind(value) == JSON_KIND_ARRAY)
            value = str_int(part, 0, INT32_MAX, &index) ? json_item(value, (size_t)index) : NULL;
        else
            value = (const struct json *)json_object_getn(library(value), part.data, part.len);
    }
    return value;
}

size_t json_count(const struct json *value)
{
    return json_kind(value) == JSON_KIND_OBJECT ? json_object_size(library(value))
                                                : json_array_size(library(value));
}

const struct json *json_item(const struct json *array, size_t index)
{
    return (const struct json *)json_array_get(library(array), index);
}

bool json_next(const struct json *object, void **position, const char **key,
               const struct json **value)
{
    json_t *table = library_mutable(object);

    *position = *position ? json_object_iter_next(table, *position) : json_object_iter(table);
    if (!*position)
        return false;
    *key = json_object_iter_key(*position);
    *value = (const struct json *)json_object_iter_value(*position);
    return true;
}

struct str json_text(const struct json *value)
{
    if (json_kind(value) != JSON_KIND_STRING)
        return (struct str){ 0 };
    return (struct str){ json_string_value(library(value)), json_string_length(library(value)) };
}

int64_t json_int(const struct json *value, int64_t fallback)
{
    return json_kind(value) == JSON_KIND_INT ? json_integer_value(library(value)) : fallback;
}

double json_number(const struct json *value, double fallback)
{
    enum json_kind kind = json_kind(value);

    return kind == JSON_KIND_INT || kind == JSON_KIND_REAL ? json_number_value(library(value))
                                                           : fallback;
}

bool json_bool(const struct json *value, bool fallback)
{
    return json_kind(value) == JSON_KIND_BOOL ? json_is_true(library(value)) : fallback;
}
