#include "core/act.h"

#include "base/arena.h"
#include "base/id.h"
#include "core/channel.h"
#include "core/contact.h"
#include "core/conversation.h"
#include "core/event.h"
#include "core/message_edit.h"
#include "core/queue.h"

#include <stdio.h>

const char *const act_words[] = { "message", "reaction", "edit", "delete", "read", "typing", NULL };

static const unsigned abilities[] = { [SEND_REACTION] = CHANNEL_CAN_REACT, [SEND_EDIT] = CHANNEL_CAN_EDIT,
    [SEND_DELETE] = CHANNEL_CAN_DELETE, [SEND_READ] = CHANNEL_CAN_READ, [SEND_TYPING] = CHANNEL_CAN_TYPING };

/* --- Queueing --------------------------------------------------------------------------------------------------- */

/* What an act is done to, and where. */
struct target {
    struct message message;
    int64_t last_position, opted_out_ms, channel_state;
    const struct channel_driver *driver;
    struct str channel_name;
};

static struct str keep(struct db_session *tx, struct str text)
{
    return (struct str){ str_dup(db_arena(tx), text), text.len };
}

static int read_place(struct db_session *tx, struct target *target, struct err *err)
{
    const struct message *message = &target->message;
    struct db_rows *rows = db_query(tx,
        "SELECT v.last_position, c.kind, c.name, c.state, k.opted_out_ms FROM conversations v JOIN channels c "
        "ON c.tenant_id = v.tenant_id AND c.id = v.channel_id LEFT JOIN contacts k ON k.tenant_id = v.tenant_id "
        "AND k.id = v.contact_id WHERE v.tenant_id = $1 AND v.id = $2",
        DB_ARGS(db_int(message->tenant_id), db_int(message->conversation_id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    target->last_position = db_col_int(rows, 0);
    target->driver = channel_driver_find(db_col_text(rows, 1));
    target->channel_name = keep(tx, db_col_text(rows, 2));
    target->channel_state = db_col_int(rows, 3);
    target->opted_out_ms = db_col_int(rows, 4);
    db_rows_end(rows);
    return 1;
}

/* The conversation is taken first: the act joins its lane. */
static int take(struct db_session *tx, const struct act *act, struct target *target, struct err *err)
{
    struct message *message = &target->message;
    int found;

    *target = (struct target){ .message = { .tenant_id = act->tenant_id, .id = act->message_id } };
    found = message_get(tx, db_arena(tx), message, err);
    if (found == 1)
        found = conversation_lock(tx, act->tenant_id, message->conversation_id, err);
    if (found == 1)
        found = message_get(tx, db_arena(tx), message, err);
    if (found == 1)
        found = read_place(tx, target, err);
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "There is no such message.");
    return found == 1 ? 0 : -1;
}

static bool is_out(const struct message *message)
{
    return message->direction == MESSAGE_OUT && (message->state == MESSAGE_SENT
        || message->state == MESSAGE_DELIVERED || message->state == MESSAGE_READ);
}

static bool is_of_ours(enum send_act act)
{
    return act == SEND_EDIT || act == SEND_DELETE;
}

/* Is there nobody to be told? */
static bool is_local(const struct act *act, const struct target *target)
{
    const struct message *message = &target->message;
    bool can = target->driver && (target->driver->can & abilities[act->act]);

    if (is_of_ours(act->act))
        return !is_out(message);
    return act->act == SEND_READ && (!can || message->external_id.len == 0 || target->channel_state != 0);
}

static int refuse(const struct act *act, const struct target *target, const char *why, struct err *err)
{
    err_set(err, ERR_CONFLICT, "%s", why);
    if (is_of_ours(act->act))
        return err_hint(err, "The contact has it. Write a new message, or say \"local\": then the hub alone changes.");
    return err_hint(err, "The channel \"%.*s\" says what it can: message-hub channels kinds",
                    STR_FMT(target->channel_name));
}

static int check(const struct act *act, const struct target *target, struct err *err)
{
    static const char *const cannot[] = { [SEND_REACTION] = "This channel cannot send reactions.",
        [SEND_EDIT] = "This channel cannot change what was sent.",
        [SEND_DELETE] = "This channel cannot take back what was sent.", [SEND_READ] = "", [SEND_TYPING] = "" };
    const struct message *message = &target->message;

    if (message->times.deleted_ms)
        return err_set(err, ERR_CONFLICT, "The message was deleted.");
    if (!channel_sends(target->driver) || !(target->driver->can & abilities[act->act]))
        return refuse(act, target, cannot[act->act], err);
    if (target->channel_state != 0) {
        err_set(err, ERR_CONFLICT, "The channel \"%.*s\" is disabled.", STR_FMT(target->channel_name));
        return err_hint(err, "Enable it: message-hub channels enable %.*s", STR_FMT(target->channel_name));
    }
    if (message->external_id.len == 0 || (message->direction == MESSAGE_OUT && !is_out(message)))
        return refuse(act, target, "The provider gave no id of this message, so it cannot be named to it.", err);
    if (message->parts > 1 && is_of_ours(act->act))
        return refuse(act, target, "The message was sent in several parts, which cannot be changed as one.", err);
    if (target->opted_out_ms && act->act != SEND_DELETE && act->act != SEND_READ)
        return refuse(act, target, "The contact wants no more messages.", err);
    return 0;
}

static void announce(struct db_session *tx, const struct act *act, int64_t conversation_id, int64_t state)
{
    event_add(tx, &(struct event){ .tenant_id = act->tenant_id, .kind = "message.act", .object_id = act->message_id,
        .conversation_id = conversation_id, .at_ms = act->at_ms,
        .data = str_c(arena_printf(db_arena(tx), "{\"act\":\"%s\",\"state\":\"%s\"}", act_words[act->act],
                                   message_state_words[state])) });
}

static int add_rows(struct db_session *tx, const struct act *act, const struct target *target, struct err *err)
{
    const struct message *message = &target->message;
    int64_t lane = message->conversation_id;

    if (db_exec(tx, "INSERT INTO acts (id, tenant_id, conversation_id, channel_id, message_id, act, text, state, "
                "created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
                DB_ARGS(db_int(act->id), db_int(act->tenant_id), db_int(lane), db_int(message->channel_id),
                        db_int(message->id), db_int(act->act), db_text(act->text.data ? act->text : STR("")),
                        db_int(MESSAGE_QUEUED), db_int(act->at_ms)), err) < 0
        || db_exec(tx, "INSERT INTO jobs (id, tenant_id, kind, state, lane, lane_seq, head, rank_ms, due_ms, "
                   "channel_id, conversation_id, act_id, first_ms, created_ms) "
                   "VALUES ($1, $2, 1, 0, $3, $4, 0, $5, $6, $7, $3, $1, $6, $6)",
                   DB_ARGS(db_int(act->id), db_int(act->tenant_id), db_int(lane), db_int(target->last_position),
                           db_int(message_rank_ms(act->at_ms, PRIORITY_NORMAL)), db_int(act->at_ms),
                           db_int(message->channel_id)), err) < 0)
        return -1;
    announce(tx, act, lane, MESSAGE_QUEUED);
    return queue_promote(tx, JOB_SEND, &lane, 1, err);
}

int act_queue(struct db_session *tx, const struct act *act, struct err *err)
{
    struct target target;

    if (take(tx, act, &target, err))
        return -1;
    if (is_local(act, &target))
        return 0;
    return check(act, &target, err) || add_rows(tx, act, &target, err) ? -1 : 1;
}

/* --- Reading ---------------------------------------------------------------------------------------------------- */

struct newest {
    int64_t conversation_id, position, id;
};

/* The newest message of each conversation; their number, -1. */
static int find_newest(struct db_session *tx, const struct act_reading *reading, struct newest *out, struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), reading->count, sizeof *values);
    struct db_set set = { "WITH v(id) AS (:rows:) SELECT m.conversation_id, m.position, m.id FROM v JOIN messages m "
                          "ON m.id = v.id WHERE m.direction = 0", "i", values, reading->count };
    struct db_rows *rows;
    int count = 0, found = -1;

    for (size_t i = 0; i < reading->count; i++)
        values[i] = db_int(reading->ids[i]);
    rows = db_query_rows(tx, &set, err);
    while (rows && (found = db_next(rows, err)) == 1) {
        const struct newest one = { db_col_int(rows, 0), db_col_int(rows, 1), db_col_int(rows, 2) };
        int at = 0;

        while (at < count && out[at].conversation_id != one.conversation_id)
            at++;
        if (at == count)
            out[count++] = one;
        else if (one.position > out[at].position)
            out[at] = one;
    }
    return found < 0 ? -1 : count;
}

