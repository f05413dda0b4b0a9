/* sync.c - delta sync for devices: what changed after a cursor, with tombstones, and how far each device has come. */
#include "api/message_shape.h"
#include "api/op.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/device.h"
#include "core/event.h"
#include "core/message.h"
#include "core/sync.h"

#define MARK_EVERY_MS 60000     /* a device that stands still is noted no more often */

/* --- Inputs and answers ---------------------------------------------------------------------------------------- */

static const struct field sync_fields[] = {
    { "cursor", FIELD_TEXT, FIELD_QUERY, "Continue after an earlier answer's `next`.", 1, 500 },
    { "since", FIELD_TIME, FIELD_QUERY, "Without a cursor: from this time on, with overlap. Neither: all.", 0, 0,
      NULL, NULL, NULL, "2026-11-20T00:00:00Z" },
    { "limit", FIELD_INT, FIELD_QUERY, "How many changes to look at at most.", 1, LIMIT_PAGE_MAX, NULL, "50" },
    { "device_filter", FIELD_ID, FIELD_QUERY, "Only messages that this device brought.", 0, 0, ID_DEVICE },
    { 0 }
};

static const struct field sync_shape[] = { MESSAGE_SHAPE, MESSAGE_TAGS_SHAPE, { 0 } };

static const struct field sync_around[] = {
    { "has_more", FIELD_BOOL, FIELD_REQUIRED, "There is more behind `next`; without it `next` is for the next time." },
    { 0 }
};

static const struct field status_fields[] = { OP_LIST_FIELDS, { 0 } };

static const struct field status_shape[] = {
    { "lag", FIELD_INT, FIELD_REQUIRED, "How many lines of the log it has not seen." },
    { 0 }
};

/* --- Changes --------------------------------------------------------------------------------------------------- */

static int start_of(struct op_call *call, struct db_session *session, struct sync_page *page, struct err *err)
{
    struct str cursor = field_text(&call->in, "cursor");

    if (!cursor.data)
        return sync_since(session, call->tenant_id, field_number(&call->in, "since", 0), &page->after, err);
    if (field_get(&call->in, "since")) {
        err_field(err, "since", "Give \"cursor\" or \"since\", not both.");
        return err_hint(err, "With a cursor nothing is missed and nothing comes twice.");
    }
    return event_cursor_read(cursor, call->tenant_id, &page->after, err);
}

struct marking {
    struct op_call *call;
    int64_t seq;
};

static int mark_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct marking *marking = arg;
    struct sync_mark mark = { .tenant_id = marking->call->tenant_id, .device_id = marking->call->key.device_id,
                              .seq = marking->seq, .at_ms = clock_ms() };

    return sync_store_mark(tx, &mark, err) < 0 ? -1 : 0;
}

/* A device that comes with a cursor has everything up to it. */
static int mark_device(struct op_call *call, struct db_session *session, int64_t seq, bool *moved, struct err *err)
{
    struct device device = { .id = call->key.device_id, .tenant_id = call->tenant_id };
    int found = device.id && field_get(&call->in, "cursor") ? device_get(session, call->arena, &device, err) : 0;

    *moved = found == 1 && (seq > device.synced_seq || clock_ms() - device.synced_ms >= MARK_EVERY_MS);
    return found < 0 ? -1 : 0;
}

static void put_changes(struct op_call *call, const struct sync_page *page, const struct tag_set *tags)
{
    json_object_begin(&call->out);
    json_key(&call->out, "items");
    json_array_begin(&call->out);
    for (size_t i = 0; i < page->count; i++)
        message_shape_put(&call->out, &page->messages[i], tags);
    json_array_end(&call->out);
    json_cstr_at(&call->out, "next", event_cursor(call->arena, call->tenant_id, page->next));
    json_bool_at(&call->out, "has_more", page->has_more);
    json_object_end(&call->out);
}

static enum op_done changes(struct op_call *call, struct err *err)
{
    struct sync_page page = { .tenant_id = call->tenant_id, .limit = op_list_limit(call),
                              .device_id = field_number(&call->in, "device_filter", 0) };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    struct tag_set tags = { .tenant_id = call->tenant_id };
    struct marking marking = { call, 0 };
    bool moved = false;
    int failed;

    if (!session)
        return OP_FAILED;
    failed = start_of(call, session, &page, err) < 0 || sync_read(session, call->arena, &page, err) < 0
        || mark_device(call, session, page.after, &moved, err) < 0;
    tags.messages = page.messages;
    tags.message_count = page.count;
    failed = failed || tag_set_read(session, call->arena, &tags, err) < 0;
    db_read_end(session);
    if (failed)
        return OP_FAILED;
    marking.seq = page.after;
    if (moved && db_write(call->hub->db, mark_tx, &marking, err) < 0)
        return OP_FAILED;
    put_changes(call, &page, &tags);
    return OP_DONE;
}

/* --- How far each device is ------------------------------------------------------------------------------------ */

static enum op_done status(struct op_call *call, struct err *err)
{
    struct page page = { .arena = call->arena, .tenant_id = call->tenant_id, .limit = op_list_limit(call) + 1 };
    int64_t newest = 0, horizon;
    struct db_session *session;
    struct device *devices;
    int count, shown;
    bool given;

    if (op_list_cursor(call, &page.after_id, 1, &given, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    count = event_position(session, call->tenant_id, &newest, &horizon, err) < 0
        ? -1
        : device_list(session, &page, &devices, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    shown = count < page.limit ? count : page.limit - 1;
    op_list_begin(call);
    for (int i = 0; i < shown; i++) {
        json_object_begin(&call->out);
        row_json(&call->out, device_columns, &devices[i]);
        json_int_at(&call->out, "lag", newest - devices[i].synced_seq);
        json_object_end(&call->out);
    }
    op_list_end(call, shown < count ? &devices[shown - 1].id : NULL, shown < count);
    return OP_DONE;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op rows[] = {
    { .name = "sync.messages", .method = HTTP_GET, .path = "/api/v1/sync/messages", .scope = SCOPE_READ,
      .summary = "Every message that changed after a cursor or a time, oldest change first, with tombstones.",
      .fields = sync_fields, .run = changes, .flags = OP_LIST, .answer = message_columns, .shape = sync_shape,
      .around = sync_around,
      .cli = "sync", .cli_columns = "id,updated=updated_at,dir=direction,peer=from|to,state,text,deleted=deleted_at",
      .example = "sync --since 2026-11-20T00:00:00Z" },
    { .name = "sync.status", .method = HTTP_GET, .path = "/api/v1/sync/status", .scope = SCOPE_READ,
      .summary = "How far each device has come.", .fields = status_fields, .run = status, .flags = OP_LIST,
      .answer = device_columns, .shape = status_shape, .cli = "sync status",
      .cli_columns = "id,name,state,lag,synced=synced_at,seen=last_seen_at", .example = "sync status" },
};

const struct op_table ops_sync = { "sync", rows, sizeof rows / sizeof *rows };
