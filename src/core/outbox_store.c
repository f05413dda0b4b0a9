/* Storing what is to be sent: conversations, messages, send jobs, log lines. One statement per
 * table for the whole group, locks in one order. */
#include "base/arena.h"
#include "core/event.h"
#include "core/fallback.h"
#include "core/optout.h"
#include "core/outbox_group.h"
#include "core/queue.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_COLUMNS 24
#define JOB_COLUMNS 14

/* --- Conversations ---------------------------------------------------------------------------- */

static struct conversation_touch touch_of(const struct outbox_prepared *prepared)
{
    const struct outbox_route *route = &prepared->route;

    return (struct conversation_touch){
        .tenant_id = prepared->write->request.tenant_id, .channel_id = route->channel.id,
        .peer = route->peer, .address_given = route->address_given, .is_group = route->is_group,
        .id = prepared->conversation_id, .contact_id = route->is_group ? 0 : prepared->contact_id,
        .last_message_ms = prepared->now_ms, .now_ms = prepared->now_ms,
    };
}

static int compare_writes(const void *a, const void *b)
{
    const struct outbox_prepared *x = *(struct outbox_prepared *const *)a;
    const struct outbox_prepared *y = *(struct outbox_prepared *const *)b;
    struct conversation_touch tx = touch_of(x), ty = touch_of(y);
    int order = conversation_compare(&tx, &ty);

    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static bool is_machine(const struct outbox_request *request)
{
    return request->origin == ORIGIN_RULE || request->origin == ORIGIN_AGENT
        || request->origin == ORIGIN_AUTO;
}

static void add_to_touch(struct conversation_touch *touch, struct outbox_prepared *prepared)
{
    const struct outbox_request *request = &prepared->write->request;

    prepared->touch = touch;
    prepared->position = touch->messages++;
    touch->auto_turns += is_machine(request);
    if (request->draft)
        return;
    touch->pause |= request->origin == ORIGIN_PERSON;
    touch->last_message_id = prepared->write->message_id;
}

static int touch_conversations(struct db_session *tx, struct outbox_prepared **writes, size_t count,
                               struct err *err)
{
    struct arena *arena = db_arena(tx);
    struct outbox_prepared **sorted = arena_array(arena, count, sizeof *sorted);
    struct conversation_touch *touches = arena_array(arena, count, sizeof *touches);
    size_t touched = 0;

    for (size_t i = 0; i < count; i++) {
        writes[i]->order = i;
        sorted[i] = writes[i];
    }
    qsort(sorted, count, sizeof(struct outbox_prepared *), compare_writes);
    for (size_t i = 0; i < count; i++) {
        struct conversation_touch next = touch_of(sorted[i]);

        if (touched == 0 || conversation_compare(&touches[touched - 1], &next) != 0)
            touches[touched++] = next;
        add_to_touch(&touches[touched - 1], sorted[i]);
    }
    if (conversation_touch(tx, touches, touched, err))
        return -1;
    for (size_t i = 0; i < count; i++)
        writes[i]->position += writes[i]->touch->position;
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* A sorted set of ids. */
struct id_set {
    int64_t *ids;
    size_t count;
};

static bool contains(const struct id_set *set, int64_t id)
{
    return bsearch(&id, set->ids, set->count, sizeof *set->ids, compare_ids) != NULL;
}

/* Run a set query over distinct ids of `in` and keep the ids that come back, sorted. */
static int select_ids(struct db_session *tx, const char *sql, const struct id_set *in,
                      struct id_set *out, struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), in->count, sizeof *values);
    struct db_set set = { sql, "i", values, 0 };
    struct db_rows *rows;
    int found = 0;

    out->ids = arena_array(db_arena(tx), in->count, sizeof *out->ids);
    out->count = 0;
    for (size_t i = 0; i < in->count; i++)
        if (i == 0 || in->ids[i] != in->ids[i - 1])
            values[set.row_count++] = db_int(in->ids[i]);
    if (set.row_count == 0)
        return 0;
    rows = db_query_rows(tx, &set, err);
    while (rows && (found = db_next(rows, err)) == 1)
        out->ids[out->count++] = db_col_int(rows, 0);
    qsort(out->ids, out->count, sizeof *out->ids, compare_ids);
    return !rows || found < 0 ? -1 : 0;
}

/* Nobody who opted out gets anything but the confirmation of it. */
static int suppress(struct db_session *tx, struct outbox_prepared **writes, size_t count,
                    struct err *err)
{
    struct id_set contacts = { arena_array(db_arena(tx), count, sizeof(int64_t)), 0 }, opted_out;

