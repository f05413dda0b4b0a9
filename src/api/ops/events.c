#include "api/stream.h"
#include "base/arena.h"
#include "base/id.h"
#include "core/event.h"

static bool wants(const struct value *kinds, const struct event *event)
{
    for (size_t i = 0; kinds && i < kinds->count; i++) {
        struct str kind = str_c(event->kind), wanted = kinds->texts[i];

        if (kind.len >= wanted.len && str_eq((struct str){ kind.data, wanted.len }, wanted) &&
            (kind.len == wanted.len || kind.data[wanted.len] == '.'))
            return true;
    }
    return !kinds;
}

/* Events carry a cursor each, so the next page begins after the last line looked at, shown or not. */
static enum op_done list(struct op_call *call, struct err *err)
{
    struct str cursor = field_text(&call->in, "cursor");
    int64_t conversation_id = field_number(&call->in, "conversation_id", 0);
    struct event_page page = { .tenant_id = call->tenant_id, .limit = op_list_limit(call) };
    struct db_session *session;
    int failed;

    if (cursor.data && event_cursor_read(cursor, call->tenant_id, &page.after, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    failed = event_read(session, call->arena, &page, err);
    db_read_end(session);
    if (failed)
        return OP_FAILED;
    json_object_begin(&call->out);
    json_key(&call->out, "items");
    json_array_begin(&call->out);
    for (size_t i = 0; i < page.count; i++)
        if (wants(field_get(&call->in, "kinds"), &page.events[i]) &&
            (!conversation_id || page.events[i].conversation_id == conversation_id))
            event_json(&call->out, &page.events[i]);
    json_array_end(&call->out);
    cursor = str_c(event_cursor(call->arena, call->tenant_id, page.last));
    json_text_at(&call->out, "next", (int)page.count == page.limit ? cursor : (struct str){ 0 });
    json_text_at(&call->out, "cursor", cursor);
    json_object_end(&call->out);
    return OP_DONE;
}

static const struct field stream_fields[] = { STREAM_FIELDS, { 0 } };
static const struct field list_fields[] = {
    STREAM_FIELDS,
    { "limit", FIELD_INT, FIELD_QUERY, "How many to look at.", 1, LIMIT_PAGE_MAX, NULL, "50" },
    { 0 }
};
static const struct field shape[] = {
    { "seq", FIELD_INT, 0, "Its number in the tenant's log, without gaps.", 0, INT64_MAX },
    { "cursor", FIELD_TEXT, 0, "To continue after it.", 0, 500 },
    { "kind", FIELD_TEXT, 0, "What happened: message.received, ...", 0, 100 },
    { "object", FIELD_TEXT, 0, "To what: message, conversation, channel, ...", 0, 100 },
    { "id", FIELD_TEXT, FIELD_NULLABLE, "To which.", 0, 100 },
    { "conversation_id", FIELD_TEXT, FIELD_NULLABLE, "In which conversation.", 0, 100 },
    { "at", FIELD_TIME, 0, "When." },
    { "data", FIELD_OBJECT, FIELD_NULLABLE, "What else there is to say." },
    { 0 }
};

static const struct field around[] = {
    { "cursor", FIELD_TEXT, FIELD_REQUIRED, "To continue after this page, also when it was the last.", 0, 500 },
    { 0 }
};

static const struct op ops[] = {
    { .name = "event.stream", .method = HTTP_GET, .path = "/api/v1/events", .scope = SCOPE_READ, .run = stream_events,
      .summary = "Follow the log as server-sent events, from a cursor or Last-Event-ID, then live.",
      .fields = stream_fields, .flags = OP_STREAM, .cli = "events tail", .example = "events tail --kinds message" },
    { .name = "event.socket", .method = HTTP_GET, .path = "/ws", .scope = SCOPE_READ, .run = stream_socket,
      .summary = "Follow the log over a WebSocket; the key by Authorization or as subprotocol bearer.<key>.",
      .fields = stream_fields, .flags = OP_STREAM },
    { .name = "event.list", .method = HTTP_GET, .path = "/api/v1/events/list", .scope = SCOPE_READ, .run = list,
      .summary = "Read a page of the log.", .fields = list_fields, .flags = OP_LIST, .shape = shape,
      .around = around, .cli = "events",
      .cli_columns = "seq,at,kind,id,conversation=conversation_id", .example = "events --limit 20" },
};

const struct op_table ops_events = { "events", ops, sizeof ops / sizeof *ops };
