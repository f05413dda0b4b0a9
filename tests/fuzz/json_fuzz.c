/* Any bytes: both readers end without damage, and what they accept is written and read back the same. */
#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void dump(struct buf *out, const struct json *value)
{
    buf_init(out, LIMIT_ANSWER_BYTES);
    json_dump(out, value);
    if (out->overflow || !str_utf8_valid(buf_slice(out)))
        abort();
}

static void check(struct arena *arena, const struct json *value)
{
    struct err err = { 0 };
    struct buf first, second;

    if (!value)
        return;
    dump(&first, value);
    value = json_parse(arena, buf_slice(&first), &err);
    /* a number may be longer when it is written out in full */
    if (!value && err.code != ERR_TOO_LARGE)
        abort();
    if (value) {
        dump(&second, value);
        if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
            abort();
        buf_fini(&second);
    }
    buf_fini(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct str text = { (const char *)data, size };
    struct err err = { 0 };
    const struct json *strict = json_parse(arena, text, &err), *lenient;

    if (!strict && (err.detail[0] == '\0' || !str_utf8_valid(str_c(err.detail))))
        abort();
    check(arena, strict);
    lenient = json_parse_lenient(arena, text, &err);
    if (strict && !lenient)
        abort();
    check(arena, lenient);
    arena_free(arena);
    return 0;
}
