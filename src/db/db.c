/* Opening and closing a database, its pools of sessions, ordinary transactions, and the listener's thread. */
#include "db/session.h"

#include "base/clock.h"
#include "base/id.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define READERS 4
#define WRITERS 2
#define SESSIONS_MAX 256

/* --- Pools -------------------------------------------------------------------------------------------------------- */

/* Condition variables wait on the monotonic clock. */
static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void pool_init(struct pool *pool, int max)
{
    pthread_mutex_init(&pool->lock, NULL);
    cond_init(&pool->returned);
    pool->max = max > SESSIONS_MAX ? SESSIONS_MAX : max;
    pool->all = mem_alloc((size_t)pool->max * sizeof *pool->all);
}

static void pool_fini(struct pool *pool)
{
    for (int i = 0; i < pool->count; i++)
        session_free(pool->all[i]);
    free(pool->all);
    pthread_cond_destroy(&pool->returned);
    pthread_mutex_destroy(&pool->lock);
}

/* The session used last is the warmest. A new one is made while the pool is not full. */
static struct db_session *pool_take(struct db *db, struct pool *pool, enum db_role role, struct err *err)
{
    struct db_session *session = NULL;
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LIMIT_CONNECT_MS / 1000;
    pthread_mutex_lock(&pool->lock);
    while (!pool->free && pool->count == pool->max)
        if (pthread_cond_timedwait(&pool->returned, &pool->lock, &until))
            break;
    if (pool->free) {
        session = pool->free;
        pool->free = session->next;
    } else if (pool->count < pool->max) {
        session = pool->all[pool->count++] = session_new(db, role);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!session) {
        err_set(err, ERR_UNAVAILABLE, "all %d database sessions were busy for %d s", pool->max,
                LIMIT_CONNECT_MS / 1000);
        if (err)
            err->retry_after_s = 1;
    }
    return session;
}

static void pool_return(struct pool *pool, struct db_session *session)
{
    session->returned_us = clock_mono_us();
    pthread_mutex_lock(&pool->lock);
    session->next = pool->free;
    pool->free = session;
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_signal(&pool->returned);
}

