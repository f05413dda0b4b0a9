#include "api/op.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/tenant.h"


struct edit {
    struct op_call *call;
    struct tenant tenant;
    struct key_draft draft;
    enum tenant_state state;
};

static int render(struct op_call *call, void *arg, struct err *err)
{
    const struct edit *edit = arg;

    (void)err;
    json_object_begin(&call->out);
    row_json(&call->out, tenant_columns, &edit->tenant);
    if (edit->draft.token)
        json_cstr_at(&call->out, "token", edit->draft.token);
    json_object_end(&call->out);
    return 0;
}

static int create_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    return tenant_add(tx, &edit->tenant, err) < 0 ? -1 : key_add(tx, &edit->draft, err);
}

/* A tenant without a key could be used by nobody: its first admin key comes with it. */
static enum op_done create(struct op_call *call, struct err *err)
{
    int64_t id = ids_next(call->hub->ids, err);
    const struct key wanted = { .tenant_id = id, .kind = KEY_HUB, .scopes = SCOPE_ALL, .name = STR("first key") };
    struct edit edit = {
        .call = call,
        .tenant = { .id = id, .name = field_text(&call->in, "name"), .region = field_text(&call->in, "region"),
                    .time_zone = field_text(&call->in, "time_zone"),
                    .unknown_policy = field_number(&call->in, "unknown_policy", 0), .created_ms = clock_ms() },
    };

    if (id < 0 || key_draw(call->hub, call->arena, &wanted, &edit.draft, err) < 0)
        return OP_FAILED;
    call->object = id_text(call->arena, ID_TENANT, id);
    return op_write(call, create_tx, render, &edit, err);
}

static enum op_done list(struct op_call *call, struct err *err)
{
    struct page page = { .arena = call->arena, .limit = op_list_limit(call) + 1 };
    struct db_session *session;
    struct tenant *tenants;
    bool given;
    int count;

    if (op_list_cursor(call, &page.after_id, 1, &given, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, 0, err);
    if (!session)
        return OP_FAILED;
    count = tenant_list(session, &page, &tenants, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < count && i < page.limit - 1; i++) {
        json_object_begin(&call->out);
        row_json(&call->out, tenant_columns, &tenants[i]);
        json_object_end(&call->out);
    }
    op_list_end(call, count == page.limit ? &tenants[count - 2].id : NULL, count == page.limit);
    return OP_DONE;
}

static int state_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    int done = tenant_set_state(tx, edit->tenant.id, edit->state, err);

    if (done == 1)
        done = tenant_get(tx, edit->call->arena, &edit->tenant, err);
    if (done == 0)
        return op_not_found(edit->call, err);
    return done < 0 ? -1 : 0;
}

static enum op_done set_state(struct op_call *call, enum tenant_state state, struct err *err)
{
    struct edit edit = { .call = call, .tenant.id = field_number(&call->in, "id", 0), .state = state };
    enum op_done done;

    if (edit.tenant.id == TENANT_DEFAULT) {
        err_set(err, ERR_CONFLICT, "The operator's own tenant cannot be suspended.");
        err_hint(err, "Stop the hub instead.");
        return OP_FAILED;
    }
    done = op_write(call, state_tx, render, &edit, err);
    if (done == OP_DONE)
        tenant_changed(call->hub);
    return done;
}

static enum op_done suspend(struct op_call *call, struct err *err)
{
    return set_state(call, TENANT_SUSPENDED, err);
}

static enum op_done resume(struct op_call *call, struct err *err)
{
    return set_state(call, TENANT_ACTIVE, err);
}

static const struct field list_fields[] = { OP_LIST_FIELDS, { 0 } };
static const struct field id_fields[] = { { "id", FIELD_ID, FIELD_PATH, "The tenant.", 0, 0, ID_TENANT }, { 0 } };
static const struct field create_fields[] = {
    { "name", FIELD_TEXT, FIELD_REQUIRED, "A name that no other tenant has.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL,
      "acme" },
    { "region", FIELD_TEXT, 0, "Country of phone numbers that are written without one.", 2, 2, NULL, "US", NULL, "DE" },
    { "time_zone", FIELD_TEXT, 0, "For quiet hours and reports.", 1, 64, NULL, "UTC", NULL, "Europe/Berlin" },
    { "unknown_policy", FIELD_ENUM, 0, "What becomes of a message that may or may not have gone out.", 0, 0,
      "hold|resend|fail", "hold" },
    { 0 }
};
static const struct field token_shape[] = {
    { "token", FIELD_TEXT, 0, "Its first admin key: shown this once and never again.", 0, 100 },
    { 0 }
};

static const struct op ops[] = {
    { .name = "tenant.create", .method = HTTP_POST, .path = "/api/v1/tenants", .scope = SCOPE_ADMIN, .run = create,
      .summary = "Add a tenant with its first admin key.", .fields = create_fields,
      .flags = OP_CREATES | OP_SECRET | OP_TENANT_ANY, .answer = tenant_columns, .shape = token_shape,
      .cli = "tenants create", .cli_args = "name", .cli_columns = "id,name,state,token",
      .example = "tenants create acme --region DE" },
    { .name = "tenant.list", .method = HTTP_GET, .path = "/api/v1/tenants", .scope = SCOPE_ADMIN, .run = list,
      .summary = "List all tenants.", .fields = list_fields, .flags = OP_LIST | OP_TENANT_ANY, .answer = tenant_columns,
      .cli = "tenants", .cli_columns = "id,name,state,region,created=created_at", .example = "tenants" },
    { .name = "tenant.suspend", .method = HTTP_POST, .path = "/api/v1/tenants/{id}/suspend", .scope = SCOPE_ADMIN,
      .run = suspend, .summary = "Suspend a tenant: its keys and hooks stop, nothing is deleted.", .fields = id_fields,
      .flags = OP_TENANT_ANY, .answer = tenant_columns, .cli = "tenants suspend", .cli_args = "id",
      .cli_columns = "id,name,state", .example = "tenants suspend ten_0123456789abc" },
    { .name = "tenant.resume", .method = HTTP_POST, .path = "/api/v1/tenants/{id}/resume", .scope = SCOPE_ADMIN,
      .run = resume, .summary = "Let a suspended tenant work again.", .fields = id_fields, .flags = OP_TENANT_ANY,
      .answer = tenant_columns, .cli = "tenants resume", .cli_args = "id", .cli_columns = "id,name,state",
      .example = "tenants resume ten_0123456789abc" },
};

const struct op_table ops_tenants = { "tenants", ops, sizeof ops / sizeof *ops };
