/* message_shape.h - how messages look in answers: their columns, and members beside them. */
#pragma once

#include "base/field.h"
#include "base/limits.h"
#include "core/tag_set.h"

struct json_writer;

/* What every answer about a message has beside its columns: a member whose name depends on the direction. */
#define MESSAGE_SHAPE \
    { "from", FIELD_TEXT, 0, "Inbound: who wrote it.", 0, LIMIT_ADDRESS_BYTES }, \
    { "to", FIELD_TEXT, 0, "Outbound: whom it is for.", 0, LIMIT_ADDRESS_BYTES }

/* What lists have too. */
#define MESSAGE_TAGS_SHAPE \
    { "tags", FIELD_TEXTS, 0, "Its tags.", 0, LIMIT_TAGS_PER_MESSAGE }, \
    { "attachments", FIELD_LIST, 0, "Its files.", 0, LIMIT_ATTACHMENTS, NULL, NULL, message_file_shape }

/* One file of a message. */
extern const struct field message_file_shape[];

/* Write a message with its tags as a JSON object value; a deleted one as its tombstone. */
void message_shape_put(struct json_writer *out, const struct message *message, const struct tag_set *tags);

/* The members of a message that is not deleted, inside an object: for who adds others. */
void message_shape_members(struct json_writer *out, const struct message *message, const struct tag_set *tags);
