/* `send --dry-run`: what would happen, without writing anything. */
#include "base/arena.h"
#include "core/contact.h"
#include "core/limit.h"
#include "core/outbox_group.h"
#include "core/split.h"

static void count_parts(const struct outbox_route *route, struct str text, int files, struct outbox_plan *out)
{
    const struct channel_driver *driver = route->channel.driver;
    struct str rest = text.len > 0 || files == 0 ? text : (struct str){ 0 }, part;

    out->parts = split_plan(driver, text, files).parts;
    out->segments = 0;
    out->encoding = "text";
    while (split_next(driver, &rest, &part)) {
        struct split_segments sms = split_segments(part);

        out->segments += driver->can & CHANNEL_SMS ? sms.segments : 1;
    }
    if (driver->can & CHANNEL_SMS)
        out->encoding = split_segments(text).encoding;
}

int outbox_plan(struct hub *hub, struct arena *arena, const struct outbox_request *request,
                struct outbox_plan *out, struct err *err)
{
    struct outbox_route *route = arena_alloc(arena, sizeof *route);
    struct contact contact = { .tenant_id = request->tenant_id };
    struct db_session *session;
    int found;

    if (request->text.len == 0 && request->attachment_count == 0) {
        err_field(err, "text", "The text is empty.");
        return err_hint(err, "Say something, or attach a file.");
    }
    if (outbox_route(hub, arena, request, route, err))
        return -1;
    *out = (struct outbox_plan){ .channel_name = str_c(route->channel.name),
                                 .kind = str_c(route->channel.kind), .to = route->peer };
    if (request->attachment_count > 0 && !(route->channel.driver->can & CHANNEL_CAN_MEDIA)) {
        err_field(err, "attachments", "The channel \"%s\" is of kind %s, which cannot send files.",
                  route->channel.name, route->channel.kind);
        return err_hint(err, "Send a link in the text, or choose another channel.");
    }
    count_parts(route, request->text.len > 0 ? str_nfc(arena, request->text) : STR(""),
                (int)request->attachment_count, out);
    session = db_read(hub->db, request->tenant_id, err);
    if (!session)
        return -1;
    contact.channel_id = route->channel.id;
    contact.address = route->peer;
    found = contact_find(session, arena, &contact, err);
    out->opted_out = found == 1 && contact.opted_out_ms > 0;
    if (found >= 0 && limit_next_send(session, route->channel.id, found ? contact.id : 0,
                                      &out->next_send_ms, err))
        found = -1;
    db_read_end(session);
    if (request->scheduled_ms > out->next_send_ms)
        out->next_send_ms = request->scheduled_ms;
    return found < 0 ? -1 : 0;
}
