#include "work.h"

#include "core/worker_inside.h"

#define SOON_MS 20000

static struct workers *start(void)
{
    struct err err = { 0 };
    struct workers *workers = workers_start(&hub, &err);

    if (!workers)
        fail_msg("workers: %s", err.detail);
    return workers;
}

static void wait_for_count(const char *sql, int64_t wanted)
{
    int64_t until_us = clock_mono_us() + SOON_MS * 1000LL, seen;

    while ((seen = number(sql)) != wanted) {
        if (clock_mono_us() > until_us)
            fail_msg("%s is %lld, not %lld", sql, (long long)seen, (long long)wanted);
        usleep(1000);
    }
}

static int sent_count(void)
{
    int count;

    pthread_mutex_lock(&peer.lock);
    count = peer.count;
    pthread_mutex_unlock(&peer.lock);
    return count;
}

static void wait_for_sends(int wanted)
{
    int64_t until_us = clock_mono_us() + SOON_MS * 1000LL;

    while (sent_count() < wanted) {
        if (clock_mono_us() > until_us)
            fail_msg("%d of %d were sent", sent_count(), wanted);
        usleep(200);
    }
}

/* --- At once ---------------------------------------------------------------------------------- */

static int compare_us(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t median(int64_t *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare_us);
    return values[count / 2];
}

static void an_answer_leaves_at_once(void **state)
{
    enum { ROUNDS = 200 };
    static int64_t accepted_us[ROUNDS], answered_us[ROUNDS];
    int64_t channel = add_channel("repeat", "policy = 0, auto_reply = 'hello'"), accept_us,
        answer_us;
    struct workers *workers = start();

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t started_us = clock_mono_us();
        say(channel, arena_printf(arena, "+49%d", 3000 + i), "hi");
        accepted_us[i] = clock_mono_us() - started_us;
        while (sent_count() < i + 1)
            if (clock_mono_us() - started_us > SOON_MS * 1000LL)
                fail_msg("no answer to message %d", i);
        answered_us[i] = clock_mono_us() - started_us;
        usleep(1000);
    }
    wait_for_count("SELECT count(*) FROM messages WHERE direction = 1 AND state = 6", ROUNDS);
    assert_true(workers_stop(workers, 20000));
    accept_us = median(accepted_us, ROUNDS);
    answer_us = median(answered_us, ROUNDS);
    print_message("accept p50 %lld us, answer handed over p50 %lld us: %.1fx\n",
                  (long long)accept_us, (long long)answer_us,
                  (double)answer_us / (double)accept_us);
    if (answer_us > 8 * accept_us + 2000)
        fail_msg("the answer took %lld us, storing the question %lld us", (long long)answer_us,
                 (long long)accept_us);
}

static void the_agent_runs_in_its_own_thread(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'");
    struct workers *workers = start();

    (void)state;
    for (int i = 0; i < 50; i++)
        say(channel, arena_printf(arena, "+49%d", 3000 + i), "hi");
    wait_for_count("SELECT count(*) FROM messages WHERE direction = 1 AND state = 6", 50);
    assert_true(workers_stop(workers, 20000));
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    assert_int_equal(number("SELECT count(*) FROM decisions"), 50);
}

static void inserted_rows_are_answered(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, auto_reply = 'hello'");
    struct workers *workers = start();

    (void)state;
    MUST("INSERT INTO inbound_rows (tenant_id, channel, sender, text) VALUES (1, 'test-%lld', "
         "'+49301', 'from psql')",
         (long long)channel);
    wait_for_sends(1);
    wait_for_count("SELECT count(*) FROM inbound_rows", 0);
    assert_true(workers_stop(workers, 20000));
}

/* --- Together --------------------------------------------------------------------------------- */

/* Slow enough that several are under way at once. */
static enum send_outcome slowly(const struct send_job *job, struct send_result *result)
{
    (void)job;
    (void)result;
    usleep(2000);
    return SEND_DONE;
}

