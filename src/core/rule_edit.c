#include "core/rule_edit.h"

#include "base/arena.h"
#include "base/limits.h"
#include "core/event.h"
#include "db/row.h"

static void tell(struct db_session *tx, const char *kind, const struct rule *rule)
{
    event_add(tx, &(const struct event){ .tenant_id = rule->tenant_id, .kind = kind, .object_id = rule->id,
                                         .at_ms = rule->updated_ms });
}

static int check_room(struct db_session *tx, int64_t tenant_id, struct err *err)
{
    int64_t count;

    if (db_query_int(tx, "SELECT COUNT(*) FROM rules WHERE tenant_id = $1", DB_ARGS(db_int(tenant_id)), 0, &count,
                     err) < 0)
        return -1;
    if (count < LIMIT_RULES_PER_TENANT)
        return 0;
    err_set(err, ERR_CONFLICT, "There are %d rules already, which is the most.", LIMIT_RULES_PER_TENANT);
    return err_hint(err, "Delete one, or join some: a rule may hold many words.");
}

static int name_is_free(struct db_session *tx, const struct rule *rule, struct err *err)
{
    int64_t other;

    if (db_query_int(tx, "SELECT id FROM rules WHERE tenant_id = $1 AND name = $2 AND id <> $3",
                     DB_ARGS(db_int(rule->tenant_id), db_text(rule->name), db_int(rule->id)), 0, &other, err) < 0)
        return -1;
    if (!other)
        return 0;
    err_set(err, ERR_CONFLICT, "There is already a rule with this name.");
    return err_hint(err, "Choose another name, or change that rule.");
}

int rule_add(struct db_session *tx, const struct rule *rule, struct err *err)
{
    if (check_room(tx, rule->tenant_id, err) < 0 || name_is_free(tx, rule, err) < 0)
        return -1;
    if (db_exec(tx,
                "INSERT INTO rules (id, tenant_id, name, position, state, matches, actions, created_ms, updated_ms) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                DB_ARGS(db_int(rule->id), db_int(rule->tenant_id), db_text(rule->name), db_int(rule->position),
                        db_int(rule->state), db_text(rule->matches), db_text(rule->actions), db_int(rule->created_ms),
                        db_int(rule->updated_ms)), err) < 0)
        return -1;
    tell(tx, "rule.added", rule);
    return 0;
}

int rule_change(struct db_session *tx, const struct rule *rule, struct err *err)
{
    int64_t changed;

    if (name_is_free(tx, rule, err) < 0)
        return -1;
    changed = db_exec(tx,
        "UPDATE rules SET name = $1, position = $2, state = $3, matches = $4, actions = $5, updated_ms = $6 "
        "WHERE tenant_id = $7 AND id = $8",
        DB_ARGS(db_text(rule->name), db_int(rule->position), db_int(rule->state), db_text(rule->matches),
                db_text(rule->actions), db_int(rule->updated_ms), db_int(rule->tenant_id), db_int(rule->id)), err);
    if (changed > 0)
        tell(tx, "rule.changed", rule);
    return (int)changed;
}

int rule_remove(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err)
{
    const struct rule rule = { .tenant_id = tenant_id, .id = id, .updated_ms = db_now_ms(tx, err) };
    int64_t removed;

    if (rule.updated_ms < 0)
        return -1;
    removed = db_exec(tx, "DELETE FROM rules WHERE tenant_id = $1 AND id = $2", DB_ARGS(db_int(tenant_id), db_int(id)),
                      err);
    if (removed > 0)
        tell(tx, "rule.removed", &rule);
    return (int)removed;
}

int rule_get(struct db_session *session, struct arena *arena, struct rule *rule, struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM rules WHERE tenant_id = $1 AND id = $2",
                                   row_select(rule_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(rule->tenant_id), db_int(rule->id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1)
        row_read(rows, 0, rule_columns, arena, rule);
    if (rows)
        db_rows_end(rows);
    return found;
}

int rule_list_all(struct db_session *session, struct arena *arena, int64_t tenant_id, struct rule **out,
                  struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM rules WHERE tenant_id = $1 ORDER BY position, id LIMIT $2",
                                   row_select(rule_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(tenant_id), db_int(LIMIT_RULES_PER_TENANT)), err);
    int count = 0, more = rows ? 1 : -1;

    *out = arena_array(arena, LIMIT_RULES_PER_TENANT, sizeof **out);
    while (more == 1 && count < LIMIT_RULES_PER_TENANT && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, rule_columns, arena, &(*out)[count++]);
    if (rows)
        db_rows_end(rows);
    return more < 0 ? -1 : count;
}
