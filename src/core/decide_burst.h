/* decide_burst.h - what the parts of core/decide share: one burst of a conversation, loaded,
 * planned, written; included by decide*.c alone. */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "core/agent.h"
#include "core/channel.h"
#include "core/channel_row.h"
#include "core/consent.h"
#include "core/decide.h"
#include "core/message_set.h"
#include "core/optout.h"
#include "core/outbox.h"
#include "core/queue_lane.h"
#include "core/rule.h"

/* one decision covers at most so many; the rest gets the next one */
#define BURST_MESSAGES 100
#define BURST_WRITES 16             /* replies and forwardings of one decision */

struct burst_message {
    int64_t id, position, state, received_ms;
    bool is_automatic;
    struct str text, type, metadata;
};

/* Steps and their times, as JSON. */
struct trace {
    struct buf json;
    struct json_writer writer;
    int64_t started_us;
};

/* What the plan writes. */
struct plan {
    enum decision_action action;
    struct str reason;
    int64_t rule_id, decision_id;
    const char *agent;              /* driver that answered */
    struct outbox_write *writes[BURST_WRITES];
    size_t write_count;
    int64_t reply_id;               /* the answer among them, 0: none */
    struct rule_forward webhooks[BURST_WRITES];
    int64_t first_webhook_id;
    size_t webhook_count;
    enum optout_word optout;
    bool waits, agent_failed;       /* the conversation's mark for people */
    int64_t hops;
    struct str trace;               /* as stored */
};

struct burst {
    struct arena *arena;
    struct decider *decider;
    struct hub *hub;
    struct job job;
    bool leased;                    /* an agent is asked: the job is running */
    int64_t leased_attempt;         /* the number decide_lease took, valid once it committed */
    bool more;                      /* messages are left for the next decision */

    /* the conversation and its channel */
    int64_t last_position, is_group, auto_turns, paused_until_ms, policy;
    /* quiet_ms: since the message before the burst */
    int64_t contact_id, opted_out_ms, opted_out_by, quiet_ms;
    struct str contact_name, address, assigned_to, agent, auto_reply, help_text;
    const char *channel_name, *kind;
    const struct channel_driver *driver;
    struct queue_ready ready;       /* may the channel send now? */
    bool can_send;                  /* it is enabled */

    struct burst_message *messages;
    size_t count;
    struct str text;                /* joined by newlines */
    struct rule_effects effects;
    struct trace trace;
    struct plan plan;
    bool written, superseded;       /* out of decide_write: stored; overtaken by newer messages */
};

/* decide_load.c: read the burst. 1, 0 nothing is left to decide (the job is to be removed), -1. */
int decide_load(struct burst *burst, struct db_session *session, struct err *err);

/* decide_plan.c: opt-out words, rules, guards, policy. Pure but for the ids and addresses of what
 * is to be sent. Returns 1 when the agent named in burst->agent is to be asked first, else 0;
 * -1. */
int decide_plan(struct burst *burst, const struct rule_list *rules, struct err *err);

/* decide_plan.c: the agent's answer, its failure for good, or a burst that cannot be decided. */
int decide_plan_answer(struct burst *burst, enum agent_outcome outcome,
                       const struct agent_output *output,
                       struct err *err);
void decide_plan_failed(struct burst *burst, const char *what, const struct err *why);

/* decide_act.c: write these bursts in one transaction that already runs; each says whether it was
 * written. */
int decide_write(struct db_session *tx, struct burst **bursts, size_t count, struct err *err);

/* decide_act.c: take the lease for an agent's time: the messages are processing. 1, 0 overtaken,
 * -1. */
int decide_lease(struct db_session *tx, struct burst *burst, struct err *err);

/* decide_load.c: add one step to the trace: its name and what it found; and the JSON so far, in the
 * arena. */
void trace_step(struct burst *burst, const char *step, const char *found);
struct str trace_json(struct burst *burst);
