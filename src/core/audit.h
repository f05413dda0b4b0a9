/* audit.h - who did what, append-only: changes, denied access, failed sends, worker errors. */
#pragma once

#include "db/db.h"

struct audit {
    int64_t id, tenant_id, at_ms;
    const char *actor, *action, *object, *detail, *peer, *request_id;   /* NULL where nothing is to say; no secrets */
};

/* Add a line inside a write transaction. */
int audit_add(struct db_session *tx, const struct audit *audit, struct err *err);
