#include "api/guard.h"
#include "api/state.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "core/audit.h"
#include "core/config.h"
#include "core/tenant.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#define DENIED_EVERY_MS 100

/* --- The token --------------------------------------------------------------------------------------------------- */

static struct str bearer(const struct http_request *request)
{
    struct str header = http_header(request, "Authorization");

    if (header.len > 7 && str_eq_nocase((struct str){ header.data, 7 }, STR("Bearer ")))
        return str_trim((struct str){ header.data + 7, header.len - 7 });
    return (struct str){ 0 };
}

/* A browser's WebSocket cannot send Authorization: it offers the subprotocol "bearer.<token>". */
static struct str subprotocol(const struct http_request *request)
{
    struct str rest = http_header(request, "Sec-WebSocket-Protocol"), part;

    while (rest.data && str_split(&rest, ',', &part)) {
        part = str_trim(part);
        if (str_starts(part, "bearer."))
            return (struct str){ part.data + 7, part.len - 7 };
    }
    return (struct str){ 0 };
}

/* --- Those without one ------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *peer)
{
    struct in_addr four;
    struct in6_addr six;

    if (inet_pton(AF_INET, peer, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, peer, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

/* "127.0.0.1:8080", "[::1]", "localhost" */
static bool is_local_name(struct str host)
{
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]);

        if (host.len >= len && str_eq_nocase((struct str){ host.data, len }, str_c(names[i])) &&
            (host.len == len || host.data[len] == ':'))
            return true;
    }
    return false;
}

/* dev-no-auth: only from this machine, and not by a web page of another origin that the developer happens to visit. */
static bool may_go_without(const struct op_call *call)
{
    struct str origin = http_header(call->request, "Origin");

    if (!call->hub->config || !config_flag(call->hub->config, "dev-no-auth"))
        return false;
    if (!is_loopback(call->request->peer) || !is_local_name(http_header(call->request, "Host")))
        return false;
    if (!origin.data)
        return true;
    if (!str_starts(origin, "http://"))
        return false;
    return is_local_name((struct str){ origin.data + 7, origin.len - 7 });
}

/* The socket's owner may act for any tenant: X-Hub-Tenant or ?tenant=, by id or name. */
static int choose_tenant(struct op_call *call, struct err *err)
{
    struct str wanted = http_header(call->request, "X-Hub-Tenant");
    struct db_session *session;
    struct tenant tenant;
    int found;

    call->tenant_id = TENANT_DEFAULT;
    if (!wanted.data)
        wanted = http_query(call->request, "tenant");
    if (!wanted.data)
        return 0;
    session = db_read(call->hub->db, 0, err);
    if (!session)
        return -1;
    if (id_decode(ID_TENANT, wanted, &tenant.id))
        found = tenant_get(session, call->arena, &tenant, err);
    else
        found = tenant_find(session, call->arena, wanted, &tenant, err);
    db_read_end(session);
    if (found == 1)
        call->tenant_id = tenant.id;
    if (found != 0)
        return found < 0 ? -1 : 0;
    err_field(err, "tenant", "There is no such tenant.");
    return err_hint(err, "`message-hub tenants` lists them.");
}

static int owner(struct op_call *call, const char *actor, struct err *err)
{
    call->key = (struct key){ .tenant_id = TENANT_DEFAULT, .scopes = SCOPE_ALL };
    call->actor = actor;
    return choose_tenant(call, err);
}

/* --- Who asks ---------------------------------------------------------------------------------------------------- */

static int wait_longer(struct op_call *call, struct err *err)
{
    int wait_s = guard_wait_s(call->api->guard, call->request->peer, clock_ms());

    if (wait_s == 0)
        return 0;
    err_set(err, ERR_RATE_LIMITED, "Too many wrong keys came from this network.");
    err->retry_after_s = wait_s;
    return err_hint(err, "Wait %d seconds, then use a valid key.", wait_s);
}

static int wrong_key(struct op_call *call, struct err *err)
{
    guard_failed(call->api->guard, call->request->peer, clock_ms());
    log_info("key refused", LOG_T("operation", call->op->name), LOG_T("peer", call->request->peer),
             LOG_T("request_id", call->request->request_id));
    err_set(err, ERR_UNAUTHENTICATED, "This key is not valid: unknown, expired or revoked.");
    return err_hint(err, "Make one with `message-hub keys create`.");
}

