#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/field.h"
#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

static const struct field row_table[] = {
    { .name = "text", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = 10 },
    { .name = "kind", .type = FIELD_ENUM, .choices = "sms|mms", .fallback = "sms" },
    { 0 }
};

static const struct field table[] = {
    { .name = "id", .type = FIELD_ID, .flags = FIELD_PATH | FIELD_REQUIRED, .choices = ID_MESSAGE },
    { .name = "text", .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1, .max = 10, .help = "What to say." },
    { .name = "name", .type = FIELD_TEXT, .flags = FIELD_NULLABLE },
    { .name = "limit", .type = FIELD_INT, .min = 1, .max = 500, .fallback = "50", .example = "100" },
    { .name = "count", .type = FIELD_INT },
    { .name = "dry_run", .type = FIELD_BOOL, .fallback = "false" },
    { .name = "at", .type = FIELD_TIME, .flags = FIELD_NULLABLE },
    { .name = "url", .type = FIELD_URL },
    { .name = "priority", .type = FIELD_ENUM, .choices = "low|normal|high", .fallback = "normal" },
    { .name = "contact", .type = FIELD_ID, .choices = ID_CONTACT },
    { .name = "metadata", .type = FIELD_OBJECT, .max = 40 },
    { .name = "tags", .type = FIELD_TEXTS, .max = 3 },
    { .name = "ids", .type = FIELD_IDS, .choices = ID_MESSAGE, .max = 3 },
    { .name = "messages", .type = FIELD_LIST, .min = 1, .max = 4, .of = row_table },
    { .name = "secret", .type = FIELD_TEXT, .flags = FIELD_SECRET },
    { .name = "page", .type = FIELD_INT, .flags = FIELD_QUERY, .min = 1, .max = 9, .fallback = "1" },
    { 0 }
};

static const struct field copied_row[] = { { .name = "word", .type = FIELD_TEXT, .max = 9 }, { 0 } };

static const struct field copied_table[] = {
    { .name = "tags", .type = FIELD_TEXTS, .max = 3 },
    { .name = "ids", .type = FIELD_IDS, .choices = ID_MESSAGE, .max = 3 },
    { .name = "metadata", .type = FIELD_OBJECT, .max = 40 },
    { .name = "size", .type = FIELD_INT, .max = 9, .fallback = "7" },
    { .name = "name", .type = FIELD_TEXT, .max = 9 },
    { .name = "rows", .type = FIELD_LIST, .max = 4, .of = copied_row },
    { 0 }
};

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static int read_into(const char *text, struct fields *out, struct err *err)
{
    struct json *object = json_parse(arena, str_c(text), err);

    assert_non_null(object);
    return field_read_json(arena, table, object, out, err);
}

