/* arrival.h - what has arrived of a message that went out in parts, and of parts that became several SMS. */
#pragma once

#include "core/message.h"

/* A part that went out, as a receipt names it. */
struct arrival {
    int64_t tenant_id, attempt_id, at_ms;
    struct str segment;             /* of the part; empty: all of it */
    enum message_state state;       /* delivered or read */
};

/* Remember it. 1 it is news, 0 it was known, -1. */
int arrival_note(struct db_session *tx, const struct arrival *arrival, struct err *err);

/* Remember into how many segments the provider cut a part. 1 it is news, 0 it was known, -1. */
int arrival_note_segments(struct db_session *tx, int64_t attempt_id, int64_t segments, struct err *err);

/* The least that is true of all `parts` of a message: MESSAGE_DELIVERED or MESSAGE_READ when all their segments
 * are, else MESSAGE_SENT. Where the provider has not said how many segments a part has, they are counted as SMS
 * (core/split). -1 on failure. */
int arrival_state(struct db_session *tx, int64_t message_id, int64_t parts, struct err *err);
