#include "core/channel_edit.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/agent.h"
#include "core/channel.h"
#include "core/event.h"

#include <stdio.h>
#include <string.h>

#define HOOK_BYTES 24       /* 192 random bits: nobody finds a hook by trying */
#define KINDS_MAX 64        /* for "did you mean" */

struct channel_edit channel_edit(struct arena *arena, int64_t tenant_id, int64_t id, int64_t now_ms)
{
    return (struct channel_edit){
        .arena = arena,
        .tenant_id = tenant_id,
        .id = id,
        .now_ms = now_ms,
        .state = -1,
        .policy = -1,
        .debounce_ms = -1,
        .rates = { -1, -1, -1, -1 },
    };
}

/* --- Settings --------------------------------------------------------------------------------- */

static void put_value(struct json_writer *writer, const struct value *value)
{
    switch (value->field->type) {
    case FIELD_INT:
    case FIELD_TIME:
        json_put_int(writer, value->number);
        break;
    case FIELD_BOOL:
        json_put_bool(writer, value->number != 0);
        break;
    case FIELD_OBJECT:
        json_put_raw(writer, value->text);
        break;
    case FIELD_TEXTS:
        json_array_begin(writer);
        for (size_t i = 0; i < value->count; i++)
            json_put_text(writer, value->texts[i]);
        json_array_end(writer);
        break;
    default:
        json_put_text(writer, value->text);
    }
}

/* The checked values that are secret, or those that are not, as one JSON object in the arena. */
static int print_settings(struct arena *arena, const struct fields *fields, bool secret,
                          struct str *out, struct err *err)
{
    struct json_writer writer;
    struct buf text;
    bool fits;

    buf_init(&text, LIMIT_SETTINGS_BYTES);
    writer = json_writer(&text);
    json_object_begin(&writer);
    for (size_t i = 0; i < fields->count; i++) {
        const struct value *value = &fields->values[i];

        if (!value->field || value->is_null || !(value->field->flags & FIELD_SECRET) == secret)
            continue;
        json_key(&writer, value->field->name);
        put_value(&writer, value);
    }
    json_object_end(&writer);
    fits = !text.overflow;
    *out = (struct str){ arena_copy(arena, text.data, text.len), text.len };
    buf_fini(&text);
    if (fits)
        return 0;
    err_set(err, ERR_TOO_LARGE, "The settings are larger than %d bytes.", LIMIT_SETTINGS_BYTES);
    return err_hint(err, "Shorten the longest of them.");
}

/* Adds the members of `object` that stand neither in `newer` nor outside the driver's table (NULL:
 * all). */
static void merge(struct json_writer *writer, const struct json *object, const struct json *newer,
                  const struct field *table)
{
    const char *key;
    const struct json *value;
    void *position = NULL;

    while (object && json_next(object, &position, &key, &value)) {
        const struct field *field = table;
        struct buf text;

        while (field && field->name && strcmp(field->name, key) != 0)
            field++;
        if ((field && !field->name) || json_get(newer, key) || json_kind(value) == JSON_KIND_NULL)
            continue;
        buf_init(&text, LIMIT_SETTINGS_BYTES);
        json_dump(&text, value);
        json_put_text(writer, str_c(key));
        buf_putc(writer->out, ':');
        writer->comma = false;
        json_put_raw(writer, buf_slice(&text));
        buf_fini(&text);
    }
}

/* The stored settings with the wanted changes, checked. */
static int check_settings(const struct channel_edit *edit, const struct channel_driver *driver,
                          struct fields *out, struct err *err)
{
    const struct json *plain = NULL, *secrets = NULL, *joined;
    struct json_writer writer;
    struct buf text;
    struct str opened;
    char field[64];

