#include "api/op.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"

#define OVERLAP_DEFAULT_S "86400"
#define OVERLAP_MAX_S (30 * 86400)

/* What the writing operations pass along. */
struct edit {
    struct key_draft draft;
    struct hub *hub;
    int64_t id, scopes;         /* of the key; of who asks */
    int overlap_s;
};

static const struct field scopes_shape[] = {
    { "scopes", FIELD_TEXTS, 0, "What it may do.", 0, 5 },
    { 0 }
};

static const struct field token_shape[] = {
    { "scopes", FIELD_TEXTS, 0, "What it may do.", 0, 5 },
    { "token", FIELD_TEXT, 0, "The key itself: shown this once and never again.", 0, 100 },
    { 0 }
};

/* --- Reading what is wanted -------------------------------------------------------------------------------------- */

static int may_give(int64_t own, int64_t wanted, struct err *err)
{
    if ((wanted & own) == wanted)
        return 0;
    err_set(err, ERR_FORBIDDEN, "A key cannot give more than it may itself.");
    return err_hint(err, "Ask with a key that has all the scopes you want to give.");
}

static int read_scopes(struct op_call *call, int64_t *scopes, struct err *err)
{
    const struct value *given = field_get(&call->in, "scopes");

    *scopes = 0;
    for (size_t i = 0; given && i < given->count; i++) {
        int bit = 0;

        while (key_scope_words[bit] && !str_is(given->texts[i], key_scope_words[bit]))
            bit++;
        if (!key_scope_words[bit]) {
            err_field(err, "scopes", "\"%.40s\" is no scope.", str_printable(call->arena, given->texts[i], true));
            return err_hint(err, "Allowed: read, send, receive, manage, admin.");
        }
        *scopes |= 1 << bit;
    }
    return may_give(call->key.scopes, *scopes, err);
}

static int render_token(struct op_call *call, void *arg, struct err *err)
{
    const struct edit *edit = arg;

    (void)err;
    json_object_begin(&call->out);
    key_json(&call->out, &edit->draft.key);
    json_cstr_at(&call->out, "token", edit->draft.token);
    json_object_end(&call->out);
    return 0;
}

/* --- Making ------------------------------------------------------------------------------------------------------ */

static int create_tx(struct db_session *tx, void *arg, struct err *err)
{
    return key_add(tx, &((struct edit *)arg)->draft, err);
}

static enum op_done create(struct op_call *call, struct err *err)
{
    struct key wanted = { .tenant_id = call->tenant_id, .kind = KEY_HUB, .name = field_text(&call->in, "name"),
                          .expires_ms = field_number(&call->in, "expires_at", 0) };
    struct edit edit = { .hub = call->hub };

    if (read_scopes(call, &wanted.scopes, err) < 0)
        return OP_FAILED;
    if (wanted.expires_ms && wanted.expires_ms <= clock_ms())
        return err_field(err, "expires_at", "\"expires_at\" lies in the past.");
    if (key_draw(call->hub, call->arena, &wanted, &edit.draft, err) < 0)
        return OP_FAILED;
    call->object = id_text(call->arena, ID_KEY, edit.draft.key.id);
    return op_write(call, create_tx, render_token, &edit, err);
}

static int rotate_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    int done = key_replace(tx, edit->id, edit->overlap_s, &edit->draft, err);

    if (done == 0)
        return err_set(err, ERR_NOT_FOUND, "There is no such key that could be rotated.");
    return done < 0 ? -1 : may_give(edit->scopes, edit->draft.key.scopes, err);
}

static enum op_done rotate(struct op_call *call, struct err *err)
{
    const struct key wanted = { .tenant_id = call->tenant_id };
    struct edit edit = { .hub = call->hub, .id = field_number(&call->in, "id", 0), .scopes = call->key.scopes,
                         .overlap_s = (int)field_number(&call->in, "overlap_s", 0) };
    enum op_done done;

    if (key_draw(call->hub, call->arena, &wanted, &edit.draft, err) < 0)
        return OP_FAILED;
    done = op_write(call, rotate_tx, render_token, &edit, err);
    if (done == OP_DONE)
        key_changed(call->hub);
    return done;
}

