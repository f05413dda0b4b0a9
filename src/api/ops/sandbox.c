/* sandbox.c - speak for the simulated phone. What it says goes through driver and inbox exactly like a webhook. */
#include "api/find.h"
#include "api/keep.h"
#include "api/message_shape.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/conversation.h"
#include "core/inbox.h"
#include "core/message_list.h"

#include <string.h>

/* --- Inputs ---------------------------------------------------------------------------------------------------- */

#define CHANNEL(where) \
    { "channel", FIELD_TEXT, where, "Name or id of the sandbox channel.", 1, LIMIT_NAME_BYTES, NULL, "sandbox" }
#define AS(where) \
    { "as", FIELD_TEXT, where, "The simulated contact's phone number.", 1, LIMIT_ADDRESS_BYTES, NULL, "+15550100" }

static const struct field file_fields[] = {
    { "name", FIELD_TEXT, FIELD_PERSONAL, "What it is called.", 0, LIMIT_NAME_BYTES },
    { "data", FIELD_TEXT, 0, "Its bytes in base64.", 1, LIMIT_BATCH_BYTES },
    { "ref", FIELD_TEXT, 0, "Instead: the simulated provider keeps it, with this text in it.", 1, LIMIT_URL_BYTES },
    { 0 }
};

static const struct field say_fields[] = {
    { "text", FIELD_TEXT, FIELD_REQUIRED, "What the contact says; words like #fail ask for faults (see channels).", 0,
      LIMIT_TEXT_BYTES, NULL, NULL, NULL, "hello" },
    AS(0), CHANNEL(0),
    { "name", FIELD_TEXT, 0, "The contact's name.", 0, LIMIT_NAME_BYTES, NULL, NULL, NULL, "Ada" },
    { "group", FIELD_TEXT, 0, "The group it is said in.", 1, LIMIT_ADDRESS_BYTES },
    { "reply_to", FIELD_ID, 0, "The message that it answers.", 0, 0, ID_MESSAGE },
    { "id", FIELD_TEXT, 0, "The phone's id of the message: the same id is the same message.", 1,
      LIMIT_EXTERNAL_ID_BYTES },
    { "files", FIELD_LIST, 0, "Files that come with it.", 0, LIMIT_ATTACHMENTS, NULL, NULL, file_fields,
      "[{\"data\":\"aGVsbG8=\",\"name\":\"hello.txt\"}]" },
    { 0 }
};

static const struct field messages_fields[] = {
    AS(FIELD_QUERY), CHANNEL(FIELD_QUERY), OP_LIST_FIELDS, { 0 }
};

static const struct field receipt_fields[] = {
    { "message", FIELD_ID, FIELD_REQUIRED, "A message that was sent to the simulated phone.", 0, 0, ID_MESSAGE },
    { "state", FIELD_ENUM, FIELD_REQUIRED, "What the phone says of it.", 0, 0, "sent|delivered|read|failed", NULL, NULL,
      "read" },
    { 0 }
};

static const struct field message_shape[] = { MESSAGE_SHAPE, { 0 } };

/* --- The phone ------------------------------------------------------------------------------------------------- */

static int check_kind(const struct channel *channel, const char *field, struct err *err)
{
    if (strcmp(channel->kind, "sandbox") == 0)
        return 0;
    err_field(err, field, "\"%s\" is of kind %s; only a sandbox can be spoken for.", channel->name, channel->kind);
    return err_hint(err, "Use the channel \"sandbox\", which is there from the start.");
}

static int find_sandbox(struct op_call *call, struct channel *channel, struct err *err)
{
    if (find_channel(call, "channel", channel, err) < 0 || check_kind(channel, "channel", err) < 0)
        return -1;
    if (channel->state == 0)
        return 0;
    err_set(err, ERR_CONFLICT, "The channel \"%s\" is switched off.", channel->name);
    return err_hint(err, "Switch it on: message-hub channels enable %s", channel->name);
}

