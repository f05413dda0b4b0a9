/* What of a group is stored already: by the external id, which is unique per channel and direction,
 * and inside the group itself. One look-up for all of them. */
#include "base/arena.h"
#include "core/inbox_group.h"

#include <stdlib.h>
#include <string.h>

static int compare_texts(struct str a, struct str b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_keys(const struct inbox_line *a, const struct inbox_line *b)
{
    if (a->write->tenant_id != b->write->tenant_id)
        return a->write->tenant_id < b->write->tenant_id ? -1 : 1;
    if (a->write->channel_id != b->write->channel_id)
        return a->write->channel_id < b->write->channel_id ? -1 : 1;
    if (a->direction != b->direction)
        return a->direction < b->direction ? -1 : 1;
    return compare_texts(a->external_id, b->external_id);
}

static int compare_lines(const void *a, const void *b)
{
    const struct inbox_line *x = *(struct inbox_line *const *)a;
    const struct inbox_line *y = *(struct inbox_line *const *)b;
    int order = compare_keys(x, y);

    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int compare_to_key(const void *key, const void *line)
{
    return compare_keys(key, *(struct inbox_line *const *)line);
}

/* The lines with external ids, sorted; twins of an earlier line are marked and left out. */
static void sort_keyed(struct inbox_group *group)
{
    struct inbox_line **keyed = arena_array(group->arena, group->line_count, sizeof *keyed);
    size_t count = 0;

    for (size_t i = 0; i < group->line_count; i++)
        if (group->lines[i]->external_id.data)
            keyed[count++] = group->lines[i];
    qsort(keyed, count, sizeof(struct inbox_line *), compare_lines);
    group->keyed = keyed;
    for (size_t i = 0; i < count; i++) {
        struct inbox_line *line = keyed[i];

        if (group->keyed_count > 0 && compare_keys(keyed[group->keyed_count - 1], line) == 0)
            line->twin = keyed[group->keyed_count - 1];
        else
            keyed[group->keyed_count++] = line;
    }
}

static struct inbox_line *find_line(struct inbox_group *group, const struct inbox_line *key)
{
    struct inbox_line **found = bsearch(key, group->keyed, group->keyed_count,
                                        sizeof *group->keyed, compare_to_key);

    return found ? *found : NULL;
}

static void found_stored(struct inbox_line *line, int64_t id, int64_t device_id)
{
    line->duplicate = true;
    line->first_device_id = device_id;
    line->result->message_id = id;
    /* the group was stored before its link broke: these are our own rows */
    line->result->outcome = id == line->message_id ? INBOX_STORED : INBOX_DUPLICATE;
}

static int look_up(struct inbox_group *group, struct err *err)
{
    size_t count = group->keyed_count;
    struct db_value *values = arena_array(group->arena, count * 4, sizeof *values);
    struct db_set set = {
        "WITH v(tenant_id, channel_id, direction, external_id) AS (:rows:) "
        "SELECT m.id, m.tenant_id, m.channel_id, m.direction, m.external_id, m.device_id "
        "FROM v JOIN messages m ON m.tenant_id = v.tenant_id AND m.channel_id = v.channel_id "
        "AND m.direction = v.direction AND m.external_id = v.external_id", "iiit", values, count };
    struct db_rows *rows;
    int found;

    for (size_t i = 0; i < count; i++) {
        const struct inbox_line *line = group->keyed[i];

        values[i * 4] = db_int(line->write->tenant_id);
        values[i * 4 + 1] = db_int(line->write->channel_id);
        values[i * 4 + 2] = db_int(line->direction);
        values[i * 4 + 3] = db_text(line->external_id);
    }
    rows = db_query_rows(group->tx, &set, err);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct inbox_write write = { .tenant_id = db_col_int(rows, 1),
                                     .channel_id = db_col_int(rows, 2) };
        struct inbox_line key = { .write = &write, .external_id = db_col_text(rows, 4) };

        key.direction = (enum message_direction)db_col_int(rows, 3);
        found_stored(find_line(group, &key), db_col_int(rows, 0), db_col_int(rows, 5));
    }
    return !rows || found < 0 ? -1 : 0;
}

/* A group that is run again may have been committed: then its rows without external ids are found
 * by the ids drawn for them. */
static int look_up_own(struct inbox_group *group, struct err *err)
{
    for (size_t i = 0; i < group->line_count; i++) {
        struct inbox_line *line = group->lines[i];
        int64_t id;

        if (line->external_id.data)
            continue;
        if (db_query_int(group->tx, "SELECT id FROM messages WHERE id = $1",
                         DB_ARGS(db_int(line->message_id)), 0, &id, err))
            return -1;
        if (id)
            found_stored(line, id, line->write->device_id);
    }
    return 0;
}

/* A second device that brings the same message is remembered beside the first. */
static int add_source(struct inbox_group *group, const struct inbox_line *line, struct err *err)
{
    int64_t device_id = line->write->device_id;
    const struct inbox_prepared *prepared = line->write->prepared;

    if (line->result->outcome != INBOX_DUPLICATE || !device_id
        || device_id == line->first_device_id)
        return 0;
    return db_exec(group->tx,
        "INSERT INTO message_sources (message_id, device_id, tenant_id, received_ms) "
        "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        DB_ARGS(db_int(line->result->message_id), db_int(device_id),
                db_int(line->write->tenant_id), db_int(prepared->received_ms)), err) < 0 ? -1 : 0;
}

