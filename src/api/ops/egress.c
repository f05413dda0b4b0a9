#include "api/op.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/egress.h"
#include "core/tenant.h"

struct edit {
    struct op_call *call;
    struct egress_row row;
};

static void put_row(struct op_call *call, const struct egress_row *row)
{
    json_object_begin(&call->out);
    row_json(&call->out, egress_columns, row);
    json_key(&call->out, "tenant_id");
    json_put_text(&call->out, str_c(row->tenant_id ? id_text(call->arena, ID_TENANT, row->tenant_id) : NULL));
    json_object_end(&call->out);
}

static int render(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    put_row(call, &((const struct edit *)arg)->row);
    return 0;
}

static int add_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    struct tenant tenant = { .id = edit->row.tenant_id };
    int found = tenant.id ? tenant_get(tx, db_arena(tx), &tenant, err) : 1;

    if (found == 0)
        return err_field(err, "tenant_id", "There is no such tenant.");
    return found < 0 ? -1 : egress_add(tx, &edit->row, err);
}

static enum op_done add(struct op_call *call, struct err *err)
{
    struct edit edit = {
        .call = call,
        .row = { .id = ids_next(call->hub->ids, err), .port = field_number(&call->in, "port", 0),
                 .tenant_id = field_number(&call->in, "tenant_id", 0), .created_ms = clock_ms() },
    };
    enum op_done done;

    if (edit.row.id < 0 ||
        egress_network(call->arena, field_text(&call->in, "network"), &edit.row.network, err) < 0)
        return OP_FAILED;
    call->object = id_text(call->arena, ID_EGRESS, edit.row.id);
    done = op_write(call, add_tx, render, &edit, err);
    if (done == OP_DONE)
        egress_changed();
    return done;
}

static enum op_done list(struct op_call *call, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, 0, err);
    struct egress_row *rows;
    int count;

    if (!session)
        return OP_FAILED;
    count = egress_list(session, call->arena, field_number(&call->in, "tenant_id", 0), &rows, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < count; i++)
        put_row(call, &rows[i]);
    op_list_end(call, NULL, 0);
    return OP_DONE;
}

static int remove_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct op_call *call = arg;
    int done = egress_remove(tx, field_number(&call->in, "id", 0), err);

    return done == 0 ? op_not_found(call, err) : done < 0 ? -1 : 0;
}

static enum op_done drop(struct op_call *call, struct err *err)
{
    enum op_done done = op_write(call, remove_tx, NULL, call, err);

    if (done == OP_DONE)
        egress_changed();
    return done;
}

#define TENANT(help) { "tenant_id", FIELD_ID, 0, help, 0, 0, ID_TENANT }

static const struct field list_fields[] = { TENANT("Only what counts for this tenant."), { 0 } };
static const struct field id_fields[] = { { "id", FIELD_ID, FIELD_PATH, "The permission.", 0, 0, ID_EGRESS }, { 0 } };
static const struct field add_fields[] = {
    { "network", FIELD_TEXT, FIELD_REQUIRED, "An address, or a network as address/bits.", 1, 60, NULL, NULL, NULL,
      "192.168.1.20" },
    { "port", FIELD_INT, 0, "Only this port; 0 for all.", 0, 65535, NULL, "0" },
    TENANT("Only for this tenant; for all when left out."),
    { 0 }
};
static const struct field shape[] = {
    { "tenant_id", FIELD_ID, FIELD_NULLABLE, "For which tenant; null for all.", 0, 0, ID_TENANT },
    { 0 }
};

static const struct op ops[] = {
    { .name = "egress.add", .method = HTTP_POST, .path = "/api/v1/egress", .scope = SCOPE_ADMIN, .run = add,
      .summary = "Let channels reach a private address; without it they reach public ones only.", .fields = add_fields,
      .flags = OP_CREATES | OP_TENANT_ANY, .answer = egress_columns, .shape = shape, .cli = "egress allow",
      .cli_args = "network", .cli_columns = "id,network,port,tenant=tenant_id",
      .example = "egress allow 192.168.1.20 --port 8080" },
    { .name = "egress.list", .method = HTTP_GET, .path = "/api/v1/egress", .scope = SCOPE_ADMIN, .run = list,
      .summary = "List the private addresses that channels may reach.", .fields = list_fields,
      .flags = OP_LIST | OP_TENANT_ANY, .answer = egress_columns, .shape = shape, .cli = "egress",
      .cli_columns = "id,network,port,tenant=tenant_id,created=created_at", .example = "egress" },
    { .name = "egress.remove", .method = HTTP_DELETE, .path = "/api/v1/egress/{id}", .scope = SCOPE_ADMIN, .run = drop,
      .summary = "Take such a permission back.", .fields = id_fields, .flags = OP_EMPTY | OP_TENANT_ANY,
      .cli = "egress remove", .cli_args = "id", .example = "egress remove egr_0123456789abc" },
};

const struct op_table ops_egress = { "egress", ops, sizeof ops / sizeof *ops };