static const struct {
    const char *json, *field, *detail, *hint;
} refused[] = {
    { "{\"txet\":\"hi\"}", "txet", "Unknown field \"txet\".",
      "Did you mean \"text\"? Allowed: text, name, limit, count, dry_run, at, url, priority, "
      "contact, metadata, tags, "
      "ids, messages, secret." },
    { "{\"zzzzzzzz\":1}", "zzzzzzzz", "Unknown field \"zzzzzzzz\".",
      "Allowed: text, name, limit, count, dry_run, at, url, priority, contact, metadata, tags, "
      "ids, messages, "
      "secret." },
    { "{\"a\\u001bb\":1}", "a\\x1bb", "Unknown field \"a\\x1bb\".", NULL },
    { "{\"id\":\"msg_0\",\"text\":\"x\"}", "id", "\"id\" does not belong in the body.",
      "Give it in the path." },
    { "{\"page\":1,\"text\":\"x\"}", "page", "\"page\" does not belong in the body.",
      "Give it in the query string." },
    { "{}", "text", "\"text\" is required: a text of 1 to 10 bytes.", "What to say." },
    { "{\"text\":null}", "text", "\"text\" must be a text of 1 to 10 bytes (it is null).",
      "What to say." },
    { "{\"text\":7}", "text", "\"text\" must be a text of 1 to 10 bytes (it is an integer).",
      NULL },
    { "{\"text\":\"\"}", "text", "\"text\" must be a text of 1 to 10 bytes (it has 0).", NULL },
    { "{\"text\":\"12345678901\"}", "text",
      "\"text\" must be a text of 1 to 10 bytes (it has 11).", NULL },
    { "{\"text\":\"x\",\"name\":[]}", "name",
      "\"name\" must be a text of at most 200 bytes, or null (it is an array).", NULL },
    { "{\"text\":\"x\",\"limit\":0}", "limit", "\"limit\" must be an integer from 1 to 500.",
      "For example: 100" },
    { "{\"text\":\"x\",\"limit\":501}", "limit", "\"limit\" must be an integer from 1 to 500.",
      NULL },
    { "{\"text\":\"x\",\"limit\":\"5\"}", "limit",
      "\"limit\" must be an integer from 1 to 500 (it is a string).", NULL },
    { "{\"text\":\"x\",\"limit\":5.0}", "limit",
      "\"limit\" must be an integer from 1 to 500 (it is a number with a fraction).", NULL },
    { "{\"text\":\"x\",\"count\":true}", "count",
      "\"count\" must be an integer (it is true or false).", NULL },
    { "{\"text\":\"x\",\"dry_run\":1}", "dry_run",
      "\"dry_run\" must be true or false (it is an integer).", NULL },
    { "{\"text\":\"x\",\"at\":\"tomorrow\"}", "at",
      "\"at\" must be a time like \"2026-11-20T18:42:26Z\" or milliseconds since 1970, or "
      "null.",
      NULL },
    { "{\"text\":\"x\",\"at\":-1}", "at", NULL, NULL },
    { "{\"text\":\"x\",\"at\":\"2026-11-20T18:42:26\"}", "at", NULL, NULL },
    { "{\"text\":\"x\",\"url\":\"ftp://example.org\"}", "url",
      "\"url\" must be an absolute http or https URL without credentials, of at most 8192 "
      "bytes.",
      NULL },
    { "{\"text\":\"x\",\"priority\":\"hihg\"}", "priority",
      "\"priority\" must be one of: low, normal, high.", "Did you mean \"high\"?" },
    { "{\"text\":\"x\",\"priority\":\"\"}", "priority",
      "\"priority\" must be one of: low, normal, high.", "" },
    { "{\"text\":\"x\",\"priority\":\"low|normal\"}", "priority", NULL, NULL },
    { "{\"text\":\"x\",\"contact\":\"con_0\"}", "contact",
      "\"contact\" must be an id like \"con_\" and 13 characters.", NULL },
    { "{\"text\":\"x\",\"metadata\":[1]}", "metadata",
      "\"metadata\" must be a JSON object of at most 40 bytes (it is an array).", NULL },
    { "{\"text\":\"x\",\"metadata\":{\"k\":\"1234567890123456789012345678901234567890\"}}",
      "metadata", "\"metadata\" must be a JSON object of at most 40 bytes (it is larger).",
      NULL },
    { "{\"text\":\"x\",\"tags\":\"a\"}", "tags",
      "\"tags\" must be an array of at most 3 texts (it is a string).", NULL },
    { "{\"text\":\"x\",\"tags\":[\"a\",\"b\",\"c\",\"d\"]}", "tags",
      "\"tags\" must be an array of at most 3 texts (it has 4).", NULL },
    { "{\"text\":\"x\",\"tags\":[\"a\",7]}", "tags[1]",
      "\"tags[1]\" must be a text of 1 to 8192 bytes (it is not a string).", NULL },
    { "{\"text\":\"x\",\"tags\":[\"\"]}", "tags[0]", NULL, NULL },
    { "{\"text\":\"x\",\"ids\":[\"msg_x\"]}", "ids[0]",
      "\"ids[0]\" must be an id like \"msg_\" and 13 characters.", NULL },
    { "{\"text\":\"x\",\"messages\":[]}", "messages",
      "\"messages\" must be an array of 1 to 4 objects (it has 0).", NULL },
    { "{\"text\":\"x\",\"messages\":{}}", "messages", NULL, NULL },
    { "{\"text\":\"x\",\"messages\":[{\"text\":\"a\"},7]}", "messages[1]",
      "\"messages[1]\" must be an object.", NULL },
    { "{\"text\":\"x\",\"messages\":[{\"text\":\"a\"},{\"text\":\"a\"},{\"text\":\"a\"},{"
      "\"text\":7}]}",
      "messages[3].text",
      "\"messages[3].text\" must be a text of 1 to 10 bytes (it is an integer).", NULL },
    { "{\"text\":\"x\",\"messages\":[{}]}", "messages[0].text",
      "\"messages[0].text\" is required: a text of 1 to 10 bytes.", NULL },
    { "{\"text\":\"x\",\"messages\":[{\"text\":\"a\",\"knd\":\"sms\"}]}", "messages[0].knd",
      "Unknown field \"messages[0].knd\".", "Did you mean \"kind\"? Allowed: text, kind." },
    { "[1]", "", "The body must be a JSON object.", NULL },
};

