#include "core/identity.h"

#include "base/arena.h"
#include "db/db.h"

int identity_find(struct db_session *session, struct arena *arena, struct identity *identity, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT k.id, k.address FROM contacts k WHERE k.tenant_id = $1 AND k.channel_id = $2 AND k.address = $3 "
        "UNION ALL SELECT k.id, k.address FROM identities i JOIN contacts k ON k.tenant_id = i.tenant_id "
        "AND k.id = i.contact_id WHERE i.tenant_id = $1 AND i.channel_id = $2 AND i.address = $3 AND i.kind = 0 LIMIT 1",
        DB_ARGS(db_int(identity->tenant_id), db_int(identity->channel_id), db_text(identity->address)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    identity->contact_id = db_col_int(rows, 0);
    identity->main = (struct str){ str_dup(arena, db_col_text(rows, 1)), db_col_text(rows, 1).len };
    db_rows_end(rows);
    return 1;
}
