#include "work.h"

#include "core/silence.h"

#define MINUTE_MS 60000LL
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define MIDNIGHT_MS (20000 * DAY_MS)

static void too_little_is_known_at_first(void **state)
{
    struct silence silence = { 0 };

    (void)state;
    assert_int_equal(silence_due_ms(&silence, MIDNIGHT_MS), INT64_MAX);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(silence_due_ms(&silence, MIDNIGHT_MS), INT64_MAX);
        silence_heard(&silence, MIDNIGHT_MS + i * MINUTE_MS, MIDNIGHT_MS + (i + 1) * MINUTE_MS);
    }
    assert_int_equal(silence_due_ms(&silence, MIDNIGHT_MS + 8 * MINUTE_MS), MIDNIGHT_MS + 11 * MINUTE_MS);
}

/* Every `gap_ms` from 8 to 20 h for so many days. */
static int64_t live(struct silence *silence, int days, int64_t gap_ms)
{
    int64_t heard_ms = MIDNIGHT_MS + 8 * HOUR_MS;

    for (int day = 0; day < days; day++)
        for (int64_t since_ms = 8 * HOUR_MS; since_ms < 20 * HOUR_MS; since_ms += gap_ms) {
            int64_t at_ms = MIDNIGHT_MS + day * DAY_MS + since_ms;

            silence_heard(silence, heard_ms, at_ms);
            heard_ms = at_ms;
        }
    return heard_ms;
}

static void a_night_is_no_alarm(void **state)
{
    struct silence silence = { 0 };
    int64_t heard_ms = live(&silence, 3, 5 * MINUTE_MS), noon_ms = MIDNIGHT_MS + 3 * DAY_MS + 12 * HOUR_MS;

    (void)state;
    assert_true(silence_due_ms(&silence, heard_ms) > heard_ms + 12 * HOUR_MS);
    assert_int_equal(silence_due_ms(&silence, noon_ms), noon_ms + 15 * MINUTE_MS);
}

/* The control: one mean for the whole day cannot have both. */
static void one_mean_would_not_do(void **state)
{
    struct silence silence = { 0 };
    int64_t heard_ms = live(&silence, 3, 5 * MINUTE_MS), noon_ms = MIDNIGHT_MS + 3 * DAY_MS + 12 * HOUR_MS;

    (void)state;
    for (int i = 1; i < SILENCE_HOURS; i++)
        silence.gap_s[i] = silence.gap_s[0] = silence.gap_s[12];
    assert_int_equal(silence_due_ms(&silence, noon_ms), noon_ms + 15 * MINUTE_MS);
    assert_true(silence_due_ms(&silence, heard_ms) < heard_ms + 12 * HOUR_MS);
}

static void it_is_kept_as_text(void **state)
{
    struct arena *own = arena_new(0);
    struct silence silence = { 0 }, read;

    (void)state;
    live(&silence, 2, 7 * MINUTE_MS);
    read = silence_parse(str_c(silence_text(own, &silence)));
    assert_memory_equal(&read, &silence, sizeof silence);
    assert_int_equal(silence_parse(STR("nonsense")).seen, 0);
    assert_int_equal(silence_parse(STR("9,1,2")).seen, 0);
    assert_int_equal(silence_parse(STR("")).seen, 0);
    arena_free(own);
}

/* The whole way: messages each minute, then none; F25: told within five minutes of the hub's time. */
static void a_stall_is_told_within_five_minutes(void **state)
{
    int64_t channel = add_channel("test", "policy = 2"), next_ms = INT64_MAX;
    struct err err = { 0 };
    int minutes = 0;

    (void)state;
    for (int i = 0; i < 20; i++) {
        say(channel, "+49301", "hi");
        pass_ms(MINUTE_MS);
    }
    while (minutes < 10 && number("SELECT count(*) FROM channels WHERE alarm_ms IS NOT NULL") == 0) {
        pass_ms(MINUTE_MS);
        minutes++;
        assert_true(worker_sweep_step(&hub, &next_ms, &err) >= 0);
    }
    assert_true(minutes <= 4);
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind = 'channel.silent'"), 1);
    say(channel, "+49301", "back");
    assert_int_equal(number("SELECT count(*) FROM channels WHERE alarm_ms IS NOT NULL"), 0);
}

static void poll_rounds(int rounds)
{
    struct err err = { 0 };
    int64_t next_ms;

    for (int i = 0; i < rounds; i++) {
        next_ms = INT64_MAX;
        pass_ms(MINUTE_MS);
        assert_true(worker_poll_step(&hub, &next_ms, &err) >= 0);
    }
}

/* A polled channel whose provider answers well and says nothing any more: told in time, and what it kept back comes
 * with the next round that has it, once. */
static void a_polled_stall_is_told_and_nothing_is_lost(void **state)
{
    int64_t next_ms = INT64_MAX;
    struct err err = { 0 };
    int minutes = 0;

    (void)state;
    add_channel("polled", "policy = 2");
    for (int i = 1; i <= 20; i++) {
        atomic_store(&peer_has, i);
        poll_rounds(1);
    }
    assert_int_equal(number("SELECT count(*) FROM channels WHERE alarm_ms IS NOT NULL"), 0);
    while (minutes < 10 && number("SELECT count(*) FROM channels WHERE alarm_ms IS NOT NULL") == 0) {
        poll_rounds(1);
        minutes++;
        assert_true(worker_sweep_step(&hub, &next_ms, &err) >= 0);
    }
    assert_true(minutes <= 4);
    atomic_store(&peer_has, 20 + minutes);
    poll_rounds(3);
    assert_int_equal(number("SELECT count(*) FROM messages"), 20 + minutes);
    assert_int_equal(number("SELECT count(DISTINCT external_id) FROM messages"), 20 + minutes);
    assert_int_equal(number("SELECT count(*) FROM channels WHERE alarm_ms IS NOT NULL"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_little_is_known_at_first), cmocka_unit_test(a_night_is_no_alarm),
        cmocka_unit_test(one_mean_would_not_do), cmocka_unit_test(it_is_kept_as_text),
        cmocka_unit_test_setup_teardown(a_stall_is_told_within_five_minutes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_polled_stall_is_told_and_nothing_is_lost, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
