#include "core/consent.h"

#include "core/event.h"
#include "db/db.h"

static int64_t change(struct db_session *tx, const struct consent *consent, struct err *err)
{
    if (consent->opted_out)
        return db_exec(tx,
            "UPDATE contacts SET opted_out_ms = $1, opted_out_text = $2, updated_ms = $3 "
            "WHERE tenant_id = $4 AND id = $5 AND opted_out_ms IS NULL",
            DB_ARGS(db_int(consent->at_ms), db_text(consent->reason), db_int(consent->at_ms),
                    db_int(consent->tenant_id), db_int(consent->contact_id)), err);
    return db_exec(tx,
        "UPDATE contacts SET opted_out_ms = NULL, opted_out_text = NULL, updated_ms = $1 "
        "WHERE tenant_id = $2 AND id = $3 AND opted_out_ms IS NOT NULL",
        DB_ARGS(db_int(consent->at_ms), db_int(consent->tenant_id), db_int(consent->contact_id)), err);
}

int consent_note(struct db_session *tx, const struct consent *consent, struct err *err)
{
    int64_t changed = change(tx, consent, err), known;

    if (changed < 0)
        return -1;
    if (changed == 1) {
        event_add(tx, &(struct event){ .tenant_id = consent->tenant_id, .object_id = consent->contact_id,
                                       .kind = consent->opted_out ? "contact.opted_out" : "contact.opted_in",
                                       .at_ms = consent->at_ms });
        return 1;
    }
    if (db_query_int(tx, "SELECT id FROM contacts WHERE tenant_id = $1 AND id = $2",
                     DB_ARGS(db_int(consent->tenant_id), db_int(consent->contact_id)), 0, &known, err))
        return -1;
    return known != 0;
}
