#include "api/op.h"
#include "base/clock.h"
#include "core/stats.h"

#define DAY_MS 86400000LL

static void put_messages(struct json_writer *out, const struct stats *stats)
{
    json_key(out, "messages");
    json_object_begin(out);
    for (int direction = 0; direction < 2; direction++) {
        json_key(out, message_direction_words[direction]);
        json_object_begin(out);
        for (int state = 0; state < MESSAGE_STATES; state++)
            if (stats->messages[direction][state] > 0)
                json_int_at(out, message_state_words[state], stats->messages[direction][state]);
        json_object_end(out);
    }
    json_object_end(out);
}

static void put_jobs(struct json_writer *out, const struct stats_queue *queue)
{
    json_key(out, "queue");
    json_object_begin(out);
    for (int kind = 1; kind < STATS_JOB_KINDS; kind++) {
        json_key(out, stats_job_kinds[kind]);
        json_object_begin(out);
        for (int state = 0; state < STATS_JOB_STATES; state++)
            json_int_at(out, stats_job_states[state], queue->jobs[kind][state]);
        json_object_end(out);
    }
    json_object_end(out);
}

static enum op_done show(struct op_call *call, struct err *err)
{
    int64_t since_ms = field_number(&call->in, "since", clock_ms() - DAY_MS);
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    struct json_writer *out = &call->out;
    struct stats_queue queue;
    struct stats stats;
    int failed;

    if (!session)
        return OP_FAILED;
    failed = stats_read(session, call->tenant_id, since_ms, &stats, err) ||
             stats_queue_read(session, call->tenant_id, &queue, err);
    db_read_end(session);
    if (failed)
        return OP_FAILED;
    json_object_begin(out);
    json_time_at(out, "since", since_ms);
    put_messages(out, &stats);
    put_jobs(out, &queue);
    json_time_at(out, "oldest_send_at", queue.oldest_send_ms);
    json_int_at(out, "conversations", stats.conversations);
    json_int_at(out, "unread", stats.unread);
    json_int_at(out, "contacts", stats.contacts);
    json_int_at(out, "devices", stats.devices);
    json_int_at(out, "channels", stats.channels);
    json_int_at(out, "rules", stats.rules);
    json_int_at(out, "parked", queue.parked);
    json_int_at(out, "rows_waiting", queue.rows);
    json_object_end(out);
    return OP_DONE;
}

static const struct field fields[] = {
    { "since", FIELD_TIME, 0, "Count messages stored since then; a day ago when left out." },
    { 0 }
};

#define COUNT(name, help) { name, FIELD_INT, 0, help, 0, INT64_MAX }

static const struct field shape[] = {
    { "since", FIELD_TIME, FIELD_NULLABLE, "From when messages are counted; null: from the beginning." },
    { "messages", FIELD_OBJECT, 0, "Messages by direction and state." },
    { "queue", FIELD_OBJECT, 0, "Jobs by kind and state." },
    { "oldest_send_at", FIELD_TIME, FIELD_NULLABLE, "When the send that waits longest became due." },
    COUNT("conversations", "Conversations."),
    COUNT("unread", "Unread messages."),
    COUNT("contacts", "Contacts."),
    COUNT("devices", "Active devices."),
    COUNT("channels", "Enabled channels."),
    COUNT("rules", "Enabled rules."),
    COUNT("parked", "What could not be understood and waits for somebody."),
    COUNT("rows_waiting", "Inserted rows not imported yet."),
    { 0 }
};

static const struct op ops[] = {
    { .name = "stats.show", .method = HTTP_GET, .path = "/api/v1/stats", .scope = SCOPE_READ, .run = show,
      .summary = "How much there is, and what waits.", .fields = fields, .shape = shape, .cli = "stats",
      .cli_columns = "conversations,unread,contacts,channels,parked,rows_waiting", .example = "stats" },
};

const struct op_table ops_stats = { "stats", ops, sizeof ops / sizeof *ops };
