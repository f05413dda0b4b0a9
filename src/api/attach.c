#include "api/attach.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/sign.h"
#include "core/media.h"

const struct field attach_fields[] = {
    { "media", FIELD_ID, 0, "A file that was uploaded.", 0, 0, ID_MEDIA },
    { "data", FIELD_TEXT, 0, "Its bytes in base64.", 1, LIMIT_BATCH_BYTES, NULL, NULL, NULL, "aGVsbG8=" },
    { "url", FIELD_URL, 0, "Where the hub fetches it: a public address.", 0, LIMIT_URL_BYTES, NULL, NULL, NULL,
      "https://example.com/picture.jpg" },
    { "name", FIELD_TEXT, FIELD_PERSONAL, "What to call it.", 0, LIMIT_NAME_BYTES, NULL, NULL, NULL, "hello.txt" },
    { 0 }
};

/* Does the tenant have the file? */
static int check_media(struct op_call *call, int64_t id, struct err *err)
{
    struct media media = { .id = id, .tenant_id = call->tenant_id };
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    int found = session ? media_get(session, call->arena, &media, err) : -1;

    if (session)
        db_read_end(session);
    if (found != 0)
        return found < 0 ? -1 : 0;
    err_field(err, "attachments", "There is no such file.");
    return err_hint(err, "Upload it first: message-hub media put FILE. What no message has is kept for a day.");
}

static int read_one(struct op_call *call, const struct fields *in, struct channel_attachment *file, struct err *err)
{
    struct str data = field_text(in, "data"), url = field_text(in, "url");
    int64_t media = field_number(in, "media", 0);

    *file = (struct channel_attachment){ .name = field_text(in, "name"), .ref = url, .is_public = url.data != NULL,
                                         .media_id = media };
    if ((media != 0) + (data.data != NULL) + (url.data != NULL) != 1) {
        err_field(err, "attachments", "A file is given as `media`, `data` or `url`, and as one of them only.");
        return err_hint(err, "For example: [{\"url\":\"https://example.com/picture.jpg\"}]");
    }
    if (data.data && !sign_unbase64(call->arena, data, &file->data)) {
        err_field(err, "attachments", "The `data` of a file is not base64.");
        return err_hint(err, "Encode the bytes with the usual alphabet and padding, in one line.");
    }
    return media ? check_media(call, media, err) : 0;
}

int attach_read(struct op_call *call, const struct fields *in, const struct channel_attachment **files, size_t *count,
                struct err *err)
{
    const struct value *given = field_get(in, "attachments");
    struct channel_attachment *list;

    *files = NULL;
    *count = 0;
    if (!given || given->count == 0)
        return 0;
    list = arena_array(call->arena, given->count, sizeof *list);
    for (size_t i = 0; i < given->count; i++)
        if (read_one(call, given->list[i], &list[i], err) < 0)
            return -1;
    *files = list;
    *count = given->count;
    return 0;
}
