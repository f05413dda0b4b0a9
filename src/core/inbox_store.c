/* Storing what a group brings: conversations, messages, decide jobs, log lines. One statement per
 * table for the whole group, locks in one order. */
#include "base/arena.h"
#include "core/event.h"
#include "core/inbox_group.h"
#include "core/queue.h"
#include "core/silence.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_COLUMNS 23
#define JOB_COLUMNS 14
#define STORE_ROWS 1000             /* messages per statement */
#define HEARD_MS 60000              /* channels.last_heard_ms is moved on no more often */

#define QUOTE(number) #number
#define TEXT_OF(number) QUOTE(number)

static bool is_decided(const struct inbox_line *line)
{
    return line->direction == MESSAGE_IN && !line->event->is_history && line->event->group.len == 0;
}

static int64_t received_ms(const struct inbox_line *line)
{
    return ((const struct inbox_prepared *)line->write->prepared)->received_ms;
}

/* --- Conversations ---------------------------------------------------------------------------- */

static struct conversation_touch touch_of(const struct inbox_line *line)
{
    const struct channel_event *event = line->event;
    bool is_group = event->group.len > 0;
    bool differs = event->address.len > 0 && !str_eq(event->address, line->peer);

    return (struct conversation_touch){
        .tenant_id = line->write->tenant_id, .channel_id = line->write->channel_id,
        .peer = line->peer, .is_group = is_group, .id = line->conversation_id,
        .contact_id = is_group ? 0 : line->contact_id,
        .address_given = !is_group && differs ? event->address : (struct str){ 0 },
    };
}

