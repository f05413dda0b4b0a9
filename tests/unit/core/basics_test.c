/* Ids and wake-ups, which everything else stands on; and the invented set. */
#include "fixture.h"

#include "core/audit.h"
#include "core/seed.h"
#include "core/seed_text.h"

#include <pthread.h>

#define THREADS 8
#define TAKES 4000

static int set_up(void **state)
{
    (void)state;
    start_hub(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop_hub();
    return 0;
}

struct taker {
    int64_t first[TAKES];
    int count[TAKES];
    int number;
};

static void *take_main(void *arg)
{
    struct taker *taker = arg;
    struct err err = { 0 };

    for (int i = 0; i < TAKES; i++) {
        taker->count[i] = 1 + (i * 7 + taker->number) % 50;
        taker->first[i] = ids_take(fixture.hub.ids, (size_t)taker->count[i], &err);
    }
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Several blocks are used up, by all threads at once. */
static void ids_are_never_given_twice(void **state)
{
    struct taker *takers = mem_alloc(THREADS * sizeof *takers);
    int64_t *all = mem_alloc(THREADS * TAKES * 50 * sizeof *all);
    pthread_t threads[THREADS];
    size_t count = 0;
    struct err err = { 0 };

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        takers[i].number = i;
        pthread_create(&threads[i], NULL, take_main, &takers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < TAKES; k++) {
            assert_true(takers[i].first[k] > 0);
            for (int n = 0; n < takers[i].count[k]; n++)
                all[count++] = takers[i].first[k] + n;
        }
    qsort(all, count, sizeof *all, compare_ids);
    for (size_t i = 1; i < count; i++)
        assert_true(all[i] > all[i - 1]);
    hub_close(&fixture.hub);
    open_hub(0);
    assert_true(ids_next(fixture.hub.ids, &err) > all[count - 1]);
    assert_int_equal(ids_take(fixture.hub.ids, 0, &err), -1);
    assert_int_equal(ids_take(fixture.hub.ids, 1000000, &err), -1);
    free(all);
    free(takers);
}

static struct wake *wake;

static void *wait_main(void *arg)
{
    uint32_t *seen = arg;

    *seen = wake_wait(wake, *seen, -1);
    return NULL;
}

static void wakes_everybody_once(void **state)
{
    uint32_t seen[THREADS], start;
    pthread_t threads[THREADS];
    int64_t began_us = clock_mono_us();

    (void)state;
    wake = wake_new();
    start = wake_seen(wake);
    assert_int_equal(wake_wait(wake, start, 30), start);
    assert_true(clock_mono_us() - began_us >= 29000);
    for (int i = 0; i < THREADS; i++) {
        seen[i] = start;
        pthread_create(&threads[i], NULL, wait_main, &seen[i]);
    }
    usleep(10000);
    wake_signal(wake);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(seen[i], start + 1);
    }
    assert_int_equal(wake_wait(wake, start, -1), start + 1);
    wake_free(wake);
}

static int audit_tx(struct db_session *tx, void *arg, struct err *err)
{
    return audit_add(tx, arg, err);
}

static void audit_lines_keep_what_they_are_given(void **state)
{
    struct audit audit = { .id = draw(),
                           .tenant_id = TENANT,
                           .at_ms = 5,
                           .action = "access.denied",
                           .peer = "127.0.0.1" };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(db_write(fixture.hub.db, audit_tx, &audit, &err), 0);
    assert_int_equal(
        number("SELECT COUNT(*) FROM audit WHERE action = 'access.denied' AND actor = 'hub' "
               "AND object IS NULL AND peer = '127.0.0.1'"),
        1);
}

static void the_same_number_gives_the_same_set(void **state)
{
    struct seed_plan plan = { TENANT, 12000, 42, 1790000000000 };
    struct seed_result result;
    struct err err = { 0 };
    int64_t digest, other;

    (void)state;
    assert_int_equal(seed_fill(&fixture.hub, &plan, NULL, &result, &err), 0);
    assert_int_equal(result.messages, 12000);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 12000);
    assert_int_equal(number("SELECT MAX(seq) - COUNT(*) FROM events"), 0);
    assert_int_equal(
        number("SELECT COUNT(*) FROM conversations c WHERE c.last_position <> (SELECT COUNT(*) "
               "FROM messages m WHERE m.conversation_id = c.id)"),
        0);
    assert_int_equal(
        number("SELECT COUNT(*) FROM conversations c WHERE c.unread <> (SELECT COUNT(*) FROM "
               "messages m "
               "WHERE m.conversation_id = c.id AND m.direction = 0 AND m.read_ms IS NULL)"),
        0);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE received_ms > 1790000000000"), 0);
    assert_true(number("SELECT COUNT(DISTINCT time_zone) FROM contacts") >= 8);
    assert_true(number("SELECT COUNT(DISTINCT channel_id) FROM messages") >= 2);
    assert_true(number("SELECT COUNT(DISTINCT state) FROM messages") >= 5);
    /* Zipf: the busiest tenth of the conversations holds more than half of the messages */
    assert_true(
        number("SELECT SUM(n) FROM (SELECT COUNT(*) AS n FROM messages GROUP BY conversation_id "
               "ORDER BY n DESC LIMIT 31) x")
        > 6000);
    assert_int_equal(seed_fill(&fixture.hub, &plan, NULL, &result, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    digest = number("SELECT SUM(LENGTH(text) * (received_ms % 1000 + state)) FROM messages");
    stop_hub();
    start_hub(0);
    assert_int_equal(seed_fill(&fixture.hub, &plan, NULL, &result, &err), 0);
    other = number("SELECT SUM(LENGTH(text) * (received_ms % 1000 + state)) FROM messages");
    assert_int_equal(digest, other);
}

static void words_follow_zipf(void **state)
{
    struct seed_random random = { 5 };
    int counts[100] = { 0 };

    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint32_t rank = seed_zipf(&random, 100);

        assert_true(rank < 100);
        counts[rank]++;
    }
    assert_true(counts[0] > 3 * counts[4]);
    assert_true(counts[4] > 2 * counts[60]);
    for (int i = 0; i < 100; i++)
        assert_true(counts[i] > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids_are_never_given_twice), cmocka_unit_test(wakes_everybody_once),
        TEST(audit_lines_keep_what_they_are_given), TEST(the_same_number_gives_the_same_set),
        cmocka_unit_test(words_follow_zipf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
