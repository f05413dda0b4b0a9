/* What new messages do to their conversations, for a whole group of them at once. */
#include "core/conversation.h"

#include "base/arena.h"
#include "core/event.h"

#include <stdlib.h>
#include <string.h>

#define CONVERSATION_COLUMNS 15
#define CONTACT_COLUMNS 8

static int compare_texts(struct str a, struct str b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

int conversation_compare(const struct conversation_touch *a, const struct conversation_touch *b)
{
    if (a->tenant_id != b->tenant_id)
        return a->tenant_id < b->tenant_id ? -1 : 1;
    if (a->channel_id != b->channel_id)
        return a->channel_id < b->channel_id ? -1 : 1;
    return compare_texts(a->peer, b->peer);
}

static int compare_any(const void *a, const void *b)
{
    return conversation_compare(a, b);
}

/* The touch that the current row belongs to; rows mostly come in the order of the touches. */
static struct conversation_touch *find(struct conversation_touch *touches, size_t count,
                                       struct conversation_touch *guess,
                                       const struct conversation_touch *wanted)
{
    if (guess < touches + count && conversation_compare(guess, wanted) == 0)
        return guess;
    return bsearch(wanted, touches, count, sizeof *touches, compare_any);
}

static void fill_row(struct db_value *row, const struct conversation_touch *touch)
{
    row[0] = db_int(touch->id);
    row[1] = db_int(touch->tenant_id);
    row[2] = db_int(touch->channel_id);
    row[3] = db_text(touch->peer);
    row[4] = db_int(touch->is_group);
    row[5] = db_id(touch->is_group ? 0 : touch->contact_id);
    row[6] = db_text(touch->is_group ? (struct str){ 0 } : touch->name);
    row[7] = db_int(touch->unread);
    row[8] = db_int(touch->messages);
    row[9] = db_id(touch->last_message_id);
    row[10] = db_int(touch->last_message_ms);
    row[11] = db_id(touch->pause ? CONVERSATION_PAUSED_FOR_GOOD : 0);
    row[12] = db_int(touch->auto_turns);
    row[13] = row[14] = db_int(touch->now_ms);
}

/* What the row returned says about the conversation; `renames` collects those without a name. */
static void take_row(const struct db_rows *rows, struct conversation_touch *touch,
                     struct conversation_touch **renames, size_t *rename_count)
{
    int64_t id = db_col_int(rows, 0);

    touch->created = id == touch->id;
    touch->id = id;
    touch->contact_id = db_col_int(rows, 4);
    touch->position = db_col_int(rows, 5) - touch->messages + 1;
    if (!touch->created && !touch->is_group && touch->name.len > 0 && db_col_null(rows, 6))
        renames[(*rename_count)++] = touch;
}

/* Name a conversation and its contact that nobody has named yet. */
static int rename_one(struct db_session *tx, const struct conversation_touch *touch,
                      struct err *err)
{
    if (db_exec(tx, "UPDATE conversations SET title = $1 WHERE tenant_id = $2 AND id = $3",
                DB_ARGS(db_text(touch->name), db_int(touch->tenant_id), db_int(touch->id)),
                err) < 0)
        return -1;
    return db_exec(tx, "UPDATE contacts SET name = $1 WHERE tenant_id = $2 AND id = $3 "
                   "AND name IS NULL",
                   DB_ARGS(db_text(touch->name), db_int(touch->tenant_id),
                           db_int(touch->contact_id)), err) < 0 ? -1 : 0;
}

static int upsert(struct db_session *tx, struct conversation_touch *touches, size_t count,
                  struct err *err)
{
    struct arena *arena = db_arena(tx);
    struct db_value *values = arena_array(arena, count * CONVERSATION_COLUMNS, sizeof *values);
    struct conversation_touch **renames = arena_array(arena, count, sizeof *renames);
    struct conversation_touch *guess = touches;
    struct db_set set = {
        "INSERT INTO conversations (id, tenant_id, channel_id, peer, is_group, contact_id, title, "
        "unread, last_position, last_message_id, last_message_ms, paused_until_ms, auto_turns, "
        "created_ms, updated_ms) :rows: ON CONFLICT (tenant_id, channel_id, peer) DO UPDATE SET "
        "unread = conversations.unread + excluded.unread, "
        "last_position = conversations.last_position + excluded.last_position, "
        "last_message_id = CASE WHEN excluded.last_message_id IS NULL "
        "OR excluded.last_message_ms < conversations.last_message_ms "
        "THEN conversations.last_message_id ELSE excluded.last_message_id END, "
        "last_message_ms = CASE WHEN excluded.last_message_id IS NULL "
        "OR excluded.last_message_ms < conversations.last_message_ms "
        "THEN conversations.last_message_ms ELSE excluded.last_message_ms END, "
        "paused_until_ms = COALESCE(excluded.paused_until_ms, conversations.paused_until_ms), "
        "auto_turns = CASE WHEN excluded.paused_until_ms IS NULL "
        "THEN conversations.auto_turns + excluded.auto_turns ELSE 0 END, "
        "state = CASE WHEN excluded.unread > 0 THEN 0 ELSE conversations.state END, "
        "updated_ms = excluded.updated_ms "
        "RETURNING id, tenant_id, channel_id, peer, contact_id, last_position, title",
        "iiitiitiiiiiiii", values, count };
    struct db_rows *rows;
    size_t rename_count = 0, seen = 0;
    int found;

    for (size_t i = 0; i < count; i++)
        fill_row(values + i * CONVERSATION_COLUMNS, &touches[i]);
    rows = db_query_rows(tx, &set, err);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct conversation_touch wanted = { .tenant_id = db_col_int(rows, 1),
                                             .channel_id = db_col_int(rows, 2),
                                             .peer = db_col_text(rows, 3) };
        struct conversation_touch *touch = find(touches, count, guess, &wanted);

        take_row(rows, touch, renames, &rename_count);
        guess = touch + 1;
        seen++;
    }
    if (!rows || found < 0)
        return -1;
    if (seen != count)
        return err_set(err, ERR_INTERNAL, "%zu of %zu conversations came back", seen, count);
    for (size_t i = 0; i < rename_count; i++)
        if (rename_one(tx, renames[i], err))
            return -1;
    return 0;
}

