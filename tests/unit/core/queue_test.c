#include "work.h"

#include "core/queue_lane.h"
#include "core/send.h"

#include <sched.h>

#define WORKERS 8
#define CONVERSATIONS 40
#define MESSAGES 12

/* A lane with ready jobs has exactly one head; what waits outside is none. */
static void check_lanes(void)
{
    assert_int_equal(number("SELECT count(*) FROM (SELECT lane FROM jobs WHERE kind = 1 AND state "
                            "IN (0, 1) GROUP BY lane "
                            "HAVING sum(head) = 0 AND NOT EXISTS (SELECT 1 FROM jobs b WHERE "
                            "b.kind = 1 AND b.lane = jobs.lane AND b.state = 2 AND b.head = 1)) "
                            "broken"), 0);
    assert_int_equal(number("SELECT count(*) FROM (SELECT lane FROM jobs WHERE kind = 1 AND head "
                            "= 1 GROUP BY lane "
                            "HAVING count(*) > 1) doubled"), 0);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE state = 3 AND head = 1"), 0);
}

static int64_t send_as(int64_t channel, const char *to, const char *text,
                       enum message_priority priority)
{
    const struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel,
        .to = str_c(to),
        .text = str_c(text), .origin = ORIGIN_PERSON, .priority = priority };

    return send_request(&request);
}

/* --- Order ------------------------------------------------------------------------------------ */

/* What the provider saw of each conversation. */
static struct {
    pthread_mutex_t lock;
    int under_way[CONVERSATIONS];       /* sends at this moment */
    int next[CONVERSATIONS];            /* the first message that has not ended */
    int tries[CONVERSATIONS];           /* of that one */
    int inversions, overlaps, ended;
    uint32_t random;
} seen = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint32_t roll(void)
{
    seen.random = seen.random * 1664525u + 1013904223u;
    return seen.random >> 8;
}

/* One message in five fails, some for good; each takes a little while. */
static enum send_outcome flaky(const struct send_job *job, struct send_result *result)
{
    int conversation, message;
    enum send_outcome outcome = SEND_DONE;
    uint32_t luck;

    (void)result;
    assert_int_equal(sscanf(job->text.data, "%d %d", &conversation, &message), 2);
    pthread_mutex_lock(&seen.lock);
    seen.overlaps += seen.under_way[conversation]++ > 0;
    seen.inversions += message != seen.next[conversation];
    luck = roll() % 100;
    pthread_mutex_unlock(&seen.lock);
    for (uint32_t i = 0; i < luck % 7; i++)
        sched_yield();
    pthread_mutex_lock(&seen.lock);
    seen.under_way[conversation]--;
    if (luck < 18) {
        outcome = SEND_RETRY;
        seen.tries[conversation]++;
    } else if (luck < 20) {
        outcome = SEND_REFUSED;
    }
    if (outcome != SEND_RETRY || seen.tries[conversation] >= LIMIT_SEND_ATTEMPTS) {
        seen.next[conversation] = message + 1;
        seen.tries[conversation] = 0;
        seen.ended++;
    }
    pthread_mutex_unlock(&seen.lock);
    return outcome;
}

static void *work(void *arg)
{
    struct hub *node = arg;
    struct err err = { 0 };

    for (int i = 0; i < 100000 && atomic_load(&test_now_ms) < START_MS + INT64_C(86400000); i++) {
        int64_t next_ms = INT64_MAX;
        int done;
        pthread_mutex_lock(&seen.lock);
        bool all = seen.ended == CONVERSATIONS * MESSAGES;
        pthread_mutex_unlock(&seen.lock);
        if (all)
            break;
        done = worker_send_step(node, &next_ms, &err);
        if (done < 0) {
            print_error("worker: %s\n", err.detail);
            return (void *)1;
        }
        /* Time stands until somebody finds nothing to do; then it goes to the next thing that
         * becomes due. */
        if (done == 0)
            pass_ms(50);
    }
    return NULL;
}

