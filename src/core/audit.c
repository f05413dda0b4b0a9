#include "core/audit.h"

int audit_add(struct db_session *tx, const struct audit *audit, struct err *err)
{
    return db_exec(tx,
                   "INSERT INTO audit (id, tenant_id, at_ms, actor, action, object, detail, peer, "
                   "request_id) "
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                   DB_ARGS(db_int(audit->id), db_int(audit->tenant_id), db_int(audit->at_ms),
                           db_cstr(audit->actor ? audit->actor : "hub"), db_cstr(audit->action),
                           db_cstr(audit->object), db_cstr(audit->detail), db_cstr(audit->peer),
                           db_cstr(audit->request_id)),
                   err)
                   == 1
               ? 0
               : -1;
}
