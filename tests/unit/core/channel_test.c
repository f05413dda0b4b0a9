/* Channels in the database: added, found, cached, changed; their secrets; on SQLite or
 * HUB_TEST_DB. */
#include "../db/fixture.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "core/agent.h"
#include "core/channel.h"
#include "core/channel_edit.h"
#include "core/event.h"
#include "db/migrate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define NOW_MS 1719045971000

static const struct field settings[] = {
    { "base_url", FIELD_URL, FIELD_REQUIRED, "Where the provider listens." },
    { "token", FIELD_TEXT, FIELD_REQUIRED | FIELD_SECRET, "The provider's key.", 4, 100 },
    { "other", FIELD_TEXT, FIELD_SECRET, "Another key." },
    { "slot", FIELD_INT, 0, "Which slot.", 1, 3, NULL, "2" },
    { "loud", FIELD_BOOL, 0, "Say more." },
    { 0 }
};

static const struct channel_driver channel_fake = {
    .kind = "fake",
    .title = "Fake",
    .about = "For tests.",
    .settings = settings,
    .can = CHANNEL_PHONE_ADDRESS,
    .text_max = 100,
    .limits = { .per_second = 3, .per_day = 500 },
};
static const struct agent_driver agent_fake = { .name = "parrot",
                                                .title = "Parrot",
                                                .settings = settings };

const struct channel_driver *const channel_drivers[] = { &channel_fake, NULL };
const struct agent_driver *const agent_drivers[] = { &agent_fake, NULL };

static struct arena *arena;
static struct db *db;
static _Atomic int64_t ahead_us;     /* what the tests' clock is ahead of the real one */

static int64_t test_mono_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000 + atomic_load(&ahead_us);
}

static int set_up(void **state)
{
    static const unsigned char key[SIGN_KEY_BYTES] = "one key for all the secrets here";
    struct err err = { 0 };

    (void)state;
    arena = arena_new(0);
    clock_install(NULL, test_mono_us);
    db = open_fresh();
    db_close(db);
    fixture.options.hooks.stamp = event_stamp;
    db = open_again();
    if (migrate(db, migrations, NULL, &err) < 0)
        fail_msg("%s", err.detail);
    must(db, "INSERT INTO tenants (id, name, region, created_ms) VALUES (1, 'one', 'GB', 0)");
    must(db, "INSERT INTO tenants (id, name, region, created_ms) VALUES (2, 'two', 'US', 0)");
    channel_install(key);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(db);
    clock_install(NULL, NULL);
    channel_forget();
    remove_fixture();
    arena_free(arena);
    return 0;
}

static const struct json *json(const char *text)
{
    struct err err = { 0 };
    const struct json *value = json_parse(arena, str_c(text), &err);

    if (!value)
        fail_msg("%s: %s", text, err.detail);
    return value;
}

static struct channel_edit wanted(int64_t tenant_id, int64_t id, const char *name, const char *text)
{
    struct channel_edit edit = channel_edit(arena, tenant_id, id, NOW_MS);

    edit.kind = STR("fake");
    edit.name = str_c(name);
    edit.settings = text ? json(text) : NULL;
    return edit;
}

static struct channel_row add(int64_t tenant_id, int64_t id, const char *name)
{
    struct channel_edit edit =
        wanted(tenant_id, id, name, "{\"base_url\":\"http://p.test\",\"token\":\"s3cret-1\"}");
    struct err err = { 0 };

    if (db_write(db, channel_add, &edit, &err) < 0)
        fail_msg("%s: %s", err.field, err.detail);
    return edit.row;
}

static void update(struct channel_edit *edit)
{
    struct err err = { 0 };

    if (db_write(db, channel_update, edit, &err) < 0)
        fail_msg("%s: %s", err.field, err.detail);
}

static void refuse(db_tx *change, struct channel_edit edit, enum err_code code, const char *field)
{
    struct err err = { 0 };

    assert_int_equal(db_write(db, change, &edit, &err), -1);
    assert_int_equal(err.code, code);
    assert_string_equal(err.field, field);
    assert_int_not_equal(err.detail[0], 0);
}

static const char *shown(const struct channel_row *row)
{
    struct buf out;
    struct json_writer writer;
    const char *text;

    buf_init(&out, 100000);
    writer = json_writer(&out);
    channel_row_json(&writer, arena, row);
    text = str_dup(arena, buf_slice(&out));
    buf_fini(&out);
    return text;
}