    if (edit->row.settings.data && !(plain = json_parse(edit->arena, edit->row.settings, err)))
        return -1;
    if (channel_unseal(edit->arena, edit->row.id, edit->row.secrets, &opened, err) < 0
        || !(secrets = json_parse(edit->arena, opened, err)))
        return -1;
    if (edit->settings && json_kind(edit->settings) != JSON_KIND_OBJECT)
        return err_field(err, "settings", "\"settings\" must be an object.");
    buf_init(&text, 3 * LIMIT_SETTINGS_BYTES);
    writer = json_writer(&text);
    json_object_begin(&writer);
    merge(&writer, plain, edit->settings, driver->settings);
    merge(&writer, secrets, edit->settings, driver->settings);
    merge(&writer, edit->settings, NULL, NULL);
    json_object_end(&writer);
    joined = text.overflow ? NULL : json_parse(edit->arena, buf_slice(&text), err);
    if (text.overflow)
        err_set(err, ERR_TOO_LARGE, "The settings are larger than %d bytes.", LIMIT_SETTINGS_BYTES);
    buf_fini(&text);
    if (!joined)
        return -1;
    if (field_read_json(edit->arena, driver->settings, joined, out, err) == 0)
        return 0;
    if (err->field[0]) {
        snprintf(field, sizeof field, "settings.%.50s", err->field);
        memcpy(err->field, field, sizeof field);
    }
    return -1;
}

static int write_settings(struct channel_edit *edit, const struct channel_driver *driver,
                          struct err *err)
{
    struct fields fields;
    struct str secrets;

    if (check_settings(edit, driver, &fields, err) < 0
        || print_settings(edit->arena, &fields, false, &edit->row.settings, err) < 0
        || print_settings(edit->arena, &fields, true, &secrets, err) < 0)
        return -1;
    edit->row.pulls = driver->pulls
        && driver->pulls(&(struct channel){ .kind = driver->kind, .driver = driver, .settings = fields });
    edit->row.secrets =
        secrets.len > 2 ? channel_seal(edit->arena, edit->row.id, secrets) : (struct str){ 0 };
    return 0;
}

/* --- The other columns ------------------------------------------------------------------------ */

static int check_region(struct channel_edit *edit, struct err *err)
{
    char *region = arena_copy(edit->arena, edit->region.data, edit->region.len);

    if (edit->region.len != 2) {
        err_field(err, "region", "\"region\" must be the two letters of a country.");
        return err_hint(err, "For example: DE");
    }
    for (int i = 0; i < 2; i++) {
        region[i] = (char)(region[i] >= 'a' && region[i] <= 'z' ? region[i] - 32 : region[i]);
        if (region[i] < 'A' || region[i] > 'Z')
            return err_field(err, "region", "\"region\" must be the two letters of a country.");
    }
    edit->row.region = str_c(region);
    return 0;
}

static int check_agent(struct channel_edit *edit, struct err *err)
{
    const char *names[KINDS_MAX] = { NULL }, *nearest;
    size_t count = 0;

    for (const struct agent_driver *const *agent = agent_drivers; *agent; agent++) {
        if (str_is(edit->agent, (*agent)->name)) {
            edit->row.agent = edit->agent;
            return 0;
        }
        if (count < KINDS_MAX - 1)
            names[count++] = (*agent)->name;
    }
    err_field(err, "agent", "There is no agent \"%.*s\".", (int)str_cut(edit->agent, 60, false),
              edit->agent.data);
    nearest = field_nearest(str_dup(edit->arena, edit->agent), names);
    return nearest ? err_hint(err, "Did you mean \"%s\"?", nearest) : -1;
}

static void keep(int64_t *column, int64_t wanted)
{
    if (wanted >= 0)
        *column = wanted;
}

