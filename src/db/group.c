/* Group commit. The writer takes everything that has queued up, runs it in one transaction and tells each owner after
 * the commit; there is no linger, the commit under way is the window in which the next group gathers. A group in
 * which a row is bad is run again with savepoints, halving until the bad one stands alone. */
#include "db/session.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <time.h>

#define KINDS_MAX 64            /* kinds of grouped writes in the program */
#define QUIET_MS 100            /* without work for this long: checkpoint */
#define RELEASE_MS 5000         /* and for this long: give memory back */
#define PATIENT_US 500          /* how long patient writes alone wait for company */

/* An ordinary transaction as an item. */
struct ordinary {
    struct db_write_item item;
    db_tx *fn;
    void *arg;
};

static const struct db_kind ordinary_kind = { .name = "write" }, sure_kind = { .name = "write" };

static bool is_ordinary(const struct db_kind *kind)
{
    return kind == &ordinary_kind || kind == &sure_kind;
}

/* Of the clock that waits go by, also where a test has set another one. */
static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* --- The queue ---------------------------------------------------------------------------------------------------- */

int db_submit(struct db *db, struct db_write_item *item, struct err *err)
{
    bool full, refusing, wake;

    item->next = NULL;
    pthread_mutex_lock(&db->queue_lock);
    full = db->waiting >= LIMIT_WRITE_QUEUE;
    refusing = db->refusing;
    if (!full && !refusing) {
        if (item->kind->patient && db->waiting == 0)
            db->patient_until_us = now_us() + PATIENT_US;
        *db->queue_tail = item;
        db->queue_tail = &item->next;
        db->waiting++;
        db->urgent += !item->kind->patient;
    }
    wake = db->asleep && !full && !refusing;
    if (wake)
        db->asleep = false;
    pthread_mutex_unlock(&db->queue_lock);
    if (wake)
        pthread_cond_signal(&db->queue_filled);
    if (!full && !refusing)
        return 0;
    err_set(err, ERR_UNAVAILABLE, full ? "too many writes are waiting" : "the database is closing");
    if (err)
        err->retry_after_s = 1;
    return -1;
}

static void wake_waiter(struct db_write_item *item)
{
    sem_post(item->waiter);
}

/* Wait for an item; with `manual` nobody else runs the groups. */
static void wait_for(struct db *db, sem_t *done)
{
    if (db->manual)
        while (sem_trywait(done))
            group_run(db);
    else
        while (sem_wait(done) && errno == EINTR)
            continue;
}

int db_submit_wait(struct db *db, struct db_write_item *item, struct err *err)
{
    sem_t done;
    int result;

    if ((db->has_writer && pthread_equal(pthread_self(), db->writer_thread)) || teller_is_here(&db->teller))
        return err_set(err, ERR_INTERNAL, "a write was started from within a write");
    sem_init(&done, 0, 0);
    item->waiter = &done;
    item->done = wake_waiter;
    result = db_submit(db, item, err);
    if (!result) {
        wait_for(db, &done);
        if (item->err.code != ERR_NONE) {
            result = -1;
            if (err && err != &item->err)
                *err = item->err;
        }
    }
    sem_destroy(&done);
    return result;
}

int group_write(struct db *db, const struct group_call *call, struct err *err)
{
    struct ordinary write;

    write.item.kind = call->sure ? &sure_kind : &ordinary_kind;
    write.fn = call->fn;
    write.arg = call->arg;
    return db_submit_wait(db, &write.item, err);
}

/* Take what waits, one group at most, in order of arrival. */
static size_t take(struct db *db)
{
    size_t count = 0;

    pthread_mutex_lock(&db->queue_lock);
    while (db->queue && count < LIMIT_GROUP_ROWS) {
        db->urgent -= !db->queue->kind->patient;
        db->taken[count++] = db->queue;
        db->queue = db->queue->next;
    }
    if (!db->queue)
        db->queue_tail = &db->queue;
    db->waiting -= count;
    pthread_mutex_unlock(&db->queue_lock);
    return count;
}

