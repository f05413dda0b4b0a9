#include "api/message_shape.h"

#include "base/json.h"

void message_shape_members(struct json_writer *out, const struct message *message, const struct tag_set *tags)
{
    size_t count;
    const struct tag_of *tag = tag_set_find(tags, message->id, &count);

    row_json(out, message_columns, message);
    json_text_at(out, message->direction == MESSAGE_IN ? "from" : "to", message->address);
    json_key(out, "tags");
    json_array_begin(out);
    for (size_t i = 0; i < count; i++)
        json_put_text(out, tag[i].tag);
    json_array_end(out);
}

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
