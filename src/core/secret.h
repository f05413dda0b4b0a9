/* secret.h - the master key: a file of 0600 made at first start, or a credential given. Its id stands in the
 * database; a node with another key refuses to start. Sub-keys for ids, logs, tokens, cursors and sealing are
 * derived from it. */
#pragma once

#include "base/err.h"
#include "base/sign.h"
#include "base/str.h"

#include <stdbool.h>

struct db;

/* Load the key from `given` (64 hex digits), the systemd credential "master-key", or the file `path`, in this order;
 * absent slices are passed over. The file is made with 0600 when `create` and absent. Refuses a file that others can
 * read. */
int secret_load(struct str given, const char *path, bool create, unsigned char key[SIGN_KEY_BYTES], struct err *err);

/* Has the database a key's id already? 1, 0, -1. */
int secret_known(struct db *db, struct err *err);

/* Compare with (or, on an empty database, store) the key's id in table hub. */
int secret_check(struct db *db, const unsigned char key[SIGN_KEY_BYTES], struct err *err);