    for (size_t i = 0; i < count; i++)
        if (writes[i]->touch->contact_id)
            contacts.ids[contacts.count++] = writes[i]->touch->contact_id;
    qsort(contacts.ids, contacts.count, sizeof *contacts.ids, compare_ids);
    if (select_ids(tx, "WITH v(id) AS (:rows:) SELECT c.id FROM v JOIN contacts c ON c.id = v.id "
                   "WHERE c.opted_out_ms IS NOT NULL", &contacts, &opted_out, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        const struct outbox_request *request = &writes[i]->write->request;

        writes[i]->write->suppressed = !request->draft
            && contains(&opted_out, writes[i]->touch->contact_id)
            && !optout_confirms(request->origin, request->metadata);
    }
    return 0;
}

/* --- Messages --------------------------------------------------------------------------------- */

static enum message_state first_state(const struct outbox_write *write)
{
    return write->request.draft ? MESSAGE_DRAFT : write->suppressed ? MESSAGE_SUPPRESSED
                                                                    : MESSAGE_QUEUED;
}

static void fill_message(struct db_value *row, const struct outbox_prepared *prepared)
{
    const struct outbox_write *write = prepared->write;
    const struct outbox_request *request = &write->request;
    struct str none = { 0 };

    *row++ = db_int(write->message_id);
    *row++ = db_int(request->tenant_id);
    *row++ = db_int(prepared->touch->id);
    *row++ = db_int(prepared->position);
    *row++ = db_int(prepared->route.channel.id);
    *row++ = db_id(prepared->touch->contact_id);
    *row++ = db_int(MESSAGE_OUT);
    *row++ = db_int(first_state(write));
    *row++ = db_text(request->type.len > 0 ? request->type : STR("text"));
    *row++ = db_int(request->origin);
    *row++ = db_int(request->priority);
    *row++ = db_text(prepared->route.peer);
    *row++ = db_text(prepared->text);
    *row++ = db_text(request->metadata.len > 0 ? request->metadata : none);
    *row++ = db_id(request->reply_to_id);
    *row++ = db_id(request->cause_id);
    *row++ = db_id(request->decision_id);
    *row++ = db_int(prepared->now_ms);
    *row++ = db_int(prepared->now_ms);
    *row++ = db_id(request->scheduled_ms);
    *row++ = db_id(prepared->expires_ms);
    *row++ = db_int(prepared->parts);
    *row++ = db_text(write->suppressed ? STR("opted_out") : none);
    *row++ = db_text(write->suppressed ? STR("The contact wants no more messages; who said so and "
                                             "when stands with the contact.") : none);
}

static int insert_messages(struct db_session *tx, struct outbox_prepared **writes, size_t count,
                           struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), count * MESSAGE_COLUMNS, sizeof *values);
    struct db_set set = {
        "INSERT INTO messages (id, tenant_id, conversation_id, position, channel_id, contact_id, "
        "direction, state, type, origin, priority, address, text, metadata, reply_to_id, cause_id, "
        "decision_id, received_ms, updated_ms, scheduled_ms, expires_ms, parts, error_code, "
        "error_hint) :rows:", "iiiiiiiitiitttiiiiiiiitt", values, count };

    for (size_t i = 0; i < count; i++)
        fill_message(values + i * MESSAGE_COLUMNS, writes[i]);
    return db_exec_rows(tx, &set, err) == (int64_t)count ? 0 : -1;
}

static int insert_files(struct db_session *tx, struct outbox_prepared **writes, size_t count,
                        struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct outbox_write *write = writes[i]->write;
        const struct attachment_job job = { writes[i]->route.channel.id, writes[i]->touch->id,
                                            writes[i]->now_ms };

        for (size_t k = 0; k < write->request.attachment_count; k++)
            writes[i]->files[k].message_id = write->message_id;
        if (attachment_store(tx, writes[i]->files, write->request.attachment_count, &job, err))
            return -1;
    }
    return 0;
}

static void log_messages(struct db_session *tx, struct outbox_prepared **writes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct outbox_write *write = writes[i]->write;

        event_add(tx, &(struct event){ .tenant_id = write->request.tenant_id,
                                       .kind = message_event_kind(first_state(write)),
                                       .object_id = write->message_id,
                                       .conversation_id = writes[i]->touch->id,
                                       .at_ms = writes[i]->now_ms });
    }
}

/* --- Jobs ------------------------------------------------------------------------------------- */

static const char insert_job_sql[] =
    "INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, attempt, "
    "channel_id, conversation_id, message_id, part, first_ms, created_ms) VALUES ($1, $2, $3, $4, "
    "$5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

