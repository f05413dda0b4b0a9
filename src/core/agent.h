/* agent.h - the contract of agent drivers: what answers instead of a person. A driver is `const
 * struct agent_driver agent_<file name>`; like a channel driver it has no state, no thread and no
 * clock. The gate (who may be answered, how often) is the core's (core/decide.h), never the
 * agent's. */
#pragma once

#include "base/err.h"
#include "base/field.h"
#include "net/exchange.h"

struct arena;

/* One burst of inbound messages, joined by newlines, and what the conversation's channel is set
 * to. */
struct agent_input {
    struct arena *arena;
    struct str text;
    const char *contact;        /* a pseudonym, never the address (FEATURES 009) */
    struct fields settings;
    int timeout_ms;
};

enum agent_outcome {
    AGENT_ANSWERED,     /* `text` is the answer */
    AGENT_SILENT,       /* nothing to say */
    AGENT_LATER,        /* will answer through an event (issue 4) */
    AGENT_FAILED        /* err says why; the core tries again, then hands over to a person */
};

struct agent_output {
    struct str text;            /* in the input's arena */
    struct str reason;          /* one sentence for the decision */
};

struct agent_driver {
    const char *name;
    const char *title;
    const struct field *settings;
    enum agent_outcome (*answer)(const struct agent_input *input, struct exchange *exchange,
                                 struct agent_output *output,
                                 struct err *err);
};

/* All agents, generated from the files in src/agents; ends with NULL. */
extern const struct agent_driver *const agent_drivers[];

/* The agent of that name, or NULL. */
const struct agent_driver *agent_driver_find(struct str name);
