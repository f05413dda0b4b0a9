#include "work.h"

#include "base/json.h"
#include "core/decide.h"
#include "core/rule.h"

/* --- Pure ------------------------------------------------------------------------------------- */

static struct arena *mine;

static int begin(void **state)
{
    (void)state;
    mine = arena_new(0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(mine);
    return 0;
}

static struct fields *fields_of(const struct field *table, const char *json)
{
    struct err err = { 0 };
    struct fields *fields = arena_alloc(mine, sizeof *fields);
    struct json *object = json_parse(mine, str_c(json), &err);

    if (!object || field_read_json(mine, table, object, fields, &err))
        fail_msg("%s: %s", json, err.detail);
    return fields;
}

static struct rule_parsed rule_of(const char *name, const char *matches, const char *actions)
{
    return (struct rule_parsed){ .id = 1, .name = name,
        .matches = fields_of(rule_match_fields, matches),
        .actions = fields_of(rule_action_fields, actions) };
}

static const struct rule_subject subject = { .channel = "office", .kind = "sandbox",
    .channel_id = 7,
    .sender = { "+4930123456", 11 }, .name = { "Anna", 4 },
        .text = { "What is the Price, please?", 26 },
    .type = { "sms", 3 } };

static void matches(void **state)
{
    static const struct {
        const char *matches;
        bool hit;
    } rows[] = {
        { "{}", true },
        { "{\"channel\":\"office\"}", true }, { "{\"channel\":\"home\"}", false },
        { "{\"kind\":\"sandbox\"}", true }, { "{\"kind\":\"android\"}", false },
        { "{\"sender\":\"+4930123456\"}", true }, { "{\"sender\":\"+4930*\"}", true },
            { "{\"sender\":\"+4931*\"}", false },
        { "{\"sender\":\"*\"}", true }, { "{\"sender\":\"+493012345\"}", false },
        { "{\"any\":[\"offer\",\"PRICE\"]}", true }, { "{\"any\":[\"pric\"]}", false },
            { "{\"any\":[\"offer\"]}", false },
        { "{\"all\":[\"price\",\"please\"]}", true }, { "{\"all\":[\"price\",\"offer\"]}", false },
        { "{\"any\":[\"the price\"]}", true },
        { "{\"contains\":\"pric\"}", true }, { "{\"contains\":\"rate\"}", false },
        { "{\"equals\":\"what is the price, please\"}", true }, { "{\"equals\":\"price\"}", false },
        { "{\"prefix\":\"WHAT\"}", true }, { "{\"prefix\":\"is\"}", false },
        { "{\"type\":\"sms\"}", true }, { "{\"type\":\"mms\"}", false },
        { "{\"kind\":\"sandbox\",\"any\":[\"price\"],\"sender\":\"+49*\"}", true },
        { "{\"kind\":\"sandbox\",\"any\":[\"price\"],\"sender\":\"+1*\"}", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rule_parsed rule = rule_of("r", rows[i].matches, "{\"stop\":true}");
        if (rule_matches(mine, &rule, &subject) != rows[i].hit)
            fail_msg("%s should %smatch", rows[i].matches, rows[i].hit ? "" : "not ");
    }
}

static void says_what_is_wrong(void **state)
{
    static const struct {
        const char *matches, *actions, *field;
    } rows[] = {
        { "[]", "{\"stop\":true}", "matches" },
        { "{\"any\":[]", "{\"stop\":true}", "matches" },
        { "{\"senders\":\"x\"}", "{\"stop\":true}", "matches.senders" },
        { "{\"sender\":\"+49*30\"}", "{\"stop\":true}", "matches.sender" },
        { "{\"contains\":\"?!\"}", "{\"stop\":true}", "matches.contains" },
        { "{\"any\":[\"...\"]}", "{\"stop\":true}", "matches.any" },
        { "{\"type\":\"fax\"}", "{\"stop\":true}", "matches.type" },
        { "{}", "{}", "actions" },
        { "{}", "{\"tags\":[\"\"]}", "actions.tags[0]" },
        { "{}", "{\"priority\":\"high\"}", "actions.priority" },
        { "{}", "{\"forward\":[{\"channel\":\"a\"}]}", "actions.forward" },
        { "{}", "{\"forward\":[{\"channel\":\"a\",\"to\":\"b\",\"url\":\"https://c.example\"}]}",
            "actions.forward" },
        { "{}", "{\"answer\":\"\"}", "actions.answer" },
        { "{}", "{\"agent\":\"on\"}", "actions.agent" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = { 0 };
        if (rule_check(mine, str_c(rows[i].matches), str_c(rows[i].actions), &err) == 0)
            fail_msg("%s %s was taken", rows[i].matches, rows[i].actions);
        if (strcmp(err.field, rows[i].field) != 0)
            fail_msg("%s %s: field %s: %s", rows[i].matches, rows[i].actions, err.field,
                     err.detail);
        assert_true(err.detail[0] != '\0');
    }
}

static void adds_up_in_order(void **state)
{
    struct rule_parsed rules[] = {
        rule_of("first", "{}",
                "{\"tags\":[\"a\",\"b\"],\"answer\":\"Hi {name}: {text} "
                "{x}\",\"priority\":\"urgent\"}"),
        rule_of("other", "{\"kind\":\"android\"}", "{\"tags\":[\"never\"]}"),
        rule_of("second", "{}",
                "{\"tags\":[\"b\",\"c\"],\"answer\":\"late\",\"assign\":\"ben\",\"stop\":true}"),
        rule_of("third", "{}", "{\"tags\":[\"never\"]}"),
    };
    struct rule_list list = { rules, 4 };
    struct rule_effects effects;

    (void)state;
    rule_evaluate(mine, &list, &subject, &effects);
    assert_int_equal(effects.hit_count, 2);
    assert_int_equal(effects.tag_count, 3);
    assert_true(str_is(effects.tags[2], "c"));
    assert_true(str_is(effects.answer, "Hi Anna: What is the Price, please? {x}"));
    assert_int_equal(effects.priority, PRIORITY_URGENT);
    assert_true(str_is(effects.assign, "ben"));
    assert_ptr_equal(effects.answered_by, &rules[0]);
    assert_ptr_equal(effects.stopped_by, &rules[2]);
}

static void fills_in_no_placeholder_twice(void **state)
{
    struct rule_parsed rule = rule_of("r", "{}", "{\"answer\":\"{text}\"}");
    struct rule_list list = { &rule, 1 };
    struct rule_subject sly = subject;
    struct rule_effects effects;

    (void)state;
    sly.text = STR("{name} {text}");
    rule_evaluate(mine, &list, &sly, &effects);
    assert_true(str_is(effects.answer, "{name} {text}"));
}

static void goes_round_only_so_often(void **state)
{
    struct rule_parsed rule = rule_of("r", "{}",
                                      "{\"forward\":[{\"url\":\"https://a.example/\"}]}");
    struct rule_list list = { &rule, 1 };
    struct rule_subject again = subject;
    struct rule_effects effects;

    (void)state;
    again.hops = LIMIT_FORWARD_HOPS - 1;
    rule_evaluate(mine, &list, &again, &effects);
    assert_int_equal(effects.forward_count, 1);
    again.hops = LIMIT_FORWARD_HOPS;
    rule_evaluate(mine, &list, &again, &effects);
    assert_int_equal(effects.forward_count, 0);
    assert_true(effects.too_many_hops);
}

/* --- With the hub ----------------------------------------------------------------------------- */

static void add_rule(const char *name, int position, const char *matches_json,
                     const char *actions_json)
{
    struct err err = { 0 };

    if (rule_check(arena, str_c(matches_json), str_c(actions_json), &err))
        fail_msg("%s: %s", err.field, err.detail);
    MUST("INSERT INTO rules (id, tenant_id, name, position, matches, actions, created_ms, "
         "updated_ms) VALUES "
         "(%lld, 1, '%s', %d, '%s', '%s', 0, 0)", (long long)ids_next(hub.ids, &err), name,
             position, matches_json,
         actions_json);
}

static void answers_tags_and_assigns(void **state)
{
    int64_t channel = add_channel("test", NULL), asked, other;

    (void)state;
    add_rule("price", 1, "{\"any\":[\"price\"]}",
             "{\"tags\":[\"sales\"],\"priority\":\"urgent\",\"answer\":\"Dear {name}, 5 EUR.\"}");
    add_rule("bill", 2, "{\"any\":[\"bill\"]}", "{\"assign\":\"anna\",\"tags\":[\"money\"]}");
    asked = say(channel, "+49301", "the price?");
    other = say(channel, "+49302", "my bill is wrong");
    run_all();
    assert_int_equal(peer.count, 1);
    assert_string_equal(peer.sent[0].text, "Dear , 5 EUR.");
    assert_int_equal(NUMBER("SELECT count(*) FROM message_tags WHERE message_id = %lld AND tag = "
                            "'sales'",
                            (long long)asked), 1);
    assert_int_equal(NUMBER("SELECT priority FROM messages WHERE id = %lld", (long long)asked),
                     PRIORITY_URGENT);
    assert_int_equal(NUMBER("SELECT count(*) FROM message_tags WHERE message_id = %lld AND tag = "
                            "'money'",
                            (long long)other), 1);
    assert_string_equal(text_of("SELECT assigned_to FROM conversations WHERE assigned_to IS NOT "
                                "NULL"), "anna");
    assert_int_equal(number("SELECT action FROM decisions WHERE reason LIKE '%assigned%'"),
                     DECISION_HUMAN_TAKEOVER);
    assert_int_equal(number("SELECT sum(hits) FROM rules"), 2);
}

static void forwards_but_never_back(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    add_rule("chief", 1, "{}",
             arena_printf(arena, "{\"forward\":[{\"channel\":\"test-%lld\",\"to\":\"+49309\"}]}",
                                            (long long)channel));
    say(channel, "+49301", "hello");
    run_all();
    assert_int_equal(peer.count, 1);
    assert_string_equal(peer.sent[0].to, "+49309");
    assert_string_equal(peer.sent[0].text, "+49301: hello");
    assert_int_equal(number("SELECT count(*) FROM messages WHERE direction = 1 AND metadata LIKE "
                            "'%\"hops\":1%'"), 1);
    say(channel, "+49309", "thanks");
    run_all();
    assert_int_equal(peer.count, 1);
    assert_int_equal(number("SELECT count(*) FROM decisions WHERE trace LIKE '%forwarded back%'"),
                     1);
}

static void stops_a_circle(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    add_rule("chief", 1, "{}",
             arena_printf(arena, "{\"forward\":[{\"channel\":\"test-%lld\",\"to\":\"+49309\"}]}",
                                            (long long)channel));
    for (int hops = 0; hops <= LIMIT_FORWARD_HOPS; hops++) {
        const struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = STR("+49301"),
            .text = STR("again"),
            .priority = PRIORITY_NORMAL, .external_id = str_c(arena_printf(arena, "hop-%d", hops)),
            .metadata = str_c(arena_printf(arena, "{\"hops\":%d}", hops)) };
        say_event(channel, &event);
        run_all();
    }
    assert_int_equal(peer.count, LIMIT_FORWARD_HOPS);
}

static struct exchange_request posted[16];
static int post_count, post_status;

static void web(struct exchange *self, struct arena *a, const struct exchange_request *request,
                struct exchange_reply *reply)
{
    (void)self;
    (void)a;
    posted[post_count] = *request;
    posted[post_count].url = arena_strdup(arena, request->url);
    posted[post_count++].body = (struct str){ arena_copy(arena, request->body.data,
                                                         request->body.len), request->body.len };
    *reply = (struct exchange_reply){ .end = EXCHANGE_ANSWERED, .status = post_status };
}

static void posts_to_webhooks(void **state)
{
    int64_t channel = add_channel("test", NULL);

    (void)state;
    hub.exchange = &(struct exchange){ web };
    post_count = 0;
    post_status = 204;
    add_rule("hook", 1, "{}", "{\"forward\":[{\"url\":\"https://crm.example/in\"}]}");
    say(channel, "+49301", "hello");
    run_all();
    assert_int_equal(post_count, 1);
    assert_int_equal(posted[0].egress, EGRESS_PUBLIC);
    assert_string_equal(posted[0].url, "https://crm.example/in");
    assert_non_null(memmem(posted[0].body.data, posted[0].body.len, "\"text\":\"hello\"", 14));
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);

    post_status = 500;
    say(channel, "+49301", "and again");
    run_all();
    for (int i = 0; i < 5; i++) {
        pass_ms(120000);
        run_all();
    }
    assert_int_equal(post_count, 1 + LIMIT_SEND_ATTEMPTS);
    assert_int_equal(number("SELECT count(*) FROM jobs"), 0);
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind = 'message.forward_failed'"),
                     1);
    assert_int_equal(number("SELECT count(*) FROM events WHERE kind = 'message.forwarded'"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(matches, begin, end),
            cmocka_unit_test_setup_teardown(says_what_is_wrong, begin, end),
        cmocka_unit_test_setup_teardown(adds_up_in_order, begin, end),
        cmocka_unit_test_setup_teardown(fills_in_no_placeholder_twice, begin, end),
        cmocka_unit_test_setup_teardown(goes_round_only_so_often, begin, end),
        cmocka_unit_test_setup_teardown(answers_tags_and_assigns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forwards_but_never_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stops_a_circle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(posts_to_webhooks, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("rule", tests, NULL, NULL);
}
