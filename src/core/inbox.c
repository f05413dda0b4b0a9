/* Preparing a write, and one run of a group of them. */
#include "core/inbox.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/sign.h"
#include "core/idempotency.h"
#include "core/inbox_group.h"
#include "core/inbox_receipt.h"

#include <stdlib.h>
#include <string.h>

#define IDS_PER_MESSAGE 4           /* message, conversation, contact, job */
#define HASH_BYTES 12               /* of the external id of a message that has none */

static int run(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err);

static const struct db_kind accept_kind = { .name = "accept", .order = 10, .run = run };

/* --- Preparing -------------------------------------------------------------------------------- */

bool inbox_is_message(const struct channel_event *event)
{
    return event->kind == CHANNEL_MESSAGE || event->kind == CHANNEL_OWN_MESSAGE;
}

bool inbox_is_person(const struct channel_event *event)
{
    return event->kind == CHANNEL_OPTED_OUT || event->kind == CHANNEL_OPTED_IN || event->kind == CHANNEL_MOVED;
}

static bool is_known_type(struct str type)
{
    struct str rest = STR(MESSAGE_TYPES), known;

    while (str_split(&rest, '|', &known))
        if (str_eq(known, type))
            return true;
    return false;
}

static int check_text(struct str text, const char *field, size_t max, struct err *err)
{
    if (text.len > max)
        return err_field(err, field, "%s has %zu bytes; at most %zu are taken.", field, text.len,
                         max);
    if (text.data && !str_utf8_valid(text))
        return err_field(err, field, "%s is not valid UTF-8 text without NUL.", field);
    return 0;
}

/* Is the event about a message that is stored already? */
static bool names_message(const struct channel_event *event)
{
    return event->kind == CHANNEL_RECEIPT || event->kind == CHANNEL_EDIT || event->kind == CHANNEL_DELETE
        || event->kind == CHANNEL_REACTION;
}

static int check_event(const struct channel_event *event, struct err *err)
{
    bool is_message = inbox_is_message(event);

    if (check_text(event->text, "text", LIMIT_TEXT_BYTES, err)
        || check_text(event->address, "address", LIMIT_ADDRESS_BYTES, err)
        || check_text(event->group, "group", LIMIT_ADDRESS_BYTES, err)
        || check_text(event->external_id, "external_id", LIMIT_EXTERNAL_ID_BYTES, err)
        || check_text(event->key, "key", LIMIT_EXTERNAL_ID_BYTES, err)
        || check_text(event->reply_to, "reply_to", LIMIT_EXTERNAL_ID_BYTES, err)
        || check_text(event->name, "name", LIMIT_NAME_BYTES, err)
        || check_text(event->metadata, "metadata", LIMIT_METADATA_BYTES, err))
        return -1;
    for (size_t i = 0; i < CHANNEL_ALIASES; i++)
        if (check_text(event->aliases[i], "aliases", LIMIT_ADDRESS_BYTES, err))
            return -1;
    if (is_message && event->type.data && !is_known_type(event->type)) {
        err_field(err, "type", "\"%.*s\" is not a message type.", STR_FMT(event->type));
        return err_hint(err, "Use one of %s.", MESSAGE_TYPES);
    }
    if (is_message && (event->priority < PRIORITY_NORMAL || event->priority > PRIORITY_URGENT))
        return err_field(err, "priority", "The priority is neither bulk, normal nor urgent.");
    if (names_message(event) && event->external_id.len == 0
        && (event->kind != CHANNEL_RECEIPT || event->key.len == 0))
        return err_field(err, "external_id", "Which message is meant is not said.");
    if (inbox_is_person(event) && event->address.len == 0 && event->group.len == 0)
        return err_field(err, "address", "Who is meant is not said.");
    if (event->kind == CHANNEL_MOVED && (event->text.len == 0 || event->text.len > LIMIT_ADDRESS_BYTES))
        return err_field(err, "text", "The new address is not one of 1 to %d bytes.", LIMIT_ADDRESS_BYTES);
    if (event->kind == CHANNEL_RECEIPT && !receipt_may_say(event->state))
        return err_field(err, "state", "A receipt says sent, delivered, read or failed.");
    if (event->segments < 0 || event->segments > LIMIT_SEGMENTS_PER_PART)
        return err_field(err, "segments", "A part has at most %d segments.", LIMIT_SEGMENTS_PER_PART);
    return 0;
}

/* What makes a message without an id of its own unique: who, where, what, in which second. It
 * starts with the time, so that new keys land at the end of the index; the device is left out, so
 * that two devices that forward the same SMS bring the same message. */