int act_queue_reading(struct db_session *tx, const struct act_reading *reading, struct err *err)
{
    struct newest *newest = arena_array(db_arena(tx), reading->count, sizeof *newest);
    int count = reading->count == 0 ? 0 : find_newest(tx, reading, newest, err);

    for (int i = 0; i < count; i++) {
        const struct act act = { .id = reading->first_id + i, .tenant_id = reading->tenant_id, .act = SEND_READ,
            .message_id = newest[i].id, .at_ms = reading->at_ms };
        struct target target;

        /* marking read is the hub's own business: nothing about the channel stands in its way */
        if (take(tx, &act, &target, err))
            return -1;
        if (!is_local(&act, &target) && !target.message.times.deleted_ms && add_rows(tx, &act, &target, err))
            return -1;
    }
    return count < 0 ? -1 : 0;
}

/* --- The workers' ----------------------------------------------------------------------------------------------- */

/* What the provider did is now so in the hub. */
static int store_effect(struct db_session *tx, const struct act *act, struct err *err)
{
    const struct message_ref ref = { act->tenant_id, act->message_id, act->at_ms };
    const struct reaction none = { STR("hub"), { 0 } }, now = { STR("hub"), act->text };

    switch (act->act) {
    case SEND_EDIT:
        return message_edit(tx, &ref, act->text, err) < 0 ? -1 : 0;
    case SEND_DELETE:
        return message_delete(tx, &ref, err) < 0 ? -1 : 0;
    case SEND_REACTION:     /* one at a time: a new one takes the place of the last */
        if (message_react(tx, &ref, &none, err) < 0)
            return -1;
        return act->text.len > 0 && message_react(tx, &ref, &now, err) < 0 ? -1 : 0;
    case SEND_MESSAGE:
    case SEND_READ:
    case SEND_TYPING:
        break;
    }
    return 0;
}

