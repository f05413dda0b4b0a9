/* What comes from Telegram: updates to events. */
#include "channels/lib/telegram.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

/* Animations come as a document as well: the better word first. */
static const struct telegram_file file_kinds[] = {
    { "animation", "video", "animation.mp4", "video/mp4" },
    { "video", "video", "video.mp4", "video/mp4" },
    { "video_note", "video", "video-note.mp4", "video/mp4" },
    { "voice", "audio", "voice.ogg", "audio/ogg" },
    { "audio", "audio", "audio.mp3", "audio/mpeg" },
    { "sticker", "image", "sticker.webp", "image/webp" },
    { "document", "file", "document", "application/octet-stream" },
};

/* One message while it is read. */
struct reading {
    struct events *events;
    const struct json *message, *chat;
    struct channel_event event;
    struct channel_attachment file;
};

struct str telegram_id(struct arena *arena, int64_t chat, int64_t message)
{
    return str_c(arena_printf(arena, "%lld:%lld", (long long)chat, (long long)message));
}

bool telegram_split(struct str id, int64_t *chat, int64_t *message)
{
    struct str first;

    return id.len && str_split(&id, ':', &first) && id.data && str_int(first, INT64_MIN, INT64_MAX, chat)
        && str_int(id, 1, INT64_MAX, message);
}

static struct str number(struct arena *arena, int64_t value)
{
    return str_c(arena_printf(arena, "%lld", (long long)value));
}

static int ignore(struct events *events, struct err *err)
{
    return events_add(events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err);
}

/* --- Who and where ---------------------------------------------------------------------------- */

static bool is_private(const struct json *chat)
{
    return str_is(json_text(json_get(chat, "type")), "private");
}

static struct str name_of(struct arena *arena, const struct json *peer)
{
    struct str first = json_text(json_get(peer, "first_name")), last = json_text(json_get(peer, "last_name"));
    struct str title = json_text(json_get(peer, "title"));

    if (title.len)
        return title;
    if (!last.len)
        return first;
    return str_c(arena_printf(arena, "%.*s%s%.*s", STR_FMT(first), first.len ? " " : "", STR_FMT(last)));
}

/* Who did it: a person, or a chat that speaks for itself (a channel, an anonymous administrator). */
static void set_peer(struct reading *reading, const struct json *peer)
{
    struct arena *arena = reading->events->arena;
    struct str user = json_text(json_get(peer, "username"));
    int64_t chat = json_int(json_get(reading->chat, "id"), 0);

    /* a private chat has its person's number */
    reading->event.address = number(arena, is_private(reading->chat) ? chat : json_int(json_get(peer, "id"), chat));
    reading->event.name = name_of(arena, peer);
    if (user.len && !json_get(peer, "title"))
        reading->event.aliases[0] = str_c(arena_printf(arena, "@%.*s", STR_FMT(user)));
    reading->event.is_automatic = json_bool(json_get(peer, "is_bot"), false);
    if (!is_private(reading->chat))
        reading->event.group = number(arena, chat);
}

static void begin_event(struct reading *reading, enum channel_event_kind kind, const struct json *at)
{
    reading->event = (struct channel_event){
        .kind = kind,
        .external_id = telegram_id(reading->events->arena, json_int(json_get(reading->chat, "id"), 0),
                                   json_int(json_get(reading->message, "message_id"), 0)),
        .provider_ms = json_int(at, 0) > 0 && json_int(at, 0) < INT64_MAX / 1000 ? json_int(at, 0) * 1000 : 0,
    };
}

/* --- What a message holds --------------------------------------------------------------------- */

static void take_file(struct reading *reading, const struct telegram_file *kind, const struct json *file)
{
    struct str name = json_text(json_get(file, "file_name")), type = json_text(json_get(file, "mime_type"));

    reading->file = (struct channel_attachment){
        .name = name.len ? name : str_c(kind->name),
        .type = type.len ? type : str_c(kind->media_type),
        .ref = json_text(json_get(file, "file_id")),
        .size = json_int(json_get(file, "file_size"), 0),
    };
    if (json_bool(json_get(file, "is_video"), false))
        reading->file.type = STR("video/webm");
    else if (json_bool(json_get(file, "is_animated"), false))
        reading->file.type = STR("application/x-tgsticker");
    reading->event.type = str_c(kind->type);
    reading->event.attachments = &reading->file;
    reading->event.attachment_count = reading->file.ref.len ? 1 : 0;
}