static void users_overlap_and_each_keeps_its_order(void **state)
{
    enum { USERS = 30, TEXTS = 10 };
    int64_t channels[4];
    int last[USERS];
    struct workers *workers;

    (void)state;
    memset(last, -1, sizeof last);
    for (int i = 0; i < 4; i++)
        channels[i] = add_channel("test", NULL);
    peer.decide = slowly;
    workers = start();
    for (int text = 0; text < TEXTS; text++)
        for (int user = 0; user < USERS; user++)
            send_text(channels[user % 4], arena_printf(arena, "+49%d", 3000 + user),
                      arena_printf(arena, "%d %d", user, text));
    wait_for_count("SELECT count(*) FROM messages WHERE state = 6", USERS * TEXTS);
    assert_true(workers_stop(workers, 20000));
    for (int i = 0; i < peer.count; i++) {
        int user, text;
        assert_int_equal(sscanf(peer.sent[i].text, "%d %d", &user, &text), 2);
        assert_int_equal(text, last[user] + 1);
        last[user] = text;
    }
}

static _Atomic int hanging, most_hanging;
static _Atomic bool let_go;

static enum send_outcome hang(const struct send_job *job, struct send_result *result)
{
    (void)result;
    if (!str_is(job->text, "hang"))
        return SEND_DONE;
    int now = atomic_fetch_add(&hanging, 1) + 1;
    if (now > atomic_load(&most_hanging))
        atomic_store(&most_hanging, now);
    while (!atomic_load(&let_go))
        usleep(1000);
    atomic_fetch_sub(&hanging, 1);
    return SEND_DONE;
}

static void a_hanging_provider_holds_an_eighth(void **state)
{
    int64_t stuck = add_channel("test", NULL), healthy = add_channel("repeat", NULL);
    struct workers *workers;

    (void)state;
    atomic_store(&let_go, false);
    peer.decide = hang;
    workers = start();
    for (int i = 0; i < 40; i++)
        send_text(stuck, arena_printf(arena, "+49%d", 3000 + i), "hang");
    for (int i = 0; i < 40; i++)
        send_text(healthy, arena_printf(arena, "+49%d", 3000 + i), "go");
    wait_for_count(arena_printf(arena,
                                "SELECT count(*) FROM messages WHERE channel_id = %lld AND state "
                                "= 6",
                                (long long)healthy), 40);
    assert_int_equal(atomic_load(&most_hanging), LIMIT_SEND_WORKERS_DEFAULT / 8);
    /* What hangs cannot be waited for: the stop says so, and its leases stay. */
    atomic_store(&let_go, true);
    wait_for_count("SELECT count(*) FROM messages WHERE state = 6", 80);
    assert_true(workers_stop(workers, 20000));
}

static bool wakes_when_freed(struct sender *sender, int64_t channel_id)
{
    struct queue_order order = { .channel_id = channel_id, .slots = 1 };
    uint32_t seen = wake_seen(hub.wake);

    sender_start(sender, &(struct queue_claim){ .orders = &order, .order_count = 1 });
    return wake_seen(hub.wake) != seen;
}

static void only_who_can_go_on_is_woken(void **state)
{
    struct queue_ready busy = { .channel_id = 1 }, other = { .channel_id = 2 };
    struct sender *sender = sender_new(&hub, 16);

    (void)state;
    for (int slot = 0; slot < 2; slot++)
        assert_int_equal(sender_reserve(sender, &busy), 1);
    assert_int_equal(sender_reserve(sender, &busy), 0);
    assert_int_equal(sender_reserve(sender, &other), 1);
    assert_false(wakes_when_freed(sender, 2));
    assert_true(wakes_when_freed(sender, 1));
    assert_false(wakes_when_freed(sender, 1));
    /* nobody has a slot left */
    for (int slot = 0; slot < 16; slot++)
        assert_int_equal(sender_reserve(sender, &(struct queue_ready){ .channel_id = 3 + slot / 2 }), 1);
    assert_int_equal(sender_reserve(sender, &other), 0);
    assert_true(wakes_when_freed(sender, 3));
    for (int slot = 1; slot < 16; slot++)
        assert_false(wakes_when_freed(sender, 3 + slot / 2));
    assert_true(sender_stop(sender, 1000));
    sender_free(sender);
}

