#include "fixture.h"

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

static void stores_a_message_with_all_that_belongs_to_it(void **state)
{
    struct channel_event event = text_event("(202) 555-0143", "x1", "hello");
    struct inbox_result result;
    char sql[300];

    (void)state;
    event.name = STR("Ada");
    event.provider_ms = 1700000000123;
    event.offset_min = 60;
    result = receive(channel_id, event);
    assert_int_equal(result.outcome, INBOX_STORED);
    snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM messages WHERE id = %lld AND tenant_id = 1 "
             "AND position = 1 AND direction = 0 AND state = 0 AND address = '+12025550143' "
             "AND text = 'hello' AND provider_ms = 1700000000123 AND offset_min = 60",
             (long long)result.message_id);
    assert_int_equal(number(sql), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM contacts WHERE address = '+12025550143' "
                            "AND address_given = '(202) 555-0143' AND name = 'Ada'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations v JOIN contacts c ON "
                            "c.id = v.contact_id WHERE v.peer = '+12025550143' AND v.unread = 1 "
                            "AND v.last_position = 1 AND v.title = 'Ada'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE kind = 2 AND state = 0 AND head = 1 "
                            "AND messages = 1 AND due_ms = created_ms + 2000"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.received'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'conversation.created'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM channels WHERE last_heard_ms IS NOT NULL"), 1);
}

static void answers_a_duplicate_with_the_first_id(void **state)
{
    int64_t first = say(channel_id, "+12025550143", "x1", "hello");
    struct inbox_result again = receive(channel_id, text_event("+12025550143", "x1", "hello"));

    (void)state;
    assert_int_equal(again.outcome, INBOX_DUPLICATE);
    assert_int_equal(again.message_id, first);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1);
    assert_int_equal(number("SELECT last_position FROM conversations"), 1);
    assert_int_equal(number("SELECT messages FROM jobs"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.received'"), 1);
}

static void finds_twins_inside_one_write_and_one_group(void **state)
{
    struct channel_event events[] = {
        text_event("+12025550143", "a", "one"), text_event("+12025550143", "b", "two"),
        text_event("+12025550143", "a", "one"), text_event("+12025550144", "c", "three"),
        text_event("+12025550143", "a", "one"),
    };
    struct inbox_write *write = receive_into(fixture.arena, TENANT, channel_id, events, 5);

    (void)state;
    assert_int_equal(write->results[0].outcome, INBOX_STORED);
    assert_int_equal(write->results[1].outcome, INBOX_STORED);
    assert_int_equal(write->results[2].outcome, INBOX_DUPLICATE);
    assert_int_equal(write->results[3].outcome, INBOX_STORED);
    assert_int_equal(write->results[4].outcome, INBOX_DUPLICATE);
    assert_int_equal(write->results[2].message_id, write->results[0].message_id);
    assert_int_equal(write->results[4].message_id, write->results[0].message_id);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 3);
}

static void orders_messages_of_a_conversation_as_they_came(void **state)
{
    struct channel_event events[60];
    char ids[60][8], from[60][16];

    (void)state;
    for (int i = 0; i < 60; i++) {
        snprintf(ids[i], sizeof ids[i], "m%d", i);
        snprintf(from[i], sizeof from[i], "+1202555010%d", i % 3);
        events[i] = text_event(from[i], ids[i], ids[i]);
    }
    receive_into(fixture.arena, TENANT, channel_id, events, 30);
    receive_into(fixture.arena, TENANT, channel_id, events + 30, 30);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE last_position = 20"), 3);
    assert_int_equal(number("SELECT COUNT(DISTINCT position) FROM messages"), 20);
    assert_int_equal(number("SELECT COUNT(*) FROM messages a JOIN messages b ON "
                            "b.conversation_id = a.conversation_id AND b.position = a.position + 1 "
                            "WHERE CAST(SUBSTR(b.text, 2) AS BIGINT) <> "
                            "CAST(SUBSTR(a.text, 2) AS BIGINT) + 3"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations v JOIN messages m ON "
                            "m.id = v.last_message_id AND m.position = 20"), 3);
}

