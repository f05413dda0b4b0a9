#include "core/channel_default.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "core/channel.h"
#include "core/channel_edit.h"
#include "core/config.h"
#include "core/hub.h"
#include "core/tenant.h"

/* What one driver takes from the configuration. */
struct wanted {
    struct hub *hub;
    const struct channel_driver *driver;
    const char *source;             /* of the last value: an environment name, a flag, file:line */
    const char *missing;            /* a required setting that the configuration does not have */
    size_t given;
    struct channel_edit edit;
    bool adds;
};

static bool is_required(const struct channel_driver *driver, const char *setting)
{
    for (const struct field *field = driver->settings; field->name; field++)
        if (str_is(str_c(setting), field->name))
            return field->flags & FIELD_REQUIRED;
    return false;
}

/* The settings as one JSON object. */
static const struct json *collect(struct arena *arena, struct wanted *wanted, struct err *err)
{
    const struct config *config = wanted->hub->config;
    const struct json *settings;
    struct json_writer writer;
    struct buf text;

    buf_init(&text, LIMIT_SETTINGS_BYTES);
    writer = json_writer(&text);
    json_object_begin(&writer);
    for (const struct channel_default *each = wanted->driver->defaults; each->setting; each++) {
        const char *value = config_text(config, each->config);

        if (value) {
            wanted->given++;
            config_origin_of(config, each->config, &wanted->source);
            json_cstr_at(&writer, each->setting, value);
        } else if (is_required(wanted->driver, each->setting)) {
            wanted->missing = each->config;
        }
    }
    json_object_end(&writer);
    settings = json_parse(arena, buf_slice(&text), err);
    buf_fini(&text);
    return settings;
}

static int store_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct wanted *wanted = arg;

    return wanted->adds ? channel_add(tx, &wanted->edit, err) : channel_update(tx, &wanted->edit, err);
}

/* Does the channel have these settings already? Then nothing is written. */
static bool is_same(const struct channel *channel, const struct json *settings)
{
    const char *name;
    const struct json *value;
    void *position = NULL;

    while (json_next(settings, &position, &name, &value)) {
        const char *stored = channel_text(channel, name);

        if (!stored || !str_is(json_text(value), stored))
            return false;
    }
    return true;
}

static int store(struct arena *arena, struct wanted *wanted, const struct json *settings, struct err *err)
{
    struct str name = str_c(wanted->driver->kind);
    struct channel channel;
    int found = channel_load(wanted->hub->db, arena, CHANNEL_NAME(TENANT_DEFAULT, name), &channel, err);

    if (found < 0 && err->code != ERR_INVALID)
        return -1;
    if (found < 0 || (found == 1 && channel.driver != wanted->driver)) {
        log_warn("the configuration's channel is not made: its name is taken", LOG_T("channel", wanted->driver->kind));
        return 0;
    }
    if (found == 1 && is_same(&channel, settings))
        return 0;
    wanted->adds = found == 0;
    wanted->edit =
        channel_edit(arena, TENANT_DEFAULT, found ? channel.id : ids_next(wanted->hub->ids, err), clock_ms());
    wanted->edit.kind = wanted->edit.name = name;
    wanted->edit.settings = settings;
    if (wanted->edit.id < 0)
        return -1;
    if (db_write(wanted->hub->db, store_tx, wanted, err) == 0) {
        log_info(wanted->adds ? "the configuration made a channel" : "the configuration changed a channel",
                 LOG_T("channel", wanted->driver->kind));
        return 0;
    }
    if (err->code == ERR_CONFLICT)
        return 0;       /* another node starts at the same moment */
    return wanted->source ? err_hint(err, "It came from the configuration (%s and its like).", wanted->source) : -1;
}

int channel_default_apply(struct hub *hub, struct err *err)
{
    struct arena *arena = arena_new(0);
    int failed = 0;

    for (const struct channel_driver *const *each = channel_drivers; *each && hub->config && !failed; each++) {
        struct wanted wanted = { .hub = hub, .driver = *each };
        const struct json *settings;

        if (!(*each)->defaults)
            continue;
        settings = collect(arena, &wanted, err);
        if (settings && wanted.given && wanted.missing)
            log_warn("the configuration's channel is not made: a setting is missing", LOG_T("channel", (*each)->kind),
                     LOG_T("setting", wanted.missing));
        failed = !settings || (wanted.given && !wanted.missing && store(arena, &wanted, settings, err) < 0);
    }
    arena_free(arena);
    return failed ? -1 : 0;
}