static int compare_conversations(const void *a, const void *b)
{
    const struct inbox_line *x = *(struct inbox_line *const *)a;
    const struct inbox_line *y = *(struct inbox_line *const *)b;
    size_t shared = x->peer.len < y->peer.len ? x->peer.len : y->peer.len;
    int order;

    if (x->write->tenant_id != y->write->tenant_id)
        return x->write->tenant_id < y->write->tenant_id ? -1 : 1;
    if (x->write->channel_id != y->write->channel_id)
        return x->write->channel_id < y->write->channel_id ? -1 : 1;
    order = memcmp(x->peer.data, y->peer.data, shared);
    if (order == 0)
        order = (x->peer.len > y->peer.len) - (x->peer.len < y->peer.len);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

/* Add one message to its conversation's share; its position is relative until the row is known. */
static void add_to_touch(struct conversation_touch *touch, struct inbox_line *line)
{
    const struct channel_event *event = line->event;
    bool dated = event->is_history && event->provider_ms > 0;
    int64_t at_ms = dated ? event->provider_ms : received_ms(line);

    line->touch = touch;
    line->position = touch->messages++;
    touch->unread += line->direction == MESSAGE_IN && !event->is_history;
    touch->pause |= line->direction == MESSAGE_OUT && !event->is_history;
    if (at_ms >= touch->last_message_ms) {
        touch->last_message_ms = at_ms;
        touch->last_message_id = line->message_id;
    }
    if (event->name.len > 0 && line->direction == MESSAGE_IN)
        touch->name = event->name;
    if (received_ms(line) > touch->now_ms)
        touch->now_ms = received_ms(line);
}

static int touch_conversations(struct inbox_group *group, struct err *err)
{
    struct inbox_line **sorted = arena_array(group->arena, group->kept_count, sizeof *sorted);

    memcpy(sorted, group->kept, group->kept_count * sizeof(struct inbox_line *));
    qsort(sorted, group->kept_count, sizeof(struct inbox_line *), compare_conversations);
    group->touches = arena_array(group->arena, group->kept_count, sizeof *group->touches);
    for (size_t i = 0; i < group->kept_count; i++) {
        struct conversation_touch next = touch_of(sorted[i]);
        struct conversation_touch *last = group->touches + group->touch_count - 1;

        if (group->touch_count == 0 || conversation_compare(last, &next) != 0) {
            last = group->touches + group->touch_count++;
            *last = next;
        }
        add_to_touch(last, sorted[i]);
    }
    if (conversation_touch(group->tx, group->touches, group->touch_count, err))
        return -1;
    for (size_t i = 0; i < group->kept_count; i++)
        group->kept[i]->position += group->kept[i]->touch->position;
    return 0;
}

/* --- Messages --------------------------------------------------------------------------------- */

static struct db_value *fill_message(struct db_value *row, const struct inbox_line *line)
{
    const struct channel_event *event = line->event;
    bool outbound = line->direction == MESSAGE_OUT;
    bool has_zone = event->provider_ms > 0;

    *row++ = db_int(line->message_id);
    *row++ = db_int(line->write->tenant_id);
    *row++ = db_int(line->touch->id);
    *row++ = db_int(line->position);
    *row++ = db_int(line->write->channel_id);
    *row++ = db_id(line->touch->contact_id);
    *row++ = db_id(line->write->device_id);
    *row++ = db_int(line->direction);
    *row++ = db_int(outbound ? MESSAGE_SENT : is_decided(line) ? MESSAGE_RECEIVED
                                                               : MESSAGE_PROCESSED);
    *row++ = db_text(event->type.len > 0 ? event->type : STR("text"));
    *row++ = db_int(outbound ? ORIGIN_PHONE : ORIGIN_CONTACT);
    *row++ = db_int(event->priority);
    *row++ = db_text(line->address);
    *row++ = db_text(event->text.data ? event->text : STR(""));
    *row++ = db_text(event->metadata.len > 0 ? event->metadata : (struct str){ 0 });
    *row++ = db_text(line->external_id);
    *row++ = db_id(line->reply_to_id);
    *row++ = db_int(event->is_history);
    *row++ = db_int(event->is_automatic);
    *row++ = db_id(event->provider_ms);
    *row = db_int(event->offset_min);
    row++->is_null = !has_zone;
    *row++ = db_int(received_ms(line));
    *row++ = db_int(received_ms(line));
    return row;
}

/* The rows conflict with what another node stored since the look-up: run the group again, which
 * will find them. */
static int repeat_group(struct err *err)
{
    err_set(err, ERR_UNAVAILABLE, "another node stored the same message at the same moment");
    err->retry_after_s = 1;
    return -1;
}

static int insert_messages(struct inbox_group *group, struct err *err)
{
    size_t room = group->kept_count < STORE_ROWS ? group->kept_count : STORE_ROWS;
    struct db_value *values = arena_array(group->arena, room * MESSAGE_COLUMNS, sizeof *values);

    for (size_t done = 0; done < group->kept_count; done += room) {
        size_t left = group->kept_count - done;
        struct db_set set = {
            "INSERT INTO messages (id, tenant_id, conversation_id, position, channel_id, "
            "contact_id, device_id, direction, state, type, origin, priority, address, text, "
            "metadata, external_id, reply_to_id, is_history, is_automatic, provider_ms, "
            "offset_min, received_ms, updated_ms) :rows: ON CONFLICT DO NOTHING",
            "iiiiiiiiitiittttiiiiiii", values, left < room ? left : room };
        struct db_value *row = values;
        int64_t stored;

        for (size_t i = 0; i < set.row_count; i++)
            row = fill_message(row, group->kept[done + i]);
        stored = db_exec_rows(group->tx, &set, err);
        if (stored < 0)
            return -1;
        if (stored != (int64_t)set.row_count)
            return repeat_group(err);
    }
    return 0;
}

/* The files of all messages, and the jobs that fetch what did not come along. */
static int insert_files(struct inbox_group *group, struct err *err)
{
    for (size_t i = 0; i < group->kept_count; i++) {
        const struct inbox_line *line = group->kept[i];
        const struct attachment_job job = { line->write->channel_id, line->touch->id, received_ms(line) };

        for (size_t k = 0; k < line->event->attachment_count; k++)
            line->files[k].message_id = line->message_id;
        if (attachment_store(group->tx, line->files, line->event->attachment_count, &job, err))
            return -1;
    }
    return 0;
}

static void log_messages(struct inbox_group *group)
{
    for (size_t i = 0; i < group->kept_count; i++) {
        const struct inbox_line *line = group->kept[i];
        bool outbound = line->direction == MESSAGE_OUT;

        event_add(group->tx, &(struct event){
            .tenant_id = line->write->tenant_id,
            .kind = message_event_kind(outbound ? MESSAGE_SENT : MESSAGE_RECEIVED),
            .object_id = line->message_id, .conversation_id = line->touch->id,
            .at_ms = received_ms(line) });
    }
}

/* --- Channels --------------------------------------------------------------------------------- */

/* What the group needs to know of a channel that it touches. */
struct heard {
    int64_t id, debounce_ms, last_heard_ms;
    struct str gaps;                /* core/silence.h */
    bool is_alarmed;
};

static int compare_heard(const void *a, const void *b)
{
    const struct heard *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* The distinct channels of the touches, which are sorted by tenant and channel. */
static size_t gather_channels(const struct inbox_group *group, struct heard *heard)
{
    size_t count = 0;

    for (size_t i = 0; i < group->touch_count; i++)
        if (i == 0 || group->touches[i].channel_id != group->touches[i - 1].channel_id)
            heard[count++] = (struct heard){ group->touches[i].channel_id, LIMIT_DEBOUNCE_MS, 0 };
    qsort(heard, count, sizeof *heard, compare_heard);
    return count;
}

static int read_channels(struct inbox_group *group, struct heard *heard, size_t count,
                         struct err *err)
{
    struct db_value *values = arena_array(group->arena, count, sizeof *values);
    struct db_set set = {
        "WITH v(id) AS (:rows:) SELECT c.id, c.debounce_ms, c.last_heard_ms, c.gaps, c.alarm_ms "
        "FROM v JOIN channels c ON c.id = v.id", "i", values, count };
    struct db_rows *rows;
    int found;

    for (size_t i = 0; i < count; i++)
        values[i] = db_int(heard[i].id);
    rows = db_query_rows(group->tx, &set, err);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct heard key = { .id = db_col_int(rows, 0) };
        struct heard *channel = bsearch(&key, heard, count, sizeof *heard, compare_heard);

        channel->debounce_ms = db_col_int(rows, 1);
        channel->last_heard_ms = db_col_int(rows, 2);
        channel->is_alarmed = !db_col_null(rows, 4);
        if (!db_col_null(rows, 3))
            channel->gaps = str_c(str_dup(group->arena, db_col_text(rows, 3)));
    }
    return !rows || found < 0 ? -1 : 0;
}

static int mark_heard(struct inbox_group *group, const struct heard *heard, size_t count,
                      struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        int64_t since_ms = group->now_ms - heard[i].last_heard_ms;
        struct silence silence;

        /* a clock that was set back moves it on too */
        if (since_ms >= 0 && since_ms < HEARD_MS && !heard[i].is_alarmed)
            continue;
        silence = silence_parse(heard[i].gaps);
        if (heard[i].last_heard_ms > 0)
            silence_heard(&silence, heard[i].last_heard_ms, group->now_ms);
        if (db_exec(group->tx,
                    "UPDATE channels SET last_heard_ms = $1, gaps = $2, alarm = NULL, alarm_ms = NULL WHERE id = $3",
                    DB_ARGS(db_int(group->now_ms), db_cstr(silence_text(group->arena, &silence)),
                            db_int(heard[i].id)), err) < 0)
            return -1;
    }
    return 0;
}

