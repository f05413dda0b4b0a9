/* Writes that share one commit: order, bad rows, ordinary writes among them, deferred items, manual mode, ceilings. */
#include "fixture.h"

#include <pthread.h>
#include <stdatomic.h>

/* One row of table g, written by a grouped write. */
struct row {
    struct db_write_item item;
    int64_t id;
    int64_t value;
    bool duplicate;         /* outcome */
};

static struct db *db;
static atomic_int runs, done_count, committed_count;

/* --- A kind that inserts rows; a value below zero breaks a CHECK -------------------------------------------------- */

static int store_rows(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), count * 2, sizeof *values);
    struct db_set set = { "INSERT INTO g (id, value) :rows: ON CONFLICT (id) DO NOTHING RETURNING id", "ii", values,
                          count };
    struct db_rows *rows;
    int next;

    atomic_fetch_add(&runs, 1);
    for (size_t i = 0; i < count; i++) {
        struct row *row = (struct row *)items[i];

        values[i * 2] = db_int(row->id);
        values[i * 2 + 1] = db_int(row->value);
        row->duplicate = true;
        db_defer(tx, row);
    }
    rows = db_query_rows(tx, &set, err);
    if (!rows)
        return -1;
    while ((next = db_next(rows, err)) > 0)
        for (size_t i = 0; i < count; i++)
            if (((struct row *)items[i])->id == db_col_int(rows, 0))
                ((struct row *)items[i])->duplicate = false;
    return next;
}

static const struct db_kind store = { "store", 1, store_rows };

static char order_seen[64];

static int note_early(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    (void)tx, (void)items, (void)count, (void)err;
    strncat(order_seen, "early ", 10);
    return 0;
}

static int note_late(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    (void)tx, (void)items, (void)count, (void)err;
    strncat(order_seen, "late ", 10);
    return 0;
}

static const struct db_kind early = { "early", 0, note_early }, late = { "late", 9, note_late };

/* --- Hooks -------------------------------------------------------------------------------------------------------- */

static int64_t stamped[256];
static size_t stamped_count;
static pthread_mutex_t stamped_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stamps;
static bool stamp_fails;

static int stamp(struct db_session *tx, void **items, size_t count, struct err *err)
{
    atomic_fetch_add(&stamps, 1);
    if (stamp_fails)
        return err_set(err, ERR_INTERNAL, "no stamp");
    pthread_mutex_lock(&stamped_lock);
    stamped_count = 0;
    for (size_t i = 0; i < count && i < 256; i++)
        stamped[stamped_count++] = ((struct row *)items[i])->id;
    pthread_mutex_unlock(&stamped_lock);
    return db_exec(tx, "UPDATE stamps SET n = n + $1", DB_ARGS(db_int((int64_t)count)), err) < 0 ? -1 : 0;
}

static void committed(void *arg)
{
    (void)arg;
    atomic_fetch_add(&committed_count, 1);
}

static void count_done(struct db_write_item *item)
{
    (void)item;
    atomic_fetch_add(&done_count, 1);
}

static void open_with(bool manual)
{
    db_close(db);
    fixture.options.manual = manual;
    fixture.options.hooks = (struct db_hooks){ .stamp = stamp, .committed = committed };
    db = open_again();
    runs = done_count = committed_count = stamps = 0;
    stamped_count = 0;
    stamp_fails = false;
    order_seen[0] = '\0';
}

static int set_up(void **state)
{
    (void)state;
    db = open_fresh();
    must(db, on_postgres() ? "CREATE TABLE g (id BIGINT PRIMARY KEY, value BIGINT NOT NULL CHECK (value >= 0))"
                           : "CREATE TABLE g (id INTEGER PRIMARY KEY, value INTEGER NOT NULL CHECK (value >= 0))");
    must(db, on_postgres() ? "CREATE TABLE child (id BIGINT PRIMARY KEY,"
                             " g_id BIGINT REFERENCES g (id) DEFERRABLE INITIALLY DEFERRED)"
                           : "CREATE TABLE child (id INTEGER PRIMARY KEY,"
                             " g_id INTEGER REFERENCES g (id) DEFERRABLE INITIALLY DEFERRED)");
    must(db, on_postgres() ? "CREATE TABLE stamps (n BIGINT NOT NULL)" : "CREATE TABLE stamps (n INTEGER NOT NULL)");
    must(db, "INSERT INTO stamps (n) VALUES (0)");
    open_with(false);
    return 0;
}

