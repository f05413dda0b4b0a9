#include "core/identity.h"

#include "base/arena.h"
#include "db/db.h"

int identity_find(struct db_session *session, struct arena *arena, struct identity *identity, struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT k.id, k.address FROM contacts k WHERE k.tenant_id = $1 AND k.channel_id = $2 AND k.address = $3 "
        "UNION ALL SELECT k.id, k.address FROM identities i JOIN contacts k ON k.tenant_id = i.tenant_id "
        "AND k.id = i.contact_id WHERE i.tenant_id = $1 AND i.channel_id = $2 AND i.address = $3 AND i.kind = 0 "
        "LIMIT 1",
        DB_ARGS(db_int(identity->tenant_id), db_int(identity->channel_id), db_text(identity->address)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    identity->contact_id = db_col_int(rows, 0);
    identity->main = (struct str){ str_dup(arena, db_col_text(rows, 1)), db_col_text(rows, 1).len };
    db_rows_end(rows);
    return 1;
}

int identity_list(struct db_session *session, struct arena *arena, const struct identity *of, struct str **out,
                  struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT address FROM identities WHERE tenant_id = $1 AND contact_id = $2 ORDER BY created_ms, address LIMIT $3",
        DB_ARGS(db_int(of->tenant_id), db_int(of->contact_id), db_int(IDENTITIES_SHOWN)), err);
    int found = -1, count = 0;

    *out = arena_array(arena, IDENTITIES_SHOWN, sizeof **out);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct str address = db_col_text(rows, 0);

        (*out)[count++] = (struct str){ str_dup(arena, address), address.len };
    }
    return found < 0 ? -1 : count;
}
