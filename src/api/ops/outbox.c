/* outbox.c - what is on its way out, and what people do to it: call back, hold, let go, try again, say what became
 * of it. */
#include "api/find.h"
#include "api/message_shape.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/message_list.h"
#include "core/outbox.h"
#include "core/queue.h"
#include "core/send.h"
#include "core/stats.h"

/* --- Inputs and answers ---------------------------------------------------------------------------------------- */

static const struct field id_fields[] = {
    { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The message.", 0, 0, ID_MESSAGE },
    { 0 }
};

static const struct field resolve_fields[] = {
    { "id", FIELD_ID, FIELD_PATH | FIELD_REQUIRED, "The message whose fate is unknown.", 0, 0, ID_MESSAGE },
    { "arrived", FIELD_BOOL, FIELD_REQUIRED, "true: it went out and counts as sent; false: it has failed.", 0, 0, NULL,
      NULL, NULL, "true" },
    { 0 }
};

static const struct field depth_fields[] = {
    { "limit", FIELD_INT, FIELD_QUERY, "How many messages to list at most.", 0, LIMIT_PAGE_MAX, NULL, "50" },
    { 0 }
};

static const struct field message_shape[] = { MESSAGE_SHAPE, { 0 } };

static const struct field waiting_shape[] = {
    { "id", FIELD_ID, FIELD_REQUIRED, "The message.", 0, 0, ID_MESSAGE },
    { "state", FIELD_ENUM, FIELD_REQUIRED, "Why it needs a person.", 0, 0, "held|unknown|failed" },
    { "to", FIELD_TEXT, FIELD_REQUIRED, "Whom it is for.", 0, LIMIT_ADDRESS_BYTES },
    { "error_code", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "What the provider said." },
    { "error_hint", FIELD_TEXT, FIELD_REQUIRED | FIELD_NULLABLE, "What to do.", 0, LIMIT_HINT_BYTES },
    { "updated_at", FIELD_TIME, FIELD_REQUIRED, "Since when." },
    { 0 }
};

static const struct field depth_shape[] = {
    { "queued", FIELD_INT, FIELD_REQUIRED, "Waiting for their turn, scheduled ones among them." },
    { "scheduled", FIELD_INT, FIELD_REQUIRED, "Of them, those that wait for their time or their next try." },
    { "sending", FIELD_INT, FIELD_REQUIRED, "Handed to a provider at this moment." },
    { "held", FIELD_INT, FIELD_REQUIRED, "Held by a person." },
    { "unknown", FIELD_INT, FIELD_REQUIRED, "May have gone out: resolve them." },
    { "failed", FIELD_INT, FIELD_REQUIRED, "Given up: retry them or let them be." },
    { "oldest_due_at", FIELD_TIME, FIELD_REQUIRED | FIELD_NULLABLE, "When the one that waits longest became due." },
    { "messages", FIELD_LIST, FIELD_REQUIRED, "The newest that need a person.", 0, LIMIT_PAGE_MAX, NULL, NULL,
      waiting_shape },
    { 0 }
};

/* --- What people do to one message ----------------------------------------------------------------------------- */

typedef int doing(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err);

static int load(struct db_session *tx, void *arg, struct err *err)
{
    int found = message_get(tx, db_arena(tx), arg, err);

    return found == 0 ? err_set(err, ERR_NOT_FOUND, "There is no such message.") : found < 0 ? -1 : 0;
}

static int put_message(struct op_call *call, void *arg, struct err *err)
{
    (void)err;
    message_json(&call->out, arg);
    return 0;
}

/* It is done: answer the message as it stands now, with the line in the audit. */
static enum op_done answer(struct op_call *call, int64_t id, struct err *err)
{
    struct message *message = arena_alloc(call->arena, sizeof *message);

    *message = (struct message){ .id = id, .tenant_id = call->tenant_id };
    return op_write(call, load, put_message, message, err);
}

static enum op_done refuse(struct op_call *call, int64_t id, const char *what, struct err *err)
{
    struct message message;

    if (find_message(call, id, &message, err) < 0)
        return OP_FAILED;
    if (message.direction == MESSAGE_IN)
        err_set(err, ERR_CONFLICT, "This message came in; only what goes out can be %s.", what);
    else
        err_set(err, ERR_CONFLICT, "The message is %s; it cannot be %s.", message_state_words[message.state], what);
    return err_hint(err, "See what happened to it: message-hub messages timeline %s",
                    id_text(call->arena, ID_MESSAGE, id));
}

static enum op_done act(struct op_call *call, doing *run, const char *what, struct err *err)
{
    int64_t id = field_number(&call->in, "id", 0);
    int done = run(call->hub, call->tenant_id, id, err);

    if (done == 0)
        return refuse(call, id, what, err);
    return done < 0 ? OP_FAILED : answer(call, id, err);
}

static enum op_done cancel(struct op_call *call, struct err *err)
{
    return act(call, outbox_cancel, "cancelled", err);
}

static enum op_done hold(struct op_call *call, struct err *err)
{
    return act(call, outbox_hold, "held", err);
}

static enum op_done retry(struct op_call *call, struct err *err)
{
    return act(call, outbox_retry, "tried again", err);
}

static enum op_done send_draft(struct op_call *call, struct err *err)
{
    return act(call, outbox_send_draft, "sent as a draft", err);
}

/* Retrying queues held messages too, but who lets a held one go does not mean a failed one. */
static enum op_done release(struct op_call *call, struct err *err)
{
    int64_t id = field_number(&call->in, "id", 0);
    struct message message;

    if (find_message(call, id, &message, err) < 0)
        return OP_FAILED;
    return message.state == MESSAGE_HELD ? act(call, outbox_retry, "released", err) : refuse(call, id, "released", err);
}

static int has_arrived(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err)
{
    return outbox_resolve(hub, tenant_id, message_id, true, err);
}

static int has_not_arrived(struct hub *hub, int64_t tenant_id, int64_t message_id, struct err *err)
{
    return outbox_resolve(hub, tenant_id, message_id, false, err);
}

static enum op_done resolve(struct op_call *call, struct err *err)
{
    return act(call, field_flag(&call->in, "arrived") ? has_arrived : has_not_arrived, "resolved", err);
}

/* --- Sending the next one at once ------------------------------------------------------------------------------ */

/* The tenant's channel whose first message is due longest. 1, 0 none, -1. */
static int next_order(struct op_call *call, struct queue_order *order, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    struct queue_waiting waiting = { .next_ms = INT64_MAX };
    int failed;

    if (!session)
        return -1;
    failed = queue_peek(session, &waiting, err);
    db_read_end(session);
    for (size_t i = 0; i < waiting.count && !failed; i++) {
        const struct queue_ready *ready = &waiting.ready[i];
        struct channel_ref ref = CHANNEL_ID(call->tenant_id, ready->channel_id);
        struct channel channel;
        int found = channel_load(call->hub->db, call->arena, ref, &channel, err);

        if (found < 0)
            return -1;
        if (found == 0)
            continue;
        *order = (struct queue_order){ ready->channel_id, 1, ready->probes, ready->limited };
        return 1;
    }
    return failed ? -1 : 0;
}

static enum op_done dispatch(struct op_call *call, struct err *err)
{
    struct queue_order order;
    struct queue_claim claim = { .arena = call->arena, .orders = &order, .order_count = 1 };
    int found = next_order(call, &order, err);

    if (found < 0 || (found == 1 && queue_claim(call->hub, &claim, err) < 0))
        return OP_FAILED;
    if (found == 0 || claim.count == 0) {
        call->response.status = 204;
        return OP_DONE;
    }
    if (send_run(call->hub, &claim.sends[0], err) < 0)
        return OP_FAILED;
    return answer(call, claim.sends[0].message_id, err);
}

/* A provider may take its time. */
static enum op_done dispatch_next(struct op_call *call, struct err *err)
{
    (void)err;
    op_slow(call, dispatch);
    return OP_LATER;
}

/* --- How much waits -------------------------------------------------------------------------------------------- */

static void put_counts(struct op_call *call, const struct stats_outbox *outbox, const struct stats_queue *queue)
{
    json_int_at(&call->out, "queued", outbox->queued);
    json_int_at(&call->out, "scheduled", queue->jobs[JOB_SEND][JOB_WAITING]);
    json_int_at(&call->out, "sending", outbox->sending);
    json_int_at(&call->out, "held", outbox->held);
    json_int_at(&call->out, "unknown", outbox->unknown);
    json_int_at(&call->out, "failed", outbox->failed);
    json_time_at(&call->out, "oldest_due_at", queue->oldest_send_ms);
}

static void put_waiting(struct op_call *call, const struct message *message)
{
    char id[ID_TEXT_BYTES];

    json_object_begin(&call->out);
    json_cstr_at(&call->out, "id", id_encode(id, ID_MESSAGE, message->id));
    json_cstr_at(&call->out, "state", message_state_words[message->state]);
    json_text_at(&call->out, "to", message->address);
    json_text_at(&call->out, "error_code", message->error_code);
    json_text_at(&call->out, "error_hint", message->error_hint);
    json_time_at(&call->out, "updated_at", message->times.updated_ms);
    json_object_end(&call->out);
}

/* The newest in the three states that need a person, merged by id. */
static int list_waiting(struct op_call *call, struct db_session *session, struct err *err)
{
    static const enum message_state states[] = { MESSAGE_HELD, MESSAGE_UNKNOWN, MESSAGE_FAILED };
    int limit = (int)field_number(&call->in, "limit", LIMIT_PAGE_DEFAULT), counts[3], at[3] = { 0 };
    struct message *lists[3];

    for (int i = 0; i < 3; i++) {
        struct message_filter filter = { .tenant_id = call->tenant_id, .direction = MESSAGE_OUT, .state = states[i],
                                         .limit = limit };

        counts[i] = limit > 0 ? message_list(session, call->arena, &filter, &lists[i], err) : 0;
        if (counts[i] < 0)
            return -1;
    }
    json_key(&call->out, "messages");
    json_array_begin(&call->out);
    for (int shown = 0; shown < limit; shown++) {
        int newest = -1;

        for (int i = 0; i < 3; i++)
            if (at[i] < counts[i] && (newest < 0 || lists[i][at[i]].id > lists[newest][at[newest]].id))
                newest = i;
        if (newest < 0)
            break;
        put_waiting(call, &lists[newest][at[newest]++]);
    }
    json_array_end(&call->out);
    return 0;
}

static enum op_done depth(struct op_call *call, struct err *err)
{
    struct db_session *session = db_read(call->hub->db, call->tenant_id, err);
    struct stats_queue queue;
    struct stats_outbox outbox;
    int failed;

    if (!session)
        return OP_FAILED;
    json_object_begin(&call->out);
    failed = stats_queue_read(session, call->tenant_id, &queue, err) < 0
        || stats_outbox_read(session, call->tenant_id, &queue, &outbox, err) < 0;
    if (!failed) {
        put_counts(call, &outbox, &queue);
        failed = list_waiting(call, session, err) < 0;
    }
    db_read_end(session);
    json_object_end(&call->out);
    return failed ? OP_FAILED : OP_DONE;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

#define ACT .method = HTTP_POST, .scope = SCOPE_SEND, .answer = message_columns, .shape = message_shape, \
    .cli_args = "id", \
    .cli_columns = "id,state,error_code,error_hint"
static const struct op_answer nothing_due[] = { { 204, "Nothing is due.", NULL }, { 0 } };

#define DISPATCH .method = HTTP_POST, .scope = SCOPE_SEND, .run = dispatch_next, .answer = message_columns, \
    .shape = message_shape, .also = nothing_due, \
    .summary = "Send the message that is due longest, now; nothing when none is due."

static const struct op rows[] = {
    { .name = "outbox.depth", .method = HTTP_GET, .path = "/api/v1/outbox", .scope = SCOPE_READ,
      .summary = "How much waits to be sent, and what needs a person.", .fields = depth_fields, .run = depth,
      .shape = depth_shape, .cli = "outbox",
      .cli_columns = "queued,scheduled,sending,held,unknown,failed,oldest_due_at",
      .example = "outbox" },
    { .name = "message.cancel", .path = "/api/v1/messages/{id}/cancel", ACT, .fields = id_fields, .run = cancel,
      .summary = "Call a message back that has not been sent.", .cli = "messages cancel",
      .example = "messages cancel msg_0123456789abc" },
    { .name = "message.send_draft", .path = "/api/v1/messages/{id}/send", ACT, .fields = id_fields, .run = send_draft,
      .summary = "Send a draft.", .cli = "messages send-draft", .example = "messages send-draft msg_0123456789abc" },
    { .name = "outbox.hold", .path = "/api/v1/outbox/{id}/hold", ACT, .fields = id_fields, .run = hold,
      .summary = "Keep a message back until it is released.", .cli = "outbox hold",
      .example = "outbox hold msg_0123456789abc" },
    { .name = "outbox.release", .path = "/api/v1/outbox/{id}/release", ACT, .fields = id_fields, .run = release,
      .summary = "Let a held message go.", .cli = "outbox release", .example = "outbox release msg_0123456789abc" },
    { .name = "outbox.retry", .path = "/api/v1/outbox/{id}/retry", ACT, .fields = id_fields, .run = retry,
      .summary = "Try a message again that failed, is held, or whose fate is unknown.", .cli = "outbox retry",
      .example = "outbox retry msg_0123456789abc" },
    { .name = "outbox.resolve", .path = "/api/v1/outbox/{id}/resolve", ACT, .fields = resolve_fields, .run = resolve,
      .summary = "Say whether a message of unknown fate arrived.", .cli = "outbox resolve",
      .example = "outbox resolve msg_0123456789abc --arrived true" },
    { .name = "outbox.dispatch_next", .path = "/api/v1/outbox/dispatch-next", DISPATCH, .cli = "outbox dispatch-next",
      .cli_columns = "id,state,error_code,error_hint", .example = "outbox dispatch-next" },
    { .name = "outbox.dispatch_next", .path = "/api/v1/messaging/outbound/dispatch-next", DISPATCH, .flags = OP_ALIAS },
};

const struct op_table ops_outbox = { "outbox", rows, sizeof rows / sizeof *rows };
