#include "core/consent.h"

#include "base/arena.h"
#include "core/event.h"
#include "db/db.h"

const char *const consent_words[] = { "none", "word", "provider", "word+provider", "person", "word+person",
                                      "provider+person", "word+provider+person", NULL };

/* What stands with the contact. */
struct stored {
    int64_t since_ms, by;
    struct str reason;
};

static int read_stored(struct db_session *tx, const struct consent *consent, struct stored *out, struct err *err)
{
    struct db_rows *rows = db_query(tx, "SELECT opted_out_ms, opted_out_by, opted_out_text FROM contacts "
                                    "WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
                                    DB_ARGS(db_int(consent->tenant_id), db_int(consent->contact_id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    *out = (struct stored){ .since_ms = db_col_int(rows, 0), .by = db_col_int(rows, 1) };
    if (!db_col_null(rows, 2))
        out->reason = (struct str){ str_dup(db_arena(tx), db_col_text(rows, 2)), db_col_text(rows, 2).len };
    db_rows_end(rows);
    return 1;
}

static int64_t lifted(enum consent_voice by)
{
    return by == CONSENT_WORD ? CONSENT_WORD | CONSENT_PERSON
        : by == CONSENT_PROVIDER ? CONSENT_PROVIDER : CONSENT_WORD | CONSENT_PROVIDER | CONSENT_PERSON;
}

int consent_note(struct db_session *tx, const struct consent *consent, struct err *err)
{
    struct stored was = { 0 };
    int found = read_stored(tx, consent, &was, err);
    int64_t by = consent->opted_out ? was.by | (int64_t)consent->by : was.by & ~lifted(consent->by);
    int64_t since_ms = by == 0 ? 0 : was.since_ms ? was.since_ms : consent->at_ms;
    struct str reason = by == 0 ? (struct str){ 0 } : was.reason.len > 0 ? was.reason : consent->reason;

    if (found != 1 || (by == was.by && (since_ms != 0) == (was.since_ms != 0)))
        return found;
    if (db_exec(tx, "UPDATE contacts SET opted_out_ms = $1, opted_out_by = $2, opted_out_text = $3, updated_ms = $4 "
                "WHERE tenant_id = $5 AND id = $6",
                DB_ARGS(db_id(since_ms), db_int(by), db_text(reason), db_int(consent->at_ms),
                        db_int(consent->tenant_id), db_int(consent->contact_id)), err) < 0)
        return -1;
    if ((since_ms != 0) != (was.since_ms != 0))
        event_add(tx, &(struct event){ .tenant_id = consent->tenant_id, .object_id = consent->contact_id,
                                       .kind = since_ms ? "contact.opted_out" : "contact.opted_in",
                                       .conversation_id = consent->conversation_id, .at_ms = consent->at_ms });
    return 1;
}
