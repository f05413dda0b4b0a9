/* contacts.c - the people the channels reach. */
#include "api/find.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/consent.h"
#include "core/contact.h"
#include "core/identity.h"
#include "core/person.h"

#include <string.h>

/* --- Inputs ---------------------------------------------------------------------------------------------------- */

#define ID { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The contact.", 0, 0, ID_CONTACT }

static const struct field list_fields[] = {
    { "channel", FIELD_TEXT, FIELD_QUERY, "Only those of this channel, by name or id.", 1, LIMIT_NAME_BYTES, NULL,
      NULL, NULL,
      "sandbox" },
    { "q", FIELD_TEXT, FIELD_QUERY, "Part of the name or the address.", 1, LIMIT_ADDRESS_BYTES, NULL, NULL, NULL,
      "ada" },
    { "opted_out", FIELD_BOOL, FIELD_QUERY, "Only those who want no more messages.", 0, 0, NULL, "false" },
    { "person", FIELD_ID, FIELD_QUERY, "Only those of this person.", 0, 0, ID_PERSON },
    OP_LIST_FIELDS,
    { 0 }
};

static const struct field id_fields[] = { ID, { 0 } };

static const struct field update_fields[] = {
    ID,
    { "name", FIELD_TEXT, FIELD_NULLABLE | FIELD_PERSONAL, "What the contact is called; null removes it.", 0,
      LIMIT_NAME_BYTES, NULL, NULL, NULL, "Ada Lovelace" },
    { "time_zone", FIELD_TEXT, FIELD_NULLABLE, "Where the contact is; null removes it.", 0, 64, NULL, NULL, NULL,
      "Europe/London" },
    { "metadata", FIELD_OBJECT, FIELD_NULLABLE, "What you note about the contact; null removes it.", 0,
      LIMIT_METADATA_BYTES,
      NULL, NULL, NULL, "{\"customer\":\"4711\"}" },
    { 0 }
};

static const struct field opt_out_fields[] = {
    ID,
    { "reason", FIELD_TEXT, 0, "How the contact said so.", 0, LIMIT_NAME_BYTES, NULL, NULL, NULL, "by phone" },
    { 0 }
};

static const struct field known_shape[] = {
    { "identifiers", FIELD_TEXTS, FIELD_REQUIRED, "Further addresses that its provider gave, oldest first.", 0,
      IDENTITIES_SHOWN },
    { "maybe_same", FIELD_TEXTS, FIELD_REQUIRED,
      "Contacts of other channels with the same number or email address; link those that are one person.", 0,
      PERSON_SAME_MAX },
    { 0 }
};

/* --- Reading --------------------------------------------------------------------------------------------------- */

static void put_contact(struct op_call *call, const struct contact *contact)
{
    json_object_begin(&call->out);
    row_json(&call->out, contact_columns, contact);
    json_object_end(&call->out);
}

/* With what is read beside the row: its further identifiers, and who may be the same person. */
static int put_known(struct op_call *call, struct db_session *session, const struct contact *contact, struct err *err)
{
    const struct identity of = { .tenant_id = contact->tenant_id, .contact_id = contact->id };
    struct str *identifiers;
    int64_t same[PERSON_SAME_MAX];
    int identifier_count = identity_list(session, call->arena, &of, &identifiers, err);
    int same_count = identifier_count < 0 ? -1 : person_same(session, contact, same, err);

    if (same_count < 0)
        return -1;
    json_object_begin(&call->out);
    row_json(&call->out, contact_columns, contact);
    json_key(&call->out, "identifiers");
    json_array_begin(&call->out);
    for (int i = 0; i < identifier_count; i++)
        json_put_text(&call->out, identifiers[i]);
    json_array_end(&call->out);
    json_key(&call->out, "maybe_same");
    json_array_begin(&call->out);
    for (int i = 0; i < same_count; i++)
        json_put_text(&call->out, str_c(id_text(call->arena, ID_CONTACT, same[i])));
    json_array_end(&call->out);
    json_object_end(&call->out);
    return 0;
}

static enum op_done list(struct op_call *call, struct err *err)
{
    struct contact_filter filter = { .tenant_id = call->tenant_id, .text = field_text(&call->in, "q"),
                                     .opted_out = field_flag(&call->in, "opted_out"),
                                     .person_id = field_number(&call->in, "person", 0),
                                     .limit = op_list_limit(call) + 1 };
    struct db_session *session;
    struct channel channel;
    struct contact *contacts;
    bool given;
    int count;

    if (op_list_cursor(call, &filter.after_id, 1, &given, err) < 0)
        return OP_FAILED;
    if (field_get(&call->in, "channel")) {
        if (find_channel(call, "channel", &channel, err) < 0)
            return OP_FAILED;
        filter.channel_id = channel.id;
    }
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    count = contact_list(session, call->arena, &filter, &contacts, err);
    op_list_begin(call);
    for (int i = 0; i < count && i < filter.limit - 1; i++)
        if (put_known(call, session, &contacts[i], err))
            count = -1;
    db_read_end(session);
    if (count < 0)
        return OP_FAILED;
    op_list_end(call, count == filter.limit ? &contacts[count - 2].id : NULL, count == filter.limit);
    return OP_DONE;
}

static enum op_done get(struct op_call *call, struct err *err)
{
    struct contact contact = { .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found;

