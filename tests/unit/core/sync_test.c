#include "fixture.h"

#include "core/message_edit.h"
#include "core/seed.h"
#include "core/sync.h"

static int64_t channel_id;

static int set_up(void **state)
{
    (void)state;
    start_hub(1);
    channel_id = add_channel(TENANT, "sms", "phone");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop_hub();
    return 0;
}

static struct sync_page read_page(int64_t after, int limit, int64_t device_id)
{
    struct sync_page page = {
        .tenant_id = TENANT, .after = after, .limit = limit, .device_id = device_id
    };
    struct err err = { 0 };
    struct db_session *session = db_read(fixture.hub.db, TENANT, &err);

    if (sync_read(session, fixture.arena, &page, &err))
        fail_msg("sync: %s", err.detail);
    db_read_end(session);
    return page;
}

static int delete_tx(struct db_session *tx, void *arg, struct err *err)
{
    return message_delete(tx, arg, err) < 0 ? -1 : 0;
}

static void gives_the_newest_version_in_log_order(void **state)
{
    struct channel_event edit = text_event("+12025550143", "a", "edited");
    struct message_ref gone = { .tenant_id = TENANT, .at_ms = 5 };
    int64_t first = say(channel_id, "+12025550143", "a", "one");
    struct err err = { 0 };
    struct sync_page page;

    (void)state;
    gone.id = say(channel_id, "+12025550143", "b", "two");
    edit.kind = CHANNEL_EDIT;
    page = read_page(0, 100, 0);
    assert_int_equal(page.count, 2);
    assert_int_equal(page.messages[0].id, first);
    assert_false(page.has_more);
    receive(channel_id, edit);
    assert_int_equal(db_write(fixture.hub.db, delete_tx, &gone, &err), 0);
    page = read_page(page.next, 100, 0);
    assert_int_equal(page.count, 2);
    assert_int_equal(page.messages[0].id, first);
    assert_true(str_is(page.messages[0].text, "edited"));
    assert_int_equal(page.messages[1].id, gone.id);
    assert_int_equal(page.messages[1].times.deleted_ms, 5);
    page = read_page(page.next, 100, 0);
    assert_int_equal(page.count, 0);
    assert_false(page.has_more);
    /* from the start each message comes once, as it is now */
    page = read_page(0, 100, 0);
    assert_int_equal(page.count, 2);
}

/* Overlapping pages of any size: their union is the truth. */
static void pages_add_up_whatever_their_size(void **state)
{
    struct seed_plan plan = { TENANT, 700, 3, clock_ms() };
    struct seed_result result;
    struct err err = { 0 };
    bool *seen = arena_array(fixture.arena, 100000, sizeof *seen);
    int64_t lowest;

    (void)state;
    assert_int_equal(seed_fill(&fixture.hub, &plan, NULL, &result, &err), 0);
    lowest = number("SELECT MIN(id) FROM messages");
    for (int limit = 1; limit <= 500; limit = limit * 3 + 1) {
        struct sync_page page = { 0 };
        int distinct = 0;

        memset(seen, 0, 100000);
        do {
            page = read_page(page.next > 5 ? page.next - limit / 2 : page.next, limit, 0);
            for (size_t i = 0; i < page.count; i++) {
                assert_true(page.messages[i].id - lowest < 100000);
                distinct += !seen[page.messages[i].id - lowest];
                seen[page.messages[i].id - lowest] = true;
            }
        } while (page.has_more);
        assert_int_equal(distinct, 700);
    }
}

static void filters_by_the_device_that_brought_it(void **state)
{
    struct channel_event event = text_event("+12025550143", "d", "x");
    struct inbox_result result;
    struct inbox_write write = { .tenant_id = TENANT,
                                 .channel_id = channel_id,
                                 .events = &event,
                                 .count = 1,
                                 .results = &result,
                                 .device_id = 7 };
    struct err err = { 0 };

    (void)state;
    say(channel_id, "+12025550143", "a", "from nowhere");
    assert_int_equal(inbox_accept(&fixture.hub, fixture.arena, &write, &err), 0);
    write.device_id = 8;
    assert_int_equal(inbox_accept(&fixture.hub, fixture.arena, &write, &err), 0);
    assert_int_equal(read_page(0, 100, 7).count, 1);
    assert_int_equal(read_page(0, 100, 8).count, 1);
    assert_int_equal(read_page(0, 100, 9).count, 0);
    assert_int_equal(read_page(0, 100, 0).count, 2);
}

static void maps_times_to_the_log_with_overlap(void **state)
{
    struct seed_plan plan = { TENANT, 900, 3, clock_ms() };
    struct seed_result result;
    struct err err = { 0 };
    struct db_session *session;
    int64_t after;

    (void)state;
    assert_int_equal(seed_fill(&fixture.hub, &plan, NULL, &result, &err), 0);
    session = db_read(fixture.hub.db, TENANT, &err);
    for (int day = 1; day < 90; day += 8) {
        int64_t since_ms = plan.now_ms - day * INT64_C(86400000), missed;

        assert_int_equal(sync_since(session, TENANT, since_ms, &after, &err), 0);
        assert_int_equal(
            db_query_int(session,
                         "SELECT COUNT(*) FROM events WHERE tenant_id = 1 AND seq <= $1 "
                         "AND at_ms >= $2 AND kind LIKE 'message.%' AND at_ms < $3",
                         DB_ARGS(db_int(after), db_int(since_ms), db_int(plan.now_ms)), 0, &missed,
                         &err),
            0);
        assert_int_equal(missed, 0);
        assert_true(after > 0);
    }
    assert_int_equal(sync_since(session, TENANT, 0, &after, &err), 0);
    assert_int_equal(after, 0);
    db_read_end(session);
}

static void says_when_to_start_over(void **state)
{
    struct sync_page page = { .tenant_id = TENANT, .after = 1, .limit = 10 };
    struct err err = { 0 };
    struct db_session *session;

    (void)state;
    say(channel_id, "+12025550143", "a", "one");
    must("UPDATE tenants SET horizon = 2 WHERE id = 1");
    session = db_read(fixture.hub.db, TENANT, &err);
    assert_int_equal(sync_read(session, fixture.arena, &page, &err), -1);
    assert_int_equal(err.code, ERR_GONE);
    assert_true(err.hint[0] != '\0');
    db_read_end(session);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gives_the_newest_version_in_log_order), TEST(pages_add_up_whatever_their_size),
        TEST(filters_by_the_device_that_brought_it), TEST(maps_times_to_the_log_with_overlap),
        TEST(says_when_to_start_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
