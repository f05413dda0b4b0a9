#include "api/op.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/channel.h"
#include "core/channel_edit.h"
#include "core/limit.h"

struct work {
    struct op_call *call;
    struct channel_edit edit;
};

/* The address of a hook is as good as a password where a provider signs nothing: only those who may change it see
 * it. */
static void put_row(struct op_call *call, struct channel_row *row)
{
    if (!(call->key.scopes & SCOPE_MANAGE))
        row->hook = STR("");
    channel_row_json(&call->out, call->arena, row);
}

static int render(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    put_row(call, &((struct work *)arg)->edit.row);
    return 0;
}

/* The channel that the path names, by id or name. */
static int find(struct op_call *call, int64_t *id, struct err *err)
{
    struct str name = field_text(&call->in, "id");
    struct channel channel;
    int found;

    if (id_decode(ID_CHANNEL, name, id))
        return 0;
    found = channel_load(call->hub->db, call->arena, CHANNEL_NAME(call->tenant_id, name), &channel, err);
    if (found == 1)
        *id = channel.id;
    return found == 0 ? op_not_found(call, err) : found < 0 ? -1 : 0;
}

/* --- Adding and changing ----------------------------------------------------------------------------------------- */

static int read_edit(struct op_call *call, struct channel_edit *edit, struct err *err)
{
    struct str settings = field_text(&call->in, "settings");

    edit->name = field_text(&call->in, "name");
    edit->region = field_text(&call->in, "region");
    edit->agent = field_text(&call->in, "agent");
    edit->auto_reply = field_text(&call->in, "auto_reply");
    edit->help_text = field_text(&call->in, "help_text");
    edit->policy = field_number(&call->in, "policy", -1);
    edit->debounce_ms = field_number(&call->in, "debounce_ms", -1);
    edit->rates.per_second = field_number(&call->in, "per_second", -1);
    edit->rates.per_hour = field_number(&call->in, "per_hour", -1);
    edit->rates.per_day = field_number(&call->in, "per_day", -1);
    edit->rates.per_contact_hour = field_number(&call->in, "per_contact_hour", -1);
    edit->rates.spacing_ms = field_number(&call->in, "spacing_ms", -1);
    edit->rates.new_per_day = field_number(&call->in, "new_per_day", -1);
    edit->rates.warmup_days = field_number(&call->in, "warmup_days", -1);
    if (!settings.data)
        return 0;
    edit->settings = json_parse(call->arena, settings, err);
    return edit->settings ? 0 : -1;
}

static int add_tx(struct db_session *tx, void *arg, struct err *err)
{
    return channel_add(tx, &((struct work *)arg)->edit, err);
}

static enum op_done add(struct op_call *call, struct err *err)
{
    int64_t id = ids_next(call->hub->ids, err);
    struct work work = { call, channel_edit(call->arena, call->tenant_id, id, clock_ms()) };

    if (id < 0 || read_edit(call, &work.edit, err) < 0)
        return OP_FAILED;
    work.edit.kind = field_text(&call->in, "kind");
    if (!work.edit.settings)
        work.edit.settings = json_parse(call->arena, STR("{}"), err);
    call->object = id_text(call->arena, ID_CHANNEL, id);
    return op_write(call, add_tx, render, &work, err);
}

static int change_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct work *work = arg;

    if (channel_update(tx, &work->edit, err) == 0)
        return 0;
    return err->code == ERR_NOT_FOUND ? op_not_found(work->call, err) : -1;
}

static enum op_done change_state(struct op_call *call, int64_t state, struct err *err)
{
    struct work work = { .call = call };
    int64_t id;

    if (find(call, &id, err) < 0)
        return OP_FAILED;
    work.edit = channel_edit(call->arena, call->tenant_id, id, clock_ms());
    work.edit.state = state;
    call->object = id_text(call->arena, ID_CHANNEL, id);
    return op_write(call, change_tx, render, &work, err);
}

static enum op_done enable(struct op_call *call, struct err *err)
{
    return change_state(call, CHANNEL_ENABLED, err);
}

static enum op_done disable(struct op_call *call, struct err *err)
{
    return change_state(call, CHANNEL_DISABLED, err);
}

