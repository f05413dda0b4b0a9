#include "work.h"

#include "core/limit.h"

static struct limit_answer ask(enum limit_scope scope, const struct limit_window *window,
                               int64_t max, int64_t now_ms)
{
    const struct limit_question question = { scope, max, now_ms, 1 };

    return limit_left(&question, window);
}

static int64_t left_at(const struct limit_window *window, int64_t max, int64_t now_ms)
{
    return ask(LIMIT_PER_HOUR, window, max, now_ms).left;
}

static void the_next_waits_an_hour(void **state)
{
    struct limit_window window = { 0 };
    int64_t now_ms = START_MS, next_ms;

    (void)state;
    assert_int_equal(left_at(&window, 50, now_ms), 50);
    for (int i = 0; i < 50; i++)
        limit_use(LIMIT_PER_HOUR, &window, now_ms, 1);
    assert_int_equal(left_at(&window, 50, now_ms), 0);
    next_ms = ask(LIMIT_PER_HOUR, &window, 50, now_ms).next_ms;
    assert_int_equal(next_ms, now_ms + 3600000);
    assert_int_equal(left_at(&window, 50, next_ms - 1), 0);
    assert_int_equal(left_at(&window, 50, next_ms), 50);
    assert_int_equal(left_at(&window, 0, now_ms), INT64_MAX);
}

/* The envelope: whatever the pattern, no window of the scope's width holds more than the limit; and
 * the limit is used up. */
static void check_envelope(enum limit_scope scope, int64_t max, int64_t step_ms)
{
    enum { USES = 2000 };
    static int64_t used_ms[USES];
    struct limit_window window = { 0 };
    int64_t now_ms = START_MS, width_ms = limit_width_ms(scope);
    int count = 0;

    for (int i = 0; i < 4000 && count < USES; i++) {
        now_ms += id_random_below((uint32_t)step_ms);
        struct limit_answer answer = ask(scope, &window, max, now_ms);
        if (answer.left > 0) {
            limit_use(scope, &window, now_ms, 1);
            used_ms[count++] = now_ms;
        } else {
            assert_true(answer.next_ms > now_ms && answer.next_ms <= now_ms + width_ms);
        }
    }
    for (int i = (int)max; i < count; i++)
        if (used_ms[i] - used_ms[i - max] < width_ms)
            fail_msg("%lld uses within %lld ms", (long long)max + 1,
                     (long long)(used_ms[i] - used_ms[i - max]));
    assert_true(count > max);
}

static void no_window_holds_more(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        check_envelope(LIMIT_PER_SECOND, 1 + i, 100);
        check_envelope(LIMIT_PER_HOUR, 5 + i, 60000);
        check_envelope(LIMIT_PER_DAY, 10 + i, 3600000);
        check_envelope(LIMIT_PER_CONTACT, 1 + i, 240000);
    }
}

static void a_wrong_clock_blocks_nobody(void **state)
{
    struct limit_window window = { 0 };

    (void)state;
    limit_use(LIMIT_PER_HOUR, &window, START_MS + INT64_C(365) * 86400000, 50);
    assert_int_equal(left_at(&window, 50, START_MS), 50);
}

static void overrides_the_drivers_defaults(void **state)
{
    struct channel_driver driver = { .limits = { 1, 50, 500, 0 } };
    struct limit_rule rule = limit_rule_of(&driver, (const int64_t[]){ -1, 10, 0, 3 });

    (void)state;
    assert_int_equal(rule.max[LIMIT_PER_SECOND], 1);
    assert_int_equal(rule.max[LIMIT_PER_HOUR], 10);
    assert_int_equal(rule.max[LIMIT_PER_DAY], 0);
    assert_int_equal(rule.max[LIMIT_PER_CONTACT], 3);
    assert_true(limit_any(&rule));
    assert_false(limit_any(&(struct limit_rule){ { 0 } }));
}

/* --- With the database ------------------------------------------------------------------------ */

static int64_t next_send(int64_t channel_id)
{
    struct err err = { 0 };
    struct db_session *session = db_read(hub.db, 0, &err);
    int64_t next_ms = -1;

    assert_int_equal(limit_next_send(session, channel_id, 0, &next_ms, &err), 0);
    db_read_end(session);
    return next_ms;
}

