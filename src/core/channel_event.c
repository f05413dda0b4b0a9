#include "core/channel_event.h"

#include "base/arena.h"
#include "base/limits.h"

#include <string.h>

#define FIRST_EVENTS 8

/* Names and codes are for people: a long one is cut rather than the message lost. */
static struct str cut(struct str text, size_t max)
{
    if (text.len > max) {
        text.len = max;
        text.len = str_utf8_prefix(text);
    }
    return text;
}

static const struct channel_attachment *copy_attachments(struct arena *arena, const struct channel_event *event)
{
    struct channel_attachment *copies = arena_array(arena, event->attachment_count, sizeof *copies);

    for (size_t i = 0; i < event->attachment_count; i++) {
        const struct channel_attachment *given = &event->attachments[i];

        copies[i] = (struct channel_attachment){ .name = cut(str_nfc(arena, given->name), LIMIT_NAME_BYTES),
            .type = cut(str_nfc(arena, given->type), LIMIT_NAME_BYTES), .data = given->data,
            .ref = str_nfc(arena, given->ref), .size = given->size, .is_public = given->is_public,
            .media_id = given->media_id };
    }
    return copies;
}

int events_add(struct events *events, const struct channel_event *event, struct err *err)
{
    struct channel_event *copy;
    struct arena *arena = events->arena;

    if (events->count >= LIMIT_WEBHOOK_EVENTS) {
        err_set(err, ERR_TOO_LARGE, "More than %d events in one request.", LIMIT_WEBHOOK_EVENTS);
        return err_hint(err, "Send fewer at a time.");
    }
    if (event->attachment_count > LIMIT_ATTACHMENTS) {
        err_set(err, ERR_TOO_LARGE, "More than %d attachments in one message.", LIMIT_ATTACHMENTS);
        return err_hint(err, "Send them in several messages.");
    }
    if (events->count == events->cap) {
        size_t cap = events->cap ? events->cap * 2 : FIRST_EVENTS;
        struct channel_event *items = arena_array(arena, cap, sizeof *items);

        if (events->count > 0)
            memcpy(items, events->items, events->count * sizeof *items);
        events->items = items;
        events->cap = cap;
    }
    copy = &events->items[events->count++];
    *copy = *event;
    copy->external_id = str_nfc(arena, event->external_id);
    copy->address = str_nfc(arena, event->address);
    copy->name = cut(str_nfc(arena, event->name), LIMIT_NAME_BYTES);
    copy->group = str_nfc(arena, event->group);
    copy->text = str_nfc(arena, event->text);
    copy->type = str_nfc(arena, event->type);
    copy->reply_to = str_nfc(arena, event->reply_to);
    copy->metadata = str_nfc(arena, event->metadata);
    copy->segment = cut(str_nfc(arena, event->segment), LIMIT_NAME_BYTES);
    copy->code = cut(str_nfc(arena, event->code), LIMIT_NAME_BYTES);
    copy->hint = cut(str_nfc(arena, event->hint), LIMIT_HINT_BYTES);
    copy->key = str_nfc(arena, event->key);
    for (size_t i = 0; i < CHANNEL_ALIASES; i++)
        copy->aliases[i] = str_nfc(arena, event->aliases[i]);
    if (event->attachment_count > 0)
        copy->attachments = copy_attachments(arena, event);
    return 0;
}
