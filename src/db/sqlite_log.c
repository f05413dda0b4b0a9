#include "db/sqlite_log.h"

#define PAGE_BYTES 4096
#define RELEASE_MS 5000         /* quiet for this long: give the page cache back */
#define FEW_PAGES 256           /* which the writer copies in about a millisecond */

static int64_t bytes(int pages)
{
    return (int64_t)pages * PAGE_BYTES;
}

static int after_commit(void *arg, sqlite3 *handle, const char *name, int pages)
{
    struct sqlite_log *log = arg;

    (void)handle, (void)name;
    if (pages < log->pages)
        log->asked_pages = log->tried_pages = 0;
    log->pages = pages;
    log->fresh = true;
    log->released = false;
    return SQLITE_OK;
}

void sqlite_log_watch(struct sqlite_log *log, sqlite3 *handle)
{
    log->handle = handle;
    sqlite3_wal_hook(handle, after_commit, log);
}

bool sqlite_log_behind(struct sqlite_log *log)
{
    if (bytes(log->pages) < LIMIT_WAL_BYTES && bytes(log->pages - log->asked_pages) < LIMIT_CHECKPOINT_BYTES)
        return false;
    log->asked_pages = log->pages;
    return true;
}

/* What is in the way (readers, another checkpoint, a full disk) is no failure: the log only stays longer. */
static enum db_failure checkpoint(sqlite3 *handle, int mode, int *copied_pages, struct err *err)
{
    enum db_failure failure = DB_OK;
    int log_pages;

    sqlite3_busy_timeout(handle, 0);
    if (sqlite3_wal_checkpoint_v2(handle, NULL, mode, &log_pages, copied_pages) != SQLITE_OK)
        failure = sqlite_failed(handle, err);
    sqlite3_busy_timeout(handle, LIMIT_CONNECT_MS);
    return failure == DB_FAIL_FATAL ? failure : DB_OK;
}

enum db_failure sqlite_log_copy(sqlite3 *handle, int *copied_pages, struct err *err)
{
    return checkpoint(handle, SQLITE_CHECKPOINT_PASSIVE, copied_pages, err);
}

/* Between two groups the writer has no time: the thread that copies in the background is asked to come near first. */
static bool is_time_to_restart(const struct sqlite_log *log, int copied_pages)
{
    int tried_ago = log->pages - log->tried_pages;

    if (bytes(log->pages) < LIMIT_WAL_BYTES)
        return false;
    if (log->pages - copied_pages <= FEW_PAGES)
        return tried_ago >= FEW_PAGES;
    return bytes(log->pages) >= LIMIT_WAL_BYTES + LIMIT_CHECKPOINT_BYTES
        && bytes(tried_ago) >= LIMIT_CHECKPOINT_BYTES / 4;
}

enum db_failure sqlite_log_idle(struct sqlite_log *log, int quiet_ms, int copied_pages, struct err *err)
{
    bool large = bytes(log->pages) >= LIMIT_WAL_BYTES;
    enum db_failure failure = DB_OK;

    if (!quiet_ms) {
        if (!is_time_to_restart(log, copied_pages))
            return DB_OK;
        log->tried_pages = log->pages;
        return checkpoint(log->handle, SQLITE_CHECKPOINT_RESTART, &copied_pages, err);
    }
    if (log->fresh)
        failure = checkpoint(log->handle, large ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
                             &copied_pages, err);
    log->fresh = false;
    if (quiet_ms >= RELEASE_MS && !log->released) {
        log->released = true;
        sqlite3_db_release_memory(log->handle);
    }
    return failure;
}