/* The file of a message, if it has one: there is never more, an album is one message per file. */
static void read_file(struct reading *reading)
{
    static const struct telegram_file photo = { "photo", "image", "photo.jpg", "image/jpeg" };
    const struct json *sizes = json_get(reading->message, "photo"), *file;

    if (json_count(sizes) > 0) {
        take_file(reading, &photo, json_item(sizes, json_count(sizes) - 1));
        return;
    }
    for (size_t i = 0; i < sizeof file_kinds / sizeof file_kinds[0]; i++) {
        file = json_get(reading->message, file_kinds[i].member);
        if (json_kind(file) != JSON_KIND_OBJECT)
            continue;
        take_file(reading, &file_kinds[i], file);
        if (strcmp(file_kinds[i].member, "sticker") == 0)
            reading->event.text = json_text(json_get(file, "emoji"));
        return;
    }
}

/* What is neither text nor file, in words. */
static void read_words(struct reading *reading)
{
    struct arena *arena = reading->events->arena;
    const struct json *venue = json_get(reading->message, "venue"), *poll = json_get(reading->message, "poll");
    const struct json *place = json_get(venue ? venue : reading->message, "location");
    const struct json *card = json_get(reading->message, "contact"), *dice = json_get(reading->message, "dice");

    if (place) {
        struct str title = json_text(json_get(venue, "title")), street = json_text(json_get(venue, "address"));

        reading->event.type = STR("location");
        reading->event.text = str_c(arena_printf(
            arena, "%.*s%s%.*s%sgeo:%.6f,%.6f", STR_FMT(title), title.len ? ", " : "", STR_FMT(street),
            street.len ? " " : "", json_number(json_get(place, "latitude"), 0),
            json_number(json_get(place, "longitude"), 0)));
    } else if (card) {
        struct str name = name_of(arena, card), phone = json_text(json_get(card, "phone_number"));

        reading->event.text = str_c(arena_printf(arena, "%.*s: %.*s", STR_FMT(name), STR_FMT(phone)));
    } else if (poll) {
        reading->event.text = json_text(json_get(poll, "question"));
    } else if (dice) {
        struct str emoji = json_text(json_get(dice, "emoji"));

        reading->event.text = str_c(arena_printf(arena, "%.*s %lld", STR_FMT(emoji),
                                                 (long long)json_int(json_get(dice, "value"), 0)));
    }
}

static bool read_content(struct reading *reading)
{
    struct str text = json_text(json_get(reading->message, "text"));
    struct str caption = json_text(json_get(reading->message, "caption"));

    reading->event.type = STR("telegram");
    read_file(reading);
    if (text.len || caption.len)
        reading->event.text = text.len ? text : caption;
    else if (!reading->event.attachment_count)
        read_words(reading);
    return reading->event.text.len || reading->event.attachment_count;
}

static void read_metadata(struct reading *reading)
{
    const struct json *message = reading->message;
    struct str title = json_text(json_get(reading->chat, "title"));
    struct str album = json_text(json_get(message, "media_group_id"));
    int64_t thread = json_int(json_get(message, "message_thread_id"), 0);
    struct json_writer writer;
    struct buf buf;

    buf_init(&buf, LIMIT_METADATA_BYTES);
    writer = json_writer(&buf);
    json_object_begin(&writer);
    if (title.len)
        json_text_at(&writer, "chat_title", title);
    if (album.len)
        json_text_at(&writer, "album", album);
    if (thread)
        json_int_at(&writer, "topic", thread);
    if (json_get(message, "forward_origin"))
        json_bool_at(&writer, "forwarded", true);
    json_object_end(&writer);
    if (!buf.overflow && buf.len > 2)
        reading->event.metadata = (struct str){ arena_copy(reading->events->arena, buf.data, buf.len), buf.len };
    buf_fini(&buf);
}

/* --- The kinds of update ----------------------------------------------------------------------- */

static const struct json *peer_of(const struct json *message)
{
    const struct json *chat = json_get(message, "sender_chat");

    return chat ? chat : json_get(message, "from");
}

/* A basic group became a supergroup, which has another id. Both tell it; the old one does with an address to go to. */
static int add_moved(struct reading *reading, struct err *err)
{
    struct arena *arena = reading->events->arena;
    int64_t to = json_int(json_get(reading->message, "migrate_to_chat_id"), 0);
    struct str from = number(arena, json_int(json_get(reading->chat, "id"), 0));

    return events_add(reading->events, &(struct channel_event){ .kind = CHANNEL_MOVED, .address = from, .group = from,
                                                                .text = number(arena, to) }, err);
}

