/* rule.h - rules: what is done with messages that match, before any policy or agent. They are
 * evaluated in order of their position; pure once loaded. */
#pragma once

#include "base/field.h"
#include "core/message.h"

struct arena;

struct rule {
    int64_t id, tenant_id, position, state, hits, created_ms, updated_ms;
    struct str name, matches, actions;
};

/* All columns of `rules`, in table order. */
extern const struct column rule_columns[];
extern const char *const rule_state_words[];        /* "enabled", "disabled", NULL */

/* What `matches` and `actions` may hold: for the check, the documentation and OpenAPI. */
extern const struct field rule_match_fields[];
extern const struct field rule_action_fields[];
extern const struct field rule_forward_fields[];

/* Check both JSON objects; the error names the field ("actions.forward"). */
int rule_check(struct arena *arena, struct str matches, struct str actions, struct err *err);

/* A rule ready to be matched. */
struct rule_parsed {
    int64_t id;
    const char *name;
    struct fields *matches, *actions;
};
struct rule_list {
    struct rule_parsed *items;
    size_t count;
};

/* The tenant's enabled rules in order, in the arena. One that cannot be read any more is left
 * out. */
int rule_load(struct db_session *session, struct arena *arena, int64_t tenant_id,
              struct rule_list *out, struct err *err);

/* What is looked at. `text` is the burst, joined by newlines. */
struct rule_subject {
    const char *channel, *kind;         /* its name; its driver */
    int64_t channel_id;
    struct str sender, name, text, type;
    int64_t hops;                       /* how often it was forwarded already */
};

enum rule_switch { RULE_AS_IS, RULE_ON, RULE_OFF };

/* One forwarding: to an address on a channel, or to a webhook. */
struct rule_forward {
    int64_t rule_id;
    struct str channel, to, url;
};

/* What the matching rules want together. */
struct rule_effects {
    const struct rule_parsed **hits;    /* those that matched, in order */
    size_t hit_count;
    struct str tags[32];
    size_t tag_count;
    struct rule_forward forwards[16];
    size_t forward_count;
    int64_t priority;                   /* -1: as it was */
    struct str answer;                  /* absent: none; the first rule's that has one */
    const struct rule_parsed *answered_by, *assigned_by, *stopped_by;
    struct str assign;                  /* absent: nobody */
    enum rule_switch agent;
    /* a forwarding was left out: the message goes round in circles */
    bool too_many_hops;
};

/* Does one rule match? */
bool rule_matches(struct arena *arena, const struct rule_parsed *rule,
                  const struct rule_subject *subject);

/* Evaluate all of them; texts are in the arena. */
void rule_evaluate(struct arena *arena, const struct rule_list *rules,
                   const struct rule_subject *subject,
                   struct rule_effects *out);
