/* Who is behind the addresses: further identifiers, contacts that turn out to be one, addresses that move. */
#include "work.h"

#include "core/contact_merge.h"

static struct inbox_result hand_in(int64_t channel_id, const struct channel_event *event)
{
    struct err err = { 0 };
    struct inbox_result result = { 0 };
    struct inbox_write write = { .tenant_id = TENANT, .channel_id = channel_id, .events = event, .count = 1,
        .results = &result };

    if (inbox_accept(&hub, arena, &write, &err))
        fail_msg("inbox: %s", err.detail);
    return result;
}

/* A message from `from`, who is also `alias`. */
static int64_t say_as(int64_t channel_id, const char *from, const char *alias, const char *text)
{
    static int count;
    const struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = str_c(from), .aliases = { str_c(alias) },
        .text = str_c(text), .external_id = str_c(arena_printf(arena, "as-%d", count++)) };
    struct inbox_result result = hand_in(channel_id, &event);

    assert_int_equal(result.outcome, INBOX_STORED);
    return result.message_id;
}

static struct inbox_result move(int64_t channel_id, const char *from, const char *to)
{
    const struct channel_event event = { .kind = CHANNEL_MOVED, .address = str_c(from), .text = str_c(to) };

    return hand_in(channel_id, &event);
}

/* The texts of the only conversation in its order, joined. */
static const char *thread(void)
{
    struct err err = { 0 };
    struct db_session *session = db_read(hub.db, 0, &err);
    struct db_rows *rows = db_query(session, "SELECT text FROM messages ORDER BY conversation_id, position",
                                    DB_NO_ARGS, &err);
    const char *all = "";

    while (rows && db_next(rows, &err) == 1)
        all = arena_printf(arena, "%s%s%.*s", all, *all ? " " : "", STR_FMT(db_col_text(rows, 0)));
    db_read_end(session);
    return all;
}

/* What holds whatever happened: places without gaps, and everything in a thread that there is. */
static void check_whole(void)
{
    assert_int_equal(number("SELECT count(*) FROM conversations c WHERE c.last_position <> (SELECT count(*) "
                            "FROM messages m WHERE m.conversation_id = c.id)"), 0);
    assert_int_equal(number("SELECT count(*) FROM messages m WHERE NOT EXISTS (SELECT 1 FROM conversations c "
                            "JOIN contacts k ON k.id = c.contact_id AND k.address = c.peer "
                            "WHERE c.id = m.conversation_id AND k.id = m.contact_id)"), 0);
    assert_int_equal(number("SELECT count(*) FROM jobs j WHERE NOT EXISTS (SELECT 1 FROM conversations c "
                            "WHERE c.id = j.lane AND c.id = j.conversation_id)"), 0);
    assert_int_equal(number("SELECT count(*) FROM identities i JOIN contacts k ON k.channel_id = i.channel_id "
                            "AND k.address = i.address WHERE i.kind = 0"), 0);
    assert_int_equal(number("SELECT count(*) FROM (SELECT lane FROM jobs WHERE kind = 1 GROUP BY lane "
                            "HAVING sum(head) = 0 AND min(state) = 0) x"), 0);
}

static void test_an_alias_leads_to_the_same_thread(void **state)
{
    int64_t channel = add_channel("lookup", NULL), contact;

    (void)state;
    say_as(channel, "lid-1", "+49301", "one");
    contact = number("SELECT id FROM contacts");
    say_as(channel, "+49301", NULL, "two");
    say_as(channel, "lid-1", "+49301", "three");
    say_as(channel, "+49301", "lid-1", "four");
    send_text(channel, "+49301", "five");
    assert_int_equal(number("SELECT count(*) FROM conversations"), 1);
    assert_int_equal(number("SELECT count(*) FROM contacts"), 1);
    assert_int_equal(number("SELECT count(*) FROM identities WHERE address = '+49301' AND kind = 0"), 1);
    assert_int_equal(NUMBER("SELECT count(*) FROM messages WHERE contact_id = %lld", (long long)contact), 5);
    assert_string_equal(thread(), "one two three four five");
    send_once(NULL);
    assert_string_equal(peer.sent[0].to, "lid-1");
    /* on another channel the same text is somebody else */
    say_as(add_channel("lookup", NULL), "+49301", NULL, "other");
    assert_int_equal(number("SELECT count(*) FROM contacts"), 2);
    check_whole();
}

