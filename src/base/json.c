/* Reading a parsed document. */
#include "base/json_tree.h"

#include <string.h>

enum json_kind json_kind(const struct json *value)
{
    return value ? value->kind : JSON_KIND_NULL;
}

static const struct json *member(const struct json *object, struct str key)
{
    if (json_kind(object) != JSON_KIND_OBJECT)
        return NULL;
    for (const struct json *value = object->list.first; value; value = value->next)
        if (str_eq(value->key, key))
            return value;
    return NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
    return member(object, str_c(key));
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
            value = member(value, part);
    }
    return value;
}

size_t json_count(const struct json *value)
{
    enum json_kind kind = json_kind(value);

    return kind == JSON_KIND_OBJECT || kind == JSON_KIND_ARRAY ? value->list.count : 0;
}

const struct json *json_item(const struct json *array, size_t index)
{
    return json_kind(array) == JSON_KIND_ARRAY && index < array->list.count ? array->list.items[index] : NULL;
}

bool json_next(const struct json *object, void **position, const char **key,
               const struct json **value)
{
    struct json *at = *position;

    if (at)
        at = at->next;
    else if (json_kind(object) == JSON_KIND_OBJECT)
        at = object->list.first;
    *position = at;
    if (!at)
        return false;
    *key = at->key.data;
    *value = at;
    return true;
}

struct str json_text(const struct json *value)
{
    return json_kind(value) == JSON_KIND_STRING ? value->text : (struct str){ 0 };
}

int64_t json_int(const struct json *value, int64_t fallback)
{
    return json_kind(value) == JSON_KIND_INT ? value->number : fallback;
}

double json_number(const struct json *value, double fallback)
{
    enum json_kind kind = json_kind(value);

    if (kind == JSON_KIND_INT)
        return (double)value->number;
    return kind == JSON_KIND_REAL ? value->real : fallback;
}

bool json_bool(const struct json *value, bool fallback)
{
    return json_kind(value) == JSON_KIND_BOOL ? value->number != 0 : fallback;
}
