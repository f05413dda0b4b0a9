/* Paths to operations, without a server: what wins, what is refused, what is suggested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/route.h"
#include "base/arena.h"

#include <string.h>

static enum op_done nothing(struct op_call *call, struct err *err)
{
    (void)call;
    (void)err;
    return OP_DONE;
}

#define ID { "id", FIELD_TEXT, FIELD_PATH, "Which.", 0, 100 }
static const struct field id[] = { ID, { 0 } };
static const struct field two[] = { ID, { "part", FIELD_TEXT, FIELD_PATH, "Which part.", 0, 100 }, { 0 } };
static const struct field hook[] = {
    { "hook", FIELD_TEXT, FIELD_PATH, "Which.", 0, 100 }, { "path", FIELD_TEXT, FIELD_PATH, "Below.", 0, 1000 }, { 0 }
};

#define ROW(the_name, the_method, the_path, the_fields) \
    { .name = the_name, .method = the_method, .path = the_path, .fields = the_fields, .scope = SCOPE_READ, \
      .run = nothing, .summary = "For a test." }

static const struct op rows[] = {
    ROW("m.list", HTTP_GET, "/api/v1/messages", NULL),
    ROW("m.add", HTTP_POST, "/api/v1/messages", NULL),
    ROW("m.get", HTTP_GET, "/api/v1/messages/{id}", id),
    ROW("m.send", HTTP_POST, "/api/v1/messages/send", NULL),
    ROW("m.read", HTTP_PUT, "/api/v1/messages/{id}/read", id),
    ROW("m.part", HTTP_GET, "/api/v1/messages/{id}/parts/{part}", two),
    ROW("d.list", HTTP_GET, "/api/v1/devices", NULL),
    ROW("h.take", HTTP_POST, "/hooks/{hook}/{path...}", hook),
};

static struct arena *arena;
static struct routes *routes;

static int start(void **state)
{
    static const struct op_table table = { "m", rows, sizeof rows / sizeof *rows };
    static const struct op_table *const tables[] = { &table, NULL };
    struct err err = { 0 };

    (void)state;
    arena = arena_new(0);
    routes = routes_new(arena, tables, &err);
    if (!routes)
        fail_msg("%s", err.detail);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const char *name_at(enum http_method method, const char *path)
{
    struct route_match match;
    const struct route *route;

    if (!route_find(routes, str_c(path), &match))
        return "no path";
    route = route_for(&match, method);
    return route ? route->op->name : "no method";
}

static void finds(void **state)
{
    (void)state;
    assert_string_equal(name_at(HTTP_GET, "/api/v1/messages"), "m.list");
    assert_string_equal(name_at(HTTP_HEAD, "/api/v1/messages"), "m.list");
    assert_string_equal(name_at(HTTP_POST, "/api/v1/messages"), "m.add");
    assert_string_equal(name_at(HTTP_GET, "/api/v1/messages/msg_1"), "m.get");
    assert_string_equal(name_at(HTTP_PUT, "/api/v1/messages/msg_1/read"), "m.read");
    assert_string_equal(name_at(HTTP_DELETE, "/api/v1/messages"), "no method");
}

static void fixed_part_wins_but_falls_back(void **state)
{
    (void)state;
    assert_string_equal(name_at(HTTP_POST, "/api/v1/messages/send"), "m.send");
    /* "send" as an id: the fixed part has no such continuation */
    assert_string_equal(name_at(HTTP_PUT, "/api/v1/messages/send/read"), "m.read");
}

static void refuses_other_paths(void **state)
{
    static const char *const paths[] = { "/", "", "/api", "/api/v1", "/api/v1/messages/", "//api/v1/messages",
                                         "/api/v1/messages//read", "/api/v1/message", "/API/V1/messages",
                                         "/api/v1/messages/a/read/b", "/hooks", "/hooks/x", "api/v1/messages" };

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_string_equal(name_at(HTTP_GET, paths[i]), "no path");
}

static void gives_parameters(void **state)
{
    struct route_match match;

    (void)state;
    assert_true(route_find(routes, STR("/api/v1/messages/a/parts/b"), &match));
    assert_int_equal(match.param_count, 2);
    assert_true(str_is(match.params[0], "a") && str_is(match.params[1], "b"));
    assert_string_equal(route_for(&match, HTTP_GET)->params[1], "part");
    assert_true(route_find(routes, STR("/hooks/secret/a/b//c"), &match));
    assert_int_equal(match.param_count, 2);
    assert_true(str_is(match.params[0], "secret") && str_is(match.params[1], "a/b//c"));
}

static void tells_what_is_allowed(void **state)
{
    struct route_match match;

    (void)state;
    assert_true(route_find(routes, STR("/api/v1/messages"), &match));
    assert_string_equal(route_allow(arena, &match), "OPTIONS, GET, HEAD, POST");
}

static void suggests_the_nearest(void **state)
{
    (void)state;
    assert_string_equal(route_nearest(routes, arena, STR("/api/v1/mesages")), "/api/v1/messages");
    assert_string_equal(route_nearest(routes, arena, STR("/api/v1/messages/")), "/api/v1/messages");
    assert_string_equal(route_nearest(routes, arena, STR("/devices")), "/api/v1/devices");
    assert_string_equal(route_nearest(routes, arena, STR("/api/v1/mesages/msg_0123456789abc/read")),
                        "/api/v1/messages/{id}/read");
    assert_null(route_nearest(routes, arena, STR("/wp-login.php")));
}

static void refuse_rows(const struct op *op, const char *why)
{
    const struct op_table table = { "x", op, 1 };
    const struct op_table first = { "m", rows, sizeof rows / sizeof *rows };
    const struct op_table *const tables[] = { &first, &table, NULL };
    struct err err = { 0 };

    assert_null(routes_new(arena, tables, &err));
    if (!strstr(err.detail, why))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, why);
}

static void refuses_wrong_rows(void **state)
{
    const struct op twice = ROW("x", HTTP_GET, "/api/v1/devices", NULL);
    const struct op same_name = ROW("m.list", HTTP_GET, "/x", NULL);
    const struct op no_field = ROW("x", HTTP_GET, "/x/{id}", NULL);
    const struct op no_part = ROW("x", HTTP_GET, "/x", id);
    struct op bare = ROW("x", HTTP_GET, "/x", NULL), both = bare, several = bare;

    (void)state;
    bare.scope = SCOPE_NONE;
    both.flags = OP_OPEN;
    several.scope = SCOPE_READ | SCOPE_SEND;
    refuse_rows(&twice, "has the route of another row");
    refuse_rows(&same_name, "has a name that another row has");
    refuse_rows(&no_field, "FIELD_PATH");
    refuse_rows(&no_part, "its path lacks");
    refuse_rows(&bare, "needs one scope");
    refuse_rows(&both, "needs one scope");
    refuse_rows(&several, "needs one scope");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds),
        cmocka_unit_test(fixed_part_wins_but_falls_back),
        cmocka_unit_test(refuses_other_paths),
        cmocka_unit_test(gives_parameters),
        cmocka_unit_test(tells_what_is_allowed),
        cmocka_unit_test(suggests_the_nearest),
        cmocka_unit_test(refuses_wrong_rows),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
