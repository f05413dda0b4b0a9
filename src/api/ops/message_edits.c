/* message_edits.c - what people change about messages that are here: read, tags, the text, gone. */
#include "api/find.h"
#include "api/message_shape.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/act.h"
#include "core/message_edit.h"
#include "core/message_list.h"

/* --- Inputs and answers ---------------------------------------------------------------------------------------- */

#define ID { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The message.", 0, 0, ID_MESSAGE }

static const struct field id_fields[] = { ID, { 0 } };

#define LOCAL(where) \
    { "local", FIELD_BOOL, where, "In the hub alone: the contact keeps what it got.", 0, 0, NULL, "false" }

static const struct field delete_fields[] = { ID, LOCAL(FIELD_QUERY), { 0 } };

static const struct field edit_fields[] = {
    ID,
    LOCAL(0),
    { "text", FIELD_TEXT, FIELD_REQUIRED | FIELD_PERSONAL, "What it says from now on; the old text is kept.", 1,
      LIMIT_TEXT_BYTES, NULL, NULL, NULL, "See you at six." },
    { 0 }
};

static const struct field tag_fields[] = {
    ID,
    { "tag", FIELD_TEXT, FIELD_PATH | FIELD_REQUIRED, "The tag.", 1, LIMIT_TAG_BYTES, NULL, NULL, NULL, "order" },
    { 0 }
};

static const struct field read_many_fields[] = {
    { "ids", FIELD_IDS, 0, "These messages.", 1, LIMIT_BATCH_MESSAGES, ID_MESSAGE },
    { "conversation", FIELD_ID, 0, "Or what is unread in this conversation, up to 1,000 at a time.", 0, 0,
      ID_CONVERSATION },
    { "until", FIELD_TIME, 0, "With `conversation`: only what was stored before this time." },
    { "dry_run", FIELD_BOOL, 0, "Change nothing; say how many it would be.", 0, 0, NULL, "false" },
    { 0 }
};

static const struct field message_shape[] = { MESSAGE_SHAPE, { 0 } };

static const struct field tags_shape[] = {
    { "id", FIELD_ID, FIELD_REQUIRED, "The message.", 0, 0, ID_MESSAGE },
    { "tags", FIELD_TEXTS, FIELD_REQUIRED, "Its tags now.", 0, LIMIT_TAGS_PER_MESSAGE },
    { 0 }
};

static const struct field read_many_shape[] = {
    { "read", FIELD_INT, FIELD_REQUIRED, "How many were unread until now." },
    { "dry_run", FIELD_BOOL, FIELD_REQUIRED, "Nothing was changed." },
    { 0 }
};

/* --- Changing one ---------------------------------------------------------------------------------------------- */

struct edit {
    struct op_call *call;
    struct message_ref ref;
    struct str text;            /* a new text, or a tag */
    int64_t act_id;             /* drawn for what goes out */
    bool local;                 /* nothing goes out */
    struct message message;     /* as it is stored then */
    struct str *tags;
    int tag_count;
};

static struct edit edit_of(struct op_call *call)
{
    return (struct edit){ .call = call,
        .ref = { .tenant_id = call->tenant_id, .id = field_number(&call->in, "id", 0), .at_ms = clock_ms() } };
}

static int read_again(struct db_session *tx, struct edit *edit, struct err *err)
{
    int found;

    edit->message = (struct message){ .id = edit->ref.id, .tenant_id = edit->ref.tenant_id };
    found = message_get(tx, edit->call->arena, &edit->message, err);
    return found == 1 ? 0 : found < 0 ? -1 : op_not_found(edit->call, err);
}

static int put_message(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    message_json(&call->out, &((struct edit *)arg)->message);
    return 0;
}

/* What is done to a message that is out becomes so when its channel has done it. 1 it will be, 0 it is the hub's own
 * business, -1. */
