/* Trying again what was parked. */
#include "core/park.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "core/channel.h"
#include "net/http.h"

#include <string.h>

#define REQUEST_MAX (4 * LIMIT_HEADER_BYTES)

struct str park_request(struct arena *arena, const struct webhook *webhook)
{
    const struct http_request *request = webhook->request;
    struct json_writer writer;
    struct buf out;
    struct str text;

    buf_init(&out, REQUEST_MAX);
    writer = json_writer(&out);
    json_object_begin(&writer);
    json_cstr_at(&writer, "method", http_method_name(request->method));
    json_text_at(&writer, "path", str_nfc(arena, webhook->path));
    json_text_at(&writer, "raw_path", str_nfc(arena, request->raw_path));
    json_text_at(&writer, "query", str_nfc(arena, request->raw_query));
    json_int_at(&writer, "now_ms", webhook->now_ms);
    json_key(&writer, "headers");
    json_array_begin(&writer);
    for (size_t i = 0; i < request->header_count; i++) {
        json_array_begin(&writer);
        json_put_text(&writer, str_nfc(arena, request->headers[i].name));
        json_put_text(&writer, str_nfc(arena, request->headers[i].value));
        json_array_end(&writer);
    }
    json_array_end(&writer);
    json_object_end(&writer);
    text = buf_slice(&out);
    text.data = arena_copy(arena, text.data, text.len);
    buf_fini(&out);
    return text;
}

/* The webhook as it came; false when nothing of it was kept. */
static bool restore(struct arena *arena, const struct channel *channel, const struct parked *parked,
                    struct http_request *request, struct webhook *webhook)
{
    struct err err;
    const struct json *kept = json_parse(arena, parked->request, &err);
    const struct json *headers = json_get(kept, "headers");
    struct str path = json_text(json_get(kept, "path")), raw_path = json_text(json_get(kept, "raw_path"));

    if (!kept)
        return false;
    *request = (struct http_request){ .arena = arena, .body = parked->content,
        .method = http_method_find(json_text(json_get(kept, "method"))),
        .raw_query = json_text(json_get(kept, "query")),
        .path = str_c(arena_printf(arena, "/hooks/%s%.*s", channel->hook, STR_FMT(path))),
        .headers = arena_array(arena, json_count(headers) + 1, sizeof *request->headers) };
    /* some senders sign the address, and it may be one that channels share */
    request->raw_path = raw_path.len ? raw_path : request->path;
    if (request->raw_query.len > 0)
        http_form(arena, request->raw_query, &request->query, &request->query_count);
    for (size_t i = 0; i < json_count(headers); i++)
        request->headers[request->header_count++] = (struct http_header){
            json_text(json_item(json_item(headers, i), 0)), json_text(json_item(json_item(headers, i), 1)) };
    *webhook = (struct webhook){ .request = request, .path = path,
        .now_ms = json_int(json_get(kept, "now_ms"), parked->created_ms) };
    return true;
}

/* --- What came by a hook ---------------------------------------------------------------------- */

static int store(struct hub *hub, const struct channel *channel, const struct events *events, struct err *err)
{
    struct inbox_write write = { .tenant_id = channel->tenant_id, .channel_id = channel->id,
        .events = events->items, .count = events->count };

    write.results = arena_array(events->arena, events->count, sizeof *write.results);
    if (events->count > 0 && inbox_accept(hub, events->arena, &write, err))
        return -1;
    for (size_t i = 0; i < write.count; i++)
        if (write.results[i].outcome == INBOX_REFUSED)
            return err_set(err, ERR_CONFLICT, "It is still refused: %s", write.results[i].err.detail);
    return 0;
}

