/* Values, queries and row sets, the same on both databases. */
#include "fixture.h"

static struct db *db;

static int set_up(void **state)
{
    (void)state;
    db = open_fresh();
    must(db, on_postgres() ? "CREATE TABLE v (id BIGINT PRIMARY KEY, n BIGINT, r DOUBLE PRECISION, t TEXT, b BYTEA)"
                           : "CREATE TABLE v (id INTEGER PRIMARY KEY, n INTEGER, r REAL, t TEXT, b BLOB)");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    remove_fixture();
    return 0;
}

/* A transaction's body: 0 or -1. */
static void in_tx(db_tx *fn, void *arg)
{
    struct err err = { 0 };

    if (db_write(db, fn, arg, &err))
        fail_msg("%s", err.detail);
}

static const struct str texts[] = {
    { "plain", 5 }, { "", 0 }, { "it's \"quoted\" -- $1 :rows:", 26 }, { "\xf0\x9f\x98\x80\xe2\x9d\xa4", 7 },
    { "line\nbreak\ttab\\", 15 }, { NULL, 0 },
};
static const int64_t numbers[] = { 0, 1, -1, INT64_MAX, INT64_MIN, 1234567890123 };
static const double reals[] = { 0.0, -1.5, 1e300, 3.141592653589793, -0.25, 42.0 };
static const struct str blobs[] = {
    { "\0\1\2\xff", 4 }, { "", 0 }, { "\xc3\x28", 2 }, { NULL, 0 }, { "x", 1 }, { "\0", 1 },
};

static int insert_values(struct db_session *tx, void *arg, struct err *err)
{
    (void)arg;
    for (int i = 0; i < 6; i++)
        if (db_exec(tx, "INSERT INTO v (id, n, r, t, b) VALUES ($1, $2, $3, $4, $5)",
                    DB_ARGS(db_int(i + 1), db_int(numbers[i]), db_real(reals[i]), db_text(texts[i]),
                            db_blob(blobs[i])), err) != 1)
            return -1;
    return 0;
}

static void check_row(struct db_rows *rows, int i)
{
    struct str text = db_col_text(rows, 3), blob = db_col_text(rows, 4);

    assert_int_equal(db_col_int(rows, 0), i + 1);
    assert_true(db_col_int(rows, 1) == numbers[i]);
    assert_true(db_col_real(rows, 2) == reals[i]);
    assert_true(str_eq(text, texts[i]));
    assert_true(str_eq(blob, blobs[i]));
    assert_int_equal(db_col_null(rows, 3), texts[i].data == NULL);
    assert_int_equal(db_col_null(rows, 4), blobs[i].data == NULL);
}

static void check_all(void)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, 1, &err);
    struct db_rows *rows;

    assert_non_null(session);
    rows = db_query(session, "SELECT id, n, r, t, b FROM v ORDER BY id LIMIT $1", DB_ARGS(db_int(100)), &err);
    assert_non_null(rows);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(db_next(rows, &err), 1);
        check_row(rows, i);
    }
    assert_int_equal(db_next(rows, &err), 0);
    assert_int_equal(db_next(rows, &err), 0);
    db_rows_end(rows);
    db_read_end(session);
}

static void test_round_trip(void **state)
{
    (void)state;
    in_tx(insert_values, NULL);
    check_all();
}

static void fill_set(struct db_value values[30])
{
    for (int i = 0; i < 6; i++) {
        values[i * 5] = db_int(i + 1);
        values[i * 5 + 1] = db_int(numbers[i]);
        values[i * 5 + 2] = db_real(reals[i]);
        values[i * 5 + 3] = db_text(texts[i]);
        values[i * 5 + 4] = db_blob(blobs[i]);
    }
}

static int insert_set(struct db_session *tx, void *arg, struct err *err)
{
    struct db_value values[30];
    struct db_set set = { "INSERT INTO v (id, n, r, t, b) :rows: ON CONFLICT DO NOTHING", "iirtb", values, 6 };

    fill_set(values);
    *(int64_t *)arg = db_exec_rows(tx, &set, err);
    return *(int64_t *)arg < 0 ? -1 : 0;
}

static void test_set_round_trip(void **state)
{
    int64_t changed = 0;

    (void)state;
    in_tx(insert_set, &changed);
    assert_int_equal(changed, 6);
    check_all();
    in_tx(insert_set, &changed);
    assert_int_equal(changed, 0);
    check_all();
}

struct seen {
    int64_t ids[8];
    size_t count;
};

static int collect(struct db_rows *rows, struct seen *seen, struct err *err)
{
    int next;

    if (!rows)
        return -1;
    seen->count = 0;
    while ((next = db_next(rows, err)) > 0 && seen->count < 8)
        seen->ids[seen->count++] = db_col_int(rows, 0);
    return next;
}

