/* channel_edit.h - adding and changing channels, as parts of a write transaction. Settings are
 * checked by the driver's field table; those flagged FIELD_SECRET are sealed together and never
 * read back. */
#pragma once

#include "core/channel_row.h"

struct json;

/* What is wanted. Absent texts and negative numbers leave things as they are; adding takes defaults
 * for them. */
struct channel_edit {
    struct arena *arena;            /* for `row` */
    int64_t tenant_id, id;          /* adding: an id drawn by the caller */
    int64_t now_ms;
    struct str kind;                /* adding only */
    struct str name;
    struct str region, agent, auto_reply, help_text;    /* the empty text removes */
    int64_t state, policy, debounce_ms;
    struct channel_rates rates;
    const struct json
        *settings; /* an object, secrets among them; null removes a member. NULL: no change */
    struct channel_row row; /* out: as it is stored now */
};

/* An edit that changes nothing yet. */
struct channel_edit channel_edit(struct arena *arena, int64_t tenant_id, int64_t id,
                                 int64_t now_ms);

/* Both are db_tx functions; `edit` is a struct channel_edit. They add the log line channel.added or
 * channel.changed and fill `row`. ERR_INVALID names the field ("settings.token"), ERR_CONFLICT: the
 * name is taken, ERR_NOT_FOUND. */
int channel_add(struct db_session *tx, void *edit, struct err *err);
int channel_update(struct db_session *tx, void *edit, struct err *err);
