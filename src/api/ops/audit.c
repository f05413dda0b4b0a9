#include "api/op.h"
#include "base/limits.h"
#include "core/audit_list.h"

static enum op_done list(struct op_call *call, struct err *err)
{
    struct audit_filter filter = {
        .page = { .arena = call->arena, .tenant_id = call->tenant_id, .limit = op_list_limit(call) + 1 },
        .actor = field_text(&call->in, "actor"), .action = field_text(&call->in, "action"),
        .object = field_text(&call->in, "object"), .since_ms = field_number(&call->in, "since", 0),
        .until_ms = field_number(&call->in, "until", 0),
    };
    struct db_session *session;
    struct audit_row *rows;
    bool given;
    int count;

    if (op_list_cursor(call, &filter.page.after_id, 1, &given, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    count = audit_list(session, &filter, &rows, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < count && i < filter.page.limit - 1; i++) {
        json_object_begin(&call->out);
        row_json(&call->out, audit_columns, &rows[i]);
        json_object_end(&call->out);
    }
    op_list_end(call, count == filter.page.limit ? &rows[count - 2].id : NULL, count == filter.page.limit);
    return OP_DONE;
}

static const struct field fields[] = {
    OP_LIST_FIELDS,
    { "actor", FIELD_TEXT, 0, "Who did it: a key's id, uid:0, hub.", 1, 100 },
    { "action", FIELD_TEXT, 0, "What was done: an operation's name, access.denied, send.failed.", 1, 100 },
    { "object", FIELD_TEXT, 0, "To what: an id.", 1, 100 },
    { "since", FIELD_TIME, 0, "Not before this time." },
    { "until", FIELD_TIME, 0, "Before this time." },
    { 0 }
};

static const struct op ops[] = {
    { .name = "audit.list", .method = HTTP_GET, .path = "/api/v1/audit", .scope = SCOPE_ADMIN, .run = list,
      .summary = "Who did what, newest first: changes, refused access, failed sends.", .fields = fields,
      .flags = OP_LIST, .answer = audit_columns, .cli = "audit", .cli_columns = "at,actor,action,object,detail,peer",
      .example = "audit --action access.denied --limit 20" },
};

const struct op_table ops_audit = { "audit", ops, sizeof ops / sizeof *ops };