static struct str hashed_id(struct arena *arena, const struct inbox_line *line)
{
    const struct channel_event *event = line->event;
    int64_t second = event->provider_ms / 1000;
    const char *head =
        arena_printf(arena, "%d %zu:%.*s %zu:%.*s %lld ", (int)line->direction, line->address.len,
                     STR_FMT(line->address), event->group.len, (int)event->group.len,
                     event->group.len ? event->group.data : "", (long long)second);
    size_t head_len = strlen(head);
    char *whole = arena_alloc(arena, head_len + event->text.len);
    unsigned char hash[SIGN_HASH_BYTES];

    memcpy(whole, head, head_len);
    if (event->text.len > 0)
        memcpy(whole + head_len, event->text.data, event->text.len);
    sign_sha256((struct str){ whole, head_len + event->text.len }, hash);
    return str_c(arena_printf(arena, "h%010llx.%s", (unsigned long long)second,
                              sign_base64url(arena, hash, HASH_BYTES)));
}

static void prepare_line(struct arena *arena, const struct channel *channel,
                         struct inbox_line *line)
{
    const struct channel_event *event = line->event;
    struct err err = { 0 };

    line->direction = event->kind == CHANNEL_MESSAGE ? MESSAGE_IN : MESSAGE_OUT;
    line->external_id = event->external_id;
    *line->result = (struct inbox_result){ .outcome = INBOX_IGNORED };
    line->refused = check_event(event, &err) != 0;
    if (!line->refused && event->address.len > 0)
        line->address = channel_address(arena, channel, event->address);
    line->peer = event->group.len > 0 ? event->group : line->address;
    for (size_t i = 0; i < CHANNEL_ALIASES && !line->refused && event->group.len == 0; i++)
        if (event->aliases[i].len > 0)
            line->aliases[i] = channel_address(arena, channel, event->aliases[i]);
    if (!line->refused && event->kind == CHANNEL_MOVED)
        line->moved_to = event->group.len > 0 ? event->text : channel_address(arena, channel, event->text);
    if (!line->refused && inbox_is_message(event) && line->peer.len == 0)
        line->refused = err_field(&err, "address", "Who the message is from is not said.") != 0;
    if (line->refused) {
        *line->result = (struct inbox_result){ .outcome = INBOX_REFUSED, .err = err };
        return;
    }
    if (inbox_is_message(event) && line->external_id.len == 0)
        line->external_id = event->provider_ms > 0 ? hashed_id(arena, line) : (struct str){ 0 };
    /* a message from nobody known inside a group is from the group */
    if (line->address.len == 0)
        line->address = line->peer;
}

/* A contact that opts out before it was heard of is stored by that. */
static bool needs_ids(const struct inbox_line *line)
{
    return !line->refused && (inbox_is_message(line->event) || line->event->kind == CHANNEL_OPTED_OUT);
}

/* Draw the ids of all messages at once. */
static int draw_ids(struct hub *hub, struct inbox_prepared *prepared, size_t count, struct err *err)
{
    size_t messages = 0;
    int64_t next;

    for (size_t i = 0; i < count; i++)
        messages += needs_ids(&prepared->lines[i]);
    if (messages == 0)
        return 0;
    next = ids_take(hub->ids, messages * IDS_PER_MESSAGE, err);
    if (next < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct inbox_line *line = &prepared->lines[i];

        if (!needs_ids(line))
            continue;
        line->conversation_id = next++;
        line->contact_id = next++;
        line->message_id = line->result->message_id = next++;
        line->job_id = next++;
    }
    return 0;
}

/* The bytes that came along are stored now, so that nothing that is accepted can lack them. */
static int store_files(struct hub *hub, struct arena *arena, struct inbox_line *line, struct err *err)
{
    struct attachment_draft draft = { .tenant_id = line->write->tenant_id, .given = line->event->attachments,
                                      .count = line->event->attachment_count };

    if (line->refused || !inbox_is_message(line->event) || draft.count == 0)
        return 0;
    if (attachment_prepare(hub, arena, &draft, err))
        return -1;
    line->files = draft.rows;
    return 0;
}

int inbox_prepare(struct hub *hub, struct arena *arena, struct inbox_write *write, struct err *err)
{
    struct inbox_prepared *prepared = arena_alloc(arena, sizeof *prepared);
    const struct channel *channel = write->channel;
    struct channel loaded;
    int found = channel ? 1 : channel_load(hub->db, arena, CHANNEL_ID(write->tenant_id, write->channel_id), &loaded,
                                           err);

    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "There is no such channel.");
    if (found < 0)
        return -1;
    if (!channel)
        channel = &loaded;
    prepared->received_ms = clock_ms();
    prepared->lines = arena_array(arena, write->count, sizeof *prepared->lines);
    for (size_t i = 0; i < write->count; i++) {
        struct inbox_line *line = &prepared->lines[i];

        line->write = write;
        line->event = &write->events[i];
        line->result = &write->results[i];
        prepare_line(arena, channel, line);
        if (store_files(hub, arena, line, err))
            return -1;
    }
    write->item.kind = &accept_kind;
    write->replayed = false;
    write->prepared = prepared;
    return draw_ids(hub, prepared, write->count, err);
}

