/* bridge_state.c - what a bridge keeps here, and what it says of itself. */
#include "api/find.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "core/bridge.h"
#include "core/device.h"

#define BASE64_BYTES (BRIDGE_VALUE_BYTES / 3 * 4 + 8)

/* Only the bridge's own key: nobody else needs to read a session. */
static int choose(struct op_call *call, int64_t *channel_id, struct err *err)
{
    struct device device = { .tenant_id = call->tenant_id, .id = call->key.device_id };
    struct db_session *session;
    int found = 0;

    if (device.id) {
        session = db_read(call->hub->db, call->tenant_id, err);
        if (!session)
            return -1;
        found = device_get(session, call->arena, &device, err);
        db_read_end(session);
    }
    *channel_id = device.channel_id;
    if (found < 0 || device.channel_id)
        return found < 0 ? -1 : 0;
    err_set(err, ERR_FORBIDDEN, "Only the key of a device that is bound to a channel has anything here.");
    return err_hint(err, "Register one: message-hub devices register NAME --channel CHANNEL");
}

/* --- Reading ---------------------------------------------------------------------------------------- */

static void put_value(struct op_call *call, const struct bridge_value *value)
{
    json_object_begin(&call->out);
    json_text_at(&call->out, "name", value->name);
    json_cstr_at(&call->out, "value", sign_base64(call->arena, value->value.data, value->value.len));
    json_object_end(&call->out);
}

static enum op_done list(struct op_call *call, struct err *err)
{
    struct bridge_page page = { .tenant_id = call->tenant_id, .prefix = field_text(&call->in, "prefix"),
        .after = field_text(&call->in, "after"), .limit = (int)field_number(&call->in, "limit", LIMIT_PAGE_MAX) };

    if (choose(call, &page.channel_id, err) < 0 || bridge_read(call->hub, call->arena, &page, err) < 0)
        return OP_FAILED;
    json_object_begin(&call->out);
    json_key(&call->out, "items");
    json_array_begin(&call->out);
    for (size_t i = 0; i < page.count; i++)
        put_value(call, &page.values[i]);
    json_array_end(&call->out);
    json_object_end(&call->out);
    return OP_DONE;
}

static enum op_done get(struct op_call *call, struct err *err)
{
    struct bridge_page page = { .tenant_id = call->tenant_id, .name = field_text(&call->in, "name"), .limit = 1 };

    if (choose(call, &page.channel_id, err) < 0 || bridge_read(call->hub, call->arena, &page, err) < 0)
        return OP_FAILED;
    if (page.count == 0)
        return op_not_found(call, err);
    put_value(call, &page.values[0]);
    return OP_DONE;
}

/* --- Writing ---------------------------------------------------------------------------------------- */

static int store_tx(struct db_session *tx, void *arg, struct err *err)
{
    return bridge_store(tx, arg, err);
}

static int read_value(struct op_call *call, const struct fields *in, struct bridge_value *out, struct err *err)
{
    const struct value *value = field_get(in, "value");

    out->name = field_text(in, "name");
    if (!value || value->is_null)
        return 0;
    if (!sign_unbase64(call->arena, value->text, &out->value))
        return err_field(err, "value", "\"value\" must be base64.");
    if (!out->value.data)
        out->value = STR("");
    return 0;
}

static enum op_done store(struct op_call *call, struct bridge_change *change, struct err *err)
{
    change->hub = call->hub;
    change->tenant_id = call->tenant_id;
    if (choose(call, &change->channel_id, err) < 0 || db_write(call->hub->db, store_tx, change, err))
        return OP_FAILED;
    return OP_DONE;
}

static enum op_done put_many(struct op_call *call, struct err *err)
{
    const struct value *given = field_get(&call->in, "values");
    struct bridge_value *values = arena_array(call->arena, given->count + 1, sizeof *values);
    struct bridge_change change = { .values = values, .count = given->count };

    for (size_t i = 0; i < given->count; i++)
        if (read_value(call, given->list[i], &values[i], err) < 0)
            return OP_FAILED;
    return store(call, &change, err);
}

static enum op_done put_one(struct op_call *call, struct err *err)
{
    struct bridge_value value = { 0 };
    struct bridge_change change = { .values = &value, .count = 1 };

    return read_value(call, &call->in, &value, err) < 0 ? OP_FAILED : store(call, &change, err);
}

static enum op_done remove_one(struct op_call *call, struct err *err)
{
    struct bridge_value value = { .name = field_text(&call->in, "name") };
    struct bridge_change change = { .values = &value, .count = 1 };

    return store(call, &change, err);
}

/* --- How it is ------------------------------------------------------------------------------------- */

struct telling {
    struct hub *hub;
    struct bridge_status status;
};

static int tell_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct telling *telling = arg;

    return bridge_tell(tx, telling->hub, &telling->status, err);
}

static enum op_done tell(struct op_call *call, struct err *err)
{
    struct telling telling = { .hub = call->hub, .status = { .tenant_id = call->tenant_id, .at_ms = clock_ms(),
        .state = field_text(&call->in, "state"), .code = field_text(&call->in, "code"),
        .error = field_text(&call->in, "error") } };

    if (choose(call, &telling.status.channel_id, err) < 0 || db_write(call->hub->db, tell_tx, &telling, err))
        return OP_FAILED;
    return OP_DONE;
}

static enum op_done ask(struct op_call *call, struct err *err)
{
    struct bridge_status status = { .tenant_id = call->tenant_id };
    struct channel channel;

