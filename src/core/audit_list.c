#include "core/audit_list.h"

#include "base/arena.h"
#include "base/id.h"
#include "core/query.h"

const struct column audit_columns[] = {
    { "id", COL_REF, offsetof(struct audit_row, id), COL_PUBLIC, ID_AUDIT },
    { "tenant_id", COL_REF, offsetof(struct audit_row, tenant_id), 0, ID_TENANT },
    { "at_ms", COL_TIME, offsetof(struct audit_row, at_ms), COL_PUBLIC, .json = "at" },
    { "actor", COL_TEXT, offsetof(struct audit_row, actor), COL_PUBLIC },
    { "action", COL_TEXT, offsetof(struct audit_row, action), COL_PUBLIC },
    { "object", COL_TEXT, offsetof(struct audit_row, object), COL_PUBLIC },
    { "detail", COL_TEXT, offsetof(struct audit_row, detail), COL_PUBLIC },
    { "peer", COL_TEXT, offsetof(struct audit_row, peer), COL_PUBLIC },
    { "request_id", COL_TEXT, offsetof(struct audit_row, request_id), COL_PUBLIC },
    { 0 }
};

static void build(struct query *query, const struct audit_filter *filter)
{
    query_add_value(query, " tenant_id = ?", db_int(filter->page.tenant_id));
    if (filter->page.after_id)
        query_add_value(query, " AND id < ?", db_int(filter->page.after_id));
    if (filter->actor.data)
        query_add_value(query, " AND actor = ?", db_text(filter->actor));
    if (filter->action.data)
        query_add_value(query, " AND action = ?", db_text(filter->action));
    if (filter->object.data)
        query_add_value(query, " AND object = ?", db_text(filter->object));
    if (filter->since_ms)
        query_add_value(query, " AND at_ms >= ?", db_int(filter->since_ms));
    if (filter->until_ms)
        query_add_value(query, " AND at_ms < ?", db_int(filter->until_ms));
    query_add_value(query, " ORDER BY id DESC LIMIT ?", db_int(filter->page.limit));
}

int audit_list(struct db_session *session, const struct audit_filter *filter, struct audit_row **out, struct err *err)
{
    struct arena *arena = filter->page.arena;
    struct query query;
    struct db_rows *rows;
    int count = 0, more;

    query_init(&query, arena_printf(arena, "SELECT %s FROM audit WHERE", row_select(audit_columns, NULL)));
    build(&query, filter);
    rows = query_run(session, &query, err);
    more = rows ? 1 : -1;
    *out = arena_array(arena, (size_t)filter->page.limit, sizeof **out);
    while (more == 1 && count < filter->page.limit && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, audit_columns, arena, &(*out)[count++]);
    if (rows)
        db_rows_end(rows);
    query_fini(&query);
    return more < 0 ? -1 : count;
}
