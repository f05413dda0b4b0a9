/* conversations.c - who talks with whom, who looks after it, and whether a machine may answer. Their messages are in
 * messages.c. */
#include "api/find.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/conversation.h"
#include "core/title.h"

/* --- Inputs ---------------------------------------------------------------------------------------------------- */

#define ID { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The conversation.", 0, 0, ID_CONVERSATION }

static const struct field list_fields[] = {
    { "channel", FIELD_TEXT, FIELD_QUERY, "Only those of this channel, by name or id.", 1, LIMIT_NAME_BYTES, NULL,
      NULL, NULL,
      "sandbox" },
    { "contact", FIELD_ID, FIELD_QUERY, "Only those with this contact.", 0, 0, ID_CONTACT },
    { "state", FIELD_ENUM, FIELD_QUERY, "Only those in this state.", 0, 0, "open|waiting|done" },
    { "assigned_to", FIELD_TEXT, FIELD_QUERY, "Only those that this person looks after.", 1, LIMIT_NAME_BYTES,
      NULL, NULL,
      NULL, "ada" },
    { "unread", FIELD_BOOL, FIELD_QUERY, "Only those with something unread.", 0, 0, NULL, "false" },
    { "q", FIELD_TEXT, FIELD_QUERY, "Part of the title or the address.", 1, LIMIT_ADDRESS_BYTES },
    OP_LIST_FIELDS,
    { 0 }
};

static const struct field id_fields[] = { ID, { 0 } };

static const struct field start_fields[] = {
    { "to", FIELD_TEXT, FIELD_REQUIRED | FIELD_PERSONAL, "Whom with: a phone number, an e-mail address, a chat id.", 1,
      LIMIT_ADDRESS_BYTES, NULL, NULL, NULL, "+15550100" },
    { "channel", FIELD_TEXT, 0, "Name or id of the channel; default: the only one that can send.", 1,
      LIMIT_NAME_BYTES, NULL,
      NULL, NULL, "sandbox" },
    { "name", FIELD_TEXT, FIELD_PERSONAL, "What the contact is called.", 0, LIMIT_NAME_BYTES, NULL, NULL, NULL,
      "Ada Lovelace" },
    { 0 }
};

static const struct field update_fields[] = {
    ID,
    { "state", FIELD_ENUM, 0, "Where it stands.", 0, 0, "open|waiting|done", NULL, NULL, "done" },
    { "title", FIELD_TEXT, FIELD_NULLABLE, "What it is called; null removes it.", 0, LIMIT_NAME_BYTES, NULL, NULL, NULL,
      "Order A-17" },
    { 0 }
};

static const struct field assign_fields[] = {
    ID,
    { "to", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "Who looks after it; null: nobody.", 0, LIMIT_NAME_BYTES,
      NULL, NULL,
      NULL, "ada" },
    { 0 }
};

static const struct field pause_fields[] = {
    ID,
    { "until", FIELD_TIME, 0, "Until when no machine answers; default: until it is handed back." },
    { 0 }
};

/* --- Reading --------------------------------------------------------------------------------------------------- */

static void put_conversation(struct op_call *call, const struct conversation *conversation)
{
    json_object_begin(&call->out);
    row_json(&call->out, conversation_columns, conversation);
    json_object_end(&call->out);
}

static int read_filter(struct op_call *call, struct conversation_filter *filter, struct err *err)
{
    struct channel channel;
    int64_t key[2] = { 0 };
    bool given;

    *filter = (struct conversation_filter){
        .tenant_id = call->tenant_id, .contact_id = field_number(&call->in, "contact", 0),
        .state = field_number(&call->in, "state", -1), .text = field_text(&call->in, "q"),
        .assigned_to = field_text(&call->in, "assigned_to"), .unread = field_flag(&call->in, "unread"),
        .limit = op_list_limit(call) + 1,
    };
    if (op_list_cursor(call, key, 2, &given, err) < 0)
        return -1;
    filter->before_ms = key[0];
    filter->before_id = key[1];
    if (!field_get(&call->in, "channel"))
        return 0;
    if (find_channel(call, "channel", &channel, err) < 0)
        return -1;
    filter->channel_id = channel.id;
    return 0;
}

static enum op_done list(struct op_call *call, struct err *err)
{
    struct conversation_filter filter;
    struct db_session *session;
    struct conversation *items;
    int count, shown;

