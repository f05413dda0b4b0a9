/* receive.c - hand in what a device or a program received: the door of forwarding apps. The answer is rendered
 * before the write is submitted; only a duplicate comes back to a worker. */
#include "api/attach.h"
#include "api/find.h"
#include "api/keep.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/inbox.h"

#include <stdio.h>
#include <string.h>

/* --- Inputs and answers ---------------------------------------------------------------------------------------- */

#define WHO \
    { "name", FIELD_TEXT, FIELD_PERSONAL, "The sender's name as the phone shows it.", 0, LIMIT_NAME_BYTES }, \
    { "group", FIELD_TEXT, 0, "The group it was said in; absent: one to one.", 1, LIMIT_ADDRESS_BYTES }, \
    { "reply_to", FIELD_TEXT, 0, "The source's id of the message that it answers.", 1, LIMIT_EXTERNAL_ID_BYTES }, \
    { "sent_at", FIELD_TIME, 0, "When it was sent, by the source's clock and zone.", 0, 0, NULL, NULL, NULL, \
      "2026-11-20T18:42:26+01:00" }, \
    { "priority", FIELD_ENUM, 0, "How urgent it is.", 0, 0, "normal|bulk|urgent", "normal" }, \
    { "metadata", FIELD_OBJECT, 0, "What the source wants to add.", 0, LIMIT_METADATA_BYTES, NULL, NULL, NULL, \
      "{\"sim\":1}" }, \
    { "history", FIELD_BOOL, 0, "An old message: stored, never decided on.", 0, 0, NULL, "false" }, \
    { "automatic", FIELD_BOOL, 0, "Written by a machine: never answered by one.", 0, 0, NULL, "false" }, \
    ATTACH_FIELD

#define OWN_ID \
    { "id", FIELD_TEXT, 0, "The source's own id: the same id is the same message. Absent: made of sender, " \
      "text and the second of sent_at.", 1, LIMIT_EXTERNAL_ID_BYTES, NULL, NULL, NULL, "sms-4711" }

