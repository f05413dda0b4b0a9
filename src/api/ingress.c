#include "api/ingress.h"

#include "api/guard.h"
#include "api/state.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "core/channel.h"
#include "core/inbox.h"
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

static int find_channel(struct op_call *call, struct channel *channel, struct err *err)
{
    int found = channel_by_hook(call->hub->db, call->arena, field_text(&call->in, "hook"), channel, err);
    int active;

    if (found < 0)
        return -1;
    if (found == 0 || !channel->driver || !channel->driver->receive) {
        err_set(err, ERR_NOT_FOUND, "There is no hook here.");
        return -1;
    }
    active = tenant_active(call->hub, channel->tenant_id, err);
    if (active < 0)
        return -1;
    if (channel->state == 0 && active == 1)
        return 0;
    err_set(err, ERR_UNAVAILABLE, "This channel is switched off.");
    err->retry_after_s = WAIT_S;
    return err_hint(err, "Enable it: `message-hub channels enable %s`.", channel->name);
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

/* On a worker again: some of the events could not be stored. The rest is; the whole request is kept with the
 * reason. */
static enum op_done finish_refused(struct op_call *call, struct err *err)
{
    struct delivery *delivery = call->later;

    for (size_t i = 0; i < delivery->write.count; i++) {
        if (delivery->write.results[i].outcome != INBOX_REFUSED)
            continue;
        if (park(delivery, delivery->write.results[i].err.detail, err) < 0)
            return OP_FAILED;
        break;
    }
    return OP_DONE;
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
    if (refused)
        op_slow(delivery->call, finish_refused);
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

enum op_done ingress_receive(struct op_call *call, struct err *err)
{
    struct delivery *delivery = arena_alloc(call->arena, sizeof *delivery);

    delivery->webhook = (struct webhook){ .request = call->request, .path = path_below(call), .now_ms = clock_ms() };
    delivery->call = call;
    delivery->events.arena = call->arena;
    if (wait_longer(call, err) < 0)
        return OP_FAILED;
    if (call->request->body.len > LIMIT_WEBHOOK_BYTES)
        return err_set(err, ERR_TOO_LARGE, "A webhook may have at most %d bytes.", LIMIT_WEBHOOK_BYTES);
    if (find_channel(call, &delivery->channel, err) < 0)
        return OP_FAILED;
    call->tenant_id = delivery->channel.tenant_id;
    call->actor = "hook";
    if (delivery->channel.driver->receive(&delivery->channel, &delivery->webhook, &delivery->events, &delivery->reply,
                                          err) < 0) {
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
    return delivery->events.count == 0 ? OP_DONE : store(delivery, err);
}
