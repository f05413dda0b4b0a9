#include "fixture.h"

#include "base/buf.h"
#include "core/message_edit.h"
#include "core/message_list.h"

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

/* Every pair of states against the table of DESIGN.md 6, written out once more. */
static void moves_only_along_the_table(void **state)
{
    static const char *const allowed[] = {
        "in received processing", "in received failed",    "in processing processed",
        "in processing failed",   "out draft queued",      "out draft cancelled",
        "out queued sending",     "out queued held",       "out queued cancelled",
        "out queued expired",     "out queued suppressed", "out queued failed",
        "out held queued",        "out held cancelled",    "out sending sent",
        "out sending queued",     "out sending failed",    "out sending unknown",
        "out sending delivered",  "out sending read",      "out sent delivered",
        "out sent read",          "out sent failed",       "out unknown delivered",
        "out unknown read",       "out unknown failed",    "out unknown sent",
        "out unknown queued",     "out delivered read",    "out failed delivered",
        "out failed queued",
    };
    size_t found = 0;

    (void)state;
    for (int direction = 0; direction < 2; direction++)
        for (int from = 0; from < MESSAGE_STATES; from++)
            for (int to = 0; to < MESSAGE_STATES; to++) {
                char move[80];
                bool expected = false;

                snprintf(move, sizeof move, "%s %s %s", message_direction_words[direction],
                         message_state_words[from], message_state_words[to]);
                for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
                    expected |= strcmp(allowed[i], move) == 0;
                found += expected;
                if (message_may((enum message_direction)direction, (enum message_state)from,
                                (enum message_state)to) != expected)
                    fail_msg("%s should %sbe allowed", move, expected ? "" : "not ");
            }
    assert_int_equal(found, sizeof allowed / sizeof allowed[0]);
    assert_null(message_state_words[MESSAGE_STATES]);
    assert_null(message_origin_words[MESSAGE_ORIGINS]);
}

/* Runs a function of the tests inside a transaction. */
struct call {
    struct message_ref ref;
    struct message message;
    enum message_state from;
    struct message_change change;
    struct str text;
    struct message_reading reading;
    int result;
};

static int advance_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct call *call = arg;

    call->result = message_advance(tx, &call->message, call->from, &call->change, err);
    return call->result < 0 ? -1 : 0;
}

static int edit_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct call *call = arg;

    call->result = message_edit(tx, &call->ref, call->text, err);
    return call->result < 0 ? -1 : 0;
}

static int delete_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct call *call = arg;

    call->result = message_delete(tx, &call->ref, err);
    return call->result < 0 ? -1 : 0;
}

static int tag_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct call *call = arg;

    call->result = message_tag(tx, &call->ref, call->text, err);
    return call->result < 0 ? -1 : 0;
}

static int untag_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct call *call = arg;

    call->result = message_untag(tx, &call->ref, call->text, err);
    return call->result < 0 ? -1 : 0;
}

static int read_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct call *call = arg;

    call->result = message_mark_read(tx, &call->reading, err);
    return call->result < 0 ? -1 : 0;
}

static int run_tx(db_tx *fn, struct call *call)
{
    struct err err = { 0 };

    return db_write(fixture.hub.db, fn, call, &err) ? -(int)err.code : call->result;
}

static struct message get(int64_t tenant_id, int64_t id)
{
    struct message message = { .tenant_id = tenant_id, .id = id };
    struct err err = { 0 };
    struct db_session *session = db_read(fixture.hub.db, 0, &err);

    if (message_get(session, fixture.arena, &message, &err) != 1)
        message.id = 0;
    db_read_end(session);
    return message;
}

static void advances_only_from_the_state_it_is_in(void **state)
{
    struct call call = { .message = get(TENANT, say(channel_id, "+12025550143", "a", "x")) };

    (void)state;
    call.from = MESSAGE_PROCESSING;
    call.change = (struct message_change){ .to = MESSAGE_PROCESSED, .at_ms = 5 };
    assert_int_equal(run_tx(advance_tx, &call), 0);
    call.from = MESSAGE_RECEIVED;
    assert_int_equal(run_tx(advance_tx, &call), 0);
    call.change.to = MESSAGE_PROCESSING;
    assert_int_equal(run_tx(advance_tx, &call), 1);
    assert_int_equal(run_tx(advance_tx, &call), 0);
    call.from = MESSAGE_PROCESSING;
    call.change = (struct message_change){
        .to = MESSAGE_FAILED, .at_ms = 6, .error_code = STR("e1"), .error_hint = STR("why")
    };
    assert_int_equal(run_tx(advance_tx, &call), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE state = 11 AND updated_ms = 6 "
                            "AND error_code = 'e1' AND error_hint = 'why'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.processing'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.failed'"), 1);
    call.message.tenant_id = 999;
    call.from = MESSAGE_FAILED;
    call.message.direction = MESSAGE_OUT;
    call.change.to = MESSAGE_QUEUED;
    assert_int_equal(run_tx(advance_tx, &call), 0);
}