#define CHANNEL \
    { "channel", FIELD_TEXT, 0, "Name or id of the channel. Default: the device's own, else the first one of kind " \
      "android, else the first.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL, "sandbox" }

static const struct field receive_fields[] = {
    { "from", FIELD_TEXT, FIELD_REQUIRED | FIELD_PERSONAL, "Who wrote it: a phone number, an address, a sender's "
      "name.", 1, LIMIT_ADDRESS_BYTES, NULL, NULL, NULL, "+15550002" },
    { "text", FIELD_TEXT, FIELD_REQUIRED | FIELD_PERSONAL, "What it says; may be empty.", 0, LIMIT_TEXT_BYTES,
      NULL, NULL,
      NULL, "hello" },
    { "type", FIELD_ENUM, 0, "What kind of message it is.", 0, 0, MESSAGE_TYPES, "text", NULL, "sms" },
    CHANNEL, OWN_ID, WHO,
    { 0 }
};

/* Of one message in a batch only the shape is checked here: a value that is wrong refuses that message, not all. */
static const struct field item_fields[] = {
    { "from", FIELD_TEXT, FIELD_REQUIRED | FIELD_PERSONAL, "Who wrote it.", 0, LIMIT_BATCH_BYTES, NULL, NULL, NULL,
      "+15550002" },
    { "text", FIELD_TEXT, FIELD_REQUIRED | FIELD_PERSONAL, "What it says; may be empty.", 0, LIMIT_BATCH_BYTES,
      NULL, NULL,
      NULL, "hello" },
    { "type", FIELD_TEXT, 0, "What kind of message it is: one of those of message.receive.", 0, LIMIT_NAME_BYTES, NULL,
      "text", NULL, "sms" },
    OWN_ID, WHO,
    { 0 }
};

static const struct field batch_fields[] = {
    { "messages", FIELD_LIST, FIELD_REQUIRED, "Up to 1,000 messages, oldest first.", 1, LIMIT_BATCH_MESSAGES, NULL,
      NULL,
      item_fields, "[{\"from\":\"+15550002\",\"text\":\"hello\",\"id\":\"sms-1\"}]" },
    CHANNEL,
    { 0 }
};

static const struct field received_shape[] = {
    { "id", FIELD_ID, FIELD_REQUIRED, "The message; of a duplicate, the first one.", 0, 0, ID_MESSAGE },
    { "state", FIELD_TEXT, FIELD_REQUIRED, "Its state now." },
    { "received_at", FIELD_TIME, FIELD_REQUIRED, "When the hub stored it." },
    { "duplicate", FIELD_BOOL, FIELD_REQUIRED, "It was here already; nothing was stored." },
    { 0 }
};

static const struct field result_shape[] = {
    { "index", FIELD_INT, FIELD_REQUIRED, "Which of the messages, from 0.", 0, LIMIT_BATCH_MESSAGES },
    { "outcome", FIELD_ENUM, FIELD_REQUIRED, "What became of it.", 0, 0, "stored|duplicate|refused" },
    { "id", FIELD_ID, FIELD_REQUIRED | FIELD_NULLABLE, "The message; of a duplicate, the first one.", 0, 0,
      ID_MESSAGE },
    { "field", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "Refused: the value that is wrong." },
    { "detail", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "Refused: why.", 0, LIMIT_DETAIL_BYTES },
    { "hint", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "Refused: what to do.", 0, LIMIT_HINT_BYTES },
    { 0 }
};

static const struct field batch_shape[] = {
    { "stored", FIELD_INT, FIELD_REQUIRED, "How many were new." },
    { "duplicates", FIELD_INT, FIELD_REQUIRED, "How many were here already." },
    { "refused", FIELD_INT, FIELD_REQUIRED, "How many were wrong and not stored." },
    { "items", FIELD_LIST, FIELD_REQUIRED, "One result per message, in order.", 0, LIMIT_BATCH_MESSAGES, NULL, NULL,
      result_shape },
    { 0 }
};

/* --- From fields to an event ----------------------------------------------------------------------------------- */

static struct channel_event event_of(struct arena *arena, const struct fields *in)
{
    const struct value *sent_at = field_get(in, "sent_at");

    return (struct channel_event){
        .kind = CHANNEL_MESSAGE,
        .external_id = str_nfc(arena, field_text(in, "id")),
        .address = str_nfc(arena, field_text(in, "from")),
        .name = str_nfc(arena, field_text(in, "name")),
        .group = str_nfc(arena, field_text(in, "group")),
        .text = str_nfc(arena, field_text(in, "text")),
        .type = field_text(in, "type"),
        .reply_to = str_nfc(arena, field_text(in, "reply_to")),
        .metadata = field_text(in, "metadata"),
        .provider_ms = sent_at ? sent_at->number : 0,
        .offset_min = sent_at ? sent_at->offset_min : 0,
        .priority = field_number(in, "priority", PRIORITY_NORMAL),
        .is_history = field_flag(in, "history"),
        .is_automatic = field_flag(in, "automatic"),
    };
}

/* The names of an event's members are not those of our fields. */
static void rename_field(struct err *err)
{
    static const char *const names[][2] = { { "address", "from" }, { "external_id", "id" } };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(err->field, names[i][0]) == 0)
            snprintf(err->field, sizeof err->field, "%s", names[i][1]);
}

static int choose_channel(struct op_call *call, struct channel *channel, struct err *err)
{
    bool named = field_text(&call->in, "channel").data;

    if ((named ? find_channel(call, "channel", channel, err) : find_channel_in(call, channel, err)) < 0)
        return -1;
    if (channel->state == 0)
        return 0;
    err_set(err, ERR_CONFLICT, "The channel \"%s\" is switched off.", channel->name);
    return err_hint(err, "Switch it on: message-hub channels enable %s", channel->name);
}

/* --- One message ----------------------------------------------------------------------------------------------- */

/* One message on its way; in the call's arena. */
struct receive {
    struct inbox_write write;   /* first: its item comes back to us */
    struct channel_event event;
    struct inbox_result result;
    struct op_call *call;
};

static void put_received(struct op_call *call, int64_t id, enum message_state state, int64_t received_ms)
{
    char text[ID_TEXT_BYTES];

    buf_clear(&call->response.body);
    call->out = json_writer(&call->response.body);
    json_object_begin(&call->out);
    json_cstr_at(&call->out, "id", id_encode(text, ID_MESSAGE, id));
    json_cstr_at(&call->out, "state", message_state_words[state]);
    json_time_at(&call->out, "received_at", received_ms);
    json_bool_at(&call->out, "duplicate", call->response.status == 200);
    json_object_end(&call->out);
}

