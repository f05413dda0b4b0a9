#include "api/find.h"

#include "base/arena.h"
#include "base/limits.h"
#include "core/address.h"
#include "core/channel_row.h"
#include "core/device.h"
#include "core/recent.h"

#include <string.h>

#define SHOWN_BYTES 60
#define SHORT_CODE_MIN 3

/* --- Channels -------------------------------------------------------------------------------------------------- */

int find_nothing(struct op_call *call, const char *field, const char *what, struct err *err)
{
    struct str text = field_text(&call->in, field);
    struct str shown = { text.data, str_cut(text, SHOWN_BYTES, false) };

    err_field(err, field, "There is no %s \"%s\".", what, str_printable(call->arena, shown, true));
    err->code = ERR_NOT_FOUND;
    return err_hint(err, "List what there is: message-hub %ss.", what);
}

int find_channel(struct op_call *call, const char *field, struct channel *out, struct err *err)
{
    struct channel_ref ref = CHANNEL_NAME(call->tenant_id, field_text(&call->in, field));
    int found = channel_load(call->hub->db, call->arena, ref, out, err);

    return found == 0 ? find_nothing(call, field, "channel", err) : found < 0 ? -1 : 0;
}

static int load(struct op_call *call, int64_t id, struct channel *out, struct err *err)
{
    return channel_load(call->hub->db, call->arena, CHANNEL_ID(call->tenant_id, id), out, err);
}

/* The channel that the key's device belongs to; 0: none. */
static int device_channel(struct op_call *call, int64_t *id, struct err *err)
{
    struct device device = { .id = call->key.device_id, .tenant_id = call->tenant_id };
    struct db_session *session;
    int found;

    *id = 0;
    if (!device.id)
        return 0;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return -1;
    found = device_get(session, call->arena, &device, err);
    db_read_end(session);
    *id = found == 1 ? device.channel_id : 0;
    return found < 0 ? -1 : 0;
}

/* The tenant's channels; a page of them is more than anybody chooses from without naming one. */
static int read_channels(struct op_call *call, struct channel_page *page, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int failed;

    *page = (struct channel_page){ .tenant_id = call->tenant_id, .limit = LIMIT_PAGE_MAX };
    if (!session)
        return -1;
    failed = channel_rows(session, call->arena, page, err);
    db_read_end(session);
    return failed;
}

static int first_channel(struct op_call *call, int64_t *id, struct err *err)
{
    struct channel_page page;

    *id = 0;
    if (read_channels(call, &page, err) < 0)
        return -1;
    for (int i = 0; i < page.count; i++) {
        const struct channel_row *row = &page.rows[i];

        if (row->state != CHANNEL_ENABLED)
            continue;
        if (str_is(row->kind, "android")) {
            *id = row->id;
            return 0;
        }
        if (*id == 0)
            *id = row->id;
    }
    return 0;
}

int find_channel_in(struct op_call *call, struct channel *out, struct err *err)
{
    bool of_device = call->key.device_id != 0;
    struct recent_name name = recent_name(of_device ? "device's channel" : "tenant's channel",
                                          of_device ? call->key.device_id : call->tenant_id);
    uint32_t turn = recent_turn(call->hub->recent);
    int64_t id;
    int found;

    if (!recent_get(call->hub->recent, &name, &id, sizeof id)) {
        if (device_channel(call, &id, err) < 0 || (id == 0 && first_channel(call, &id, err) < 0))
            return -1;
        recent_put(call->hub->recent, turn, &name, &id, sizeof id);
    }
    found = id ? load(call, id, out, err) : 0;
    if (found != 0)
        return found < 0 ? -1 : 0;
    err_field(err, "channel", "There is no channel that is switched on.");
    return err_hint(err, "Add one: message-hub channels add --kind android --name phone");
}

static bool may_send(const struct channel_row *row)
{
    const struct channel_driver *driver = channel_driver_find(row->kind);

    return row->state == CHANNEL_ENABLED && channel_sends(driver);
}

int find_channel_out(struct op_call *call, struct channel *out, struct err *err)
{
    struct channel_page page;
    int64_t real = 0, simulated = 0;
    int count = 0, found;

    if (read_channels(call, &page, err) < 0)
        return -1;
    for (int i = 0; i < page.count; i++) {
        if (!may_send(&page.rows[i]))
            continue;
        if (str_is(page.rows[i].kind, "sandbox")) {
            simulated = page.rows[i].id;
        } else {
            real = page.rows[i].id;
            count++;
        }
    }
    if (count > 1) {
        err_field(err, "channel", "%d channels could send this; which one?", count);
        return err_hint(err, "Name one in \"channel\", or answer in a \"conversation\".");
    }
    found = real || simulated ? load(call, real ? real : simulated, out, err) : 0;
    if (found != 0)
        return found < 0 ? -1 : 0;
    err_field(err, "channel", "No channel that is switched on can send.");
    return err_hint(err, "Add one: message-hub channels add, or switch one on.");
}

/* --- Addresses ------------------------------------------------------------------------------------------------- */

static bool is_short_code(struct str address)
{
    if (address.len < SHORT_CODE_MIN)
        return false;
    for (size_t i = 0; i < address.len; i++)
        if (address.data[i] < '0' || address.data[i] > '9')
            return false;
    return true;
}

int find_address(struct op_call *call, const struct channel *channel, const char *field, struct str *out,
                 struct err *err)
{
    struct str given = field_text(&call->in, field), shown = { given.data, str_cut(given, SHOWN_BYTES, false) };

    *out = channel_address(call->arena, channel, given);
    if (channel->driver->can & CHANNEL_PHONE_ADDRESS) {
        if (address_is_phone(*out) || is_short_code(*out))
            return 0;
        err_field(err, field, "\"%s\" is no phone number.", str_printable(call->arena, shown, true));
        return err_hint(err, "Give it with its country: +15550100");
    }
    if (out->len > 0)
        return 0;
    return err_field(err, field, "\"%s\" is empty.", field);
}

/* --- Messages -------------------------------------------------------------------------------------------------- */

int find_message(struct op_call *call, int64_t id, struct message *out, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found;

    if (!session)
        return -1;
    *out = (struct message){ .id = id, .tenant_id = call->tenant_id };
    found = message_get(session, call->arena, out, err);
    db_read_end(session);
    return found == 1 ? 0 : found < 0 ? -1 : op_not_found(call, err);
}

int find_named_message(struct op_call *call, const char *field, struct message *out, struct err *err)
{
    int64_t id = field_number(&call->in, field, 0);

    *out = (struct message){ 0 };
    if (id == 0 || find_message(call, id, out, err) == 0)
        return 0;
    return err->code == ERR_NOT_FOUND ? find_nothing(call, field, "message", err) : -1;
}