/* --- Decide jobs ------------------------------------------------------------------------------ */

/* The burst that one conversation gets from this group. */
struct burst {
    const struct inbox_line *first;
    int64_t messages;
};

/* A ready decide job is always a head: it cannot be made while another one is ready (jobs_decide),
 * and it is not claimed while another one runs (queue_due).
 *
 * One burst per touch that has something to decide; indexed like the touches. */
static size_t gather_bursts(struct inbox_group *group, struct burst *bursts)
{
    size_t count = 0;

    for (size_t i = 0; i < group->kept_count; i++) {
        struct inbox_line *line = group->kept[i];
        struct burst *burst = &bursts[line->touch - group->touches];

        if (!is_decided(line))
            continue;
        if (!burst->first) {
            burst->first = line;
            count++;
        }
        burst->messages++;
    }
    return count;
}

static struct db_value *fill_job(struct db_value *row, const struct burst *burst,
                                 int64_t debounce_ms)
{
    const struct inbox_line *line = burst->first;
    int64_t now_ms = received_ms(line);
    int64_t due_ms = burst->messages >= LIMIT_DEBOUNCE_MESSAGES ? now_ms : now_ms + debounce_ms;

    *row++ = db_int(line->job_id);
    *row++ = db_int(line->write->tenant_id);
    *row++ = db_int(JOB_DECIDE);
    *row++ = db_int(JOB_READY);
    *row++ = db_int(line->touch->id);
    *row++ = db_int(line->position);
    *row++ = db_int(1);
    *row++ = db_int(due_ms);
    *row++ = db_int(due_ms);
    *row++ = db_int(line->write->channel_id);
    *row++ = db_int(line->touch->id);
    *row++ = db_int(now_ms);
    *row++ = db_int(burst->messages);
    *row++ = db_int(now_ms);
    return row;
}

