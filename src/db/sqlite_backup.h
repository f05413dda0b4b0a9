/* sqlite_backup.h - copies of a whole SQLite database, beside it. */
#pragma once

#include "base/err.h"

/* Copy the database at `url` ("sqlite:PATH", its writer idle) to PATH.schema-VERSION, mode 0600: by the online backup
 * interface, then checked by PRAGMA integrity_check, synced, and only then given its name; one of that name is
 * replaced. Of all copies so named the three of the highest versions stay. -1 with ERR_UNAVAILABLE or
 * ERR_STORAGE_FULL and what to do; then no copy of that name was made or changed. */
int sqlite_backup(const char *url, int version, struct err *err);
