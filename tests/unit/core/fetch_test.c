/* Files that come as a reference, files that go out, and files inserted as rows. */
#include "media_world.h"

#define URL "https://files.example.com/a"

static void expect_get(const char *url, int status, const char *headers, const char *body)
{
    script_add(script, &(struct script_step){ .method = HTTP_GET, .url = url, .status = status, .headers = headers,
                                              .body = body });
}

static int64_t events_of(const char *kind)
{
    return number(arena_printf(fixture.arena, "SELECT count(*) FROM events WHERE kind = '%s'", kind));
}

/* --- In ---------------------------------------------------------------------------------------------------------- */

static void bytes_that_come_along_are_there_at_once(void **state)
{
    const struct channel_attachment files[] = {
        { .name = STR("../a.txt"), .type = STR("image/png"), .data = STR("hello") },
        { .name = STR("b"), .data = STR("") },
        { .name = STR("c") },
    };
    int64_t id = say_files("m-1", files, 3);
    struct attachment first = file_of(id, 0), empty = file_of(id, 1), none = file_of(id, 2);

    (void)state;
    assert_int_equal(first.state, ATTACHMENT_STORED);
    assert_true(str_is(first.type, "text/plain"));
    assert_true(str_is(first.name, "a.txt"));
    assert_int_equal(empty.state, ATTACHMENT_FAILED);
    assert_true(str_is(empty.reason, "The file is empty."));
    assert_int_equal(none.state, ATTACHMENT_FAILED);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 4"), 0);
    /* the same message again adds nothing */
    assert_int_equal(receive(files_channel, text_event("anna", "m-1", "look")).outcome, INBOX_DUPLICATE);
    assert_int_equal(number("SELECT count(*) FROM attachments"), 3);
}

static void a_driver_fetches_its_own(void **state)
{
    const struct channel_attachment file = { .name = STR("a"), .type = STR("image/png"), .ref = STR("kept"),
                                             .size = 4 };
    int64_t id = say_files("m-1", &file, 1);

    (void)state;
    assert_int_equal(file_of(id, 0).state, ATTACHMENT_PENDING);
    assert_int_equal(fetch_once(), 1);
    assert_int_equal(file_of(id, 0).state, ATTACHMENT_STORED);
    assert_true(str_is(file_of(id, 0).type, "text/plain"));
    assert_true(str_is(file_of(id, 0).name, "a.txt"));
    assert_int_equal(file_of(id, 0).size, 4);
    assert_int_equal(events_of("attachment.stored"), 1);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 4"), 0);
    assert_int_equal(fetch_once(), 0);
    assert_int_equal(fetches, 1);
}

/* Whatever a driver could do with it: an address from outside is only ever asked as one. */
static void a_public_url_never_reaches_the_driver(void **state)
{
    const struct channel_attachment file = { .ref = STR(URL), .is_public = true };
    int64_t id = say_files("m-1", &file, 1);

    (void)state;
    expect_get(URL, 302, "Location: https://cdn.example.com/b\n", "");
    expect_get("https://cdn.example.com/b", 200, NULL, "bytes");
    assert_int_equal(fetch_once(), 1);
    assert_int_equal(fetches, 0);
    assert_int_equal(script_asked(script), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(script_request(script, i)->egress, EGRESS_PUBLIC);
        assert_int_equal(script_request(script, i)->answer_max, LIMIT_MEDIA_BYTES);
    }
    assert_int_equal(file_of(id, 0).state, ATTACHMENT_STORED);
}

static void endless_and_odd_redirects_end(void **state)
{
    static const char *const places[] = { URL, "ftp://files.example.com/a", "/relative" };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct channel_attachment file = { .ref = STR(URL), .is_public = true };
        int64_t id = say_files(arena_printf(fixture.arena, "m-%zu", i), &file, 1);

        script_add(script, &(struct script_step){ .method = HTTP_GET, .url = URL, .status = 301,
            .headers = arena_printf(fixture.arena, "Location: %s\n", places[i]), .times = i == 0 ? 4 : 1 });
        assert_int_equal(fetch_once(), 1);
        assert_int_equal(file_of(id, 0).state, ATTACHMENT_FAILED);
        assert_true(file_of(id, 0).reason.len > 0);
    }
    assert_int_equal(script_asked(script), 4 + 1 + 1);
    assert_int_equal(events_of("attachment.failed"), 3);
}

static void what_is_gone_fails_at_once(void **state)
{
    const struct channel_attachment mine = { .ref = STR("kept") }, theirs = { .ref = STR(URL), .is_public = true };
    int64_t first = say_files("m-1", &mine, 1), second;

    (void)state;
    fetch_fails = ERR_NOT_FOUND;
    assert_int_equal(fetch_once(), 1);
    assert_int_equal(file_of(first, 0).state, ATTACHMENT_FAILED);
    second = say_files("m-2", &theirs, 1);
    expect_get(URL, 410, NULL, "");
    assert_int_equal(fetch_once(), 1);
    assert_int_equal(file_of(second, 0).state, ATTACHMENT_FAILED);
    assert_true(str_is(file_of(second, 0).reason, "The file is not there any more."));
}

