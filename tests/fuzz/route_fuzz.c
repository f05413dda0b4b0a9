/* Any path against the real table, then any query and body against the fields of the operation it leads to, then
 * any text as a page cursor: a refusal names what is wrong in valid text, an accepted call holds what its rows
 * allow. The input is a method byte, then path, query and body, separated by newlines; the body is the rest. */
#include "api/state.h"
#include "base/arena.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena *kept;
static struct routes *routes;

static void must(bool true_thing)
{
    if (!true_thing)
        abort();
}

static void check_error(const struct err *err)
{
    must(err->code == ERR_INVALID || err->code == ERR_MALFORMED || err->code == ERR_TOO_LARGE ||
         err->code == ERR_NOT_FOUND || err->code == ERR_MEDIA_TYPE);
    must(err->detail[0] && str_utf8_valid(str_c(err->detail)) && str_utf8_valid(str_c(err->hint)));
}

static void check_values(const struct fields *in)
{
    for (size_t i = 0; i < in->count; i++) {
        const struct value *value = &in->values[i];

        if (!value->field) {
            must(!(in->table[i].flags & (FIELD_REQUIRED | FIELD_PATH)) && !in->table[i].fallback);
            continue;
        }
        must(!value->text.data || str_utf8_valid(value->text));
        if (in->table[i].type == FIELD_INT && !value->is_null)
            must(in->table[i].min == in->table[i].max ||
                 (value->number >= in->table[i].min && value->number <= in->table[i].max));
    }
}

static struct str line(struct str *rest)
{
    struct str part = { "", 0 };

    if (rest->data)
        str_split(rest, '\n', &part);
    return part;
}

static void read_call(struct op_call *call, const struct route_match *match, struct str body)
{
    const struct route *route = route_for(match, call->request->method);
    struct err err = { 0 };
    int64_t key[OP_LIST_KEYS];
    bool given;

    must(*route_allow(call->arena, match) != '\0');
    if (!route)
        return;
    call->op = route->op;
    call->request->body = body;
    must(route->param_count == match->param_count);
    if (op_read_fields(call, route, match, &err) < 0) {
        check_error(&err);
        return;
    }
    check_values(&call->in);
    if (!(call->op->flags & OP_LIST))
        return;
    for (size_t i = 0; i < call->in.count; i++)
        if (!strcmp(call->in.table[i].name, "cursor") &&
            op_list_cursor(call, key, 1 + i % OP_LIST_KEYS, &given, &err) == 0)
            must(!given);       /* nobody guesses the MAC */
}

static void run(struct arena *arena, struct hub *hub, struct str text)
{
    struct http_request request = { .method = (enum http_method)((unsigned char)text.data[0] % HTTP_METHODS),
                                    .arena = arena };
    struct op_call call = { .hub = hub, .arena = arena, .request = &request, .key = { .id = 1 } };
    struct str rest = { text.data + 1, text.len - 1 };
    struct route_match match;

    request.path = line(&rest);
    request.raw_query = line(&rest);
    if (request.method == HTTP_OPTIONS || !http_form(arena, request.raw_query, &request.query, &request.query_count))
        return;
    if (!route_find(routes, request.path, &match)) {
        if (str_utf8_valid(request.path) && request.path.len > 0 && request.path.data[0] == '/')
            (void)route_nearest(routes, arena, request.path);
        return;
    }
    read_call(&call, &match, rest.data ? rest : STR(""));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hub hub;
    struct arena *arena;
    struct err err = { 0 };

    if (!routes) {
        kept = arena_new(0);
        routes = routes_new(kept, op_tables, &err);
        must(routes != NULL);
        memset(hub.cursor_key, 7, sizeof hub.cursor_key);
    }
    if (size == 0)
        return 0;
    arena = arena_new(0);
    run(arena, &hub, (struct str){ (const char *)data, size });
    arena_free(arena);
    return 0;
}
