/* One person behind contacts of several channels: links that leave no trace when they are taken back. */
#include "work.h"

#include "core/person.h"

static int link_tx(struct db_session *tx, void *arg, struct err *err)
{
    return person_link(tx, arg, err) < 0 ? -1 : 0;
}

static int unlink_tx(struct db_session *tx, void *arg, struct err *err)
{
    return person_unlink(tx, arg, err) < 0 ? -1 : 0;
}

static struct person_link pair_of(int64_t contact_id, int64_t other_id)
{
    struct err err = { 0 };

    return (struct person_link){ .tenant_id = TENANT, .contact_id = contact_id, .other_id = other_id,
                                 .person_id = ids_next(hub.ids, &err), .at_ms = clock_ms() };
}

static enum err_code link_them(int64_t contact_id, int64_t other_id)
{
    struct person_link pair = pair_of(contact_id, other_id);
    struct err err = { 0 };

    return db_write(hub.db, link_tx, &pair, &err) < 0 ? err.code : ERR_NONE;
}

static enum err_code unlink_it(int64_t contact_id)
{
    struct person_link pair = pair_of(contact_id, 0);
    struct err err = { 0 };

    return db_write(hub.db, unlink_tx, &pair, &err) < 0 ? err.code : ERR_NONE;
}

/* Every column of every row of what people see, as one text. */
static const char *export(void)
{
    static const char *const tables[] = { "messages", "conversations", "contacts", "identities", "jobs", "attempts",
        "decisions", "message_revisions", "message_reactions", "message_tags", "message_sources" };
    const char *all = "";

    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct err err = { 0 };
        struct db_session *session = db_read(hub.db, 0, &err);
        const char *row = on_postgres() ? "CAST(t AS TEXT)"
            : text_of(arena_printf(arena, "SELECT group_concat('quote(' || name || ')', ' || ''|'' || ') "
                                   "FROM pragma_table_info('%s')", tables[i]));
        const char *sql = arena_printf(arena, "SELECT %s FROM %s t ORDER BY 1", row, tables[i]);
        struct db_rows *rows = db_query(session, sql, DB_NO_ARGS, &err);

        if (!rows)
            fail_msg("%s: %s", sql, err.detail);
        all = arena_printf(arena, "%s\n%s", all, tables[i]);
        while (db_next(rows, &err) == 1)
            all = arena_printf(arena, "%s\n%.*s", all, STR_FMT(db_col_text(rows, 0)));
        db_read_end(session);
    }
    return all;
}

static int64_t contact_at(const char *address)
{
    return NUMBER("SELECT id FROM contacts WHERE address = '%s'", address);
}

static int64_t person_of(const char *address)
{
    return NUMBER("SELECT COALESCE(person_id, 0) FROM contacts WHERE address = '%s'", address);
}

static void set_up_people(void)
{
    int64_t sms = add_channel("test", NULL), chat = add_channel("lookup", NULL);

    say(sms, "+49301", "by sms");
    pass_ms(1000);
    say(chat, "anna", "by chat");
    pass_ms(1000);
    send_text(sms, "+49301", "an answer by sms");
    pass_ms(1000);
    say(chat, "bert", "somebody else");
    run_all();
    pass_ms(5000);
}

static void test_undo_leaves_no_trace(void **state)
{
    const char *before;

    (void)state;
    set_up_people();
    before = export();
    assert_true(strlen(before) > 500);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(link_them(contact_at("+49301"), contact_at("anna")), ERR_NONE);
        assert_int_equal(person_of("+49301"), person_of("anna"));
        assert_true(person_of("anna") > 0);
        assert_string_not_equal(export(), before);
        assert_int_equal(unlink_it(contact_at(i ? "anna" : "+49301")), ERR_NONE);
        assert_string_equal(export(), before);
    }
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind = 'contact.linked'"), 4);
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind = 'contact.unlinked'"), 4);
}

static void test_three_are_one_person(void **state)
{
    int64_t person;

    (void)state;
    set_up_people();
    assert_int_equal(link_them(contact_at("+49301"), contact_at("anna")), ERR_NONE);
    person = person_of("anna");
    assert_int_equal(link_them(contact_at("+49301"), contact_at("anna")), ERR_NONE);
    assert_int_equal(link_them(contact_at("bert"), contact_at("anna")), ERR_NONE);
    assert_int_equal(person_of("bert"), person);
    assert_int_equal(unlink_it(contact_at("anna")), ERR_NONE);
    assert_int_equal(person_of("anna"), 0);
    assert_int_equal(person_of("bert"), person);
    assert_int_equal(person_of("+49301"), person);
    assert_int_equal(unlink_it(contact_at("anna")), ERR_NONE);
    assert_int_equal(link_them(contact_at("anna"), contact_at("anna")), ERR_CONFLICT);
    assert_int_equal(link_them(contact_at("anna"), 4711), ERR_NOT_FOUND);
    assert_int_equal(unlink_it(4711), ERR_NOT_FOUND);
}

