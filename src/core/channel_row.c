#include "core/channel_row.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/channel.h"

#include <stddef.h>

const char *const channel_state_words[] = { "enabled", "disabled", NULL };
const char *const channel_policy_words[] = { "auto_reply", "follow_up", "human_takeover", NULL };

#define AT(member) offsetof(struct channel_row, member)

const struct column channel_columns[] = {
    { "id", COL_REF, AT(id), COL_PUBLIC, ID_CHANNEL },
    { "tenant_id", COL_INT, AT(tenant_id), 0 },
    { "kind", COL_TEXT, AT(kind), COL_PUBLIC },
    { "name", COL_TEXT, AT(name), COL_PUBLIC },
    { "state", COL_ENUM, AT(state), COL_PUBLIC, NULL, channel_state_words },
    { "hook", COL_TEXT, AT(hook), COL_PUBLIC },
    { "settings", COL_JSON, AT(settings), COL_PUBLIC },
    { "secrets", COL_BLOB, AT(secrets), COL_SECRET },
    { "policy", COL_ENUM, AT(policy), COL_PUBLIC, NULL, channel_policy_words },
    { "agent", COL_TEXT, AT(agent), COL_PUBLIC },
    { "auto_reply", COL_TEXT, AT(auto_reply), COL_PUBLIC },
    { "debounce_ms", COL_INT, AT(debounce_ms), COL_PUBLIC },
    { "region", COL_TEXT, AT(region), COL_PUBLIC },
    { "per_second", COL_INT, AT(rates.per_second), COL_PUBLIC },
    { "per_hour", COL_INT, AT(rates.per_hour), COL_PUBLIC },
    { "per_day", COL_INT, AT(rates.per_day), COL_PUBLIC },
    { "per_contact_hour", COL_INT, AT(rates.per_contact_hour), COL_PUBLIC },
    { "next_send_ms", COL_TIME, AT(health.next_send_ms), COL_PUBLIC, NULL, NULL, "next_send_at" },
    { "breaker_faults", COL_INT, AT(health.breaker_faults), COL_PUBLIC },
    { "breaker_until_ms", COL_TIME, AT(health.breaker_until_ms), COL_PUBLIC, NULL, NULL,
      "breaker_until" },
    { "cursor", COL_TEXT, AT(health.cursor), 0 },
    { "last_heard_ms", COL_TIME, AT(health.last_heard_ms), COL_PUBLIC, NULL, NULL,
      "last_heard_at" },
    { "last_error", COL_TEXT, AT(health.last_error), COL_PUBLIC },
    { "created_ms", COL_TIME, AT(created_ms), COL_PUBLIC, NULL, NULL, "created_at" },
    { "updated_ms", COL_TIME, AT(updated_ms), COL_PUBLIC, NULL, NULL, "updated_at" },
    { "help_text", COL_TEXT, AT(help_text), COL_PUBLIC },
    { "poll_node", COL_TEXT, AT(health.poll_node), 0 },
    { "poll_until_ms", COL_TIME, AT(health.poll_until_ms), 0 },
    { "gaps", COL_TEXT, AT(health.gaps), 0 },
    { "alarm", COL_TEXT, AT(health.alarm), COL_PUBLIC },
    { "alarm_ms", COL_TIME, AT(health.alarm_ms), COL_PUBLIC, NULL, NULL, "alarm_at" },
    { "spacing_ms", COL_INT, AT(rates.spacing_ms), COL_PUBLIC },
    { "new_per_day", COL_INT, AT(rates.new_per_day), COL_PUBLIC },
    { "warmup_days", COL_INT, AT(rates.warmup_days), COL_PUBLIC },
    { "pulls", COL_BOOL, AT(pulls), COL_PUBLIC },
    { "bridge_state", COL_TEXT, AT(bridge.state), COL_PUBLIC },
    { "bridge_code", COL_TEXT, AT(bridge.code), 0 },
    { "bridge_error", COL_TEXT, AT(bridge.error), COL_PUBLIC },
    { "bridge_ms", COL_TIME, AT(bridge.at_ms), COL_PUBLIC, NULL, NULL, "bridge_seen_at" },
    { 0 }
};

/* Fills what is no column: the names of the secrets that are set. */
static int name_secrets(struct arena *arena, struct channel_row *row, struct err *err)
{
    const struct json *secrets;
    struct json_writer writer;
    struct str opened;
    const char *name;
    const struct json *value;
    void *position = NULL;
    struct buf out;

    if (channel_unseal(arena, row->id, row->secrets, &opened, err) < 0)
        return -1;
    secrets = json_parse(arena, opened, err);
    if (!secrets)
        return -1;
    buf_init(&out, LIMIT_SETTINGS_BYTES);
    writer = json_writer(&out);
    json_array_begin(&writer);
    while (json_next(secrets, &position, &name, &value))
        json_put_text(&writer, str_c(name));
    json_array_end(&writer);
    row->secret_names = (struct str){ arena_copy(arena, out.data, out.len), out.len };
    buf_fini(&out);
    return 0;
}

static int read(const struct db_rows *rows, struct arena *arena, struct channel_row *out,
                struct err *err)
{
    *out = (struct channel_row){ 0 };
    row_read(rows, 0, channel_columns, arena, out);
    return name_secrets(arena, out, err);
}

int channel_row_get(struct db_session *session, struct arena *arena, struct channel_row *row,
                    struct err *err)
{
    const char *sql =
        arena_printf(arena, "SELECT %s FROM channels WHERE tenant_id = $1 AND id = $2",
                     row_select(channel_columns, NULL));
    struct db_rows *rows =
        db_query(session, sql, DB_ARGS(db_int(row->tenant_id), db_int(row->id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1 && read(rows, arena, row, err) < 0)
        found = -1;
    if (rows)
        db_rows_end(rows);
    return found;
}

int channel_rows(struct db_session *session, struct arena *arena, struct channel_page *page,
                 struct err *err)
{
    const char *sql = arena_printf(arena,
                                   "SELECT %s FROM channels WHERE tenant_id = $1 AND id > $2 "
                                   "ORDER BY id LIMIT $3",
                                   row_select(channel_columns, NULL));
    int limit = page->limit < LIMIT_PAGE_MAX ? page->limit : LIMIT_PAGE_MAX, more = 1;
    struct db_rows *rows;

    page->count = 0;
    page->rows = arena_array(arena, (size_t)limit + 1, sizeof *page->rows);
    rows = db_query(session, sql,
                    DB_ARGS(db_int(page->tenant_id), db_int(page->after_id), db_int(limit)), err);
    if (!rows)
        return -1;
    while (page->count < limit && (more = db_next(rows, err)) == 1)
        if (read(rows, arena, &page->rows[page->count++], err) < 0)
            break;
    db_rows_end(rows);
    return page->count < limit && more != 0 ? -1 : 0;
}

void channel_row_json(struct json_writer *writer, struct arena *arena,
                      const struct channel_row *row)
{
    json_object_begin(writer);
    row_json(writer, channel_columns, row);
    json_cstr_at(writer, "hook_path", arena_printf(arena, "/hooks/%.*s", STR_FMT(row->hook)));
    json_key(writer, "secrets");
    json_put_raw(writer, row->secret_names.data ? row->secret_names : STR("[]"));
    json_object_end(writer);
}
