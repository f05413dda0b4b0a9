#include "core/conversation_merge.h"

#include "base/arena.h"
#include "base/id.h"
#include "core/event.h"
#include "core/queue_lane.h"

/* Run one statement over two ids, $1 and $2. */
static int over(struct db_session *tx, const char *sql, int64_t first, int64_t second, struct err *err)
{
    return db_exec(tx, sql, DB_ARGS(db_int(first), db_int(second)), err) < 0 ? -1 : 0;
}

static int alone(struct db_session *tx, const char *sql, int64_t id, struct err *err)
{
    return db_exec(tx, sql, DB_ARGS(db_int(id)), err) < 0 ? -1 : 0;
}

/* --- Messages ------------------------------------------------------------------------------------------------- */

/* Each side keeps its own order: what counts is the latest time up to a message. The places are negative for a moment,
 * because a place is never taken twice. */
static const char order_sql[] =
    "WITH r(id, n) AS (SELECT x.id, ROW_NUMBER() OVER (ORDER BY x.at_ms, x.late, x.position) FROM (SELECT m.id, "
    "m.position, CASE WHEN m.conversation_id = $1 THEN 0 ELSE 1 END AS late, MAX(m.received_ms) OVER (PARTITION BY "
    "m.conversation_id ORDER BY m.position) AS at_ms FROM messages m WHERE m.conversation_id IN ($1, $2)) x) "
    "UPDATE messages SET conversation_id = $1, position = -r.n FROM r WHERE messages.id = r.id";

static int move_messages(struct db_session *tx, const struct conversation_pair *pair, struct err *err)
{
    int64_t to = pair->kept_id, from = pair->lost_id;

    if (over(tx, order_sql, to, from, err)
        || db_exec(tx, "UPDATE messages SET position = -position, contact_id = $1 WHERE conversation_id = $2 "
                   "AND position < 0", DB_ARGS(db_id(pair->contact_id), db_int(to)), err) < 0)
        return -1;
    return over(tx, "UPDATE acts SET conversation_id = $1 WHERE conversation_id = $2", to, from, err)
        || over(tx, "UPDATE decisions SET conversation_id = $1 WHERE conversation_id = $2", to, from, err) ? -1 : 0;
}

/* --- Jobs ------------------------------------------------------------------------------------------------------- */

/* There is one decision to make, over everything that nobody decided on yet. One that is being made over a part of it
 * loses its lease, or finds that the thread has changed, and begins anew. */
static int move_decisions(struct db_session *tx, const struct conversation_pair *pair, struct err *err)
{
    int64_t to = pair->kept_id, from = pair->lost_id, deciding, ready;

    if (db_query_int(tx, "SELECT COUNT(*) FROM jobs WHERE kind = 2 AND lane = $1", DB_ARGS(db_int(to)), 0, &deciding,
                     err))
        return -1;
    if (deciding)
        return alone(tx, "UPDATE jobs SET lane_seq = 0 WHERE kind = 2 AND lane = $1", to, err)
            || alone(tx, "DELETE FROM jobs WHERE kind = 2 AND lane = $1", from, err) ? -1 : 0;
    if (db_query_int(tx, "SELECT COUNT(*) FROM jobs WHERE kind = 2 AND lane = $1 AND state = 0",
                     DB_ARGS(db_int(from)), 0, &ready, err)
        || (ready && alone(tx, "DELETE FROM jobs WHERE kind = 2 AND lane = $1 AND state = 1", from, err)))
        return -1;
    return over(tx, "UPDATE jobs SET lane = $1, conversation_id = $1, lane_seq = 0, state = 0, attempt = attempt + 1, "
                "lease_until_ms = NULL WHERE kind = 2 AND lane = $2", to, from, err);
}