static enum op_done change(struct op_call *call, struct err *err)
{
    struct work work = { .call = call };
    int64_t id;

    if (find(call, &id, err) < 0)
        return OP_FAILED;
    work.edit = channel_edit(call->arena, call->tenant_id, id, clock_ms());
    if (read_edit(call, &work.edit, err) < 0)
        return OP_FAILED;
    call->object = id_text(call->arena, ID_CHANNEL, id);
    return op_write(call, change_tx, render, &work, err);
}

/* --- Looking ----------------------------------------------------------------------------------------------------- */

static enum op_done get(struct op_call *call, struct err *err)
{
    struct channel_row row = { .tenant_id = call->tenant_id };
    struct db_session *session;
    int found;

    if (find(call, &row.id, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    found = channel_row_get(session, call->arena, &row, err);
    if (found == 1 && limit_next_send(session, row.id, 0, &row.health.next_send_ms, err) < 0)
        found = -1;
    db_read_end(session);
    if (found < 1)
        return found < 0 ? OP_FAILED : op_not_found(call, err);
    put_row(call, &row);
    return OP_DONE;
}

static enum op_done list(struct op_call *call, struct err *err)
{
    int limit = op_list_limit(call);
    struct channel_page page = { .tenant_id = call->tenant_id, .limit = limit };
    struct db_session *session;
    int64_t last = 0;
    bool given;
    int failed;

    if (op_list_cursor(call, &page.after_id, 1, &given, err) < 0)
        return OP_FAILED;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    failed = channel_rows(session, call->arena, &page, err);
    for (int i = 0; !failed && i < page.count; i++)
        failed = limit_next_send(session, page.rows[i].id, 0, &page.rows[i].health.next_send_ms, err);
    db_read_end(session);
    if (failed)
        return OP_FAILED;
    op_list_begin(call);
    for (int i = 0; i < page.count; i++) {
        last = page.rows[i].id;
        put_row(call, &page.rows[i]);
    }
    op_list_end(call, &last, page.count == limit);
    return OP_DONE;
}

static void put_kind(struct json_writer *out, const struct channel_driver *driver)
{
    static const struct {
        const char *word;
        unsigned bit;
    } abilities[] = {
        { "text", CHANNEL_CAN_TEXT }, { "media", CHANNEL_CAN_MEDIA }, { "reply", CHANNEL_CAN_REPLY },
        { "react", CHANNEL_CAN_REACT }, { "edit", CHANNEL_CAN_EDIT }, { "receipt", CHANNEL_CAN_RECEIPT },
        { "delete", CHANNEL_CAN_DELETE }, { "read", CHANNEL_CAN_READ }, { "typing", CHANNEL_CAN_TYPING },
        { "group", CHANNEL_CAN_GROUP },
    };

    json_object_begin(out);
    json_cstr_at(out, "kind", driver->kind);
    json_cstr_at(out, "title", driver->title);
    json_cstr_at(out, "about", driver->about);
    json_bool_at(out, "sends", channel_sends(driver));
    json_bool_at(out, "receives", driver->receive || driver->poll);
    json_key(out, "can");
    json_array_begin(out);
    for (size_t i = 0; i < sizeof abilities / sizeof abilities[0]; i++)
        if (driver->can & abilities[i].bit)
            json_put_text(out, str_c(abilities[i].word));
    json_array_end(out);
    json_int_at(out, "text_max", (int64_t)driver->text_max);
    json_key(out, "settings");
    field_table_schema(out->out, driver->settings);
    out->comma = true;
    json_object_end(out);
}

static enum op_done kinds(struct op_call *call, struct err *err)
{
    (void)err;
    op_list_begin(call);
    for (const struct channel_driver *const *driver = channel_drivers; *driver; driver++)
        put_kind(&call->out, *driver);
    op_list_end(call, NULL, 0);
    return OP_DONE;
}

/* --- Testing ----------------------------------------------------------------------------------------------------- */

/* May take as long as an exchange does: not on a thread that others wait for. */
static enum op_done probe(struct op_call *call, struct err *err)
{
    const struct channel *channel = call->later;
    struct probe_report report = { .arena = call->arena, .json = &call->out };
    struct err why = { 0 };
    int failed = 0;

    (void)err;
    json_object_begin(&call->out);
    json_key(&call->out, "facts");
    json_object_begin(&call->out);
    if (channel->driver->probe)
        failed = channel->driver->probe(channel, call->hub->exchange, &report, &why);
    json_object_end(&call->out);
    json_bool_at(&call->out, "ok", !failed);
    json_text_at(&call->out, "summary", failed ? str_c(why.detail) : report.summary.data ? report.summary
                                                                     : STR("There is nothing to test."));
    json_text_at(&call->out, "hint", failed && why.hint[0] ? str_c(why.hint) : (struct str){ 0 });
    json_object_end(&call->out);
    return OP_DONE;
}

static enum op_done test(struct op_call *call, struct err *err)
{
    struct channel *channel = arena_alloc(call->arena, sizeof *channel);
    int64_t id;
    int found;

    if (find(call, &id, err) < 0)
        return OP_FAILED;
    found = channel_load(call->hub->db, call->arena, CHANNEL_ID(call->tenant_id, id), channel, err);
    if (found < 1)
        return found < 0 ? OP_FAILED : op_not_found(call, err);
    call->later = channel;
    op_slow(call, probe);
    return OP_LATER;
}

/* --- The table --------------------------------------------------------------------------------------------------- */

#define CHANNEL { "id", FIELD_TEXT, FIELD_PATH, "Id or name of the channel.", 1, LIMIT_NAME_BYTES }
#define RATE(name, help) { name, FIELD_INT, 0, help, 0, 1000000 }
#define SETTINGS_FIELDS \
    { "settings", FIELD_OBJECT, 0, "What its kind needs; `channels kinds` says what.", 0, LIMIT_SETTINGS_BYTES }, \
    { "policy", FIELD_ENUM, 0, "Who answers when no rule does.", 0, 0, "auto_reply|follow_up|human_takeover" }, \
    { "agent", FIELD_TEXT, 0, "The agent that answers; the empty text: none.", 0, 40, NULL, NULL, NULL, "echo" }, \
    { "auto_reply", FIELD_TEXT, 0, "The text of the policy auto_reply.", 0, LIMIT_METADATA_BYTES }, \
    { "help_text", FIELD_TEXT, 0, "The answer to HELP, where the provider gives none; empty: the hub's own.", 0, \
      LIMIT_METADATA_BYTES }, \
    { "debounce_ms", FIELD_INT, 0, "How long to wait for the rest of a burst.", 0, LIMIT_DEBOUNCE_MAX_MS }, \
    { "region", FIELD_TEXT, 0, "Country of numbers that are written without one.", 0, 2, NULL, NULL, NULL, "DE" }, \
    RATE("per_second", "Messages that may leave in a second; 0: no limit."), \
    RATE("per_hour", "In an hour."), RATE("per_day", "In a day."), \
    RATE("per_contact_hour", "To one contact in an hour."), \
    RATE("spacing_ms", "Least time between two messages to one contact."), \
    RATE("new_per_day", "Contacts in a day that are written to first, who never wrote."), \
    RATE("warmup_days", "Days in which a new channel grows to its limits per day.")

static const struct field none[] = { { 0 } };
static const struct field list_fields[] = { OP_LIST_FIELDS, { 0 } };
static const struct field id_fields[] = { CHANNEL, { 0 } };
static const struct field add_fields[] = {
    { "kind", FIELD_TEXT, FIELD_REQUIRED, "What it is; `channels kinds` lists them.", 1, 40, NULL, NULL, NULL,
      "android" },
    { "name", FIELD_TEXT, 0, "A name that no other channel has; its kind when left out.", 1, LIMIT_NAME_BYTES },
    SETTINGS_FIELDS, { 0 }
};
static const struct field change_fields[] = {
    CHANNEL, { "name", FIELD_TEXT, 0, "Its new name.", 1, LIMIT_NAME_BYTES }, SETTINGS_FIELDS, { 0 }
};
static const struct field shape[] = {
    { "hook_path", FIELD_TEXT, 0, "Where its provider sends webhooks.", 0, 300 },
    { "secrets", FIELD_TEXTS, 0, "The secret settings that are set; never their values.", 0, 64 },
    { 0 }
};
static const struct field kind_shape[] = {
    { "kind", FIELD_TEXT, 0, "The word for it.", 0, 40 },
    { "title", FIELD_TEXT, 0, "Its name.", 0, 100 },
    { "about", FIELD_TEXT, 0, "What it is and what it needs.", 0, 1000 },
    { "sends", FIELD_BOOL, 0, "Messages can go out." },
    { "receives", FIELD_BOOL, 0, "Messages can come in." },
    { "can", FIELD_TEXTS, 0, "What it is able to do.", 0, 20 },
    { "text_max", FIELD_INT, 0, "The longest part of a text.", 0, INT64_MAX },
    { "settings", FIELD_OBJECT, 0, "The JSON schema of its settings." },
    { 0 }
};
static const struct field test_shape[] = {
    { "ok", FIELD_BOOL, 0, "It works." },
    { "summary", FIELD_TEXT, 0, "In a sentence.", 0, 1000 },
    { "hint", FIELD_TEXT, FIELD_NULLABLE, "What to do when it does not.", 0, 1000 },
    { "facts", FIELD_OBJECT, 0, "What was found." },
    { 0 }
};

#define COLUMNS "id,name,kind,state,policy,next=next_send_at,heard=last_heard_at,alarm,error=last_error"
#define ONE .answer = channel_columns, .shape = shape, .cli_columns = COLUMNS

static const struct op ops[] = {
    { .name = "channel.kinds", .method = HTTP_GET, .path = "/api/v1/channels/kinds", .scope = SCOPE_READ, .run = kinds,
      .summary = "List the kinds of channel there are, with their settings.", .fields = none, .flags = OP_LIST,
      .shape = kind_shape, .cli = "channels kinds", .cli_columns = "kind,title,about", .example = "channels kinds" },
    { .name = "channel.add", .method = HTTP_POST, .path = "/api/v1/channels", .scope = SCOPE_MANAGE, .run = add,
      .summary = "Add a channel.", .fields = add_fields, .flags = OP_CREATES, ONE, .cli = "channels add",
      .cli_args = "kind name", .example = "channels add sandbox demo --agent echo --policy follow_up" },
    { .name = "channel.list", .method = HTTP_GET, .path = "/api/v1/channels", .scope = SCOPE_READ, .run = list,
      .summary = "List channels: their state, when they may send next, when they were heard last.",
      .fields = list_fields, .flags = OP_LIST, ONE, .cli = "channels", .example = "channels" },
    { .name = "channel.get", .method = HTTP_GET, .path = "/api/v1/channels/{id}", .scope = SCOPE_READ, .run = get,
      .summary = "Show one channel.", .fields = id_fields, ONE, .cli = "channels get", .cli_args = "id",
      .example = "channels get sandbox" },
    { .name = "channel.update", .method = HTTP_PATCH, .path = "/api/v1/channels/{id}", .scope = SCOPE_MANAGE,
      .run = change, .summary = "Change a channel; what is left out stays.", .fields = change_fields, ONE,
      .cli = "channels update", .cli_args = "id", .example = "channels update sandbox --agent echo" },
    { .name = "channel.test", .method = HTTP_POST, .path = "/api/v1/channels/{id}/test", .scope = SCOPE_MANAGE,
      .run = test, .summary = "Ask the provider whether the channel works, and what to do if not.",
      .fields = id_fields, .shape = test_shape, .cli = "channels test", .cli_args = "id",
      .cli_columns = "ok,summary,hint", .example = "channels test sandbox" },
    { .name = "channel.enable", .method = HTTP_POST, .path = "/api/v1/channels/{id}/enable", .scope = SCOPE_MANAGE,
      .run = enable, .summary = "Switch a channel on.", .fields = id_fields, ONE, .cli = "channels enable",
      .cli_args = "id", .example = "channels enable sandbox" },
    { .name = "channel.disable", .method = HTTP_POST, .path = "/api/v1/channels/{id}/disable", .scope = SCOPE_MANAGE,
      .run = disable, .summary = "Switch a channel off: nothing is sent, its hook answers 503.", .fields = id_fields,
      ONE, .cli = "channels disable", .cli_args = "id", .example = "channels disable sandbox" },
};

const struct op_table ops_channels = { "channels", ops, sizeof ops / sizeof *ops };
