/* Receipts and echoes that carry our own token: they name the part before, or without, the provider's id. */
#include "work.h"

#include "core/inbox_receipt.h"
#include "core/send_key.h"

static const char *key_of(int64_t message_id, int part)
{
    char key[SEND_KEY_BYTES];

    return arena_strdup(arena, send_key(key, message_id, part, 0));
}

static struct inbox_result hand_in(int64_t tenant_id, int64_t channel_id, const struct channel_event *event)
{
    struct err err = { 0 };
    struct inbox_result result = { 0 };
    struct inbox_write write = { .tenant_id = tenant_id, .channel_id = channel_id, .events = event, .count = 1,
        .results = &result };

    if (inbox_accept(&hub, arena, &write, &err))
        fail_msg("inbox: %s", err.detail);
    return result;
}

static struct inbox_result receipt(int64_t channel_id, const char *key, const char *external_id,
                                   enum message_state state)
{
    const struct channel_event event = { .kind = CHANNEL_RECEIPT, .key = str_c(key),
        .external_id = str_c(external_id), .state = state, .code = STR("30003") };

    return hand_in(TENANT, channel_id, &event);
}

static const char *external_id_of(int64_t id)
{
    return text_of(arena_printf(arena, "SELECT external_id FROM messages WHERE id = %lld", (long long)id));
}

static void test_keys_are_read_as_written(void **state)
{
    char key[SEND_KEY_BYTES];
    struct send_key_parts parts = { 0 };

    (void)state;
    assert_true(send_key_read(str_c(send_key(key, 4711, 12, 0)), &parts));
    assert_int_equal(parts.message_id, 4711);
    assert_int_equal(parts.part, 12);
    assert_int_equal(parts.generation, 0);
    assert_true(send_key_read(str_c(send_key(key, 4711, 12, 3)), &parts));
    assert_int_equal(parts.part, 12);
    assert_int_equal(parts.generation, 3);
    assert_false(send_key_read(str_c(arena_printf(arena, "%sx", key)), &parts));
    send_key(key, 4711, 12, 0);
    assert_false(send_key_read(STR(""), &parts));
    assert_false(send_key_read(STR("msg_"), &parts));
    assert_false(send_key_read(STR("-1"), &parts));
    key[strlen(key) - 2] = '\0';
    assert_false(send_key_read(str_c(key), &parts));
    assert_false(send_key_read(str_c(arena_printf(arena, "%s-100", key)), &parts));
    assert_false(send_key_read(str_c(arena_printf(arena, "%s1-1x", key)), &parts));
}