static void refuses(void **state)
{
    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(refused); row++) {
        struct err err = { 0 };
        struct fields fields;

        assert_int_equal(read_into(refused[row].json, &fields, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.field, refused[row].field);
        if (refused[row].detail)
            assert_string_equal(err.detail, refused[row].detail);
        if (refused[row].hint)
            assert_string_equal(err.hint, refused[row].hint);
        assert_int_equal(read_into(refused[row].json, &fields, NULL), -1);
    }
}

static void accepts(void **state)
{
    char message[ID_TEXT_BYTES], contact[ID_TEXT_BYTES];
    const char *text = arena_printf(arena,
        "{\"text\":\"caf\\u00e9\",\"name\":null,\"limit\":7,\"count\":-9,\"dry_run\":true,"
        "\"at\":\"2026-11-20T19:42:26+01:00\",\"url\":\"https://example.org:8443/a?b=c#d\",\"priority\":\"high\","
        "\"contact\":\"%s\",\"metadata\":{ \"b\" : [1, 2.5], \"a\":null },\"tags\":[\"one\",\"two\"],"
        "\"ids\":[\"%s\"],\"messages\":[{\"text\":\"a\"},{\"text\":\"b\",\"kind\":\"mms\"}],\"secret\":\"s\"}",
        id_encode(contact, ID_CONTACT, 12), id_encode(message, ID_MESSAGE, 34));
    const struct value *value;
    struct fields fields;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(read_into(text, &fields, &err), 0);
    assert_string_equal(field_cstr(&fields, "text"), "caf\xc3\xa9");
    assert_true(field_get(&fields, "name")->is_null);
    assert_null(field_cstr(&fields, "name"));
    assert_int_equal(field_number(&fields, "limit", 1), 7);
    assert_int_equal(field_number(&fields, "count", 1), -9);
    assert_true(field_flag(&fields, "dry_run"));
    value = field_get(&fields, "at");
    assert_int_equal(value->number, 1795200146000);
    assert_int_equal(value->offset_min, 60);
    assert_string_equal(field_cstr(&fields, "url"), "https://example.org:8443/a?b=c#d");
    assert_string_equal(field_cstr(&fields, "priority"), "high");
    assert_int_equal(field_number(&fields, "priority", -1), 2);
    assert_int_equal(field_number(&fields, "contact", -1), 12);
    assert_string_equal(field_cstr(&fields, "metadata"), "{\"b\":[1,2.5],\"a\":null}");
    value = field_get(&fields, "tags");
    assert_int_equal(value->count, 2);
    assert_string_equal(value->texts[1].data, "two");
    value = field_get(&fields, "ids");
    assert_int_equal(value->count, 1);
    assert_int_equal(value->ids[0], 34);
    value = field_get(&fields, "messages");
    assert_int_equal(value->count, 2);
    assert_string_equal(field_cstr(value->list[0], "kind"), "sms");
    assert_string_equal(field_cstr(value->list[1], "text"), "b");
    assert_int_equal(field_number(value->list[1], "kind", -1), 1);
    /* path and query come afterwards */
    assert_null(field_get(&fields, "id"));
    assert_null(field_get(&fields, "page"));
    assert_int_equal(field_finish(arena, &fields, &err), -1);
    assert_string_equal(err.detail, "\"id\" is required: an id like \"msg_\" and 13 characters.");
    assert_int_equal(field_set_text(arena, &fields, "id", str_c(message), &err), 0);
    assert_int_equal(field_finish(arena, &fields, &err), 0);
    assert_int_equal(field_number(&fields, "id", 0), 34);
    assert_int_equal(field_number(&fields, "page", 0), 1);
}