static void remembers_the_second_device_of_one_sms(void **state)
{
    struct channel_event event = text_event("+12025550143", NULL, "the same text");
    struct inbox_write writes[3] = { { .device_id = 71 },
                                     { .device_id = 72 },
                                     { .device_id = 72 } };
    struct inbox_result results[3];
    struct err err = { 0 };

    (void)state;
    event.provider_ms = 1700000000000;
    for (int i = 0; i < 3; i++) {
        writes[i].tenant_id = TENANT;
        writes[i].channel_id = channel_id;
        writes[i].events = &event;
        writes[i].count = 1;
        writes[i].results = &results[i];
        assert_int_equal(inbox_accept(&fixture.hub, fixture.arena, &writes[i], &err), 0);
    }
    assert_int_equal(results[0].outcome, INBOX_STORED);
    assert_int_equal(results[1].outcome, INBOX_DUPLICATE);
    assert_int_equal(results[1].message_id, results[0].message_id);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE device_id = 71"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM message_sources WHERE device_id = 72"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM message_sources"), 1);
    event.provider_ms += 1000;
    assert_int_equal(inbox_accept(&fixture.hub, fixture.arena, &writes[0], &err), 0);
    assert_int_equal(results[0].outcome, INBOX_STORED);
}

static void moves_the_debounce_up_to_its_caps(void **state)
{
    char id[16];

    (void)state;
    say(channel_id, "+12025550143", "d0", "0");
    must("UPDATE jobs SET first_ms = first_ms - 9000, due_ms = due_ms - 9000");
    say(channel_id, "+12025550143", "d1", "1");
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE due_ms = first_ms + 10000 "
                            "AND rank_ms = due_ms AND messages = 2"), 1);
    for (int i = 2; i < 20; i++) {
        snprintf(id, sizeof id, "d%d", i);
        say(channel_id, "+12025550143", id, id);
    }
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 1);
    assert_int_equal(number("SELECT messages FROM jobs"), 20);
    assert_true(number("SELECT due_ms FROM jobs") <= clock_ms());
}

static void decides_nothing_for_history_groups_and_own_messages(void **state)
{
    struct channel_event history = text_event("+12025550143", "h", "long ago");
    struct channel_event group = text_event("+12025550143", "g", "to all");
    struct channel_event own = text_event("+12025550144", "o", "typed on the phone");

    (void)state;
    history.is_history = true;
    history.provider_ms = 1600000000000;
    group.group = STR("family");
    own.kind = CHANNEL_OWN_MESSAGE;
    receive(channel_id, history);
    receive(channel_id, group);
    receive(channel_id, own);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE direction = 0 AND state = 2"), 2);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE is_group = 1 "
                            "AND contact_id IS NULL AND unread = 1 AND peer = 'family'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE unread = 0 "
                            "AND last_message_ms = 1600000000000"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE direction = 1 AND state = 6 "
                            "AND origin = 2"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE paused_until_ms > 0 "
                            "AND auto_turns = 0"), 1);
}

static void refuses_only_the_bad_one_of_a_batch(void **state)
{
    struct channel_event events[] = {
        text_event("+12025550143", "a", "good"), text_event("", "b", "from nobody"),
        text_event("+12025550143", "c", "bad type"), text_event("+12025550143", "d", "\xff\xfe"),
        text_event("+12025550143", "e", "good"),
    };
    struct inbox_write *write;

    (void)state;
    events[2].type = STR("smoke");
    write = receive_into(fixture.arena, TENANT, channel_id, events, 5);
    assert_int_equal(write->results[0].outcome, INBOX_STORED);
    for (int i = 1; i < 4; i++)
        assert_int_equal(write->results[i].outcome, INBOX_REFUSED);
    assert_string_equal(write->results[2].err.field, "type");
    assert_non_null(strstr(write->results[2].err.hint, "whatsapp"));
    assert_int_equal(write->results[4].outcome, INBOX_STORED);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 2);
}

