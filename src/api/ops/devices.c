#include "api/op.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/channel.h"
#include "core/device.h"

struct edit {
    struct op_call *call;
    struct device wanted, device;
    struct key_draft draft;
};

static int render(struct op_call *call, void *arg, struct err *err)
{
    const struct edit *edit = arg;

    (void)err;
    json_object_begin(&call->out);
    row_json(&call->out, device_columns, &edit->device);
    if (edit->draft.token)
        json_cstr_at(&call->out, "token", edit->draft.token);
    json_object_end(&call->out);
    return 0;
}

/* --- Registering ------------------------------------------------------------------------------------------------- */

static int register_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    if (device_register(tx, edit->call->arena, &edit->wanted, &edit->device, err) < 0)
        return -1;
    edit->draft.key.device_id = edit->device.id;
    /* registering again replaces the keys: whoever lost the old one must not keep it */
    if (key_stop_device(tx, edit->device.tenant_id, edit->device.id, err) < 0)
        return -1;
    return key_add(tx, &edit->draft, err);
}

static int find_channel(struct op_call *call, int64_t *channel_id, struct err *err)
{
    struct str name = field_text(&call->in, "channel");
    struct channel channel;
    int found;

    if (!name.data)
        return 0;
    found = channel_load(call->hub->db, call->arena, CHANNEL_NAME(call->tenant_id, name), &channel, err);
    if (found == 1)
        *channel_id = channel.id;
    if (found == 0) {
        err_field(err, "channel", "There is no channel \"%.60s\".", str_printable(call->arena, name, true));
        return err_hint(err, "`message-hub channels` lists them.");
    }
    return found < 0 ? -1 : 0;
}

static enum op_done add(struct op_call *call, struct err *err)
{
    int64_t id = ids_next(call->hub->ids, err);
    struct key wanted = { .tenant_id = call->tenant_id, .kind = KEY_DEVICE, .name = field_text(&call->in, "name"),
                          .scopes = (SCOPE_READ | SCOPE_SEND | SCOPE_RECEIVE) & call->key.scopes };
    struct edit edit = {
        .call = call,
        .wanted = { .id = id, .tenant_id = call->tenant_id, .name = field_text(&call->in, "name"),
                    .platform = field_text(&call->in, "platform"), .client_ref = field_text(&call->in, "client_ref"),
                    .metadata = field_text(&call->in, "metadata"), .created_ms = clock_ms() },
    };
    enum op_done done;

    if (id < 0 || find_channel(call, &edit.wanted.channel_id, err) < 0 ||
        key_draw(call->hub, call->arena, &wanted, &edit.draft, err) < 0)
        return OP_FAILED;
    call->object = id_text(call->arena, ID_DEVICE, id);
    done = op_write(call, register_tx, render, &edit, err);
    if (done == OP_DONE)
        key_changed(call->hub);
    return done;
}

/* --- Looking and changing ---------------------------------------------------------------------------------------- */

static enum op_done list(struct op_call *call, struct err *err)
{
    struct page page = { .arena = call->arena, .tenant_id = call->tenant_id, .limit = op_list_limit(call) + 1 };
    struct db_session *session;
    struct device *devices;
    bool given;
    int count;

    if (op_list_cursor(call, &page.after_id, 1, &given, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    count = device_list(session, &page, &devices, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < count && i < page.limit - 1; i++) {
        json_object_begin(&call->out);
        row_json(&call->out, device_columns, &devices[i]);
        json_object_end(&call->out);
    }
    op_list_end(call, count == page.limit ? &devices[count - 2].id : NULL, count == page.limit);
    return OP_DONE;
}

static enum op_done get(struct op_call *call, struct err *err)
{
    struct edit edit = { .call = call, .device = { .id = field_number(&call->in, "id", 0),
                                                   .tenant_id = call->tenant_id } };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found;

    if (!session)
        return OP_FAILED;
    found = device_get(session, call->arena, &edit.device, err);
    db_read_end(session);
    if (found < 1)
        return found < 0 ? OP_FAILED : op_not_found(call, err);
    return render(call, &edit, err) < 0 ? OP_FAILED : OP_DONE;
}

static int rename_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    int done = device_rename(tx, edit->device.tenant_id, edit->device.id, field_text(&edit->call->in, "name"), err);

    if (done == 1)
        done = device_get(tx, edit->call->arena, &edit->device, err);
    if (done == 0)
        return op_not_found(edit->call, err);
    return done < 0 ? -1 : 0;
}

static enum op_done change(struct op_call *call, struct err *err)
{
    struct edit edit = { .call = call, .device = { .id = field_number(&call->in, "id", 0),
                                                   .tenant_id = call->tenant_id } };

