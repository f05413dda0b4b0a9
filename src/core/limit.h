/* limit.h - rate limits of a channel: so many messages per second, hour and day, and per hour to
 * one contact. A window slides: at no time did more than the limit go out within the last second,
 * hour or day. What was used stands in table limit_use, is spent inside the claim's transaction and
 * so holds over all nodes. */
#pragma once

#include "db/db.h"

struct channel_driver;

enum limit_scope { LIMIT_PER_SECOND, LIMIT_PER_HOUR, LIMIT_PER_DAY, LIMIT_PER_CONTACT,
    LIMIT_SCOPES,
    LIMIT_SPACING = LIMIT_SCOPES, LIMIT_NEW_PER_DAY,    /* core/pace.h */
    LIMIT_ALL_SCOPES };

/* How many may leave per window; 0: no limit. */
struct limit_rule {
    int64_t max[LIMIT_SCOPES];
};

/* A window is kept in slots of equal width; each knows its uses and when the last of them was. */
struct limit_slot {
    int64_t slot, last_ms, used;
};

struct limit_window {
    struct limit_slot slots[100];
    size_t count;
};

/* The width of a scope's window in ms. */
int64_t limit_width_ms(enum limit_scope scope);

/* Pure: may `wanted` more (at least 1; more than the limit counts as the limit) leave now? */
struct limit_question {
    enum limit_scope scope;
    int64_t max, now_ms, wanted;
};
struct limit_answer {
    int64_t left;               /* INT64_MAX without a limit */
    int64_t next_ms;            /* fewer than wanted: when that many will */
};
struct limit_answer limit_left(const struct limit_question *question,
                               const struct limit_window *window);

/* Pure: count `used` more now; returns the slot that changed, to be stored. */
const struct limit_slot *limit_use(enum limit_scope scope, struct limit_window *window,
                                   int64_t now_ms, int64_t used);

/* Does any limit hold? */
bool limit_any(const struct limit_rule *rule);

/* A channel's own numbers (negative: not set) over the driver's defaults. */
struct limit_rule limit_rule_of(const struct channel_driver *driver,
                                const int64_t own[LIMIT_SCOPES]);

/* Read one window and write back a slot of it. The caller holds the channel's row. */
struct limit_target {
    int64_t tenant_id, channel_id;
    int64_t contact_id;         /* LIMIT_PER_CONTACT and LIMIT_SPACING only */
    enum limit_scope scope;
};
int limit_load(struct db_session *session, const struct limit_target *target,
               struct limit_window *out, struct err *err);
int limit_store(struct db_session *tx, const struct limit_target *target,
                const struct limit_slot *slot, struct err *err);

/* "Next send at": when a message to this contact (0: any) may leave the channel by its limits, its
 * breaker and what the provider asked for; 0: now. */
int limit_next_send(struct db_session *session, int64_t channel_id, int64_t contact_id,
                    int64_t *next_ms, struct err *err);

/* Forget what no window covers any more. */
int limit_sweep(struct db_session *tx, int64_t now_ms, struct err *err);
