/* Preparing what is to be sent, and one run of a group of such writes. */
#include "core/outbox.h"

#include "base/arena.h"
#include "base/clock.h"
#include "core/identity.h"
#include "core/outbox_group.h"
#include "core/split.h"

#include <stddef.h>
#include <stdio.h>

#define IDS_PER_WRITE 4             /* conversation, contact, message, job */

static int run(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err);

static const struct db_kind enqueue_kind = { .name = "enqueue", .order = 20, .run = run };

/* --- Routing ---------------------------------------------------------------------------------- */

/* The conversation that the request names: its channel and peer. */
static int read_conversation(struct hub *hub, struct arena *arena,
                             const struct outbox_request *request, struct conversation *out,
                             struct err *err)
{
    struct db_session *session = db_read(hub->db, request->tenant_id, err);
    int found;

    if (!session)
        return -1;
    out->tenant_id = request->tenant_id;
    out->id = request->conversation_id;
    found = conversation_get(session, arena, out, err);
    db_read_end(session);
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "There is no such conversation.");
    return found < 0 ? -1 : 0;
}

/* Who writes to a further identifier of a contact writes into its one thread. */
static int find_person(struct hub *hub, struct arena *arena, const struct outbox_request *request,
                       struct outbox_route *out, struct err *err)
{
    struct identity who = { .tenant_id = request->tenant_id, .channel_id = out->channel.id, .address = out->peer };
    struct db_session *session = db_read(hub->db, request->tenant_id, err);
    int found = session ? identity_find(session, arena, &who, err) : -1;

    if (session)
        db_read_end(session);
    if (found == 1 && !str_eq(who.main, out->peer)) {
        out->peer = who.main;
        out->address_given = (struct str){ 0 };
    }
    return found < 0 ? -1 : 0;
}

static int check_channel(const struct outbox_route *route, const struct outbox_request *request,
                         struct err *err)
{
    const struct channel *channel = &route->channel;

    if (!channel_sends(channel->driver)) {
        err_set(err, ERR_CONFLICT, "The channel \"%s\" cannot send.", channel->name);
        return err_hint(err, "Choose a channel that can: message-hub channels lists them.");
    }
    if (channel->state != 0) {
        err_set(err, ERR_CONFLICT, "The channel \"%s\" is disabled.", channel->name);
        return err_hint(err, "Enable it: message-hub channels enable %s", channel->name);
    }
    if (route->is_group && request->origin != ORIGIN_PERSON) {
        err_set(err, ERR_CONFLICT, "Groups are never answered by a machine.");
        return err_hint(err, "Let a person write to the group.");
    }
    return 0;
}

int outbox_route(struct hub *hub, struct arena *arena, const struct outbox_request *request,
                 struct outbox_route *out, struct err *err)
{
    struct conversation conversation = { 0 };
    int64_t channel_id = request->channel_id;
    int found;

    if (request->conversation_id) {
        if (read_conversation(hub, arena, request, &conversation, err))
            return -1;
        channel_id = conversation.channel_id;
    }
    found = channel_load(hub->db, arena, CHANNEL_ID(request->tenant_id, channel_id), &out->channel,
                         err);
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "There is no such channel.");
    if (found < 0)
        return -1;
    if (request->conversation_id) {
        out->peer = conversation.peer;
        out->is_group = conversation.is_group != 0;
    } else {
        struct str given = str_trim(request->to);

        if (given.len == 0 || given.len > LIMIT_ADDRESS_BYTES || !str_utf8_valid(given))
            return err_field(err, "to", "Say to whom: an address of 1 to %d bytes.",
                             LIMIT_ADDRESS_BYTES);
        out->peer = channel_address(arena, &out->channel, given);
        if (!str_eq(out->peer, given))
            out->address_given = (struct str){ str_dup(arena, given), given.len };
        if (out->peer.len > 0 && find_person(hub, arena, request, out, err))
            return -1;
    }
    if (out->peer.len == 0)
        return err_field(err, "to", "This is not an address of a channel of this kind.");
    return check_channel(out, request, err);
}

