/* SMS Gateway for Android with the hub as its "private server" (contracts 6.1 C): the phone registers, fetches what
 * is to be sent, and reports states. Nothing is stored for it: ids and tokens are derived from `server_token`, so
 * changing that shuts all phones out and the app registers anew. */
#include "channels/lib/phone.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

#define ID_BYTES 8                  /* of a device id, before hex */
#define OFFERS 50
#define BELOW "/mobile/v1"

struct call {
    const struct channel *channel;
    const struct webhook *webhook;
    struct events *events;
    struct webhook_reply *reply;
    struct arena *arena;
    struct str device;              /* who asks; absent on registering */
};

bool phone_is_server(struct str path)
{
    return str_starts(path, BELOW "/");
}

/* --- Who asks ---------------------------------------------------------------------------------- */

static const char *derive(const struct call *call, const char *purpose, struct str of, size_t bytes)
{
    const char *text = arena_printf(call->arena, "%s\n%lld\n%.*s", purpose, (long long)call->channel->id,
                                    STR_FMT(of));
    unsigned char hash[SIGN_HASH_BYTES];

    sign_hmac_sha256(str_c(channel_text(call->channel, "server_token")), str_c(text), hash);
    return sign_hex(call->arena, hash, bytes);
}

static struct str bearer(const struct call *call)
{
    struct str given = http_header(call->webhook->request, "Authorization");

    if (given.len < 7 || !str_eq_nocase((struct str){ given.data, 7 }, STR("Bearer ")))
        return (struct str){ 0 };
    return str_trim((struct str){ given.data + 7, given.len - 7 });
}

static bool same(struct str given, const char *wanted)
{
    return given.len == strlen(wanted) && sign_equal(given.data, wanted, given.len);
}

/* "<id>.<mac>" */
static const char *token_of(const struct call *call, struct str id)
{
    return arena_printf(call->arena, "%.*s.%s", STR_FMT(id), derive(call, "token", id, SIGN_HASH_BYTES));
}

/* The app registers anew when its token is answered with 401. */
static int check_device(struct call *call, struct err *err)
{
    struct str token = bearer(call);

    if (token.len > 2 * ID_BYTES && same(token, token_of(call, (struct str){ token.data, 2 * ID_BYTES }))) {
        call->device = (struct str){ token.data, 2 * ID_BYTES };
        return 0;
    }
    err_set(err, ERR_UNAUTHENTICATED, "This phone is not registered here (any more).");
    return err_hint(err, "Register it again with the channel's server_token as private token.");
}

static int check_owner(const struct call *call, struct err *err)
{
    struct str token = bearer(call);

    if (token.len && same(token, channel_text(call->channel, "server_token")))
        return 0;
    err_set(err, ERR_FORBIDDEN, "The private token is not this channel's server_token.");
    return err_hint(err, "Copy the channel's server_token into the app: Settings, Cloud Server, Private Token.");
}

/* --- Answers ----------------------------------------------------------------------------------- */

static void answer(struct call *call, int status, struct buf *json)
{
    call->reply->status = status;
    call->reply->content_type = "application/json";
    if (json) {
        call->reply->body = (struct str){ arena_copy(call->arena, json->data, json->len), json->len };
        buf_fini(json);
    }
}

static int register_device(struct call *call, struct err *err)
{
    const struct json *body;
    struct json_writer writer;
    struct str id;
    struct buf out;

    if (check_owner(call, err) < 0)
        return -1;
    body = phone_json(call->webhook, call->events, err);
    if (!body)
        return -1;
    id = str_c(derive(call, "id", str_c(arena_printf(call->arena, "%lld %.*s %s", (long long)call->webhook->now_ms,
                                                     STR_FMT(json_text(json_get(body, "name"))),
                                                     call->webhook->request->request_id)), ID_BYTES));
    buf_init(&out, LIMIT_JSON_BYTES);
    writer = json_writer(&out);
    json_object_begin(&writer);
    json_text_at(&writer, "id", id);
    json_cstr_at(&writer, "token", token_of(call, id));
    json_text_at(&writer, "login", id);
    json_cstr_at(&writer, "password", derive(call, "password", id, ID_BYTES));
    json_object_end(&writer);
    answer(call, 201, &out);
    return 0;
}