/* --- Claiming the one-time link ---------------------------------------------------------------------------------- */

static int claim_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;
    int done = key_claim(tx, edit->id, &edit->draft, err);

    if (done == 0)
        return err_set(err, ERR_UNAUTHENTICATED, "This one-time key was used already.");
    return done < 0 ? -1 : 0;
}

static enum op_done claim(struct op_call *call, struct err *err)
{
    struct key link, wanted = { .kind = KEY_HUB, .name = field_text(&call->in, "name") };
    struct edit edit = { .hub = call->hub };
    int found = key_check(call->hub, field_text(&call->in, "token"), &link, err);
    enum op_done done;

    if (found < 0)
        return OP_FAILED;
    if (found == 0 || link.kind != KEY_LINK) {
        err_set(err, ERR_UNAUTHENTICATED, "This is no valid one-time key.");
        err_hint(err, "On the hub's machine `message-hub keys create` makes a key without one.");
        return OP_FAILED;
    }
    edit.id = link.id;
    wanted.tenant_id = call->tenant_id = link.tenant_id;
    wanted.scopes = link.scopes;
    call->actor = call->object = id_text(call->arena, ID_KEY, link.id);
    if (key_draw(call->hub, call->arena, &wanted, &edit.draft, err) < 0)
        return OP_FAILED;
    done = op_write(call, claim_tx, render_token, &edit, err);
    key_changed(call->hub);
    return done;
}

/* --- Looking and revoking ---------------------------------------------------------------------------------------- */

static enum op_done list(struct op_call *call, struct err *err)
{
    struct page page = { .arena = call->arena, .tenant_id = call->tenant_id, .limit = op_list_limit(call) + 1 };
    struct db_session *session;
    struct key *keys;
    bool given;
    int count;

    if (op_list_cursor(call, &page.after_id, 1, &given, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    count = key_list(session, &page, &keys, err);
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < count && i < page.limit - 1; i++) {
        json_object_begin(&call->out);
        key_json(&call->out, &keys[i]);
        json_object_end(&call->out);
    }
    op_list_end(call, count == page.limit ? &keys[count - 2].id : NULL, count == page.limit);
    return OP_DONE;
}

static int revoke_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct op_call *call = arg;
    int done = key_stop(tx, call->tenant_id, field_number(&call->in, "id", 0), err);

    if (done == 0)
        return op_not_found(call, err);
    return done < 0 ? -1 : 0;
}

static enum op_done revoke(struct op_call *call, struct err *err)
{
    enum op_done done = op_write(call, revoke_tx, NULL, call, err);

    if (done == OP_DONE)
        key_changed(call->hub);
    return done;
}

static enum op_done self(struct op_call *call, struct err *err)
{
    struct key key = call->key;
    struct db_session *session;
    int found = 1;

    if (key.id) {
        session = db_read(call->hub->db, call->tenant_id, err);
        if (!session)
            return OP_FAILED;
        found = key_get(session, call->arena, &key, err);
        db_read_end(session);
    } else {
        key.name = str_c(call->actor);
        key.prefix = STR("");
    }
    if (found < 1)
        return found < 0 ? OP_FAILED : op_not_found(call, err);
    json_object_begin(&call->out);
    key_json(&call->out, &key);
    json_cstr_at(&call->out, "tenant_id", id_text(call->arena, ID_TENANT, call->tenant_id));
    json_object_end(&call->out);
    return OP_DONE;
}

/* --- The table --------------------------------------------------------------------------------------------------- */

#define KEY { "id", FIELD_ID, FIELD_PATH, "The key.", 0, 0, ID_KEY }

