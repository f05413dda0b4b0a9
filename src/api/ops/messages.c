/* messages.c - look at messages: lists, one, what happened to it. Receiving is in receive.c, sending in send.c, what
 * people change in message_edits.c. */
#include "api/find.h"
#include "api/message_shape.h"
#include "base/arena.h"
#include "base/id.h"
#include "core/conversation.h"
#include "core/message_list.h"

/* --- Inputs and answers ---------------------------------------------------------------------------------------- */

#define ID { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The message.", 0, 0, ID_MESSAGE }
#define STATES "received|processing|processed|draft|queued|sending|sent|delivered|read|held|unknown|failed|cancelled|" \
    "expired|suppressed"

static const struct field list_fields[] = {
    { "device", FIELD_ID, FIELD_QUERY, "Only what this device brought.", 0, 0, ID_DEVICE },
    { "type", FIELD_ENUM, FIELD_QUERY, "Only this kind.", 0, 0, MESSAGE_TYPES },
    { "channel", FIELD_TEXT, FIELD_QUERY, "Only this channel's, by name or id.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL,
      "sandbox" },
    { "conversation", FIELD_ID, FIELD_QUERY, "Only this conversation's.", 0, 0, ID_CONVERSATION },
    { "contact", FIELD_ID, FIELD_QUERY, "Only those with this contact.", 0, 0, ID_CONTACT },
    { "direction", FIELD_ENUM, FIELD_QUERY, "Only what came in, or went out.", 0, 0, "in|out" },
    { "state", FIELD_ENUM, FIELD_QUERY, "Only those in this state.", 0, 0, STATES },
    { "since", FIELD_TIME, FIELD_QUERY, "Stored at this time or later.", 0, 0, NULL, NULL, NULL,
      "2026-11-20T00:00:00Z" },
    { "until", FIELD_TIME, FIELD_QUERY, "Stored before this time." },
    { "tag", FIELD_TEXT, FIELD_QUERY, "Only those with this tag.", 1, LIMIT_TAG_BYTES, NULL, NULL, NULL, "order" },
    { "q", FIELD_TEXT, FIELD_QUERY, "Part of the text.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL, "invoice" },
    { "unread", FIELD_BOOL, FIELD_QUERY, "Only what nobody has read yet.", 0, 0, NULL, "false" },
    OP_LIST_FIELDS,
    { 0 }
};

static const struct field history_fields[] = {
    { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The conversation.", 0, 0, ID_CONVERSATION },
    OP_LIST_FIELDS,
    { 0 }
};

static const struct field id_fields[] = { ID, { 0 } };

static const struct field message_shape[] = { MESSAGE_SHAPE, MESSAGE_TAGS_SHAPE, { 0 } };

static const struct field reaction_shape[] = {
    { "actor", FIELD_TEXT, FIELD_REQUIRED, "Who reacted.", 0, LIMIT_ADDRESS_BYTES },
    { "emoji", FIELD_TEXT, FIELD_REQUIRED, "With what." },
    { "at", FIELD_TIME, FIELD_REQUIRED, "When." },
    { 0 }
};

static const struct field revision_shape[] = {
    { "text", FIELD_TEXT, FIELD_REQUIRED, "What it said before.", 0, LIMIT_TEXT_BYTES },
    { "replaced_at", FIELD_TIME, FIELD_REQUIRED, "Until when." },
    { 0 }
};

static const struct field whole_shape[] = {
    MESSAGE_SHAPE,
    MESSAGE_TAGS_SHAPE,
    { "reactions", FIELD_LIST, 0, "Who reacted to it.", 0, 0, NULL, NULL, reaction_shape },
    { "revisions", FIELD_LIST, 0, "Earlier texts, oldest first.", 0, 0, NULL, NULL, revision_shape },
    { 0 }
};

static const struct field timeline_shape[] = {
    { "at", FIELD_TIME, FIELD_REQUIRED, "When it happened, or began." },
    { "until", FIELD_TIME, FIELD_REQUIRED | FIELD_NULLABLE, "When an attempt ended." },
    { "kind", FIELD_ENUM, FIELD_REQUIRED, "What sort of thing it is.", 0, 0, "event|attempt|decision" },
    { "what", FIELD_TEXT, FIELD_REQUIRED, "What happened." },
    { "detail", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "Why.", 0, LIMIT_JSON_BYTES },
    { "number", FIELD_INT, FIELD_REQUIRED | FIELD_NULLABLE, "Which attempt." },
    { "part", FIELD_INT, FIELD_REQUIRED | FIELD_NULLABLE, "Which part of the text, from 0." },
    { "id", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "Of the attempt or decision." },
    { 0 }
};

/* --- Lists ----------------------------------------------------------------------------------------------------- */

static int read_filter(struct op_call *call, struct message_filter *filter, struct err *err)
{
    struct channel channel = { 0 };
    bool given;

    *filter = (struct message_filter){
        .tenant_id = call->tenant_id, .device_id = field_number(&call->in, "device", 0),
        .conversation_id = field_number(&call->in, "conversation", 0), .contact_id = field_number(&call->in,
        "contact", 0),
        .direction = field_number(&call->in, "direction", -1), .state = field_number(&call->in, "state", -1),
        .from_ms = field_number(&call->in, "since", 0), .to_ms = field_number(&call->in, "until", 0),
        .type = field_text(&call->in, "type"), .tag = field_text(&call->in, "tag"), .text = field_text(&call->in, "q"),
        .unread = field_flag(&call->in, "unread"), .limit = op_list_limit(call) + 1,
    };
    if (op_list_cursor(call, &filter->below_id, 1, &given, err) < 0)
        return -1;
    if (field_get(&call->in, "channel") && find_channel(call, "channel", &channel, err) < 0)
        return -1;
    filter->channel_id = channel.id;
    return 0;
}

/* A page of messages; `limit` and one more were asked for. */
struct list {
    struct message *messages;
    int count, limit;
    struct tag_set tags;
};

static int read_tags(struct op_call *call, struct db_session *session, struct list *list, struct err *err)
{
    list->tags = (struct tag_set){ .tenant_id = call->tenant_id, .messages = list->messages,
        .message_count = (size_t)(list->count < list->limit ? list->count : list->limit) };
    return tag_set_read(session, call->arena, &list->tags, err);
}

static void put_list(struct op_call *call, const struct list *list)
{
    bool more = list->count > list->limit;

    op_list_begin(call);
    for (size_t i = 0; i < list->tags.message_count; i++)
        message_shape_put(&call->out, &list->messages[i], &list->tags);
    op_list_end(call, more ? &list->messages[list->limit - 1].id : NULL, more);
}

static enum op_done list(struct op_call *call, struct err *err)
{
    struct list page = { .limit = op_list_limit(call) };
    struct message_filter filter;
    struct db_session *session;

    if (read_filter(call, &filter, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    page.count = message_list(session, call->arena, &filter, &page.messages, err);
    if (page.count >= 0 && read_tags(call, session, &page, err) < 0)
        page.count = -1;
    db_read_end(session);
    if (page.count < 0)
        return OP_FAILED;
    put_list(call, &page);
    return OP_DONE;
}

static enum op_done history(struct op_call *call, struct err *err)
{
    struct conversation of = { .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id };
    struct message_filter filter = { .tenant_id = call->tenant_id, .conversation_id = of.id, .direction = -1,
        .state = -1,
                                     .limit = op_list_limit(call) + 1 };
    struct list page = { .limit = op_list_limit(call) };
    struct db_session *session;
    bool given;
    int found;

    if (op_list_cursor(call, &filter.below_id, 1, &given, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    found = conversation_get(session, call->arena, &of, err);
    if (found == 1) {
        page.count = message_history(session, call->arena, &filter, &page.messages, err);
        if (page.count < 0 || read_tags(call, session, &page, err) < 0)
            found = -1;
    }
    db_read_end(session);
    if (found != 1)
        return found < 0 ? OP_FAILED : (enum op_done)op_not_found(call, err);
    put_list(call, &page);
    return OP_DONE;
}

/* --- One ------------------------------------------------------------------------------------------------------- */

static void put_reactions(struct op_call *call, const struct message_reaction *reactions, int count)
{
    json_key(&call->out, "reactions");
    json_array_begin(&call->out);
    for (int i = 0; i < count; i++) {
        json_object_begin(&call->out);
        json_text_at(&call->out, "actor", reactions[i].actor);
        json_text_at(&call->out, "emoji", reactions[i].emoji);
        json_time_at(&call->out, "at", reactions[i].created_ms);
        json_object_end(&call->out);
    }
    json_array_end(&call->out);
}

static void put_revisions(struct op_call *call, const struct message_revision *revisions, int count)
{
    json_key(&call->out, "revisions");
    json_array_begin(&call->out);
    for (int i = 0; i < count; i++) {
        json_object_begin(&call->out);
        json_text_at(&call->out, "text", revisions[i].text);
        json_time_at(&call->out, "replaced_at", revisions[i].replaced_ms);
        json_object_end(&call->out);
    }
    json_array_end(&call->out);
}

/* Everything about one message, read in one session. 1, 0 unknown, -1. */
static int put_whole(struct op_call *call, struct db_session *session, struct message *message, struct err *err)
{
    struct tag_set tags = { .tenant_id = call->tenant_id, .messages = message, .message_count = 1 };
    struct message_reaction *reactions;
    struct message_revision *revisions;
    int found = message_get(session, call->arena, message, err), reaction_count, revision_count;

    if (found != 1)
        return found;
    if (message->times.deleted_ms) {
        message_json(&call->out, message);
        return 1;
    }
    reaction_count = message_reactions(session, call->arena, message, &reactions, err);
    revision_count = message_revisions(session, call->arena, message, &revisions, err);
    if (tag_set_read(session, call->arena, &tags, err) < 0 || reaction_count < 0 || revision_count < 0)
        return -1;
    json_object_begin(&call->out);
    message_shape_members(&call->out, message, &tags);
    put_reactions(call, reactions, reaction_count);
    put_revisions(call, revisions, revision_count);
    json_object_end(&call->out);
    return 1;
}

static enum op_done get(struct op_call *call, struct err *err)
{
    struct message message = { .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found;

    if (!session)
        return OP_FAILED;
    found = put_whole(call, session, &message, err);
    db_read_end(session);
    return found == 1 ? OP_DONE : found < 0 ? OP_FAILED : (enum op_done)op_not_found(call, err);
}

static void put_entry(struct op_call *call, const struct timeline_entry *entry)
{
    static const char *const kinds[] = { [TIMELINE_EVENT] = "event", [TIMELINE_ATTEMPT] = "attempt",
                                         [TIMELINE_DECISION] = "decision" };
    const char *prefix = entry->kind == TIMELINE_ATTEMPT ? ID_ATTEMPT : ID_DECISION;
    bool attempt = entry->kind == TIMELINE_ATTEMPT;

    json_object_begin(&call->out);
    json_time_at(&call->out, "at", entry->at_ms);
    json_time_at(&call->out, "until", entry->until_ms);
    json_cstr_at(&call->out, "kind", kinds[entry->kind]);
    json_text_at(&call->out, "what", entry->what);
    json_text_at(&call->out, "detail", entry->detail);
    json_key(&call->out, "number");
    attempt ? json_put_int(&call->out, entry->number) : json_put_null(&call->out);
    json_key(&call->out, "part");
    attempt ? json_put_int(&call->out, entry->part) : json_put_null(&call->out);
    json_cstr_at(&call->out, "id", entry->id ? id_text(call->arena, prefix, entry->id) : NULL);
    json_object_end(&call->out);
}

static enum op_done timeline(struct op_call *call, struct err *err)
{
    struct message message = { .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    struct timeline_entry *entries;
    int found, count = 0;

    if (!session)
        return OP_FAILED;
    found = message_get(session, call->arena, &message, err);
    if (found == 1)
        count = message_timeline(session, call->arena, &message, &entries, err);
    db_read_end(session);
    if (found == 0)
        return op_not_found(call, err);
    if (found < 0 || count < 0)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < count; i++)
        put_entry(call, &entries[i]);
    op_list_end(call, NULL, 0);
    return OP_DONE;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

#define HISTORY .scope = SCOPE_READ, .summary = "List the messages of a conversation, newest first.", \
    .fields = history_fields, .run = history, .answer = message_columns, .shape = message_shape

static const struct op rows[] = {
    { .name = "message.list", .method = HTTP_GET, .path = "/api/v1/messages", .scope = SCOPE_READ,
      .summary = "List messages, newest first.", .fields = list_fields, .run = list, .flags = OP_LIST | OP_MCP,
      .answer = message_columns, .shape = message_shape, .cli = "messages",
      .cli_columns = "id,received=received_at,dir=direction,peer=from|to,state,text",
      .example = "messages --limit 20 --type sms" },
    { .name = "message.get", .method = HTTP_GET, .path = "/api/v1/messages/{id}", .scope = SCOPE_READ,
      .summary = "Show one message with its tags, reactions and earlier texts; of a deleted one the tombstone.",
      .fields = id_fields, .run = get, .answer = message_columns, .shape = whole_shape, .cli = "messages get",
      .cli_args = "id", .example = "messages get msg_0123456789abc" },
    { .name = "message.timeline", .method = HTTP_GET, .path = "/api/v1/messages/{id}/timeline", .scope = SCOPE_READ,
      .summary = "Everything that happened to a message: states, attempts, the decision.", .fields = id_fields,
      .run = timeline, .flags = OP_LIST, .shape = timeline_shape, .cli = "messages timeline", .cli_args = "id",
      .cli_columns = "at,kind,what,detail", .example = "messages timeline msg_0123456789abc" },
    { .name = "conversation.messages", .method = HTTP_GET, .path = "/api/v1/conversations/{id}/messages", HISTORY,
      .flags = OP_LIST, .cli = "conversations messages", .cli_args = "id",
      .cli_columns = "received=received_at,dir=direction,state,text",
      .example = "conversations messages cnv_0123456789abc" },
    { .name = "conversation.messages", .method = HTTP_GET, .path = "/conversations/{id}/messages", HISTORY,
      .flags = OP_LIST | OP_ALIAS },
};

const struct op_table ops_messages = { "messages", rows, sizeof rows / sizeof *rows };
