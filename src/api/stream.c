#include "api/stream.h"

#include "api/feed.h"
#include "api/state.h"
#include "base/arena.h"
#include "core/config.h"
#include "core/event.h"

#include <string.h>

#define RETRY_MS 2000               /* a client's wait before it connects again */

/* --- Who may, and from where ------------------------------------------------------------------------------------- */

static bool same(struct str origin, const char *allowed)
{
    size_t len = allowed ? strlen(allowed) : 0;

    while (len > 0 && allowed[len - 1] == '/')
        len--;
    return len > 0 && str_eq_nocase(origin, (struct str){ allowed, len });
}

static bool in_list(struct str origin, const struct value *list)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (same(origin, list->texts[i].data))
            return true;
    return false;
}

int stream_origin(const struct op_call *call, struct err *err)
{
    struct str origin = http_header(call->request, "Origin"), host = http_header(call->request, "Host");
    const struct config *config = call->hub->config;

    if (!origin.data)
        return 0;
    if (host.data && (same(origin, arena_printf(call->arena, "http://%.*s", STR_FMT(host))) ||
                      same(origin, arena_printf(call->arena, "https://%.*s", STR_FMT(host)))))
        return 0;
    if (config && (same(origin, config_text(config, "public-url")) ||
                   in_list(origin, config_value(config, "allowed-origins"))))
        return 0;
    err_set(err, ERR_FORBIDDEN, "Pages of this origin may not open streams here.");
    return err_hint(err, "Add the origin to the setting allowed-origins.");
}

static int check_horizon(struct op_call *call, struct subscription *out, bool given, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int64_t horizon;
    int failed;

    if (!session)
        return -1;
    failed = event_position(session, call->tenant_id, &out->newest, &horizon, err);
    db_read_end(session);
    if (failed)
        return -1;
    if (!given)
        out->seq = out->newest;
    if (out->seq >= horizon)
        return 0;
    err_set(err, ERR_GONE, "The log is not kept as far back as this cursor.");
    return err_hint(err, "Sync from the start, then follow from the cursor that the sync ends with.");
}

int stream_subscription(struct op_call *call, struct subscription *out, struct err *err)
{
    const struct value *kinds = field_get(&call->in, "kinds");
    struct str cursor = http_header(call->request, "Last-Event-ID");

    *out = (struct subscription){ .tenant_id = call->tenant_id, .key_id = call->key.id,
                                  .conversation_id = field_number(&call->in, "conversation_id", 0) };
    if (kinds) {
        out->kinds = kinds->texts;
        out->kind_count = kinds->count;
    }
    /* after a lost connection the header is newer than the address it was opened with */
    if (!cursor.len)
        cursor = field_text(&call->in, "cursor");
    if (cursor.data && event_cursor_read(cursor, call->tenant_id, &out->seq, err) < 0)
        return -1;
    return check_horizon(call, out, cursor.data != NULL, err);
}

const char *stream_ready(struct op_call *call, int64_t seq)
{
    return arena_printf(call->arena, "{\"kind\":\"ready\",\"cursor\":\"%s\"}",
                        event_cursor(call->arena, call->tenant_id, seq));
}

/* --- Server-sent events ------------------------------------------------------------------------------------------ */

enum op_done stream_events(struct op_call *call, struct err *err)
{
    struct subscription subscription;
    struct subscriber *subscriber;
    struct stream *stream;
    const char *first;

    if (stream_origin(call, err) < 0 || stream_subscription(call, &subscription, err) < 0)
        return OP_FAILED;
    first = arena_printf(call->arena, "retry: %d\nid: %s\nevent: ready\ndata: %s\n\n", RETRY_MS,
                         event_cursor(call->arena, call->tenant_id, subscription.seq),
                         stream_ready(call, subscription.seq));
    subscriber = feed_subscriber(call->api->feed, &subscription);
    buf_fini(&call->response.body);
    stream = http_stream(call->exchange, feed_stream_closed, subscriber);
    if (stream)
        stream_send(stream, str_c(first));
    feed_join(subscriber, stream, NULL);
    return OP_LATER;
}
