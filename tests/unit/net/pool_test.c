#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int done, inside, most;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

static void count(void *arg)
{
    (void)arg;
    atomic_fetch_add(&done, 1);
}

/* Stays inside until the gate opens. */
static void block(void *arg)
{
    int now = atomic_fetch_add(&inside, 1) + 1, before = atomic_load(&most);

    (void)arg;
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
        ;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    atomic_fetch_sub(&inside, 1);
    atomic_fetch_add(&done, 1);
}

static bool reaches(atomic_int *value, int wanted)
{
    for (int i = 0; i < 2000 && atomic_load(value) != wanted; i++)
        pause_ms(1);
    return atomic_load(value) == wanted;
}

static int reset(void **state)
{
    (void)state;
    atomic_store(&done, 0);
    atomic_store(&inside, 0);
    atomic_store(&most, 0);
    return 0;
}

static void all_work_is_done(void **state)
{
    struct pool *pool = pool_new(&(struct pool_options){ .name = "t", .threads_min = 3, .threads_max = 3,
                                                         .queue_max = 20000 });

    (void)state;
    for (int i = 0; i < 20000; i++)
        assert_true(pool_add(pool, count, NULL));
    pool_free(pool);
    assert_int_equal(atomic_load(&done), 20000);
}

static void the_queue_has_an_end(void **state)
{
    struct pool *pool = pool_new(&(struct pool_options){ .name = "t", .threads_min = 1, .threads_max = 1,
                                                         .queue_max = 2 });

    (void)state;
    pthread_mutex_lock(&gate);
    assert_true(pool_add(pool, block, NULL));
    assert_true(reaches(&inside, 1));
    assert_true(pool_add(pool, block, NULL));
    assert_true(pool_add(pool, block, NULL));
    assert_false(pool_add(pool, block, NULL));
    assert_int_equal(pool_waiting(pool), 2);
    assert_int_equal(pool_running(pool), 1);
    pthread_mutex_unlock(&gate);
    assert_true(reaches(&done, 3));
    assert_true(pool_add(pool, count, NULL));
    pool_free(pool);
    assert_int_equal(atomic_load(&done), 4);
}

static void it_grows_while_work_waits_and_no_further(void **state)
{
    struct pool *pool = pool_new(&(struct pool_options){ .name = "t", .threads_min = 1, .threads_max = 5,
                                                         .queue_max = 100 });

    (void)state;
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 20; i++)
        assert_true(pool_add(pool, block, NULL));
    assert_true(reaches(&inside, 5));
    pause_ms(20);
    assert_int_equal(atomic_load(&inside), 5);
    assert_int_equal(pool_waiting(pool), 15);
    pthread_mutex_unlock(&gate);
    assert_true(reaches(&done, 20));
    assert_int_equal(atomic_load(&most), 5);
    pool_free(pool);
}

/* One blocked worker must not hide work from the idle ones, whatever wake-ups are saved. */
static void idle_workers_take_over(void **state)
{
    struct pool *pool = pool_new(&(struct pool_options){ .name = "t", .threads_min = 4, .threads_max = 4,
                                                         .queue_max = 100 });

    (void)state;
    pause_ms(5);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 3; i++)
        assert_true(pool_add(pool, block, NULL));
    for (int i = 0; i < 50; i++)
        assert_true(pool_add(pool, count, NULL));
    assert_true(reaches(&done, 50));
    pthread_mutex_unlock(&gate);
    pool_free(pool);
    assert_int_equal(atomic_load(&done), 53);
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_work_is_done, reset), cmocka_unit_test_setup(the_queue_has_an_end, reset),
        cmocka_unit_test_setup(it_grows_while_work_waits_and_no_further, reset),
        cmocka_unit_test_setup(idle_workers_take_over, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
