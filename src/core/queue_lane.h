/* queue_lane.h - the lanes' housekeeping: what becomes due joins, leases are renewed, what dead
 * workers left is taken over, and the jobs that are not sends are claimed. */
#pragma once

#include "core/queue.h"

/* Take the rows of these conversations, in the order in which everybody takes them: who holds them
 * may change their lanes. */
int queue_lock_lanes(struct db_session *tx, const int64_t *lanes, size_t count, struct err *err);

/* Waiting jobs whose time has come: backing-off heads become ready, scheduled ones join their lane.
 * An ordinary transaction of up to 500 jobs. Returns how many. */
int queue_join(struct hub *hub, struct err *err);

/* Finish a claimed send inside a transaction that already runs: what queue_finish_kind does. 0, -1. */
int queue_finish_in(struct db_session *tx, struct queue_finish *finish, struct err *err);

/* Renew the leases of these jobs (id, attempt) that this node still holds. */
struct queue_held {
    int64_t job_id, attempt;
};
int queue_heartbeat(struct db *db, const struct queue_held *held, size_t count, struct err *err);

/* Let the leases of all other nodes run out now; not of what was offered to a far side, which still has it. For
 * the start of the only hub of a database. */
int queue_orphan(struct hub *hub, struct err *err);

/* Jobs of a kind whose lease ran out, oldest first, read only. Sends come as queue_send: what the
 * dead worker claimed and how far it came (state: the message's; attempt_id: the try that has no
 * end, 0: it had not begun). */
int queue_expired_sends(struct db_session *session, struct arena *arena, struct queue_send **sends,
                        size_t *count,
                        struct err *err);

/* --- Jobs of the other kinds: decide, webhook, fetch ------------------------------------------------- */

struct job {
    int64_t id, tenant_id, kind, lane, lane_seq, attempt, failures, channel_id, conversation_id,
        message_id;
    int64_t first_ms, due_ms, messages;
    struct str data;
};

/* Ready heads of a kind that are due, in order, at most `limit`; decide jobs only where no other
 * decision runs in the conversation. `next_ms` is lowered to when there is to be looked again. */
struct queue_due {
    enum job_kind kind;
    int limit;
    int64_t next_ms;
    struct job *jobs;           /* out: in the arena */
    size_t count;
};
int queue_due(struct db_session *session, struct arena *arena, struct queue_due *due,
              struct err *err);

/* Inside a transaction: take a lease on a job that is still as it was read: 1 and job->attempt is
 * the new number, 0 it is not, -1. */
int queue_take(struct db_session *tx, struct job *job, const char *node, struct err *err);

/* End a job this worker holds (state running, its attempt): remove it, or make it due again at
 * due_ms with `failures`. 1, 0 when the lease was lost, -1. The lane's next becomes head. */
int queue_remove(struct db_session *tx, const struct job *job, struct err *err);
int queue_again(struct db_session *tx, const struct job *job, int64_t due_ms, struct str error,
                struct err *err);

/* Jobs of a kind whose lease ran out go back with one failure more; webhooks that failed too often
 * are removed. Returns how many. */
int queue_recover(struct hub *hub, enum job_kind kind, struct err *err);
