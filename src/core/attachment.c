#include "core/attachment.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/sniff.h"
#include "core/media.h"
#include "core/message.h"
#include "core/queue.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ROW_COLUMNS 13
#define JOB_COLUMNS 14
#define FIRST_ITEMS 32
#define REF_BYTES LIMIT_URL_BYTES

const char *const attachment_state_words[] = { "pending", "stored", "failed", NULL };

#define MEMBER(member) offsetof(struct attachment, member)

const struct column attachment_columns[] = {
    { "message_id", COL_INT, MEMBER(message_id), 0 },
    { "position", COL_INT, MEMBER(position), COL_PUBLIC },
    { "tenant_id", COL_INT, MEMBER(tenant_id), 0 },
    { "media_id", COL_REF, MEMBER(media_id), COL_PUBLIC, ID_MEDIA, NULL, "media" },
    { "ref", COL_TEXT, MEMBER(ref), 0 },
    { "is_public", COL_BOOL, MEMBER(is_public), 0 },
    { "name", COL_TEXT, MEMBER(name), COL_PUBLIC },
    { "type", COL_TEXT, MEMBER(type), COL_PUBLIC },
    { "size", COL_INT, MEMBER(size), COL_PUBLIC },
    { "state", COL_ENUM, MEMBER(state), COL_PUBLIC, NULL, attachment_state_words },
    { "reason", COL_TEXT, MEMBER(reason), COL_PUBLIC },
    { "created_ms", COL_TIME, MEMBER(created_ms), 0 },
    { "updated_ms", COL_TIME, MEMBER(updated_ms), 0 },
    { 0 }
};

/* --- Preparing --------------------------------------------------------------------------------------------------- */

static struct str shortened(struct arena *arena, struct str text, size_t max)
{
    if (!text.data || text.len == 0)
        return (struct str){ 0 };
    text = str_nfc(arena, text);
    if (text.len > max)
        text.len = str_utf8_prefix((struct str){ text.data, max });
    return text;
}

static struct attachment begin(struct arena *arena, const struct attachment_draft *draft, size_t position)
{
    const struct channel_attachment *given = &draft->given[position];
    struct str type = shortened(arena, given->type, LIMIT_NAME_BYTES), name = given->name;
    int64_t now_ms = clock_ms();

    return (struct attachment){ .position = (int64_t)position, .tenant_id = draft->tenant_id,
        .name = name.len > 0 ? str_c(sniff_name(arena, name, NULL)) : (struct str){ 0 },
        .type = type.data ? type : STR("application/octet-stream"),
        .size = given->size > 0 ? given->size : 0, .is_public = given->is_public, .created_ms = now_ms,
        .updated_ms = now_ms };
}

static void take_media(struct arena *arena, struct attachment *row, const struct media *media)
{
    if (row->name.len > 0)
        row->name = str_c(sniff_name(arena, row->name, str_dup(arena, media->type)));
    row->state = ATTACHMENT_STORED;
    row->media_id = media->id;
    row->type = media->type;
    row->size = media->size;
}

/* 0 taken, 1 it cannot be and err says why, -1 not now. */
static int take(struct hub *hub, struct arena *arena, const struct channel_attachment *given, struct attachment *row,
                struct err *err)
{
    struct media media = { .id = given->media_id, .tenant_id = row->tenant_id };
    int status;

    if (given->media_id) {
        status = media_keep(hub, arena, &media, err);
        if (status == 0)
            err_set(err, ERR_NOT_FOUND, "There is no such file.");
        status = status == 0 ? 1 : status < 0 ? -1 : 0;
    } else if (given->data.data) {
        status = media_put(hub, arena, &media, given->data, err);
        if (status && (err->code == ERR_INVALID || err->code == ERR_TOO_LARGE))
            status = 1;
    } else if (given->ref.len == 0 || given->ref.len > REF_BYTES) {
        err_set(err, ERR_INVALID, given->ref.len ? "The file's address is too long." : "The file came without bytes.");
        return 1;
    } else if (given->size > LIMIT_MEDIA_BYTES) {
        err_set(err, ERR_TOO_LARGE, "The file has %lld bytes; at most %d are kept.", (long long)given->size,
                LIMIT_MEDIA_BYTES);
        return 1;
    } else {
        row->ref = shortened(arena, given->ref, REF_BYTES);
        row->job_id = ids_next(hub->ids, err);
        return row->job_id < 0 ? -1 : 0;
    }
    if (status == 0)
        take_media(arena, row, &media);
    return status;
}