int act_advance(struct db_session *tx, const struct act_move *move, struct err *err)
{
    struct act act = { .id = move->id, .at_ms = move->at_ms };
    struct db_rows *rows;
    int64_t conversation_id, changed;
    int found;

    if (!message_may(MESSAGE_OUT, (enum message_state)move->from, (enum message_state)move->to))
        return 0;
    changed = db_exec(tx, "UPDATE acts SET state = $1, updated_ms = $2, "
                      "error_code = NULLIF(COALESCE($3, error_code), ''), "
                      "error_hint = NULLIF(COALESCE($4, error_hint), '') WHERE id = $5 AND state = $6",
                      DB_ARGS(db_int(move->to), db_int(move->at_ms), db_text(move->code), db_text(move->hint),
                              db_int(move->id), db_int(move->from)), err);
    if (changed != 1)
        return (int)changed;
    rows = db_query(tx, "SELECT tenant_id, message_id, act, text, conversation_id FROM acts WHERE id = $1",
                    DB_ARGS(db_int(move->id)), err);
    found = rows ? db_next(rows, err) : -1;
    if (found != 1)
        return -1;
    act.tenant_id = db_col_int(rows, 0);
    act.message_id = db_col_int(rows, 1);
    act.act = (enum send_act)db_col_int(rows, 2);
    act.text = keep(tx, db_col_text(rows, 3));
    conversation_id = db_col_int(rows, 4);
    db_rows_end(rows);
    announce(tx, &act, conversation_id, move->to);
    return move->to == MESSAGE_SENT && store_effect(tx, &act, err) ? -1 : 1;
}

/* --- Typing ------------------------------------------------------------------------------------------------------ */

static int find_place(struct hub *hub, struct arena *arena, struct conversation *of, struct contact *contact,
                      struct err *err)
{
    struct db_session *session = db_read(hub->db, of->tenant_id, err);
    int found = session ? conversation_get(session, arena, of, err) : -1;

    contact->tenant_id = of->tenant_id;
    contact->id = of->contact_id;
    if (found == 1 && of->contact_id && contact_get(session, arena, contact, err) < 0)
        found = -1;
    if (session)
        db_read_end(session);
    return found == 0 ? err_set(err, ERR_NOT_FOUND, "There is no such conversation.") : found < 0 ? -1 : 0;
}

static int type(struct hub *hub, struct arena *arena, const struct act_typing *typing, struct err *err)
{
    struct conversation of = { .id = typing->conversation_id, .tenant_id = typing->tenant_id };
    struct contact contact = { 0 };
    struct channel channel;
    struct send_result result = { 0 };
    struct send_job job = { .arena = arena, .act = SEND_TYPING, .text = typing->off ? STR("off") : STR(""),
        .parts = 1, .attempt = 1, .timeout_ms = ACT_TYPING_MS };
    char id[ID_TEXT_BYTES];
    int found;

    if (find_place(hub, arena, &of, &contact, err))
        return -1;
    found = channel_load(hub->db, arena, CHANNEL_ID(of.tenant_id, of.channel_id), &channel, err);
    if (found < 0)
        return -1;
    if (found == 0 || !channel.driver->send || !(channel.driver->can & CHANNEL_CAN_TYPING) || channel.state != 0) {
        err_set(err, ERR_CONFLICT, "This channel cannot show that somebody types.");
        return err_hint(err, "`message-hub channels kinds` says what a channel can.");
    }
    if (contact.opted_out_ms)
        return 0;
    job.conversation = of.is_group ? str_dup(arena, of.peer) : NULL;
    job.to = str_dup(arena, contact.address_given.len > 0 ? contact.address_given : of.peer);
    snprintf(job.key, sizeof job.key, "%s-0", id_encode(id, ID_CONVERSATION, of.id));
    return channel.driver->send(&channel, &job, hub->exchange, &result) == SEND_DONE;
}

int act_type(struct hub *hub, const struct act_typing *typing, struct err *err)
{
    struct arena *arena = arena_new(0);
    int told = type(hub, arena, typing, err);

    arena_free(arena);
    return told;
}
