/* rule_edit.h - adding and changing rules. What a rule holds is core/rule.h's; the caller checks it with
 * rule_check. */
#pragma once

#include "core/rule.h"
#include "db/db.h"

/* Inside a write transaction; each is told in the log. rule_add: ERR_CONFLICT when the name is taken or the tenant
 * has LIMIT_RULES_PER_TENANT already. rule_change writes name, position, state, matches and actions of the rule
 * that tenant and id name; the same for rule_remove: 1 done, 0 unknown, -1 failed. */
int rule_add(struct db_session *tx, const struct rule *rule, struct err *err);
int rule_change(struct db_session *tx, const struct rule *rule, struct err *err);
int rule_remove(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err);

/* Read the rule that `rule->tenant_id` and `id` name: 1 found, 0 not, -1 failed. */
int rule_get(struct db_session *session, struct arena *arena, struct rule *rule, struct err *err);

/* All rules of a tenant in the order in which they are evaluated, in the arena: their number, -1 failed. */
int rule_list_all(struct db_session *session, struct arena *arena, int64_t tenant_id, struct rule **out,
                  struct err *err);