/* How the phone reached us is how it reaches us again; a proxy says what the outer scheme is. */
static const char *hook_url(const struct call *call)
{
    struct str host = http_header(call->webhook->request, "Host");
    struct str scheme = http_header(call->webhook->request, "X-Forwarded-Proto");
    const char *set = channel_text(call->channel, "server_url");

    if (!set)
        set = call->channel->public_url;
    if (set)
        return arena_printf(call->arena, "%s%shooks/%s", set, set[strlen(set) - 1] == '/' ? "" : "/",
                            call->channel->hook);
    return arena_printf(call->arena, "%s://%.*s/hooks/%s", str_is(scheme, "http") ? "http" : "https",
                        STR_FMT(host), call->channel->hook);
}

static int list_webhooks(struct call *call)
{
    static const char *const wanted[] = { "sms:received", "sms:data-received", "mms:received", "mms:downloaded",
                                          "sms:sent", "sms:delivered", "sms:failed", "sms:cancelled",
                                          "system:ping" };
    struct json_writer writer;
    struct buf out;

    buf_init(&out, LIMIT_JSON_BYTES);
    writer = json_writer(&out);
    json_array_begin(&writer);
    /* without the key what it posts would be refused, and the phone tries for hours */
    for (size_t i = 0; channel_text(call->channel, "signing_key") && i < sizeof wanted / sizeof *wanted; i++) {
        json_object_begin(&writer);
        json_cstr_at(&writer, "id", arena_printf(call->arena, "hub-%.60s", wanted[i]));
        json_cstr_at(&writer, "url", hook_url(call));
        json_cstr_at(&writer, "event", wanted[i]);
        json_object_end(&writer);
    }
    json_array_end(&writer);
    answer(call, 200, &out);
    return 0;
}

static int plain(struct call *call, const char *json)
{
    answer(call, 200, NULL);
    call->reply->body = str_c(json);
    return 0;
}

static int tell_address(struct call *call)
{
    return plain(call, arena_printf(call->arena, "{\"externalIp\":\"%s\"}", call->webhook->request->peer));
}

/* --- Reports ------------------------------------------------------------------------------------ */

/* The message's state; with one recipient, as the hub sends, it is the recipient's. */
static struct str state_word(const struct json *item)
{
    struct str state = json_text(json_at(item, "recipients.0.state"));

    return state.len ? state : json_text(json_get(item, "state"));
}

/* The phone says "Delivered" with the first SMS of a long text; its webhooks tell them apart, and come where they are
 * signed. */
static enum message_state state_of(const struct call *call, struct str word)
{
    if (str_is(word, "Delivered"))
        return channel_text(call->channel, "signing_key") ? MESSAGE_SENT : MESSAGE_DELIVERED;
    if (str_is(word, "Sent"))
        return MESSAGE_SENT;
    return str_is(word, "Failed") || str_is(word, "Cancelled") ? MESSAGE_FAILED : MESSAGE_RECEIVED;
}

static int take_state(struct call *call, const struct json *item, struct err *err)
{
    struct str word = state_word(item);
    struct phone_receipt receipt = { .id = json_text(json_get(item, "id")), .state = state_of(call, word),
        .reason = json_text(json_at(item, "recipients.0.error")),
        .at = json_text(json_get(json_get(item, "states"), arena_printf(call->arena, "%.20s",
                                                                        str_dup(call->arena, word)))) };

    if (str_is(word, "Cancelled"))
        receipt.reason = STR("cancelled");
    return receipt.state == MESSAGE_RECEIVED ? phone_add_nothing(call->events, err)
                                             : phone_add_receipt(&receipt, call->events, err);
}

/* What the phone hands in afterwards; it is encrypted with a word that only the phone knows, unless told otherwise.
 * What its webhooks brought is the same text by its id. */
static int take_text(struct call *call, const struct json *item, struct err *err)
{
    struct phone_text text = { .app = "sms-gate", .device = call->device, .from = json_text(json_get(item, "sender")),
        .to = json_text(json_get(item, "recipient")), .text = json_text(json_get(item, "content")),
        .sent = json_text(json_get(item, "createdAt")), .id = json_text(json_get(item, "id")),
        .sim = json_int(json_get(item, "simNumber"), 0), .attachments = json_get(item, "attachments") };
    int added;

    if (json_bool(json_get(item, "isEncrypted"), false))
        return phone_add_nothing(call->events, err);
    if (text.attachments)
        text.type = STR("mms");
    added = phone_add_text(call->channel, &text, call->events, err);
    if (added == 0)
        call->events->items[call->events->count - 1].is_history = true;
    return added;
}

