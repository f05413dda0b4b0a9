/* queue.h - the durable jobs: claim with a lease, finish, and the lanes that keep conversations in order.
 *
 * What a row of `jobs` says (DESIGN.md 6):
 *   lane, lane_seq  jobs of one kind and lane run one after the other, in order of lane_seq
 *   state           ready, running, waiting (for due_ms), held
 *   head            1: the first of its lane. Ready and running jobs are in their lane, and a waiting one with head = 1
 *                   (it backs off and keeps its place); a waiting one with head = 0 and a held one stand outside.
 * Who adds a ready job, or takes one out, holds the conversation's row and calls queue_promote (or sets head itself
 * when the lane has none). */
#pragma once

#include "core/channel_send.h"
#include "core/limit.h"
#include "core/message.h"
#include "core/pace.h"
#include "core/retry.h"

enum job_kind { JOB_SEND = 1, JOB_DECIDE, JOB_WEBHOOK, JOB_FETCH };
enum job_state { JOB_READY, JOB_RUNNING, JOB_WAITING, JOB_HELD };

/* attempts.outcome. */
enum attempt_outcome { ATTEMPT_STARTED, ATTEMPT_DONE, ATTEMPT_RETRY, ATTEMPT_REFUSED, ATTEMPT_UNSURE };
extern const char *const attempt_outcome_words[];   /* "started", "done", ..., NULL */

struct attempt {
    int64_t id, tenant_id, message_id, channel_id, attempt, part, outcome, started_ms, finished_ms;
    struct str code, detail, external_id;
};
extern const struct column attempt_columns[];

/* --- Claiming sends: a channel with heads that wait, as seen by a read ------------------------- */

struct queue_ready {
    int64_t channel_id, rank_ms;    /* of its first head */
    int64_t open_ms, faults;        /* the channel may send from then on (0: now); faults in a row by its breaker */
    bool probes;                    /* its breaker lets one through */
    bool limited;                   /* it has rate limits: the claim spends them */
    int parallel;                   /* most sends at once, by its driver; 0: no limit of its own */
};

/* Read one, without a rank, from the current row: QUEUE_READY_COLUMNS of `channels c` from `first` on. */
#define QUEUE_READY_COLUMNS \
    "c.id, c.next_send_ms, c.breaker_faults, c.breaker_until_ms, c.kind, coalesce(c.per_second, -1), " \
    "coalesce(c.per_hour, -1), coalesce(c.per_day, -1), coalesce(c.per_contact_hour, -1), " \
    PACE_COLUMNS_OF("c.")
struct queue_ready queue_ready_of(const struct db_rows *rows, int first, int64_t now_ms);

/* What is waiting, in order of rank; `next_ms` is lowered to when something becomes due or a channel opens. */
#define QUEUE_READY_MAX 256
struct queue_waiting {
    struct queue_ready ready[QUEUE_READY_MAX];
    size_t count;
    int64_t next_ms;
};
int queue_peek(struct db_session *session, struct queue_waiting *waiting, struct err *err);

/* How a claimed message is to be treated. */
enum queue_verdict {
    QUEUE_SEND,             /* sending; its attempt row says started */
    QUEUE_LOOK_UP,          /* unknown; ask the provider */
    QUEUE_EXPIRED,          /* too late */
    QUEUE_OPTED_OUT,        /* the contact wants nothing more */
    QUEUE_READDRESSED,      /* the contact is not who it was when the text was written */
    QUEUE_GONE              /* the message wants no sending any more */
};

/* A claimed send with everything it needs. */
struct queue_send {
    enum queue_verdict verdict;
    int64_t job_id, tenant_id, conversation_id, channel_id, message_id, contact_id;
    int64_t attempt;                /* the fencing number */
    int64_t failures, part, parts, state, origin, expires_ms;
    int64_t attempt_id;             /* the open attempt row, 0: none */
    int64_t faults;                 /* of the channel's breaker, when it was claimed */
    bool probes;
    enum tenant_policy policy;
    int64_t act_id;                 /* an act on the message (core/act.h): state, text, parts are its */
    enum send_act act;
    int64_t generation;             /* core/send_key.h */
    struct str to, text, reply_to, target, conversation, metadata;
};

/* The grouped claim. Slots that could not be filled stay unused; ids are drawn by queue_claim. */
struct queue_order {
    int64_t channel_id, faults;
    int slots;
    bool probes, limited;
};
struct queue_claim {
    struct db_write_item item;      /* first; kind is queue_claim_kind */
    struct arena *arena;            /* of what is claimed */
    const char *node;
    const struct queue_order *orders;
    size_t order_count;
    int64_t now_ms, first_attempt_id;
    int64_t offer_ms;               /* claimed to be offered (core/offer.h), for so long; 0: to be sent */
    struct queue_send *sends;       /* out */
    size_t count, read;             /* read: the claim's own */
};
extern const struct db_kind queue_claim_kind;

struct hub;

/* Draw ids, submit, wait. */
int queue_claim(struct hub *hub, struct queue_claim *claim, struct err *err);
/* The same inside a transaction that already runs; `now_ms` and the ids are set by the caller. */
int queue_claim_in(struct db_session *tx, struct queue_claim *claim, struct err *err);

/* --- Finishing sends -------------------------------------------------------------------------- */

enum queue_end {
    QUEUE_REMOVE,           /* done for good; the next of the lane becomes its head */
    QUEUE_AGAIN,            /* due again at due_ms; the lane waits with it */
    QUEUE_RELEASE,          /* ready as if never claimed */
    QUEUE_LEAVE,            /* looked up at due_ms; the lane goes on */
    QUEUE_HOLD,             /* for a person or a receipt; the lane goes on */
    QUEUE_NEXT_PART         /* this part is done, the next one starts */
};

/* The grouped finish of one claimed send: attempt row, message, job, lane, breaker and log lines. */
struct queue_finish {
    struct db_write_item item;      /* first; kind is queue_finish_kind */
    const struct queue_send *send;
    enum queue_end end;
    int64_t due_ms, failures, now_ms;
    int64_t stale_ms;               /* > 0: only when the lease ran out before this moment */
    struct attempt tried;           /* outcome, code, detail, external_id; ATTEMPT_STARTED: none */
    int64_t next_attempt_id;        /* NEXT_PART */
    int64_t audit_id;               /* the message fails: of its line in the audit */
    bool part_done;                 /* the provider has this part */
    enum message_state part_settled;    /* of several parts: delivered or read, when its answer said so */
    bool moves;                     /* the message changes state to change.to, then to `settled` */
    struct message_change change;
    enum message_state settled;     /* MESSAGE_RECEIVED: nothing more is known */
    struct str settled_code, settled_hint;
    bool early_receipts;            /* receipts may have come before this answer: apply them */
    bool worked, fault;             /* what the breaker learns; neither: nothing */
    bool opted_out;                 /* the provider says that the contact wants nothing more */
    struct str moved_to, moved_given;   /* ... that it is reached there: normalised, as given */
    int64_t lane;                   /* the finish's own: conversations may have been merged meanwhile */
    int64_t pause_until_ms;         /* the provider asked the channel to wait until then */
    bool done;                      /* out: false: the lease was lost, nothing was written */
};
extern const struct db_kind queue_finish_kind;

/* --- Lanes and leases ------------------------------------------------------------------------- */

/* Give each of these lanes a head when it has ready jobs and none. */
int queue_promote(struct db_session *tx, enum job_kind kind, const int64_t *lanes, size_t count,
                  struct err *err);