/* What is stored for a group or from a backfill is never decided on. */
static void put_new(struct op_call *call, const struct receive *receive)
{
    bool decided = !receive->event.is_history && receive->event.group.len == 0;

    call->response.status = 201;
    put_received(call, receive->result.message_id, decided ? MESSAGE_RECEIVED : MESSAGE_PROCESSED, clock_ms());
}

static void put_duplicate(struct op_call *call, const struct message *first)
{
    call->response.status = 200;
    put_received(call, first->id, (enum message_state)first->state, first->times.received_ms);
}

/* On a worker again: it was here already. */
static enum op_done answer_duplicate(struct op_call *call, struct err *err)
{
    const struct receive *receive = call->later;
    struct message first;

    if (find_message(call, receive->result.message_id, &first, err) < 0)
        return OP_FAILED;
    put_duplicate(call, &first);
    return OP_DONE;
}

/* Under a key the answer is stored by the same commit, so it is made right before that. */
static int settle_one(struct db_session *tx, struct inbox_write *write, struct err *err)
{
    struct receive *receive = (struct receive *)write;
    struct op_call *call = receive->call;
    bool is_new = receive->result.outcome == INBOX_STORED;
    struct message first = { .id = receive->result.message_id, .tenant_id = call->tenant_id };

    if (call->response.status == (is_new ? 201 : 200))
        return 0;
    if (is_new)
        put_new(call, receive);
    else if (message_get(tx, call->arena, &first, err) < 0)
        return -1;
    else
        put_duplicate(call, &first);
    op_remember(call);
    return 1;
}

/* On the writer's thread, after the commit or the refusal. */
static void stored(struct db_write_item *item)
{
    struct receive *receive = (struct receive *)item;

    if (item->err.code != ERR_NONE)
        op_finish(receive->call, &item->err);
    else if (receive->write.replayed)
        op_slow(receive->call, op_replay);
    else if (receive->result.outcome == INBOX_STORED || receive->write.idempotency)
        op_finish(receive->call, NULL);
    else
        op_slow(receive->call, answer_duplicate);
}

static enum op_done receive_one(struct op_call *call, struct err *err)
{
    struct receive *receive = arena_alloc(call->arena, sizeof *receive);
    struct channel channel;

    if (choose_channel(call, &channel, err) < 0)
        return OP_FAILED;
    receive->call = call;
    receive->event = event_of(call->arena, &call->in);
    if (!receive->event.external_id.data)
        receive->event.external_id = keep_id(call, 0);
    receive->write = (struct inbox_write){
        .item.done = stored, .tenant_id = call->tenant_id, .channel_id = channel.id, .channel = &channel,
        .device_id = call->key.device_id, .events = &receive->event, .count = 1, .results = &receive->result,
        .idempotency = call->idempotency, .settle = settle_one,
    };
    call->later = receive;
    if (attach_read(call, &call->in, &receive->event.attachments, &receive->event.attachment_count, err) < 0)
        return OP_FAILED;
    if (inbox_prepare(call->hub, call->arena, &receive->write, err) < 0)
        return OP_FAILED;
    if (receive->result.outcome == INBOX_REFUSED) {
        *err = receive->result.err;
        rename_field(err);
        return OP_FAILED;
    }
    put_new(call, receive);
    op_remember(call);
    return db_submit(call->hub->db, &receive->write.item, err) < 0 ? OP_FAILED : OP_LATER;
}

/* --- Many ------------------------------------------------------------------------------------------------------ */

static void put_result(struct op_call *call, size_t index, struct inbox_result *result)
{
    static const char *const words[] = { [INBOX_STORED] = "stored", [INBOX_DUPLICATE] = "duplicate",
                                         [INBOX_IGNORED] = "duplicate", [INBOX_REFUSED] = "refused" };
    bool refused = result->outcome == INBOX_REFUSED;
    char id[ID_TEXT_BYTES];

    rename_field(&result->err);
    json_object_begin(&call->out);
    json_int_at(&call->out, "index", (int64_t)index);
    json_cstr_at(&call->out, "outcome", words[result->outcome]);
    json_cstr_at(&call->out, "id", refused ? NULL : id_encode(id, ID_MESSAGE, result->message_id));
    json_cstr_at(&call->out, "field", refused && result->err.field[0] ? result->err.field : NULL);
    json_cstr_at(&call->out, "detail", refused ? result->err.detail : NULL);
    json_cstr_at(&call->out, "hint", refused && result->err.hint[0] ? result->err.hint : NULL);
    json_object_end(&call->out);
}