int inbox_accept(struct hub *hub, struct arena *arena, struct inbox_write *write, struct err *err)
{
    if (inbox_prepare(hub, arena, write, err))
        return -1;
    return db_submit_wait(hub->db, &write->item, err);
}

/* --- One run of a group ----------------------------------------------------------------------- */

static struct inbox_write *write_of(struct db_write_item *item)
{
    return (struct inbox_write *)item;
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
        struct inbox_write *write = write_of(items[i]);

        write->replayed = write->idempotency && !stored[with_key++];
    }
    return 0;
}

/* A row of inbound_rows that is gone was imported by another node, or by this one before the link
 * was lost. 1: take it, 0: leave it, -1. */
static int take_row(struct db_session *tx, const struct inbox_write *write, struct err *err)
{
    if (!write->row_id)
        return 1;
    return (int)db_exec(tx, "DELETE FROM inbound_rows WHERE id = $1",
                        DB_ARGS(db_int(write->row_id)), err);
}

static void add_lines(struct inbox_group *group, struct inbox_write *write)
{
    struct inbox_prepared *prepared = write->prepared;

    for (size_t i = 0; i < write->count; i++) {
        struct inbox_line *line = &prepared->lines[i];

        if (line->refused)
            continue;
        line->duplicate = false;
        line->twin = NULL;
        line->touch = NULL;
        line->reply_to_id = 0;
        line->peer = line->event->group.len > 0 ? line->event->group : line->address;
        line->result->outcome = INBOX_IGNORED;
        line->result->message_id = line->message_id;
        if (inbox_is_message(line->event)) {
            line->order = group->line_count;
            group->lines[group->line_count++] = line;
        } else if (line->event->kind != CHANNEL_IGNORED) {
            group->others[group->other_count++] = line;
        }
    }
}

static int gather(struct inbox_group *group, struct db_write_item **items, size_t count,
                  struct err *err)
{
    size_t events = 0;

    for (size_t i = 0; i < count; i++)
        events += write_of(items[i])->count;
    group->lines = arena_array(group->arena, events, sizeof *group->lines);
    group->kept = arena_array(group->arena, events, sizeof *group->kept);
    group->others = arena_array(group->arena, events, sizeof *group->others);
    group->writes = arena_array(group->arena, count, sizeof *group->writes);
    if (store_idempotency(group->tx, items, count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct inbox_write *write = write_of(items[i]);
        struct inbox_prepared *prepared = write->prepared;
        int taken;

        group->repeated |= prepared->runs++ > 0;
        taken = write->replayed ? 0 : take_row(group->tx, write, err);
        if (taken < 0)
            return -1;
        if (!taken)
            continue;
        group->writes[group->write_count++] = write;
        add_lines(group, write);
    }
    return 0;
}

static int move_cursors(struct inbox_group *group, struct err *err)
{
    for (size_t i = 0; i < group->write_count; i++) {
        const struct inbox_write *write = group->writes[i];

        if (write->cursor.data
            && db_exec(group->tx,
                       "UPDATE channels SET cursor = $1 WHERE tenant_id = $2 AND id = $3",
                       DB_ARGS(db_text(write->cursor), db_int(write->tenant_id),
                               db_int(write->channel_id)),
                       err)
                   < 0)
            return -1;
    }
    return 0;
}

/* The answers that were stored before it was known what they tell. */
static int settle_answers(struct inbox_group *group, struct err *err)
{
    for (size_t i = 0; i < group->write_count; i++) {
        struct inbox_write *write = group->writes[i];
        int changed = write->idempotency && write->settle ? write->settle(group->tx, write, err) : 0;

        if (changed < 0 || (changed && idempotency_replace(group->tx, write->idempotency, err)))
            return -1;
    }
    return 0;
}

static int run(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    struct inbox_group group = { .tx = tx, .arena = db_arena(tx), .now_ms = clock_ms() };

    if (gather(&group, items, count, err) || inbox_find_people(&group, err) || inbox_find(&group, err)
        || inbox_store(&group, err) || inbox_note_people(&group, err))
        return -1;
    for (size_t i = 0; i < group.other_count; i++)
        if (inbox_apply(tx, group.others[i], err))
            return -1;
    return settle_answers(&group, err) ? -1 : move_cursors(&group, err);
}
