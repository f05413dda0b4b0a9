/* tag_set.h - what hangs on many messages, read at once: their tags and their files. */
#pragma once

#include "core/attachment.h"
#include "core/message.h"

struct arena;

struct tag_of {
    int64_t message_id;
    struct str tag;
};

struct tag_set {
    int64_t tenant_id;
    const struct message *messages;     /* whose tags */
    size_t message_count;
    struct tag_of *tags;                /* out: by message and tag, in the arena */
    size_t count;
    struct attachment_set files;        /* out */
};

/* Fill the set. 0, -1 failed. */
int tag_set_read(struct db_session *session, struct arena *arena, struct tag_set *set, struct err *err);

/* The first of a message's tags in the set, and how many it has; NULL when it has none. */
const struct tag_of *tag_set_find(const struct tag_set *set, int64_t message_id, size_t *count);