/* Two lines of one webhook, the first of which says who the second is from. */
static void test_one_webhook_says_who_it_is(void **state)
{
    const struct channel_event events[] = {
        { .kind = CHANNEL_MESSAGE, .address = STR("lid-1"), .aliases = { STR("+49301") }, .text = STR("one"),
          .external_id = STR("e1") },
        { .kind = CHANNEL_MESSAGE, .address = STR("+49301"), .text = STR("two"), .external_id = STR("e2") },
    };
    struct inbox_result results[2] = { 0 };
    struct inbox_write write = { .tenant_id = TENANT, .channel_id = add_channel("lookup", NULL), .events = events,
        .count = 2, .results = results };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(inbox_accept(&hub, arena, &write, &err), 0);
    assert_int_equal(number("SELECT count(*) FROM conversations"), 1);
    assert_string_equal(thread(), "one two");
    check_whole();
}

/* A number gets a new owner: its old owner's thread is not his. User names change hands at any time. */
static void test_a_recycled_number_is_somebody_else(void **state)
{
    int64_t channel = add_channel("lookup", NULL);

    (void)state;
    say_as(channel, "lid-1", "+49301", "one");
    say_as(channel, "lid-2", "+49301", "two");
    assert_int_equal(number("SELECT count(*) FROM conversations"), 2);
    assert_int_equal(number("SELECT count(*) FROM identities i JOIN contacts k ON k.id = i.contact_id "
                            "WHERE k.address = 'lid-2' AND i.address = '+49301'"), 1);
    say_as(channel, "lid-1", "@anna", "three");
    say_as(channel, "lid-3", "@anna", "four");
    say_as(channel, "@anna", NULL, "five");
    assert_int_equal(number("SELECT count(*) FROM contacts"), 4);
    check_whole();
}

/* Two threads grew beside each other, with things queued, decided and noted in both, until one word joins them. */
static void test_two_contacts_are_one(void **state)
{
    int64_t channel = add_channel("lookup", NULL), kept, lost, queued, later, before;

    (void)state;
    say_as(channel, "lid-1", NULL, "a1");
    pass_ms(1000);
    say_as(channel, "+49301", NULL, "b1");
    pass_ms(1000);
    say_as(channel, "lid-1", NULL, "a2");
    pass_ms(1000);
    queued = send_text(channel, "+49301", "b2");
    later = send_text(channel, "lid-1", "a3");
    kept = number("SELECT id FROM contacts WHERE address = 'lid-1'");
    lost = number("SELECT id FROM contacts WHERE address = '+49301'");
    MUST("UPDATE contacts SET name = 'Anna', opted_out_ms = NULL WHERE id = %lld", (long long)kept);
    MUST("UPDATE contacts SET name = 'A. Berg', time_zone = 'Europe/Berlin', metadata = '{\"no\":7}' WHERE id = %lld",
         (long long)lost);
    before = number("SELECT count(*) FROM messages");
    pass_ms(1000);
    say_as(channel, "lid-1", "+49301", "a4");
    assert_int_equal(number("SELECT count(*) FROM messages"), before + 1);
    assert_int_equal(number("SELECT count(*) FROM contacts"), 1);
    assert_int_equal(number("SELECT count(*) FROM conversations"), 1);
    assert_int_equal(number("SELECT id FROM contacts"), kept);
    assert_string_equal(thread(), "a1 b1 a2 a3 b2 a4");
    assert_string_equal(text_of("SELECT name FROM contacts"), "Anna");
    assert_string_equal(text_of("SELECT time_zone FROM contacts"), "Europe/Berlin");
    assert_string_equal(text_of("SELECT metadata FROM contacts"), "{\"no\":7}");
    /* what was not taken over stands in the log */
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind = 'contact.merged' AND data LIKE '%A. Berg%' "
                            "AND data LIKE '%+49301%'"), 1);
    check_whole();
    /* queued messages go to the address that they were written for, once each, in one lane */
    run_all();
    assert_int_equal(state_of(queued), MESSAGE_SENT);
    assert_int_equal(state_of(later), MESSAGE_SENT);
    assert_int_equal(peer.count, 2);
    assert_string_equal(peer.sent[0].to, "lid-1");
    assert_string_equal(peer.sent[1].to, "+49301");
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE state IN (0, 1)"), 0);
    /* from now on either address is the one thread */
    say_as(channel, "+49301", NULL, "b5");
    assert_int_equal(number("SELECT count(*) FROM conversations"), 1);
    check_whole();
}

