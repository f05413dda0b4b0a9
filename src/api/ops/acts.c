/* acts.c - what people do to messages and conversations that their contacts see: reactions, typing. */
#include "api/message_shape.h"
#include "api/op.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/act.h"
#include "core/message.h"

/* --- Inputs and answers ---------------------------------------------------------------------------------------- */

#define ID { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The message.", 0, 0, ID_MESSAGE }
#define EMOJI_BYTES 64

static const struct field id_fields[] = { ID, { 0 } };

static const struct field react_fields[] = {
    ID,
    { "emoji", FIELD_TEXT, FIELD_REQUIRED, "The reaction; it takes the place of the last one.", 1, EMOJI_BYTES, NULL,
      NULL, NULL, "+1" },
    { 0 }
};

static const struct field typing_fields[] = {
    { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The conversation.", 0, 0, ID_CONVERSATION },
    { "off", FIELD_BOOL, 0, "Nobody types any more.", 0, 0, NULL, "false" },
    { 0 }
};

static const struct field message_shape[] = { MESSAGE_SHAPE, { 0 } };

static const struct field typing_shape[] = {
    { "shown", FIELD_BOOL, FIELD_REQUIRED, "The provider took it; it is not tried again." },
    { 0 }
};

/* --- Reactions -------------------------------------------------------------------------------------------------- */

struct reacting {
    struct op_call *call;
    struct act act;
    struct message message;     /* as it is now */
};

static int react_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct reacting *reacting = arg;
    int found;

    if (act_queue(tx, &reacting->act, err) < 0)
        return err->code == ERR_NOT_FOUND ? op_not_found(reacting->call, err) : -1;
    reacting->message = (struct message){ .id = reacting->act.message_id, .tenant_id = reacting->act.tenant_id };
    found = message_get(tx, reacting->call->arena, &reacting->message, err);
    return found == 1 ? 0 : found < 0 ? -1 : op_not_found(reacting->call, err);
}

static int put_message(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    message_json(&call->out, &((struct reacting *)arg)->message);
    return 0;
}

static enum op_done queue(struct op_call *call, struct str emoji, struct err *err)
{
    struct reacting reacting = { .call = call, .act = { .act = SEND_REACTION, .tenant_id = call->tenant_id,
        .id = ids_next(call->hub->ids, err), .message_id = field_number(&call->in, "id", 0), .at_ms = clock_ms(),
        .text = emoji } };

    return reacting.act.id < 0 ? OP_FAILED : op_write(call, react_tx, put_message, &reacting, err);
}

static enum op_done react(struct op_call *call, struct err *err)
{
    return queue(call, str_trim(str_nfc(call->arena, field_text(&call->in, "emoji"))), err);
}

static enum op_done unreact(struct op_call *call, struct err *err)
{
    return queue(call, STR(""), err);
}

/* --- Typing ------------------------------------------------------------------------------------------------------ */

/* Takes as long as an exchange does: not on a thread that others wait for. */
static enum op_done show(struct op_call *call, struct err *err)
{
    const struct act_typing typing = { .tenant_id = call->tenant_id,
        .conversation_id = field_number(&call->in, "id", 0), .off = field_flag(&call->in, "off") };
    int shown = act_type(call->hub, &typing, err);

    if (shown < 0) {
        if (err->code == ERR_NOT_FOUND)
            op_not_found(call, err);
        return OP_FAILED;
    }
    json_object_begin(&call->out);
    json_bool_at(&call->out, "shown", shown);
    json_object_end(&call->out);
    return OP_DONE;
}

static enum op_done typing(struct op_call *call, struct err *err)
{
    (void)err;
    op_slow(call, show);
    return OP_LATER;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op rows[] = {
    { .name = "message.react", .method = HTTP_PUT, .path = "/api/v1/messages/{id}/reaction", .scope = SCOPE_SEND,
      .summary = "React to a message, where its channel can; the contact sees it.", .fields = react_fields,
      .run = react, .answer = message_columns, .shape = message_shape, .cli = "messages react", .cli_args = "id emoji",
      .cli_columns = "id,state,text", .example = "messages react msg_0123456789abc +1" },
    { .name = "message.unreact", .method = HTTP_DELETE, .path = "/api/v1/messages/{id}/reaction", .scope = SCOPE_SEND,
      .summary = "Take the hub's reaction to a message back.", .fields = id_fields, .run = unreact,
      .answer = message_columns, .shape = message_shape, .cli = "messages unreact", .cli_args = "id",
      .cli_columns = "id,state,text", .example = "messages unreact msg_0123456789abc" },
    { .name = "conversation.typing", .method = HTTP_PUT, .path = "/api/v1/conversations/{id}/typing",
      .scope = SCOPE_SEND, .summary = "Show the contact that somebody types, where the channel can; tried once.",
      .fields = typing_fields, .run = typing, .shape = typing_shape, .cli = "conversations typing", .cli_args = "id",
      .example = "conversations typing cnv_0123456789abc" },
};

const struct op_table ops_acts = { "messages", rows, sizeof rows / sizeof *rows };