int outbox_add_job(struct db_session *tx, const struct outbox_job *job, struct err *err)
{
    if (db_exec(tx, insert_job_sql,
                DB_ARGS(db_int(job->id), db_int(job->tenant_id), db_int(JOB_SEND),
                        db_int(job->scheduled ? JOB_WAITING : JOB_READY),
                        db_int(job->conversation_id), db_int(job->lane_seq), db_int(0),
                        db_int(message_rank_ms(job->due_ms, job->priority)), db_int(job->due_ms),
                        db_int(job->attempt), db_int(job->channel_id),
                        db_int(job->conversation_id), db_int(job->message_id), db_int(job->part),
                        db_int(job->now_ms), db_int(job->now_ms)), err) < 0)
        return -1;
    return queue_promote(tx, JOB_SEND, &job->conversation_id, 1, err);
}

static bool is_scheduled(const struct outbox_prepared *prepared)
{
    return prepared->write->request.scheduled_ms > prepared->now_ms;
}

static bool is_queued(const struct outbox_prepared *prepared)
{
    return first_state(prepared->write) == MESSAGE_QUEUED;
}

static void fill_job(struct db_value *row, const struct outbox_prepared *prepared, bool head)
{
    const struct outbox_request *request = &prepared->write->request;
    bool scheduled = is_scheduled(prepared);
    int64_t due_ms = scheduled ? request->scheduled_ms : prepared->now_ms;

    *row++ = db_int(prepared->job_id);
    *row++ = db_int(request->tenant_id);
    *row++ = db_int(JOB_SEND);
    *row++ = db_int(scheduled ? JOB_WAITING : JOB_READY);
    *row++ = db_int(prepared->touch->id);
    *row++ = db_int(prepared->position);
    *row++ = db_int(head);
    *row++ = db_int(message_rank_ms(due_ms, request->priority));
    *row++ = db_int(due_ms);
    *row++ = db_int(prepared->route.channel.id);
    *row++ = db_int(prepared->touch->id);
    *row++ = db_int(prepared->write->message_id);
    *row++ = db_int(prepared->now_ms);
    *row++ = db_int(prepared->now_ms);
}

/* The lanes that have a head already. */
static int find_heads(struct db_session *tx, struct outbox_prepared **writes, size_t count,
                      struct id_set *heads, struct err *err)
{
    struct id_set lanes = { arena_array(db_arena(tx), count, sizeof(int64_t)), 0 };

    for (size_t i = 0; i < count; i++)
        if (is_queued(writes[i]) && !is_scheduled(writes[i]) && !writes[i]->touch->created)
            lanes.ids[lanes.count++] = writes[i]->touch->id;
    qsort(lanes.ids, lanes.count, sizeof *lanes.ids, compare_ids);
    return select_ids(tx, "WITH v(lane) AS (:rows:) SELECT j.lane FROM v JOIN jobs j "
                      "ON j.kind = 1 AND j.head = 1 AND j.lane = v.lane", &lanes, heads, err);
}

/* The first ready job of a lane without a head becomes it; `writes` come in order of position. */
static int insert_jobs(struct db_session *tx, struct outbox_prepared **writes, size_t count,
                       struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), count * JOB_COLUMNS, sizeof *values);
    struct db_set set = {
        "INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, "
        "channel_id, conversation_id, message_id, first_ms, created_ms) :rows:", "iiiiiiiiiiiiii",
        values, 0 };
    struct id_set heads;

    if (find_heads(tx, writes, count, &heads, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct conversation_touch *touch = writes[i]->touch;
        bool head;

        if (!is_queued(writes[i]))
            continue;
        head = !is_scheduled(writes[i]) && !touch->has_head && !contains(&heads, touch->id);
        touch->has_head |= head;
        fill_job(values + set.row_count++ * JOB_COLUMNS, writes[i], head);
    }
    if (set.row_count == 0)
        return 0;
    return db_exec_rows(tx, &set, err) == (int64_t)set.row_count ? 0 : -1;
}

int outbox_store(struct db_session *tx, struct outbox_prepared **writes, size_t count,
                 struct err *err)
{
    if (count == 0)
        return 0;
    if (touch_conversations(tx, writes, count, err) || suppress(tx, writes, count, err)
        || insert_messages(tx, writes, count, err) || insert_files(tx, writes, count, err)
        || insert_jobs(tx, writes, count, err) || fallback_store(tx, writes, count, err))
        return -1;
    log_messages(tx, writes, count);
    return 0;
}
