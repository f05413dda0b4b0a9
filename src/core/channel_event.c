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

int events_add(struct events *events, const struct channel_event *event, struct err *err)
{
    struct channel_event *copy;
    struct arena *arena = events->arena;

    if (events->count >= LIMIT_WEBHOOK_EVENTS) {
        err_set(err, ERR_TOO_LARGE, "More than %d events in one request.", LIMIT_WEBHOOK_EVENTS);
        return err_hint(err, "Send fewer at a time.");
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
    copy->code = cut(str_nfc(arena, event->code), LIMIT_NAME_BYTES);
    copy->hint = cut(str_nfc(arena, event->hint), LIMIT_HINT_BYTES);
    return 0;
}
