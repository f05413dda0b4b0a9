/* The OpenAPI document: valid JSON, every route in it, every route guarded; and every route called without a key, with
 * each wrong scope, and with foreign ids. */
#include "ask.h"

#include "api/op.h"

#include <string.h>

static const char *const method_words[HTTP_METHODS] = {
    [HTTP_GET] = "get", [HTTP_POST] = "post", [HTTP_PUT] = "put", [HTTP_PATCH] = "patch", [HTTP_DELETE] = "delete",
};

static const struct json *document(void)
{
    static char large[4 * 1024 * 1024];
    struct peer *peer = dial(world.server);
    struct err err = { 0 };
    const struct json *json;
    size_t len = 0;
    ssize_t got;
    char *body;

    say(peer, "GET /openapi.json HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n");
    while ((got = recv(peer->fd, large + len, sizeof large - 1 - len, 0)) > 0)
        len += (size_t)got;
    hang_up(peer);
    large[len] = '\0';
    body = strstr(large, "\r\n\r\n");
    assert_non_null(body);
    json = json_parse(world.arena, str_c(body + 4), &err);
    if (!json)
        fail_msg("%s", err.detail);
    return json;
}

static const char *shown_path(const char *path)
{
    const char *dots = strstr(path, "...}");

    return dots ? arena_printf(world.arena, "%.*s}", (int)(dots - path), path) : path;
}

typedef void each_op(const struct op *op, const struct json *paths);

static void for_all(each_op *each, const struct json *paths)
{
    for (const struct op_table *const *table = op_tables; *table; table++)
        for (size_t i = 0; i < (*table)->count; i++)
            each(&(*table)->ops[i], paths);
}

/* --- The document ------------------------------------------------------------------------------------------------ */

static void check_entry(const struct op *op, const struct json *paths)
{
    const struct json *entry = json_get(json_get(paths, shown_path(op->path)), method_words[op->method]);
    const struct json *parameters = json_get(entry, "parameters");
    size_t in_path = 0, braces = 0;

    if (!entry)
        fail_msg("%s is missing", op->name);
    assert_string_equal(text_of(entry, "summary"), op->summary);
    assert_true(json_bool(json_get(entry, "deprecated"), false) == ((op->flags & OP_ALIAS) != 0));
    if (op->flags & OP_OPEN)
        assert_int_equal(json_count(json_get(entry, "security")), 0);
    else
        assert_non_null(text_of(entry, "x-scope"));
    assert_non_null(json_at(entry, "responses.default"));
    for (size_t i = 0; i < json_count(parameters); i++)
        in_path += str_is(json_text(json_get(json_item(parameters, i), "in")), "path");
    for (const char *c = op->path; *c; c++)
        braces += *c == '{';
    assert_int_equal(in_path, braces);
}

static void every_route_is_described(void **state)
{
    const struct json *all = document();

    (void)state;
    assert_string_equal(text_of(all, "openapi"), "3.1.0");
    assert_non_null(json_at(all, "components.schemas.Problem"));
    assert_non_null(json_at(all, "components.securitySchemes.key"));
    for_all(check_entry, json_get(all, "paths"));
}

static void nothing_else_is_described(void **state)
{
    const struct json *paths = json_get(document(), "paths"), *methods, *entry;
    void *at_path = NULL, *at_method;
    const char *path, *method;
    size_t described = 0, rows = 0;

    (void)state;
    while (json_next(paths, &at_path, &path, &methods))
        for (at_method = NULL; json_next(methods, &at_method, &method, &entry);)
            described++;
    for (const struct op_table *const *table = op_tables; *table; table++)
        rows += (*table)->count;
    assert_int_equal(described, rows);
}

static void ids_are_distinct(void **state)
{
    const struct json *paths = json_get(document(), "paths"), *methods, *entry;
    const char *ids[1000];
    void *at_path = NULL, *at_method;
    const char *path, *method;
    size_t count = 0;

    (void)state;
    while (json_next(paths, &at_path, &path, &methods))
        for (at_method = NULL; json_next(methods, &at_method, &method, &entry);) {
            ids[count] = text_of(entry, "operationId");
            for (size_t i = 0; i < count; i++)
                assert_string_not_equal(ids[i], ids[count]);
            count++;
        }
}

/* --- The rows ---------------------------------------------------------------------------------------------------- */

static void check_row(const struct op *op, const struct json *paths)
{
    bool listed = strstr(op->name, ".list") && !(op->flags & OP_ALIAS);

    (void)paths;
    assert_non_null(strchr(op->name, '.'));
    assert_true(op->summary[strlen(op->summary) - 1] == '.' || op->summary[strlen(op->summary) - 1] == '?');
    assert_true((op->flags & OP_OPEN) ? op->scope == 0 : op->scope != 0);
    if (listed && !(op->flags & OP_LIST))
        fail_msg("%s is no OP_LIST", op->name);
    if (op->flags & OP_ALIAS && op->cli)
        fail_msg("%s is an alias with a verb", op->name);
    if (op->cli && !op->example)
        fail_msg("%s has a verb and no example", op->name);
    for (const struct field *field = op->fields; field && field->name; field++)
        if (!field->help)
            fail_msg("%s: the field %s has no help", op->name, field->name);
}