static int queue_act(struct db_session *tx, const struct edit *edit, enum send_act act, struct err *err)
{
    const struct act wanted = { .id = edit->act_id, .tenant_id = edit->ref.tenant_id, .message_id = edit->ref.id,
        .at_ms = edit->ref.at_ms, .act = act, .text = edit->text };
    int queued = edit->local ? 0 : act_queue(tx, &wanted, err);

    return queued < 0 && err->code == ERR_NOT_FOUND ? op_not_found(edit->call, err) : queued;
}

static int read_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    const struct act_reading told = { .tenant_id = edit->ref.tenant_id, .first_id = edit->act_id,
        .at_ms = edit->ref.at_ms, .ids = &edit->ref.id, .count = 1 };
    int marked;
    struct message_reading reading = { .tenant_id = edit->ref.tenant_id, .at_ms = edit->ref.at_ms, .ids = &edit->ref.id,
                                       .count = 1 };

    marked = message_mark_read(tx, &reading, err);
    if (marked < 0 || read_again(tx, edit, err) < 0 || (marked && act_queue_reading(tx, &told, err)))
        return -1;
    if (edit->message.direction == MESSAGE_IN)
        return 0;
    err_set(err, ERR_CONFLICT, "This message went out; whether it was read is its contact's to say.");
    return err_hint(err, "Only what came in can be marked as read.");
}

static enum op_done mark_read(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    edit.act_id = ids_next(call->hub->ids, err);
    return edit.act_id < 0 ? OP_FAILED : op_write(call, read_tx, put_message, &edit, err);
}

/* Why a message was left as it is. */
static int refuse(const struct edit *edit, const char *what, struct err *err)
{
    const struct message *message = &edit->message;

    if (message->times.deleted_ms)
        return err_set(err, ERR_CONFLICT, "The message was deleted; it cannot be %s.", what);
    err_set(err, ERR_CONFLICT, "The message is %s; it cannot be %s.", message_state_words[message->state], what);
    return err_hint(err, "Call it back first: message-hub messages cancel %s",
                    id_text(edit->call->arena, ID_MESSAGE, message->id));
}

static int edit_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    int queued = queue_act(tx, edit, SEND_EDIT, err);
    int done = queued == 0 ? message_edit(tx, &edit->ref, edit->text, err) : queued;

    if (queued == 1)
        return read_again(tx, edit, err);
    if (done < 0 || read_again(tx, edit, err) < 0)
        return -1;
    return done == 1 || (!edit->message.times.deleted_ms && str_eq(edit->message.text, edit->text))
        ? 0
        : refuse(edit, "edited", err);
}

static enum op_done change_text(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    edit.text = str_nfc(call->arena, field_text(&call->in, "text"));
    edit.local = field_flag(&call->in, "local");
    edit.act_id = ids_next(call->hub->ids, err);
    return edit.act_id < 0 ? OP_FAILED : op_write(call, edit_tx, put_message, &edit, err);
}

/* Deleting what is gone already is done. */
static int delete_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    int queued = read_again(tx, edit, err) < 0 ? -1
        : edit->message.times.deleted_ms ? 0 : queue_act(tx, edit, SEND_DELETE, err);
    int done = queued == 0 ? message_delete(tx, &edit->ref, err) : queued;

    if (queued == 1)
        return 0;
    if (done < 0 || read_again(tx, edit, err) < 0)
        return -1;
    return edit->message.times.deleted_ms ? 0 : refuse(edit, "deleted", err);
}

static enum op_done delete(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    edit.local = field_flag(&call->in, "local");
    edit.act_id = ids_next(call->hub->ids, err);
    return edit.act_id < 0 ? OP_FAILED : op_write(call, delete_tx, NULL, &edit, err);
}

/* --- Tags ------------------------------------------------------------------------------------------------------ */

