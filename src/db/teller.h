/* teller.h - the thread that tells owners what became of their writes; included only inside db/. */
#pragma once

#include "db/db.h"

#include <pthread.h>

struct teller {
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct db_write_item *first, **tail;
    bool stopping;
};

/* Make one without a thread, and give back what it holds after teller_stop. */
void teller_init(struct teller *teller);
void teller_fini(struct teller *teller);

/* Start the thread; without one the caller of teller_tell does it all. False: it cannot be started. */
bool teller_start(struct teller *teller);

/* Tell what is left and wait for the thread's end. */
void teller_stop(struct teller *teller);

/* Call `done` of these items once, a few here and now, many on the thread. They may be gone when it returns. */
void teller_tell(struct teller *teller, struct db_write_item **items, size_t count);

/* Is this its thread? */
bool teller_is_here(const struct teller *teller);
