/* decide.h - what is done with what contacts write: opt-out words, rules, the channel's policy, its
 * agent, or a person. Each burst of a conversation ends with exactly one decision, stored with its
 * reason and its steps in the same commit as everything that follows from it. */
#pragma once

#include "core/hub.h"
#include "db/row.h"

struct pool;
struct sender;

/* The numbers are stored. */
enum decision_action {
    DECISION_AUTO_REPLY,        /* a machine answered (rule, fixed text, agent) */
    DECISION_FOLLOW_UP,         /* a person looks at it later */
    DECISION_HUMAN_TAKEOVER,    /* a person has to answer */
    DECISION_OPT_OUT, DECISION_OPT_IN, DECISION_HELP,
    DECISION_IGNORED            /* nothing is to be done */
};
extern const char *const decision_action_words[];   /* "auto_reply", ..., NULL */

struct decision {
    int64_t id, tenant_id, conversation_id, message_id, messages, action, rule_id, reply_id,
        created_ms;
    struct str reason, agent, trace;
};

/* All columns of `decisions`, in table order. */
extern const struct column decision_columns[];

/* What lasts between steps of one process. */
struct decider {
    struct hub *hub;
    struct pool *agents;        /* runs what waits for an agent; NULL: in the calling thread */
    /* gets a reply in the commit that stores it; NULL: it is claimed later */
    struct sender *sender;
};

/* Decide what is due, a batch in one commit. Returns how many conversations were handled (also when
 * they were only handed to an agent), -1 when the storage failed; lowers `*next_ms` to the next due
 * time. */
int decide_step(struct decider *decider, int64_t *next_ms, struct err *err);
