/* What is done to messages that are out: in their lane, like sends, and stored when the provider took it. */
#include "work.h"

#include "core/act.h"
#include "core/message_edit.h"
#include "core/message_list.h"

static int64_t channel, sent_id, came_id;

/* A conversation with a message from anna, and one to her that is out. */
static void set_up_thread(const char *kind)
{
    channel = add_channel(kind, NULL);
    came_id = say(channel, "anna", "hello");
    sent_id = send_text(channel, "anna", "hi anna");
    run_all();
    assert_int_equal(state_of(sent_id), MESSAGE_SENT);
    forget_peers();
    pass_ms(1000);
}

struct doing {
    struct act act;
    int queued;
};

static int queue_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct doing *doing = arg;

    doing->queued = act_queue(tx, &doing->act, err);
    return doing->queued < 0 ? -1 : 0;
}

/* 1 queued, 0 local; -1 and err. */
static int act_on(int64_t message_id, enum send_act act, const char *text, struct err *err)
{
    struct doing doing = { .act = { .tenant_id = TENANT, .message_id = message_id, .act = act, .text = str_c(text),
        .at_ms = clock_ms() } };

    *err = (struct err){ 0 };
    doing.act.id = ids_next(hub.ids, err);
    return db_write(hub.db, queue_tx, &doing, err) ? -1 : doing.queued;
}

static void must_queue(int64_t message_id, enum send_act act, const char *text)
{
    struct err err;

    if (act_on(message_id, act, text, &err) != 1)
        fail_msg("act %s: %s", act_words[act], err.detail);
}

