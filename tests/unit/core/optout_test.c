#include "work.h"

#include "core/decide.h"
#include "core/optout.h"

static void knows_the_words(void **state)
{
    static const struct {
        const char *text;
        bool opted_out;
        enum optout_word word;
    } rows[] = {
        { "STOP", false, OPTOUT_STOP }, { "  \"Stop.\"  ", false, OPTOUT_STOP },
            { "opt   out", false, OPTOUT_STOP },
        { "StopAll", false, OPTOUT_STOP }, { "ARR\xc3\x8aT", false, OPTOUT_STOP },
            { "arret", false, OPTOUT_STOP },
        { "Abmelden!", false, OPTOUT_STOP }, { "BAJA", false, OPTOUT_STOP },
            { "revoke", false, OPTOUT_STOP },
        /* full-width STOP */
        { "\xef\xbc\xb3\xef\xbc\xb4\xef\xbc\xaf\xef\xbc\xb0", false, OPTOUT_STOP },
        { "please stop texting me", false, OPTOUT_NONE }, { "stop it", false, OPTOUT_NONE },
            { "", false, OPTOUT_NONE },
        { "bus stop", false, OPTOUT_NONE }, { "START", false, OPTOUT_START },
            { "unstop", true, OPTOUT_START },
        { "Yes", false, OPTOUT_NONE }, { "yes", true, OPTOUT_START },
            { "HELP", false, OPTOUT_HELP },
        { "info?", true, OPTOUT_HELP }, { "helpful", false, OPTOUT_NONE },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (optout_word(a, str_c(rows[i].text), rows[i].opted_out) != rows[i].word)
            fail_msg("\"%s\" is not %d", rows[i].text, rows[i].word);
    arena_free(a);
}

static void applies_where_promised(void **state)
{
    const struct channel_driver sms = { .can = CHANNEL_SMS }, other = { .can = CHANNEL_OPT_OUT },
        mail = { .can = 0 };

    (void)state;
    assert_true(optout_applies(&sms));
    assert_true(optout_applies(&other));
    assert_false(optout_applies(&mail));
    assert_false(optout_applies(NULL));
}

static void only_the_hub_confirms(void **state)
{
    (void)state;
    assert_true(optout_confirms(ORIGIN_AUTO, optout_metadata()));
    assert_false(optout_confirms(ORIGIN_PERSON, optout_metadata()));
    assert_false(optout_confirms(ORIGIN_AUTO, STR("{}")));
    assert_false(optout_confirms(ORIGIN_AUTO, (struct str){ 0 }));
}

static int64_t opted_out(const char *address)
{
    return NUMBER("SELECT count(*) FROM contacts WHERE address = '%s' AND opted_out_ms IS NOT NULL",
                  address);
}

static void stop_silences_and_start_lifts_it(void **state)
{
    int64_t channel = add_channel("test", "policy = 0, auto_reply = 'hello'"), waiting, later;

    (void)state;
    say(channel, "+49301", "hi");
    run_all();
    assert_int_equal(messages_sent(), 1);
    waiting = send_text(channel, "+49301", "an offer");
    say(channel, "+49301", "Stop!");
    assert_int_equal(decide_once(), 1);
    assert_int_equal(opted_out("+49301"), 1);
    run_all();
    /* The one confirmation went out, what was queued before did not. */
    assert_int_equal(messages_sent(), 2);
    assert_true(str_starts(str_c(peer.sent[1].text), "You are unsubscribed"));
    assert_int_equal(state_of(waiting), MESSAGE_SUPPRESSED);
    assert_int_equal(number("SELECT action FROM decisions ORDER BY id DESC LIMIT 1"),
                     DECISION_OPT_OUT);

    say(channel, "+49301", "STOP");
    run_all();
    assert_int_equal(messages_sent(), 2);
    later = send_text(channel, "+49301", "another offer");
    say(channel, "+49301", "but I have a question");
    run_all();
    assert_int_equal(messages_sent(), 2);
    assert_int_equal(state_of(later), MESSAGE_SUPPRESSED);

    say(channel, "+49301", "START");
    run_all();
    assert_int_equal(opted_out("+49301"), 0);
    assert_int_equal(messages_sent(), 3);
    send_text(channel, "+49301", "welcome back");
    run_all();
    assert_int_equal(messages_sent(), 4);
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind IN ('contact.opted_out', "
                            "'contact.opted_in')"), 2);
}

static void other_channels_take_it_as_text(void **state)
{
    int64_t channel = add_channel("lookup", "policy = 0, auto_reply = 'hello'");

    (void)state;
    say(channel, "anna", "stop");
    run_all();
    assert_int_equal(opted_out("anna"), 0);
    assert_string_equal(peer.sent[0].text, "hello");
}

static void a_word_lifts_no_providers_block(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    say(channel, "+49301", "hi");
    run_all();
    must("UPDATE contacts SET opted_out_ms = 5, opted_out_by = 2, opted_out_text = '21610'");
    say(channel, "+49301", "START");
    run_all();
    assert_int_equal(opted_out("+49301"), 1);
}

/* --- What the provider says -------------------------------------------------------------------- */

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