static void added_with_defaults(void **state)
{
    struct channel_row row = add(1, 11, "first");
    const char *text = shown(&row);

    (void)state;
    assert_true(str_is(row.name, "first"));
    assert_int_equal(row.policy, POLICY_HUMAN_TAKEOVER);
    assert_int_equal(row.rates.per_second, 3);
    assert_int_equal(row.rates.per_day, 500);
    assert_int_equal(row.rates.per_hour, 0);
    assert_int_equal(row.debounce_ms, 2000);
    assert_true(row.hook.len >= 30);
    assert_non_null(strstr(text, "\"slot\":2"));
    assert_non_null(strstr(text, "\"secrets\":[\"token\"]"));
    assert_non_null(strstr(text, "\"state\":\"enabled\""));
    assert_null(strstr(text, "s3cret"));
    assert_int_equal(
        number(db, "SELECT count(*) FROM events WHERE kind = 'channel.added' AND object_id = 11"),
        1);
    assert_int_equal(number(db, "SELECT count(*) FROM channels WHERE settings LIKE '%s3cret%'"), 0);
}

static void found_by_id_name_and_hook(void **state)
{
    struct channel_row row = add(1, 11, "first");
    struct channel channel;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
    assert_ptr_equal(channel.driver, &channel_fake);
    assert_string_equal(channel_text(&channel, "token"), "s3cret-1");
    assert_string_equal(channel_text(&channel, "base_url"), "http://p.test");
    assert_null(channel_text(&channel, "other"));
    assert_int_equal(channel_number(&channel, "slot", 0), 2);
    assert_false(channel_flag(&channel, "loud"));
    assert_string_equal(channel.region, "GB");
    assert_int_equal(channel_load(db, arena, CHANNEL_NAME(1, STR("first")), &channel, &err), 1);
    assert_int_equal(
        channel_load(db, arena, CHANNEL_NAME(1, str_c(id_text(arena, ID_CHANNEL, 11))), &channel, &err), 1);
    assert_int_equal(channel_by_hook(db, arena, row.hook, &channel, &err), 1);
    assert_int_equal(channel.id, 11);
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 12), &channel, &err), 0);
    assert_int_equal(channel_load(db, arena, CHANNEL_NAME(1, STR("second")), &channel, &err), 0);
    assert_int_equal(channel_by_hook(db, arena, STR("nobody's"), &channel, &err), 0);
    assert_int_equal(channel_by_hook(db, arena, STR("\xff\xfe"), &channel, &err), 0);
    assert_int_equal(channel_by_hook(db, arena, STR(""), &channel, &err), 0);
}

/* The same name and id in another tenant is another channel, or none (F27). */
static void tenants_are_apart(void **state)
{
    struct channel channel;
    struct err err = { 0 };

    (void)state;
    add(1, 11, "first");
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
    assert_int_equal(channel_load(db, arena, CHANNEL_NAME(1, STR("first")), &channel, &err), 1);
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(2, 11), &channel, &err), 0);
    assert_int_equal(channel_load(db, arena, CHANNEL_NAME(2, STR("first")), &channel, &err), 0);
    assert_int_equal(
        channel_load(db, arena, CHANNEL_NAME(2, str_c(id_text(arena, ID_CHANNEL, 11))), &channel, &err), 0);
    add(2, 21, "first");
    assert_int_equal(channel_load(db, arena, CHANNEL_NAME(2, STR("first")), &channel, &err), 1);
    assert_int_equal(channel.id, 21);
    assert_string_equal(channel.region, "US");
    refuse(channel_update, wanted(2, 11, "mine now", NULL), ERR_NOT_FOUND, "");
}

static void changes_take_effect_at_once(void **state)
{
    struct channel channel;
    struct channel_edit edit;
    struct err err = { 0 };

    (void)state;
    add(1, 11, "first");
    for (int round = 0; round < 5; round++) {
        int64_t slot = round % 3 + 1;

        assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
        edit = channel_edit(arena, 1, 11, NOW_MS);
        edit.settings = json(arena_printf(arena, "{\"slot\":%d}", (int)slot));
        update(&edit);
        assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
        assert_int_equal(channel_number(&channel, "slot", 0), slot);
        assert_string_equal(channel_text(&channel, "token"), "s3cret-1");
    }
    assert_int_equal(number(db, "SELECT count(*) FROM events WHERE kind = 'channel.changed'"), 5);
}

/* Reads until told to stop; a slot may be old, never older than one that was seen. */
struct watcher {
    pthread_t thread;
    _Atomic int64_t *newest;
    _Atomic bool *stop;
    int failures;
};