static void queue_conversations(int64_t channel[2])
{
    for (int message = 0; message < MESSAGES; message++)
        for (int c = 0; c < CONVERSATIONS; c++)
            send_text(channel[c % 2], arena_printf(arena, "+49%d", 3000 + c),
                      arena_printf(arena, "%d %d", c, message));
}

/* On PostgreSQL a second node works on the same database. */
static void keeps_order_with_8_workers(void **state)
{
    int64_t channel[2] = { add_channel("test", NULL), add_channel("repeat", NULL) };
    struct hub second = { .config = hub.config, .exchange = &test_exchange };
    pthread_t threads[WORKERS];
    struct err err = { 0 };
    void *failed;
    int failures = 0;

    (void)state;
    test_real_clock = false;
    peer.decide = flaky;
    seen.random = 42;
    queue_conversations(channel);
    if (on_postgres())
        assert_int_equal(hub_open(&second, &err), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, work, on_postgres() && i % 2 ? &second : &hub);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], &failed);
        failures += failed != NULL;
    }
    if (on_postgres())
        hub_close(&second);
    assert_int_equal(failures, 0);
    assert_int_equal(seen.ended, CONVERSATIONS * MESSAGES);
    assert_int_equal(seen.inversions, 0);
    assert_int_equal(seen.overlaps, 0);
    check_lanes();
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE state NOT IN (6, 11)"), 0);
}

/* The control: the claim of the text books, which knows no heads. It has to invert, or the test
 * above proves nothing. */
static struct {
    pthread_mutex_t lock;
    int last[CONVERSATIONS], inversions, done;
} naive = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct naive_claim {
    int64_t job_id, conversation, message;
};

static int naive_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct naive_claim *claim = arg;
    struct db_rows *rows = db_query(tx,
                                    "UPDATE jobs SET state = 1 WHERE id = (SELECT id FROM jobs "
                                    "WHERE kind = 1 "
                                        "AND state = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) "
                                        "RETURNING id, first_ms, messages", DB_NO_ARGS, err);
    int found = rows ? db_next(rows, err) : -1;

    claim->job_id = 0;
    if (found == 1)
        *claim = (struct naive_claim){ db_col_int(rows, 0), db_col_int(rows, 1),
            db_col_int(rows, 2) };
    return found < 0 ? -1 : 0;
}

static void *naive_work(void *arg)
{
    uint32_t luck = (uint32_t)(uintptr_t)arg;
    struct naive_claim claim;
    struct err err = { 0 };

    for (int i = 0; i < CONVERSATIONS * MESSAGES; i++) {
        if (db_write(hub.db, naive_tx, &claim, &err) || !claim.job_id)
            break;
        luck = luck * 1664525u + 1013904223u;
        usleep(luck >> 8 & 1023);
        pthread_mutex_lock(&naive.lock);
        naive.inversions += claim.message < naive.last[claim.conversation];
        naive.last[claim.conversation] = (int)claim.message;
        naive.done++;
        pthread_mutex_unlock(&naive.lock);
    }
    return NULL;
}

static void the_naive_claim_inverts(void **state)
{
    pthread_t threads[WORKERS];
    int id = 1;

    (void)state;
    for (int c = 0; c < CONVERSATIONS; c++)
        for (int message = 0; message < MESSAGES; message++, id++)
            MUST("INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, "
                 "due_ms, first_ms, messages, "
                 "created_ms) VALUES (%d, 1, 1, 0, %d, %d, 0, 0, 0, %d, %d, 0)", id, c, message, c,
                     message);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, naive_work, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(naive.done, CONVERSATIONS * MESSAGES);
    assert_true(naive.inversions > 0);
}

/* --- Fencing ---------------------------------------------------------------------------------- */

/* Claim everything that waits on a channel, as a worker would. */
static struct queue_claim claim_all(int64_t channel, const struct queue_order *order)
{
    struct queue_claim claim = { .arena = arena, .orders = order, .order_count = 1 };
    struct err err = { 0 };