static int insert_returning(struct db_session *tx, void *arg, struct err *err)
{
    struct db_value values[] = { db_int(1), db_cstr("a"), db_int(2), db_cstr("b"), db_int(3), db_cstr("c") };
    struct db_set set = { "INSERT INTO v (id, t) :rows: ON CONFLICT DO NOTHING RETURNING id, t", "it", values, 3 };

    if (db_exec(tx, "INSERT INTO v (id, t) VALUES ($1, $2)", DB_ARGS(db_int(2), db_cstr("old")), err) != 1)
        return -1;
    return collect(db_query_rows(tx, &set, err), arg, err);
}

static void test_set_returning_skips_duplicates(void **state)
{
    struct seen seen = { 0 };

    (void)state;
    in_tx(insert_returning, &seen);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.ids[0] + seen.ids[1], 4);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM v WHERE t = 'old'"), 1);
}

static int update_set(struct db_session *tx, void *arg, struct err *err)
{
    struct db_value values[] = { db_int(1), db_int(10), db_int(3), db_int(30), db_int(99), db_int(990) };
    struct db_set set = { "WITH new(id, n) AS (:rows:) UPDATE v SET n = new.n FROM new WHERE v.id = new.id", "ii",
                          values, 3 };

    *(int64_t *)arg = db_exec_rows(tx, &set, err);
    return *(int64_t *)arg < 0 ? -1 : 0;
}

static void test_set_update(void **state)
{
    int64_t changed;

    (void)state;
    in_tx(insert_values, NULL);
    in_tx(update_set, &changed);
    assert_int_equal(changed, 2);
    assert_int_equal(number(db, "SELECT n FROM v WHERE id = 3"), 30);
    assert_int_equal(number(db, "SELECT n FROM v WHERE id = 2"), 1);
}

static int empty_sets(struct db_session *tx, void *arg, struct err *err)
{
    struct db_set set = { "INSERT INTO v (id) :rows: RETURNING id", "i", NULL, 0 };
    struct db_rows *rows;

    (void)arg;
    if (db_exec_rows(tx, &set, err))
        return -1;
    rows = db_query_rows(tx, &set, err);
    return !rows || db_next(rows, err) ? -1 : 0;
}

static void test_empty_set(void **state)
{
    (void)state;
    in_tx(empty_sets, NULL);
}

/* The same statement open twice, values that die before the rows are read, an early end, and a write in between. */
static int nested(struct db_session *tx, void *arg, struct err *err)
{
    static const char sql[] = "SELECT id FROM v WHERE t <> $1 ORDER BY id";
    char text[8] = "none";
    struct db_rows *outer = db_query(tx, sql, DB_ARGS(db_cstr(text)), err), *inner;
    int64_t *sum = arg;

    memcpy(text, "xxxx", 4);
    *sum = 0;
    while (outer && db_next(outer, err) > 0) {
        inner = db_query(tx, sql, DB_ARGS(db_cstr("none")), err);
        if (!inner || db_next(inner, err) != 1)
            return -1;
        *sum += db_col_int(outer, 0) * 10 + db_col_int(inner, 0);
        db_rows_end(inner);
        db_rows_end(inner);
    }
    return db_exec(tx, "UPDATE v SET n = $1 WHERE id = $2", DB_ARGS(db_int(5), db_int(1)), err) == 1 ? 0 : -1;
}

static void test_nested_queries(void **state)
{
    int64_t sum;

    (void)state;
    in_tx(insert_values, NULL);
    in_tx(nested, &sum);
    assert_int_equal(sum, (1 + 2 + 3 + 4 + 5) * 10 + 5);
}

static int returning_then_gone(struct db_session *tx, void *arg, struct err *err)
{
    struct db_rows *rows = db_query(tx, "INSERT INTO v (id, t) VALUES ($1, $2) RETURNING t",
                                    DB_ARGS(db_int(7), db_cstr("seven")), err);

    (void)arg;
    return rows ? 0 : -1;       /* never read: the row must be there all the same */
}

static void test_returning_unread(void **state)
{
    (void)state;
    in_tx(returning_then_gone, NULL);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM v WHERE id = 7"), 1);
}

/* More statements than a session keeps, built in memory that is used again and again. */
static int many_statements(struct db_session *tx, void *arg, struct err *err)
{
    char sql[64];
    int64_t value;

    (void)arg;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < LIMIT_STATEMENTS + 50; i++) {
            snprintf(sql, sizeof sql, "SELECT CAST(%d AS BIGINT)", i);
            if (db_query_int(tx, sql, DB_NO_ARGS, -1, &value, err) || value != i)
                return -1;
        }
    return 0;
}

static void test_statement_cache(void **state)
{
    (void)state;
    in_tx(many_statements, NULL);
}

static int wrong_use(struct db_session *tx, void *arg, struct err *err)
{
    const char *sql = arg;

    return db_exec(tx, sql, DB_ARGS(db_int(1)), err) < 0 ? -1 : 0;
}

static void refused(db_tx *fn, const char *arg, enum err_code code)
{
    struct err err = { 0 };

    assert_int_equal(db_write(db, fn, (void *)(uintptr_t)arg, &err), -1);
    assert_int_equal(err.code, code);
    assert_true(err.detail[0]);
}