/* The answer was lost, its id was never learnt: the receipt brings it. */
static void test_a_lost_answer_is_found_by_key(void **state)
{
    int64_t channel = add_channel("test", NULL), id = send_text(channel, "anna", "hi");

    (void)state;
    peer.always = SEND_UNSURE;
    send_once(NULL);
    assert_int_equal(state_of(id), MESSAGE_UNKNOWN);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE state = 3"), 1);
    assert_int_equal(receipt(channel, key_of(id, 0), "SM1", MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
    assert_string_equal(external_id_of(id), "SM1");
    assert_int_equal(number("SELECT COUNT(*) FROM attempts WHERE external_id = 'SM1'"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE kind = 1"), 0);
    /* from now on the id alone is enough */
    assert_int_equal(receipt(channel, NULL, "SM1", MESSAGE_READ).message_id, id);
    assert_int_equal(state_of(id), MESSAGE_READ);
    /* and the token alone as well, with nothing new to say */
    assert_int_equal(receipt(channel, key_of(id, 0), NULL, MESSAGE_SENT).outcome, INBOX_DUPLICATE);
    assert_int_equal(number("SELECT COUNT(*) FROM early_receipts"), 0);
}

/* While the worker still waits for the answer. */
static struct {
    int64_t channel;
    enum message_state says;
    enum send_outcome answer;
    const char *external_id;        /* of the answer */
    enum channel_event_kind kind;
} meanwhile;

static enum send_outcome report_meanwhile(const struct send_job *job, struct send_result *result)
{
    const struct channel_event event = { .kind = meanwhile.kind, .key = str_c(job->key), .external_id = STR("SM2"),
        .state = meanwhile.says, .address = STR("anna"), .text = STR("another wording"), .code = STR("30003") };
    struct inbox_result got = hand_in(TENANT, meanwhile.channel, &event);

    assert_true(got.outcome == INBOX_STORED || got.outcome == INBOX_DUPLICATE);
    *result = (struct send_result){ .external_id = str_c(meanwhile.external_id) };
    return meanwhile.answer;
}

static void test_a_receipt_overtakes_the_answer(void **state)
{
    static const enum send_outcome answers[] = { SEND_DONE, SEND_UNSURE, SEND_RETRY, SEND_REFUSED };
    int64_t channel = add_channel("test", NULL);

    (void)state;
    meanwhile.channel = channel;
    meanwhile.kind = CHANNEL_RECEIPT;
    peer.decide = report_meanwhile;
    for (int i = 0; i < 4; i++) {
        int64_t id = send_text(channel, "anna", "hi");

        meanwhile.says = MESSAGE_DELIVERED;
        meanwhile.answer = answers[i];
        meanwhile.external_id = i == 0 ? "SM2" : NULL;
        MUST("UPDATE attempts SET external_id = NULL");
        MUST("UPDATE messages SET external_id = NULL");
        send_once(NULL);
        assert_int_equal(state_of(id), MESSAGE_DELIVERED);
        assert_string_equal(external_id_of(id), "SM2");
        assert_int_equal(number("SELECT COUNT(*) FROM jobs WHERE kind = 1"), 0);
        assert_int_equal(NUMBER("SELECT COUNT(*) FROM attempts WHERE external_id = 'SM2' AND message_id = %lld",
                                (long long)id), 1);
    }
    assert_int_equal(peer.count, 4);
}

/* The token came without an id, and the answer brings it later. */
static enum send_outcome report_without_id(const struct send_job *job, struct send_result *result)
{
    assert_int_equal(receipt(meanwhile.channel, job->key, NULL, MESSAGE_READ).outcome, INBOX_STORED);
    *result = (struct send_result){ .external_id = STR("SM3") };
    return SEND_DONE;
}

static void test_the_answer_names_what_a_receipt_moved(void **state)
{
    int64_t id;

    (void)state;
    meanwhile.channel = add_channel("test", NULL);
    peer.decide = report_without_id;
    id = send_text(meanwhile.channel, "anna", "hi");
    send_once(NULL);
    assert_int_equal(state_of(id), MESSAGE_READ);
    assert_string_equal(external_id_of(id), "SM3");
}

/* The hub would try again, with the same token, what did arrive: it does not. */
static void test_what_arrived_is_not_tried_again(void **state)
{
    int64_t channel = add_channel("repeat", NULL), id = send_text(channel, "anna", "one"), next;

    (void)state;
    next = send_text(channel, "anna", "two");
    peer.always = SEND_UNSURE;
    send_once(NULL);
    assert_int_equal(state_of(id), MESSAGE_QUEUED);
    assert_int_equal(receipt(channel, key_of(id, 0), "SM1", MESSAGE_FAILED).outcome, INBOX_DUPLICATE);
    assert_int_equal(receipt(channel, key_of(id, 0), "SM1", MESSAGE_SENT).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_int_equal(NUMBER("SELECT COUNT(*) FROM jobs WHERE message_id = %lld", (long long)id), 0);
    /* the lane goes on with the next */
    peer.always = SEND_DONE;
    send_once(NULL);
    assert_int_equal(state_of(next), MESSAGE_SENT);
    assert_int_equal(peer.count, 2);
}

static void test_a_part_is_named_alone(void **state)
{
    int64_t channel = add_channel("test", NULL), id;

    (void)state;
    id = send_text(channel, "anna", "This text is longer than forty characters, so it has two parts.");
    peer.script[0] = SEND_DONE;
    peer.script[1] = SEND_UNSURE;
    peer.scripted = 2;
    send_once(NULL);
    assert_int_equal(state_of(id), MESSAGE_UNKNOWN);
    assert_int_equal(receipt(channel, key_of(id, 0), NULL, MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(receipt(channel, key_of(id, 2), "none", MESSAGE_DELIVERED).message_id, 0);
    assert_int_equal(state_of(id), MESSAGE_UNKNOWN);
    assert_int_equal(receipt(channel, key_of(id, 1), "second", MESSAGE_DELIVERED).outcome, INBOX_STORED);
    assert_int_equal(state_of(id), MESSAGE_DELIVERED);
    assert_string_equal(external_id_of(id), "second");
    assert_int_equal(number("SELECT COUNT(*) FROM attempts WHERE external_id = 'second' AND part = 1"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM attempts WHERE external_id LIKE 'ext-%' AND part = 0"), 1);
}

static void test_a_stranger_touches_nothing(void **state)
{
    int64_t channel = add_channel("test", NULL), other = add_channel("test", NULL);
    int64_t id = send_text(channel, "anna", "hi");
    struct channel_event event = { .kind = CHANNEL_RECEIPT, .state = MESSAGE_READ };

    (void)state;
    peer.always = SEND_UNSURE;
    send_once(NULL);
    event.key = str_c(key_of(id, 0));
    assert_int_equal(hand_in(TENANT, other, &event).outcome, INBOX_IGNORED);
    must("INSERT INTO tenants (id, name, created_ms) VALUES (2, 'other', 0)");
    MUST("INSERT INTO channels (id, tenant_id, kind, name, hook, debounce_ms, created_ms, updated_ms) "
         "VALUES (99, 2, 'test', 'theirs', 'theirs', 0, 0, 0)");
    assert_int_equal(hand_in(2, 99, &event).outcome, INBOX_IGNORED);
    event.kind = CHANNEL_OWN_MESSAGE;
    event.address = STR("anna");
    event.text = STR("mine");
    event.external_id = STR("other-1");
    assert_int_equal(hand_in(2, 99, &event).outcome, INBOX_STORED);
    event.kind = CHANNEL_RECEIPT;
    event.external_id = (struct str){ 0 };
    event.key = STR("msg_0000000000000-0");
    assert_int_equal(hand_in(TENANT, channel, &event).outcome, INBOX_IGNORED);
    event.key = STR("");
    assert_int_equal(hand_in(TENANT, channel, &event).outcome, INBOX_REFUSED);
    assert_int_equal(state_of(id), MESSAGE_UNKNOWN);
    assert_string_equal(external_id_of(id), "");
    assert_int_equal(number("SELECT COUNT(*) FROM early_receipts"), 0);
}

/* --- Echoes --------------------------------------------------------------------------------------------------- */

static void test_an_echo_by_key_confirms(void **state)
{
    int64_t channel = add_channel("test", NULL), id = send_text(channel, "anna", "hi");
    struct channel_event own = { .kind = CHANNEL_OWN_MESSAGE, .address = STR("anna"), .text = STR("as reworded"),
        .external_id = STR("SM1") };

    (void)state;
    peer.always = SEND_UNSURE;
    send_once(NULL);
    MUST("UPDATE conversations SET paused_until_ms = NULL, auto_turns = 3");
    own.key = str_c(key_of(id, 0));
    assert_int_equal(hand_in(TENANT, channel, &own).outcome, INBOX_DUPLICATE);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_string_equal(external_id_of(id), "SM1");
    /* again, as a catch-up brings it: by the id alone */
    own.key = (struct str){ 0 };
    own.is_history = true;
    assert_int_equal(hand_in(TENANT, channel, &own).message_id, id);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE paused_until_ms IS NULL AND auto_turns = 3"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 0);
    /* what a person types on the phone is stored and pauses */
    own = (struct channel_event){ .kind = CHANNEL_OWN_MESSAGE, .address = STR("anna"), .text = STR("typed"),
        .external_id = STR("SM9") };
    assert_int_equal(hand_in(TENANT, channel, &own).outcome, INBOX_STORED);
    assert_int_equal(number("SELECT COUNT(*) FROM conversations WHERE paused_until_ms IS NULL"), 0);
}

/* The first of two parts is known by its try alone, not by the message's row. */
static void test_an_echo_of_a_first_part(void **state)
{
    int64_t channel = add_channel("test", NULL);
    struct channel_event own = { .kind = CHANNEL_OWN_MESSAGE, .address = STR("anna"), .text = STR("This text is") };
    int64_t id = send_text(channel, "anna", "This text is longer than forty characters, so it has two parts.");

    (void)state;
    send_once(NULL);
    own.external_id = str_c(arena_printf(arena, "ext-%s", key_of(id, 0)));
    assert_int_equal(hand_in(TENANT, channel, &own).message_id, id);
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1);
}

static void test_an_echo_overtakes_the_answer(void **state)
{
    int64_t id;

    (void)state;
    meanwhile.channel = add_channel("test", NULL);
    meanwhile.kind = CHANNEL_OWN_MESSAGE;
    meanwhile.answer = SEND_DONE;
    meanwhile.external_id = "SM2";
    peer.decide = report_meanwhile;
    id = send_text(meanwhile.channel, "anna", "hi");
    send_once(NULL);
    assert_int_equal(state_of(id), MESSAGE_SENT);
    assert_string_equal(external_id_of(id), "SM2");
    assert_int_equal(number("SELECT COUNT(*) FROM messages"), 1);
    assert_int_equal(number("SELECT COUNT(*) FROM jobs"), 0);
}

/* --- Every order ------------------------------------------------------------------------------------------------ */

/* What a hub would do that believes whoever spoke last: the control that must fail. */
static int believe_the_last(struct db_session *tx, const struct receipt *receipt, struct err *err)
{
    struct send_key_parts parts;

    if (!send_key_read(receipt->key, &parts))
        return -1;
    return db_exec(tx, "UPDATE messages SET state = $1 WHERE id = $2", DB_ARGS(db_int(receipt->state),
                   db_int(parts.message_id)), err) < 0 ? -1 : 0;
}

struct permuting {
    int64_t channel_id, id;
    enum message_state receipts[5], end;
    bool naive;
};

/* Some of the five carry the token alone, some the id as well. The transaction is undone. */
static int permute_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct permuting *p = arg;
    int64_t end;

    for (int i = 0; i < 5; i++) {
        struct receipt one = { .tenant_id = TENANT, .channel_id = p->channel_id, .at_ms = 5,
            .key = str_c(key_of(p->id, 0)), .state = p->receipts[i], .code = STR("30003") };

        if (p->receipts[i] == MESSAGE_DELIVERED || i == 2)
            one.external_id = STR("SM1");
        if (p->naive ? believe_the_last(tx, &one, err) : receipt_apply(tx, &one, NULL, err) == RECEIPT_FAILED)
            return -1;
    }
    if (db_query_int(tx, "SELECT state FROM messages WHERE id = $1", DB_ARGS(db_int(p->id)), -1, &end, err))
        return -1;
    p->end = (enum message_state)end;
    return err_set(err, ERR_CONFLICT, "undo");
}

/* The number of orders, of 120, that end in `wanted`. */
static int count_orders(struct permuting *p, const enum message_state set[5], enum message_state wanted)
{
    int right = 0;

    for (int order = 0; order < 120; order++) {
        struct err err = { 0 };
        bool used[5] = { false };

        for (int i = 0, left = order; i < 5; i++) {
            int pick = left % (5 - i), at = 0;

            left /= 5 - i;
            for (; used[at] || pick-- > 0; at++)
                continue;
            used[at] = true;
            p->receipts[i] = set[at];
        }
        assert_int_equal(db_write(hub.db, permute_tx, p, &err), -1);
        assert_string_equal(err.detail, "undo");
        right += p->end == wanted;
    }
    return right;
}

static void test_every_order_of_five_ends_alike(void **state)
{
    static const enum message_state sets[][5] = {
        { MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_READ, MESSAGE_DELIVERED, MESSAGE_SENT },
        { MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_READ, MESSAGE_FAILED, MESSAGE_READ },
        { MESSAGE_SENT, MESSAGE_FAILED, MESSAGE_DELIVERED, MESSAGE_SENT, MESSAGE_FAILED },
        { MESSAGE_READ, MESSAGE_FAILED, MESSAGE_SENT, MESSAGE_FAILED, MESSAGE_SENT },
    };
    static const enum message_state ends[] = { MESSAGE_READ, MESSAGE_READ, MESSAGE_DELIVERED, MESSAGE_READ };
    static const enum message_state starts[] = { MESSAGE_SENDING, MESSAGE_UNKNOWN, MESSAGE_SENT };
    struct permuting p = { .channel_id = add_channel("test", NULL) };

    (void)state;
    peer.always = SEND_UNSURE;
    p.id = send_text(p.channel_id, "anna", "hi");
    send_once(NULL);
    for (int start = 0; start < 3; start++)
        for (int set = 0; set < 4; set++) {
            MUST("UPDATE messages SET state = %d", starts[start]);
            p.naive = false;
            assert_int_equal(count_orders(&p, sets[set], ends[set]), 120);
            p.naive = true;
            assert_in_range(count_orders(&p, sets[set], ends[set]), 0, 119);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keys_are_read_as_written), TEST(test_a_lost_answer_is_found_by_key),
        TEST(test_a_receipt_overtakes_the_answer), TEST(test_the_answer_names_what_a_receipt_moved),
        TEST(test_what_arrived_is_not_tried_again), TEST(test_a_part_is_named_alone),
        TEST(test_a_stranger_touches_nothing), TEST(test_an_echo_by_key_confirms),
        TEST(test_an_echo_of_a_first_part), TEST(test_an_echo_overtakes_the_answer),
        TEST(test_every_order_of_five_ends_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
