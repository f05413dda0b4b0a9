/* What clients write into paths, queries and forms: decoding must be strict, bounded, and undone by encoding. */
#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "net/http.h"
#include "net/server_check.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_decode(struct arena *arena, struct str text)
{
    struct str plain, again;

    if (!http_decode(arena, text, false, &plain))
        return;
    assert(plain.len <= text.len);
    assert(!memchr(plain.data, '\0', plain.len));
    assert(http_decode(arena, str_c(http_encode(arena, plain)), true, &again));
    assert(str_eq(plain, again));
}

static void check_form(struct arena *arena, struct str text)
{
    struct http_header *pairs;
    size_t count, total = 0;

    if (!http_form(arena, text, &pairs, &count))
        return;
    assert(count <= LIMIT_HEADER_COUNT);
    for (size_t i = 0; i < count; i++) {
        assert(pairs[i].name.data && pairs[i].value.data);
        total += pairs[i].name.len + pairs[i].value.len;
    }
    assert(total <= text.len);
}

static void check_paths(struct arena *arena, struct str text)
{
    struct http_request request = { .arena = arena };
    struct http_response response = { 0 };
    struct refusal why;
    struct err err;
    struct str host = text, rest;

    /* The first line is the Host header, the rest the target. */
    str_split(&host, '\n', &rest);
    if (check_target(&request, host.data ? host : text, rest, &why) == 0) {
        assert(request.path.len > 0 && request.path.data[0] == '/');
        assert(str_utf8_valid(request.path));
        for (size_t i = 0; i < request.query_count; i++)
            assert(str_utf8_valid(request.query[i].name) && str_utf8_valid(request.query[i].value));
        return;
    }
    assert(why.status == 400);
    err_set(&why.err, ERR_MALFORMED, "%.*s", STR_FMT(text));
    http_problem(&response, arena, &why.err, "request-1");
    assert(json_parse(arena, buf_slice(&response.body), &err));
    buf_fini(&response.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct str text = { (const char *)data, size };

    check_decode(arena, text);
    check_form(arena, text);
    check_paths(arena, text);
    arena_free(arena);
    return 0;
}