/* The heads are chosen anew; what runs goes on, without being a head of the lane that it came from. */
static int move_lane(struct db_session *tx, const struct conversation_pair *pair, struct err *err)
{
    int64_t to = pair->kept_id, from = pair->lost_id;

    if (alone(tx, "UPDATE jobs SET head = 0 WHERE kind IN (1, 3) AND lane = $1 AND head = 1 AND state = 0", to, err)
        || alone(tx, "UPDATE jobs SET head = 0 WHERE kind IN (1, 3) AND lane = $1 AND head = 1", from, err)
        || over(tx, "UPDATE jobs SET lane = $1, conversation_id = $1 WHERE kind IN (1, 3) AND lane = $2", to, from, err)
        || alone(tx, "UPDATE jobs SET lane_seq = (SELECT m.position FROM messages m WHERE m.id = jobs.message_id) "
                 "WHERE kind IN (1, 3) AND lane = $1 AND message_id IS NOT NULL", to, err))
        return -1;
    return queue_promote(tx, JOB_SEND, &to, 1, err) || queue_promote(tx, JOB_WEBHOOK, &to, 1, err) ? -1 : 0;
}

/* --- The row ---------------------------------------------------------------------------------------------------- */

#define THEIRS(column) "(SELECT o." column " FROM conversations o WHERE o.id = $1)"

static const char join_sql[] =
    "UPDATE conversations SET unread = unread + " THEIRS("unread") ", "
    "last_message_id = CASE WHEN " THEIRS("last_message_ms") " > last_message_ms THEN " THEIRS("last_message_id")
    " ELSE last_message_id END, "
    "last_message_ms = CASE WHEN " THEIRS("last_message_ms") " > last_message_ms THEN " THEIRS("last_message_ms")
    " ELSE last_message_ms END, "
    "state = CASE WHEN " THEIRS("state") " < state THEN " THEIRS("state") " ELSE state END, "
    "auto_turns = CASE WHEN " THEIRS("auto_turns") " > auto_turns THEN " THEIRS("auto_turns") " ELSE auto_turns END, "
    "created_ms = CASE WHEN " THEIRS("created_ms") " < created_ms THEN " THEIRS("created_ms") " ELSE created_ms END, "
    "paused_until_ms = COALESCE(paused_until_ms, " THEIRS("paused_until_ms") "), "
    "assigned_to = COALESCE(assigned_to, " THEIRS("assigned_to") "), title = COALESCE(title, " THEIRS("title") ") "
    "WHERE id = $2";

static void announce(struct db_session *tx, const struct conversation_pair *pair, int64_t id, const char *data)
{
    event_add(tx, &(struct event){ .tenant_id = pair->tenant_id, .kind = "conversation.merged", .object_id = id,
                                   .conversation_id = id, .at_ms = pair->at_ms, .data = str_c(data) });
}

int conversation_merge(struct db_session *tx, const struct conversation_pair *pair, struct err *err)
{
    const int64_t both[] = { pair->kept_id, pair->lost_id };
    struct arena *arena = db_arena(tx);

    if (queue_lock_lanes(tx, both, 2, err) || over(tx, join_sql, pair->lost_id, pair->kept_id, err)
        || move_messages(tx, pair, err) || move_decisions(tx, pair, err) || move_lane(tx, pair, err))
        return -1;
    /* only now the last place is known */
    if (over(tx, "UPDATE conversations SET updated_ms = $1, last_position = (SELECT COALESCE(MAX(m.position), 0) "
             "FROM messages m WHERE m.conversation_id = $2) WHERE id = $2", pair->at_ms, pair->kept_id, err)
        || alone(tx, "DELETE FROM conversations WHERE id = $1", pair->lost_id, err))
        return -1;
    announce(tx, pair, pair->lost_id,
             arena_printf(arena, "{\"into\":\"%s\"}", id_text(arena, ID_CONVERSATION, pair->kept_id)));
    announce(tx, pair, pair->kept_id,
             arena_printf(arena, "{\"from\":\"%s\"}", id_text(arena, ID_CONVERSATION, pair->lost_id)));
    return 0;
}