static int take_all(struct call *call, int status, int (*take)(struct call *, const struct json *, struct err *),
                    struct err *err)
{
    const struct json *body = json_parse_lenient(call->arena, call->webhook->request->body, err);

    if (json_kind(body) != JSON_KIND_ARRAY)
        return err_set(err, ERR_MALFORMED, "The body is not a JSON array.");
    for (size_t i = 0; i < json_count(body); i++)
        if (take(call, json_item(body, i), err) < 0)
            return -1;
    answer(call, status, NULL);
    return 0;
}

/* --- The door ------------------------------------------------------------------------------------ */

static int route(struct call *call, struct str path, struct err *err)
{
    enum http_method method = call->webhook->request->method;

    if (str_is(path, "/device") && method == HTTP_GET)
        return tell_address(call);
    if (str_is(path, "/device") && method == HTTP_PATCH) {
        answer(call, 204, NULL);
        return 0;
    }
    if (str_is(path, "/message") && method == HTTP_GET) {
        call->reply->offers = OFFERS;
        return plain(call, "[]");
    }
    if (str_is(path, "/message") && method == HTTP_PATCH)
        return take_all(call, 204, take_state, err);
    if (str_is(path, "/webhooks") && method == HTTP_GET)
        return list_webhooks(call);
    if (str_is(path, "/settings") && method == HTTP_GET)
        return plain(call, "{}");
    if (str_is(path, "/events") && method == HTTP_GET) {
        call->reply->push = "MessageEnqueued";
        return 0;
    }
    if (str_is(path, "/inbox") && method == HTTP_POST)
        return take_all(call, 201, take_text, err);
    err_set(err, ERR_NOT_FOUND, "The private server has nothing at this path.");
    return err_hint(err, "The address in the app ends with %s/mobile/v1.", call->channel->hook);
}

int phone_server(const struct channel *channel, const struct webhook *webhook, struct events *events,
                 struct webhook_reply *reply, struct err *err)
{
    struct call call = { .channel = channel, .webhook = webhook, .events = events, .reply = reply,
                         .arena = events->arena };
    struct str path = { webhook->path.data + strlen(BELOW), webhook->path.len - strlen(BELOW) };

    if (!channel_text(channel, "server_token")) {
        err_set(err, ERR_FORBIDDEN, "This channel has no server_token, so it is no private server.");
        return err_hint(err, "Set server_token to a long random text, and enter it in the app as private token.");
    }
    if (str_is(path, "/device") && webhook->request->method == HTTP_POST)
        return register_device(&call, err);
    return check_device(&call, err) < 0 ? -1 : route(&call, path, err);
}

int phone_offer(const struct channel *channel, const struct send_job *jobs, size_t count, struct webhook_reply *reply)
{
    struct json_writer writer;
    struct buf out;

    buf_init(&out, LIMIT_ANSWER_BYTES);
    writer = json_writer(&out);
    json_array_begin(&writer);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(&writer);
        json_cstr_at(&writer, "id", jobs[i].key);
        json_key(&writer, "textMessage");
        json_object_begin(&writer);
        json_text_at(&writer, "text", jobs[i].text);
        json_object_end(&writer);
        json_text_at(&writer, "message", jobs[i].text);
        json_key(&writer, "phoneNumbers");
        json_array_begin(&writer);
        json_put_text(&writer, str_c(jobs[i].to));
        json_array_end(&writer);
        if (channel_number(channel, "sim_slot", 0))
            json_int_at(&writer, "simNumber", channel_number(channel, "sim_slot", 0));
        json_bool_at(&writer, "withDeliveryReport", true);
        json_bool_at(&writer, "isEncrypted", false);
        json_cstr_at(&writer, "state", "Pending");
        json_object_end(&writer);
    }
    json_array_end(&writer);
    if (count > 0)
        reply->body = (struct str){ arena_copy(jobs[0].arena, out.data, out.len), out.len };
    buf_fini(&out);
    return 0;
}
