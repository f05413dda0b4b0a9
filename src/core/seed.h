/* seed.h - a realistic set of any size for tests and demonstrations: people of several countries on
 * several channels, words and conversations with a Zipf distribution, messages in every usual
 * state. The same number gives the same set. */
#pragma once

#include "core/hub.h"

/* What is wanted. */
struct seed_plan {
    int64_t tenant_id;
    int64_t messages;
    uint64_t number;            /* of the set */
    int64_t now_ms;             /* the newest message's time; the oldest is 90 days before */
};

/* What was made. */
struct seed_result {
    int64_t messages, conversations, channels;
    int64_t elapsed_ms;
};

/* Add the set, in transactions of a few thousand messages; `progress` (may be NULL) is called after
 * each. Channels of the kinds that need no settings are added where missing. ERR_CONFLICT when the
 * set of this number is there already. */
struct seed_progress {
    void (*tell)(void *arg, int64_t done, int64_t wanted);
    void *arg;
};
int seed_fill(struct hub *hub, const struct seed_plan *plan, const struct seed_progress *progress,
              struct seed_result *out, struct err *err);