/* Put the wanted values over the row's. */
static int apply(struct channel_edit *edit, struct err *err)
{
    struct channel_row *row = &edit->row;

    if (edit->name.data) {
        row->name = str_trim(edit->name);
        if (!row->name.len || row->name.len > LIMIT_NAME_BYTES)
            return err_field(err, "name", "\"name\" must have 1 to %d bytes.", LIMIT_NAME_BYTES);
    }
    if (edit->region.data && edit->region.len == 0)
        row->region = (struct str){ 0 };
    else if (edit->region.data && check_region(edit, err) < 0)
        return -1;
    if (edit->agent.data && edit->agent.len == 0)
        row->agent = (struct str){ 0 };
    else if (edit->agent.data && check_agent(edit, err) < 0)
        return -1;
    if (edit->auto_reply.data)
        row->auto_reply = edit->auto_reply.len ? edit->auto_reply : (struct str){ 0 };
    if (edit->help_text.data)
        row->help_text = edit->help_text.len ? edit->help_text : (struct str){ 0 };
    keep(&row->state, edit->state);
    keep(&row->policy, edit->policy);
    keep(&row->debounce_ms, edit->debounce_ms);
    keep(&row->rates.per_second, edit->rates.per_second);
    keep(&row->rates.per_hour, edit->rates.per_hour);
    keep(&row->rates.per_day, edit->rates.per_day);
    keep(&row->rates.per_contact_hour, edit->rates.per_contact_hour);
    keep(&row->rates.spacing_ms, edit->rates.spacing_ms);
    keep(&row->rates.new_per_day, edit->rates.new_per_day);
    keep(&row->rates.warmup_days, edit->rates.warmup_days);
    row->updated_ms = edit->now_ms;
    return 0;
}

static const struct channel_driver *find_driver(const struct channel_edit *edit, struct str kind,
                                                struct err *err)
{
    const struct channel_driver *driver = channel_driver_find(kind);
    const char *names[KINDS_MAX] = { NULL }, *nearest;
    size_t count = 0;

    if (driver)
        return driver;
    for (const struct channel_driver *const *each = channel_drivers; *each && count < KINDS_MAX - 1;
         each++)
        names[count++] = (*each)->kind;
    err_field(err, "kind", "There is no channel kind \"%.*s\".", (int)str_cut(kind, 60, false),
              kind.data);
    nearest = field_nearest(str_dup(edit->arena, kind), names);
    if (nearest)
        err_hint(err, "Did you mean \"%s\"?", nearest);
    else
        err_hint(err, "`message-hub channels kinds` lists them.");
    return NULL;
}

/* --- Rows ------------------------------------------------------------------------------------- */

static int taken(const struct channel_row *row, struct err *err)
{
    err_set(err, ERR_CONFLICT, "There is already a channel named \"%.*s\".", STR_FMT(row->name));
    return err_hint(err, "Choose another name.");
}

static int finish(struct db_session *tx, struct channel_edit *edit, const char *kind,
                  struct err *err)
{
    event_add(tx,
              &(struct event){ .tenant_id = edit->tenant_id,
                               .kind = kind,
                               .object_id = edit->row.id,
                               .at_ms = edit->now_ms });
    channel_touch(tx);
    return channel_row_get(tx, edit->arena, &edit->row, err) < 0 ? -1 : 0;
}

int channel_add(struct db_session *tx, void *arg, struct err *err)
{
    struct channel_edit *edit = arg;
    struct channel_row *row = &edit->row;
    const struct channel_driver *driver = find_driver(edit, edit->kind, err);
    struct db_value values[LIMIT_SQL_VALUES];
    struct str sql;
    int64_t added;
    size_t count;
    struct buf text;

    if (!driver)
        return -1;
    *row = (struct channel_row){
        .id = edit->id,
        .tenant_id = edit->tenant_id,
        .kind = edit->kind,
        .policy = POLICY_HUMAN_TAKEOVER,
        .name = str_c(driver->kind),
        .debounce_ms = LIMIT_DEBOUNCE_MS,
        .created_ms = edit->now_ms,
        .hook = str_c(id_token(edit->arena, "", HOOK_BYTES)),
        .rates = { driver->limits.per_second, driver->limits.per_hour, driver->limits.per_day,
                   driver->limits.per_contact_hour, driver->limits.spacing_ms, driver->limits.new_per_day,
                   driver->limits.warmup_days },
    };
    if (apply(edit, err) < 0 || write_settings(edit, driver, err) < 0)
        return -1;
    count = row_values(channel_columns, row, values);
    buf_init(&text, LIMIT_SQL_BYTES);
    buf_printf(&text, "INSERT INTO channels (%s) VALUES (", row_select(channel_columns, NULL));
    for (size_t i = 0; i < count; i++) {
        /* these two are NOT NULL, and 0 means "at once" */
        if (strcmp(channel_columns[i].name, "next_send_ms") == 0
            || strcmp(channel_columns[i].name, "breaker_until_ms") == 0)
            values[i] = db_int(0);
        buf_printf(&text, "%s$%zu", i ? ", " : "", i + 1);
    }
    buf_puts(&text, ") ON CONFLICT (tenant_id, name) DO NOTHING");
    sql = (struct str){ str_dup(edit->arena, buf_slice(&text)), text.len };
    buf_fini(&text);
    added = db_exec(tx, sql.data, values, count, err);
    if (added == 0)
        return taken(row, err);
    return added < 0 ? -1 : finish(tx, edit, "channel.added", err);
}