/* --- Stopping --------------------------------------------------------------------------------- */

static void stops_and_starts_lose_and_double_nothing(void **state)
{
    enum { TEXTS = 200, STOPS = 12 };
    int64_t channels[3], messages[TEXTS];
    int seen[TEXTS] = { 0 }, next = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        channels[i] = add_channel("test", NULL);
    peer.decide = slowly;
    for (int round = 0; round < STOPS; round++) {
        struct workers *workers = start();
        for (; next < (round + 1) * TEXTS / STOPS; next++)
            messages[next] = send_text(channels[next % 3],
                                       arena_printf(arena, "+49%d", 3000 + next % 40),
                                       arena_printf(arena, "%d", next));
        usleep(1000 * (unsigned)(round % 5));
        assert_true(workers_stop(workers, 20000));
        assert_int_equal(number("SELECT count(*) FROM jobs WHERE state = 1"), 0);
        assert_int_equal(number("SELECT count(*) FROM messages WHERE state = 5"), 0);
    }
    struct workers *workers = start();
    wait_for_count("SELECT count(*) FROM messages WHERE state = 6", TEXTS);
    assert_true(workers_stop(workers, 20000));
    for (int i = 0; i < peer.count; i++)
        seen[atoi(peer.sent[i].text)]++;
    for (int i = 0; i < TEXTS; i++)
        if (seen[i] != 1)
            fail_msg("message %d (%lld) was sent %d times", i, (long long)messages[i], seen[i]);
}

static void think(void)
{
    usleep(20000);
}

static void agents_that_were_not_asked_are_asked_later(void **state)
{
    enum { USERS = 120 };
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'"), started_us;
    struct workers *workers = start();

    (void)state;
    agent.meanwhile = think;
    for (int i = 0; i < USERS; i++)
        say(channel, arena_printf(arena, "+49%d", 3000 + i), "hi");
    while (number("SELECT count(*) FROM decisions") == 0)
        usleep(1000);
    started_us = clock_mono_us();
    assert_true(workers_stop(workers, 20000));
    assert_true(clock_mono_us() - started_us < 15000000);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE state = 1"), 0);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 2 AND failures > 0"), 0);
    workers = start();
    wait_for_count("SELECT count(*) FROM messages WHERE direction = 1 AND state = 6", USERS);
    assert_true(workers_stop(workers, 20000));
    assert_int_equal(number("SELECT count(*) FROM decisions"), USERS);
    assert_int_equal(messages_sent(), USERS);
}

static void a_stuck_send_does_not_stop_the_stop(void **state)
{
    int64_t channel = add_channel("test", NULL), started_us, stopped_us;
    struct workers *workers;

    (void)state;
    atomic_store(&let_go, false);
    peer.decide = hang;
    workers = start();
    send_text(channel, "+49301", "hang");
    wait_for_sends(1);
    started_us = clock_mono_us();
    assert_false(workers_stop(workers, 300));
    stopped_us = clock_mono_us() - started_us;
    assert_true(stopped_us < 10000000);
    assert_int_equal(number("SELECT state FROM messages"), MESSAGE_SENDING);
    atomic_store(&let_go, true);
    wait_for_count("SELECT count(*) FROM messages WHERE state = 6", 1);
    assert_true(workers_stop(workers, 20000));
}

static void wait_until_let_go(void)
{
    atomic_fetch_add(&hanging, 1);
    while (!atomic_load(&let_go))
        usleep(1000);
    atomic_fetch_sub(&hanging, 1);
}

