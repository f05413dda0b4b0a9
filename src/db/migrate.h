/* migrate.h - append-only, checksummed schema changes, run at start. Killed at any point, old or new stands. */
#pragma once

#include "base/embedded.h"
#include "base/err.h"

struct db;

/* The embedded files of src/db/migrations, in order: "0001_core.sql", ... (generated). */
extern const struct embedded migrations[];

/* Apply what is missing, each file in one transaction, and record name and checksum in `schema_migrations`. A file
 * runs on both databases; on SQLite the words BIGINT and BYTEA become INTEGER and BLOB. A statement whose first line
 * is "-- only: postgres" or "-- only: sqlite" runs on that database alone. Statements end with ";" at the end of a
 * line (outside $$ ... $$). Refuses, naming the cure: a checksum that differs from the one recorded, a schema newer
 * than the program. SQLite: a database that holds something is copied before (db/sqlite_backup.h), and without that
 * copy nothing changes. PostgreSQL: under an advisory lock, with lock_timeout 2 s. `applied` (may be NULL) counts. */
int migrate(struct db *db, const struct embedded *files, int *applied, struct err *err);

/* The number of the newest migration recorded (0: none). -1 on failure. */
int migrate_version(struct db *db, struct err *err);