    if (read_filter(call, &filter, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    count = conversation_list(session, call->arena, &filter, &items, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    shown = count < filter.limit ? count : filter.limit - 1;
    op_list_begin(call);
    for (int i = 0; i < shown; i++)
        put_conversation(call, &items[i]);
    if (shown < count)
        op_list_end(call, (int64_t[]){ items[shown - 1].last_message_ms, items[shown - 1].id }, 2);
    else
        op_list_end(call, NULL, 0);
    return OP_DONE;
}

static enum op_done get(struct op_call *call, struct err *err)
{
    struct conversation of = { .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found;

    if (!session)
        return OP_FAILED;
    found = conversation_get(session, call->arena, &of, err);
    db_read_end(session);
    if (found != 1)
        return found < 0 ? OP_FAILED : op_not_found(call, err);
    put_conversation(call, &of);
    return OP_DONE;
}

/* --- Starting -------------------------------------------------------------------------------------------------- */

struct edit {
    struct op_call *call;
    struct conversation of;             /* which one; then as it is stored */
    struct conversation_touch start;    /* as wanted */
    int64_t state, until_ms;            /* -1: no change */
    struct str text;                    /* a title or a name */
    bool has_text;
};

static int render(struct op_call *call, void *arg, struct err *err)
{
    const struct edit *edit = arg;

    (void)err;
    put_conversation(call, &edit->of);
    return 0;
}

/* `done` is a change's answer: 1, 0 unknown, -1. */
static int read_again(struct db_session *tx, struct edit *edit, int done, struct err *err)
{
    if (done == 1)
        done = conversation_get(tx, edit->call->arena, &edit->of, err);
    return done == 1 ? 0 : done < 0 ? -1 : op_not_found(edit->call, err);
}

static int start_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    struct conversation_touch start = edit->start;

    if (conversation_start(tx, &start, err) < 0)
        return -1;
    edit->of.id = start.id;
    edit->call->object = id_text(edit->call->arena, ID_CONVERSATION, start.id);
    edit->call->response.status = start.created ? 201 : 200;
    return read_again(tx, edit, 1, err);
}

static enum op_done start(struct op_call *call, struct err *err)
{
    struct edit edit = { .call = call, .of.tenant_id = call->tenant_id };
    struct str given = str_trim(str_nfc(call->arena, field_text(&call->in, "to")));
    struct channel channel;
    int64_t first;

    if ((field_get(&call->in, "channel") ? find_channel(call, "channel", &channel, err)
                                         : find_channel_out(call, &channel, err)) < 0)
        return OP_FAILED;
    edit.start = (struct conversation_touch){ .tenant_id = call->tenant_id, .channel_id = channel.id,
        .name = str_nfc(call->arena, field_text(&call->in, "name")), .now_ms = clock_ms() };
    if (find_address(call, &channel, "to", &edit.start.peer, err) < 0)
        return OP_FAILED;
    if (!str_eq(edit.start.peer, given))
        edit.start.address_given = given;
    first = ids_take(call->hub->ids, 2, err);
    if (first < 0)
        return OP_FAILED;
    edit.start.id = first;
    edit.start.contact_id = first + 1;
    return op_write(call, start_tx, render, &edit, err);
}

/* --- Changing -------------------------------------------------------------------------------------------------- */

static struct edit edit_of(struct op_call *call)
{
    return (struct edit){ .call = call, .of = { .id = field_number(&call->in, "id", 0),
        .tenant_id = call->tenant_id } };
}

static int update_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    int done = 1;

    if (edit->state >= 0)
        done = conversation_set_state(tx, &edit->of, (enum conversation_state)edit->state, err);
    if (done == 1 && edit->has_text)
        done = title_set(tx, &edit->of, edit->text, err);
    return read_again(tx, edit, done, err);
}

static enum op_done update(struct op_call *call, struct err *err)
{
    const struct value *title = field_get(&call->in, "title");
    struct edit edit = edit_of(call);

    edit.state = field_number(&call->in, "state", -1);
    edit.has_text = title;
    edit.text = !title || title->is_null ? STR("") : str_nfc(call->arena, title->text);
    return op_write(call, update_tx, render, &edit, err);
}

static int assign_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    return read_again(tx, edit, conversation_assign(tx, &edit->of, edit->text, err), err);
}

static enum op_done assign(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);
    struct str to = str_trim(str_nfc(call->arena, field_text(&call->in, "to")));