    if (find_channel(call, "channel", &channel, err) < 0)
        return OP_FAILED;
    status.channel_id = channel.id;
    if (bridge_ask(call->hub, call->arena, &status, err) < 0)
        return OP_FAILED;
    json_object_begin(&call->out);
    json_text_at(&call->out, "state", status.state.data ? status.state : STR("never seen"));
    json_text_at(&call->out, "code", status.code);
    json_text_at(&call->out, "error", status.error);
    json_time_at(&call->out, "seen_at", status.at_ms);
    json_object_end(&call->out);
    return OP_DONE;
}

/* --- The table -------------------------------------------------------------------------------------- */

#define NAME(flags) { "name", FIELD_TEXT, flags, "What it is called.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL, "creds" }
#define VALUE { "value", FIELD_TEXT, FIELD_NULLABLE | FIELD_SECRET, "The bytes in base64; null removes.", 0, \
    BASE64_BYTES, \
    NULL, NULL, NULL, "aGVsbG8=" }

static const struct field list_fields[] = {
    { "prefix", FIELD_TEXT, FIELD_QUERY, "Only names that begin so.", 0, LIMIT_NAME_BYTES },
    { "after", FIELD_TEXT, FIELD_QUERY, "Only names behind this one.", 0, LIMIT_NAME_BYTES },
    { "limit", FIELD_INT, FIELD_QUERY, "How many at most; fewer when they are large.", 1, LIMIT_PAGE_MAX, NULL, "500" },
    { 0 }
};
static const struct field name_fields[] = { NAME(FIELD_PATH), { 0 } };
static const struct field put_fields[] = { NAME(FIELD_PATH), VALUE, { 0 } };
static const struct field value_item[] = { NAME(FIELD_REQUIRED), VALUE, { 0 } };
static const struct field many_fields[] = {
    { "values", FIELD_LIST, FIELD_REQUIRED, "All of them, or none, in one commit.", 1, LIMIT_FIELD_ITEMS, NULL, NULL,
      value_item, "[{\"name\":\"creds\",\"value\":\"aGVsbG8=\"}]" },
    { 0 }
};
static const struct field value_shape[] = { NAME(0), VALUE, { 0 } };
static const struct field values_shape[] = {
    { "items", FIELD_LIST, FIELD_REQUIRED, "In order of name; the end is reached when there are none.", 0,
      LIMIT_PAGE_MAX,
      NULL, NULL, value_shape }, { 0 }
};
static const struct field status_fields[] = {
    { "state", FIELD_TEXT, FIELD_REQUIRED, "A word: starting, pairing, open, waiting, stopped.", 1, 40, NULL,
      NULL, NULL,
      "open" },
    { "code", FIELD_TEXT, 0, "What pairs it now: the text of a QR code, or letters to type.", 1, 2000 },
    { "error", FIELD_TEXT, 0, "What went wrong last, and what to do.", 1, LIMIT_DETAIL_BYTES },
    { 0 }
};
static const struct field pair_fields[] = {
    { "channel", FIELD_TEXT, FIELD_PATH, "Id or name of the channel.", 1, LIMIT_NAME_BYTES }, { 0 }
};
static const struct field pair_shape[] = {
    { "state", FIELD_TEXT, FIELD_REQUIRED, "What the bridge said of itself." },
    { "code", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "The text of the QR code, or the letters to type.", 0,
      2000 },
    { "error", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "What went wrong last.", 0, LIMIT_DETAIL_BYTES },
    { "seen_at", FIELD_TIME, FIELD_REQUIRED | FIELD_NULLABLE, "When it said so." },
    { 0 }
};

#define ITEM "/api/v1/bridge/state/{name}"

static const struct op ops[] = {
    { .name = "bridge.state_list", .method = HTTP_GET, .path = "/api/v1/bridge/state", .scope = SCOPE_RECEIVE,
      .run = list, .summary = "Read what a bridge keeps here.", .fields = list_fields, .shape = values_shape },
    { .name = "bridge.state_put_many", .method = HTTP_PUT, .path = "/api/v1/bridge/state", .scope = SCOPE_RECEIVE,
      .run = put_many, .summary = "Keep, or remove, several things for a bridge at once.", .fields = many_fields,
      .flags = OP_EMPTY | OP_LARGE },
    { .name = "bridge.state_get", .method = HTTP_GET, .path = ITEM, .scope = SCOPE_RECEIVE, .run = get,
      .summary = "Read one thing that a bridge keeps here.", .fields = name_fields, .shape = value_shape },
    { .name = "bridge.state_put", .method = HTTP_PUT, .path = ITEM, .scope = SCOPE_RECEIVE, .run = put_one,
      .summary = "Keep one thing for a bridge.", .fields = put_fields, .flags = OP_EMPTY },
    { .name = "bridge.state_remove", .method = HTTP_DELETE, .path = ITEM, .scope = SCOPE_RECEIVE, .run = remove_one,
      .summary = "Forget one thing that a bridge kept.", .fields = name_fields, .flags = OP_EMPTY },
    { .name = "bridge.status", .method = HTTP_POST, .path = "/api/v1/bridge/status", .scope = SCOPE_RECEIVE,
      .run = tell, .summary = "Say how a bridge is, and what pairs it.", .fields = status_fields, .flags = OP_EMPTY },
    { .name = "channel.pairing", .method = HTTP_GET, .path = "/api/v1/channels/{channel}/pairing",
      .scope = SCOPE_MANAGE, .run = ask, .summary = "Show what pairs a channel's bridge.", .fields = pair_fields,
      .shape = pair_shape,
      .cli = "channels pair", .cli_args = "channel", .cli_columns = "state,code,error,seen_at",
      .example = "channels pair whatsapp" },
};

const struct op_table ops_bridge_state = { "bridge_state", ops, sizeof ops / sizeof *ops };
