#include "api/message_shape.h"

#include "base/id.h"
#include "base/json.h"

void message_shape_members(struct json_writer *out, const struct message *message, const struct tag_set *tags)
{
    size_t count, files;
    const struct tag_of *tag = tag_set_find(tags, message->id, &count);
    const struct attachment *file = attachment_set_find(&tags->files, message->id, &files);

    row_json(out, message_columns, message);
    json_text_at(out, message->direction == MESSAGE_IN ? "from" : "to", message->address);
    json_key(out, "tags");
    json_array_begin(out);
    for (size_t i = 0; i < count; i++)
        json_put_text(out, tag[i].tag);
    json_array_end(out);
    json_key(out, "attachments");
    json_array_begin(out);
    for (size_t i = 0; i < files; i++)
        attachment_json(out, &file[i]);
    json_array_end(out);
}

const struct field message_file_shape[] = {
    { "position", FIELD_INT, FIELD_REQUIRED, "Which of the message's files, from 0.", 0, LIMIT_ATTACHMENTS },
    { "state", FIELD_ENUM, FIELD_REQUIRED, "pending: still being fetched; failed: lost.", 0, 0,
      "pending|stored|failed" },
    { "media", FIELD_ID, FIELD_REQUIRED | FIELD_NULLABLE, "The file, once it is stored.", 0, 0, ID_MEDIA },
    { "url", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "Where to get it, with a key.", 0, LIMIT_NAME_BYTES },
    { "name", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "What it was called, made safe as a file name." },
    { "type", FIELD_TEXT, FIELD_REQUIRED, "What it is by its bytes; until it is stored, as announced." },
    { "size", FIELD_INT, FIELD_REQUIRED, "In bytes; until it is stored, as announced.", 0, INT64_MAX },
    { "reason", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "Why it is lost.", 0, LIMIT_DETAIL_BYTES },
    { 0 }
};

void message_shape_put(struct json_writer *out, const struct message *message, const struct tag_set *tags)
{
    if (message->times.deleted_ms) {
        message_json(out, message);
        return;
    }
    json_object_begin(out);
    message_shape_members(out, message, tags);
    json_object_end(out);
}