    edit.text = to.len > 0 ? to : (struct str){ 0 };
    return op_write(call, assign_tx, render, &edit, err);
}

static int pause_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    return read_again(tx, edit, conversation_pause(tx, &edit->of, edit->until_ms, err), err);
}

static enum op_done pause(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    edit.until_ms = field_number(&call->in, "until", CONVERSATION_PAUSED_FOR_GOOD);
    if (edit.until_ms <= clock_ms()) {
        err_field(err, "until", "\"until\" is in the past.");
        err_hint(err, "Leave it out to pause until the conversation is handed back.");
        return OP_FAILED;
    }
    return op_write(call, pause_tx, render, &edit, err);
}

static enum op_done resume(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    return op_write(call, pause_tx, render, &edit, err);
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op_answer found_one[] = { { 200, "It was there already.", NULL }, { 0 } };

#define START .scope = SCOPE_SEND, .summary = "Start a conversation, or find the one there is.", \
    .fields = start_fields, \
    .run = start, .answer = conversation_columns, .also = found_one

static const struct op rows[] = {
    { .name = "conversation.list", .method = HTTP_GET, .path = "/api/v1/conversations", .scope = SCOPE_READ,
      .summary = "List conversations, the most recent first.", .fields = list_fields, .run = list, .flags = OP_LIST,
      .answer = conversation_columns, .cli = "conversations",
      .cli_columns = "id,title,peer,state,unread,assigned=assigned_to,last=last_message_at",
      .example = "conversations --state open" },
    { .name = "conversation.get", .method = HTTP_GET, .path = "/api/v1/conversations/{id}", .scope = SCOPE_READ,
      .summary = "Show one conversation.", .fields = id_fields, .run = get, .answer = conversation_columns,
      .cli = "conversations get", .cli_args = "id", .example = "conversations get cnv_0123456789abc" },
    { .name = "conversation.start", .method = HTTP_POST, .path = "/api/v1/conversations", START, .flags = OP_CREATES,
      .cli = "conversations start", .cli_args = "to", .cli_columns = "id,title,peer,state",
      .example = "conversations start +15550100 --channel sandbox --name \"Ada Lovelace\"" },
    { .name = "conversation.start", .method = HTTP_POST, .path = "/conversations", START,
      .flags = OP_CREATES | OP_ALIAS },
    { .name = "conversation.update", .method = HTTP_PATCH, .path = "/api/v1/conversations/{id}", .scope = SCOPE_MANAGE,
      .summary = "Change where a conversation stands or what it is called.", .fields = update_fields, .run = update,
      .answer = conversation_columns, .cli = "conversations update", .cli_args = "id", .cli_columns = "id,title,state",
      .example = "conversations update cnv_0123456789abc --state done" },
    { .name = "conversation.assign", .method = HTTP_PUT, .path = "/api/v1/conversations/{id}/assignee",
      .scope = SCOPE_MANAGE, .summary = "Say who looks after a conversation.", .fields = assign_fields, .run = assign,
      .answer = conversation_columns, .cli = "conversations assign", .cli_args = "id to",
      .cli_columns = "id,title,assigned=assigned_to", .example = "conversations assign cnv_0123456789abc ada" },
    { .name = "conversation.pause", .method = HTTP_PUT, .path = "/api/v1/conversations/{id}/pause",
      .scope = SCOPE_MANAGE,
      .summary = "Let no machine answer in a conversation.", .fields = pause_fields, .run = pause,
      .answer = conversation_columns, .cli = "conversations pause", .cli_args = "id",
      .cli_columns = "id,title,paused_until",
      .example = "conversations pause cnv_0123456789abc" },
    { .name = "conversation.resume", .method = HTTP_DELETE, .path = "/api/v1/conversations/{id}/pause",
      .scope = SCOPE_MANAGE, .summary = "Hand a conversation back to the machine.", .fields = id_fields, .run = resume,
      .answer = conversation_columns, .cli = "conversations resume", .cli_args = "id",
      .cli_columns = "id,title,paused_until", .example = "conversations resume cnv_0123456789abc" },
};

const struct op_table ops_conversations = { "conversations", rows, sizeof rows / sizeof *rows };
