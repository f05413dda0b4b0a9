/* send.c - send a message, see what sending it would do, and call it back. */
#include "api/attach.h"
#include "api/find.h"
#include "api/keep.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/outbox.h"

/* --- Inputs and answers ---------------------------------------------------------------------------------------- */

static const struct field send_fields[] = {
    { "to", FIELD_TEXT, FIELD_PERSONAL, "Whom to: a phone number, an e-mail address. Or give `conversation`.", 1,
      LIMIT_ADDRESS_BYTES, NULL, NULL, NULL, "+15550100" },
    { "text", FIELD_TEXT, FIELD_PERSONAL, "What to say; may be left away where there are attachments.", 0,
      LIMIT_TEXT_BYTES, NULL, NULL, NULL, "See you at five." },
    ATTACH_FIELD,
    { "conversation", FIELD_ID, 0, "Answer in this conversation.", 0, 0, ID_CONVERSATION },
    { "channel", FIELD_TEXT, 0, "Name or id of the channel; default: the only one that can send.", 1,
      LIMIT_NAME_BYTES, NULL,
      NULL, NULL, "sandbox" },
    { "type", FIELD_ENUM, 0, "What kind of message it is.", 0, 0, MESSAGE_TYPES, "text" },
    { "priority", FIELD_ENUM, 0, "Urgent leaves before bulk.", 0, 0, "normal|bulk|urgent", "normal" },
    { "at", FIELD_TIME, 0, "Send it then, not before.", 0, 0, NULL, NULL, NULL, "2026-11-21T09:00:00Z" },
    { "expires_at", FIELD_TIME, 0, "Do not send it after this; default: 24 hours from when it is due." },
    { "reply_to", FIELD_ID, 0, "The message that it answers.", 0, 0, ID_MESSAGE },
    { "metadata", FIELD_OBJECT, 0, "What you want to find again with it.", 0, LIMIT_METADATA_BYTES, NULL, NULL, NULL,
      "{\"order\":\"A-17\"}" },
    { "fallback_channel", FIELD_TEXT, 0, "When it was not delivered in time or failed, send it over this channel.", 1,
      LIMIT_NAME_BYTES, NULL, NULL, NULL, "sms" },
    { "fallback_after_s", FIELD_INT, 0, "How long to wait for the receipt, in seconds.", 10, 604800, NULL, "300" },
    { "fallback_to", FIELD_TEXT, FIELD_PERSONAL, "The address there; default: the same.", 1, LIMIT_ADDRESS_BYTES },
    { "draft", FIELD_BOOL, 0, "Store it without sending.", 0, 0, NULL, "false" },
    { "dry_run", FIELD_BOOL, 0, "Change nothing; say what would happen.", 0, 0, NULL, "false" },
    { 0 }
};

static const struct field send_shape[] = {
    { "id", FIELD_ID, FIELD_REQUIRED, "The message.", 0, 0, ID_MESSAGE },
    { "state", FIELD_ENUM, FIELD_REQUIRED, "queued or draft; suppressed: the contact opted out.", 0, 0,
      "queued|draft|suppressed" },
    { "scheduled_at", FIELD_TIME, FIELD_REQUIRED | FIELD_NULLABLE, "When it becomes due; null: now." },
    { "dry_run", FIELD_BOOL, FIELD_REQUIRED, "false: it was stored." },
    { 0 }
};

static const struct field plan_shape[] = {
    { "dry_run", FIELD_BOOL, FIELD_REQUIRED, "true: nothing was stored; this is the plan." },
    { "channel", FIELD_TEXT, FIELD_REQUIRED, "The channel that would take it." },
    { "kind", FIELD_TEXT, FIELD_REQUIRED, "Its kind." },
    { "to", FIELD_TEXT, FIELD_REQUIRED, "The address as it is matched.", 0, LIMIT_ADDRESS_BYTES },
    { "parts", FIELD_INT, FIELD_REQUIRED, "Messages that text and files are split into." },
    { "segments", FIELD_INT, FIELD_REQUIRED, "SMS segments that are paid for." },
    { "encoding", FIELD_TEXT, FIELD_REQUIRED, "GSM-7, UCS-2 or text." },
    { "next_send_at", FIELD_TIME, FIELD_REQUIRED | FIELD_NULLABLE, "When the channel's limits let it go; null: now." },
    { "opted_out", FIELD_BOOL, FIELD_REQUIRED, "The contact said STOP; it would not go out." },
    { 0 }
};