/* Sort what was taken by kind into db->group, kinds by their order, ordinary writes last, arrival order inside. */
static void sort_group(struct db *db, size_t count)
{
    const struct db_kind *kinds[KINDS_MAX];
    size_t starts[KINDS_MAX + 1] = { 0 }, kind_count = 0;

    for (size_t i = 0; i < count; i++) {
        const struct db_kind *kind = db->taken[i]->kind;
        size_t at = 0, to;

        while (at < kind_count && kinds[at] != kind)
            at++;
        if (at == kind_count) {
            bool last = is_ordinary(kind);

            assert(kind_count < KINDS_MAX);
            for (to = kind_count++; to > 0 && !last; to--) {
                if (!is_ordinary(kinds[to - 1]) && kinds[to - 1]->order <= kind->order)
                    break;
                kinds[to] = kinds[to - 1];
            }
            kinds[last ? kind_count - 1 : to] = kind;
        }
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < kind_count; k++)
            starts[k + 1] += kinds[k] == db->taken[i]->kind;
    for (size_t k = 0; k < kind_count; k++)
        starts[k + 1] += starts[k];
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < kind_count; k++)
            if (kinds[k] == db->taken[i]->kind)
                db->group[starts[k]++] = db->taken[i];
}

/* --- One transaction ---------------------------------------------------------------------------------------------- */

static void refuse(struct db_write_item *item, const struct err *err)
{
    item->err = *err;
    if (item->err.code == ERR_NONE)
        err_set(&item->err, ERR_INTERNAL, "the %s write failed without saying why", item->kind->name);
}

static int run_items(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    err->code = ERR_NONE;
    if (is_ordinary(items[0]->kind)) {
        struct ordinary *write = (struct ordinary *)items[0];

        return write->fn(tx, write->arg, err);
    }
    return items[0]->kind->run(tx, items, count, err);
}

/* Run items of one kind behind a savepoint; when they fail for a reason of their own, each half by itself, down to the
 * one that is refused. An ordinary write's own error concerns nobody else. */
static enum db_failure run_saved(struct db_session *tx, struct db_write_item **items, size_t count, struct err *err)
{
    bool ordinary = is_ordinary(items[0]->kind);
    struct savepoint savepoint;
    enum db_failure failure = session_save(tx, &savepoint, err), verdict;
    size_t half = count / 2;

    if (failure != DB_OK)
        return failure;
    if (!run_items(tx, items, count, err))
        return session_release(tx, err);
    verdict = ordinary && tx->failure < DB_FAIL_RETRY ? DB_FAIL_DATA : session_verdict(tx, err);
    if (verdict >= DB_FAIL_RETRY)
        return verdict;
    if (count == 1)
        refuse(items[0], err);
    failure = session_undo(tx, &savepoint, err);
    if (failure != DB_OK || count == 1)
        return failure;
    failure = run_saved(tx, items, half, err);
    return failure == DB_OK ? run_saved(tx, items + half, count - half, err) : failure;
}

static size_t same_kind(struct db_write_item **items, size_t count)
{
    size_t same = 1;

    if (is_ordinary(items[0]->kind))
        return 1;
    while (same < count && items[same]->kind == items[0]->kind)
        same++;
    return same;
}

/* All items in one transaction. Savepoints stand around ordinary writes that have company, unless they are sure, and
 * around everything when `careful`. */
static enum db_failure try_group(struct db_session *tx, struct db_write_item **items, size_t count, bool careful,
                                 struct err *err)
{
    enum db_failure failure = session_begin(tx, true, err);