void pool_rest(struct pool *pool, int64_t since_us)
{
    pthread_mutex_lock(&pool->lock);
    for (struct db_session *session = pool->free; session; session = session->next)
        if (session->returned_us < since_us)
            session_disconnect(session);
    pthread_mutex_unlock(&pool->lock);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

struct db_session *db_read(struct db *db, int64_t tenant_id, struct err *err)
{
    struct db_session *session = pool_take(db, &db->readers, DB_ROLE_READER, err);
    struct err local;

    if (!session)
        return NULL;
    if (!err)
        err = &local;
    session_clean(session);
    if (session_connect(session, err))
        goto done;
    if (session->tenant_id != tenant_id && db->driver->tenant)
        db->driver->tenant(session->connection, tenant_id);
    session->tenant_id = tenant_id;
    if (db->driver->begin(session->connection, false, err) == DB_OK)
        return session;
done:
    pool_return(&db->readers, session);
    return NULL;
}

void db_read_end(struct db_session *session)
{
    session_rollback(session);
    session_clean(session);
    pool_return(&session->db->readers, session);
}

/* --- Ordinary transactions ---------------------------------------------------------------------------------------- */

static enum db_failure try_write(struct db_session *tx, db_tx *fn, void *arg, struct err *err)
{
    enum db_failure failure = session_begin(tx, true, err);

    if (failure == DB_OK && fn(tx, arg, err)) {
        failure = tx->failure >= DB_FAIL_RETRY ? tx->failure : DB_FAIL_DATA;
        if (err->code == ERR_NONE)
            err_set(err, ERR_INTERNAL, "a write failed without saying why");
    }
    if (failure == DB_OK)
        failure = session_commit(tx, err);
    if (failure != DB_OK)
        session_rollback(tx);
    return failure;
}

static int write_in(struct db_session *tx, db_tx *fn, void *arg, struct err *err)
{
    struct repeat repeat = { 0 };
    enum db_failure failure;

    do {
        err->code = ERR_NONE;
        failure = try_write(tx, fn, arg, err);
    } while (failure == DB_FAIL_RETRY && repeat_again(tx->db, &repeat));
    session_clean(tx);
    if (failure == DB_FAIL_RETRY) {
        err->code = ERR_UNAVAILABLE;
        err->retry_after_s = err->retry_after_s ? err->retry_after_s : 1;
    }
    if (failure != DB_OK)
        return -1;
    err->code = ERR_NONE;
    session_trace(tx, 1);
    if (tx->db->hooks.committed)
        tx->db->hooks.committed(tx->db->hooks.arg);
    return 0;
}

static int write_once(struct db *db, const struct group_call *call, struct err *err)
{
    struct db_session *session;
    struct err local = { 0 };
    int result;

    if (!err)
        err = &local;
    if (db->driver->shared_writer && !db->manual)
        return group_write(db, call, err);
    if (db->driver->shared_writer) {
        pthread_mutex_lock(&db->writer_lock);
        result = write_in(db->writer, call->fn, call->arg, err);
        pthread_mutex_unlock(&db->writer_lock);
        return result;
    }
    session = pool_take(db, &db->writers, DB_ROLE_WRITER, err);
    if (!session)
        return -1;
    result = write_in(session, call->fn, call->arg, err);
    pool_return(&db->writers, session);
    return result;
}

int db_write(struct db *db, db_tx *fn, void *arg, struct err *err)
{
    return write_once(db, &(struct group_call){ fn, arg, false }, err);
}

int db_write_sure(struct db *db, db_tx *fn, void *arg, struct err *err)
{
    return write_once(db, &(struct group_call){ fn, arg, true }, err);
}

/* --- The listener's thread ---------------------------------------------------------------------------------------- */

static void tell(struct db *db, const struct db_notice *notice)
{
    db->hooks.notified(db->hooks.arg, notice->channel, notice->payload);
}

static void sleep_until_closing(struct db *db, int timeout_ms)
{
    struct pollfd wake = { .fd = db->wake_fd, .events = POLLIN };

    while (poll(&wake, 1, timeout_ms) < 0 && errno == EINTR)
        continue;
}

static struct db_connection *listen_again(struct db *db, int *pause_ms)
{
    struct err err = { 0 };
    struct db_connection *connection = db->driver->connect(db->url, DB_ROLE_LISTENER, &err);

    if (connection && !db->driver->listen(connection, (const char *const *)db->listen, &err)) {
        *pause_ms = 0;
        tell(db, &(struct db_notice){ 0 });
        return connection;
    }
    if (connection)
        db->driver->disconnect(connection);
    *pause_ms = *pause_ms ? *pause_ms * 2 : 100;
    if (*pause_ms > LIMIT_CONNECT_MS)
        *pause_ms = LIMIT_CONNECT_MS;
    sleep_until_closing(db, *pause_ms / 2 + (int)id_random_below((uint32_t)*pause_ms));
    return NULL;
}

/* Hand on notifications; every LIMIT_POLL_MS say "look for yourself" and make sure that the link still answers. */
static void *listen_main(void *arg)
{
    struct db *db = arg;
    struct db_connection *connection = NULL;
    int64_t next_tick_us = clock_mono_us() + LIMIT_POLL_MS * INT64_C(1000);
    int pause_ms = 0;

    while (!atomic_load(&db->closing)) {
        struct db_notice notice = { 0 };
        struct err err;
        int64_t left_ms = (next_tick_us - clock_mono_us()) / 1000;
        int got = 0;

        if (left_ms <= 0) {
            next_tick_us = clock_mono_us() + LIMIT_POLL_MS * INT64_C(1000);
            tell(db, &notice);
            if (connection && db->driver->script(connection, "SELECT 1", &err) != DB_OK)
                got = -1;
        } else if (!connection && db->listen) {
            connection = listen_again(db, &pause_ms);
        } else if (!connection) {
            sleep_until_closing(db, (int)left_ms);
        } else {
            got = db->driver->wait(connection, (int)left_ms, db->wake_fd, &notice);
        }
        if (got > 0)
            tell(db, &notice);
        if (got < 0) {
            db->driver->disconnect(connection);
            connection = NULL;
        }
    }
    if (connection)
        db->driver->disconnect(connection);
    return NULL;
}

/* --- Opening and closing ------------------------------------------------------------------------------------------ */

static const struct db_driver *find_driver(const char *url, struct err *err)
{
    if (url && !strncmp(url, "sqlite:", 7))
        return &db_sqlite;
    if (url && (!strncmp(url, "postgresql://", 13) || !strncmp(url, "postgres://", 11)))
        return &db_postgres;
    err_set(err, ERR_INVALID, "the database address is neither sqlite: nor postgresql:");
    err_hint(err, "Write sqlite:/path/to/hub.db or postgresql://user@host/database.");
    return NULL;
}

static char **copy_list(const char *const *list)
{
    size_t count = 0;
    char **copy;

    if (!list || !list[0])
        return NULL;
    while (list[count])
        count++;
    copy = mem_alloc((count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_strdup(list[i]);
    return copy;
}

static void release(struct db *db)
{
    session_free(db->writer);
    pool_fini(&db->readers);
    pool_fini(&db->writers);
    pthread_cond_destroy(&db->queue_filled);
    sem_destroy(&db->copy_wanted);
    teller_fini(&db->teller);
    pthread_mutex_destroy(&db->queue_lock);
    pthread_mutex_destroy(&db->writer_lock);
    if (db->wake_fd >= 0)
        close(db->wake_fd);
    for (size_t i = 0; db->listen && db->listen[i]; i++)
        free(db->listen[i]);
    free(db->listen);
    free(db->url);
    free(db);
}

static int start_threads(struct db *db, struct err *err)
{
    if (db->manual)
        return 0;
    if (db->wake_fd < 0)
        return err_set(err, ERR_UNAVAILABLE, "too many open files");
    if (db->driver->copy && pthread_create(&db->copier_thread, NULL, group_copy, db))
        return err_set(err, ERR_UNAVAILABLE, "cannot start the database's checkpoint thread");
    db->has_copier = db->driver->copy != NULL;
    if (!teller_start(&db->teller))
        return err_set(err, ERR_UNAVAILABLE, "cannot start the database's answering thread");
    if (pthread_create(&db->writer_thread, NULL, group_main, db))
        return err_set(err, ERR_UNAVAILABLE, "cannot start the database's writer thread");
    db->has_writer = true;
    if (!db->hooks.notified || !db->driver->wait)
        return 0;
    if (pthread_create(&db->listener_thread, NULL, listen_main, db))
        return err_set(err, ERR_UNAVAILABLE, "cannot start the database's listener thread");
    db->has_listener = true;
    return 0;
}

struct db *db_open(const struct db_options *options, struct err *err)
{
    const struct db_driver *driver = find_driver(options->url, err);
    struct err local;
    struct db *db;

    if (!driver)
        return NULL;
    db = mem_alloc(sizeof *db);
    db->driver = driver;
    db->url = mem_strdup(options->url);
    db->hooks = options->hooks;
    db->manual = options->manual;
    db->listen = copy_list(options->listen);
    db->queue_tail = &db->queue;
    db->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pool_init(&db->readers, options->readers > 0 ? options->readers : READERS);
    pool_init(&db->writers, options->writers > 0 ? options->writers : WRITERS);
    pthread_mutex_init(&db->queue_lock, NULL);
    pthread_mutex_init(&db->writer_lock, NULL);
    cond_init(&db->queue_filled);
    sem_init(&db->copy_wanted, 0, 0);
    teller_init(&db->teller);
    db->writer = session_new(db, DB_ROLE_WRITER);
    if (!session_connect(db->writer, err ? err : &local) && !start_threads(db, err))
        return db;
    db_close(db);
    return NULL;
}

void db_close(struct db *db)
{
    uint64_t one = 1;

    if (!db)
        return;
    pthread_mutex_lock(&db->queue_lock);
    db->refusing = true;
    atomic_store(&db->closing, true);
    pthread_mutex_unlock(&db->queue_lock);
    pthread_cond_signal(&db->queue_filled);
    if (db->has_listener && write(db->wake_fd, &one, sizeof one) < 0)
        abort();    /* a fresh eventfd takes one */
    if (db->has_writer)
        pthread_join(db->writer_thread, NULL);
    if (db->has_listener)
        pthread_join(db->listener_thread, NULL);
    sem_post(&db->copy_wanted);
    if (db->has_copier)
        pthread_join(db->copier_thread, NULL);
    db->has_copier = false;
    teller_stop(&db->teller);
    while (group_run(db))
        continue;
    release(db);
}

int db_step(struct db *db)
{
    return group_run(db);
}

bool db_is_postgres(const struct db *db)
{
    return db->driver == &db_postgres;
}

void db_stats(struct db *db, struct db_stats *out)
{
    pthread_mutex_lock(&db->queue_lock);
    out->waiting = (int64_t)db->waiting;
    pthread_mutex_unlock(&db->queue_lock);
    out->groups = atomic_load_explicit(&db->groups, memory_order_relaxed);
    out->items = atomic_load_explicit(&db->items, memory_order_relaxed);
    out->slow = atomic_load_explicit(&db->slow, memory_order_relaxed);
    out->retried = atomic_load_explicit(&db->retried, memory_order_relaxed);
}