static void fills_defaults(void **state)
{
    struct fields fields;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(read_into("{\"text\":\"x\",\"at\":1795200146123}", &fields, &err), 0);
    assert_int_equal(field_number(&fields, "limit", 0), 50);
    assert_int_equal(field_number(&fields, "count", 77), 77);
    assert_false(field_flag(&fields, "dry_run"));
    assert_string_equal(field_cstr(&fields, "priority"), "normal");
    assert_int_equal(field_number(&fields, "at", 0), 1795200146123);
    assert_null(field_text(&fields, "url").data);
    assert_null(field_get(&fields, "tags"));
    assert_int_equal(field_read_json(arena, table, NULL, &fields, &err), -1);
    assert_string_equal(err.field, "text");
}

static void sets_from_text(void **state)
{
    static const struct { const char *name, *text; bool ok; int64_t number; } rows[] = {
        { "limit", "7", true, 7 }, { "limit", "0", false, 0 }, { "limit", "", false, 0 }, { "limit", "x", false, 0 },
        { "count", "-5", true, -5 }, { "dry_run", "true", true, 1 }, { "dry_run", "off", true, 0 },
        { "dry_run", "1", true, 1 }, { "dry_run", "no", true, 0 }, { "dry_run", "yes", true, 1 },
        { "dry_run", "maybe", false, 0 }, { "at", "2026-11-20T18:42:26Z", true, 1795200146000 },
        { "at", "1795200146123", true, 1795200146123 }, { "at", "253402300800000", false, 0 },
        { "at", "soon", false, 0 }, { "priority", "high", true, 2 }, { "priority", "HIGH", false, 0 },
        { "metadata", "{\"a\":1}", true, 0 }, { "metadata", "{\"a\"", false, 0 }, { "metadata", "7", false, 0 },
        { "messages", "[{\"text\":\"a\"}]", true, 0 }, { "messages", "[{}]", false, 0 },
        { "text", "a\xff", false, 0 }, { "nothing", "x", false, 0 }, { "tags", "a,b,c,d", false, 0 },
        { "ids", "msg_1", false, 0 }, { "text", NULL, false, 0 },
    };
    struct fields fields;
    struct err err;

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        field_begin(arena, table, &fields);
        err_clear(&err);
        assert_int_equal(
            field_set_text(arena, &fields, rows[row].name, str_c(rows[row].text), &err),
            rows[row].ok ? 0 : -1);
        assert_int_equal(err.code, rows[row].ok ? ERR_NONE : ERR_INVALID);
        if (rows[row].ok)
            assert_int_equal(field_number(&fields, rows[row].name, -1), rows[row].number);
        else
            assert_non_null(strstr(err.field, rows[row].name));
    }
    field_begin(arena, table, &fields);
    assert_int_equal(field_set_text(arena, &fields, "tags", STR(" a , b,,c"), &err), 0);
    assert_int_equal(field_get(&fields, "tags")->count, 3);
    assert_string_equal(field_get(&fields, "tags")->texts[1].data, "b");
    assert_int_equal(field_set_text(arena, &fields, "tags", STR("z"), &err), 0);   /* the later one counts */
    assert_int_equal(field_get(&fields, "tags")->count, 1);
}