/* Half of the tries fail, as long as the link lives: growing waits, then a visible end. */
static void waits_grow_and_end(void **state)
{
    const struct channel_attachment file = { .ref = STR("kept") };
    int64_t id = say_files("m-1", &file, 1), longest_ms = 0, due_ms;
    struct err err = { 0 };
    int tries = 0;

    (void)state;
    fetch_fails = ERR_UNAVAILABLE;
    for (int i = 0; i < 5000 && file_of(id, 0).state == ATTACHMENT_PENDING; i++) {
        int64_t next = INT64_MAX;

        tries += fetch_once();
        due_ms = number("SELECT coalesce(max(due_ms), 0) FROM jobs WHERE kind = 4 AND state = 2");
        if (due_ms - clock_ms() > longest_ms)
            longest_ms = due_ms - clock_ms();
        assert_true(longest_ms <= 3600000);
        pushed_ms += 10000;
        assert_true(worker_sweep_step(&fixture.hub, &next, &err) >= 0);
    }
    assert_true(tries >= 8 && tries <= 40);
    assert_true(longest_ms > 600000);
    assert_int_equal(file_of(id, 0).state, ATTACHMENT_FAILED);
    assert_true(str_is(file_of(id, 0).reason, "The provider was asked to fail."));
    assert_true(pushed_ms >= LIMIT_FETCH_MS);
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 4"), 0);
}

static void a_later_try_succeeds(void **state)
{
    const struct channel_attachment file = { .ref = STR(URL), .is_public = true };
    int64_t id = say_files("m-1", &file, 1), next = INT64_MAX;
    struct err err = { 0 };

    (void)state;
    expect_get(URL, 503, "Retry-After: 100\n", "");
    expect_get(URL, 200, NULL, "bytes");
    assert_int_equal(fetch_once(), 1);
    pushed_ms += 90000;
    worker_sweep_step(&fixture.hub, &next, &err);
    assert_int_equal(fetch_once(), 0);
    pushed_ms += 20000;
    worker_sweep_step(&fixture.hub, &next, &err);
    assert_int_equal(fetch_once(), 1);
    assert_int_equal(file_of(id, 0).state, ATTACHMENT_STORED);
}

static void too_large_and_forbidden_are_not_tried_again(void **state)
{
    const struct channel_attachment large = { .ref = STR("kept"), .size = LIMIT_MEDIA_BYTES + 1LL };
    int64_t id = say_files("m-1", &large, 1);

    (void)state;
    assert_int_equal(file_of(id, 0).state, ATTACHMENT_FAILED);
    assert_int_equal(fetch_once(), 0);
    fetch_fails = ERR_TOO_LARGE;
    id = say_files("m-2", &(struct channel_attachment){ .ref = STR("kept") }, 1);
    assert_int_equal(fetch_once(), 1);
    assert_int_equal(file_of(id, 0).state, ATTACHMENT_FAILED);
}

static void rows_bring_files(void **state)
{
    struct err err = { 0 };

    (void)state;
    must("INSERT INTO inbound_rows (channel, sender, text, external_id, attachments) VALUES ('files', 'anna', 'x', "
         "'r-1', '[{\"name\":\"a.txt\",\"data\":\"aGVsbG8=\"},{\"ref\":\"kept\"},{\"url\":\"" URL "\"}]')");
    must("INSERT INTO inbound_rows (channel, sender, text, external_id, attachments) VALUES ('files', 'anna', 'x', "
         "'r-2', '[{\"data\":\"?\"}]')");
    must("INSERT INTO inbound_rows (channel, sender, text, external_id, attachments) VALUES ('files', 'anna', 'x', "
         "'r-3', '{}')");
    must("INSERT INTO inbound_rows (channel, sender, text, external_id, attachments) VALUES ('files', 'anna', 'x', "
         "'r-4', '[{\"name\":\"nothing\"}]')");
    assert_int_equal(inbox_import_step(&fixture.hub, 10, &err), 4);
    assert_int_equal(number("SELECT count(*) FROM messages"), 1);
    assert_int_equal(number("SELECT count(*) FROM parked"), 3);
    assert_int_equal(number("SELECT count(*) FROM attachments WHERE state = 1"), 1);
    assert_int_equal(number("SELECT count(*) FROM attachments WHERE state = 0 AND is_public = 1"), 1);
    assert_int_equal(number("SELECT count(*) FROM attachments WHERE state = 0 AND is_public = 0"), 1);
}

/* --- Out --------------------------------------------------------------------------------------------------------- */

static int64_t send_files(struct outbox_request request, struct err *err)
{
    struct outbox_write *write = arena_alloc(fixture.arena, sizeof *write);

    request.tenant_id = TENANT;
    request.channel_id = request.channel_id ? request.channel_id : files_channel;
    request.to = STR("anna");
    request.origin = ORIGIN_PERSON;
    write->request = request;
    return outbox_send(&fixture.hub, fixture.arena, write, err) ? -1 : write->message_id;
}

static int64_t state_of(int64_t id)
{
    return number(arena_printf(fixture.arena, "SELECT state FROM messages WHERE id = %lld", (long long)id));
}