static void test_two_persons_are_not_joined(void **state)
{
    int64_t chat;

    (void)state;
    set_up_people();
    chat = number("SELECT channel_id FROM contacts WHERE address = 'bert'");
    say(chat, "carl", "a fourth");
    assert_int_equal(link_them(contact_at("+49301"), contact_at("anna")), ERR_NONE);
    assert_int_equal(link_them(contact_at("bert"), contact_at("carl")), ERR_NONE);
    assert_int_equal(link_them(contact_at("bert"), contact_at("anna")), ERR_CONFLICT);
    assert_true(person_of("bert") != person_of("anna"));
}

static void test_the_thread_over_all_channels(void **state)
{
    struct person_page page = { .tenant_id = TENANT, .limit = 10 };
    struct err err = { 0 };
    struct db_session *session;
    struct message *messages;

    (void)state;
    set_up_people();
    assert_int_equal(link_them(contact_at("+49301"), contact_at("anna")), ERR_NONE);
    page.contact_id = contact_at("anna");
    session = db_read(hub.db, TENANT, &err);
    assert_int_equal(person_messages(session, arena, &page, &messages, &err), 3);
    assert_true(str_is(messages[0].text, "an answer by sms"));
    assert_true(str_is(messages[1].text, "by chat"));
    assert_true(str_is(messages[2].text, "by sms"));
    page.before_ms = messages[0].times.received_ms;
    page.before_id = messages[0].id;
    page.limit = 1;
    assert_int_equal(person_messages(session, arena, &page, &messages, &err), 1);
    assert_true(str_is(messages[0].text, "by chat"));
    /* somebody without a person has their own messages */
    page = (struct person_page){ .tenant_id = TENANT, .limit = 10, .contact_id = contact_at("bert") };
    assert_int_equal(person_messages(session, arena, &page, &messages, &err), 1);
    page.tenant_id = 2;
    assert_int_equal(person_messages(session, arena, &page, &messages, &err), 0);
    db_read_end(session);
}

static int suggestions(const char *address, int64_t ids[PERSON_SAME_MAX])
{
    struct contact contact = { .tenant_id = TENANT, .id = contact_at(address) };
    struct err err = { 0 };
    struct db_session *session = db_read(hub.db, TENANT, &err);
    int count;

    assert_int_equal(contact_get(session, arena, &contact, &err), 1);
    count = person_same(session, &contact, ids, &err);
    db_read_end(session);
    return count;
}

static void test_equal_numbers_are_suggested(void **state)
{
    int64_t first = add_channel("lookup", NULL), second = add_channel("lookup", NULL), ids[PERSON_SAME_MAX];
    struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = STR("lid-1"),
        .aliases = { STR("+491701234567") }, .text = STR("hi"), .external_id = STR("s1") };

    (void)state;
    say(first, "+491701234567", "hi");
    say(first, "a@b.example", "hi");
    say(first, "anna", "hi");
    say(second, "anna", "hi");
    say_event(second, &event);
    assert_int_equal(suggestions("+491701234567", ids), 1);
    assert_int_equal(ids[0], contact_at("lid-1"));
    assert_int_equal(suggestions("lid-1", ids), 1);
    assert_int_equal(suggestions("a@b.example", ids), 0);
    say(second, "a@b.example", "hi");
    MUST("UPDATE contacts SET name = 'second' WHERE address = 'a@b.example' AND channel_id = %lld", (long long)second);
    assert_int_equal(NUMBER("SELECT count(*) FROM contacts WHERE person_id IS NOT NULL"), 0);
    assert_int_equal(suggestions("a@b.example", ids), 1);
    assert_int_equal(link_them(contact_at("+491701234567"), contact_at("lid-1")), ERR_NONE);
    assert_int_equal(suggestions("+491701234567", ids), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_undo_leaves_no_trace), TEST(test_three_are_one_person), TEST(test_two_persons_are_not_joined),
        TEST(test_the_thread_over_all_channels), TEST(test_equal_numbers_are_suggested),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
