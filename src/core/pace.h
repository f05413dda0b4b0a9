/* pace.h - how a channel keeps from looking like a machine: a least time between two messages to one contact, few
 * contacts a day that are written to first, and less of everything while the channel is new. Beside the limits of
 * core/limit.h; what was used stands in the same table. */
#pragma once

#include "db/db.h"

struct channel_driver;

/* 0: none of it. */
struct pace {
    int64_t spacing_ms, new_per_day, warmup_days;
    int64_t age_ms;                 /* of the channel */
};

/* A channel's own numbers (negative: not set; in the order of the struct) over the driver's defaults. */
#define PACE_OWN 3
struct pace pace_of(const struct channel_driver *driver, const int64_t own[PACE_OWN], int64_t age_ms);

/* The same from a row of `channels`: PACE_COLUMNS from `first` on. */
#define PACE_COLUMNS_OF(table) \
    "coalesce(" table "spacing_ms, -1), coalesce(" table "new_per_day, -1), coalesce(" table "warmup_days, -1), " \
    table "created_ms"
#define PACE_COLUMNS PACE_COLUMNS_OF("")
struct pace pace_read(const struct db_rows *rows, int first, const struct channel_driver *driver, int64_t now_ms);

/* Does any of it hold? */
bool pace_any(const struct pace *pace);

/* Pure: what is left of a limit per day while the channel is new: it grows evenly from the first day to the last of the
 * warm-up, never below 1; 0 (no limit) stays 0. */
int64_t pace_ramp(const struct pace *pace, int64_t per_day);

/* May this message leave now? 1: yes, 0: not before `*next_ms`, -1 failed. Asks only; the caller holds the channel. */
struct pace_question {
    int64_t tenant_id, channel_id, contact_id, conversation_id, message_id, now_ms;
};
int pace_ask(struct db_session *session, const struct pace *pace, const struct pace_question *question,
             int64_t *next_ms, struct err *err);

/* It leaves: note it. */
int pace_spend(struct db_session *tx, const struct pace *pace, const struct pace_question *question, struct err *err);
