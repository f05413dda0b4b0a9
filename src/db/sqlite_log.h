/* sqlite_log.h - SQLite's write-ahead log: how much there is of it, and copying it back into the file (checkpoints). */
#pragma once

#include "db/driver.h"

#include <sqlite3.h>

/* What the writer's connection knows of the log. */
struct sqlite_log {
    sqlite3 *handle;
    int pages;              /* in the log after the last commit */
    int asked_pages;        /* of them, when it was last said to be behind */
    int tried_pages;        /* and when the writer last tried to restart the log */
    bool fresh;             /* commits since the last quiet checkpoint */
    bool released;
};

/* Why the last call on `handle` failed, in `err` too (sqlite.c). */
enum db_failure sqlite_failed(sqlite3 *handle, struct err *err);

/* Count the pages of every commit on `handle`; SQLite's own checkpoints end. */
void sqlite_log_watch(struct sqlite_log *log, sqlite3 *handle);

/* Should the log be copied? It has grown by LIMIT_CHECKPOINT_BYTES since this last said so, or it is past
 * LIMIT_WAL_BYTES and is to start over. */
bool sqlite_log_behind(struct sqlite_log *log);

/* Copy what no reader stands in the way of; any connection may, while the writer goes on writing. */
enum db_failure sqlite_log_copy(sqlite3 *handle, int *copied_pages, struct err *err);

/* The writer's part: past LIMIT_WAL_BYTES, as soon as little is left to copy, copy it so that the log starts over, and
 * LIMIT_CHECKPOINT_BYTES later however much it is; after a quiet while copy everything; after a longer one give the
 * page cache back. Readers in the way are not waited for. */
enum db_failure sqlite_log_idle(struct sqlite_log *log, int quiet_ms, int copied_pages, struct err *err);