    return op_write(call, rename_tx, render, &edit, err);
}

static int revoke_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    int done = device_revoke(tx, edit->device.tenant_id, edit->device.id, err);

    if (done == 0)
        return op_not_found(edit->call, err);
    return done < 0 ? -1 : key_stop_device(tx, edit->device.tenant_id, edit->device.id, err) < 0 ? -1 : 0;
}

static enum op_done revoke(struct op_call *call, struct err *err)
{
    struct edit edit = { .call = call, .device = { .id = field_number(&call->in, "id", 0),
                                                   .tenant_id = call->tenant_id } };
    enum op_done done = op_write(call, revoke_tx, NULL, &edit, err);

    if (done == OP_DONE)
        key_changed(call->hub);
    return done;
}

/* --- The table --------------------------------------------------------------------------------------------------- */

#define DEVICE { "id", FIELD_ID, FIELD_PATH, "The device.", 0, 0, ID_DEVICE }

static const struct field list_fields[] = { OP_LIST_FIELDS, { 0 } };
static const struct field id_fields[] = { DEVICE, { 0 } };
static const struct field change_fields[] = {
    DEVICE, { "name", FIELD_TEXT, FIELD_REQUIRED, "Its new name.", 1, LIMIT_NAME_BYTES }, { 0 }
};
static const struct field register_fields[] = {
    { "name", FIELD_TEXT, FIELD_REQUIRED, "What people call it.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL,
      "Anna's phone" },
    { "platform", FIELD_TEXT, 0, "What it runs.", 1, 40, NULL, "other", NULL, "android" },
    { "client_ref", FIELD_TEXT, 0, "The app's own id of the device: registering again finds the same device.", 1,
      LIMIT_NAME_BYTES },
    { "channel", FIELD_TEXT, 0, "Name or id of the channel its messages belong to.", 1, LIMIT_NAME_BYTES },
    { "metadata", FIELD_OBJECT, 0, "Whatever the app wants to keep with it.", 0, LIMIT_METADATA_BYTES },
    { 0 }
};
static const struct field token_shape[] = {
    { "token", FIELD_TEXT, 0, "The device's key: shown this once and never again.", 0, 100 },
    { 0 }
};

#define REGISTER .method = HTTP_POST, .scope = SCOPE_MANAGE, .run = add, .fields = register_fields, \
    .summary = "Register a device; it gets a key of its own, shown once.", .answer = device_columns, \
    .shape = token_shape

static const struct op ops[] = {
    { .name = "device.register", .path = "/api/v1/devices", REGISTER, .flags = OP_CREATES | OP_SECRET,
      .cli = "devices register", .cli_args = "name", .cli_columns = "id,name,platform,token",
      .example = "devices register \"Anna's phone\" --platform android" },
    { .name = "device.register", .path = "/api/v1/devices/register", REGISTER,
      .flags = OP_CREATES | OP_SECRET | OP_ALIAS },
    { .name = "device.list", .method = HTTP_GET, .path = "/api/v1/devices", .scope = SCOPE_READ, .run = list,
      .summary = "List devices.", .fields = list_fields, .flags = OP_LIST, .answer = device_columns, .cli = "devices",
      .cli_columns = "id,name,platform,state,seen=last_seen_at,synced=synced_at", .example = "devices" },
    { .name = "device.get", .method = HTTP_GET, .path = "/api/v1/devices/{id}", .scope = SCOPE_READ, .run = get,
      .summary = "Show one device.", .fields = id_fields, .answer = device_columns, .cli = "devices get",
      .cli_args = "id", .cli_columns = "id,name,platform,state,seen=last_seen_at",
      .example = "devices get dev_0123456789abc" },
    { .name = "device.rename", .method = HTTP_PATCH, .path = "/api/v1/devices/{id}", .scope = SCOPE_MANAGE,
      .run = change, .summary = "Rename a device.", .fields = change_fields, .answer = device_columns,
      .cli = "devices rename", .cli_args = "id name", .cli_columns = "id,name",
      .example = "devices rename dev_0123456789abc \"Old phone\"" },
    { .name = "device.revoke", .method = HTTP_DELETE, .path = "/api/v1/devices/{id}", .scope = SCOPE_MANAGE,
      .run = revoke, .summary = "Revoke a device and all its keys.", .fields = id_fields, .flags = OP_EMPTY,
      .cli = "devices revoke", .cli_args = "id", .example = "devices revoke dev_0123456789abc" },
};

const struct op_table ops_devices = { "devices", ops, sizeof ops / sizeof *ops };
