/* media.c - files: bring one, get one, by its id, by its message, or by a link that needs no key. */
#include "api/file_answer.h"
#include "api/find.h"
#include "api/keep.h"
#include "api/multipart.h"
#include "base/arena.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/attachment.h"

/* --- Inputs ---------------------------------------------------------------------------------------------------- */

static const struct field add_fields[] = { { 0 } };

static const struct field get_fields[] = {
    { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The file.", 0, 0, ID_MEDIA },
    { 0 }
};

static const struct field attachment_fields[] = {
    { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The message.", 0, 0, ID_MESSAGE },
    { "n", FIELD_INT, FIELD_PATH | FIELD_REQUIRED, "Which of its files, from 0.", 0, LIMIT_ATTACHMENTS - 1 },
    { 0 }
};

static const struct field link_fields[] = {
    { "token", FIELD_TEXT, FIELD_PATH | FIELD_REQUIRED, "What the hub wrote into the link.", 1, LIMIT_NAME_BYTES },
    { 0 }
};

/* --- Bringing one ---------------------------------------------------------------------------------------------- */

static enum op_done add(struct op_call *call, struct err *err)
{
    struct str type = http_header(call->request, "Content-Type");
    struct multipart_file file = { .data = call->request->body };
    struct media media = { .tenant_id = call->tenant_id };

    if (multipart_is(type) && multipart_read(type, call->request->body, &file, err) < 0)
        return OP_FAILED;
    if (media_put(call->hub, call->arena, &media, file.data, err) < 0) {
        if (err->code == ERR_INVALID)
            err_hint(err, "Send its bytes as the body: curl --data-binary @PATH, or curl -F file=@PATH");
        return OP_FAILED;
    }
    json_object_begin(&call->out);
    row_json(&call->out, media_columns, &media);
    json_object_end(&call->out);
    return keep_answer(call, err);
}

/* --- Getting one ----------------------------------------------------------------------------------------------- */

/* 1, 0, -1; of the tenant, or with 0 of any. */
static int read_media(struct op_call *call, int64_t tenant_id, int64_t id, struct media *media, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, tenant_id, err);
    int found = -1;

    *media = (struct media){ .id = id, .tenant_id = tenant_id };
    if (session) {
        found = media_get(session, call->arena, media, err);
        db_read_end(session);
    }
    return found;
}

static enum op_done get(struct op_call *call, struct err *err)
{
    struct media media;
    int found = read_media(call, call->tenant_id, field_number(&call->in, "id", 0), &media, err);

    if (found != 1)
        return found < 0 ? OP_FAILED : (enum op_done)op_not_found(call, err);
    return file_answer(call, &media, (struct str){ 0 }, err);
}

static enum op_done explain(const struct attachment *attachment, struct err *err)
{
    if (attachment->state == ATTACHMENT_PENDING) {
        err_set(err, ERR_CONFLICT, "The file is still being fetched.");
        err_hint(err, "Wait for the event attachment.stored, or ask again in a few seconds.");
        return OP_FAILED;
    }
    err_set(err, ERR_GONE, "The file is lost: %.*s", STR_FMT(attachment->reason));
    err_hint(err, "Ask the sender to send it again.");
    return OP_FAILED;
}

static enum op_done get_attachment(struct op_call *call, struct err *err)
{
    struct attachment attachment = { .position = field_number(&call->in, "n", 0) };
    struct db_session *session;
    struct message message;
    struct media media;
    int found;

    if (find_message(call, field_number(&call->in, "id", 0), &message, err) < 0)
        return OP_FAILED;
    attachment.message_id = message.id;
    session = db_read(call->hub->db, call->tenant_id, err);
    if (!session)
        return OP_FAILED;
    found = attachment_get(session, call->arena, &attachment, err);
    db_read_end(session);
    if (found == 1 && attachment.state != ATTACHMENT_STORED)
        return explain(&attachment, err);
    if (found == 1)
        found = read_media(call, call->tenant_id, attachment.media_id, &media, err);
    if (found != 1)
        return found < 0 ? OP_FAILED : (enum op_done)op_not_found(call, err);
    return file_answer(call, &media, attachment.name, err);
}

static enum op_done get_link(struct op_call *call, struct err *err)
{
    struct media media;
    int64_t id = 0;
    int found = media_link_read(call->hub, field_text(&call->in, "token"), &id, err);

    if (found == 1)
        found = read_media(call, 0, id, &media, err);
    if (found != 1)
        return found < 0 ? OP_FAILED : (enum op_done)op_not_found(call, err);
    return file_answer(call, &media, (struct str){ 0 }, err);
}

/* --- The table ------------------------------------------------------------------------------------------------- */

static const struct op rows[] = {
    { .name = "media.upload", .method = HTTP_POST, .path = "/api/v1/media", .scope = SCOPE_SEND,
      .summary = "Upload a file, as the body itself or in a form; what no message takes is removed after a day.",
      .fields = add_fields, .run = add, .flags = OP_CREATES | OP_UPLOAD, .answer = media_columns },
    { .name = "media.get", .method = HTTP_GET, .path = "/api/v1/media/{id}", .scope = SCOPE_READ,
      .summary = "Get a file's bytes; a Range header asks for a part.", .fields = get_fields, .run = get,
      .flags = OP_FILE },
    { .name = "message.attachment", .method = HTTP_GET, .path = "/api/v1/messages/{id}/attachments/{n}",
      .scope = SCOPE_READ, .summary = "Get the bytes of one of a message's files.", .fields = attachment_fields,
      .run = get_attachment, .flags = OP_FILE },
    { .name = "media.link", .method = HTTP_GET, .path = "/media/{token}",
      .summary = "Get a file by a link that the hub gave to a provider; valid for an hour.", .fields = link_fields,
      .run = get_link, .flags = OP_FILE | OP_OPEN },
};

const struct op_table ops_media = { "media", rows, sizeof rows / sizeof *rows };