static void knows_urls(void **state)
{
    static const struct {
        const char *url; bool ok;
    } rows[] = {
        { "http://a", true },
        { "HTTPS://Example.org/", true },
        { "http://127.0.0.1:1/x", true },
        { "http://[::1]:8080/x", true },
        { "https://[fe80::1]", true },
        { "https://a.b/c?d={e}|f#g", true },
        { "https://a/\xc3\xa9", true },
        { "https://a?x@y", true },
        { "https://a_b.example", true },
        { "", false },
        { "http://", false },
        { "https:///x", false },
        { "http:/a", false },
        { "//a", false },
        { "a.example/x", false },
        { "ftp://a", false },
        { "javascript:alert(1)", false },
        { "file:///etc/passwd", false },
        { "http://user@a", false },
        { "http://user:pass@a/", false },
        { "http://a b", false },
        { "http://a/\n", false },
        { "http://a/\tb", false },
        { "http://a/\x7f", false },
        { "http://a\\@b", false },
        { "http://a:0", false },
        { "http://a:65536", false },
        { "http://a:", false },
        { "http://a:x", false },
        { "http://:80", false },
        { "http://[::1", false },
        { "http://[::1]x", false },
        { "http://[]", false },
        { "http://[g::1]/", false },
        { "http://\xc3\xa9.example", false },
        { " http://a", false },
        { "http://a/\"", false },
        { "http://a/<b>", false },
    };
    struct fields fields;

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        field_begin(arena, table, &fields);
        if ((field_set_text(arena, &fields, "url", str_c(rows[row].url), NULL) == 0)
            != rows[row].ok)
            fail_msg("%s should be %s", rows[row].url, rows[row].ok ? "accepted" : "refused");
    }
}

static void finds_the_nearest(void **state)
{
    static const char *const names[] = { "text", "conversation_id", "to", "limit", NULL };

    (void)state;
    assert_string_equal(field_nearest("txet", names), "text");
    assert_string_equal(field_nearest("Text", names), "text");
    assert_string_equal(field_nearest("conversationid", names), "conversation_id");
    assert_string_equal(field_nearest("limits", names), "limit");
    assert_null(field_nearest("body", names));
    assert_null(field_nearest("xy", names));
    assert_null(field_nearest("", names));
    assert_null(field_nearest("text", (const char *const[]){ NULL }));
}

static bool only_seven(const char *prefix, struct str text, int64_t *id)
{
    *id = 7;
    return str_is(text, "seven") && strcmp(prefix, ID_CONTACT) == 0;
}

static void decodes_with_what_is_installed(void **state)
{
    struct fields fields;

    (void)state;
    field_install_ids(only_seven);
    field_begin(arena, table, &fields);
    assert_int_equal(field_set_text(arena, &fields, "contact", STR("seven"), NULL), 0);
    assert_int_equal(field_number(&fields, "contact", 0), 7);
    assert_int_equal(field_set_text(arena, &fields, "contact", STR("eight"), NULL), -1);
    field_install_ids(NULL);
    assert_int_equal(field_set_text(arena, &fields, "contact", STR("seven"), NULL), -1);
}