static void per_second_paces(void **state)
{
    int64_t channel = add_channel("test", "per_second = 2"), next_ms = INT64_MAX;

    (void)state;
    for (int i = 0; i < 5; i++)
        send_text(channel, arena_printf(arena, "+4930%d", 1000 + i), "hi");
    assert_int_equal(send_once(NULL), 2);
    assert_int_equal(send_once(&next_ms), 0);
    assert_int_equal(next_ms, START_MS + 1000);
    assert_int_equal(next_send(channel), START_MS + 1000);
    pass_ms(999);
    assert_int_equal(send_once(NULL), 0);
    pass_ms(1);
    assert_int_equal(send_once(NULL), 2);
    pass_ms(1000);
    assert_int_equal(send_once(NULL), 1);
    assert_int_equal(next_send(channel), 0);
    assert_int_equal(peer.count, 5);
}

static void the_51st_waits_and_says_until_when(void **state)
{
    int64_t channel = add_channel("test", "per_hour = 50"), last = 0;

    (void)state;
    for (int i = 0; i < 51; i++)
        last = send_text(channel, arena_printf(arena, "+4930%d", 1000 + i), "hi");
    run_all();
    assert_int_equal(peer.count, 50);
    assert_int_equal(state_of(last), MESSAGE_QUEUED);
    assert_int_equal(next_send(channel), START_MS + 3600000);
    assert_int_equal(NUMBER("SELECT next_send_ms FROM channels WHERE id = %lld",
                            (long long)channel), START_MS + 3600000);
    pass_ms(3600000);
    run_all();
    assert_int_equal(peer.count, 51);
    assert_int_equal(state_of(last), MESSAGE_SENT);
}

static void one_contacts_limit_stops_no_other(void **state)
{
    int64_t channel = add_channel("test", "per_contact_hour = 2"), third;

    (void)state;
    send_text(channel, "+49301", "one");
    send_text(channel, "+49301", "two");
    third = send_text(channel, "+49301", "three");
    send_text(channel, "+49302", "other");
    run_all();
    assert_int_equal(peer.count, 3);
    assert_int_equal(state_of(third), MESSAGE_QUEUED);
    assert_int_equal(NUMBER("SELECT due_ms FROM jobs WHERE message_id = %lld", (long long)third),
                     START_MS + 3600000);
    pass_ms(3600000);
    run_all();
    assert_int_equal(state_of(third), MESSAGE_SENT);
}

static void every_part_counts(void **state)
{
    int64_t channel = add_channel("test", "per_hour = 4"), first, second;

    (void)state;
    first = send_text(channel, "+49301",
                      "this text has more than forty characters, so that it leaves in three "
                      "parts, each of them counted");
    second = send_text(channel, "+49302",
                       "this one has more than forty characters too and makes two");
    assert_int_equal(NUMBER("SELECT parts FROM messages WHERE id = %lld", (long long)first), 3);
    assert_int_equal(NUMBER("SELECT parts FROM messages WHERE id = %lld", (long long)second), 2);
    run_all();
    assert_int_equal(peer.count, 3);
    assert_int_equal(state_of(second), MESSAGE_QUEUED);
    pass_ms(3600000);
    run_all();
    assert_int_equal(state_of(second), MESSAGE_SENT);
}

static void forgets_old_windows(void **state)
{
    int64_t channel = add_channel("test", "per_hour = 4, per_day = 9");

    (void)state;
    send_text(channel, "+49301", "hi");
    run_all();
    assert_int_equal(number("SELECT count(*) FROM limit_use"), 2);
    pass_ms(INT64_C(2) * 86400000);
    sweep_once();
    assert_int_equal(number("SELECT count(*) FROM limit_use"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_waits_an_hour), cmocka_unit_test(no_window_holds_more),
        cmocka_unit_test(a_wrong_clock_blocks_nobody),
            cmocka_unit_test(overrides_the_drivers_defaults),
        cmocka_unit_test_setup_teardown(per_second_paces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_51st_waits_and_says_until_when, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_contacts_limit_stops_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_part_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgets_old_windows, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