static int add_message(struct reading *reading, struct err *err)
{
    int64_t answered = json_int(json_at(reading->message, "reply_to_message.message_id"), 0);

    if (json_get(reading->message, "migrate_to_chat_id"))
        return add_moved(reading, err);
    begin_event(reading, CHANNEL_MESSAGE, json_get(reading->message, "date"));
    set_peer(reading, peer_of(reading->message));
    if (!read_content(reading))
        return ignore(reading->events, err);
    /* in a topic every message answers the one that began it */
    if (answered > 0 && answered != json_int(json_get(reading->message, "message_thread_id"), 0))
        reading->event.reply_to =
            telegram_id(reading->events->arena, json_int(json_get(reading->chat, "id"), 0), answered);
    read_metadata(reading);
    return events_add(reading->events, &reading->event, err);
}

static int add_edit(struct reading *reading, struct err *err)
{
    begin_event(reading, CHANNEL_EDIT, json_get(reading->message, "edit_date"));
    set_peer(reading, peer_of(reading->message));
    if (!read_content(reading) || !reading->event.text.len)
        return ignore(reading->events, err);
    reading->event.attachments = NULL;
    reading->event.attachment_count = 0;
    return events_add(reading->events, &reading->event, err);
}

/* The last of a person's reactions stands for all. */
static int add_reaction(struct reading *reading, struct err *err)
{
    const struct json *now = json_get(reading->message, "new_reaction"), *actor = json_get(reading->message, "user");
    const struct json *last = json_count(now) ? json_item(now, json_count(now) - 1) : NULL;

    begin_event(reading, CHANNEL_REACTION, json_get(reading->message, "date"));
    set_peer(reading, actor ? actor : json_get(reading->message, "actor_chat"));
    if (last)
        reading->event.text = json_text(json_get(last, "emoji"));
    if (last && !reading->event.text.len)
        reading->event.text = STR("\xe2\xad\x90");      /* a picture of their own: there is no emoji for it */
    return events_add(reading->events, &reading->event, err);
}

/* Blocked, thrown out, or let in again. */
static int add_membership(struct reading *reading, struct err *err)
{
    struct str status = json_text(json_at(reading->message, "new_chat_member.status"));
    bool gone = str_is(status, "kicked") || str_is(status, "left");
    bool here = str_is(status, "member") || str_is(status, "administrator") || str_is(status, "creator");
    struct str chat = number(reading->events->arena, json_int(json_get(reading->chat, "id"), 0));

    if (!gone && !here)
        return ignore(reading->events, err);
    return events_add(reading->events, &(struct channel_event){
        .kind = gone ? CHANNEL_OPTED_OUT : CHANNEL_OPTED_IN,
        .address = chat,
        .group = is_private(reading->chat) ? (struct str){ 0 } : chat,
        .name = name_of(reading->events->arena, reading->chat),
        .code = status,
        .provider_ms = json_int(json_get(reading->message, "date"), 0) * 1000,
    }, err);
}

int telegram_update(const struct json *update, struct events *events, struct err *err)
{
    static const struct {
        const char *member;
        int (*add)(struct reading *reading, struct err *err);
        bool numbered;
    } kinds[] = {
        { "message", add_message, true },          { "edited_message", add_edit, true },
        { "channel_post", add_message, true },     { "edited_channel_post", add_edit, true },
        { "message_reaction", add_reaction, true }, { "my_chat_member", add_membership, false },
    };
    struct reading reading = { .events = events };

    if (json_kind(update) != JSON_KIND_OBJECT || json_kind(json_get(update, "update_id")) != JSON_KIND_INT)
        return err_set(err, ERR_MALFORMED, "The body is not an update of Telegram: it has no update_id.");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        reading.message = json_get(update, kinds[i].member);
        reading.chat = json_get(reading.message, "chat");
        if (!reading.message)
            continue;
        if (!json_int(json_get(reading.chat, "id"), 0)
            || (kinds[i].numbered && json_int(json_get(reading.message, "message_id"), 0) <= 0))
            return err_set(err, ERR_MALFORMED, "The update's %s names no chat or no message.", kinds[i].member);
        return kinds[i].add(&reading, err);
    }
    return ignore(events, err);
}
