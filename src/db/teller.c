/* Telling the owners what became of their writes while the writer is at the next group: for many of them that takes a
 * fifth of the time of their group. */
#include "db/teller.h"

#define FEW 4       /* so many are told by the writer itself, which is sooner than a thread that must wake up */

/* Tell a list of items. `done` may free its item. */
static void tell(struct db_write_item *item)
{
    while (item) {
        struct db_write_item *next = item->next;

        item->done(item);
        item = next;
    }
}

void teller_tell(struct teller *teller, struct db_write_item **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        items[i]->next = i + 1 < count ? items[i + 1] : NULL;
    if (!teller->runs || count <= FEW) {
        tell(items[0]);
        return;
    }
    pthread_mutex_lock(&teller->lock);
    *teller->tail = items[0];
    teller->tail = &items[count - 1]->next;
    pthread_mutex_unlock(&teller->lock);
    pthread_cond_signal(&teller->filled);
}

void teller_init(struct teller *teller)
{
    pthread_mutex_init(&teller->lock, NULL);
    pthread_cond_init(&teller->filled, NULL);
    teller->tail = &teller->first;
}

void teller_fini(struct teller *teller)
{
    pthread_mutex_destroy(&teller->lock);
    pthread_cond_destroy(&teller->filled);
}

static void *run(void *arg)
{
    struct teller *teller = arg;
    bool more = true;

    while (more) {
        struct db_write_item *items;

        pthread_mutex_lock(&teller->lock);
        while (!teller->first && !teller->stopping)
            pthread_cond_wait(&teller->filled, &teller->lock);
        items = teller->first;
        more = items || !teller->stopping;
        teller->first = NULL;
        teller->tail = &teller->first;
        pthread_mutex_unlock(&teller->lock);
        tell(items);
    }
    return NULL;
}

bool teller_start(struct teller *teller)
{
    teller->runs = pthread_create(&teller->thread, NULL, run, teller) == 0;
    return teller->runs;
}

void teller_stop(struct teller *teller)
{
    if (!teller->runs)
        return;
    pthread_mutex_lock(&teller->lock);
    teller->stopping = true;
    pthread_mutex_unlock(&teller->lock);
    pthread_cond_signal(&teller->filled);
    pthread_join(teller->thread, NULL);
    teller->runs = false;
}

bool teller_is_here(const struct teller *teller)
{
    return teller->runs && pthread_equal(pthread_self(), teller->thread);
}