static void *watch(void *arg)
{
    struct watcher *watcher = arg;
    struct arena *own = arena_new(0);

    while (!atomic_load(watcher->stop)) {
        int64_t least = atomic_load(watcher->newest);
        struct channel channel;
        struct err err = { 0 };

        arena_reset(own);
        if (channel_load(db, own, CHANNEL_ID(1, 11), &channel, &err) != 1
            || strtoll(channel_text(&channel, "base_url") + strlen("http://p.test/"), NULL, 10)
                < least)
            watcher->failures++;
    }
    arena_free(own);
    return NULL;
}

static void no_thread_sees_an_old_row(void **state)
{
    _Atomic int64_t newest = 0;
    _Atomic bool stop = false;
    struct watcher watchers[4];

    (void)state;
    add(1, 11, "first");
    for (int i = 0; i < 4; i++) {
        watchers[i] = (struct watcher){ .newest = &newest, .stop = &stop };
        assert_int_equal(pthread_create(&watchers[i].thread, NULL, watch, &watchers[i]), 0);
    }
    for (int i = 1; i <= 50; i++) {
        struct channel_edit edit = channel_edit(arena, 1, 11, NOW_MS);

        edit.settings = json(arena_printf(arena, "{\"base_url\":\"http://p.test/%d\"}", i));
        update(&edit);
        atomic_store(&newest, i);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++) {
        pthread_join(watchers[i].thread, NULL);
        assert_int_equal(watchers[i].failures, 0);
    }
}

/* What another process changes is seen when it notifies, or after a second. */
static void cached_for_a_second(void **state)
{
    struct channel channel;
    int64_t loaded_us;
    struct err err = { 0 };

    (void)state;
    add(1, 11, "first");
    ahead_us += 2 * 1000 * 1000;
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
    loaded_us = test_mono_us();
    must(db, "UPDATE channels SET state = 1");
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
    if (test_mono_us() - loaded_us < 900 * 1000)    /* else the machine was too slow to tell */
        assert_int_equal(channel.state, CHANNEL_ENABLED);
    ahead_us += 1000 * 1000;
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
    assert_int_equal(channel.state, CHANNEL_DISABLED);
    must(db, "UPDATE channels SET state = 0");
    channel_forget();
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
    assert_int_equal(channel.state, CHANNEL_ENABLED);
}

static void edited(void **state)
{
    struct channel_edit edit = channel_edit(arena, 1, 11, NOW_MS + 5);
    struct channel channel;
    struct err err = { 0 };

    (void)state;
    add(1, 11, "first");
    must(db, "UPDATE channels SET breaker_faults = 5, breaker_until_ms = 99");
    edit.name = STR("renamed");
    edit.region = STR("de");
    edit.agent = STR("parrot");
    edit.auto_reply = STR("We are closed.");
    edit.state = CHANNEL_DISABLED;
    edit.policy = POLICY_AUTO_REPLY;
    edit.rates.per_second = 0;
    edit.settings = json("{\"other\":\"s3cret-2\",\"slot\":null,\"loud\":true}");
    update(&edit);
    assert_true(str_is(edit.row.region, "DE"));
    assert_true(str_is(edit.row.agent, "parrot"));
    assert_int_equal(edit.row.rates.per_second, 0);
    assert_int_equal(edit.row.rates.per_day, 500);
    assert_int_equal(edit.row.health.breaker_faults, 0);
    assert_non_null(strstr(shown(&edit.row), "\"secrets\":[\"token\",\"other\"]"));
    assert_int_equal(channel_load(db, arena, CHANNEL_NAME(1, STR("renamed")), &channel, &err), 1);
    assert_int_equal(channel.state, CHANNEL_DISABLED);
    assert_string_equal(channel_text(&channel, "other"), "s3cret-2");
    assert_int_equal(channel_number(&channel, "slot", 0), 2);
    assert_true(channel_flag(&channel, "loud"));
    assert_string_equal(channel.region, "DE");

    edit = channel_edit(arena, 1, 11, NOW_MS + 6);
    edit.agent = edit.region = edit.auto_reply = STR("");
    edit.settings = json("{\"other\":null}");
    update(&edit);
    assert_null(edit.row.agent.data);
    assert_null(edit.row.region.data);
    assert_null(edit.row.auto_reply.data);
    assert_non_null(strstr(shown(&edit.row), "\"secrets\":[\"token\"]"));
}