/* The id of the message that this one answers: earlier in this group, or stored before. */
static int find_reply_target(struct inbox_group *group, struct inbox_line *line, struct err *err)
{
    struct inbox_line key = { .write = line->write, .external_id = line->event->reply_to };

    for (int direction = MESSAGE_IN; direction <= MESSAGE_OUT; direction++) {
        const struct inbox_line *other;

        key.direction = (enum message_direction)direction;
        other = find_line(group, &key);
        if (other && other->order < line->order) {
            line->reply_to_id = other->result->message_id;
            return 0;
        }
    }
    return db_query_int(group->tx,
        "SELECT id FROM messages WHERE tenant_id = $1 AND channel_id = $2 AND direction IN (0, 1) "
        "AND external_id = $3 ORDER BY id LIMIT 1",
        DB_ARGS(db_int(line->write->tenant_id), db_int(line->write->channel_id),
                db_text(line->event->reply_to)), 0, &line->reply_to_id, err);
}

/* Settle one line: duplicate, echo, or kept. Twins come after the line they repeat. */
static int settle(struct inbox_group *group, struct inbox_line *line, struct err *err)
{
    int is_echo;

    if (line->twin) {
        line->duplicate = true;
        line->first_device_id = line->twin->duplicate ? line->twin->first_device_id
                                                      : line->twin->write->device_id;
        line->result->outcome = INBOX_DUPLICATE;
        line->result->message_id = line->twin->result->message_id;
    }
    if (line->duplicate)
        return add_source(group, line, err);
    if (line->event->kind == CHANNEL_OWN_MESSAGE) {
        is_echo = inbox_is_echo(group->tx, line, err);
        if (is_echo)
            return is_echo < 0 ? -1 : 0;
    }
    if (line->event->reply_to.len > 0 && find_reply_target(group, line, err))
        return -1;
    line->result->outcome = INBOX_STORED;
    line->result->message_id = line->message_id;
    group->kept[group->kept_count++] = line;
    return 0;
}

int inbox_find(struct inbox_group *group, struct err *err)
{
    sort_keyed(group);
    if (group->keyed_count > 0 && look_up(group, err))
        return -1;
    if (group->repeated && look_up_own(group, err))
        return -1;
    for (size_t i = 0; i < group->line_count; i++)
        if (settle(group, group->lines[i], err))
            return -1;
    return 0;
}