static struct inbox_result report(int64_t channel_id, enum channel_event_kind kind, const char *address)
{
    const struct channel_event event = { .kind = kind, .address = str_c(address), .code = STR("21610") };

    return hand_in(channel_id, &event);
}

static void a_provider_blocks_and_lifts(void **state)
{
    int64_t channel = add_channel("test", NULL), waiting;

    (void)state;
    assert_int_equal(report(channel, CHANNEL_OPTED_IN, "+49301").outcome, INBOX_IGNORED);
    assert_int_equal(report(channel, CHANNEL_OPTED_OUT, "").outcome, INBOX_REFUSED);
    waiting = send_text(channel, "+49301", "written before");
    assert_int_equal(report(channel, CHANNEL_OPTED_OUT, "+49301").outcome, INBOX_STORED);
    assert_int_equal(number("SELECT count(*) FROM contacts WHERE opted_out_by = 2 AND opted_out_text = '21610' "
                            "AND opted_out_ms > 0"), 1);
    /* what was queued is looked at again when it is claimed */
    run_all();
    assert_int_equal(state_of(waiting), MESSAGE_SUPPRESSED);
    assert_int_equal(peer.count, 0);
    say(channel, "+49301", "START");
    run_all();
    assert_int_equal(opted_out("+49301"), 1);
    assert_int_equal(peer.count, 0);        /* "You are subscribed again" would be a lie */
    assert_int_equal(report(channel, CHANNEL_OPTED_IN, "+49301").outcome, INBOX_STORED);
    assert_int_equal(opted_out("+49301"), 0);
    assert_int_equal(number("SELECT count(*) FROM contacts WHERE opted_out_by = 0 AND opted_out_text IS NULL"), 1);
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind = 'contact.opted_out'"), 1);
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind = 'contact.opted_in'"), 1);
}

/* Each voice is lifted by itself. */
static void two_voices_are_kept_apart(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    say(channel, "+49301", "STOP");
    run_all();
    report(channel, CHANNEL_OPTED_OUT, "+49301");
    assert_int_equal(number("SELECT opted_out_by FROM contacts"), 3);
    assert_string_equal(text_of("SELECT opted_out_text FROM contacts"), "STOP");
    report(channel, CHANNEL_OPTED_IN, "+49301");
    assert_int_equal(number("SELECT opted_out_by FROM contacts"), 1);
    assert_int_equal(opted_out("+49301"), 1);
    report(channel, CHANNEL_OPTED_OUT, "+49301");
    say(channel, "+49301", "START");
    run_all();
    assert_int_equal(number("SELECT opted_out_by FROM contacts"), 2);
    assert_int_equal(opted_out("+49301"), 1);
}

/* A no from somebody who was never heard of. */
static void a_stranger_may_say_no(void **state)
{
    int64_t channel = add_channel("test", NULL), id;

    (void)state;
    assert_int_equal(report(channel, CHANNEL_OPTED_OUT, "+49302").outcome, INBOX_STORED);
    assert_int_equal(report(channel, CHANNEL_OPTED_OUT, "+49302").outcome, INBOX_STORED);
    assert_int_equal(number("SELECT count(*) FROM contacts"), 1);
    assert_int_equal(number("SELECT count(*) FROM conversations"), 0);
    id = send_text(channel, "+49302", "hello");
    run_all();
    assert_int_equal(state_of(id), MESSAGE_SUPPRESSED);
    assert_int_equal(number("SELECT count(*) FROM contacts"), 1);
}

/* The answer to a send says it. */
static void a_refused_send_opts_out(void **state)
{
    int64_t channel = add_channel("test", NULL), first = send_text(channel, "+49301", "one"), next;

    (void)state;
    next = send_text(channel, "+49301", "two");
    peer.always = SEND_REFUSED;
    peer.result = (struct send_result){ .opted_out = true, .code = STR("21610"), .hint = STR("Unsubscribed.") };
    run_all();
    assert_int_equal(state_of(first), MESSAGE_FAILED);
    assert_int_equal(state_of(next), MESSAGE_SUPPRESSED);
    assert_int_equal(peer.count, 1);
    assert_int_equal(number("SELECT opted_out_by FROM contacts"), 2);
    assert_string_equal(text_of("SELECT opted_out_text FROM contacts"), "Unsubscribed.");
}

static void help_says_what_the_channel_says(void **state)
{
    int64_t own = add_channel("test", "help_text = 'Call 555'"), other = add_channel("test", NULL);

    (void)state;
    say(own, "+49301", "HELP");
    say(other, "+49301", "Info");
    run_all();
    assert_int_equal(messages_sent(), 2);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE direction = 1 AND text = 'Call 555'"), 1);
    assert_int_equal(number("SELECT count(*) FROM messages WHERE direction = 1 AND text LIKE 'Reply STOP%'"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_words), cmocka_unit_test(applies_where_promised),
        cmocka_unit_test(only_the_hub_confirms),
        cmocka_unit_test_setup_teardown(stop_silences_and_start_lifts_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_channels_take_it_as_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_word_lifts_no_providers_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_provider_blocks_and_lifts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_voices_are_kept_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stranger_may_say_no, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_send_opts_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(help_says_what_the_channel_says, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("optout", tests, NULL, NULL);
}