    (void)channel;
    if (queue_claim(&hub, &claim, &err))
        fail_msg("claim: %s", err.detail);
    return claim;
}

static void expire_leases(void)
{
    must("UPDATE jobs SET lease_until_ms = 1 WHERE state = 1");
}

static struct queue_finish finish_as_sent(const struct queue_send *send)
{
    return (struct queue_finish){ .item = { .kind = &queue_finish_kind }, .send = send,
        .end = QUEUE_REMOVE,
        .now_ms = clock_ms(), .moves = true, .worked = true,
        .change = { .to = MESSAGE_SENT, .at_ms = clock_ms(), .external_id = STR("late") },
        .tried = { .outcome = ATTEMPT_DONE, .external_id = STR("late") } };
}

static const char *dump(void)
{
    return arena_printf(arena, "%s|%s|%s",
                        text_of("SELECT CAST(count(*) AS TEXT) || ':' || coalesce(CAST(sum(state "
                                "* 7 + "
        "coalesce(sent_ms, 0) + length(coalesce(external_id, ''))) AS TEXT), '') FROM messages"),
        text_of("SELECT CAST(count(*) AS TEXT) || ':' || coalesce(CAST(sum(outcome * 7 + attempt + "
                "coalesce(finished_ms, 0)) AS TEXT), '') FROM attempts"),
        text_of("SELECT CAST(count(*) AS TEXT) || ':' || coalesce(CAST(sum(state * 7 + head * 3 + "
                "attempt) AS TEXT), '') "
                "FROM jobs"));
}

static void a_late_finisher_touches_no_row(void **state)
{
    int64_t channel = add_channel("repeat", NULL);
    struct queue_order order = { .channel_id = channel, .slots = 8 };
    struct queue_claim first, second;
    struct queue_finish late;
    struct err err = { 0 };
    const char *before;

    (void)state;
    send_text(channel, "+49301", "once");
    first = claim_all(channel, &order);
    assert_int_equal(first.count, 1);
    assert_int_equal(first.sends[0].attempt, 1);
    expire_leases();
    /* taken for dead: the provider knows our key, so it is tried again */
    sweep_once();
    pass_ms(5000);
    sweep_once();
    second = claim_all(channel, &order);
    assert_int_equal(second.count, 1);
    assert_int_equal(second.sends[0].attempt, 2);

    before = dump();
    late = finish_as_sent(&first.sends[0]);
    assert_int_equal(db_submit_wait(hub.db, &late.item, &err), 0);
    assert_false(late.done);
    assert_string_equal(dump(), before);
    assert_int_equal(send_release(&hub, &first.sends[0], &err), 0);
    assert_string_equal(dump(), before);
    assert_int_equal(send_take_over(&hub, &first.sends[0], INT64_MAX - 1, &err), 0);
    assert_string_equal(dump(), before);

    late = finish_as_sent(&second.sends[0]);
    assert_int_equal(db_submit_wait(hub.db, &late.item, &err), 0);
    assert_true(late.done);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    late.send = &second.sends[0];
    assert_int_equal(db_submit_wait(hub.db, &late.item, &err), 0);
    assert_false(late.done);
}

static void a_heartbeat_keeps_the_lease(void **state)
{
    int64_t channel = add_channel("test", NULL);
    struct queue_order order = { .channel_id = channel, .slots = 8 };
    struct queue_claim claim;
    struct queue_held held[2];
    struct err err = { 0 };

    (void)state;
    send_text(channel, "+49301", "slow");
    send_text(channel, "+49302", "dead");
    claim = claim_all(channel, &order);
    assert_int_equal(claim.count, 2);
    expire_leases();
    held[0] = (struct queue_held){ claim.sends[0].job_id, claim.sends[0].attempt };
    /* no longer its attempt */
    held[1] = (struct queue_held){ claim.sends[1].job_id, claim.sends[1].attempt - 1 };
    assert_int_equal(queue_heartbeat(hub.db, held, 2, &err), 0);
    sweep_once();
    assert_int_equal(state_of(claim.sends[0].message_id), MESSAGE_SENDING);
    assert_int_equal(state_of(claim.sends[1].message_id), MESSAGE_UNKNOWN);
}