static void must_refuse(int64_t message_id, enum send_act act, const char *why)
{
    struct err err;

    assert_int_equal(act_on(message_id, act, "x", &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    if (!strstr(err.detail, why))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, why);
    assert_true(err.hint[0] || strstr(why, "deleted"));
}

static const char *text_now(int64_t id)
{
    return text_of(arena_printf(arena, "SELECT text FROM messages WHERE id = %lld", (long long)id));
}

static void test_what_is_done_goes_out_in_order(void **state)
{
    const char *target;

    (void)state;
    set_up_thread("acting");
    target = text_of(arena_printf(arena, "SELECT external_id FROM messages WHERE id = %lld", (long long)sent_id));
    must_queue(sent_id, SEND_EDIT, "hi Anna");
    must_queue(sent_id, SEND_EDIT, "hi Anna!");
    must_queue(came_id, SEND_REACTION, "+1");
    must_queue(came_id, SEND_READ, NULL);
    assert_string_equal(text_now(sent_id), "hi anna");      /* the provider has not taken it yet */
    assert_int_equal(number("SELECT count(*) FROM jobs WHERE kind = 1 AND head = 1"), 1);
    for (int i = 0; i < 4; i++) {
        send_once(NULL);
        assert_int_equal(peer.count, i + 1);
    }
    assert_int_equal(peer.sent[0].act, SEND_EDIT);
    assert_string_equal(peer.sent[0].text, "hi Anna");
    assert_string_equal(peer.sent[0].target, target);
    assert_string_equal(peer.sent[0].to, "anna");
    assert_string_equal(peer.sent[1].text, "hi Anna!");
    assert_int_equal(peer.sent[2].act, SEND_REACTION);
    assert_memory_equal(peer.sent[2].target, "in-", 3);
    assert_int_equal(peer.sent[3].act, SEND_READ);
    assert_memory_equal(peer.sent[3].key, "act_", 4);
    assert_string_equal(text_now(sent_id), "hi Anna!");
    assert_int_equal(number("SELECT count(*) FROM message_revisions"), 2);
    assert_int_equal(number("SELECT count(*) FROM message_reactions WHERE actor = 'hub' AND emoji = '+1'"), 1);
    assert_int_equal(number("SELECT count(*) FROM acts WHERE state = 6"), 4);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    /* the message itself was not sent again, and its state is its own */
    assert_int_equal(state_of(sent_id), MESSAGE_SENT);
    assert_int_equal(number("SELECT count(*) FROM attempts WHERE act_id IS NULL"), 1);
    must_queue(sent_id, SEND_DELETE, NULL);
    run_all();
    assert_int_equal(number("SELECT count(*) FROM messages WHERE deleted_ms IS NOT NULL AND text = ''"), 1);
}

static void test_one_reaction_at_a_time(void **state)
{
    (void)state;
    set_up_thread("acting");
    must_queue(came_id, SEND_REACTION, "+1");
    must_queue(came_id, SEND_REACTION, "-1");
    run_all();
    assert_int_equal(number("SELECT count(*) FROM message_reactions"), 1);
    assert_string_equal(text_of("SELECT emoji FROM message_reactions"), "-1");
    must_queue(came_id, SEND_REACTION, "");
    run_all();
    assert_int_equal(number("SELECT count(*) FROM message_reactions"), 0);
    assert_string_equal(peer.sent[2].text, "");
}

/* The lane is one: an act waits behind a message, and a message behind an act that backs off. */
static void test_the_lane_is_shared(void **state)
{
    int64_t next;

    (void)state;
    set_up_thread("acting");
    must_queue(sent_id, SEND_EDIT, "later");
    next = send_text(channel, "anna", "next");
    peer.script[0] = SEND_RETRY;
    peer.scripted = 1;
    send_once(NULL);
    send_once(NULL);
    assert_int_equal(peer.count, 1);
    assert_int_equal(number("SELECT count(*) FROM acts WHERE state = 4"), 1);
    pass_ms(60000);
    run_all();
    assert_int_equal(peer.count, 3);
    assert_int_equal(peer.sent[1].act, SEND_EDIT);
    assert_int_equal(peer.sent[1].attempt, 2);
    assert_int_equal(peer.sent[2].act, SEND_MESSAGE);
    assert_int_equal(state_of(next), MESSAGE_SENT);
    assert_string_equal(text_now(sent_id), "later");
}

/* Doing it twice is doing it once: an unsure act is tried again, never looked up, and given up after three tries. */
static void test_an_unsure_act_is_repeated(void **state)
{
    (void)state;
    set_up_thread("acting");
    peer.always = SEND_UNSURE;
    must_queue(sent_id, SEND_EDIT, "never");
    for (int i = 0; i < 6; i++) {
        run_all();
        pass_ms(600 * 1000);
    }
    assert_int_equal(peer.count, 3);
    assert_int_equal(peer.lookups, 0);
    assert_int_equal(number("SELECT count(*) FROM acts WHERE state = 11 AND error_code = 'gave_up'"), 1);
    assert_string_equal(text_now(sent_id), "hi anna");
    assert_int_equal(state_of(sent_id), MESSAGE_SENT);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
}

static void test_a_refused_act_changes_nothing(void **state)
{
    (void)state;
    set_up_thread("acting");
    peer.always = SEND_REFUSED;
    peer.result = (struct send_result){ .code = STR("too_old"), .hint = STR("It is too old to be changed.") };
    must_queue(sent_id, SEND_DELETE, NULL);
    run_all();
    assert_int_equal(number("SELECT count(*) FROM acts WHERE state = 11 AND error_code = 'too_old' "
                            "AND error_hint = 'It is too old to be changed.'"), 1);
    assert_string_equal(text_now(sent_id), "hi anna");
    assert_int_equal(number("SELECT count(*) FROM messages WHERE deleted_ms IS NOT NULL"), 0);
}

/* A worker that died with an act in its hands. */
static void test_a_dead_worker_is_followed(void **state)
{
    (void)state;
    set_up_thread("acting");
    must_queue(sent_id, SEND_EDIT, "after all");
    MUST("UPDATE acts SET state = 5");
    MUST("UPDATE jobs SET state = 1, attempt = 1, node = 'dead', lease_until_ms = 1");
    sweep_once();
    assert_int_equal(number("SELECT count(*) FROM acts WHERE state = 4"), 1);
    pass_ms(60000);
    run_all();
    assert_int_equal(peer.count, 1);
    assert_int_equal(peer.sent[0].attempt, 2);
    assert_string_equal(text_now(sent_id), "after all");
}

static void test_the_timeline_shows_it(void **state)
{
    struct message message = { .tenant_id = TENANT };
    struct timeline_entry *entries;
    struct err err = { 0 };
    struct db_session *session;
    int count, seen = 0;

    (void)state;
    set_up_thread("acting");
    must_queue(sent_id, SEND_EDIT, "new");
    run_all();
    message.id = sent_id;
    session = db_read(hub.db, TENANT, &err);
    assert_int_equal(message_get(session, arena, &message, &err), 1);
    count = message_timeline(session, arena, &message, &entries, &err);
    for (int i = 0; i < count; i++)
        seen += str_is(entries[i].what, "message.act")
            && (str_is(entries[i].detail, "{\"act\":\"edit\",\"state\":\"queued\"}")
                || str_is(entries[i].detail, "{\"act\":\"edit\",\"state\":\"sending\"}")
                || str_is(entries[i].detail, "{\"act\":\"edit\",\"state\":\"sent\"}"));
    db_read_end(session);
    assert_int_equal(seen, 3);
}

/* --- What cannot be done ------------------------------------------------------------------------------------------ */

static void test_what_a_channel_cannot_is_refused(void **state)
{
    struct err err;
    int64_t draft;

    (void)state;
    set_up_thread("test");
    must_refuse(sent_id, SEND_EDIT, "cannot change what was sent");
    must_refuse(sent_id, SEND_DELETE, "cannot take back");
    must_refuse(came_id, SEND_REACTION, "cannot send reactions");
    assert_int_equal(act_on(came_id, SEND_READ, NULL, &err), 0);
    assert_int_equal(act_on(came_id, SEND_EDIT, "a note", &err), 0);
    assert_int_equal(act_on(came_id, SEND_DELETE, NULL, &err), 0);
    draft = send_request(&(struct outbox_request){ .tenant_id = TENANT, .channel_id = channel, .to = STR("anna"),
        .text = STR("draft"), .origin = ORIGIN_PERSON, .draft = true });
    assert_int_equal(act_on(draft, SEND_EDIT, "better", &err), 0);
    assert_int_equal(act_on(4711, SEND_EDIT, "x", &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(number("SELECT count(*) FROM acts"), 0);
}

static void test_what_has_no_name_is_refused(void **state)
{
    int64_t waiting, parts;

    (void)state;
    set_up_thread("acting");
    waiting = send_text(channel, "bert", "still here");
    must_refuse(waiting, SEND_REACTION, "no id");
    parts = send_text(channel, "carl", "This text is longer than forty characters, so it has two parts.");
    run_all();
    must_refuse(parts, SEND_EDIT, "several parts");
    MUST("UPDATE contacts SET opted_out_ms = 5, opted_out_by = 1");
    must_refuse(sent_id, SEND_EDIT, "no more messages");
    must_queue(sent_id, SEND_DELETE, NULL);
    run_all();
    must_refuse(sent_id, SEND_REACTION, "deleted");
    MUST("UPDATE channels SET state = 1");
    must_refuse(came_id, SEND_REACTION, "disabled");
}

/* Somebody opts out while an act waits. */
static void test_opting_out_stops_what_waits(void **state)
{
    (void)state;
    set_up_thread("acting");
    must_queue(came_id, SEND_REACTION, "+1");
    must_queue(sent_id, SEND_DELETE, NULL);
    MUST("UPDATE contacts SET opted_out_ms = 5, opted_out_by = 1");
    run_all();
    assert_int_equal(peer.count, 1);
    assert_int_equal(peer.sent[0].act, SEND_DELETE);
    assert_int_equal(number("SELECT count(*) FROM acts WHERE state = 14"), 1);
}

/* --- Reading, groups, typing -------------------------------------------------------------------------------------- */

static int read_tx(struct db_session *tx, void *arg, struct err *err)
{
    return act_queue_reading(tx, arg, err);
}

static void test_the_newest_of_each_conversation_is_read(void **state)
{
    struct err err = { 0 };
    int64_t ids[4];
    struct act_reading reading = { .tenant_id = TENANT, .ids = ids, .count = 4, .at_ms = 5 };

    (void)state;
    set_up_thread("acting");
    ids[0] = say(channel, "anna", "second");
    ids[1] = came_id;
    ids[2] = say(channel, "bert", "other");
    ids[3] = say(add_channel("test", NULL), "anna", "on another channel");
    reading.first_id = ids_take(hub.ids, 4, &err);
    assert_int_equal(db_write(hub.db, read_tx, &reading, &err), 0);
    assert_int_equal(number("SELECT count(*) FROM acts"), 2);
    assert_int_equal(NUMBER("SELECT count(*) FROM acts WHERE message_id IN (%lld, %lld)", (long long)ids[0],
                            (long long)ids[2]), 2);
}

static void test_a_group_is_named(void **state)
{
    struct channel_event event = { .kind = CHANNEL_MESSAGE, .group = STR("team"), .address = STR("anna"),
        .text = STR("hi all"), .external_id = STR("g1") };
    struct outbox_request request = { .tenant_id = TENANT, .text = STR("hello team"), .origin = ORIGIN_PERSON };
    int64_t id;

    (void)state;
    channel = add_channel("acting", NULL);
    id = say_event(channel, &event);
    request.conversation_id = number("SELECT id FROM conversations");
    send_request(&request);
    must_queue(id, SEND_REACTION, "+1");
    run_all();
    assert_string_equal(peer.sent[0].conversation, "team");
    assert_int_equal(peer.sent[1].act, SEND_REACTION);
    assert_string_equal(peer.sent[1].conversation, "team");
    send_text(channel, "bert", "alone");
    run_all();
    assert_string_equal(peer.sent[2].conversation, "");
}

static void test_typing_is_shown_at_once(void **state)
{
    struct act_typing typing = { .tenant_id = TENANT };
    struct err err = { 0 };

    (void)state;
    set_up_thread("acting");
    typing.conversation_id = number("SELECT id FROM conversations");
    assert_int_equal(act_type(&hub, &typing, &err), 1);
    typing.off = true;
    peer.always = SEND_RETRY;
    assert_int_equal(act_type(&hub, &typing, &err), 0);
    assert_int_equal(peer.count, 2);
    assert_int_equal(peer.sent[0].act, SEND_TYPING);
    assert_string_equal(peer.sent[0].to, "anna");
    assert_string_equal(peer.sent[1].text, "off");
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    typing.tenant_id = 2;
    assert_int_equal(act_type(&hub, &typing, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    forget_peers();
    set_up_thread("test");
    typing = (struct act_typing){ .tenant_id = TENANT,
        .conversation_id = NUMBER("SELECT id FROM conversations WHERE channel_id = %lld", (long long)channel) };
    err = (struct err){ 0 };
    assert_int_equal(act_type(&hub, &typing, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_done_goes_out_in_order), TEST(test_one_reaction_at_a_time), TEST(test_the_lane_is_shared),
        TEST(test_an_unsure_act_is_repeated), TEST(test_a_refused_act_changes_nothing),
        TEST(test_a_dead_worker_is_followed), TEST(test_the_timeline_shows_it),
        TEST(test_what_a_channel_cannot_is_refused), TEST(test_what_has_no_name_is_refused),
        TEST(test_opting_out_stops_what_waits), TEST(test_the_newest_of_each_conversation_is_read),
        TEST(test_a_group_is_named), TEST(test_typing_is_shown_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