int attachment_prepare(struct hub *hub, struct arena *arena, struct attachment_draft *draft, struct err *err)
{
    if (draft->count > LIMIT_ATTACHMENTS) {
        err_field(err, "attachments", "The message has %zu files; at most %d are taken.", draft->count,
                  LIMIT_ATTACHMENTS);
        return err_hint(err, "Send them in several messages.");
    }
    draft->rows = arena_array(arena, draft->count, sizeof *draft->rows);
    for (size_t i = 0; i < draft->count; i++) {
        struct attachment *row = &draft->rows[i];
        struct err why = { 0 };
        int status;

        *row = begin(arena, draft, i);
        status = take(hub, arena, &draft->given[i], row, &why);
        if (status < 0 || (status > 0 && draft->strict)) {
            if (err)
                *err = why;
            return status < 0 ? -1 : err_field(err, "attachments", "%s", why.detail);
        }
        if (status > 0) {
            row->state = ATTACHMENT_FAILED;
            row->reason = str_c(arena_strdup(arena, why.detail));
        }
    }
    return 0;
}

/* --- Storing ----------------------------------------------------------------------------------------------------- */

static void fill_row(struct db_value *value, const struct attachment *row)
{
    *value++ = db_int(row->message_id);
    *value++ = db_int(row->position);
    *value++ = db_int(row->tenant_id);
    *value++ = db_id(row->media_id);
    *value++ = db_text(row->ref);
    *value++ = db_int(row->is_public);
    *value++ = db_text(row->name);
    *value++ = db_text(row->type);
    *value++ = db_int(row->size);
    *value++ = db_int(row->state);
    *value++ = db_text(row->reason);
    *value++ = db_int(row->created_ms);
    *value++ = db_int(row->updated_ms);
}

/* Each fetch is a lane of its own, so none waits for another. */
static void fill_job(struct db_value *value, const struct attachment *row, const struct attachment_job *job)
{
    *value++ = db_int(row->job_id);
    *value++ = db_int(row->tenant_id);
    *value++ = db_int(JOB_FETCH);
    *value++ = db_int(JOB_READY);
    *value++ = db_int(row->job_id);
    *value++ = db_int(row->position);
    *value++ = db_int(1);
    *value++ = db_int(job->now_ms);
    *value++ = db_int(job->now_ms);
    *value++ = db_int(job->channel_id);
    *value++ = db_int(job->conversation_id);
    *value++ = db_int(row->message_id);
    *value++ = db_int(job->now_ms);
    *value++ = db_int(job->now_ms);
}

int attachment_store(struct db_session *tx, struct attachment *rows, size_t count, const struct attachment_job *job,
                     struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), count * ROW_COLUMNS, sizeof *values);
    struct db_value *jobs = arena_array(db_arena(tx), count * JOB_COLUMNS, sizeof *jobs);
    struct db_set set = {
        "INSERT INTO attachments (message_id, position, tenant_id, media_id, ref, is_public, name, type, size, state, "
        "reason, created_ms, updated_ms) :rows:", "iiiititt" "iitii", values, count };
    struct db_set waiting = {
        "INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, channel_id, "
        "conversation_id, message_id, first_ms, created_ms) :rows:", "iiiiiiiiiiiiii", jobs, 0 };

    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        fill_row(values + i * ROW_COLUMNS, &rows[i]);
        if (rows[i].state == ATTACHMENT_PENDING)
            fill_job(jobs + waiting.row_count++ * JOB_COLUMNS, &rows[i], job);
    }
    if (db_exec_rows(tx, &set, err) < 0)
        return -1;
    return waiting.row_count > 0 && db_exec_rows(tx, &waiting, err) < 0 ? -1 : 0;
}