static void a_stuck_agent_does_not_stop_the_stop(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, agent = 'test'");
    struct workers *workers;

    (void)state;
    atomic_store(&let_go, false);
    agent.meanwhile = wait_until_let_go;
    workers = start();
    say(channel, "+49301", "hi");
    while (atomic_load(&hanging) == 0)
        usleep(1000);
    assert_false(workers_stop(workers, 300));
    atomic_store(&let_go, true);
    /* the agent goes on with a sender that must still be there */
    assert_true(workers_stop(workers, 20000));
    assert_int_equal(number("SELECT count(*) FROM decisions"), 1);
}

/* --- Webhooks --------------------------------------------------------------------------------- */

static void slow_webhook(struct exchange *self, struct arena *a,
                         const struct exchange_request *request, struct exchange_reply *reply)
{
    (void)self;
    (void)a;
    if (strstr(request->url, "slow"))
        wait_until_let_go();
    *reply = (struct exchange_reply){ .end = EXCHANGE_ANSWERED, .status = 200 };
}

static void add_webhook(int64_t channel, const char *address, const char *url)
{
    int64_t message;

    say(channel, address, "hi");
    message = number("SELECT max(id) FROM messages");
    MUST("INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, "
         "channel_id, conversation_id, message_id, first_ms, data, created_ms) "
         "SELECT id + 900000000, tenant_id, 3, 0, conversation_id, 1, 1, 1, 1, channel_id, "
         "conversation_id, id, 1, "
         "'{\"url\":\"%s\",\"rule_id\":1,\"hops\":1}', 1 FROM messages WHERE id = %lld",
         url, (long long)message);
}

static void a_slow_webhook_holds_up_no_other(void **state)
{
    enum { SLOW = 3, QUICK = 40 };
    int64_t channel = add_channel("test", "policy = 2"), started_us;
    struct workers *workers;

    (void)state;
    atomic_store(&let_go, false);
    test_exchange.run = slow_webhook;
    for (int i = 0; i < SLOW; i++)
        add_webhook(channel, arena_printf(arena, "+49%d", 3000 + i), "https://slow.example/");
    for (int i = 0; i < QUICK; i++)
        add_webhook(channel, arena_printf(arena, "+49%d", 4000 + i), "https://quick.example/");
    workers = start();
    wait_for_count("SELECT count(*) FROM events WHERE kind = 'message.forwarded'", QUICK);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 3"), SLOW);
    started_us = clock_mono_us();
    assert_false(workers_stop(workers, 300));
    assert_true(clock_mono_us() - started_us < 10000000);
    atomic_store(&let_go, true);
    assert_true(workers_stop(workers, 20000));
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 3"), 0);
    test_exchange.run = no_way_out;
}

/* --- What dead processes left ----------------------------------------------------------------- */

static void the_only_hub_takes_over_at_once(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, auto_reply = 'hello'");
    struct workers *workers;

    (void)state;
    say(channel, "+49301", "hi");
    MUST("UPDATE jobs SET state = 1, attempt = 1, node = 'dead', lease_until_ms = %lld",
         (long long)(clock_ms() + 3600000));
    workers = start();
    if (on_postgres()) {
        usleep(1000000);
        assert_int_equal(number("SELECT state FROM jobs"), JOB_RUNNING);
    } else {
        wait_for_sends(1);
        wait_for_count("SELECT count(*) FROM jobs", 0);
    }
    assert_true(workers_stop(workers, 20000));
}