/* While both are being sent to: no result is lost, nothing is sent twice, the lane goes on. */
static enum send_outcome merge_meanwhile(const struct send_job *job, struct send_result *result)
{
    static const struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = STR("lid-1"),
        .aliases = { STR("+49301") }, .text = STR("it is me"), .external_id = STR("joins") };

    (void)result;
    hand_in(number("SELECT id FROM channels WHERE kind = 'lookup'"), &event);
    result->external_id = str_c(arena_printf(job->arena, "ext-%s", job->key));
    return strcmp(job->to, "lid-1") == 0 && job->attempt == 1 ? SEND_RETRY : SEND_DONE;
}

static void test_merging_under_way(void **state)
{
    int64_t channel = add_channel("lookup", NULL), first, ids[4];

    (void)state;
    say_as(channel, "lid-1", NULL, "hi");
    pass_ms(10);
    first = say_as(channel, "+49301", NULL, "ho");
    ids[0] = send_text(channel, "lid-1", "a");
    ids[1] = send_text(channel, "lid-1", "b");
    ids[2] = send_text(channel, "+49301", "c");
    ids[3] = send_text(channel, "+49301", "d");
    assert_true(first > 0);
    peer.decide = merge_meanwhile;
    for (int i = 0; i < 20; i++) {
        run_all();
        pass_ms(60 * 1000);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(state_of(ids[i]), MESSAGE_SENT);
    assert_int_equal(number("SELECT count(*) FROM contacts"), 1);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    assert_int_equal(number("SELECT count(*) FROM attempts WHERE outcome = 1"), 4);
    check_whole();
}

static void test_who_said_no_still_says_no(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    say_as(channel, "+49302", NULL, "hi");
    pass_ms(10);
    say_as(channel, "+49301", NULL, "STOP");
    run_all();
    say_as(channel, "+49302", "+49301", "it is me");
    assert_int_equal(number("SELECT count(*) FROM contacts WHERE opted_out_by = 1 AND opted_out_ms IS NOT NULL "
                            "AND opted_out_text = 'STOP' AND address = '+49302'"), 1);
    check_whole();
}

/* --- Moving ------------------------------------------------------------------------------------------------------ */

static void test_a_contact_moves_with_what_is_queued(void **state)
{
    int64_t channel = add_channel("lookup", NULL), contact, conversation, queued, scheduled;
    struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel, .to = STR("old"),
        .text = STR("later"), .origin = ORIGIN_PERSON };

    (void)state;
    say(channel, "old", "hi");
    contact = number("SELECT id FROM contacts");
    conversation = number("SELECT id FROM conversations");
    queued = send_text(channel, "old", "soon");
    request.scheduled_ms = clock_ms() + 5000;
    scheduled = send_request(&request);
    assert_int_equal(move(channel, "nobody", "new").outcome, INBOX_IGNORED);
    assert_int_equal(move(channel, "old", "").outcome, INBOX_REFUSED);
    assert_int_equal(move(channel, "old", "new").outcome, INBOX_STORED);
    assert_int_equal(move(channel, "old", "new").outcome, INBOX_IGNORED);
    assert_int_equal(NUMBER("SELECT count(*) FROM contacts WHERE address = 'new' AND id = %lld", (long long)contact),
                     1);
    run_all();
    pass_ms(6000);
    run_all();
    assert_int_equal(state_of(queued), MESSAGE_SENT);
    assert_int_equal(state_of(scheduled), MESSAGE_SENT);
    assert_string_equal(peer.sent[0].to, "new");
    assert_string_equal(peer.sent[1].to, "new");
    say(channel, "new", "here");
    assert_int_equal(NUMBER("SELECT count(*) FROM messages WHERE conversation_id = %lld", (long long)conversation), 4);
    /* the old address may get another owner */
    say(channel, "old", "who is this");
    assert_int_equal(number("SELECT count(*) FROM contacts"), 2);
    check_whole();
}

