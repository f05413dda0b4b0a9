#include "api/ingress.h"

#include "api/guard.h"
#include "api/push.h"
#include "api/state.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "core/channel.h"
#include "core/inbox.h"
#include "core/offer.h"
#include "core/tenant.h"

#include <string.h>

#define WAIT_S 30               /* until a provider should try a disabled channel again */

/* One webhook on its way; in the call's arena. */
struct delivery {
    struct inbox_write write;   /* first: its item comes back to us */
    struct op_call *call;
    struct webhook webhook;
    struct channel channel;
    struct events events;
    struct webhook_reply reply;
    struct err why;             /* what was not understood */
};

/* Is the channel switched on, and its tenant? Otherwise the provider is to come again. */
static int check_enabled(struct op_call *call, const struct channel *channel, struct err *err)
{
    int active = tenant_active(call->hub, channel->tenant_id, err);
    if (active < 0)
        return -1;
    if (channel->state == 0 && active == 1)
        return 0;
    err_set(err, ERR_UNAVAILABLE, "This channel is switched off.");
    err->retry_after_s = WAIT_S;
    return err_hint(err, "Enable it: `message-hub channels enable %s`.", channel->name);
}

static int find_channel(struct op_call *call, struct channel *channel, struct err *err)
{
    int found = channel_by_hook(call->hub->db, call->arena, field_text(&call->in, "hook"), channel, err);

    if (found < 0)
        return -1;
    if (found == 0 || !channel->driver || !channel->driver->receive)
        return err_set(err, ERR_NOT_FOUND, "There is no hook here.");
    return check_enabled(call, channel, err);
}

static void fill_reply(struct op_call *call, const struct webhook_reply *reply)
{
    call->response.status = reply->status ? reply->status : 200;
    call->response.content_type = reply->content_type ? arena_strdup(call->arena, reply->content_type)
                                                      : "text/plain; charset=utf-8";
    buf_clear(&call->response.body);
    if (reply->body.len > 0)
        buf_str(&call->response.body, reply->body);
}

static int park(struct delivery *delivery, const char *reason, struct err *err)
{
    struct op_call *call = delivery->call;
    const struct inbox_parked parked = {
        .tenant_id = delivery->channel.tenant_id, .channel_id = delivery->channel.id, .source = "hook",
        .reason = reason, .content = call->request->body, .content_type = http_header(call->request, "Content-Type"),
        .request = park_request(call->arena, &delivery->webhook),
    };

    log_warn("webhook parked", LOG_T("channel", delivery->channel.name), LOG_T("reason", reason),
             LOG_T("request_id", call->request->request_id));
    return inbox_park(call->hub, &parked, err);
}

/* The far side asks for what is to be sent: claim it, and let the driver render it into the answer. */
static int offer(struct delivery *delivery, struct err *err)
{
    struct op_call *call = delivery->call;
    const struct channel *channel = &delivery->channel;
    struct offer taken = { .arena = call->arena, .channel = channel, .wanted = delivery->reply.offers };

    if (offer_take(call->hub, &taken, err) || channel->driver->offer(channel, taken.jobs, taken.count,
                                                                    &delivery->reply, err) < 0)
        return -1;
    fill_reply(call, &delivery->reply);
    return 0;
}

/* The answer, when the events are stored. */
static enum op_done answer(struct delivery *delivery, struct err *err)
{
    const struct channel *channel = &delivery->channel;

    if (delivery->reply.push)
        return push_open(delivery->call->api->push, delivery->call, channel, delivery->reply.push, err);
    if (delivery->reply.offers > 0 && channel->driver->offer && offer(delivery, err) < 0)
        return OP_FAILED;
    return OP_DONE;
}

/* On a worker again: something is to be claimed, or some of the events could not be stored. The rest is; the whole
 * request is kept with the reason. */
static enum op_done finish_slowly(struct op_call *call, struct err *err)
{
    struct delivery *delivery = call->later;

    for (size_t i = 0; i < delivery->write.count; i++) {
        if (delivery->write.results[i].outcome != INBOX_REFUSED)
            continue;
        if (park(delivery, delivery->write.results[i].err.detail, err) < 0)
            return OP_FAILED;
        break;
    }
    return answer(delivery, err);
}

/* On the writer's thread, after the commit or the refusal. */
static void stored(struct db_write_item *item)
{
    struct delivery *delivery = (struct delivery *)item;
    bool refused = false;

    if (item->err.code != ERR_NONE) {
        op_finish(delivery->call, &item->err);
        return;
    }
    for (size_t i = 0; i < delivery->write.count; i++)
        refused = refused || delivery->write.results[i].outcome == INBOX_REFUSED;
    if (refused || delivery->reply.offers > 0 || delivery->reply.push)
        op_slow(delivery->call, finish_slowly);
    else
        op_finish(delivery->call, NULL);
}

static enum op_done store(struct delivery *delivery, struct err *err)
{
    struct op_call *call = delivery->call;
    struct inbox_write *write = &delivery->write;