static void send_once(void)
{
    struct err err = { 0 };
    int64_t next = INT64_MAX;

    if (worker_send_step(&fixture.hub, &next, &err) < 0)
        fail_msg("send: %s", err.detail);
}

static void files_are_parts(void **state)
{
    const struct channel_attachment files[] = { { .name = STR("a.txt"), .data = STR("one") },
                                                { .name = STR("../b"), .data = STR("two") } };
    struct err err = { 0 };
    int64_t id = send_files((struct outbox_request){ .text = STR("long enough for itself"), .attachments = files,
                                                     .attachment_count = 2 }, &err);

    (void)state;
    assert_true(id > 0);
    send_once();
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_int_equal(handed_count, 3);
    assert_string_equal(handed[0].text, "long enough for itself");
    assert_false(handed[0].is_file);
    assert_string_equal(handed[1].text, "");
    assert_string_equal(handed[1].data, "one");
    assert_string_equal(handed[1].name, "a.txt");
    assert_memory_equal(handed[1].url, "https://hub.example.com/base/media/med_", 39);
    assert_string_equal(handed[2].name, "b.txt");
    assert_string_equal(handed[2].type, "text/plain");
    assert_string_equal(handed[2].data, "two");
    assert_int_equal(handed[2].parts, 3);
}

static void a_short_text_goes_with_the_first_file(void **state)
{
    const struct channel_attachment files[] = { { .data = STR("one") }, { .data = STR("two") } };
    struct err err = { 0 };
    int64_t id = send_files((struct outbox_request){ .text = STR("short"), .attachments = files,
                                                     .attachment_count = 2 }, &err);

    (void)state;
    send_once();
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_int_equal(handed_count, 2);
    assert_string_equal(handed[0].text, "short");
    assert_string_equal(handed[0].data, "one");
    assert_string_equal(handed[1].text, "");
    handed_count = 0;
    id = send_files((struct outbox_request){ .text = STR(""), .attachments = files, .attachment_count = 1 }, &err);
    send_once();
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_int_equal(handed_count, 1);
}

static void refuses_what_cannot_go(void **state)
{
    const struct channel_attachment file = { .data = STR("one") }, empty = { .data = STR("") },
                                    unknown = { .media_id = 4711 };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(send_files((struct outbox_request){ .channel_id = words_channel, .text = STR("x"),
        .attachments = &file, .attachment_count = 1 }, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.field, "attachments");
    assert_true(err.hint[0] != '\0');
    assert_int_equal(send_files((struct outbox_request){ .attachments = &empty, .attachment_count = 1 }, &err), -1);
    assert_string_equal(err.field, "attachments");
    assert_int_equal(send_files((struct outbox_request){ .attachments = &unknown, .attachment_count = 1 }, &err), -1);
    assert_int_equal(send_files((struct outbox_request){ .text = STR("") }, &err), -1);
    assert_string_equal(err.field, "text");
    assert_int_equal(number("SELECT count(*) FROM messages"), 0);
}

static void a_message_waits_for_its_file(void **state)
{
    const struct channel_attachment file = { .ref = STR(URL), .is_public = true };
    struct err err = { 0 };
    int64_t id = send_files((struct outbox_request){ .text = STR("x"), .attachments = &file,
                                                     .attachment_count = 1 }, &err), next = INT64_MAX;

    (void)state;
    send_once();
    assert_int_equal(state_of(id), MESSAGE_QUEUED);
    assert_int_equal(handed_count, 0);
    expect_get(URL, 200, NULL, "bytes");
    assert_int_equal(fetch_once(), 1);
    worker_sweep_step(&fixture.hub, &next, &err);
    send_once();
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_string_equal(handed[0].data, "bytes");
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind IN (1, 4)"), 0);
}

static void a_message_fails_with_its_file(void **state)
{
    const struct channel_attachment file = { .ref = STR(URL), .is_public = true };
    struct err err = { 0 };
    int64_t id = send_files((struct outbox_request){ .text = STR("x"), .attachments = &file,
                                                     .attachment_count = 1 }, &err);

    (void)state;
    expect_get(URL, 404, NULL, "");
    assert_int_equal(fetch_once(), 1);
    send_once();
    assert_int_equal(state_of(id), MESSAGE_FAILED);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE error_code = 'file_lost'"), 1);
    assert_int_equal(handed_count, 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, media_setup, media_teardown)
    const struct CMUnitTest tests[] = {
        CASE(bytes_that_come_along_are_there_at_once), CASE(a_driver_fetches_its_own),
        CASE(a_public_url_never_reaches_the_driver), CASE(endless_and_odd_redirects_end),
        CASE(what_is_gone_fails_at_once), CASE(waits_grow_and_end), CASE(a_later_try_succeeds),
        CASE(too_large_and_forbidden_are_not_tried_again), CASE(rows_bring_files), CASE(files_are_parts),
        CASE(a_short_text_goes_with_the_first_file), CASE(refuses_what_cannot_go),
        CASE(a_message_waits_for_its_file), CASE(a_message_fails_with_its_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
