/* channel_row.h - a channel as it is stored and shown: the row with its policy, limits and health.
 * Drivers never see it. */
#pragma once

#include "base/err.h"
#include "db/row.h"

struct arena;
struct json_writer;

enum channel_state { CHANNEL_ENABLED, CHANNEL_DISABLED };
enum channel_policy { POLICY_AUTO_REPLY, POLICY_FOLLOW_UP, POLICY_HUMAN_TAKEOVER };

extern const char *const channel_state_words[]; /* "enabled", "disabled", NULL */
extern const char
    *const channel_policy_words[]; /* "auto_reply", "follow_up", "human_takeover", NULL */

/* Messages that may leave; 0: no limit. */
struct channel_rates {
    int64_t per_second, per_hour, per_day, per_contact_hour;
    int64_t spacing_ms, new_per_day, warmup_days;   /* core/pace.h */
};

/* What the workers note. */
struct channel_health {
    int64_t next_send_ms, breaker_faults, breaker_until_ms, last_heard_ms, poll_until_ms, alarm_ms;
    struct str cursor, last_error, poll_node, gaps;
    struct str alarm;               /* silent for too long (core/silence.h): a sentence */
};

/* What the channel's bridge says of itself (core/bridge.h). */
struct channel_bridge {
    struct str state, code, error;
    int64_t at_ms;
};

struct channel_row {
    int64_t id, tenant_id, state, policy, debounce_ms, created_ms, updated_ms;
    struct str kind, name, hook, region, agent, auto_reply, help_text;
    struct str settings;            /* what is not secret, a JSON object */
    struct str secrets;             /* sealed */
    struct str secret_names;        /* a JSON array of the secrets that are set; no column */
    struct channel_rates rates;
    struct channel_health health;
    struct channel_bridge bridge;
    int64_t pulls;                  /* its far side fetches what is to be sent (core/offer.h) */
};

/* Read the channel that `row->tenant_id` and `row->id` name. 1 found, 0 not, -1 failed. */
int channel_row_get(struct db_session *session, struct arena *arena, struct channel_row *row,
                    struct err *err);

/* A part of a tenant's channels, in order of id. */
struct channel_page {
    int64_t tenant_id, after_id;    /* behind this one; 0: from the first */
    int limit;                      /* at most LIMIT_PAGE_MAX */
    struct channel_row *rows;       /* out, in the arena */
    int count;                      /* out */
};

/* Fill the page. 0, or -1 failed. */
int channel_rows(struct db_session *session, struct arena *arena, struct channel_page *page,
                 struct err *err);

/* Write the row as a JSON object value: its public columns, `hook_path` ("/hooks/...") and
 * `secrets`, the names of those that are set, never their values. */
void channel_row_json(struct json_writer *writer, struct arena *arena,
                      const struct channel_row *row);
