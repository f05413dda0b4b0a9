#include "core/ids.h"

#include "base/arena.h"
#include "db/db.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define BLOCK_IDS 262144 /* a block is one small transaction; unused ids are lost at the end */
#define REFILL_IDS (BLOCK_IDS / 2)  /* the next block is drawn when fewer than these are left */

struct block {
    int64_t next, end;
};

struct ids {
    struct db *db;
    pthread_mutex_t lock;
    pthread_cond_t drawn;
    struct block current, spare;
    bool drawing;
};

static int draw_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct block *block = arg;
    struct db_rows *rows = db_query(tx,
                                    "INSERT INTO id_blocks (name, next) VALUES ('ids', $1) ON "
                                    "CONFLICT (name) DO UPDATE SET next = id_blocks.next + $2 "
                                    "RETURNING next",
                                    DB_ARGS(db_int(1 + BLOCK_IDS), db_int(BLOCK_IDS)), err);

    if (!rows || db_next(rows, err) != 1)
        return -1;
    block->end = db_col_int(rows, 0);
    block->next = block->end - BLOCK_IDS;
    return 0;
}

/* With the lock held and `drawing` unset: let go of it, draw a block as the spare one, take it
 * again. */
static int draw(struct ids *ids, struct err *err)
{
    struct block block = { 0 };
    int result;

    ids->drawing = true;
    pthread_mutex_unlock(&ids->lock);
    result = db_write(ids->db, draw_tx, &block, err);
    pthread_mutex_lock(&ids->lock);
    ids->drawing = false;
    if (!result)
        ids->spare = block;
    pthread_cond_broadcast(&ids->drawn);
    return result;
}

struct ids *ids_open(struct db *db, struct err *err)
{
    struct ids *ids = mem_alloc(sizeof *ids);
    int result;

    ids->db = db;
    pthread_mutex_init(&ids->lock, NULL);
    pthread_cond_init(&ids->drawn, NULL);
    pthread_mutex_lock(&ids->lock);
    result = draw(ids, err);
    pthread_mutex_unlock(&ids->lock);
    if (!result)
        return ids;
    ids_close(ids);
    return NULL;
}

void ids_close(struct ids *ids)
{
    if (!ids)
        return;
    pthread_cond_destroy(&ids->drawn);
    pthread_mutex_destroy(&ids->lock);
    free(ids);
}

int64_t ids_next(struct ids *ids, struct err *err)
{
    return ids_take(ids, 1, err);
}

static bool fits(const struct block *block, size_t count)
{
    return (uint64_t)(block->end - block->next) >= count;
}

int64_t ids_take(struct ids *ids, size_t count, struct err *err)
{
    int64_t first = -1;

    if (count == 0 || count > BLOCK_IDS)
        return err_set(err, ERR_INTERNAL, "%zu ids were asked for at once", count);
    pthread_mutex_lock(&ids->lock);
    while (first < 0) {
        if (fits(&ids->current, count)) {
            first = ids->current.next;
            ids->current.next += (int64_t)count;
        } else if (ids->spare.end) {
            ids->current = ids->spare;
            ids->spare = (struct block){ 0 };
        } else if (ids->drawing) {
            pthread_cond_wait(&ids->drawn, &ids->lock);
        } else if (draw(ids, err)) {
            break;
        }
    }
    /* Ahead of need, and if it fails now there is time to fail again. */
    if (first >= 0 && !ids->spare.end && !ids->drawing && !fits(&ids->current, REFILL_IDS))
        draw(ids, NULL);
    pthread_mutex_unlock(&ids->lock);
    return first;
}