static int identify(struct op_call *call, struct err *err)
{
    const struct http_request *request = call->request;
    struct str token = bearer(request);
    int found;

    if (!token.data && call->op->flags & OP_STREAM)
        token = subprotocol(request);
    if (token.data) {
        if (wait_longer(call, err) < 0)
            return -1;
        found = key_check(call->hub, token, &call->key, err);
        if (found < 0)
            return -1;
        if (found == 1 && call->key.kind == KEY_LINK) {
            err_set(err, ERR_UNAUTHENTICATED, "This is a one-time key: it is good for one exchange only.");
            return err_hint(err, "Exchange it: POST /api/v1/keys/claim with {\"token\":\"...\"}.");
        }
        if (found == 1) {
            call->tenant_id = call->key.tenant_id;
            call->actor = id_text(call->arena, ID_KEY, call->key.id);
            return 0;
        }
        return wrong_key(call, err);
    }
    if (request->door == HTTP_DOOR_SOCKET && (request->uid == 0 || request->uid == geteuid()))
        return owner(call, arena_printf(call->arena, "uid:%u", request->uid), err);
    if (request->door == HTTP_DOOR_TCP && may_go_without(call))
        return owner(call, "dev-no-auth", err);
    err_set(err, ERR_UNAUTHENTICATED, "This operation needs a key.");
    return err_hint(err, "Send `Authorization: Bearer mh_...`; make a key with `message-hub keys create`.");
}

static const char *scope_words(struct arena *arena, int64_t scopes)
{
    const char *text = "";

    for (int bit = 0; key_scope_words[bit]; bit++)
        if (scopes & (1 << bit))
            text = arena_printf(arena, "%s%s%s", text, *text ? ", " : "", key_scope_words[bit]);
    return *text ? text : "nothing";
}

static int authorise(struct op_call *call, struct err *err)
{
    const struct op *op = call->op;

    if (!(call->key.scopes & op->scope)) {
        const char *needed = scope_words(call->arena, op->scope);

        err_set(err, ERR_FORBIDDEN, "This key may %s; %s needs \"%s\".", scope_words(call->arena, call->key.scopes),
                op->name, needed);
        err_hint(err, "Use a key with the scope \"%s\".", needed);
    } else if (op->flags & OP_TENANT_ANY && call->key.tenant_id != TENANT_DEFAULT) {
        err_set(err, ERR_FORBIDDEN, "%s is for the operator of this hub.", op->name);
        err_hint(err, "Use an admin key of the tenant \"default\", or the command line on the hub's machine.");
    } else {
        return 0;
    }
    op_denied(call, err->detail);
    return -1;
}

int op_authenticate(struct op_call *call, struct err *err)
{
    if (call->op->flags & OP_OPEN)
        return 0;
    if (identify(call, err) < 0)
        return -1;
    return authorise(call, err);
}

/* --- The audit of refusals --------------------------------------------------------------------------------------- */

struct denied {
    struct db_write_item item;
    struct audit audit;
    struct arena *arena;
};

static int store_denied(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (audit_add(tx, &((struct denied *)items[i])->audit, err) < 0)
            return -1;
    return 0;
}

static void denied_done(struct db_write_item *item)
{
    arena_free(((struct denied *)item)->arena);
}

void op_denied(struct op_call *call, const char *detail)
{
    static const struct db_kind kind = { "denied", 90, store_denied, true };
    int64_t now_ms = clock_ms(), last_ms = atomic_load(&call->api->denied_ms);
    struct arena *arena;
    struct denied *denied;
    struct err unheard;     /* the caller's own refusal is what matters */
    int64_t id;

    log_info("access denied", LOG_T("operation", call->op->name), LOG_T("actor", call->actor),
             LOG_T("peer", call->request->peer), LOG_T("request_id", call->request->request_id));
    if (now_ms - last_ms < DENIED_EVERY_MS || !atomic_compare_exchange_strong(&call->api->denied_ms, &last_ms, now_ms))
        return;
    id = ids_next(call->hub->ids, &unheard);
    if (id < 0)
        return;
    arena = arena_new(1024);
    denied = arena_alloc(arena, sizeof *denied);
    *denied = (struct denied){
        .item = { .kind = &kind, .done = denied_done },
        .audit = { .id = id, .tenant_id = call->tenant_id, .at_ms = now_ms, .actor = arena_strdup(arena, call->actor),
                   .action = "access.denied", .object = call->op->name, .detail = arena_strdup(arena, detail),
                   .peer = arena_strdup(arena, call->request->peer),
                   .request_id = arena_strdup(arena, call->request->request_id) },
        .arena = arena,
    };
    if (db_submit(call->hub->db, &denied->item, &unheard) < 0)
        arena_free(arena);
}
