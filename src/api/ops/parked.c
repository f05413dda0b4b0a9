/* parked.c - what came in and was not understood: looked at, tried again, thrown away. */
#include "api/op.h"
#include "base/arena.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/park.h"

static const struct field list_fields[] = { OP_LIST_FIELDS, { 0 } };

static const struct field id_fields[] = {
    { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "What was parked.", 0, 0, ID_PARKED },
    { 0 }
};

static const struct field content_shape[] = {
    { "content", FIELD_TEXT, FIELD_REQUIRED, "It, as it came; what is no text is replaced.", 0, LIMIT_BATCH_BYTES },
    { 0 }
};

static enum op_done list(struct op_call *call, struct err *err)
{
    struct page page = { .arena = call->arena, .tenant_id = call->tenant_id, .limit = op_list_limit(call) + 1 };
    struct db_session *session;
    struct parked *rows;
    bool given;
    int count;

    if (op_list_cursor(call, &page.after_id, 1, &given, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    count = park_list(session, &page, &rows, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < count && i < page.limit - 1; i++) {
        json_object_begin(&call->out);
        row_json(&call->out, parked_columns, &rows[i]);
        json_object_end(&call->out);
    }
    op_list_end(call, count == page.limit ? &rows[count - 2].id : NULL, count == page.limit);
    return OP_DONE;
}

static int put(struct op_call *call, void *arg, struct err *err)
{
    const struct parked *parked = arg;

    (void)err;
    json_object_begin(&call->out);
    row_json(&call->out, parked_columns, parked);
    json_text_at(&call->out, "content", str_nfc(call->arena, parked->content));
    json_object_end(&call->out);
    return 0;
}

static int read_one(struct db_session *session, void *arg, struct err *err)
{
    struct parked *parked = arg;
    int found = park_get(session, parked->tenant_id, parked->id, parked, err);

    return found == 0 ? err_set(err, ERR_NOT_FOUND, "There is nothing parked of this id.") : found < 0 ? -1 : 0;
}

static struct parked *named(struct op_call *call)
{
    struct parked *parked = arena_alloc(call->arena, sizeof *parked);

    *parked = (struct parked){ .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id };
    return parked;
}

static enum op_done get(struct op_call *call, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    struct parked *parked = named(call);
    int failed = session ? read_one(session, parked, err) : -1;

    if (!failed)
        failed = put(call, parked, err);
    if (session)
        db_read_end(session);
    return failed ? OP_FAILED : OP_DONE;
}

/* It is done; only the audit is left. */
static int nothing(struct db_session *tx, void *arg, struct err *err)
{
    (void)tx;
    (void)arg;
    (void)err;
    return 0;
}

static enum op_done replay(struct op_call *call, struct err *err)
{
    int done = park_replay(call->hub, call->tenant_id, field_number(&call->in, "id", 0), err);

    if (done == 0)
        err_set(err, ERR_NOT_FOUND, "There is nothing parked of this id.");
    return done == 1 ? op_write(call, nothing, NULL, NULL, err) : OP_FAILED;
}

static int drop_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct parked *parked = arg;
    int dropped = park_drop(tx, parked->tenant_id, parked->id, err);

    return dropped == 0 ? err_set(err, ERR_NOT_FOUND, "There is nothing parked of this id.") : dropped < 0 ? -1 : 0;
}

static enum op_done drop(struct op_call *call, struct err *err)
{
    return op_write(call, drop_tx, NULL, named(call), err);
}

#define COLUMNS "id,channel_id,source,reason,created=created_at,replayed=replayed_at"

static const struct op ops[] = {
    { .name = "parked.list", .method = HTTP_GET, .path = "/api/v1/parked", .scope = SCOPE_MANAGE, .run = list,
      .summary = "What came in and was not understood, newest first: kept whole, to be tried again.",
      .fields = list_fields, .flags = OP_LIST, .answer = parked_columns, .cli = "parked", .cli_columns = COLUMNS,
      .example = "parked" },
    { .name = "parked.get", .method = HTTP_GET, .path = "/api/v1/parked/{id}", .scope = SCOPE_MANAGE, .run = get,
      .summary = "Show one of them with its content.", .fields = id_fields, .answer = parked_columns,
      .shape = content_shape, .cli = "parked get", .cli_args = "id", .cli_columns = COLUMNS ",content",
      .example = "parked get prk_0123456789abc" },
    { .name = "parked.replay", .method = HTTP_POST, .path = "/api/v1/parked/{id}/replay", .scope = SCOPE_MANAGE,
      .run = replay, .summary = "Try again to understand it, as if it came at the time when it came.",
      .fields = id_fields, .flags = OP_EMPTY, .cli = "parked replay", .cli_args = "id",
      .example = "parked replay prk_0123456789abc" },
    { .name = "parked.drop", .method = HTTP_DELETE, .path = "/api/v1/parked/{id}", .scope = SCOPE_MANAGE,
      .run = drop, .summary = "Throw it away.", .fields = id_fields, .flags = OP_EMPTY, .cli = "parked drop",
      .cli_args = "id", .example = "parked drop prk_0123456789abc" },
};

const struct op_table ops_parked = { "parked", ops, sizeof ops / sizeof *ops };
