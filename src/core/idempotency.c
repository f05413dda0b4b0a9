#include "core/idempotency.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/sign.h"

int idempotency_find(struct db_session *session, struct arena *arena, struct idempotency *out,
                     struct err *err)
{
    struct db_rows *rows =
        db_query(session,
                 "SELECT body_hash, status, answer FROM idempotency WHERE tenant_id = $1 AND "
                 "key_id = $2 AND name = $3",
                 DB_ARGS(db_int(out->tenant_id), db_int(out->key_id), db_text(out->name)), err);
    int found = rows ? db_next(rows, err) : -1;
    struct str hash, answer;

    if (found != 1)
        return found;
    hash = db_col_text(rows, 0);
    if (hash.len != sizeof out->body_hash || !sign_equal(hash.data, out->body_hash, hash.len)) {
        db_rows_end(rows);
        err_set(err, ERR_KEY_REUSED, "This Idempotency-Key was used before with another request.");
        return err_hint(
            err, "Use a new key for a new request; repeat a request with exactly the same body.");
    }
    out->status = (int)db_col_int(rows, 1);
    answer = db_col_text(rows, 2);
    out->answer = (struct str){ arena_copy(arena, answer.data, answer.len), answer.len };
    db_rows_end(rows);
    return 1;
}

int idempotency_store(struct db_session *tx, const struct idempotency *idempotency, struct err *err)
{
    struct str hash = { (const char *)idempotency->body_hash, sizeof idempotency->body_hash };
    struct str answer = idempotency->answer.data ? idempotency->answer : STR("");

    return (int)db_exec(
        tx,
        "INSERT INTO idempotency (tenant_id, key_id, name, body_hash, status, answer, created_ms) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        DB_ARGS(db_int(idempotency->tenant_id), db_int(idempotency->key_id),
                db_text(idempotency->name), db_blob(hash), db_int(idempotency->status),
                db_text(answer), db_int(clock_ms())),
        err);
}

int idempotency_replace(struct db_session *tx, const struct idempotency *idempotency,
                        struct err *err)
{
    struct str answer = idempotency->answer.data ? idempotency->answer : STR("");

    return db_exec(
               tx,
               "UPDATE idempotency SET status = $1, answer = $2 WHERE tenant_id = $3 AND key_id = "
               "$4 AND name = $5",
               DB_ARGS(db_int(idempotency->status), db_text(answer), db_int(idempotency->tenant_id),
                       db_int(idempotency->key_id), db_text(idempotency->name)),
               err) < 0
               ? -1
               : 0;
}
