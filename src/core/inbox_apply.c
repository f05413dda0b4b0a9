/* What is said about messages that are stored already: receipts, edits, deletions, reactions, and
 * the echo of the hub's own sending. Row by row, behind the group's messages. */
#include "core/inbox_group.h"
#include "core/inbox_receipt.h"
#include "core/message_edit.h"

#include "base/arena.h"

static int64_t now_ms(const struct inbox_line *line)
{
    return ((const struct inbox_prepared *)line->write->prepared)->received_ms;
}

static int apply_receipt(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    const struct channel_event *event = line->event;
    struct receipt receipt = { .tenant_id = line->write->tenant_id,
        .channel_id = line->write->channel_id, .external_id = event->external_id, .key = event->key,
        .state = event->state, .code = event->code, .hint = event->hint, .at_ms = now_ms(line),
        .segment = event->segment, .segments = event->segments };
    enum receipt_effect effect = receipt_apply(tx, &receipt, &line->result->message_id, err);

    if (effect == RECEIPT_FAILED)
        return -1;
    line->result->outcome = effect == RECEIPT_UNCHANGED ? INBOX_DUPLICATE : INBOX_STORED;
    if (effect == RECEIPT_UNCHANGED && !line->result->message_id)
        line->result->outcome = INBOX_IGNORED;      /* a token that names nothing of this channel */
    return effect == RECEIPT_EARLY ? receipt_keep(tx, &receipt, err) : 0;
}

/* The message that an edit, a deletion or a reaction is about, whoever wrote it. */
static int find_target(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    int64_t id;

    if (db_query_int(tx,
        "SELECT id FROM messages WHERE tenant_id = $1 AND channel_id = $2 AND direction IN (0, 1) "
        "AND external_id = $3 ORDER BY id LIMIT 1",
        DB_ARGS(db_int(line->write->tenant_id), db_int(line->write->channel_id),
                db_text(line->event->external_id)), 0, &id, err))
        return -1;
    line->result->message_id = id;
    if (id)
        return 1;
    line->result->outcome = INBOX_REFUSED;
    err_set(&line->result->err, ERR_NOT_FOUND,
            "The message that this is about is not stored here.");
    err_hint(&line->result->err, "Hand in the message itself first.");
    return 0;
}

int inbox_apply(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    const struct channel_event *event = line->event;
    struct message_ref ref = { .tenant_id = line->write->tenant_id, .at_ms = now_ms(line) };
    struct reaction reaction = { line->address.len > 0 ? line->address : STR("hub"), event->text };
    int found, changed = 0;

    if (event->kind == CHANNEL_RECEIPT)
        return apply_receipt(tx, line, err);
    if (inbox_is_person(event))
        return inbox_apply_person(tx, line, err);
    found = find_target(tx, line, err);
    if (found != 1)
        return found;
    ref.id = line->result->message_id;
    if (event->kind == CHANNEL_EDIT)
        changed = message_edit(tx, &ref, event->text.data ? event->text : STR(""), err);
    else if (event->kind == CHANNEL_DELETE)
        changed = message_delete(tx, &ref, err);
    else if (event->kind == CHANNEL_REACTION)
        changed = message_react(tx, &ref, &reaction, err);
    line->result->outcome = changed > 0 ? INBOX_STORED : INBOX_DUPLICATE;
    return changed < 0 ? -1 : 0;
}

/* A message in this conversation with the same text whose sending has no known end. */
static int find_sending(struct db_session *tx, const struct inbox_line *line, struct message *out,
                        struct err *err)
{
    struct db_rows *rows = db_query(tx,
        "SELECT m.id, m.conversation_id, m.state FROM conversations c "
        "JOIN messages m ON m.conversation_id = c.id WHERE c.tenant_id = $1 "
        "AND c.channel_id = $2 AND c.peer = $3 AND m.direction = 1 AND m.state IN ($4, $5) "
        "AND m.external_id IS NULL AND m.text = $6 AND m.position > c.last_position - 200 "
        "ORDER BY m.position LIMIT 1",
        DB_ARGS(db_int(line->write->tenant_id), db_int(line->write->channel_id),
                db_text(line->peer), db_int(MESSAGE_SENDING), db_int(MESSAGE_UNKNOWN),
                db_text(line->event->text.data ? line->event->text : STR(""))), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    out->id = db_col_int(rows, 0);
    out->conversation_id = db_col_int(rows, 1);
    out->state = db_col_int(rows, 2);
    db_rows_end(rows);
    return 1;
}

static int is_text_echo(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    struct message message = { .tenant_id = line->write->tenant_id, .direction = MESSAGE_OUT,
                               .channel_id = line->write->channel_id };
    struct message_change change = { .to = MESSAGE_SENT, .at_ms = now_ms(line),
                                     .external_id = line->external_id };
    enum message_state from;
    int found = find_sending(tx, line, &message, err);

    if (found != 1)
        return found;
    from = (enum message_state)message.state;
    line->result->outcome = INBOX_DUPLICATE;
    line->result->message_id = message.id;
    /* while it is being sent its worker still waits for the provider's answer and says the state */
    if (from == MESSAGE_UNKNOWN && message_advance(tx, &message, from, &change, err) < 0)
        return -1;
    if (from == MESSAGE_UNKNOWN
        && db_exec(tx, "DELETE FROM jobs WHERE message_id = $1 AND kind = 1 AND head = 0 "
                   "AND state IN (2, 3)", DB_ARGS(db_int(message.id)), err) < 0)
        return -1;
    return 1;
}

/* What names a part that the hub sent, by our token or by the id that the provider gave it, is an echo
 * whatever its text; it says as much as a receipt "sent". */
static int is_named_echo(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    const struct receipt receipt = { .tenant_id = line->write->tenant_id, .channel_id = line->write->channel_id,
        .external_id = line->event->external_id, .key = line->event->key, .state = MESSAGE_SENT,
        .at_ms = now_ms(line) };
    int64_t message_id = 0;

    if ((receipt.key.len > 0 || receipt.external_id.len > 0)
        && receipt_apply(tx, &receipt, &message_id, err) == RECEIPT_FAILED)
        return -1;
    if (!message_id)
        return 0;
    line->result->outcome = INBOX_DUPLICATE;
    line->result->message_id = message_id;
    return 1;
}

int inbox_is_echo(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    int named = is_named_echo(tx, line, err);

    return named || line->event->is_history ? named : is_text_echo(tx, line, err);
}
