#include "api/keep.h"

#include "base/arena.h"
#include "core/idempotency.h"

#define ID_BYTES 16

struct keeping {
    const struct idempotency *idempotency;
    bool is_twin;               /* the same Idempotency-Key was answered in the meantime */
};

static int store(struct db_session *tx, void *arg, struct err *err)
{
    struct keeping *keeping = arg;
    int stored = idempotency_store(tx, keeping->idempotency, err);

    keeping->is_twin = stored == 0;
    return stored < 0 ? -1 : 0;
}

enum op_done keep_answer(struct op_call *call, struct err *err)
{
    struct keeping keeping = { call->idempotency, false };

    if (!call->idempotency)
        return OP_DONE;
    op_remember(call);
    if (db_write(call->hub->db, store, &keeping, err) < 0)
        return OP_FAILED;
    return keeping.is_twin ? op_replay(call, err) : OP_DONE;
}

static int replace(struct db_session *tx, void *arg, struct err *err)
{
    return idempotency_replace(tx, arg, err);
}

enum op_done keep_instead(struct op_call *call, struct err *err)
{
    if (!call->idempotency)
        return OP_DONE;
    op_remember(call);
    return db_write(call->hub->db, replace, call->idempotency, err) < 0 ? OP_FAILED : OP_DONE;
}

struct str keep_id(const struct op_call *call, size_t index)
{
    unsigned char hash[SIGN_HASH_BYTES];

    if (!call->idempotency)
        return (struct str){ 0 };
    sign_sha256(str_c(arena_printf(call->arena, "%lld %zu %.*s", (long long)call->key.id, index,
                                   STR_FMT(call->idempotency->name))), hash);
    return str_c(arena_printf(call->arena, "k.%s", sign_base64url(call->arena, hash, ID_BYTES)));
}