/* What the phone would post, through the driver and the inbox. -1 when it was not taken. */
static int post(struct op_call *call, const struct channel *channel, struct str body, struct inbox_result *result,
                struct err *err)
{
    struct http_request request = { .method = HTTP_POST, .path = call->request->path, .body = body,
        .arena = call->arena };
    struct webhook webhook = { .request = &request, .path = STR(""), .now_ms = clock_ms() };
    struct events events = { .arena = call->arena };
    struct webhook_reply reply = { 0 };
    struct inbox_write write = { .tenant_id = call->tenant_id, .channel_id = channel->id };

    if (channel->driver->receive(channel, &webhook, &events, &reply, err) < 0)
        return -1;
    write.events = events.items;
    write.count = events.count;
    write.results = arena_array(call->arena, events.count, sizeof *write.results);
    if (inbox_accept(call->hub, call->arena, &write, err) < 0)
        return -1;
    *result = write.results[0];
    if (result->outcome != INBOX_REFUSED)
        return 0;
    *err = result->err;
    return -1;
}

static enum op_done answer(struct op_call *call, int64_t id, struct err *err)
{
    struct message message;

    if (find_message(call, id, &message, err) < 0)
        return OP_FAILED;
    message_json(&call->out, &message);
    return keep_answer(call, err);
}

static void put_given(struct json_writer *out, const char *name, struct str text)
{
    if (text.data)
        json_text_at(out, name, text);
}

/* The body as a slice in the call's arena; the buffer is released. */
static int take_body(struct op_call *call, struct buf *json, struct str *body, struct err *err)
{
    bool overflow = json->overflow;

    *body = (struct str){ arena_copy(call->arena, buf_slice(json).data, json->len), json->len };
    buf_fini(json);
    return overflow ? err_set(err, ERR_TOO_LARGE, "The text is too large for the simulated phone.") : 0;
}

static void put_files(struct json_writer *out, const struct value *given)
{
    if (!given || given->count == 0)
        return;
    json_key(out, "files");
    json_array_begin(out);
    for (size_t i = 0; i < given->count; i++) {
        json_object_begin(out);
        for (const struct field *field = file_fields; field->name; field++)
            put_given(out, field->name, field_text(given->list[i], field->name));
        json_object_end(out);
    }
    json_array_end(out);
}

static enum op_done say(struct op_call *call, struct err *err)
{
    struct str id = field_text(&call->in, "id"), body;
    struct message answered;
    struct inbox_result result;
    struct channel channel;
    struct buf json;
    struct json_writer out;

    if (find_sandbox(call, &channel, err) < 0 || find_named_message(call, "reply_to", &answered, err) < 0)
        return OP_FAILED;
    buf_init(&json, LIMIT_WEBHOOK_BYTES);
    out = json_writer(&json);
    json_object_begin(&out);
    json_text_at(&out, "from", field_text(&call->in, "as"));
    json_text_at(&out, "text", field_text(&call->in, "text"));
    put_given(&out, "name", field_text(&call->in, "name"));
    put_given(&out, "group", field_text(&call->in, "group"));
    put_given(&out, "reply_to", answered.external_id);
    put_given(&out, "id", id.data ? id : keep_id(call, 0));
    put_files(&out, field_get(&call->in, "files"));
    json_object_end(&out);
    if (take_body(call, &json, &body, err) < 0 || post(call, &channel, body, &result, err) < 0)
        return OP_FAILED;
    return answer(call, result.message_id, err);
}

static enum op_done receipt(struct op_call *call, struct err *err)
{
    static const char *const words[] = { "sent", "delivered", "read", "failed" };
    struct inbox_result result;
    struct channel channel;
    struct message message;
    struct buf json;
    struct json_writer out;
    struct str body;
    int found;

    if (find_named_message(call, "message", &message, err) < 0)
        return OP_FAILED;
    found = channel_load(call->hub->db, call->arena, CHANNEL_ID(call->tenant_id, message.channel_id), &channel, err);
    if (found != 1)
        return found < 0 ? OP_FAILED : (enum op_done)find_nothing(call, "message", "message", err);
    if (check_kind(&channel, "message", err) < 0)
        return OP_FAILED;
    if (message.direction == MESSAGE_IN || !message.external_id.data) {
        err_set(err, ERR_CONFLICT, "The simulated phone has not got this message.");
        err_hint(err, "It gives receipts for what was sent to it: message-hub sandbox messages");
        return OP_FAILED;
    }
    buf_init(&json, LIMIT_JSON_BYTES);
    out = json_writer(&json);
    json_object_begin(&out);
    json_cstr_at(&out, "receipt", words[field_number(&call->in, "state", 0)]);
    json_text_at(&out, "id", message.external_id);
    json_object_end(&out);
    if (take_body(call, &json, &body, err) < 0 || post(call, &channel, body, &result, err) < 0)
        return OP_FAILED;
    return answer(call, message.id, err);
}