/* What was being sent when the process died may have gone out: it is looked up or held, never sent again unasked. */
static void many_sends_of_a_dead_hub_are_taken_over_at_once(void **state)
{
    enum { SENDS = 350 };
    int64_t held = add_channel("test", NULL), asked = add_channel("lookup", NULL), started_us;
    struct workers *workers;

    (void)state;
    if (on_postgres())
        return;                 /* several hubs: only the lease tells */
    for (int i = 0; i < SENDS; i++)
        send_text(i % 2 ? held : asked, arena_printf(arena, "+49%d", 3000 + i), "hi");
    MUST("UPDATE jobs SET state = 1, attempt = 1, node = %s, lease_until_ms = %lld", "CASE WHEN id % 7 = 0 THEN NULL "
         "ELSE 'dead' END", (long long)(clock_ms() + 3600000));
    must("UPDATE messages SET state = 5");
    must("INSERT INTO attempts (id, tenant_id, message_id, channel_id, attempt, part, outcome, started_ms) "
         "SELECT id + 900000000, tenant_id, id, channel_id, 1, 0, 0, 1 FROM messages");
    started_us = clock_mono_us();
    workers = start();
    wait_for_count("SELECT count(*) FROM messages WHERE state = 10", SENDS);
    if (clock_mono_us() - started_us > 4000000)
        fail_msg("it took %lld ms", (long long)(clock_mono_us() - started_us) / 1000);
    assert_true(workers_stop(workers, 20000));
    assert_int_equal(sent_count(), 0);
    assert_int_equal(number("SELECT count(*) FROM attempts WHERE code = 'lease_expired' AND outcome = 4"), SENDS);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE state = 3"), SENDS / 2);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE state = 2"), SENDS / 2);
}

/* --- Single steps ----------------------------------------------------------------------------- */

static int poll_once(int64_t *next_ms)
{
    struct err err = { 0 };
    int done = worker_poll_step(&hub, next_ms, &err);

    if (done < 0)
        print_message("poll: %s\n", err.detail);
    return done;
}

static void polls_with_a_cursor(void **state)
{
    int64_t channel = add_channel("polled", "policy = 2"), next_ms = INT64_MAX;

    (void)state;
    atomic_store(&peer_has, 3);
    assert_int_equal(poll_once(&next_ms), 1);
    assert_int_equal(number("SELECT count(*) FROM messages"), 3);
    assert_string_equal(text_of("SELECT cursor FROM channels WHERE cursor IS NOT NULL"), "3");
    assert_true(next_ms < INT64_MAX);
    assert_int_equal(poll_once(&next_ms), 0);
    atomic_store(&peer_has, 5);
    assert_int_equal(poll_once(&next_ms), 1);
    assert_int_equal(number("SELECT count(*) FROM messages"), 5);
    peer_poll_fails = true;
    assert_int_equal(poll_once(&next_ms), -1);
    MUST("UPDATE channels SET state = 1 WHERE id = %lld", (long long)channel);
    assert_int_equal(poll_once(&next_ms), 0);
}

static void the_poller_polls_by_itself(void **state)
{
    struct workers *workers;

    (void)state;
    add_channel("polled", "policy = 0, auto_reply = 'got it'");
    atomic_store(&peer_has, 1);
    workers = start();
    wait_for_sends(1);
    assert_true(workers_stop(workers, 20000));
    assert_int_equal(number("SELECT count(*) FROM messages WHERE direction = 0"), 1);
}

