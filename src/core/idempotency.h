/* idempotency.h - Idempotency-Key: the first answer is stored with the write and replayed; another
 * body is refused. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "db/db.h"

#include <stdbool.h>

struct arena;

struct idempotency {
    int64_t tenant_id, key_id;          /* the API key that asked */
    struct str name;                    /* the header's value */
    unsigned char body_hash[32];        /* of method, path and body */
    int status;                         /* the answer */
    struct str answer;
};

/* Look before the work: 1 and the stored answer in `out` (status, answer in the arena); 0 unknown;
 * -1 with ERR_KEY_REUSED when the hash differs. */
int idempotency_find(struct db_session *session, struct arena *arena, struct idempotency *out,
                     struct err *err);

/* Store inside the write's transaction: 1 stored, 0 the name is already there (a concurrent twin
 * won), -1 failed. */
int idempotency_store(struct db_session *tx, const struct idempotency *idempotency,
                      struct err *err);

/* The same for many, of one group: `stored[i]` says whether items[i] was. Of several with the same
 * name the first one is. 0, -1. */
int idempotency_store_all(struct db_session *tx, const struct idempotency **items, size_t count,
                          bool *stored, struct err *err);

/* Replace the stored answer: the write turned out otherwise than its answer, rendered before it,
 * says. 0, -1. */
int idempotency_replace(struct db_session *tx, const struct idempotency *idempotency,
                        struct err *err);