static int put_tags(struct op_call *call, void *arg, struct err *err)
{
    const struct edit *edit = arg;

    (void)err;
    json_object_begin(&call->out);
    json_cstr_at(&call->out, "id", id_text(call->arena, ID_MESSAGE, edit->ref.id));
    json_key(&call->out, "tags");
    json_array_begin(&call->out);
    for (int i = 0; i < edit->tag_count; i++)
        json_put_text(&call->out, edit->tags[i]);
    json_array_end(&call->out);
    json_object_end(&call->out);
    return 0;
}

static int tag_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    if (message_tag(tx, &edit->ref, edit->text, err) < 0)
        return -1;
    edit->tag_count = message_tags(tx, edit->call->arena, &edit->ref, &edit->tags, err);
    return edit->tag_count < 0 ? -1 : 0;
}

static int untag_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    if (message_untag(tx, &edit->ref, edit->text, err) < 0)
        return -1;
    edit->tag_count = message_tags(tx, edit->call->arena, &edit->ref, &edit->tags, err);
    return edit->tag_count < 0 ? -1 : 0;
}

static enum op_done tag(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    edit.text = str_trim(str_nfc(call->arena, field_text(&call->in, "tag")));
    return op_write(call, tag_tx, put_tags, &edit, err);
}

static enum op_done untag(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    edit.text = str_trim(str_nfc(call->arena, field_text(&call->in, "tag")));
    return op_write(call, untag_tx, put_tags, &edit, err);
}

/* --- Marking many ---------------------------------------------------------------------------------------------- */

struct many {
    struct op_call *call;
    int64_t now_ms, act_id;     /* act_id: the first of those that telling it may need */
    int64_t *ids;               /* those that are meant */
    int count;
    int read;                   /* how many of them were unread */
};

/* What is unread in the conversation, up to the cap. */
static int list_unread(struct db_session *session, struct many *many, struct err *err)
{
    struct op_call *call = many->call;
    struct message_filter filter = {
        .tenant_id = call->tenant_id, .conversation_id = field_number(&call->in, "conversation", 0), .direction = -1,
        .state = -1, .to_ms = field_number(&call->in, "until", 0), .unread = true, .limit = LIMIT_BATCH_MESSAGES,
    };
    struct message *messages;

    many->count = message_list(session, call->arena, &filter, &messages, err);
    if (many->count < 0)
        return -1;
    many->ids = arena_array(call->arena, (size_t)many->count, sizeof *many->ids);
    for (int i = 0; i < many->count; i++)
        many->ids[i] = messages[i].id;
    return 0;
}

static int many_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct many *many = arg;
    struct message_reading reading = { .tenant_id = many->call->tenant_id, .at_ms = many->now_ms };

    if (field_get(&many->call->in, "conversation") && list_unread(tx, many, err) < 0)
        return -1;
    reading.ids = many->ids;
    reading.count = (size_t)many->count;
    many->read = message_mark_read(tx, &reading, err);
    if (many->read <= 0)
        return many->read;
    return act_queue_reading(tx, &(struct act_reading){ .tenant_id = reading.tenant_id, .first_id = many->act_id,
        .at_ms = many->now_ms, .ids = many->ids, .count = (size_t)many->count }, err);
}

static int put_many(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    json_object_begin(&call->out);
    json_int_at(&call->out, "read", ((struct many *)arg)->read);
    json_bool_at(&call->out, "dry_run", field_flag(&call->in, "dry_run"));
    json_object_end(&call->out);
    return 0;
}

/* How many of the ids are unread messages of this tenant. */
static int count_unread(struct db_session *session, struct many *many, struct err *err)
{
    for (int i = 0; i < many->count; i++) {
        struct message message = { .id = many->ids[i], .tenant_id = many->call->tenant_id };
        int found = message_get(session, many->call->arena, &message, err);

        if (found < 0)
            return -1;
        many->read += found && message.direction == MESSAGE_IN && !message.times.read_ms && !message.times.deleted_ms;
    }
    return 0;
}