/* --- Contacts of new conversations ------------------------------------------------------------ */

/* A contact that was there before its conversation keeps its id; the conversation points to it. */
static int use_older_contacts(struct db_session *tx, struct conversation_touch *touches,
                              size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct conversation_touch *touch = &touches[i];
        int64_t id;

        if (!touch->created || touch->is_group)
            continue;
        if (db_query_int(tx, "SELECT id FROM contacts WHERE tenant_id = $1 AND channel_id = $2 "
                         "AND address = $3",
                         DB_ARGS(db_int(touch->tenant_id), db_int(touch->channel_id),
                                 db_text(touch->peer)), 0, &id, err))
            return -1;
        if (id == touch->contact_id)
            continue;
        touch->contact_id = id;
        if (db_exec(tx, "UPDATE conversations SET contact_id = $1, title = COALESCE("
                    "(SELECT name FROM contacts WHERE id = $1), title) "
                    "WHERE tenant_id = $2 AND id = $3",
                    DB_ARGS(db_id(id), db_int(touch->tenant_id), db_int(touch->id)), err) < 0)
            return -1;
    }
    return 0;
}

static int add_contacts(struct db_session *tx, struct conversation_touch *touches, size_t count,
                        struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), count * CONTACT_COLUMNS, sizeof *values);
    struct db_set set = {
        "INSERT INTO contacts (id, tenant_id, channel_id, address, address_given, name, "
        "created_ms, updated_ms) :rows: ON CONFLICT DO NOTHING", "iiitttii", values, 0 };
    int64_t added;

    for (size_t i = 0; i < count; i++) {
        const struct conversation_touch *touch = &touches[i];
        struct db_value *row = values + set.row_count * CONTACT_COLUMNS;

        if (!touch->created || touch->is_group)
            continue;
        row[0] = db_int(touch->contact_id);
        row[1] = db_int(touch->tenant_id);
        row[2] = db_int(touch->channel_id);
        row[3] = db_text(touch->peer);
        row[4] = db_text(touch->address_given);
        row[5] = db_text(touch->name);
        row[6] = row[7] = db_int(touch->now_ms);
        set.row_count++;
    }
    if (set.row_count == 0)
        return 0;
    added = db_exec_rows(tx, &set, err);
    if (added < 0)
        return -1;
    return added == (int64_t)set.row_count ? 0 : use_older_contacts(tx, touches, count, err);
}

int conversation_touch(struct db_session *tx, struct conversation_touch *touches, size_t count,
                       struct err *err)
{
    size_t created = 0;

    if (count == 0)
        return 0;
    if (upsert(tx, touches, count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        const struct conversation_touch *touch = &touches[i];

        if (!touch->created)
            continue;
        created++;
        event_add(tx, &(struct event){ .tenant_id = touch->tenant_id,
                                       .kind = "conversation.created", .object_id = touch->id,
                                       .conversation_id = touch->id, .at_ms = touch->now_ms });
    }
    return created ? add_contacts(tx, touches, count, err) : 0;
}