static int replay_hook(struct hub *hub, struct arena *arena, const struct parked *parked, struct err *err)
{
    struct events events = { .arena = arena };
    struct webhook_reply reply = { 0 };
    struct http_request request;
    struct webhook webhook;
    struct channel channel;
    int found = channel_load(hub->db, arena, CHANNEL_ID(parked->tenant_id, parked->channel_id), &channel, err);

    if (found < 0)
        return -1;
    if (found == 0 || !channel.driver->receive)
        return err_set(err, ERR_CONFLICT, "The channel that it came for receives nothing any more.");
    if (!restore(arena, &channel, parked, &request, &webhook))
        return err_set(err, ERR_CONFLICT, "It was parked before requests were kept whole; it cannot be replayed.");
    if (channel.driver->receive(&channel, &webhook, &events, &reply, err)) {
        struct err why = *err;

        err_set(err, ERR_CONFLICT, "It is still not understood: %s", why.detail);
        return err_hint(err, "%s", why.hint);
    }
    return store(hub, &channel, &events, err);
}

/* --- What came as a row ----------------------------------------------------------------------- */

struct replay {
    int64_t tenant_id, id;
    const struct json *row;         /* NULL: no row goes back */
};

static struct db_value text_of(const struct json *row, const char *name)
{
    return db_text(json_text(json_get(row, name)));
}

/* The importer takes it from there, and parks it anew when it is still no message. */
static int put_row(struct db_session *tx, const struct replay *replay, struct err *err)
{
    const struct json *row = replay->row;

    return db_exec(tx,
        "INSERT INTO inbound_rows (tenant_id, channel, sender, sender_name, group_id, text, type, external_id, "
        "sent_at_ms, is_history, from_me, metadata) VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, 'text'), $8, $9, $10, "
        "$11, $12)",
        DB_ARGS(db_int(replay->tenant_id), text_of(row, "channel"), text_of(row, "sender"), text_of(row, "sender_name"),
                text_of(row, "group_id"), text_of(row, "text"), text_of(row, "type"), text_of(row, "external_id"),
                db_id(json_int(json_get(row, "sent_at_ms"), 0)), db_int(json_int(json_get(row, "is_history"), 0)),
                db_int(json_int(json_get(row, "from_me"), 0)), text_of(row, "metadata")), err) < 0 ? -1 : 0;
}

static int replayed_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct replay *replay = arg;

    if (replay->row)
        return put_row(tx, replay, err) || park_drop(tx, replay->tenant_id, replay->id, err) < 0 ? -1 : 0;
    return db_exec(tx, "UPDATE parked SET replayed_ms = $1 WHERE tenant_id = $2 AND id = $3",
                   DB_ARGS(db_int(clock_ms()), db_int(replay->tenant_id), db_int(replay->id)), err) < 0 ? -1 : 0;
}

/* --- Either ----------------------------------------------------------------------------------- */

static int load(struct hub *hub, struct arena *arena, struct parked *parked, struct err *err)
{
    struct db_session *session = db_read(hub->db, parked->tenant_id, err);
    int64_t tenant_id = parked->tenant_id;
    int found = session ? park_get(session, tenant_id, parked->id, parked, err) : -1;

    if (found == 1) {
        parked->content = (struct str){ arena_copy(arena, parked->content.data, parked->content.len),
                                        parked->content.len };
        parked->request = str_c(str_dup(arena, parked->request));
        parked->source = str_c(str_dup(arena, parked->source));
    }
    if (session)
        db_read_end(session);
    return found;
}

static int replay(struct hub *hub, struct arena *arena, const struct parked *parked, struct err *err)
{
    struct replay done = { .tenant_id = parked->tenant_id, .id = parked->id };

    if (parked->replayed_ms)
        return err_set(err, ERR_CONFLICT, "It was replayed already.");
    if (str_is(parked->source, "inbound_rows"))
        done.row = json_parse(arena, parked->content, err);
    else if (replay_hook(hub, arena, parked, err))
        return -1;
    return db_write(hub->db, replayed_tx, &done, err);
}

int park_replay(struct hub *hub, int64_t tenant_id, int64_t id, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct parked parked = { .id = id, .tenant_id = tenant_id };
    int found = load(hub, arena, &parked, err);

    if (found == 1 && replay(hub, arena, &parked, err))
        found = -1;
    arena_free(arena);
    return found;
}