static void put_results(struct op_call *call, const struct inbox_write *write)
{
    int64_t counts[4] = { 0 };

    buf_clear(&call->response.body);
    call->out = json_writer(&call->response.body);
    for (size_t i = 0; i < write->count; i++)
        counts[write->results[i].outcome]++;
    json_object_begin(&call->out);
    json_int_at(&call->out, "stored", counts[INBOX_STORED]);
    json_int_at(&call->out, "duplicates", counts[INBOX_DUPLICATE] + counts[INBOX_IGNORED]);
    json_int_at(&call->out, "refused", counts[INBOX_REFUSED]);
    json_key(&call->out, "items");
    json_array_begin(&call->out);
    for (size_t i = 0; i < write->count; i++)
        put_result(call, i, &write->results[i]);
    json_array_end(&call->out);
    json_object_end(&call->out);
}

/* A batch on its way; `write` is first, so that settle_batch finds the call. */
struct receive_many {
    struct inbox_write write;
    struct op_call *call;
};

static int settle_batch(struct db_session *tx, struct inbox_write *write, struct err *err)
{
    struct op_call *call = ((struct receive_many *)write)->call;

    (void)tx, (void)err;
    put_results(call, write);
    op_remember(call);
    return 1;
}

static enum op_done receive_batch(struct op_call *call, struct err *err)
{
    const struct value *given = field_get(&call->in, "messages");
    struct channel_event *events = arena_array(call->arena, given->count, sizeof *events);
    struct receive_many many = { .call = call, .write = {
        .tenant_id = call->tenant_id, .device_id = call->key.device_id, .events = events, .count = given->count,
        .results = arena_array(call->arena, given->count, sizeof *many.write.results),
        .idempotency = call->idempotency, .settle = settle_batch } };
    struct channel channel;

    if (choose_channel(call, &channel, err) < 0)
        return OP_FAILED;
    many.write.channel_id = channel.id;
    many.write.channel = &channel;
    for (size_t i = 0; i < given->count; i++) {
        events[i] = event_of(call->arena, given->list[i]);
        if (attach_read(call, given->list[i], &events[i].attachments, &events[i].attachment_count, err) < 0)
            return OP_FAILED;
        if (!events[i].external_id.data)
            events[i].external_id = keep_id(call, i);
    }
    op_remember(call);
    if (inbox_accept(call->hub, call->arena, &many.write, err) < 0)
        return OP_FAILED;
    if (many.write.replayed)
        return op_replay(call, err);
    if (!call->idempotency)
        put_results(call, &many.write);
    return OP_DONE;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op_answer duplicate[] = { { 200, "It was here already; nothing was stored.", NULL }, { 0 } };

static const struct op rows[] = {
    { .name = "message.receive", .method = HTTP_POST, .path = "/api/v1/messages", .scope = SCOPE_RECEIVE,
      .summary = "Hand in a message that a device or program received.", .fields = receive_fields, .run = receive_one,
      .flags = OP_CREATES | OP_LARGE, .shape = received_shape, .also = duplicate,
      .cli = "messages receive", .cli_args = "from text",
      .cli_columns = "id,state,received_at,duplicate",
      .example = "messages receive +15550002 \"hello\" --channel sandbox --id sms-4711" },
    { .name = "message.receive_batch", .method = HTTP_POST, .path = "/api/v1/messages/batch", .scope = SCOPE_RECEIVE,
      .summary = "Hand in up to 1,000 messages in one transaction; each gets its own result.", .fields = batch_fields,
      .run = receive_batch, .flags = OP_LARGE, .shape = batch_shape, .cli = "messages receive-batch",
      .cli_args = "messages", .cli_columns = "stored,duplicates,refused",
      .example = "messages receive-batch '[{\"from\":\"+15550002\",\"text\":\"hello\",\"id\":\"sms-1\"}]'" },
};

const struct op_table ops_receive = { "messages", rows, sizeof rows / sizeof *rows };