    write->tenant_id = delivery->channel.tenant_id;
    write->channel_id = delivery->channel.id;
    write->channel = &delivery->channel;
    write->events = delivery->events.items;
    write->count = delivery->events.count;
    write->results = arena_array(call->arena, write->count, sizeof *write->results);
    call->later = delivery;
    if (inbox_prepare(call->hub, call->arena, write, err) < 0)
        return OP_FAILED;
    write->item.done = stored;
    return db_submit(call->hub->db, &write->item, err) < 0 ? OP_FAILED : OP_LATER;
}

/* "" or "/...", as it was sent but decoded. */
static struct str path_below(const struct op_call *call)
{
    size_t head = strlen("/hooks/") + field_text(&call->in, "hook").len;

    return (struct str){ call->request->path.data + head, call->request->path.len - head };
}

static int wait_longer(const struct op_call *call, struct err *err)
{
    int wait_s = guard_wait_s(call->api->guard, call->request->peer, clock_ms());

    if (wait_s == 0)
        return 0;
    err_set(err, ERR_RATE_LIMITED, "Too many wrong signatures came from this network.");
    err->retry_after_s = wait_s;
    return err_hint(err, "Wait %d seconds; check the secret on both sides.", wait_s);
}

/* An empty delivery; NULL with err when the request is not to be looked at. */
static struct delivery *begin(struct op_call *call, struct str path, struct err *err)
{
    struct delivery *delivery = arena_alloc(call->arena, sizeof *delivery);

    delivery->call = call;
    delivery->webhook = (struct webhook){ .request = call->request, .path = path, .now_ms = clock_ms() };
    delivery->events.arena = call->arena;
    if (wait_longer(call, err) < 0)
        return NULL;
    if (call->request->body.len <= LIMIT_WEBHOOK_BYTES)
        return delivery;
    err_set(err, ERR_TOO_LARGE, "A webhook may have at most %d bytes.", LIMIT_WEBHOOK_BYTES);
    return NULL;
}

/* What the driver said of the request is stored, parked or answered. */
static enum op_done end(struct delivery *delivery, int received, struct err *err)
{
    struct op_call *call = delivery->call;

    call->tenant_id = delivery->channel.tenant_id;
    call->actor = "hook";
    if (received < 0) {
        if (err->code == ERR_FORBIDDEN) {
            guard_failed(call->api->guard, call->request->peer, delivery->webhook.now_ms);
            op_denied(call, "wrong signature");
        }
        if (err->code != ERR_MALFORMED || park(delivery, arena_strdup(call->arena, err->detail), err) < 0)
            return OP_FAILED;
        fill_reply(call, &(const struct webhook_reply){ 0 });
        return OP_DONE;
    }
    fill_reply(call, &delivery->reply);
    return delivery->events.count == 0 ? answer(delivery, err) : store(delivery, err);
}

enum op_done ingress_receive(struct op_call *call, struct err *err)
{
    struct delivery *delivery = begin(call, path_below(call), err);
    int received;

    if (!delivery || find_channel(call, &delivery->channel, err) < 0)
        return OP_FAILED;
    received = delivery->channel.driver->receive(&delivery->channel, &delivery->webhook, &delivery->events,
                                                 &delivery->reply, err);
    return end(delivery, received, err);
}

/* --- Shared paths ------------------------------------------------------------------------------------------------ */

/* The search for whose request it is. */
struct search {
    struct delivery *delivery;
    bool claimed;
};

/* Whether the channel claims the request and accepts it: 1; 0 look on. Whoever else says that an account is theirs
 * cannot take its messages away: without its secret the signature is wrong. */
static int try_channel(void *arg, const struct channel *channel, struct err *err)
{
    struct search *search = arg;
    struct delivery *delivery = search->delivery;
    struct err why = { 0 };

    if (!channel->driver->claims(channel, &delivery->webhook))
        return 0;
    search->claimed = true;
    delivery->channel = *channel;
    delivery->events.count = 0;
    delivery->reply = (struct webhook_reply){ 0 };
    if (channel->driver->receive(channel, &delivery->webhook, &delivery->events, &delivery->reply, &why) == 0)
        return 1;
    *err = why;
    return why.code == ERR_FORBIDDEN ? 0 : -1;
}

enum op_done ingress_receive_shared(struct op_call *call, struct err *err)
{
    struct str alias = field_text(&call->in, "alias");
    struct search search = { .delivery = begin(call, STR(""), err) };
    int found = 0;

    if (!search.delivery)
        return OP_FAILED;
    for (const struct channel_driver *const *each = channel_drivers; *each && found == 0; each++)
        if ((*each)->alias && str_is(alias, (*each)->alias)) {
            const struct channel_walk walk = { call->arena, (*each)->kind, try_channel, &search };

            found = channel_each(call->hub->db, &walk, err);
        }
    if (!search.claimed && found == 0) {
        err_set(err, ERR_NOT_FOUND, "No channel here has the account and the number that this request names.");
        return err_hint(err, "Add the channel, or use the channel's own address below /hooks/."), OP_FAILED;
    }
    if (!search.claimed)
        return OP_FAILED;
    if (found == 1 && check_enabled(call, &search.delivery->channel, err) < 0)
        return OP_FAILED;
    return end(search.delivery, found == 1 ? 0 : -1, err);
}