static const struct field list_fields[] = { OP_LIST_FIELDS, { 0 } };
static const struct field id_fields[] = { KEY, { 0 } };
static const struct field create_fields[] = {
    { "name", FIELD_TEXT, FIELD_REQUIRED, "What it is for.", 1, LIMIT_NAME_BYTES, NULL, NULL, NULL, "office phone" },
    { "scopes", FIELD_TEXTS, FIELD_REQUIRED, "What it may do: read, send, receive, manage, admin.", 1, 5, NULL, NULL,
      NULL, "read,send" },
    { "expires_at", FIELD_TIME, 0, "When it ends; never when left out." },
    { 0 }
};
static const struct field rotate_fields[] = {
    KEY,
    { "overlap_s", FIELD_INT, 0, "How long the old key still works, in seconds.", 0, OVERLAP_MAX_S, NULL,
      OVERLAP_DEFAULT_S },
    { 0 }
};
static const struct field claim_fields[] = {
    { "token", FIELD_TEXT, FIELD_REQUIRED | FIELD_SECRET, "The one-time key that the first start printed.", 1, 200 },
    { "name", FIELD_TEXT, 0, "What the new key is for.", 1, LIMIT_NAME_BYTES, NULL, "administrator" },
    { 0 }
};
static const struct field self_shape[] = {
    { "scopes", FIELD_TEXTS, 0, "What it may do.", 0, 5 },
    { "tenant_id", FIELD_ID, 0, "For which tenant it speaks.", 0, 0, ID_TENANT },
    { 0 }
};

static const struct op ops[] = {
    { .name = "key.create", .method = HTTP_POST, .path = "/api/v1/keys", .scope = SCOPE_ADMIN, .run = create,
      .summary = "Make a key; it is shown once.", .fields = create_fields, .flags = OP_CREATES | OP_SECRET,
      .answer = key_columns, .shape = token_shape, .cli = "keys create", .cli_args = "name",
      .cli_columns = "id,name,scopes,token", .example = "keys create \"office phone\" --scopes read,send" },
    { .name = "key.list", .method = HTTP_GET, .path = "/api/v1/keys", .scope = SCOPE_ADMIN, .run = list,
      .summary = "List keys, newest first; never the keys themselves.", .fields = list_fields, .flags = OP_LIST,
      .answer = key_columns, .shape = scopes_shape, .cli = "keys",
      .cli_columns = "id,name,prefix,scopes,used=last_used_at,expires=expires_at,revoked=revoked_at",
      .example = "keys" },
    { .name = "key.self", .method = HTTP_GET, .path = "/api/v1/keys/self", .scope = SCOPE_READ, .run = self,
      .summary = "Which key is this, and what may it do?", .answer = key_columns, .shape = self_shape, .cli = "whoami",
      .cli_columns = "id,name,scopes,tenant=tenant_id", .example = "whoami" },
    { .name = "key.rotate", .method = HTTP_POST, .path = "/api/v1/keys/{id}/rotate", .scope = SCOPE_ADMIN,
      .run = rotate, .summary = "Make a new key with the same rights; the old one ends after the overlap.",
      .fields = rotate_fields, .flags = OP_CREATES | OP_SECRET, .answer = key_columns, .shape = token_shape,
      .cli = "keys rotate", .cli_args = "id", .cli_columns = "id,name,scopes,token",
      .example = "keys rotate key_0123456789abc --overlap-s 3600" },
    { .name = "key.revoke", .method = HTTP_DELETE, .path = "/api/v1/keys/{id}", .scope = SCOPE_ADMIN, .run = revoke,
      .summary = "Revoke a key; it stops working before the answer leaves.", .fields = id_fields, .flags = OP_EMPTY,
      .cli = "keys revoke", .cli_args = "id", .example = "keys revoke key_0123456789abc" },
    { .name = "key.claim", .method = HTTP_POST, .path = "/api/v1/keys/claim", .run = claim,
      .summary = "Exchange the one-time key of the first start for an admin key.", .fields = claim_fields,
      .flags = OP_OPEN | OP_CREATES | OP_SECRET, .answer = key_columns, .shape = token_shape, .cli = "keys claim",
      .cli_args = "token", .cli_columns = "id,name,scopes,token", .example = "keys claim mh_..." },
};

const struct op_table ops_keys = { "keys", ops, sizeof ops / sizeof *ops };