static void edits_deletes_and_reacts(void **state)
{
    int64_t id = say(channel_id, "+12025550143", "x1", "first");
    struct channel_event event = text_event("+12025550143", "x1", "second");

    (void)state;
    event.kind = CHANNEL_EDIT;
    assert_int_equal(receive(channel_id, event).message_id, id);
    assert_int_equal(receive(channel_id, event).outcome, INBOX_DUPLICATE);
    assert_int_equal(number("SELECT COUNT(*) FROM message_revisions WHERE text = 'first' "
                            "AND revision = 1"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE text = 'second' "
                            "AND edited_ms IS NOT NULL"), 1);
    event.kind = CHANNEL_REACTION;
    event.text = STR("\xf0\x9f\x91\x8d");
    assert_int_equal(receive(channel_id, event).outcome, INBOX_STORED);
    assert_int_equal(receive(channel_id, event).outcome, INBOX_DUPLICATE);
    assert_int_equal(number("SELECT COUNT(*) FROM message_reactions "
                            "WHERE actor = '+12025550143'"), 1);
    event.text = (struct str){ 0 };
    assert_int_equal(receive(channel_id, event).outcome, INBOX_STORED);
    assert_int_equal(number("SELECT COUNT(*) FROM message_reactions"), 0);
    event.kind = CHANNEL_DELETE;
    assert_int_equal(receive(channel_id, event).outcome, INBOX_STORED);
    assert_int_equal(receive(channel_id, event).outcome, INBOX_DUPLICATE);
    assert_int_equal(number("SELECT COUNT(*) FROM messages WHERE text = '' "
                            "AND deleted_ms IS NOT NULL"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM message_revisions"), 0);
    event.external_id = STR("nobody");
    assert_int_equal(receive(channel_id, event).outcome, INBOX_REFUSED);
}

static void links_replies_to_what_they_answer(void **state)
{
    struct channel_event events[] = { text_event("+12025550143", "q", "question"),
                                      text_event("+12025550143", "r", "reply") };
    struct channel_event later = text_event("+12025550143", "s", "another reply");
    struct inbox_write *write;
    char sql[120];

    (void)state;
    events[1].reply_to = STR("q");
    later.reply_to = STR("q");
    write = receive_into(fixture.arena, TENANT, channel_id, events, 2);
    receive(channel_id, later);
    snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM messages WHERE reply_to_id = %lld",
             (long long)write->results[0].message_id);
    assert_int_equal(number(sql), 2);
}

/* A commit whose answer got lost: the whole group is run again with the ids it had. */
static void repeats_a_group_without_doubling(void **state)
{
    struct channel_event events[] = { text_event("+12025550143", "a", "with id"),
                                      text_event("+12025550143", NULL, "without"),
                                      text_event("+12025550143", "a", "twin") };
    struct inbox_write *write = receive_into(fixture.arena, TENANT, channel_id, events, 3);
    struct inbox_result first[3];
    struct err err = { 0 };

    (void)state;
    memcpy(first, write->results, sizeof first);
    assert_int_equal(db_submit_wait(fixture.hub.db, &write->item, &err), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(write->results[i].outcome, first[i].outcome);
        assert_int_equal(write->results[i].message_id, first[i].message_id);
    }
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 2);
    assert_int_equal(number("SELECT last_position FROM conversations"), 2);
    assert_int_equal(number("SELECT unread FROM conversations"), 2);
    assert_int_equal(number("SELECT messages FROM jobs"), 2);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE kind = 'message.received'"), 2);
}

static void replays_an_idempotent_request(void **state)
{
    struct channel_event event = text_event("+12025550143", NULL, "once");
    struct idempotency idempotency = { .tenant_id = TENANT, .key_id = 5, .name = STR("k1"),
                                       .status = 201, .answer = STR("{\"id\":\"first\"}") };
    struct inbox_result result;
    struct inbox_write write = { .tenant_id = TENANT, .channel_id = channel_id, .events = &event,
                                 .count = 1, .results = &result, .idempotency = &idempotency };
    struct idempotency found = idempotency;
    struct db_session *session;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(inbox_accept(&fixture.hub, fixture.arena, &write, &err), 0);
    assert_false(write.replayed);
    idempotency.answer = STR("{\"id\":\"second\"}");
    assert_int_equal(inbox_accept(&fixture.hub, fixture.arena, &write, &err), 0);
    assert_true(write.replayed);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1);
    session = db_read(fixture.hub.db, TENANT, &err);
    assert_int_equal(idempotency_find(session, fixture.arena, &found, &err), 1);
    assert_int_equal(found.status, 201);
    assert_true(str_is(found.answer, "{\"id\":\"first\"}"));
    found.body_hash[0] = 1;
    assert_int_equal(idempotency_find(session, fixture.arena, &found, &err), -1);
    assert_int_equal(err.code, ERR_KEY_REUSED);
    found.name = STR("k2");
    assert_int_equal(idempotency_find(session, fixture.arena, &found, &err), 0);
    db_read_end(session);
}