static void refused(void **state)
{
    struct channel_edit edit;

    (void)state;
    add(1, 11, "first");
    refuse(channel_add,
           wanted(1, 12, "first", "{\"base_url\":\"http://p.test\",\"token\":\"s3cret\"}"),
           ERR_CONFLICT, "");
    refuse(channel_add, wanted(1, 12, "x", "{\"token\":\"s3cret\"}"), ERR_INVALID,
           "settings.base_url");
    refuse(channel_add, wanted(1, 12, "x", "{\"base_url\":\"http://p.test\"}"), ERR_INVALID,
           "settings.token");
    refuse(channel_add,
           wanted(1, 12, "x", "{\"base_url\":\"http://p.test\",\"token\":\"s3cret\",\"slto\":1}"),
           ERR_INVALID, "settings.slto");
    refuse(channel_add, wanted(1, 12, "x", "[]"), ERR_INVALID, "settings");
    refuse(channel_add, wanted(1, 12, " ", "{\"base_url\":\"http://p.test\",\"token\":\"s3cret\"}"),
           ERR_INVALID, "name");
    edit = wanted(1, 12, "x", "{\"base_url\":\"http://p.test\",\"token\":\"s3cret\"}");
    edit.kind = STR("fkae");
    refuse(channel_add, edit, ERR_INVALID, "kind");
    edit = wanted(1, 11, "first", NULL);
    edit.region = STR("Germany");
    refuse(channel_update, edit, ERR_INVALID, "region");
    edit = wanted(1, 11, "first", NULL);
    edit.agent = STR("parot");
    refuse(channel_update, edit, ERR_INVALID, "agent");
    refuse(channel_update, wanted(1, 11, "first", "{\"token\":null}"), ERR_INVALID,
           "settings.token");
    add(1, 13, "second");
    refuse(channel_update, wanted(1, 13, "first", NULL), ERR_CONFLICT, "");
    refuse(channel_update, wanted(1, 99, "x", NULL), ERR_NOT_FOUND, "");
    assert_int_equal(number(db, "SELECT count(*) FROM channels"), 2);
    assert_int_equal(number(db, "SELECT count(*) FROM events"), 2);
}

/* A secret moved to another channel's row does not open (sealed with the channel's id). */
static void secrets_belong_to_their_row(void **state)
{
    struct channel channel;
    struct err err = { 0 };

    (void)state;
    add(1, 11, "first");
    add(1, 13, "second");
    must(db,
         "UPDATE channels SET secrets = (SELECT c.secrets FROM channels c WHERE c.id = 11) WHERE "
         "id = 13");
    channel_forget();
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 13), &channel, &err), -1);
    assert_int_not_equal(err.detail[0], 0);
    assert_null(strstr(err.detail, "s3cret"));
}

static void settings_of_another_version_are_passed_over(void **state)
{
    struct channel channel;
    struct err err = { 0 };

    (void)state;
    add(1, 11, "first");
    must(db, "UPDATE channels SET settings = '{\"base_url\":\"http://p.test\",\"gone\":1}'");
    channel_forget();
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
    assert_int_equal(channel_number(&channel, "slot", 0), 2);
    must(db, "UPDATE channels SET kind = 'smoke'");
    channel_forget();
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), -1);
    assert_non_null(strstr(err.detail, "smoke"));
}

static void listed_in_pages(void **state)
{
    struct channel_page page = { .tenant_id = 1, .limit = 2 };
    struct err err = { 0 };
    struct db_session *session;

    (void)state;
    for (int i = 0; i < 3; i++)
        add(1, 11 + i, arena_printf(arena, "channel %d", i));
    add(2, 21, "foreign");
    session = db_read(db, 1, &err);
    assert_non_null(session);
    assert_int_equal(channel_rows(session, arena, &page, &err), 0);
    assert_int_equal(page.count, 2);
    assert_int_equal(page.rows[1].id, 12);
    page.after_id = 12;
    assert_int_equal(channel_rows(session, arena, &page, &err), 0);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.rows[0].id, 13);
    db_read_end(session);
}

static void addresses_follow_the_channel(void **state)
{
    struct channel channel;
    struct err err = { 0 };

    (void)state;
    add(1, 11, "first");
    assert_int_equal(channel_load(db, arena, CHANNEL_ID(1, 11), &channel, &err), 1);
    assert_true(str_is(channel_address(arena, &channel, STR("07911 123456")), "+447911123456"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(added_with_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(found_by_id_name_and_hook, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tenants_are_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_take_effect_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_thread_sees_an_old_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cached_for_a_second, set_up, tear_down),
        cmocka_unit_test_setup_teardown(edited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_belong_to_their_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(settings_of_another_version_are_passed_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(listed_in_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses_follow_the_channel, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