static int name_is_free(struct db_session *tx, const struct channel_row *row, struct err *err)
{
    int64_t other;

    if (db_query_int(tx, "SELECT id FROM channels WHERE tenant_id = $1 AND name = $2 AND id <> $3",
                     DB_ARGS(db_int(row->tenant_id), db_text(row->name), db_int(row->id)), 0,
                     &other, err)
        < 0)
        return -1;
    return other ? taken(row, err) : 0;
}

int channel_update(struct db_session *tx, void *arg, struct err *err)
{
    struct channel_edit *edit = arg;
    struct channel_row *row = &edit->row;
    const struct channel_driver *driver;
    int64_t locked;
    int found;

    /* the merge of the settings needs the row to stand still; a changed channel starts afresh */
    if (db_query_int(tx, "SELECT id FROM channels WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
                     DB_ARGS(db_int(edit->tenant_id), db_int(edit->id)), 0, &locked, err) < 0)
        return -1;
    *row = (struct channel_row){ .tenant_id = edit->tenant_id, .id = edit->id };
    found = locked ? channel_row_get(tx, edit->arena, row, err) : 0;
    if (found < 0)
        return -1;
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "There is no such channel.");
    if (apply(edit, err) < 0 || (edit->name.data && name_is_free(tx, row, err) < 0))
        return -1;
    if (edit->settings) {
        driver = find_driver(edit, row->kind, err);
        if (!driver || write_settings(edit, driver, err) < 0)
            return -1;
    }
    if (db_exec(
            tx,
            "UPDATE channels SET name = $1, state = $2, settings = $3, secrets = $4, policy = $5, "
            "agent = $6, "
            "auto_reply = $7, debounce_ms = $8, region = $9, per_second = $10, per_hour = $11, "
            "per_day = $12, "
            "per_contact_hour = $13, updated_ms = $14, breaker_faults = 0, breaker_until_ms = 0, "
            "help_text = $15, spacing_ms = $16, new_per_day = $17, warmup_days = $18, pulls = $19 "
            "WHERE tenant_id = $20 AND id = $21",
            DB_ARGS(db_text(row->name), db_int(row->state), db_text(row->settings),
                    db_blob(row->secrets), db_int(row->policy), db_text(row->agent),
                    db_text(row->auto_reply), db_int(row->debounce_ms), db_text(row->region),
                    db_int(row->rates.per_second), db_int(row->rates.per_hour),
                    db_int(row->rates.per_day), db_int(row->rates.per_contact_hour),
                    db_int(row->updated_ms), db_text(row->help_text),
                    db_int(row->rates.spacing_ms), db_int(row->rates.new_per_day),
                    db_int(row->rates.warmup_days), db_int(row->pulls), db_int(row->tenant_id),
                    db_int(row->id)),
            err)
        < 0)
        return -1;
    return finish(tx, edit, "channel.changed", err);
}
