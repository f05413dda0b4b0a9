/* bridge.h - programs that speak for a channel whose protocol the hub does not speak itself: what one says of itself,
 * and what it keeps here between its starts (its session), sealed. */
#pragma once

#include "core/hub.h"

#define BRIDGE_VALUE_BYTES (256 * 1024)
#define BRIDGE_VALUES 50000             /* of one channel */
#define BRIDGE_ANSWER_BYTES (8 * 1024 * 1024)

/* One thing that a bridge keeps. */
struct bridge_value {
    struct str name, value;             /* value absent: it is to be removed */
};

/* Read those whose name begins with `prefix` and follows `after`, in order of name, at most `limit`; or, with `name`,
 * that one. Stops before BRIDGE_ANSWER_BYTES. In the arena. */
struct bridge_page {
    int64_t tenant_id, channel_id;
    struct str prefix, after, name;
    int limit;
    struct bridge_value *values;        /* out */
    size_t count;
};
int bridge_read(struct hub *hub, struct arena *arena, struct bridge_page *page, struct err *err);

/* Inside a write transaction: store or remove all of them. ERR_TOO_LARGE above the ceilings. */
struct bridge_change {
    struct hub *hub;
    int64_t tenant_id, channel_id;
    const struct bridge_value *values;
    size_t count;
};
int bridge_store(struct db_session *tx, const struct bridge_change *change, struct err *err);

/* What a bridge says of itself. `code` is what pairs it: the text of a QR code, or letters to type. */
struct bridge_status {
    int64_t tenant_id, channel_id, at_ms;
    struct str state, code, error;      /* absent: none */
};
int bridge_tell(struct db_session *tx, struct hub *hub, const struct bridge_status *status, struct err *err);

/* What it said last. 1, 0 no such channel, -1. In the arena. */
int bridge_ask(struct hub *hub, struct arena *arena, struct bridge_status *status, struct err *err);
