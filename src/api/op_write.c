#include "api/state.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "core/audit.h"
#include "core/idempotency.h"

#include <string.h>

/* --- The header -------------------------------------------------------------------------------------------------- */

static void hash_request(const struct http_request *request, struct arena *arena, unsigned char out[SIGN_HASH_BYTES])
{
    struct str query = request->raw_query;

    sign_sha256(request->body, out);
    sign_sha256(str_c(arena_printf(arena, "%s %.*s?%.*s %s", http_method_name(request->method), STR_FMT(request->path),
                                   query.data ? (int)query.len : 0, query.data ? query.data : "",
                                   sign_hex(arena, out, SIGN_HASH_BYTES))), out);
}

int op_idempotency(struct op_call *call, struct err *err)
{
    struct str name = http_header(call->request, "Idempotency-Key");
    struct idempotency *idempotency;

    if (!name.data || call->op->method != HTTP_POST || call->op->flags & (OP_RAW | OP_OPEN))
        return 0;
    if (name.len == 0 || name.len > LIMIT_IDEMPOTENCY_KEY_BYTES || !str_utf8_valid(name)) {
        err_field(err, "Idempotency-Key", "The Idempotency-Key must have 1 to %d characters.",
                  LIMIT_IDEMPOTENCY_KEY_BYTES);
        return err_hint(err, "A fresh UUID for each thing you want done once is a good one.");
    }
    idempotency = arena_alloc(call->arena, sizeof *idempotency);
    idempotency->tenant_id = call->tenant_id;
    idempotency->key_id = call->key.id;
    idempotency->name = name;
    hash_request(call->request, call->arena, idempotency->body_hash);
    call->idempotency = idempotency;
    if (call->op->flags & OP_GROUPED)
        return 0;
    switch (op_replay(call, err)) {
    case OP_DONE:
        return 1;
    case OP_FAILED:
        return err->code == ERR_NOT_FOUND ? (err_clear(err), 0) : -1;
    case OP_LATER:
        break;
    }
    return 0;
}

/* --- The stored answer ------------------------------------------------------------------------------------------- */

static const char *seal_context(const struct op_call *call)
{
    return arena_printf(call->arena, "idempotency.answer:%lld:%lld", (long long)call->tenant_id,
                        (long long)call->key.id);
}

void op_remember(struct op_call *call)
{
    struct idempotency *idempotency = call->idempotency;
    struct str answer = buf_slice(&call->response.body);

    if (!idempotency)
        return;
    idempotency->status = call->response.status;
    if (call->op->flags & OP_SECRET) {
        answer = sign_seal(call->arena, call->hub->seal_key, answer, seal_context(call));
        answer = str_c(sign_base64(call->arena, answer.data, answer.len));
    }
    idempotency->answer = answer.data ? answer : STR("");
}

static int open_answer(struct op_call *call, struct str *answer, struct err *err)
{
    struct str sealed;

    if (!(call->op->flags & OP_SECRET))
        return 0;
    if (!sign_unbase64(call->arena, *answer, &sealed))
        return err_set(err, ERR_INTERNAL, "A stored answer is not sealed as it should be.");
    *answer = sign_unseal(call->arena, call->hub->seal_key, sealed, seal_context(call), err);
    return answer->data ? 0 : -1;
}

enum op_done op_replay(struct op_call *call, struct err *err)
{
    struct idempotency stored = *call->idempotency;
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found;

    if (!session)
        return OP_FAILED;
    found = idempotency_find(session, call->arena, &stored, err);
    db_read_end(session);
    if (found == 0)
        err_set(err, ERR_NOT_FOUND, "No answer is stored for this Idempotency-Key.");
    if (found <= 0 || open_answer(call, &stored.answer, err) < 0)
        return OP_FAILED;
    buf_clear(&call->response.body);
    buf_str(&call->response.body, stored.answer);
    call->response.status = stored.status;
    http_respond_header(&call->response, call->arena, "Idempotent-Replayed", "true");
    return OP_DONE;
}

/* --- An ordinary write ------------------------------------------------------------------------------------------- */

struct write {
    struct op_call *call;
    db_tx *apply;
    op_render *render;
    void *arg;
    int64_t audit_id;
    bool twin;              /* the same Idempotency-Key was written in the meantime */
};

static const char *object_of(const struct op_call *call)
{
    if (call->object)
        return call->object;
    for (size_t i = 0; i < call->in.count; i++)
        if (call->in.table[i].flags & FIELD_PATH && call->in.values[i].field)
            return str_dup(call->arena, call->in.values[i].text);
    return NULL;
}

static int add_audit(struct db_session *tx, const struct write *write, struct err *err)
{
    const struct op_call *call = write->call;
    const struct audit audit = {
        .id = write->audit_id, .tenant_id = call->tenant_id, .at_ms = clock_ms(), .actor = call->actor,
        .action = call->op->name, .object = object_of(call), .peer = call->request->peer,
        .request_id = call->request->request_id,
    };

    return audit_add(tx, &audit, err);
}

static int run_write(struct db_session *tx, void *arg, struct err *err)
{
    struct write *write = arg;
    struct op_call *call = write->call;
    int stored;

    write->twin = false;
    buf_clear(&call->response.body);
    call->out = json_writer(&call->response.body);
    if (write->apply(tx, write->arg, err) < 0)
        return -1;
    if (write->render && write->render(call, write->arg, err) < 0)
        return -1;
    if (call->idempotency) {
        op_remember(call);
        stored = idempotency_store(tx, call->idempotency, err);
        write->twin = stored == 0;
        if (stored == 0)
            err_set(err, ERR_CONFLICT, "The same request is being answered at this moment.");
        if (stored <= 0)
            return -1;
    }
    return add_audit(tx, write, err);
}

enum op_done op_write(struct op_call *call, db_tx *apply, op_render *render, void *arg, struct err *err)
{
    struct write write = { call, apply, render, arg, ids_next(call->hub->ids, err), false };

    if (write.audit_id < 0)
        return OP_FAILED;
    if (!render)
        call->response.status = 204;
    if (db_write(call->hub->db, run_write, &write, err) == 0)
        return OP_DONE;
    if (!write.twin)
        return OP_FAILED;
    err_clear(err);
    return op_replay(call, err);
}