/* --- Between lanes ---------------------------------------------------------------------------- */

static void urgent_goes_first_and_bulk_is_not_starved(void **state)
{
    int64_t channel = add_channel("test", "per_second = 1"), bulk;
    int64_t waited_ms = 0;

    (void)state;
    bulk = send_as(channel, "+49300", "bulk", PRIORITY_BULK);
    send_as(channel, "+49301", "normal", PRIORITY_NORMAL);
    send_as(channel, "+49302", "urgent", PRIORITY_URGENT);
    send_once(NULL);
    assert_string_equal(peer.sent[0].text, "urgent");
    /* More urgent ones than the channel can take, for ten minutes. */
    for (int i = 0; i < 600 && state_of(bulk) != MESSAGE_SENT; i++) {
        pass_ms(1000);
        waited_ms += 1000;
        send_as(channel, arena_printf(arena, "+49%d", 5000 + i), "urgent", PRIORITY_URGENT);
        send_once(NULL);
    }
    assert_int_equal(state_of(bulk), MESSAGE_SENT);
    assert_true(waited_ms >= 60000);
    check_lanes();
}

static void a_full_channel_leaves_room_for_others(void **state)
{
    int64_t busy = add_channel("test", NULL), quiet = add_channel("test", NULL);
    int of_busy = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        send_as(busy, arena_printf(arena, "+49%d", 4000 + i), "busy", PRIORITY_URGENT);
    send_as(quiet, "+49300", "quiet", PRIORITY_BULK);
    send_once(NULL);
    for (int i = 0; i < peer.count; i++)
        of_busy += strcmp(peer.sent[i].text, "busy") == 0;
    assert_int_equal(of_busy, LIMIT_SEND_WORKERS_DEFAULT / 8);
    assert_int_equal(peer.count, of_busy + 1);
}

static void a_channel_that_is_off_sends_nothing(void **state)
{
    int64_t channel = add_channel("test", NULL), message;

    (void)state;
    message = send_text(channel, "+49301", "hi");
    MUST("UPDATE channels SET state = 1 WHERE id = %lld", (long long)channel);
    assert_int_equal(send_once(NULL), 0);
    MUST("UPDATE channels SET state = 0 WHERE id = %lld", (long long)channel);
    must("UPDATE tenants SET state = 1");
    assert_int_equal(send_once(NULL), 0);
    must("UPDATE tenants SET state = 0");
    assert_int_equal(send_once(NULL), 1);
    assert_int_equal(state_of(message), MESSAGE_SENT);
}

/* --- In the lane ------------------------------------------------------------------------------ */

static void holds_cancels_and_goes_on(void **state)
{
    int64_t channel = add_channel("test", NULL), one, two, three;
    struct err err = { 0 };

    (void)state;
    one = send_text(channel, "+49301", "one");
    two = send_text(channel, "+49301", "two");
    three = send_text(channel, "+49301", "three");
    assert_int_equal(outbox_hold(&hub, TENANT, one, &err), 1);
    check_lanes();
    assert_int_equal(outbox_cancel(&hub, TENANT, two, &err), 1);
    check_lanes();
    run_all();
    assert_int_equal(peer.count, 1);
    assert_int_equal(state_of(three), MESSAGE_SENT);
    assert_int_equal(state_of(two), MESSAGE_CANCELLED);
    assert_int_equal(state_of(one), MESSAGE_HELD);
    assert_int_equal(outbox_retry(&hub, TENANT, one, &err), 1);
    run_all();
    assert_int_equal(state_of(one), MESSAGE_SENT);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
}