static void a_long_poll_ends_with_the_hub(void **state)
{
    struct workers *workers;

    (void)state;
    add_channel("polled", "policy = 2");
    peer_poll_waits = true;
    workers = start();
    for (int i = 0; i < 5000 && atomic_load(&peer_polls) == 0; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    assert_int_equal(atomic_load(&peer_polls), 1);
    assert_true(workers_stop(workers, 5000));
    peer_poll_waits = false;
}

static void a_failing_poll_is_told(void **state)
{
    struct workers *workers;

    (void)state;
    add_channel("polled", "policy = 2");
    peer_poll_fails = true;
    workers = start();
    for (int i = 0; i < 10000 && number("SELECT count(*) FROM channels WHERE last_error IS NOT NULL") == 0; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    assert_int_equal(number("SELECT count(*) FROM channels WHERE last_error = 'The mailbox is away.'"), 1);
    peer_poll_fails = false;
    for (int i = 0; i < 10000 && number("SELECT count(*) FROM channels WHERE last_error IS NOT NULL") > 0; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    assert_int_equal(number("SELECT count(*) FROM channels WHERE last_error IS NOT NULL"), 0);
    assert_true(workers_stop(workers, 20000));
}

/* Two nodes on one PostgreSQL: one polls. */
static void another_nodes_channel_is_left_alone(void **state)
{
    struct workers *workers;
    int64_t channel;

    (void)state;
    if (!db_is_postgres(hub.db))
        return;
    channel = add_channel("polled", "policy = 2");
    MUST("UPDATE channels SET poll_node = 'another', poll_until_ms = 9000000000000 WHERE id = %lld",
         (long long)channel);
    workers = start();
    nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 500000000 }, NULL);
    assert_int_equal(atomic_load(&peer_polls), 0);
    MUST("UPDATE channels SET poll_until_ms = 1 WHERE id = %lld", (long long)channel);
    for (int i = 0; i < 5000 && atomic_load(&peer_polls) == 0; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    assert_true(atomic_load(&peer_polls) > 0);
    assert_true(workers_stop(workers, 20000));
    assert_int_equal(number("SELECT count(*) FROM channels WHERE poll_until_ms = 0"), 1);
}

static void old_answers_are_forgotten(void **state)
{
    (void)state;
    MUST("INSERT INTO idempotency (tenant_id, key_id, name, body_hash, status, answer, "
         "created_ms) VALUES "
         "(1, 1, 'old', 'x', 200, '{}', %lld), (1, 1, 'new', 'x', 200, '{}', %lld)",
             (long long)START_MS - 3 * 86400000LL,
         (long long)START_MS - 86400000LL);
    sweep_once();
    assert_string_equal(text_of("SELECT name FROM idempotency"), "new");
    assert_int_equal(number("SELECT count(*) FROM idempotency"), 1);
}

static void says_when_to_come_again(void **state)
{
    int64_t channel = add_channel("test", "debounce_ms = 2000"), next_ms = INT64_MAX;
    struct err err = { 0 };

    (void)state;
    say(channel, "+49301", "hi");
    assert_int_equal(worker_decide_step(&hub, &next_ms, &err), 0);
    assert_int_equal(next_ms, START_MS + 2000);
    next_ms = INT64_MAX;
    assert_int_equal(worker_send_step(&hub, &next_ms, &err), 0);
    assert_int_equal(next_ms, INT64_MAX);
    assert_int_equal(worker_sweep_step(&hub, &next_ms, &err), 0);
    assert_true(next_ms > START_MS && next_ms < INT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define THREADED(name) cmocka_unit_test_setup_teardown(name, set_up_threads, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREADED(an_answer_leaves_at_once), THREADED(the_agent_runs_in_its_own_thread),
            THREADED(inserted_rows_are_answered),
        THREADED(users_overlap_and_each_keeps_its_order), THREADED(a_hanging_provider_holds_an_eighth),
        TEST(only_who_can_go_on_is_woken), THREADED(stops_and_starts_lose_and_double_nothing),
            THREADED(a_stuck_send_does_not_stop_the_stop),
        THREADED(a_stuck_agent_does_not_stop_the_stop), THREADED(a_slow_webhook_holds_up_no_other),
            THREADED(the_only_hub_takes_over_at_once),
        TEST(many_sends_of_a_dead_hub_are_taken_over_at_once),
        THREADED(agents_that_were_not_asked_are_asked_later),
        TEST(polls_with_a_cursor), THREADED(the_poller_polls_by_itself),
        THREADED(a_long_poll_ends_with_the_hub), THREADED(a_failing_poll_is_told),
        THREADED(another_nodes_channel_is_left_alone),
            TEST(old_answers_are_forgotten),
        TEST(says_when_to_come_again),
    };

    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