static void describes_itself(void **state)
{
    struct buf out;
    const struct json *schema;

    (void)state;
    buf_init(&out, LIMIT_JSON_BYTES);
    field_schema(&out, &table[3]);
    assert_string_equal(
        out.data,
        "{\"type\":\"integer\",\"minimum\":1,\"maximum\":500,\"default\":50,\"examples\":[100]}");
    buf_clear(&out);
    field_schema(&out, &table[2]);
    assert_string_equal(out.data, "{\"type\":[\"string\",\"null\"],\"maxLength\":200}");
    buf_clear(&out);
    field_schema(&out, &table[5]);
    assert_string_equal(out.data, "{\"type\":\"boolean\",\"default\":false}");
    buf_clear(&out);
    field_table_schema(&out, table);
    assert_false(out.overflow);
    schema = json_parse(arena, buf_slice(&out), NULL);
    assert_non_null(schema);
    assert_int_equal(json_count(json_get(schema, "properties")), 14);
    assert_null(json_at(schema, "properties.id"));
    assert_int_equal(json_count(json_get(schema, "required")), 1);
    assert_string_equal(json_text(json_at(schema, "required.0")).data, "text");
    assert_false(json_bool(json_get(schema, "additionalProperties"), true));
    assert_string_equal(json_text(json_at(schema, "properties.priority.enum.2")).data, "high");
    assert_string_equal(json_text(json_at(schema, "properties.contact.pattern")).data,
                        "^con_[0-9a-hjkmnp-tv-z]{13}$");
    assert_string_equal(
        json_text(json_at(schema, "properties.messages.items.properties.kind.default")).data,
        "sms");
    assert_int_equal(json_int(json_at(schema, "properties.messages.maxItems"), 0), 4);
    assert_string_equal(json_text(json_at(schema, "properties.ids.items.type")).data, "string");
    assert_true(json_bool(json_at(schema, "properties.secret.writeOnly"), false));
    assert_int_equal(json_count(json_at(schema, "properties.at.type")), 3);
    buf_fini(&out);
}

static void copies_into_another_arena(void **state)
{
    static const char text[] = "{\"tags\":[\"a\",\"b\"],\"ids\":[],\"metadata\":{\"k\":1}}";
    struct arena *first = arena_new(0), *second = arena_new(0);
    struct fields fields, *copy;
    const struct value *tags;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(field_read_json(first, copied_table, json_parse(first, STR(text), &err), &fields, &err), 0);
    copy = field_copy(second, &fields);
    arena_free(first);      /* with a sanitizer whatever still points there is found */
    tags = field_get(copy, "tags");
    assert_int_equal(tags->count, 2);
    assert_string_equal(tags->texts[0].data, "a");
    assert_string_equal(tags->texts[1].data, "b");
    assert_string_equal(field_cstr(copy, "metadata"), "{\"k\":1}");
    assert_int_equal(field_number(copy, "size", 0), 7);
    assert_null(field_get(copy, "name"));
    assert_int_equal(field_get(copy, "rows") == NULL, 1);
    arena_free(second);
}

static void copies_lists(void **state)
{
    struct arena *first = arena_new(0), *second = arena_new(0);
    struct fields fields, *copy;
    const struct value *rows;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(field_read_json(first, copied_table, json_parse(first,
                     STR("{\"rows\":[{\"word\":\"x\"},{\"word\":\"y\"}],\"name\":\"n\"}"), &err), &fields, &err), 0);
    copy = field_copy(second, &fields);
    arena_free(first);
    rows = field_get(copy, "rows");
    assert_int_equal(rows->count, 2);
    assert_string_equal(field_cstr(rows->list[1], "word"), "y");
    assert_string_equal(field_cstr(copy, "name"), "n");
    arena_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(accepts),
        cmocka_unit_test(fills_defaults),
        cmocka_unit_test(sets_from_text),
        cmocka_unit_test(knows_urls),
        cmocka_unit_test(finds_the_nearest),
        cmocka_unit_test(decodes_with_what_is_installed),
        cmocka_unit_test(describes_itself),
        cmocka_unit_test(copies_into_another_arena),
        cmocka_unit_test(copies_lists),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