static int set_up_manual(void **state)
{
    set_up(state);
    open_with(true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    db = NULL;
    remove_fixture();
    return 0;
}

static struct row make_row(int64_t id, int64_t value)
{
    return (struct row){ .item = { .kind = &store, .done = count_done }, .id = id, .value = value };
}

static void submit(struct row *row)
{
    struct err err = { 0 };

    assert_int_equal(db_submit(db, &row->item, &err), 0);
}

/* --- Manual mode: everything about one group, step by step -------------------------------------------------------- */

static void test_one_group(void **state)
{
    struct row rows[64];
    struct db_stats stats;

    (void)state;
    for (int i = 0; i < 64; i++) {
        rows[i] = make_row(i + 1, i);
        submit(&rows[i]);
    }
    db_stats(db, &stats);
    assert_int_equal(stats.waiting, 64);
    assert_int_equal(db_step(db), 64);
    assert_int_equal(db_step(db), 0);
    assert_int_equal(done_count, 64);
    assert_int_equal(runs, 1);
    assert_int_equal(committed_count, 1);
    assert_int_equal(stamps, 1);
    assert_int_equal(stamped_count, 64);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(rows[i].item.err.code, ERR_NONE);
        assert_false(rows[i].duplicate);
        assert_int_equal(stamped[i], i + 1);
    }
    db_stats(db, &stats);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.groups, 1);
    assert_int_equal(stats.items, 64);
    assert_int_equal(number(db, "SELECT n FROM stamps"), 64);
}

static void test_duplicates(void **state)
{
    struct row first = make_row(1, 1), again = make_row(1, 2), other = make_row(2, 2);

    (void)state;
    submit(&first);
    assert_int_equal(db_step(db), 1);
    submit(&again);
    submit(&other);
    assert_int_equal(db_step(db), 2);
    assert_false(first.duplicate);
    assert_true(again.duplicate);
    assert_false(other.duplicate);
    assert_int_equal(number(db, "SELECT value FROM g WHERE id = 1"), 1);
}

static void test_kinds_run_in_order(void **state)
{
    struct db_write_item items[4] = { { .kind = &late, .done = count_done }, { .kind = &early, .done = count_done },
                                      { .kind = &late, .done = count_done }, { .kind = &early, .done = count_done } };
    struct err err;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(db_submit(db, &items[i], &err), 0);
    assert_int_equal(db_step(db), 4);
    assert_string_equal(order_seen, "early late ");
    assert_int_equal(done_count, 4);
}

/* One bad row of 64 is refused alone; the others share one commit and one stamp that does not know the bad one. */
static void test_bad_row_is_refused_alone(void **state)
{
    struct row rows[64];

    (void)state;
    for (int i = 0; i < 64; i++) {
        rows[i] = make_row(i + 1, i == 37 ? -1 : i);
        submit(&rows[i]);
    }
    assert_int_equal(db_step(db), 64);
    assert_int_equal(committed_count, 1);
    assert_int_equal(done_count, 64);
    assert_true(runs <= 2 + 2 * 6);
    for (int i = 0; i < 64; i++)
        assert_int_equal(rows[i].item.err.code, i == 37 ? ERR_CONFLICT : ERR_NONE);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 63);
    assert_int_equal(stamped_count, 63);
    for (size_t i = 0; i < stamped_count; i++)
        assert_int_not_equal(stamped[i], 38);
    assert_int_equal(number(db, "SELECT n FROM stamps"), 63);
}

static void test_all_bad(void **state)
{
    struct row rows[8];

    (void)state;
    for (int i = 0; i < 8; i++) {
        rows[i] = make_row(i + 1, -1);
        submit(&rows[i]);
    }
    assert_int_equal(db_step(db), 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(rows[i].item.err.code, ERR_CONFLICT);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 0);
    assert_int_equal(done_count, 8);
}

static void test_bad_row_alone(void **state)
{
    struct row row = make_row(1, -1);

    (void)state;
    submit(&row);
    assert_int_equal(db_step(db), -1);
    assert_int_equal(row.item.err.code, ERR_CONFLICT);
    assert_int_equal(done_count, 1);
    assert_int_equal(committed_count, 0);
}

/* What only the commit finds is refused alone too. */
static int store_child(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct row *row = (struct row *)items[i];

        if (db_exec(tx, "INSERT INTO child (id, g_id) VALUES ($1, $2)", DB_ARGS(db_int(row->id), db_int(row->value)),
                    err) < 0)
            return -1;
    }
    return 0;
}

static const struct db_kind children = { "child", 2, store_child };

static void test_bad_row_at_commit(void **state)
{
    struct row parent = make_row(1, 1), rows[5];

    (void)state;
    submit(&parent);
    assert_int_equal(db_step(db), 1);
    for (int i = 0; i < 5; i++) {
        rows[i] = make_row(i + 1, i == 3 ? 99 : 1);
        rows[i].item.kind = &children;
        submit(&rows[i]);
    }
    assert_int_equal(db_step(db), 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rows[i].item.err.code, i == 3 ? ERR_CONFLICT : ERR_NONE);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM child"), 4);
}

