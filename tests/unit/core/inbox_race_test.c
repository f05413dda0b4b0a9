#include "fixture.h"

#include <pthread.h>

#define THREADS 16
#define MESSAGES 1000
#define COPIES 20

static int64_t channel_id;
static struct hub second;           /* PostgreSQL: another node on the same database */

static int set_up(void **state)
{
    (void)state;
    start_hub(0);
    channel_id = add_channel(TENANT, "sms", "phone");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop_hub();
    return 0;
}

/* One thread hands in its share of MESSAGES * COPIES, in an order of its own. */
struct poster {
    int number;
    bool naive;
    struct hub *hub;
    int stored, duplicates, failed;
};

static atomic_int_fast64_t first_ids[MESSAGES];

static void name(int message, char from[16], char id[16])
{
    snprintf(from, 16, "+12025550%03d", message % 50);
    snprintf(id, 16, "m%d", message);
}

/* What everybody writes first: look, and insert if it is not there. */
static int look_then_insert_tx(struct db_session *tx, void *arg, struct err *err)
{
    int64_t message = *(const int64_t *)arg, found;
    char text[24];

    snprintf(text, sizeof text, "m%lld", (long long)message);
    if (db_query_int(tx, "SELECT COUNT(*) FROM audit WHERE action = $1", DB_ARGS(db_cstr(text)), 0,
                     &found, err))
        return -1;
    if (found)
        return 0;
    usleep(200);
    return db_exec(tx,
                   "INSERT INTO audit (id, tenant_id, at_ms, actor, action) VALUES ($1, 1, 1, "
                   "'naive', $2)",
                   DB_ARGS(db_int(((const int64_t *)arg)[1]), db_cstr(text)), err)
                   < 0
               ? -1
               : 0;
}

static void post(struct poster *poster, int message, struct arena *arena)
{
    struct err err = { 0 };
    char from[16], id[16];

    name(message, from, id);
    if (poster->naive) {
        int64_t both[2] = { message, ids_next(fixture.hub.ids, &err) };

        poster->failed += db_write(fixture.hub.db, look_then_insert_tx, both, &err) != 0;
    } else {
        struct channel_event event = text_event(from, id, "the same");
        struct inbox_result result;
        struct inbox_write write = { .tenant_id = TENANT,
                                     .channel_id = channel_id,
                                     .events = &event,
                                     .count = 1,
                                     .results = &result };
        int64_t none = 0;

        if (inbox_accept(poster->hub, arena, &write, &err)) {
            poster->failed++;
            return;
        }
        poster->stored += result.outcome == INBOX_STORED;
        poster->duplicates += result.outcome == INBOX_DUPLICATE;
        /* everybody is told the same id */
        if (!atomic_compare_exchange_strong(&first_ids[message], &none, result.message_id)
            && none != result.message_id)
            poster->failed++;
    }
    arena_reset(arena);
}

static void *post_main(void *arg)
{
    struct poster *poster = arg;
    struct arena *arena = arena_new(4096);
    int share = (poster->naive ? 100 : MESSAGES) * COPIES / THREADS;

    for (int i = 0; i < share; i++) {
        int number = poster->number + i * THREADS;

        /* 7919 is coprime: every thread runs through all messages, scattered */
        post(poster, number * 7919 % (poster->naive ? 100 : MESSAGES), arena);
    }
    arena_free(arena);
    return NULL;
}

static struct poster run_posters(bool naive)
{
    struct poster posters[THREADS], sum = { 0 };
    pthread_t threads[THREADS];

    for (int i = 0; i < MESSAGES; i++)
        atomic_store(&first_ids[i], 0);
    for (int i = 0; i < THREADS; i++) {
        posters[i] = (struct poster){ .number = i,
                                      .naive = naive,
                                      .hub = second.db && i % 2 ? &second : &fixture.hub };
        pthread_create(&threads[i], NULL, post_main, &posters[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum.stored += posters[i].stored;
        sum.duplicates += posters[i].duplicates;
        sum.failed += posters[i].failed;
    }
    return sum;
}

static void open_second(void)
{
    struct err err = { 0 };

    second = (struct hub){ .config = fixture.hub.config };
    if (hub_open(&second, &err))
        fail_msg("second node: %s", err.detail);
}

static void a_thousand_messages_stay_a_thousand(void **state)
{
    struct poster sum;

    (void)state;
    if (on_postgres())
        open_second();
    sum = run_posters(false);
    if (second.db)
        hub_close(&second);
    assert_int_equal(sum.failed, 0);
    assert_int_equal(sum.stored, MESSAGES);
    assert_int_equal(sum.duplicates, MESSAGES * (COPIES - 1));
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), MESSAGES);
    assert_int_equal(number("SELECT COUNT(DISTINCT external_id) FROM messages"), MESSAGES);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.received'"),
                     MESSAGES);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations"), 50);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations c WHERE c.last_position <> "
                            "(SELECT COUNT(*) FROM messages m WHERE m.conversation_id = c.id)"), 0);
    assert_int_equal(number("SELECT SUM(messages) FROM jobs"), MESSAGES);
    assert_int_equal(number("SELECT MAX(seq) - COUNT(*) FROM events"), 0);
}

/* The harness has to find what a careless hub does. SQLite's one writer hides it. */
static void looking_before_inserting_doubles(void **state)
{
    (void)state;
    if (!on_postgres())
        return;
    run_posters(true);
    assert_true(number("SELECT COUNT(*) FROM audit WHERE actor = 'naive'") > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_thousand_messages_stay_a_thousand), TEST(looking_before_inserting_doubles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