static void test_moving_to_where_somebody_is(void **state)
{
    int64_t channel = add_channel("lookup", NULL), contact;

    (void)state;
    say(channel, "old", "one");
    contact = number("SELECT id FROM contacts");
    pass_ms(10);
    say(channel, "new", "two");
    pass_ms(10);
    say(channel, "old", "three");
    assert_int_equal(move(channel, "old", "new").outcome, INBOX_STORED);
    assert_int_equal(number("SELECT id FROM contacts"), contact);
    assert_int_equal(number("SELECT count(*) FROM conversations WHERE peer = 'new'"), 1);
    assert_int_equal(number("SELECT count(*) FROM identities"), 0);
    assert_string_equal(thread(), "one two three");
    check_whole();
}

/* What moved was one of its further identifiers. */
static void test_an_alias_moves(void **state)
{
    int64_t channel = add_channel("lookup", NULL);

    (void)state;
    say_as(channel, "lid-1", "+49301", "one");
    assert_int_equal(move(channel, "+49301", "+49302").outcome, INBOX_STORED);
    say(channel, "+49302", "two");
    assert_int_equal(number("SELECT count(*) FROM conversations WHERE peer = 'lid-1'"), 1);
    assert_string_equal(thread(), "one two");
    say(channel, "+49301", "three");
    assert_int_equal(number("SELECT count(*) FROM conversations"), 2);
    check_whole();
}

static void test_a_group_moves(void **state)
{
    int64_t channel = add_channel("lookup", NULL), group;
    struct channel_event event = { .kind = CHANNEL_MESSAGE, .group = STR("-100"), .address = STR("anna"),
        .text = STR("hi all"), .external_id = STR("g1") };
    struct outbox_request request = { .tenant_id = TENANT, .text = STR("hello group"), .origin = ORIGIN_PERSON };

    (void)state;
    hand_in(channel, &event);
    group = number("SELECT id FROM conversations");
    request.conversation_id = group;
    send_request(&request);
    event = (struct channel_event){ .kind = CHANNEL_MOVED, .group = STR("-100"), .text = STR("-100200") };
    assert_int_equal(hand_in(channel, &event).outcome, INBOX_STORED);
    run_all();
    assert_int_equal(peer.count, 1);
    assert_string_equal(peer.sent[0].to, "-100200");
    event = (struct channel_event){ .kind = CHANNEL_MESSAGE, .group = STR("-100200"), .address = STR("anna"),
        .text = STR("still here"), .external_id = STR("g2") };
    hand_in(channel, &event);
    assert_int_equal(NUMBER("SELECT count(*) FROM messages WHERE conversation_id = %lld", (long long)group), 3);
}

static void test_a_send_says_where_it_went(void **state)
{
    int64_t channel = add_channel("lookup", NULL), first = send_text(channel, "old", "one"), next;

    (void)state;
    next = send_text(channel, "old", "two");
    peer.result.moved_to = STR("new");
    send_once(NULL);
    assert_int_equal(state_of(first), MESSAGE_SENT);
    assert_int_equal(number("SELECT count(*) FROM contacts WHERE address = 'new'"), 1);
    send_once(NULL);
    assert_int_equal(state_of(next), MESSAGE_SENT);
    assert_string_equal(peer.sent[1].to, "new");
    check_whole();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_alias_leads_to_the_same_thread), TEST(test_one_webhook_says_who_it_is),
        TEST(test_a_recycled_number_is_somebody_else), TEST(test_two_contacts_are_one),
        TEST(test_merging_under_way), TEST(test_who_said_no_still_says_no),
        TEST(test_a_contact_moves_with_what_is_queued), TEST(test_moving_to_where_somebody_is),
        TEST(test_an_alias_moves), TEST(test_a_group_moves), TEST(test_a_send_says_where_it_went),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