static void test_failing_stamp_stores_nothing(void **state)
{
    struct row rows[3];

    (void)state;
    stamp_fails = true;
    for (int i = 0; i < 3; i++) {
        rows[i] = make_row(i + 1, 1);
        submit(&rows[i]);
    }
    assert_int_equal(db_step(db), -1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rows[i].item.err.code, ERR_INTERNAL);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 0);
    assert_int_equal(committed_count, 0);
}

/* --- Groups that ask to be repeated, or find the disk full -------------------------------------------------------- */

static int failures_left;
static enum err_code failure_code;

static int fail_some(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    if (failures_left > 0) {
        failures_left--;
        return err_set(err, failure_code, "not now");
    }
    return store_rows(tx, items, count, err);
}

static const struct db_kind fickle = { "fickle", 1, fail_some };

static void test_repeated_whole(void **state)
{
    struct row rows[2] = { make_row(1, 1), make_row(2, 2) };
    struct db_stats stats;

    (void)state;
    failures_left = 3;
    failure_code = ERR_UNAVAILABLE;
    for (int i = 0; i < 2; i++) {
        rows[i].item.kind = &fickle;
        submit(&rows[i]);
    }
    assert_int_equal(db_step(db), 2);
    assert_int_equal(runs, 1);
    assert_int_equal(stamped_count, 2);
    db_stats(db, &stats);
    assert_int_equal(stats.retried, 3);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 2);
}

static void test_repetition_ends(void **state)
{
    struct row row = make_row(1, 1);

    (void)state;
    failures_left = 1000;
    failure_code = ERR_UNAVAILABLE;
    row.item.kind = &fickle;
    submit(&row);
    assert_int_equal(db_step(db), -1);
    assert_int_equal(row.item.err.code, ERR_UNAVAILABLE);
    assert_true(row.item.err.retry_after_s > 0);
    assert_true(failures_left >= 1000 - LIMIT_REPEATS);
}

static void test_full_disk_refuses_all(void **state)
{
    struct row rows[4];

    (void)state;
    failures_left = 1;
    failure_code = ERR_STORAGE_FULL;
    for (int i = 0; i < 4; i++) {
        rows[i] = make_row(i + 1, 1);
        rows[i].item.kind = i == 2 ? &fickle : &store;
        submit(&rows[i]);
    }
    assert_int_equal(db_step(db), -1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rows[i].item.err.code, ERR_STORAGE_FULL);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 0);
}

/* --- Ordinary writes ---------------------------------------------------------------------------------------------- */

static int insert_and_fail(struct db_session *tx, void *arg, struct err *err)
{
    struct row *row = arg;

    db_defer(tx, row);
    db_notify(tx, "nobody", "x");
    if (db_exec(tx, "INSERT INTO g (id, value) VALUES ($1, $2)", DB_ARGS(db_int(row->id), db_int(0)), err) != 1)
        return -1;
    return row->value < 0 ? err_set(err, ERR_NOT_FOUND, "thought better of it") : 0;
}

static void test_ordinary_write(void **state)
{
    struct row good = make_row(1, 0), bad = make_row(2, -1), twice = make_row(1, 0);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(db_write(db, insert_and_fail, &good, &err), 0);
    assert_int_equal(stamps, 1);
    assert_int_equal(db_write(db, insert_and_fail, &bad, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(db_write(db, insert_and_fail, &twice, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(stamps, 1);
    assert_int_equal(committed_count, 1);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 1);
    assert_int_equal(db_write(db, insert_and_fail, &bad, NULL), -1);
}

struct thread {
    pthread_t thread;
    int number;
    int wrong;
};

#define THREADS 8
#define WRITES 60

/* Half of the writes are grouped, half ordinary, every seventh is bad. */
static void *write_mixed(void *arg)
{
    struct thread *self = arg;

    for (int i = 0; i < WRITES; i++) {
        bool bad = i % 7 == 6;
        struct row row = make_row(self->number * 1000 + i, bad ? -1 : i);
        struct err err = { 0 };
        int result = i % 2 ? db_submit_wait(db, &row.item, &err)
                     : (i % 4 ? db_write : db_write_sure)(db, insert_and_fail, &row, &err);

        if (result != (bad ? -1 : 0) || (bad && err.code != (i % 2 ? ERR_CONFLICT : ERR_NOT_FOUND)))
            self->wrong++;
    }
    return NULL;
}

static void test_threads_mixed(void **state)
{
    struct thread threads[THREADS] = { 0 };
    int64_t good = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        threads[i].number = i + 1;
        assert_int_equal(pthread_create(&threads[i].thread, NULL, write_mixed, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].wrong, 0);
    }
    for (int i = 0; i < WRITES; i++)
        good += i % 7 != 6;
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), THREADS * good);
    assert_int_equal(number(db, "SELECT n FROM stamps"), THREADS * good);
}

