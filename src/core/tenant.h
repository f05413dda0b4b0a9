/* tenant.h - tenants: the organisations that own everything. Tenant 1, "default", exists from the first start and
 * is the operator's. */
#pragma once

#include "core/hub.h"
#include "core/page.h"
#include "db/row.h"

enum tenant_state { TENANT_ACTIVE, TENANT_SUSPENDED };
extern const char *const tenant_state_words[];      /* "active", "suspended", NULL */

enum tenant_policy { TENANT_UNKNOWN_HOLD, TENANT_UNKNOWN_RESEND, TENANT_UNKNOWN_FAIL };
extern const char *const tenant_policy_words[];     /* "hold", "resend", "fail", NULL */

#define TENANT_DEFAULT 1

struct tenant {
    int64_t id, state, seq, unknown_policy, created_ms;
    struct str name, region, time_zone;
};
extern const struct column tenant_columns[];

/* Add one inside a write transaction; `id` was drawn before. ERR_CONFLICT when the name is taken. */
int tenant_add(struct db_session *tx, const struct tenant *tenant, struct err *err);

/* Suspend or wake up inside a write transaction: 1, 0 unknown, -1. Call tenant_changed after the commit. */
int tenant_set_state(struct db_session *tx, int64_t id, enum tenant_state state, struct err *err);

/* Forget what this process remembers of tenants' states, so that a change works at once. */
void tenant_changed(struct hub *hub);

/* Read the tenant that `tenant->id` or a name names: 1 found, 0 not, -1 failed. */
int tenant_get(struct db_session *session, struct arena *arena, struct tenant *tenant, struct err *err);
int tenant_find(struct db_session *session, struct arena *arena, struct str name, struct tenant *out, struct err *err);

/* A page of all tenants in order of id (page->tenant_id does not count): their number, -1 failed. */
int tenant_list(struct db_session *session, const struct page *page, struct tenant **out, struct err *err);

/* Is it there and not suspended? Remembered for at most a second. 1, 0, -1. */
int tenant_active(struct hub *hub, int64_t id, struct err *err);
