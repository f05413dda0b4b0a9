#include "channels/lib/whatsapp.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

#define DETAILS_BYTES (LIMIT_METADATA_BYTES - 2048)

struct str whatsapp_address(struct arena *arena, struct str given)
{
    if (!given.len || given.data[0] < '0' || given.data[0] > '9')
        return given.len ? given : (struct str){ 0 };
    return str_c(arena_printf(arena, "+%.*s", STR_FMT(given)));
}

int64_t whatsapp_time_ms(const struct json *timestamp)
{
    int64_t time = json_int(timestamp, 0);

    str_int(json_text(timestamp), 0, INT64_MAX / 1000, &time);
    return time >= 1000000000000 ? time : time * 1000;
}

/* --- Texts ------------------------------------------------------------------------------------ */

static struct str first_of(struct str a, struct str b)
{
    return a.len ? a : b;
}

/* A double as people write it. */
static const char *degrees(struct arena *arena, const struct json *value)
{
    return arena_printf(arena, "%.6g", json_number(value, 0));
}

static struct str place(struct arena *arena, const struct json *location)
{
    struct str name = json_text(json_get(location, "name")), address = json_text(json_get(location, "address"));

    return str_c(arena_printf(arena, "Location: %s, %s%s%.*s%s%.*s", degrees(arena, json_get(location, "latitude")),
                              degrees(arena, json_get(location, "longitude")), name.len ? " " : "", STR_FMT(name),
                              address.len ? ", " : "", STR_FMT(address)));
}

/* The cards' names and first numbers. */
static struct str cards(struct arena *arena, const struct json *contacts)
{
    const char *out = "Contact:";

    for (size_t i = 0; i < json_count(contacts) && i < 20; i++) {
        const struct json *card = json_item(contacts, i);
        struct str name = json_text(json_at(card, "name.formatted_name"));
        struct str phone = json_text(json_at(card, "phones.0.phone"));

        out = arena_printf(arena, "%s%s %.*s%s%.*s", out, i ? "," : "", STR_FMT(name), phone.len ? " " : "",
                           STR_FMT(phone));
    }
    return str_c(out);
}

static struct str order_text(struct arena *arena, const struct json *order)
{
    struct str text = json_text(json_get(order, "text"));

    return str_c(arena_printf(arena, "Order: %zu items%s%.*s", json_count(json_get(order, "product_items")),
                              text.len ? ". " : "", STR_FMT(text)));
}

static struct str choice(const struct json *interactive)
{
    struct str button = json_text(json_at(interactive, "button_reply.title"));
    struct str list = json_text(json_at(interactive, "list_reply.title"));

    return first_of(first_of(button, list), json_text(json_at(interactive, "nfm_reply.body")));
}

static bool is_file(struct str kind)
{
    return str_is(kind, "image") || str_is(kind, "video") || str_is(kind, "document") || str_is(kind, "audio")
        || str_is(kind, "voice") || str_is(kind, "sticker");
}

/* What a person reads of a message of this kind; never absent. */
static struct str text_of(struct arena *arena, struct str kind, const struct json *message)
{
    const struct json *body = json_get(message, str_dup(arena, kind));
    struct str out;

    if (str_is(kind, "text"))
        out = json_text(json_get(body, "body"));
    else if (is_file(kind))
        out = json_text(json_get(body, "caption"));
    else if (str_is(kind, "location"))
        return place(arena, body);
    else if (str_is(kind, "contacts"))
        return cards(arena, body);
    else if (str_is(kind, "order"))
        return order_text(arena, body);
    else if (str_is(kind, "button"))
        out = json_text(json_get(body, "text"));
    else if (str_is(kind, "interactive"))
        out = choice(body);
    else if (str_is(kind, "system"))
        out = json_text(json_get(body, "body"));
    else
        return str_c(arena_printf(arena, "[WhatsApp: a message of the kind \"%.*s\", which can be read on the phone "
                                  "only]", (int)str_cut(kind, 40, false), kind.data));
    return out.data ? out : STR("");
}

static struct str type_of(struct str kind)
{
    static const char *const types[][2] = {
        { "image", "image" }, { "sticker", "image" }, { "video", "video" }, { "audio", "audio" },
        { "voice", "audio" }, { "document", "file" }, { "location", "location" },
    };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (str_is(kind, types[i][0]))
            return str_c(types[i][1]);
    return STR("whatsapp");
}

/* The kind, and the part of the message that says more than its text. */
static struct str metadata_of(struct arena *arena, struct str kind, const struct json *message)
{
    const struct json *body = json_get(message, str_dup(arena, kind)), *context = json_get(message, "context");
    const struct json *referral = json_get(message, "referral");
    struct json_writer writer;
    struct buf text, details;
    struct str out;

    buf_init(&text, LIMIT_METADATA_BYTES);
    buf_init(&details, DETAILS_BYTES);
    writer = json_writer(&text);
    json_object_begin(&writer);
    json_text_at(&writer, "kind", (struct str){ kind.data, str_cut(kind, 40, false) });
    if (json_bool(json_get(context, "forwarded"), false) || json_bool(json_get(context, "frequently_forwarded"), false))
        json_bool_at(&writer, "forwarded", true);
    if (body && !str_is(kind, "text"))
        json_dump(&details, body);
    else if (referral)
        json_dump(&details, referral);
    if (details.len && !details.overflow) {
        json_key(&writer, "details");
        json_put_raw(&writer, buf_slice(&details));
    }
    json_object_end(&writer);
    out = (struct str){ arena_copy(arena, text.data, text.len), text.len };
    buf_fini(&details);
    buf_fini(&text);
    return out;
}

/* --- Who --------------------------------------------------------------------------------------- */