static void a_backing_off_head_keeps_the_others_behind_it(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    send_text(channel, "+49301", "one");
    send_text(channel, "+49301", "two");
    peer.script[0] = SEND_RETRY;
    peer.scripted = 1;
    run_all();
    assert_int_equal(peer.count, 1);
    check_lanes();
    pass_ms(5000);
    run_all();
    assert_int_equal(peer.count, 3);
    assert_string_equal(peer.sent[1].text, "one");
    assert_string_equal(peer.sent[2].text, "two");
}

static void a_schedule_waits_outside_the_lane(void **state)
{
    int64_t channel = add_channel("test", NULL), later, now, next_ms = INT64_MAX;
    const struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel,
        .to = STR("+49301"),
        .text = STR("later"), .origin = ORIGIN_SCHEDULED, .priority = PRIORITY_NORMAL,
            .scheduled_ms = START_MS + 60000 };

    (void)state;
    later = send_request(&request);
    now = send_text(channel, "+49301", "now");
    send_once(&next_ms);
    assert_int_equal(state_of(now), MESSAGE_SENT);
    assert_int_equal(next_ms, START_MS + 60000);
    pass_ms(59999);
    run_all();
    assert_int_equal(state_of(later), MESSAGE_QUEUED);
    pass_ms(1);
    run_all();
    assert_int_equal(state_of(later), MESSAGE_SENT);
}

/* --- Many ------------------------------------------------------------------------------------- */

static int64_t ten_sends_us(void)
{
    int64_t best_us = INT64_MAX;

    for (int i = 0; i < 10; i++) {
        int64_t started_us = clock_mono_us(), us;
        assert_int_equal(send_once(NULL), 1);
        us = clock_mono_us() - started_us;
        best_us = us < best_us ? us : best_us;
    }
    return best_us;
}

/* One lane with ten thousand jobs, and ten thousand lanes: finishing and claiming do not get slower
 * by what waits. */
static void claims_do_not_feel_the_crowd(void **state)
{
    int64_t channel = add_channel("test", NULL), paused = add_channel("test", NULL), alone_us,
        crowded_us;

    (void)state;
    for (int i = 0; i < 30; i++)
        send_text(channel, "+49301", "hi");
    alone_us = ten_sends_us();
    MUST("UPDATE channels SET next_send_ms = %lld WHERE id = %lld", (long long)START_MS + 3600000,
         (long long)paused);
    MUST("INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, "
         "channel_id, first_ms, "
         "created_ms) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
         "10000) SELECT 900000000 + i, 1, 1, 0, 900000000 + i, 0, 1, 0, 0, %lld, 0, 0 FROM n",
         (long long)paused);
    MUST("INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, "
         "channel_id, first_ms, "
         "created_ms) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
         "10000) SELECT 910000000 + i, 1, 1, 0, (SELECT min(lane) FROM jobs WHERE channel_id = "
         "%lld), 1000 + i, 0, 0, 0, %lld, 0, 0 FROM n", (long long)channel, (long long)channel);
    if (on_postgres())
        must("ANALYZE jobs");
    send_once(NULL);
    crowded_us = ten_sends_us();
    if (crowded_us > 4 * alone_us + 2000)
        fail_msg("one message took %lld us, %lld us without the others", (long long)crowded_us,
                 (long long)alone_us);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define THREADED(name) cmocka_unit_test_setup_teardown(name, set_up_threads, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREADED(keeps_order_with_8_workers), THREADED(the_naive_claim_inverts),
            TEST(a_late_finisher_touches_no_row),
        TEST(a_heartbeat_keeps_the_lease), TEST(urgent_goes_first_and_bulk_is_not_starved),
        TEST(a_full_channel_leaves_room_for_others), TEST(a_channel_that_is_off_sends_nothing),
        TEST(holds_cancels_and_goes_on), TEST(a_backing_off_head_keeps_the_others_behind_it),
        TEST(a_schedule_waits_outside_the_lane), TEST(claims_do_not_feel_the_crowd),
    };

    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