static void test_failures(void **state)
{
    (void)state;
    must(db, "INSERT INTO v (id) VALUES (1)");
    refused(wrong_use, "INSERT INTO v (id) VALUES ($1)", ERR_CONFLICT);
    refused(wrong_use, "INSERT INTO v (id, n) VALUES ($1, $2)", ERR_INTERNAL);
    refused(wrong_use, "INSERT INTO nowhere (id) VALUES ($1)", ERR_INTERNAL);
    refused(wrong_use, "SELEKT $1", ERR_INTERNAL);
    refused(wrong_use, "DELETE FROM v WHERE id = $1; DELETE FROM v", ERR_INTERNAL);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM v"), 1);
}

static int count_changes(struct db_session *tx, void *arg, struct err *err)
{
    (void)arg;
    if (db_exec(tx, "UPDATE v SET n = 1 WHERE id < $1", DB_ARGS(db_int(4)), err) != 3)
        return -1;
    if (db_exec(tx, "SELECT id FROM v", DB_NO_ARGS, err) != 0)
        return -1;
    if (db_exec(tx, "INSERT INTO v (id) VALUES ($1) ON CONFLICT DO NOTHING", DB_ARGS(db_int(1)), err) != 0)
        return -1;
    return db_exec(tx, "DELETE FROM v WHERE id = $1", DB_ARGS(db_int(1)), err) == 1 ? 0 : -1;
}

static void test_changes(void **state)
{
    (void)state;
    in_tx(insert_values, NULL);
    in_tx(count_changes, NULL);
}

static int query_ints(struct db_session *tx, void *arg, struct err *err)
{
    int64_t *out = arg;

    return db_query_int(tx, "SELECT n FROM v WHERE id = $1", DB_ARGS(db_int(1)), 7, &out[0], err)
        || db_query_int(tx, "SELECT n FROM v WHERE id = $1", DB_ARGS(db_int(2)), 7, &out[1], err)
        || db_query_int(tx, "SELECT n FROM v WHERE id = $1", DB_ARGS(db_int(3)), 7, &out[2], err) ? -1 : 0;
}

static void test_query_int(void **state)
{
    int64_t out[3];

    (void)state;
    must(db, "INSERT INTO v (id, n) VALUES (1, 5)");
    must(db, "INSERT INTO v (id, n) VALUES (2, NULL)");
    in_tx(query_ints, out);
    assert_int_equal(out[0], 5);
    assert_int_equal(out[1], 7);
    assert_int_equal(out[2], 7);
}

/* Readers see the state at their first statement on SQLite, each statement's own on PostgreSQL; and never write. */
static void test_read_snapshot(void **state)
{
    struct err err = { 0 };
    struct db_session *session;
    int64_t before, after;

    (void)state;
    must(db, "INSERT INTO v (id) VALUES (1)");
    session = db_read(db, 5, &err);
    assert_non_null(session);
    assert_int_equal(db_query_int(session, "SELECT COUNT(*) FROM v", DB_NO_ARGS, -1, &before, &err), 0);
    must(db, "INSERT INTO v (id) VALUES (2)");
    assert_int_equal(db_query_int(session, "SELECT COUNT(*) FROM v", DB_NO_ARGS, -1, &after, &err), 0);
    assert_int_equal(before, 1);
    assert_int_equal(after, on_postgres() ? 2 : 1);
    assert_int_equal(db_exec(session, "DELETE FROM v", DB_NO_ARGS, &err), -1);
    db_read_end(session);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM v"), 2);
}

static void test_now(void **state)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, 0, &err);

    (void)state;
    assert_non_null(session);
    assert_true(db_now_ms(session, &err) > INT64_C(1700000000000));
    assert_true(db_now_ms(session, &err) < INT64_C(4000000000000));
    db_read_end(session);
}

static void test_all_sessions_busy(void **state)
{
    struct err err = { 0 };
    struct db_session *sessions[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_non_null(sessions[i] = db_read(db, 0, &err));
    assert_null(db_read(db, 0, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    for (int i = 0; i < 4; i++)
        db_read_end(sessions[i]);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM v"), 0);
}

static int for_update(struct db_session *tx, void *arg, struct err *err)
{
    struct seen seen;

    (void)arg;
    if (collect(db_query(tx, "SELECT id FROM v WHERE t <> ' FOR UPDATE' ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
                         DB_ARGS(db_int(2)), err), &seen, err) || seen.count != 2)
        return -1;
    if (collect(db_query(tx, "SELECT id FROM v WHERE id = $1\n    FOR\n UPDATE", DB_ARGS(db_int(1)), err), &seen, err))
        return -1;
    return seen.count == 1 ? 0 : -1;
}

static void test_for_update(void **state)
{
    (void)state;
    in_tx(insert_values, NULL);
    in_tx(for_update, NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_round_trip), CASE(test_set_round_trip), CASE(test_set_returning_skips_duplicates),
        CASE(test_set_update), CASE(test_empty_set), CASE(test_nested_queries), CASE(test_returning_unread),
        CASE(test_statement_cache), CASE(test_failures), CASE(test_changes), CASE(test_query_int),
        CASE(test_read_snapshot), CASE(test_now), CASE(test_all_sessions_busy), CASE(test_for_update),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