    for (size_t i = 0; i < count; i++)
        items[i]->err.code = ERR_NONE;
    for (size_t at = 0, same; at < count && failure == DB_OK; at += same) {
        same = same_kind(items + at, count - at);
        if (careful || (items[at]->kind == &ordinary_kind && count > 1))
            failure = run_saved(tx, items + at, same, err);
        else if (run_items(tx, items + at, same, err))
            failure = session_verdict(tx, err);
    }
    if (failure == DB_OK)
        failure = session_commit(tx, err);
    if (failure != DB_OK)
        session_rollback(tx);
    return failure;
}

static enum db_failure try_repeatedly(struct db_session *tx, struct db_write_item **items, size_t count, bool careful,
                                      struct err *err)
{
    struct repeat repeat = { 0 };
    enum db_failure failure;

    do {
        failure = try_group(tx, items, count, careful, err);
    } while (failure == DB_FAIL_RETRY && repeat_again(tx->db, &repeat));
    if (failure == DB_FAIL_RETRY) {
        err->code = ERR_UNAVAILABLE;
        err->retry_after_s = err->retry_after_s ? err->retry_after_s : 1;
    }
    return failure;
}

/* Run, find the bad ones, and fill every item's err. What only the commit complains about (a deferred constraint) is
 * found by committing the halves by themselves. False: all were refused. */
static bool settle(struct db_session *tx, struct db_write_item **items, size_t count)
{
    struct err err = { 0 };
    enum db_failure failure = try_repeatedly(tx, items, count, false, &err);
    bool first, second;

    if (failure != DB_OK && failure < DB_FAIL_RETRY && count > 1)
        failure = try_repeatedly(tx, items, count, true, &err);
    if (failure == DB_OK)
        return true;
    if (failure >= DB_FAIL_RETRY || count == 1) {
        for (size_t i = 0; i < count; i++)
            refuse(items[i], &err);
        return false;
    }
    first = settle(tx, items, count / 2);
    second = settle(tx, items + count / 2, count - count / 2);
    return first || second;
}

/* One step of copying or tidying up: a failed sync ends the process, a slow one is reported. */
static void watch(struct db *db, enum db_failure failure, int64_t start_us, const struct err *err)
{
    int64_t spent_us = clock_mono_us() - start_us;

    if (failure == DB_FAIL_FATAL)
        session_fatal(err);
    if (spent_us < LIMIT_COMMIT_TRACE_MS * INT64_C(1000))
        return;
    atomic_fetch_add_explicit(&db->slow, 1, memory_order_relaxed);
    if (db->hooks.slow)
        db->hooks.slow(db->hooks.arg, "checkpoint", spent_us, 0);
}

static enum db_failure copy(struct db *db, struct db_connection *connection, struct err *err)
{
    int copied_pages = 0;
    enum db_failure failure = db->driver->copy(connection, &copied_pages, err);

    atomic_store(&db->copied_pages, copied_pages);
    return failure;
}

static void house_keep(struct db *db, int quiet_ms)
{
    struct db_connection *connection = db->writer->connection;
    int64_t start_us = clock_mono_us();
    enum db_failure failure = DB_OK;
    struct err err = { 0 };

    if (!db->driver->idle || !connection)
        return;
    if (db->driver->behind(connection)) {
        if (db->has_copier)
            sem_post(&db->copy_wanted);
        else
            failure = copy(db, connection, &err);
    }
    if (failure == DB_OK)
        failure = db->driver->idle(connection, quiet_ms, atomic_load(&db->copied_pages), &err);
    watch(db, failure, start_us, &err);
}

/* Copying takes ten times as long as a group, so it is not the writer who does it; what is written meanwhile is for
 * the next round. */
void *group_copy(void *arg)
{
    struct db *db = arg;
    struct db_session *session = session_new(db, DB_ROLE_READER);

    for (;;) {
        struct err err = { 0 };

        while (sem_wait(&db->copy_wanted) && errno == EINTR)
            continue;
        while (!sem_trywait(&db->copy_wanted))
            continue;
        if (atomic_load(&db->closing))
            break;
        if (session_connect(session, &err))
            continue;       /* the writer does it at the log's limit */
        if (copy(db, session->connection, &err) == DB_FAIL_FATAL)
            session_fatal(&err);
    }
    session_free(session);
    return NULL;
}