/* --- What is asked for ----------------------------------------------------------------------------------------- */

/* Where: in a conversation, or to an address by a channel. */
static int route(struct op_call *call, struct outbox_request *request, struct err *err)
{
    bool conversation = field_get(&call->in, "conversation"), to = field_get(&call->in, "to");
    struct channel channel;

    if (conversation == to) {
        err_field(err, "to", conversation ? "Give \"to\" or \"conversation\", not both." : "\"to\" is missing.");
        return err_hint(err, "For example: \"to\": \"+15550100\", or \"conversation\": the id of one.");
    }
    request->conversation_id = field_number(&call->in, "conversation", 0);
    if (conversation && field_get(&call->in, "channel"))
        return err_field(err, "channel", "A conversation has its channel; give \"channel\" only with \"to\".");
    if (conversation)
        return 0;
    if ((field_get(&call->in, "channel") ? find_channel(call, "channel", &channel, err)
                                         : find_channel_out(call, &channel, err)) < 0)
        return -1;
    request->channel_id = channel.id;
    request->to = field_text(&call->in, "to");
    return find_address(call, &channel, "to", &(struct str){ 0 }, err);
}

static int read_fallback(struct op_call *call, struct outbox_request *request, struct err *err)
{
    struct channel channel;

    if (!field_get(&call->in, "fallback_channel"))
        return field_get(&call->in, "fallback_to")
            ? err_field(err, "fallback_to", "Give \"fallback_channel\" too: it says over which channel.") : 0;
    if (find_channel(call, "fallback_channel", &channel, err) < 0)
        return -1;
    request->fallback = (struct outbox_fallback){ channel.id, field_text(&call->in, "fallback_to"),
        field_number(&call->in, "fallback_after_s", 300) * 1000 };
    return 0;
}

static int check_times(const struct outbox_request *request, int64_t now_ms, struct err *err)
{
    if (request->expires_ms && request->expires_ms <= now_ms)
        return err_field(err, "expires_at", "\"expires_at\" is in the past; it could never be sent.");
    if (request->expires_ms && request->expires_ms <= request->scheduled_ms)
        return err_field(err, "expires_at", "\"expires_at\" is before \"at\"; it could never be sent.");
    return 0;
}

static int read_request(struct op_call *call, struct outbox_request *request, struct err *err)
{
    int64_t now_ms = clock_ms(), at_ms = field_number(&call->in, "at", 0);
    struct message answered;

    *request = (struct outbox_request){
        .tenant_id = call->tenant_id, .text = str_nfc(call->arena, field_text(&call->in, "text")),
        .type = field_text(&call->in, "type"), .metadata = field_text(&call->in, "metadata"),
        .origin = at_ms > now_ms ? ORIGIN_SCHEDULED : ORIGIN_PERSON,
        .priority = field_number(&call->in, "priority", PRIORITY_NORMAL), .scheduled_ms = at_ms > now_ms ? at_ms : 0,
        .expires_ms = field_number(&call->in, "expires_at", 0), .draft = field_flag(&call->in, "draft"),
    };
    if (check_times(request, now_ms, err) < 0 || route(call, request, err) < 0
        || find_named_message(call, "reply_to", &answered, err) < 0 || read_fallback(call, request, err) < 0)
        return -1;
    request->reply_to_id = answered.id;
    return attach_read(call, &call->in, &request->attachments, &request->attachment_count, err);
}

/* --- Sending --------------------------------------------------------------------------------------------------- */

/* One message on its way out; in the call's arena. */
struct sending {
    struct outbox_write write;  /* first: its item comes back to us */
    struct op_call *call;
};

static void put_sent(struct op_call *call, const struct outbox_write *write, enum message_state state)
{
    char id[ID_TEXT_BYTES];

    buf_clear(&call->response.body);
    call->out = json_writer(&call->response.body);
    json_object_begin(&call->out);
    json_cstr_at(&call->out, "id", id_encode(id, ID_MESSAGE, write->message_id));
    json_cstr_at(&call->out, "state", message_state_words[state]);
    json_time_at(&call->out, "scheduled_at", write->request.scheduled_ms);
    json_bool_at(&call->out, "dry_run", false);
    json_object_end(&call->out);
}