/* --- Preparing -------------------------------------------------------------------------------- */

static int check_request(const struct outbox_request *request, struct err *err)
{
    if (request->text.len == 0 && request->attachment_count == 0) {
        err_field(err, "text", "The text is empty.");
        return err_hint(err, "Say something, or attach a file.");
    }
    if (request->text.len > LIMIT_TEXT_BYTES)
        return err_field(err, "text", "The text has %zu bytes; at most %d are taken.",
                         request->text.len, LIMIT_TEXT_BYTES);
    if (!str_utf8_valid(request->text))
        return err_field(err, "text", "The text is not valid UTF-8 without NUL.");
    if (request->metadata.len > LIMIT_METADATA_BYTES)
        return err_field(err, "metadata", "The metadata has %zu bytes; at most %d are taken.",
                         request->metadata.len, LIMIT_METADATA_BYTES);
    if (request->priority < PRIORITY_NORMAL || request->priority > PRIORITY_URGENT)
        return err_field(err, "priority", "The priority is neither bulk, normal nor urgent.");
    return 0;
}

static int check_times(const struct outbox_request *request, struct outbox_prepared *prepared,
                       struct err *err)
{
    int64_t start_ms = request->scheduled_ms > prepared->now_ms ? request->scheduled_ms
                                                                : prepared->now_ms;

    prepared->expires_ms = request->expires_ms ? request->expires_ms : start_ms + OUTBOX_EXPIRY_MS;
    if (prepared->expires_ms > start_ms)
        return 0;
    err_field(err, "expires_at", "The message would expire before it may be sent.");
    return err_hint(err, "Give a later time, or none: a message expires after 24 hours by itself.");
}

static int check_parts(struct outbox_prepared *prepared, struct err *err)
{
    const struct channel_driver *driver = prepared->route.channel.driver;

    prepared->parts = split_plan(driver, prepared->text,
                                 (int)prepared->write->request.attachment_count).parts;
    if (prepared->parts <= LIMIT_PARTS_PER_MESSAGE)
        return 0;
    err_field(err, "text", "The text makes %d parts of %zu characters on this channel.",
              prepared->parts, driver->text_max);
    return err_hint(err, "At most %d parts are sent; shorten the text.", LIMIT_PARTS_PER_MESSAGE);
}

/* Another channel, and an address that fits it: found now, when somebody can still be told. */
static int check_fallback(struct hub *hub, struct arena *arena, struct outbox_prepared *prepared, struct err *err)
{
    struct outbox_request *request = &prepared->write->request, other = *request;
    struct outbox_route route = { 0 };

    if (!request->fallback.channel_id)
        return 0;
    if (request->fallback.channel_id == prepared->route.channel.id)
        return err_field(err, "fallback_channel", "The fallback is the channel itself; name another one.");
    if (prepared->route.is_group)
        return err_field(err, "fallback_channel", "A message to a group has no fallback.");
    other.conversation_id = 0;
    other.channel_id = request->fallback.channel_id;
    other.to = request->fallback.to.len ? request->fallback.to : prepared->route.peer;
    if (outbox_route(hub, arena, &other, &route, err)) {
        if (err->code == ERR_INVALID)
            snprintf(err->field, sizeof err->field, "fallback_to");
        return -1;
    }
    request->fallback.to = other.to;
    return 0;
}

/* Only where the channel takes them; their bytes are stored before the message is. */
static int prepare_files(struct hub *hub, struct arena *arena, struct outbox_prepared *prepared,
                         struct err *err)
{
    const struct outbox_request *request = &prepared->write->request;
    const struct channel *channel = &prepared->route.channel;
    struct attachment_draft draft = { .tenant_id = request->tenant_id, .strict = true,
                                      .given = request->attachments, .count = request->attachment_count };

