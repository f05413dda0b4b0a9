/* session.h - what session.c, statement.c, group.c, db.c and migrate.c share; included only inside db/. */
#pragma once

#include "base/arena.h"
#include "db/statement.h"
#include "db/teller.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* --- Sessions ----------------------------------------------------------------------------------------------------- */

struct db_rows {
    struct db_session *session;
    struct statement *statement;        /* NULL once it has ended */
    struct db_rows *next;
};

struct notice {
    const char *channel;
    const char *payload;
};

struct db_session {
    struct db *db;
    const struct db_driver *driver;
    struct db_connection *connection;   /* NULL before the first use */
    enum db_role role;
    struct statements statements;
    struct arena *arena;
    enum db_failure failure;            /* the worst since the transaction or savepoint began */
    struct db_rows *open;               /* queries under way; they live in the arena */
    void **deferred;
    size_t deferred_count, deferred_cap;
    struct notice *notices;             /* texts in the arena */
    size_t notice_count, notice_cap;
    int64_t tenant_id;
    int64_t mark_us, begin_us, statements_us, commit_us;    /* how long the parts of the transaction took */
    struct db_session *next;            /* free in its pool */
    int64_t returned_us;                /* to it */
};

/* A session that connects when it is first used. */
struct db_session *session_new(struct db *db, enum db_role role);
void session_free(struct db_session *session);

/* Let go of the connection; the next use makes a new one. */
void session_disconnect(struct db_session *session);

/* Make sure there is a usable connection. -1 with ERR_UNAVAILABLE (or what connecting said). */
int session_connect(struct db_session *session, struct err *err);

/* One transaction. `session_commit` runs the stamp and the notifications first; whatever fails, the caller rolls back.
 * The failure says whether to repeat. */
enum db_failure session_begin(struct db_session *session, bool write, struct err *err);
enum db_failure session_commit(struct db_session *session, struct err *err);
void session_rollback(struct db_session *session);

/* Forget rows, arena, deferred items and notifications; begin does it too. */
void session_clean(struct db_session *session);

/* One statement without parameters or rows, for schema changes. */
int session_script(struct db_session *session, const char *sql, struct err *err);

/* A savepoint inside it; undoing forgets what was deferred and announced since. */
struct savepoint {
    size_t deferred_count, notice_count;
};
enum db_failure session_save(struct db_session *session, struct savepoint *savepoint, struct err *err);
enum db_failure session_release(struct db_session *session, struct err *err);
enum db_failure session_undo(struct db_session *session, const struct savepoint *savepoint, struct err *err);

/* What a function that ran in `session` and failed with `err` means for the transaction. */
enum db_failure session_verdict(const struct db_session *session, const struct err *err);

/* Report a transaction over LIMIT_COMMIT_TRACE_MS and count it. */
void session_trace(struct db_session *session, size_t items);

/* End the process, which can no longer promise anything about the file (exit 70). */
_Noreturn void session_fatal(const struct err *err);

/* --- The database ------------------------------------------------------------------------------------------------- */

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    struct db_session *free;
    struct db_session **all;
    int count, max;
};

struct db {
    const struct db_driver *driver;
    char *url;
    struct db_hooks hooks;
    bool manual;
    char **listen;                      /* ends with NULL; may be NULL */
    struct pool readers, writers;
    struct db_session *writer;          /* runs the groups */
    pthread_mutex_t writer_lock;        /* held while the writer's session is used */
    pthread_t writer_thread, listener_thread, copier_thread;
    bool has_writer, has_listener, has_copier;
    struct teller teller;
    sem_t copy_wanted;                  /* posted for the copier */
    atomic_int copied_pages;            /* of SQLite's log, as the last copy said */
    int wake_fd;                        /* readable when the database closes */

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_filled;
    struct db_write_item *queue, **queue_tail;
    size_t waiting, urgent;             /* in the queue; those among them that are not patient */
    int64_t patient_until_us;           /* for the others */
    bool asleep;                        /* the writer waits for queue_filled */
    bool refusing;                      /* no more items */
    atomic_bool closing;
    struct db_write_item *taken[LIMIT_GROUP_ROWS], *group[LIMIT_GROUP_ROWS];    /* the writer's */

    _Atomic int64_t groups, items, slow, retried;
};

/* Repetition of a transaction that failed for a passing reason: count it, wait with growing, jittered pauses. False:
 * enough. */
struct repeat {
    int attempts;
    int64_t started_us;
};
bool repeat_again(struct db *db, struct repeat *repeat);

/* db.c: disconnect the free sessions of a pool that nobody has used since then. */
void pool_rest(struct pool *pool, int64_t since_us);

/* group.c: run one group of what is queued; the number of items, 0 when nothing waits, -1 when all were refused. */
int group_run(struct db *db);

/* group.c: the writer's thread; returns when the database closes and the queue is empty. */
void *group_main(void *db);

/* group.c: the copier's thread, which copies SQLite's log back while the writer goes on. */
void *group_copy(void *db);

/* group.c: an ordinary transaction on the writer's thread; a sure one stands behind no savepoint. */
struct group_call {
    db_tx *fn;
    void *arg;
    bool sure;
};
int group_write(struct db *db, const struct group_call *call, struct err *err);