/* Many threads through the queue alone: whoever is told "stored" is stored, and groups form. */
static void *submit_many(void *arg)
{
    struct thread *self = arg;
    struct row *rows = mem_alloc(200 * sizeof *rows);
    struct err err;

    for (int i = 0; i < 200; i++) {
        rows[i] = make_row(self->number * 1000 + i / 2, i);     /* each id twice */
        if (db_submit(db, &rows[i].item, &err))
            self->wrong++;
    }
    return rows;
}

static void test_threads_submit(void **state)
{
    struct thread threads[THREADS] = { 0 };
    struct row *rows[THREADS];
    struct db_stats stats;
    int stored = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        threads[i].number = i + 1;
        assert_int_equal(pthread_create(&threads[i].thread, NULL, submit_many, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, (void **)&rows[i]);
        assert_int_equal(threads[i].wrong, 0);
    }
    for (int i = 0; i < 2000 && done_count < THREADS * 200; i++)
        usleep(5000);
    assert_int_equal(done_count, THREADS * 200);
    for (int i = 0; i < THREADS; i++) {
        for (int j = 0; j < 200; j++) {
            assert_int_equal(rows[i][j].item.err.code, ERR_NONE);
            stored += !rows[i][j].duplicate;
        }
        free(rows[i]);
    }
    assert_true(stored >= THREADS * 100);       /* twins in one group are both told "stored" by this kind */
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), THREADS * 100);
    db_stats(db, &stats);
    assert_int_equal(stats.items, THREADS * 200);
    assert_true(stats.groups < stats.items);
}

/* --- Ceilings and closing ----------------------------------------------------------------------------------------- */

static void test_queue_full(void **state)
{
    struct row *rows = mem_alloc((LIMIT_WRITE_QUEUE + 1) * sizeof *rows);
    struct err err = { 0 };
    int total = 0, step;

    (void)state;
    for (int i = 0; i <= LIMIT_WRITE_QUEUE; i++)
        rows[i] = make_row(i + 1, 0);
    for (int i = 0; i < LIMIT_WRITE_QUEUE; i++)
        assert_int_equal(db_submit(db, &rows[i].item, &err), 0);
    assert_int_equal(db_submit(db, &rows[LIMIT_WRITE_QUEUE].item, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_true(err.retry_after_s > 0);
    while ((step = db_step(db)) > 0) {
        assert_true(step <= LIMIT_GROUP_ROWS);
        total += step;
    }
    assert_int_equal(total, LIMIT_WRITE_QUEUE);
    assert_int_equal(done_count, LIMIT_WRITE_QUEUE);
    submit(&rows[LIMIT_WRITE_QUEUE]);
    assert_int_equal(db_step(db), 1);
    free(rows);
}

static void test_close_finishes_the_queue(void **state)
{
    struct row rows[100];

    (void)state;
    for (int i = 0; i < 100; i++) {
        rows[i] = make_row(i + 1, 0);
        submit(&rows[i]);
    }
    db_close(db);
    assert_int_equal(done_count, 100);
    db = open_again();
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 100);
}

/* Manual mode: an ordinary write is its own commit and leaves the queue alone; submit_wait runs the groups itself. */
static void test_manual_writes(void **state)
{
    struct row queued = make_row(1, 0), direct = make_row(2, 0), waited = make_row(3, 0);
    struct err err = { 0 };

    (void)state;
    submit(&queued);
    assert_int_equal(db_write(db, insert_and_fail, &direct, &err), 0);
    assert_int_equal(done_count, 0);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 1);
    assert_int_equal(db_submit_wait(db, &waited.item, &err), 0);
    assert_int_equal(done_count, 1);
    assert_int_equal(number(db, "SELECT COUNT(*) FROM g"), 3);
    waited = make_row(4, -1);
    assert_int_equal(db_submit_wait(db, &waited.item, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define MANUAL(name) cmocka_unit_test_setup_teardown(name, set_up_manual, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANUAL(test_one_group), MANUAL(test_duplicates), MANUAL(test_kinds_run_in_order),
        MANUAL(test_bad_row_is_refused_alone), MANUAL(test_all_bad), MANUAL(test_bad_row_alone),
        MANUAL(test_bad_row_at_commit), MANUAL(test_failing_stamp_stores_nothing), MANUAL(test_repeated_whole),
        MANUAL(test_repetition_ends), MANUAL(test_full_disk_refuses_all), MANUAL(test_ordinary_write),
        CASE(test_ordinary_write), CASE(test_threads_mixed), CASE(test_threads_submit), MANUAL(test_queue_full),
        CASE(test_close_finishes_the_queue), MANUAL(test_close_finishes_the_queue), MANUAL(test_manual_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