static void rows_are_whole(void **state)
{
    (void)state;
    for_all(check_row, NULL);
}

/* --- Every route is guarded -------------------------------------------------------------------------------------- */

/* A request line for a row: ids that no tenant has. */
static const char *line_of(const struct op *op)
{
    const char *at = op->path, *open;
    struct buf path;

    buf_init(&path, 4096);
    buf_printf(&path, "%s ", http_method_name(op->method));
    while ((open = strchr(at, '{'))) {
        const char *close = strchr(open, '}');
        const char *prefix = "x";
        char id[ID_TEXT_BYTES];

        for (const struct field *field = op->fields; field->name; field++)
            if (field->type == FIELD_ID && strlen(field->name) == (size_t)(close - open - 1) &&
                !strncmp(field->name, open + 1, strlen(field->name)))
                prefix = id_encode(id, field->choices, 987654321);
        buf_printf(&path, "%.*s%s", (int)(open - at), at, prefix);
        at = close + 1;
    }
    buf_puts(&path, at);
    at = arena_strdup(world.arena, (char *)(uintptr_t)buf_slice(&path).data);
    buf_fini(&path);
    return at;
}

static void must_be_guarded(const struct op *op, const struct json *paths)
{
    const char *line = line_of(op), *body = op->method == HTTP_GET || op->method == HTTP_DELETE ? NULL : "{}";

    (void)paths;
    if (op->flags & OP_OPEN)
        return;
    must_refuse(401, "unauthenticated", line, NULL, body);
    must_refuse(401, "unauthenticated", line, "mh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", body);
}

static void no_route_is_open_by_mistake(void **state)
{
    (void)state;
    for_all(must_be_guarded, NULL);
}

static const char *limited_key;
static unsigned limited_scope;

static void must_need_its_scope(const struct op *op, const struct json *paths)
{
    const char *body = op->method == HTTP_GET || op->method == HTTP_DELETE ? NULL : "{}";

    (void)paths;
    if (!(op->flags & OP_OPEN) && op->scope != limited_scope)
        must_refuse(403, "forbidden", line_of(op), limited_key, body);
}

static void every_route_needs_its_scope(void **state)
{
    (void)state;
    for (unsigned scope = 1; scope < SCOPE_ALL; scope <<= 1) {
        limited_scope = scope;
        limited_key = world_key(1, scope);
        for_all(must_need_its_scope, NULL);
    }
}

/* With every right and an id that is nobody's: never 5xx, and a path id gives the same 404 as nonsense. */
static void must_not_know(const struct op *op, const struct json *paths)
{
    const char *line = line_of(op), *body = op->method == HTTP_GET || op->method == HTTP_DELETE ? NULL : "{}";
    struct answer *answer;

    (void)paths;
    if (op->flags & (OP_STREAM | OP_RAW) || !strcmp(op->path, "/openapi.json"))
        return;
    answer = ask(line, world.admin, body);
    if (answer->status >= 500)
        fail_msg("%s: %d %.*s", line, answer->status, (int)answer->len, answer->body);
    if (answer->status >= 400)
        assert_non_null(text_of(json_of(answer), "detail"));
}

static void unknown_ids_are_never_our_fault(void **state)
{
    (void)state;
    for_all(must_not_know, NULL);
}

static void metrics_can_be_read(void **state)
{
    struct answer *answer = ask("GET /metrics", world.admin, NULL);

    (void)state;
    assert_int_equal(answer->status, 200);
    assert_non_null(strstr(answer->head, "Content-Type: text/plain"));
    assert_non_null(strstr(answer->body, "\nmessage_hub_jobs{kind=\"send\",state=\"ready\"} 0\n"));
    assert_non_null(strstr(answer->body, "\nmessage_hub_build_info{version="));
    for (char *at = answer->body; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (*at != '#' && strncmp(at, "message_hub_", 12))
            fail_msg("not a metric: %.40s", at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_described), cmocka_unit_test(nothing_else_is_described),
        cmocka_unit_test(ids_are_distinct), cmocka_unit_test(rows_are_whole),
        cmocka_unit_test(no_route_is_open_by_mistake), cmocka_unit_test(every_route_needs_its_scope),
        cmocka_unit_test(unknown_ids_are_never_our_fault), cmocka_unit_test(metrics_can_be_read),
    };

    return cmocka_run_group_tests(tests, world_start, world_stop);
}