/* On the writer's thread, after the commit or the refusal. */
static void stored(struct db_write_item *item)
{
    struct sending *sending = (struct sending *)item;

    if (item->err.code != ERR_NONE) {
        op_finish(sending->call, &item->err);
    } else if (sending->write.replayed) {
        op_slow(sending->call, op_replay);
    } else if (sending->write.suppressed) {
        put_sent(sending->call, &sending->write, MESSAGE_SUPPRESSED);
        op_slow(sending->call, keep_instead);
    } else {
        op_finish(sending->call, NULL);
    }
}

/* Of what the outbox looks up only the conversation comes from the request as it is. */
static enum op_done unknown_conversation(struct op_call *call, struct err *err)
{
    if (err->code == ERR_NOT_FOUND && field_get(&call->in, "conversation"))
        find_nothing(call, "conversation", "conversation", err);
    return OP_FAILED;
}

static enum op_done plan(struct op_call *call, const struct outbox_request *request, struct err *err)
{
    struct outbox_plan plan = { 0 };

    if (outbox_plan(call->hub, call->arena, request, &plan, err) < 0)
        return unknown_conversation(call, err);
    call->response.status = 200;
    json_object_begin(&call->out);
    json_bool_at(&call->out, "dry_run", true);
    json_text_at(&call->out, "channel", plan.channel_name);
    json_text_at(&call->out, "kind", plan.kind);
    json_text_at(&call->out, "to", plan.to);
    json_int_at(&call->out, "parts", plan.parts);
    json_int_at(&call->out, "segments", plan.segments);
    json_cstr_at(&call->out, "encoding", plan.encoding);
    json_time_at(&call->out, "next_send_at", plan.next_send_ms);
    json_bool_at(&call->out, "opted_out", plan.opted_out);
    json_object_end(&call->out);
    return OP_DONE;
}

static enum op_done send(struct op_call *call, struct err *err)
{
    struct sending *sending = arena_alloc(call->arena, sizeof *sending);

    sending->call = call;
    if (read_request(call, &sending->write.request, err) < 0)
        return OP_FAILED;
    if (field_flag(&call->in, "dry_run"))
        return plan(call, &sending->write.request, err);
    sending->write.idempotency = call->idempotency;
    if (outbox_prepare(call->hub, call->arena, &sending->write, err) < 0)
        return unknown_conversation(call, err);
    put_sent(call, &sending->write, sending->write.request.draft ? MESSAGE_DRAFT : MESSAGE_QUEUED);
    op_remember(call);
    sending->write.item.done = stored;
    call->later = sending;
    return db_submit(call->hub->db, &sending->write.item, err) < 0 ? OP_FAILED : OP_LATER;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op_answer planned[] = { { 200, "With dry_run: what would happen.", plan_shape }, { 0 } };

#define SEND .scope = SCOPE_SEND, .summary = "Send a message, now or later; or see what would happen.", \
    .fields = send_fields, .run = send, .shape = send_shape, .also = planned

static const struct op rows[] = {
    { .name = "message.send", .method = HTTP_POST, .path = "/api/v1/messages/send", SEND,
      .flags = OP_ACCEPTED | OP_GROUPED | OP_LARGE | OP_MCP, .cli = "send", .cli_args = "to text",
      .cli_columns = "id,state,scheduled_at,dry_run,channel,to,parts,segments,encoding,next_send_at,opted_out",
      .example = "send +15550100 \"See you at five.\" --channel sandbox" },
    { .name = "message.send", .method = HTTP_POST, .path = "/api/v1/messaging/outbound", SEND,
      .flags = OP_ACCEPTED | OP_GROUPED | OP_LARGE | OP_ALIAS },
    { .name = "message.send", .method = HTTP_POST, .path = "/messages", SEND,
      .flags = OP_ACCEPTED | OP_GROUPED | OP_LARGE | OP_ALIAS },
};

const struct op_table ops_send = { "messages", rows, sizeof rows / sizeof *rows };
