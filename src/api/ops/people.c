/* people.c - one person behind several contacts: links, and the thread over all channels. */
#include "api/find.h"
#include "api/message_shape.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/person.h"
#include "core/tag_set.h"

/* --- Inputs ---------------------------------------------------------------------------------------------------- */

#define ID { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The contact.", 0, 0, ID_CONTACT }

static const struct field id_fields[] = { ID, { 0 } };

static const struct field link_fields[] = {
    ID,
    { "other", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The contact that is the same person.", 0, 0, ID_CONTACT },
    { 0 }
};

static const struct field thread_fields[] = { ID, OP_LIST_FIELDS, { 0 } };

static const struct field message_shape[] = { MESSAGE_SHAPE, MESSAGE_TAGS_SHAPE, { 0 } };

/* --- Links ------------------------------------------------------------------------------------------------------ */

struct edit {
    struct op_call *call;
    struct person_link link;
    struct contact contact;         /* as it is stored then */
};

static int render(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    json_object_begin(&call->out);
    row_json(&call->out, contact_columns, &((struct edit *)arg)->contact);
    json_object_end(&call->out);
    return 0;
}

static int read_again(struct db_session *tx, struct edit *edit, struct err *err)
{
    int found;

    edit->contact = (struct contact){ .id = edit->link.contact_id, .tenant_id = edit->link.tenant_id };
    found = contact_get(tx, edit->call->arena, &edit->contact, err);
    return found == 1 ? 0 : found < 0 ? -1 : op_not_found(edit->call, err);
}

static int link_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    return person_link(tx, &edit->link, err) < 0 ? -1 : read_again(tx, edit, err);
}

static int unlink_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct edit *edit = arg;

    return person_unlink(tx, &edit->link, err) < 0 ? -1 : read_again(tx, edit, err);
}

static struct edit edit_of(struct op_call *call)
{
    return (struct edit){ .call = call, .link = { .tenant_id = call->tenant_id, .at_ms = clock_ms(),
        .contact_id = field_number(&call->in, "id", 0) } };
}

static enum op_done link(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    edit.link.other_id = field_number(&call->in, "other", 0);
    edit.link.person_id = ids_next(call->hub->ids, err);
    return edit.link.person_id < 0 ? OP_FAILED : op_write(call, link_tx, render, &edit, err);
}

static enum op_done unlink(struct op_call *call, struct err *err)
{
    struct edit edit = edit_of(call);

    return op_write(call, unlink_tx, render, &edit, err);
}

/* --- The thread ------------------------------------------------------------------------------------------------- */

struct thread {
    struct message *messages;
    struct tag_set tags;
    int count;
};

static int read_thread(struct op_call *call, const struct person_page *page, struct thread *out, struct err *err)
{
    struct contact contact = { .id = page->contact_id, .tenant_id = page->tenant_id };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found = session ? contact_get(session, call->arena, &contact, err) : -1;

    if (found == 1) {
        out->count = person_messages(session, call->arena, page, &out->messages, err);
        out->tags = (struct tag_set){ .tenant_id = page->tenant_id, .messages = out->messages,
                                      .message_count = (size_t)(out->count < 0 ? 0 : out->count) };
        if (out->count < 0 || tag_set_read(session, call->arena, &out->tags, err))
            found = -1;
    }
    if (session)
        db_read_end(session);
    return found == 1 ? 0 : found < 0 ? -1 : op_not_found(call, err);
}

static enum op_done thread(struct op_call *call, struct err *err)
{
    struct person_page page = { .tenant_id = call->tenant_id, .contact_id = field_number(&call->in, "id", 0),
                                .limit = op_list_limit(call) + 1 };
    struct thread thread = { 0 };
    int64_t key[2];
    bool given;
    int shown;

    if (op_list_cursor(call, key, 2, &given, err) < 0)
        return OP_FAILED;
    if (given) {
        page.before_ms = key[0];
        page.before_id = key[1];
    }
    if (read_thread(call, &page, &thread, err) < 0)
        return OP_FAILED;
    shown = thread.count < page.limit ? thread.count : page.limit - 1;
    op_list_begin(call);
    for (int i = 0; i < shown; i++)
        message_shape_put(&call->out, &thread.messages[i], &thread.tags);
    if (thread.count == page.limit) {
        key[0] = thread.messages[shown - 1].times.received_ms;
        key[1] = thread.messages[shown - 1].id;
    }
    op_list_end(call, key, thread.count == page.limit ? 2 : 0);
    return OP_DONE;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

#define COLUMNS "id,name,address,person=person_id"

static const struct op rows[] = {
    { .name = "contact.link", .method = HTTP_PUT, .path = "/api/v1/contacts/{id}/links/{other}",
      .scope = SCOPE_MANAGE, .summary = "Note that two contacts are one person; their histories stay as they are.",
      .fields = link_fields, .run = link, .answer = contact_columns, .cli = "contacts link", .cli_args = "id other",
      .cli_columns = COLUMNS, .example = "contacts link con_0123456789abc con_123456789abcd" },
    { .name = "contact.unlink", .method = HTTP_DELETE, .path = "/api/v1/contacts/{id}/links", .scope = SCOPE_MANAGE,
      .summary = "Take a contact out of its person; everything is as it was before the link.", .fields = id_fields,
      .run = unlink, .answer = contact_columns, .cli = "contacts unlink", .cli_args = "id", .cli_columns = COLUMNS,
      .example = "contacts unlink con_0123456789abc" },
    { .name = "contact.messages", .method = HTTP_GET, .path = "/api/v1/contacts/{id}/messages", .scope = SCOPE_READ,
      .summary = "The messages of one person over all channels, newest first.", .fields = thread_fields,
      .run = thread, .flags = OP_LIST, .answer = message_columns, .shape = message_shape, .cli = "contacts messages",
      .cli_args = "id", .cli_columns = "at=received_at,id,from,to,text,state",
      .example = "contacts messages con_0123456789abc" },
};

const struct op_table ops_people = { "contacts", rows, sizeof rows / sizeof *rows };
