/* Column tables: struct <-> row <-> JSON. */
#include "fixture.h"

#include "base/id.h"
#include "base/json.h"
#include "db/row.h"

struct thing {
    int64_t id;
    int64_t count;
    struct str text;
    struct str bytes;
    int64_t flag;
    int64_t seen_ms;
    int64_t owner_id;
    struct str metadata;
    int64_t state;
    struct str secret;
};

static const char *const states[] = { "new", "old", NULL };

static const struct column columns[] = {
    { "id", COL_REF, offsetof(struct thing, id), COL_PUBLIC, "con", NULL, NULL },
    { "count", COL_INT, offsetof(struct thing, count), COL_PUBLIC, NULL, NULL, NULL },
    { "text", COL_TEXT, offsetof(struct thing, text), COL_PUBLIC, NULL, NULL, NULL },
    { "bytes", COL_BLOB, offsetof(struct thing, bytes), COL_PUBLIC, NULL, NULL, NULL },
    { "flag", COL_BOOL, offsetof(struct thing, flag), COL_PUBLIC, NULL, NULL, "is_flagged" },
    { "seen_ms", COL_TIME, offsetof(struct thing, seen_ms), COL_PUBLIC, NULL, NULL, "seen_at" },
    { "owner_id", COL_REF, offsetof(struct thing, owner_id), COL_PUBLIC, "key", NULL, "owner" },
    { "metadata", COL_JSON, offsetof(struct thing, metadata), COL_PUBLIC, NULL, NULL, NULL },
    { "state", COL_ENUM, offsetof(struct thing, state), COL_PUBLIC, NULL, states, NULL },
    { "secret", COL_TEXT, offsetof(struct thing, secret), COL_PUBLIC | COL_SECRET, NULL, NULL, NULL },
    { 0 }
};

static struct db *db;

static int set_up(void **state)
{
    static const unsigned char key[16] = "0123456789abcde";

    (void)state;
    id_install_key(key);
    db = open_fresh();
    must(db, on_postgres() ? "CREATE TABLE things (id BIGINT PRIMARY KEY, count BIGINT, text TEXT, bytes BYTEA,"
                             " flag BIGINT, seen_ms BIGINT, owner_id BIGINT, metadata TEXT, state BIGINT, secret TEXT)"
                           : "CREATE TABLE things (id INTEGER PRIMARY KEY, count INTEGER, text TEXT, bytes BLOB,"
                             " flag INTEGER, seen_ms INTEGER, owner_id INTEGER, metadata TEXT, state INTEGER,"
                             " secret TEXT)");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    remove_fixture();
    return 0;
}

static int insert(struct db_session *tx, void *arg, struct err *err)
{
    struct db_value values[16];
    size_t count = row_values(columns, arg, values);

    return db_exec(tx, "INSERT INTO things (id, count, text, bytes, flag, seen_ms, owner_id, metadata, state, secret)"
                   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", values, count, err) == 1 ? 0 : -1;
}

static void read_back(int64_t id, struct arena *arena, struct thing *out)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, 1, &err);
    char sql[512];
    struct db_rows *rows;

    assert_non_null(session);
    snprintf(sql, sizeof sql, "SELECT CAST(7 AS BIGINT), %s FROM things t WHERE t.id = $1", row_select(columns, "t"));
    rows = db_query(session, sql, DB_ARGS(db_int(id)), &err);
    assert_non_null(rows);
    assert_int_equal(db_next(rows, &err), 1);
    row_read(rows, 1, columns, arena, out);
    assert_int_equal(db_next(rows, &err), 0);
    db_read_end(session);
}

static void json_of(const struct thing *thing, struct buf *out)
{
    struct json_writer writer;

    buf_init(out, 4096);
    writer = json_writer(out);
    json_object_begin(&writer);
    row_json(&writer, columns, thing);
    json_object_end(&writer);
}

static void test_select_list(void **state)
{
    (void)state;
    assert_string_equal(row_select(columns, NULL),
                        "id, count, text, bytes, flag, seen_ms, owner_id, metadata, state, secret");
    assert_string_equal(row_select(columns, "t"), "t.id, t.count, t.text, t.bytes, t.flag, t.seen_ms, t.owner_id, "
                                                  "t.metadata, t.state, t.secret");
    assert_ptr_equal(row_select(columns, "t"), row_select(columns, "t"));
    assert_ptr_equal(row_select(columns, NULL), row_select(columns, NULL));
}

static void test_full_row(void **state)
{
    struct thing in = { 5, INT64_MIN, STR("it's \xf0\x9f\x98\x80"), STR("\1\2\3"), 1, 1700000000123, 9,
                        STR("{\"a\":[1]}"), 1, STR("hush") };
    struct thing out = { 0 };
    struct arena *arena = arena_new(0);
    struct err err = { 0 };
    char id[ID_TEXT_BYTES], owner[ID_TEXT_BYTES], expected[512];
    struct buf json;

    (void)state;
    assert_int_equal(db_write(db, insert, &in, &err), 0);
    read_back(5, arena, &out);
    assert_true(out.id == 5 && out.count == INT64_MIN && out.flag == 1 && out.seen_ms == in.seen_ms);
    assert_true(out.owner_id == 9 && out.state == 1);
    assert_true(str_eq(out.text, in.text) && str_eq(out.bytes, in.bytes));
    assert_true(str_eq(out.metadata, in.metadata) && str_eq(out.secret, in.secret));
    json_of(&out, &json);
    snprintf(expected, sizeof expected,
             "{\"id\":\"%s\",\"count\":-9223372036854775808,\"text\":\"it's \xf0\x9f\x98\x80\",\"bytes\":\"AQID\","
             "\"is_flagged\":true,\"seen_at\":\"2023-11-14T22:13:20.123Z\",\"owner\":\"%s\",\"metadata\":{\"a\":[1]},"
             "\"state\":\"old\"}", id_encode(id, "con", 5), id_encode(owner, "key", 9));
    assert_string_equal(json.data, expected);
    buf_fini(&json);
    arena_free(arena);
}

static void test_empty_row(void **state)
{
    struct thing in = { .id = 6, .state = 99 }, out = { .text = STR("left over"), .owner_id = 3 };
    struct arena *arena = arena_new(0);
    struct err err = { 0 };
    char id[ID_TEXT_BYTES], expected[512];
    struct buf json;

    (void)state;
    assert_int_equal(db_write(db, insert, &in, &err), 0);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM things WHERE owner_id IS NULL AND seen_ms IS NULL"
                                " AND text IS NULL AND metadata IS NULL AND count = 0"), 1);
    read_back(6, arena, &out);
    assert_true(!out.text.data && !out.owner_id && !out.seen_ms && out.state == 99);
    json_of(&out, &json);
    snprintf(expected, sizeof expected,
             "{\"id\":\"%s\",\"count\":0,\"text\":null,\"bytes\":null,\"is_flagged\":false,\"seen_at\":null,"
             "\"owner\":null,\"metadata\":null,\"state\":null}", id_encode(id, "con", 6));
    assert_string_equal(json.data, expected);
    buf_fini(&json);
    arena_free(arena);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = { CASE(test_select_list), CASE(test_full_row), CASE(test_empty_row) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