int attachment_drop(struct db_session *tx, int64_t message_id, int64_t now_ms, struct err *err)
{
    return db_exec(tx, "UPDATE media SET sweep_ms = $1 WHERE state = 1 AND id IN (SELECT a.media_id FROM attachments a "
                   "WHERE a.message_id = $2)", DB_ARGS(db_int(now_ms + LIMIT_MEDIA_UNUSED_MS), db_int(message_id)),
                   err) < 0
        || db_exec(tx, "DELETE FROM attachments WHERE message_id = $1", DB_ARGS(db_int(message_id)), err) < 0 ? -1 : 0;
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

int attachment_list(struct db_session *session, struct arena *arena, int64_t message_id, struct attachment **out,
                    struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM attachments WHERE message_id = $1 ORDER BY position LIMIT $2",
                                   row_select(attachment_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(message_id), db_int(LIMIT_ATTACHMENTS)), err);
    int more = -1, count = 0;

    *out = arena_array(arena, LIMIT_ATTACHMENTS, sizeof **out);
    while (rows && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, attachment_columns, arena, &(*out)[count++]);
    return more < 0 ? -1 : count;
}

int attachment_get(struct db_session *session, struct arena *arena, struct attachment *out, struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM attachments WHERE message_id = $1 AND position = $2",
                                   row_select(attachment_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(out->message_id), db_int(out->position)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1)
        row_read(rows, 0, attachment_columns, arena, out);
    db_rows_end(rows);
    return found;
}

const struct channel_attachment *attachment_again(struct arena *arena, const struct attachment *rows, size_t count)
{
    struct channel_attachment *files = arena_array(arena, count, sizeof *files);

    for (size_t i = 0; i < count; i++)
        files[i] = (struct channel_attachment){ .name = rows[i].name, .type = rows[i].type, .size = rows[i].size,
            .media_id = rows[i].media_id, .ref = rows[i].media_id ? (struct str){ 0 } : rows[i].ref,
            .is_public = rows[i].is_public != 0 };
    return files;
}

void attachment_json(struct json_writer *writer, const struct attachment *attachment)
{
    char id[ID_TEXT_BYTES];
    struct buf path;

    json_object_begin(writer);
    row_json(writer, attachment_columns, attachment);
    buf_init(&path, 100);
    buf_printf(&path, "/api/v1/messages/%s/attachments/%lld", id_encode(id, ID_MESSAGE, attachment->message_id),
               (long long)attachment->position);
    json_text_at(writer, "url", attachment->state == ATTACHMENT_STORED ? buf_slice(&path) : (struct str){ 0 });
    buf_fini(&path);
    json_object_end(writer);
}

/* --- Those of many messages -------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct attachment *x = a, *y = b;

    if (x->message_id != y->message_id)
        return x->message_id < y->message_id ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

static struct attachment *room(struct attachment_set *set, struct arena *arena, size_t *cap)
{
    if (set->count == *cap) {
        size_t grown = *cap ? *cap * 2 : FIRST_ITEMS;
        struct attachment *items = arena_array(arena, grown, sizeof *items);

        if (set->count > 0)
            memcpy(items, set->items, set->count * sizeof *items);
        set->items = items;
        *cap = grown;
    }
    return &set->items[set->count++];
}

int attachment_set_read(struct db_session *session, struct arena *arena, struct attachment_set *set, struct err *err)
{
    struct db_value *values = arena_array(arena, set->message_count, sizeof *values);
    struct db_set asked = { arena_printf(arena, "WITH v(id) AS (:rows:) SELECT %s FROM v JOIN attachments a "
                                         "ON a.message_id = v.id", row_select(attachment_columns, "a")),
                            "i", values, set->message_count };
    struct db_rows *rows;
    size_t cap = 0;
    int more;

    set->items = NULL;
    set->count = 0;
    if (set->message_count == 0)
        return 0;
    for (size_t i = 0; i < set->message_count; i++)
        values[i] = db_int(set->messages[i].id);
    rows = db_query_rows(session, &asked, err);
    while (rows && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, attachment_columns, arena, room(set, arena, &cap));
    if (!rows || more < 0)
        return -1;
    if (set->count > 1)
        qsort(set->items, set->count, sizeof *set->items, compare);
    return 0;
}

const struct attachment *attachment_set_find(const struct attachment_set *set, int64_t message_id, size_t *count)
{
    size_t low = 0, high = set->count, end;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (set->items[middle].message_id < message_id)
            low = middle + 1;
        else
            high = middle;
    }
    for (end = low; end < set->count && set->items[end].message_id == message_id; end++)
        continue;
    *count = end - low;
    return *count ? set->items + low : NULL;
}
