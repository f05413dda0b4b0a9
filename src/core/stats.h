/* stats.h - how much there is: for the stats operation and /metrics. */
#pragma once

#include "core/hub.h"
#include "core/message.h"

#define STATS_JOB_KINDS 4       /* 1 send, 2 decide, 3 webhook */
#define STATS_JOB_STATES 4      /* ready, running, waiting, held */

extern const char *const stats_job_kinds[];     /* "", "send", "decide", "webhook", NULL */
extern const char *const stats_job_states[];    /* "ready", "running", "waiting", "held", NULL */

struct stats_queue {
    int64_t jobs[STATS_JOB_KINDS][STATS_JOB_STATES];
    int64_t oldest_send_ms;     /* when the send that waits longest became due; 0: none waits */
    int64_t parked;             /* what could not be understood and was not replayed */
    int64_t rows;               /* inbound_rows not imported yet */
    int64_t silent;             /* enabled channels that are silent for too long */
};

struct stats {
    int64_t messages[2][MESSAGE_STATES];        /* by direction and state */
    int64_t conversations, unread, contacts, devices, channels, rules;
};

/* Count for a tenant, messages only those stored since `since_ms`: looks at an index entry for each of these, at no
 * other message. */
int stats_read(struct db_session *session, int64_t tenant_id, int64_t since_ms, struct stats *out, struct err *err);

/* What waits, of a tenant (0: all): cheap while little waits, however many messages there are. */
int stats_queue_read(struct db_session *session, int64_t tenant_id, struct stats_queue *out, struct err *err);

/* A tenant's messages that are on their way out or need a person, of all times: as cheap as these are few. */
struct stats_outbox {
    int64_t queued, sending, held, unknown, failed;
};
int stats_outbox_read(struct db_session *session, int64_t tenant_id, const struct stats_queue *queue,
                      struct stats_outbox *out, struct err *err);
