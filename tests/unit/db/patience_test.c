/* Writes that nobody waits for share the next commit when one comes soon, and are not kept for long when none does. */
#include "fixture.h"

#include "base/clock.h"

#include <semaphore.h>

#define LEAST_US 400        /* a little less than patience lasts */
#define TRIES 200

static struct db *db;
static sem_t told;

static int store_nothing(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    (void)items, (void)count;
    return db_exec(tx, "UPDATE p SET n = n + 1", DB_NO_ARGS, err) < 0 ? -1 : 0;
}

static const struct db_kind urgent = { "urgent", 1, store_nothing, false },
    patient = { "patient", 2, store_nothing, true };

static void tell(struct db_write_item *item)
{
    (void)item;
    sem_post(&told);
}

static int set_up(void **state)
{
    (void)state;
    sem_init(&told, 0, 0);
    db = open_fresh();
    must(db, "CREATE TABLE p (n BIGINT NOT NULL)");
    must(db, "INSERT INTO p (n) VALUES (0)");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    sem_destroy(&told);
    remove_fixture();
    return 0;
}

static struct db_write_item item_of(const struct db_kind *kind)
{
    return (struct db_write_item){ .kind = kind, .done = tell };
}

static void test_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct db_write_item item = item_of(&patient);
        int64_t start_us = clock_mono_us();
        struct err err = { 0 };

        assert_int_equal(db_submit(db, &item, &err), 0);
        sem_wait(&told);
        assert_true(clock_mono_us() - start_us >= LEAST_US);
        assert_int_equal(item.err.code, ERR_NONE);
    }
}

static void test_in_company(void **state)
{
    int shared = 0;

    (void)state;
    for (int i = 0; i < TRIES && !shared; i++) {
        struct db_write_item first = item_of(&patient), second = item_of(&urgent);
        struct db_stats before, after;
        struct err err = { 0 };

        db_stats(db, &before);
        assert_int_equal(db_submit(db, &first, &err), 0);
        assert_int_equal(db_submit(db, &second, &err), 0);
        sem_wait(&told);
        sem_wait(&told);
        db_stats(db, &after);
        shared += after.groups - before.groups == 1;
    }
    assert_true(shared > 0);
}

static void test_closing(void **state)
{
    struct db_write_item item = item_of(&patient);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(db_submit(db, &item, &err), 0);
    db_close(db);
    assert_int_equal(sem_trywait(&told), 0);
    db = open_again();
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = { CASE(test_alone), CASE(test_in_company), CASE(test_closing) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