static void writes_tombstones_for_deleted_messages(void **state)
{
    struct call call = { .ref = { TENANT, say(channel_id, "+12025550143", "a", "secret words"),
                                  1700000000000 } };
    struct message message = get(TENANT, call.ref.id);
    struct json_writer writer;
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    writer = json_writer(&out);
    message_json(&writer, &message);
    assert_non_null(strstr(out.data, "secret words"));
    assert_non_null(strstr(out.data, "\"from\":\"+12025550143\""));
    assert_non_null(strstr(out.data, "\"state\":\"received\""));
    assert_null(strstr(out.data, "tenant"));
    assert_int_equal(run_tx(delete_tx, &call), 1);
    assert_int_equal(run_tx(delete_tx, &call), 0);
    message = get(TENANT, call.ref.id);
    buf_clear(&out);
    writer = json_writer(&out);
    message_json(&writer, &message);
    assert_null(strstr(out.data, "secret"));
    assert_null(strstr(out.data, "+1202"));
    assert_non_null(strstr(out.data, "\"deleted_at\":\"2023-11-14T22:13:20.000Z\""));
    call.text = STR("new words");
    assert_int_equal(run_tx(edit_tx, &call), 0);
    assert_int_equal(run_tx(tag_tx, &call), -ERR_NOT_FOUND);
    buf_fini(&out);
}

static void keeps_every_text_of_an_edited_message(void **state)
{
    struct call call = { .ref = { TENANT, say(channel_id, "+12025550143", "a", "one"), 7 } };
    struct message message = { .tenant_id = TENANT, .id = call.ref.id };
    struct message_revision *revisions;
    struct err err = { 0 };
    struct db_session *session;

    (void)state;
    call.text = STR("two");
    assert_int_equal(run_tx(edit_tx, &call), 1);
    assert_int_equal(run_tx(edit_tx, &call), 0);
    call.text = STR("three");
    assert_int_equal(run_tx(edit_tx, &call), 1);
    call.ref.tenant_id = 999;
    assert_int_equal(run_tx(edit_tx, &call), 0);
    session = db_read(fixture.hub.db, TENANT, &err);
    assert_int_equal(message_revisions(session, fixture.arena, &message, &revisions, &err), 2);
    assert_true(str_is(revisions[0].text, "one"));
    assert_true(str_is(revisions[1].text, "two"));
    db_read_end(session);
    assert_true(str_is(get(TENANT, call.ref.id).text, "three"));
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.edited'"), 2);
}

static void tags_are_a_set_with_a_limit(void **state)
{
    struct call call = { .ref = { TENANT, say(channel_id, "+12025550143", "a", "x"), 7 } };
    struct str *tags;
    struct err err = { 0 };
    struct db_session *session;
    char tag[16];

    (void)state;
    call.text = STR("vip");
    assert_int_equal(run_tx(tag_tx, &call), 1);
    assert_int_equal(run_tx(tag_tx, &call), 0);
    assert_int_equal(run_tx(untag_tx, &call), 1);
    assert_int_equal(run_tx(untag_tx, &call), 0);
    for (int i = 0; i < LIMIT_TAGS_PER_MESSAGE; i++) {
        snprintf(tag, sizeof tag, "t%02d", i);
        call.text = str_c(tag);
        assert_int_equal(run_tx(tag_tx, &call), 1);
    }
    assert_int_equal(run_tx(tag_tx, &call), 0);
    call.text = STR("one too many");
    assert_int_equal(run_tx(tag_tx, &call), -ERR_INVALID);
    session = db_read(fixture.hub.db, TENANT, &err);
    assert_int_equal(message_tags(session, fixture.arena, &call.ref, &tags, &err),
                     LIMIT_TAGS_PER_MESSAGE);
    assert_true(str_is(tags[3], "t03"));
    db_read_end(session);
}