/* The sender's card among contacts[]: by number or by user id; a single one belongs to a single sender. */
static const struct json *card_of(const struct whatsapp_value *of, const struct json *message)
{
    const struct json *contacts = json_get(of->value, "contacts");
    struct str from = json_text(json_get(message, "from")), user = json_text(json_get(message, "from_user_id"));

    for (size_t i = 0; i < json_count(contacts); i++) {
        const struct json *card = json_item(contacts, i);
        struct str number = json_text(json_get(card, "wa_id")), id = json_text(json_get(card, "user_id"));

        if ((from.len && str_eq(number, from)) || (user.len && str_eq(id, user)))
            return card;
    }
    return NULL;
}

static void add_alias(struct channel_event *event, struct str alias)
{
    size_t at = 0;

    if (!alias.len || str_eq(alias, event->address))
        return;
    while (at < CHANNEL_ALIASES && event->aliases[at].data)
        if (str_eq(event->aliases[at++], alias))
            return;
    if (at < CHANNEL_ALIASES)
        event->aliases[at] = alias;
}

/* Who wrote it; of an echo, to whom. By number where there is one, else by user id. */
static void set_person(const struct whatsapp_value *of, const struct json *message, struct channel_event *event)
{
    const struct json *card = card_of(of, message);
    struct arena *arena = of->events->arena;
    struct str number = json_text(json_get(message, of->is_echo ? "to" : "from"));
    struct str user = json_text(json_get(message, of->is_echo ? "to_user_id" : "from_user_id"));

    number = first_of(number, json_text(json_get(card, "wa_id")));
    user = first_of(user, json_text(json_get(card, "user_id")));
    event->address = whatsapp_address(arena, first_of(number, user));
    if (of->is_echo && !card)
        card = json_at(of->value, "contacts.0");
    add_alias(event, user);
    add_alias(event, json_text(json_at(card, "profile.username")));
    event->name = json_text(json_at(card, "profile.name"));
}

/* --- Events ------------------------------------------------------------------------------------ */

static int add_nothing(const struct whatsapp_value *of, struct err *err)
{
    return events_add(of->events, &(const struct channel_event){ .kind = CHANNEL_IGNORED }, err);
}

/* Kinds that change another message, or the contact. 1: it was one of them; 0: it is a message. */
static int set_change(struct arena *arena, struct str kind, const struct json *message, struct channel_event *event)
{
    const struct json *body = json_get(message, str_dup(arena, kind)), *edited = json_get(body, "message");
    struct str id = json_text(json_get(body, "original_message_id"));

    if (str_is(kind, "reaction")) {
        struct str emoji = json_text(json_get(body, "emoji"));

        event->kind = CHANNEL_REACTION;
        event->external_id = json_text(json_get(body, "message_id"));
        event->text = emoji.len ? emoji : (struct str){ 0 };
    } else if (str_is(kind, "revoke")) {
        event->kind = CHANNEL_DELETE;
        event->external_id = id;
    } else if (str_is(kind, "edit")) {
        event->kind = CHANNEL_EDIT;
        event->external_id = id;
        event->text = text_of(arena, json_text(json_get(edited, "type")).len ? json_text(json_get(edited, "type"))
                                                                             : STR("text"), edited);
    } else if (str_is(kind, "system") && str_is(json_text(json_get(body, "type")), "user_changed_number")) {
        struct str number = first_of(json_text(json_get(body, "wa_id")), json_text(json_get(body, "new_wa_id")));

        event->kind = CHANNEL_MOVED;
        event->text = whatsapp_address(arena, first_of(number, json_text(json_get(body, "user_id"))));
        if (!event->text.len)
            event->kind = CHANNEL_IGNORED;
    } else if (str_is(kind, "system")) {
        event->kind = CHANNEL_IGNORED;
    } else {
        return 0;
    }
    return 1;
}

static void set_message(const struct whatsapp_value *of, struct str kind, const struct json *message,
                        struct channel_event *event)
{
    struct arena *arena = of->events->arena;
    const struct json *body = json_get(message, str_dup(arena, kind));
    struct channel_attachment *file;

    event->text = text_of(arena, kind, message);
    event->type = type_of(kind);
    event->metadata = metadata_of(arena, kind, message);
    event->reply_to = json_text(json_at(message, "context.id"));
    if (!is_file(kind) || !json_text(json_get(body, "id")).len)
        return;
    file = arena_alloc(arena, sizeof *file);
    file->ref = json_text(json_get(body, "id"));
    file->name = json_text(json_get(body, "filename"));
    file->type = json_text(json_get(body, "mime_type"));
    event->attachments = file;
    event->attachment_count = 1;
}

int whatsapp_add_message(const struct whatsapp_value *of, const struct json *message, struct err *err)
{
    struct str kind = json_text(json_get(message, "type"));
    struct channel_event event = {
        .kind = of->is_echo ? CHANNEL_OWN_MESSAGE : CHANNEL_MESSAGE,
        .external_id = json_text(json_get(message, "id")),
        .group = json_text(json_get(message, "group_id")),
        .provider_ms = whatsapp_time_ms(json_get(message, "timestamp")),
    };

    set_person(of, message, &event);
    if (!event.group.len)
        event.group = (struct str){ 0 };
    if (!event.external_id.len || !event.address.len || !kind.len)
        return err_set(err, ERR_MALFORMED, "A message without id, sender or type.");
    if (!set_change(of->events->arena, kind, message, &event))
        set_message(of, kind, message, &event);
    else if (event.kind == CHANNEL_IGNORED)
        return add_nothing(of, err);
    if (!event.external_id.len)
        return err_set(err, ERR_MALFORMED, "A change that does not say of which message.");
    return events_add(of->events, &event, err);
}