int group_run(struct db *db)
{
    size_t count;
    bool stored;

    pthread_mutex_lock(&db->writer_lock);
    count = take(db);
    if (!count) {
        pthread_mutex_unlock(&db->writer_lock);
        return 0;
    }
    sort_group(db, count);
    stored = settle(db->writer, db->group, count);
    session_trace(db->writer, count);
    atomic_fetch_add_explicit(&db->groups, stored, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->items, (int64_t)count, memory_order_relaxed);
    teller_tell(&db->teller, db->group, count);
    if (stored && db->hooks.committed)
        db->hooks.committed(db->hooks.arg);
    session_clean(db->writer);
    house_keep(db, 0);
    pthread_mutex_unlock(&db->writer_lock);
    return stored ? (int)count : -1;
}

/* --- The writer's thread ------------------------------------------------------------------------------------------ */

/* When to look again if nothing urgent comes. */
static int64_t look_us(const struct db *db, int64_t until_us)
{
    return db->queue && db->patient_until_us < until_us ? db->patient_until_us : until_us;
}

/* Is there something to do now? */
static bool has_work(const struct db *db)
{
    return db->urgent || db->refusing || (db->queue && now_us() >= db->patient_until_us);
}

/* Sleep until something is queued, the database closes or `timeout_ms` have passed. False: it closes and is done. */
static bool wait_for_work(struct db *db, int timeout_ms)
{
    int64_t until_us = now_us() + timeout_ms * INT64_C(1000), at_us;
    bool more;

    pthread_mutex_lock(&db->queue_lock);
    while (!has_work(db) && (at_us = look_us(db, until_us)) > now_us()) {
        struct timespec at = { at_us / 1000000, at_us % 1000000 * 1000 };

        db->asleep = true;
        pthread_cond_timedwait(&db->queue_filled, &db->queue_lock, &at);
    }
    db->asleep = false;
    more = db->queue || !db->refusing;
    pthread_mutex_unlock(&db->queue_lock);
    return more;
}

/* SQLite has no listener: its writer gives the tick. */
static void tick(struct db *db, int64_t *next_us)
{
    if (!db->driver->shared_writer || !db->hooks.notified || clock_mono_us() < *next_us)
        return;
    *next_us = clock_mono_us() + LIMIT_POLL_MS * INT64_C(1000);
    db->hooks.notified(db->hooks.arg, "", "");
}

/* Nothing is written: give memory back. A connection to SQLite is made again in no time, one to PostgreSQL is not. */
static void rest(struct db *db, int quiet_ms)
{
    if (db->driver->shared_writer)
        pool_rest(&db->readers, clock_mono_us() - RELEASE_MS * INT64_C(1000));
    if (quiet_ms == RELEASE_MS)
        malloc_trim(0);
}

void *group_main(void *arg)
{
    struct db *db = arg;
    int64_t next_tick_us = clock_mono_us() + LIMIT_POLL_MS * INT64_C(1000);
    int quiet_ms = QUIET_MS;

    while (wait_for_work(db, quiet_ms == QUIET_MS ? QUIET_MS : quiet_ms == RELEASE_MS ? RELEASE_MS : LIMIT_POLL_MS)) {
        if (group_run(db)) {
            quiet_ms = QUIET_MS;
        } else {
            house_keep(db, quiet_ms < RELEASE_MS ? quiet_ms : RELEASE_MS);
            if (quiet_ms >= RELEASE_MS)
                rest(db, quiet_ms);
            quiet_ms = quiet_ms == QUIET_MS ? RELEASE_MS : LIMIT_POLL_MS;
        }
        tick(db, &next_tick_us);
    }
    return NULL;
}