    if (!session)
        return OP_FAILED;
    found = contact_get(session, call->arena, &contact, err);
    if (found == 1 && put_known(call, session, &contact, err))
        found = -1;
    db_read_end(session);
    return found == 1 ? OP_DONE : found < 0 ? OP_FAILED : op_not_found(call, err);
}

/* --- Changing -------------------------------------------------------------------------------------------------- */

struct edit {
    struct op_call *call;
    struct contact change;          /* what is wanted */
    struct consent consent;
    struct contact contact;         /* as it is stored then */
};

static int render(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    put_contact(call, &((struct edit *)arg)->contact);
    return 0;
}

/* `done` is a change's answer: 1, 0 unknown, -1. */
static int read_again(struct db_session *tx, struct edit *edit, int done, struct err *err)
{
    edit->contact = (struct contact){ .id = field_number(&edit->call->in, "id", 0),
        .tenant_id = edit->call->tenant_id };
    if (done == 1)
        done = contact_get(tx, edit->call->arena, &edit->contact, err);
    return done == 1 ? 0 : done < 0 ? -1 : op_not_found(edit->call, err);
}

static int update_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    return read_again(tx, edit, contact_update(tx, &edit->change, err), err);
}

static int consent_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    return read_again(tx, edit, consent_note(tx, &edit->consent, err), err);
}

/* Absent: leave it; null: the empty text, which removes it. */
static struct str change_of(const struct op_call *call, const char *name)
{
    const struct value *value = field_get(&call->in, name);

    return !value ? (struct str){ 0 } : value->is_null ? STR("") : value->text;
}

/* "Europe/London", "UTC", "Etc/GMT+5": the shape; the names themselves change from year to year. */
static bool is_time_zone(struct str name)
{
    if (name.len > 0 && !((name.data[0] | 32) >= 'a' && (name.data[0] | 32) <= 'z'))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/+-", name.data[i]))
            return false;
    return true;
}

static enum op_done update(struct op_call *call, struct err *err)
{
    struct edit edit = { .call = call, .change = { .id = field_number(&call->in, "id", 0), .tenant_id = call->tenant_id,
        .name = str_nfc(call->arena, change_of(call, "name")), .time_zone = change_of(call, "time_zone"),
        .metadata = change_of(call, "metadata") } };

    if (!is_time_zone(edit.change.time_zone)) {
        err_field(err, "time_zone", "\"time_zone\" must be the name of a time zone.");
        err_hint(err, "For example: Europe/London");
        return OP_FAILED;
    }
    return op_write(call, update_tx, render, &edit, err);
}

static enum op_done note(struct op_call *call, bool opted_out, struct str reason, struct err *err)
{
    struct edit edit = { .call = call, .consent = { .tenant_id = call->tenant_id, .opted_out = opted_out,
        .reason = reason, .by = CONSENT_PERSON,
        .contact_id = field_number(&call->in, "id", 0), .at_ms = clock_ms() } };

    return op_write(call, consent_tx, render, &edit, err);
}

static enum op_done opt_out(struct op_call *call, struct err *err)
{
    return note(call, true, field_text(&call->in, "reason"), err);
}

static enum op_done opt_in(struct op_call *call, struct err *err)
{
    return note(call, false, (struct str){ 0 }, err);
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op rows[] = {
    { .name = "contact.list", .method = HTTP_GET, .path = "/api/v1/contacts", .scope = SCOPE_READ,
      .summary = "List contacts, newest first.", .fields = list_fields, .run = list, .flags = OP_LIST,
      .answer = contact_columns, .shape = known_shape, .cli = "contacts",
      .cli_columns = "id,name,address,opted_out=opted_out_at,by=opted_out_by,person=person_id,maybe_same",
      .example = "contacts --q ada" },
    { .name = "contact.get", .method = HTTP_GET, .path = "/api/v1/contacts/{id}", .scope = SCOPE_READ,
      .summary = "Show one contact.", .fields = id_fields, .run = get, .answer = contact_columns,
      .shape = known_shape, .cli = "contacts get",
      .cli_args = "id", .example = "contacts get con_0123456789abc" },
    { .name = "contact.update", .method = HTTP_PATCH, .path = "/api/v1/contacts/{id}", .scope = SCOPE_MANAGE,
      .summary = "Change a contact's name, time zone or metadata.", .fields = update_fields, .run = update,
      .answer = contact_columns, .cli = "contacts update", .cli_args = "id", .cli_columns = "id,name,address,time_zone",
      .example = "contacts update con_0123456789abc --name \"Ada Lovelace\"" },
    { .name = "contact.opt_out", .method = HTTP_PUT, .path = "/api/v1/contacts/{id}/opt-out", .scope = SCOPE_MANAGE,
      .summary = "Note that the contact wants no more messages; none are sent from then on.", .fields = opt_out_fields,
      .run = opt_out, .answer = contact_columns, .cli = "contacts opt-out", .cli_args = "id",
      .cli_columns = "id,name,address,opted_out=opted_out_at,by=opted_out_by,why=opted_out_text",
      .example = "contacts opt-out con_0123456789abc --reason \"by phone\"" },
    { .name = "contact.opt_in", .method = HTTP_DELETE, .path = "/api/v1/contacts/{id}/opt-out", .scope = SCOPE_MANAGE,
      .summary = "Note that the contact wants messages again.", .fields = id_fields, .run = opt_in,
      .answer = contact_columns, .cli = "contacts opt-in", .cli_args = "id",
      .cli_columns = "id,name,address,opted_out=opted_out_at,by=opted_out_by,why=opted_out_text",
      .example = "contacts opt-in con_0123456789abc" },
};

const struct op_table ops_contacts = { "contacts", rows, sizeof rows / sizeof *rows };