static void ignore(struct db_write_item *item)
{
    assert_int_equal(item->err.code, ERR_NONE);
}

/* Twins of one key that meet in one group: the first is stored. */
static void stores_the_first_of_twins_with_one_key(void **state)
{
    static const char *const names[] = { "z", "a", "z", "m", "a" };
    struct idempotency keys[5];
    struct channel_event events[5];
    struct inbox_write writes[5];
    struct inbox_result results[5];
    struct err err = { 0 };

    (void)state;
    memset(writes, 0, sizeof writes);
    for (int i = 0; i < 5; i++) {
        keys[i] = (struct idempotency){ .tenant_id = TENANT, .key_id = 5, .name = str_c(names[i]) };
        events[i] = text_event("+12025550143", NULL, names[i]);
        writes[i].tenant_id = TENANT;
        writes[i].channel_id = channel_id;
        writes[i].events = &events[i];
        writes[i].count = 1;
        writes[i].results = &results[i];
        writes[i].idempotency = i == 3 ? NULL : &keys[i];
        assert_int_equal(inbox_prepare(&fixture.hub, fixture.arena, &writes[i], &err), 0);
        writes[i].item.done = ignore;
        assert_int_equal(db_submit(fixture.hub.db, &writes[i].item, &err), 0);
    }
    assert_int_equal(db_step(fixture.hub.db), 5);
    assert_false(writes[0].replayed || writes[1].replayed || writes[3].replayed);
    assert_true(writes[2].replayed && writes[4].replayed);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 3);
    assert_int_equal(number("SELECT COUNT(*) FROM idempotency"), 2);
}

static void keeps_tenants_apart(void **state)
{
    int64_t other = add_tenant("other"), theirs = add_channel(other, "sms", "phone");
    struct channel_event event = text_event("+12025550143", "x1", "theirs");
    int64_t ours = say(channel_id, "+12025550143", "x1", "ours");
    struct inbox_write *write = receive_into(fixture.arena, other, theirs, &event, 1);
    struct inbox_write wrong = { .tenant_id = other, .channel_id = channel_id, .events = &event,
                                 .count = 1, .results = write->results };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(write->results[0].outcome, INBOX_STORED);
    assert_int_not_equal(write->results[0].message_id, ours);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations"), 2);
    assert_int_equal(number("SELECT COUNT(*) FROM messages m JOIN conversations c ON "
                            "c.id = m.conversation_id WHERE c.tenant_id <> m.tenant_id"), 0);
    assert_int_equal(inbox_accept(&fixture.hub, fixture.arena, &wrong, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void uses_a_contact_that_was_there_before(void **state)
{
    char sql[200];

    (void)state;
    snprintf(sql, sizeof sql, "INSERT INTO contacts (id, tenant_id, channel_id, address, name, "
             "created_ms, updated_ms) VALUES (77, 1, %lld, '+12025550143', 'Grace', 1, 1)",
             (long long)channel_id);
    must(sql);
    say(channel_id, "+12025550143", "x1", "hello");
    assert_int_equal(number("SELECT contact_id FROM messages"), 77);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE contact_id = 77 "
                            "AND title = 'Grace'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM contacts"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stores_a_message_with_all_that_belongs_to_it),
        TEST(answers_a_duplicate_with_the_first_id),
        TEST(finds_twins_inside_one_write_and_one_group),
        TEST(orders_messages_of_a_conversation_as_they_came),
        TEST(remembers_the_second_device_of_one_sms), TEST(moves_the_debounce_up_to_its_caps),
        TEST(decides_nothing_for_history_groups_and_own_messages),
        TEST(refuses_only_the_bad_one_of_a_batch), TEST(edits_deletes_and_reacts),
        TEST(links_replies_to_what_they_answer), TEST(repeats_a_group_without_doubling),
        TEST(replays_an_idempotent_request),
        TEST(stores_the_first_of_twins_with_one_key), TEST(keeps_tenants_apart),
        TEST(uses_a_contact_that_was_there_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