/* --- What the phone shows -------------------------------------------------------------------------------------- */

/* The conversation of the channel with the simulated contact. 1, 0 there is none, -1. */
static int find_conversation(struct op_call *call, struct conversation *of, struct err *err)
{
    struct db_session *session;
    struct channel channel;
    int found;

    if (find_channel(call, "channel", &channel, err) < 0 || check_kind(&channel, "channel", err) < 0)
        return -1;
    *of = (struct conversation){ .tenant_id = call->tenant_id, .channel_id = channel.id,
                                 .peer = channel_address(call->arena, &channel, field_text(&call->in, "as")) };
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return -1;
    found = conversation_find(session, call->arena, of, err);
    db_read_end(session);
    return found;
}

static bool is_shown(const struct message *message)
{
    return message->direction == MESSAGE_IN || message->state == MESSAGE_SENT || message->state == MESSAGE_DELIVERED
        || message->state == MESSAGE_READ;
}

static enum op_done messages(struct op_call *call, struct err *err)
{
    struct message_filter filter = { .tenant_id = call->tenant_id, .direction = -1, .state = -1,
                                     .limit = op_list_limit(call) + 1 };
    struct db_session *session;
    struct conversation of;
    struct message *list = NULL;
    bool given;
    int count = 0, shown, found;

    if (op_list_cursor(call, &filter.below_id, 1, &given, err) < 0)
        return OP_FAILED;
    found = find_conversation(call, &of, err);
    if (found < 0)
        return OP_FAILED;
    filter.conversation_id = of.id;
    session = found ? db_read(call->hub->db, call->tenant_id, err) : NULL;
    if (found && !session)
        return OP_FAILED;
    if (found) {
        count = message_history(session, call->arena, &filter, &list, err);
        db_read_end(session);
    }
    if (count < 0)
        return OP_FAILED;
    shown = count < filter.limit ? count : filter.limit - 1;
    op_list_begin(call);
    for (int i = 0; i < shown; i++)
        if (is_shown(&list[i]))
            message_json(&call->out, &list[i]);
    op_list_end(call, shown < count ? &list[shown - 1].id : NULL, shown < count);
    return OP_DONE;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op rows[] = {
    { .name = "sandbox.say", .method = HTTP_POST, .path = "/api/v1/sandbox/say", .scope = SCOPE_RECEIVE,
      .summary = "Let the simulated contact say something.", .fields = say_fields, .run = say,
      .flags = OP_CREATES | OP_LARGE,
      .answer = message_columns, .shape = message_shape, .cli = "sandbox say", .cli_args = "text",
      .cli_columns = "id,from,text,state", .example = "sandbox say \"hello\" --as +15550100" },
    { .name = "sandbox.messages", .method = HTTP_GET, .path = "/api/v1/sandbox/messages", .scope = SCOPE_READ,
      .summary = "What the simulated phone shows, newest first: what it said and what reached it.",
      .fields = messages_fields, .run = messages, .flags = OP_LIST, .answer = message_columns, .shape = message_shape,
      .cli = "sandbox messages", .cli_columns = "received=received_at,dir=direction,state,text",
      .example = "sandbox messages --as +15550100" },
    { .name = "sandbox.receipt", .method = HTTP_POST, .path = "/api/v1/sandbox/receipt", .scope = SCOPE_RECEIVE,
      .summary = "Let the simulated phone say what became of a message that it got.", .fields = receipt_fields,
      .run = receipt, .answer = message_columns, .shape = message_shape, .cli = "sandbox receipt",
      .cli_args = "message state", .cli_columns = "id,state", .example = "sandbox receipt msg_0123456789abc read" },
};

const struct op_table ops_sandbox = { "sandbox", rows, sizeof rows / sizeof *rows };
