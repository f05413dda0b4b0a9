#include "core/tag_set.h"

#include "base/arena.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_TAGS 64

static int compare_texts(struct str a, struct str b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.data, b.data, shared);

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_tags(const void *a, const void *b)
{
    const struct tag_of *x = a, *y = b;

    if (x->message_id != y->message_id)
        return x->message_id < y->message_id ? -1 : 1;
    return compare_texts(x->tag, y->tag);
}

static void add(struct tag_set *set, struct arena *arena, size_t *room, struct tag_of tag)
{
    if (set->count == *room) {
        struct tag_of *grown = arena_array(arena, *room ? *room * 2 : FIRST_TAGS, sizeof *grown);

        if (set->count > 0)
            memcpy(grown, set->tags, set->count * sizeof *grown);
        set->tags = grown;
        *room = *room ? *room * 2 : FIRST_TAGS;
    }
    tag.tag.data = str_dup(arena, tag.tag);
    set->tags[set->count++] = tag;
}

int tag_set_read(struct db_session *session, struct arena *arena, struct tag_set *set, struct err *err)
{
    struct db_value *values = arena_array(arena, set->message_count * 2, sizeof *values);
    struct db_set asked = {
        "WITH v(tenant_id, message_id) AS (:rows:) SELECT t.message_id, t.tag FROM v JOIN message_tags t "
        "ON t.message_id = v.message_id AND t.tenant_id = v.tenant_id", "ii", values, set->message_count };
    struct db_rows *rows;
    size_t room = 0;
    int found;

    set->tags = NULL;
    set->count = 0;
    if (set->message_count == 0)
        return 0;
    for (size_t i = 0; i < set->message_count; i++) {
        values[i * 2] = db_int(set->tenant_id);
        values[i * 2 + 1] = db_int(set->messages[i].id);
    }
    set->files = (struct attachment_set){ .messages = set->messages, .message_count = set->message_count };
    if (attachment_set_read(session, arena, &set->files, err))
        return -1;
    rows = db_query_rows(session, &asked, err);
    while (rows && (found = db_next(rows, err)) == 1)
        add(set, arena, &room, (struct tag_of){ db_col_int(rows, 0), db_col_text(rows, 1) });
    if (!rows || found < 0)
        return -1;
    if (set->count > 1)
        qsort(set->tags, set->count, sizeof *set->tags, compare_tags);
    return 0;
}

const struct tag_of *tag_set_find(const struct tag_set *set, int64_t message_id, size_t *count)
{
    size_t low = 0, high = set->count, end;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (set->tags[middle].message_id < message_id)
            low = middle + 1;
        else
            high = middle;
    }
    for (end = low; end < set->count && set->tags[end].message_id == message_id; end++)
        continue;
    *count = end - low;
    return *count ? set->tags + low : NULL;
}