static enum op_done try_many(struct many *many, struct err *err)
{
    struct op_call *call = many->call;
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int failed;

    if (!session)
        return OP_FAILED;
    if (field_get(&call->in, "conversation")) {
        failed = list_unread(session, many, err);
        many->read = many->count;
    } else {
        failed = count_unread(session, many, err);
    }
    db_read_end(session);
    return failed ? OP_FAILED : (enum op_done)put_many(call, many, err);
}

static enum op_done read_many(struct op_call *call, struct err *err)
{
    const struct value *ids = field_get(&call->in, "ids");
    struct many many = { .call = call, .now_ms = clock_ms() };
    bool conversation = field_get(&call->in, "conversation");

    if (conversation == (ids != NULL)) {
        err_field(err, "ids", "Give \"ids\" or a \"conversation\", one of them.");
        err_hint(err, "For example: \"conversation\": the id of one, for everything unread in it.");
        return OP_FAILED;
    }
    if (ids) {
        many.ids = ids->ids;
        many.count = (int)ids->count;
    }
    if (field_flag(&call->in, "dry_run"))
        return try_many(&many, err);
    many.act_id = ids_take(call->hub->ids, ids ? (size_t)many.count : 1, err);
    return many.act_id < 0 ? OP_FAILED : op_write(call, many_tx, put_many, &many, err);
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op rows[] = {
    { .name = "message.read", .method = HTTP_PUT, .path = "/api/v1/messages/{id}/read", .scope = SCOPE_SEND,
      .summary = "Mark a message as read.", .fields = id_fields, .run = mark_read, .answer = message_columns,
      .shape = message_shape, .cli = "mark-read", .cli_args = "id", .cli_columns = "id,read_at",
      .example = "mark-read msg_0123456789abc" },
    { .name = "message.read_many", .method = HTTP_POST, .path = "/api/v1/messages/read", .scope = SCOPE_SEND,
      .summary = "Mark many messages as read: by their ids, or what is unread in a conversation.",
      .fields = read_many_fields, .run = read_many, .shape = read_many_shape, .cli = "messages read",
      .cli_args = "ids", .example = "messages read --conversation cnv_0123456789abc" },
    { .name = "message.tag", .method = HTTP_PUT, .path = "/api/v1/messages/{id}/tags/{tag}", .scope = SCOPE_SEND,
      .summary = "Put a tag on a message.", .fields = tag_fields, .run = tag, .shape = tags_shape,
      .cli = "messages tag",
      .cli_args = "id tag", .example = "messages tag msg_0123456789abc order" },
    { .name = "message.untag", .method = HTTP_DELETE, .path = "/api/v1/messages/{id}/tags/{tag}", .scope = SCOPE_SEND,
      .summary = "Take a tag off a message.", .fields = tag_fields, .run = untag, .shape = tags_shape,
      .cli = "messages untag", .cli_args = "id tag", .example = "messages untag msg_0123456789abc order" },
    { .name = "message.edit", .method = HTTP_PATCH, .path = "/api/v1/messages/{id}", .scope = SCOPE_SEND,
      .summary = "Change the text of a message; earlier texts are kept. One that is out changes when its channel has.",
      .fields = edit_fields, .run = change_text,
      .answer = message_columns, .shape = message_shape, .cli = "messages edit", .cli_args = "id text",
      .cli_columns = "id,state,text,edited_at", .example = "messages edit msg_0123456789abc \"See you at six.\"" },
    { .name = "message.delete", .method = HTTP_DELETE, .path = "/api/v1/messages/{id}", .scope = SCOPE_SEND,
      .summary = "Delete a message, with its contact too where the channel can; a tombstone tells all who sync.",
      .fields = delete_fields, .run = delete,
      .flags = OP_EMPTY, .cli = "messages delete", .cli_args = "id", .example = "messages delete msg_0123456789abc" },
};

const struct op_table ops_message_edits = { "messages", rows, sizeof rows / sizeof *rows };