    if (draft.count == 0)
        return 0;
    if (!(channel->driver->can & CHANNEL_CAN_MEDIA)) {
        err_field(err, "attachments", "The channel \"%s\" is of kind %s, which cannot send files.", channel->name,
                  channel->kind);
        return err_hint(err, "Send a link in the text, or choose another channel.");
    }
    if (attachment_prepare(hub, arena, &draft, err))
        return -1;
    prepared->files = draft.rows;
    return 0;
}

int outbox_prepare(struct hub *hub, struct arena *arena, struct outbox_write *write,
                   struct err *err)
{
    struct outbox_prepared *prepared = arena_alloc(arena, sizeof *prepared);
    int64_t first;

    prepared->write = write;
    prepared->now_ms = clock_ms();
    if (check_request(&write->request, err) || check_times(&write->request, prepared, err)
        || outbox_route(hub, arena, &write->request, &prepared->route, err))
        return -1;
    prepared->text = write->request.text.len > 0 ? str_nfc(arena, write->request.text) : STR("");
    if (check_parts(prepared, err) || check_fallback(hub, arena, prepared, err)
        || prepare_files(hub, arena, prepared, err))
        return -1;
    first = ids_take(hub->ids, IDS_PER_WRITE, err);
    if (first < 0)
        return -1;
    prepared->conversation_id = first;
    prepared->contact_id = first + 1;
    write->message_id = first + 2;
    prepared->job_id = first + 3;
    write->item.kind = &enqueue_kind;
    write->replayed = write->suppressed = false;
    write->prepared = prepared;
    return 0;
}

int outbox_send(struct hub *hub, struct arena *arena, struct outbox_write *write, struct err *err)
{
    if (outbox_prepare(hub, arena, write, err))
        return -1;
    return db_submit_wait(hub->db, &write->item, err);
}

/* --- Storing ---------------------------------------------------------------------------------- */

static struct outbox_write *write_of(struct db_write_item *item)
{
    return (struct outbox_write *)item;
}

/* A request whose idempotency key is known is not run: the first answer is replayed to it. */
static int store_idempotency(struct db_session *tx, struct db_write_item **items, size_t count,
                             struct err *err)
{
    struct arena *arena = db_arena(tx);
    const struct idempotency **keys = arena_array(arena, count, sizeof *keys);
    bool *stored = arena_array(arena, count, sizeof *stored);
    size_t with_key = 0;

    for (size_t i = 0; i < count; i++)
        if (write_of(items[i])->idempotency)
            keys[with_key++] = write_of(items[i])->idempotency;
    if (idempotency_store_all(tx, keys, with_key, stored, err))
        return -1;
    with_key = 0;
    for (size_t i = 0; i < count; i++) {
        struct outbox_write *write = write_of(items[i]);

        write->replayed = write->idempotency && !stored[with_key++];
    }
    return 0;
}

/* An earlier run of this group whose commit got lost on the way back may have stored the write.
 * 1: it did not, 0: it did, -1. */
static int is_new(struct db_session *tx, struct outbox_write *write, struct err *err)
{
    struct outbox_prepared *prepared = write->prepared;
    int64_t id = 0;

    write->suppressed = false;
    if (prepared->runs++ == 0)
        return 1;
    if (db_query_int(tx, "SELECT id FROM messages WHERE id = $1",
                     DB_ARGS(db_int(write->message_id)), 0, &id, err))
        return -1;
    return id == 0;
}

static int run(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    struct outbox_prepared **writes = arena_array(db_arena(tx), count, sizeof *writes);
    size_t kept = 0;

    if (store_idempotency(tx, items, count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct outbox_write *write = write_of(items[i]);
        int fresh = write->replayed ? 0 : is_new(tx, write, err);

        if (fresh < 0)
            return -1;
        if (fresh)
            writes[kept++] = write->prepared;
    }
    return outbox_store(tx, writes, kept, err);
}

int outbox_add(struct db_session *tx, struct outbox_write *write, struct err *err)
{
    struct db_write_item *item = &write->item;

    return run(tx, &item, 1, err);
}