/* Each further message of a burst moves the due time, up to a cap after the first one; enough
 * messages make it due at once. */
#define NEW_DUE \
    "CASE WHEN jobs.messages + excluded.messages >= " TEXT_OF(LIMIT_DEBOUNCE_MESSAGES) \
    " THEN excluded.created_ms " \
    "WHEN excluded.due_ms > jobs.first_ms + " TEXT_OF(LIMIT_DEBOUNCE_MAX_MS) \
    " THEN jobs.first_ms + " TEXT_OF(LIMIT_DEBOUNCE_MAX_MS) " ELSE excluded.due_ms END"

static int upsert_jobs(struct inbox_group *group, const struct heard *heard, size_t channel_count,
                       struct err *err)
{
    struct burst *bursts = arena_array(group->arena, group->touch_count, sizeof *bursts);
    size_t count = gather_bursts(group, bursts);
    struct db_value *values = arena_array(group->arena, count * JOB_COLUMNS, sizeof *values);
    struct db_value *row = values;
    struct db_set set = {
        "INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, "
        "channel_id, conversation_id, first_ms, messages, created_ms) :rows: "
        "ON CONFLICT (lane) WHERE kind = 2 AND state = 0 DO UPDATE SET "
        "messages = jobs.messages + excluded.messages, "
        "due_ms = " NEW_DUE ", rank_ms = " NEW_DUE, "iiiiiiiiiiiiii", values, count };

    for (size_t i = 0; i < group->touch_count; i++) {
        struct heard key = { .id = group->touches[i].channel_id };
        const struct heard *channel;

        if (!bursts[i].first)
            continue;
        channel = bsearch(&key, heard, channel_count, sizeof *heard, compare_heard);
        row = fill_job(row, &bursts[i], channel->debounce_ms);
    }
    return count > 0 && db_exec_rows(group->tx, &set, err) < 0 ? -1 : 0;
}

int inbox_store(struct inbox_group *group, struct err *err)
{
    struct heard *heard;
    size_t channel_count;

    if (group->kept_count == 0)
        return 0;
    if (touch_conversations(group, err) || insert_messages(group, err) || insert_files(group, err))
        return -1;
    heard = arena_array(group->arena, group->touch_count, sizeof *heard);
    channel_count = gather_channels(group, heard);
    if (read_channels(group, heard, channel_count, err)
        || upsert_jobs(group, heard, channel_count, err))
        return -1;
    log_messages(group);
    return mark_heard(group, heard, channel_count, err);
}