static void marks_one_many_or_a_whole_conversation_read(void **state)
{
    int64_t ids[6];
    struct call call = { .reading = { .tenant_id = TENANT, .at_ms = 9, .ids = ids } };

    (void)state;
    for (int i = 0; i < 6; i++) {
        char id[8];

        snprintf(id, sizeof id, "r%d", i);
        ids[i] = say(channel_id, i % 2 ? "+12025550143" : "+12025550144", id, "x");
    }
    call.reading.count = 3;
    assert_int_equal(run_tx(read_tx, &call), 3);
    assert_int_equal(run_tx(read_tx, &call), 0);
    assert_int_equal(number("SELECT SUM(unread) FROM conversations"), 3);
    assert_int_equal(number("SELECT unread FROM conversations WHERE peer = '+12025550144'"), 1);
    call.reading.count = 0;
    call.reading.conversation_id =
        number("SELECT id FROM conversations WHERE peer = '+12025550143'");
    assert_int_equal(run_tx(read_tx, &call), 2);
    assert_int_equal(number("SELECT SUM(unread) FROM conversations"), 1);
    call.reading = (struct message_reading){ .tenant_id = 999, .at_ms = 9, .ids = ids, .count = 6 };
    assert_int_equal(run_tx(read_tx, &call), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.read'"), 5);
}

static int list(struct message_filter filter, struct message **out)
{
    struct err err = { 0 };
    struct db_session *session = db_read(fixture.hub.db, TENANT, &err);
    int count = message_list(session, fixture.arena, &filter, out, &err);

    db_read_end(session);
    return count;
}

static struct message_filter any(void)
{
    return (
        struct message_filter){ .tenant_id = TENANT, .direction = -1, .state = -1, .limit = 50 };
}

static void lists_by_every_filter(void **state)
{
    struct call call = { .ref = { TENANT, 0, 7 }, .text = STR("vip") };
    struct message_filter filter = any();
    struct message *found;

    (void)state;
    call.ref.id = say(channel_id, "+12025550143", "a", "100% Sure_thing");
    say(channel_id, "+12025550144", "b", "1000 Sure thing");
    say(channel_id, "+12025550144", "c", "bye");
    assert_int_equal(run_tx(tag_tx, &call), 1);
    assert_int_equal(list(filter, &found), 3);
    assert_true(str_is(found[0].text, "bye"));
    filter.below_id = found[0].id;
    filter.limit = 1;
    assert_int_equal(list(filter, &found), 1);
    assert_true(str_is(found[0].text, "1000 Sure thing"));
    filter = any();
    filter.text = STR("0% sure_");
    assert_int_equal(list(filter, &found), 1);
    filter.text = STR("SURE");
    assert_int_equal(list(filter, &found), 2);
    filter = any();
    filter.tag = STR("vip");
    assert_int_equal(list(filter, &found), 1);
    assert_int_equal(found[0].id, call.ref.id);
    filter = any();
    filter.conversation_id = found[0].conversation_id;
    assert_int_equal(list(filter, &found), 1);
    filter = any();
    filter.contact_id = found[0].contact_id;
    assert_int_equal(list(filter, &found), 1);
    filter = any();
    filter.channel_id = channel_id + 1;
    assert_int_equal(list(filter, &found), 0);
    filter = any();
    filter.state = MESSAGE_PROCESSED;
    assert_int_equal(list(filter, &found), 0);
    filter = any();
    filter.direction = MESSAGE_OUT;
    assert_int_equal(list(filter, &found), 0);
    filter = any();
    filter.from_ms = clock_ms() + 1000;
    assert_int_equal(list(filter, &found), 0);
    filter = any();
    filter.type = STR("text");
    filter.to_ms = clock_ms() + 1000;
    filter.unread = true;
    assert_int_equal(list(filter, &found), 3);
}

static void tells_what_happened_to_one_message(void **state)
{
    struct call call = { .message = get(TENANT, say(channel_id, "+12025550143", "a", "x")) };
    struct timeline_entry *entries;
    struct err err = { 0 };
    struct db_session *session;
    int count;

    (void)state;
    call.from = MESSAGE_RECEIVED;
    call.change = (struct message_change){ .to = MESSAGE_PROCESSING, .at_ms = clock_ms() + 10 };
    assert_int_equal(run_tx(advance_tx, &call), 1);
    call.from = MESSAGE_PROCESSING;
    call.change = (struct message_change){ .to = MESSAGE_PROCESSED, .at_ms = clock_ms() + 10 };
    assert_int_equal(run_tx(advance_tx, &call), 1);
    session = db_read(fixture.hub.db, TENANT, &err);
    count = message_timeline(session, fixture.arena, &call.message, &entries, &err);
    db_read_end(session);
    assert_int_equal(count, 3);
    assert_true(str_is(entries[0].what, "message.received"));
    assert_true(str_is(entries[1].what, "message.processing"));
    assert_true(str_is(entries[2].what, "message.processed"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_only_along_the_table), TEST(advances_only_from_the_state_it_is_in),
        TEST(writes_tombstones_for_deleted_messages), TEST(keeps_every_text_of_an_edited_message),
        TEST(tags_are_a_set_with_a_limit), TEST(marks_one_many_or_a_whole_conversation_read),
        TEST(lists_by_every_filter), TEST(tells_what_happened_to_one_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
