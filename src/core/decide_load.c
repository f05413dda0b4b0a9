#include "core/decide_burst.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"

#include <string.h>

#define TRACE_BYTES (16 * 1024)

/* --- The trace -------------------------------------------------------------------------------- */

static void trace_begin(struct burst *burst)
{
    buf_init(&burst->trace.json, TRACE_BYTES);
    burst->trace.writer = json_writer(&burst->trace.json);
    burst->trace.started_us = clock_mono_us();
    json_array_begin(&burst->trace.writer);
}

void trace_step(struct burst *burst, const char *step, const char *found)
{
    struct json_writer *w = &burst->trace.writer;

    if (burst->trace.json.len + strlen(step) + 6 * strlen(found) + 64 > TRACE_BYTES)
        return;     /* a trace that is cut off stays valid JSON */
    json_object_begin(w);
    json_cstr_at(w, "step", step);
    json_int_at(w, "us", clock_mono_us() - burst->trace.started_us);
    json_cstr_at(w, "found", found);
    json_object_end(w);
}

struct str trace_json(struct burst *burst)
{
    const struct buf *json = &burst->trace.json;

    return str_c(arena_printf(burst->arena, "%.*s]", (int)json->len, json->data));
}

/* --- The burst -------------------------------------------------------------------------------- */

static struct str keep(struct arena *arena, struct str text)
{
    return text.data ? (struct str){ arena_copy(arena, text.data, text.len), text.len } : text;
}

static const char context_sql[] =
    "SELECT v.last_position, v.is_group, v.auto_turns, v.paused_until_ms, v.assigned_to, c.name, "
    "c.kind, c.policy, c.agent, c.auto_reply, k.id, k.name, k.address, k.opted_out_ms, "
    "k.opted_out_by, c.state, c.help_text, " QUEUE_READY_COLUMNS
    " FROM conversations v JOIN channels c ON c.id = v.channel_id LEFT JOIN contacts k ON k.id = "
    "v.contact_id WHERE v.id = $1 AND v.tenant_id = $2";

static int load_context(struct burst *burst, struct db_session *session, struct err *err)
{
    struct arena *arena = burst->arena;
    struct db_rows *rows = db_query(session, context_sql,
                                    DB_ARGS(db_int(burst->job.conversation_id),
                                            db_int(burst->job.tenant_id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    burst->last_position = db_col_int(rows, 0);
    burst->is_group = db_col_int(rows, 1);
    burst->auto_turns = db_col_int(rows, 2);
    burst->paused_until_ms = db_col_int(rows, 3);
    burst->assigned_to = keep(arena, db_col_text(rows, 4));
    burst->channel_name = str_dup(arena, db_col_text(rows, 5));
    burst->kind = str_dup(arena, db_col_text(rows, 6));
    burst->driver = channel_driver_find(db_col_text(rows, 6));
    burst->policy = db_col_int(rows, 7);
    burst->agent = keep(arena, db_col_text(rows, 8));
    burst->auto_reply = keep(arena, db_col_text(rows, 9));
    burst->contact_id = db_col_int(rows, 10);
    burst->contact_name = keep(arena, db_col_text(rows, 11));
    burst->address = keep(arena, db_col_text(rows, 12));
    burst->opted_out_ms = db_col_int(rows, 13);
    burst->opted_out_by = db_col_int(rows, 14);
    burst->can_send = db_col_int(rows, 15) == 0;
    burst->help_text = keep(arena, db_col_text(rows, 16));
    burst->ready = queue_ready_of(rows, 17, clock_ms());
    db_rows_end(rows);
    return 1;
}

static const char messages_sql[] =
    "SELECT id, position, state, received_ms, is_automatic, text, type, metadata FROM messages "
    "WHERE conversation_id = $1 AND position >= $2 AND direction = 0 AND state IN (0, 1) AND "
    "is_history = 0 ORDER BY position LIMIT $3";

static int load_messages(struct burst *burst, struct db_session *session, struct err *err)
{
    struct arena *arena = burst->arena;
    struct db_rows *rows = db_query(session, messages_sql,
                                    DB_ARGS(db_int(burst->job.conversation_id),
                                    db_int(burst->job.lane_seq), db_int(BURST_MESSAGES + 1)), err);
    int more;

    if (!rows)
        return -1;
    burst->messages = arena_array(arena, BURST_MESSAGES + 1, sizeof *burst->messages);
    while ((more = db_next(rows, err)) == 1)
        burst->messages[burst->count++] = (struct burst_message){ .id = db_col_int(rows, 0),
            .position = db_col_int(rows, 1), .state = db_col_int(rows, 2),
                .received_ms = db_col_int(rows, 3),
            .is_automatic = db_col_int(rows, 4), .text = keep(arena, db_col_text(rows, 5)),
            .type = keep(arena, db_col_text(rows, 6)),
                .metadata = keep(arena, db_col_text(rows, 7)) };
    if (burst->count > BURST_MESSAGES) {
        burst->count = BURST_MESSAGES;
        burst->more = true;
    }
    return more < 0 ? -1 : burst->count > 0;
}

/* How long it was quiet before this burst: machines that answer each other are not. */
static int load_quiet(struct burst *burst, struct db_session *session, struct err *err)
{
    int64_t before_ms;

    if (burst->auto_turns == 0)
        return 0;
    if (db_query_int(session,
                     "SELECT max(received_ms) FROM messages WHERE conversation_id = $1 AND "
                     "position = $2",
                     DB_ARGS(db_int(burst->job.conversation_id),
                             db_int(burst->messages[0].position - 1)), 0, &before_ms,
                     err))
        return -1;
    burst->quiet_ms = burst->messages[0].received_ms - before_ms;
    return 0;
}

static struct str join(const struct burst *burst)
{
    struct buf out;
    struct str text;

    buf_init(&out, (size_t)BURST_MESSAGES * (LIMIT_TEXT_BYTES + 1));
    for (size_t i = 0; i < burst->count; i++) {
        if (i > 0)
            buf_putc(&out, '\n');
        buf_str(&out, burst->messages[i].text);
    }
    /* What an agent or a rule sees has the size of one message: the newest part of it. */
    text = buf_slice(&out);
    if (text.len > LIMIT_TEXT_BYTES) {
        size_t cut = text.len - LIMIT_TEXT_BYTES;
        while (cut < text.len && ((unsigned char)text.data[cut] & 0xc0) == 0x80)
            cut++;
        text = (struct str){ text.data + cut, text.len - cut };
    }
    text = (struct str){ arena_copy(burst->arena, text.data ? text.data : "", text.len), text.len };
    buf_fini(&out);
    return text;
}

int decide_load(struct burst *burst, struct db_session *session, struct err *err)
{
    int found;

    trace_begin(burst);
    found = load_context(burst, session, err);
    if (found == 1)
        found = load_messages(burst, session, err);
    if (found == 1 && load_quiet(burst, session, err))
        found = -1;
    if (found != 1)
        return found;
    burst->text = join(burst);
    trace_step(burst, "filter", burst->count == 1 ? "1 message"
               : arena_printf(burst->arena, "%zu messages", burst->count));
    trace_step(burst, "queue", arena_printf(burst->arena, "burst began %lld ms before",
                                            (long long)(clock_ms() - burst->job.first_ms)));
    trace_step(burst, "debounce", arena_printf(burst->arena, "due %lld ms ago",
                                               (long long)(clock_ms() - burst->job.due_ms)));
    return 1;
}
