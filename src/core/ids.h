/* ids.h - ids drawn in blocks before the write, never reused. One sequence for all kinds of object.
 */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct db;
struct ids;

/* Draws its first block at once (an ordinary transaction); later blocks are drawn when the current
 * one is nearly used, by the thread that notices. */
struct ids *ids_open(struct db *db, struct err *err);
void ids_close(struct ids *ids);

/* The next id; or the first of `count` consecutive ones. Any thread. -1 with err when the database
 * does not answer and the block is used up. Never from within a db_tx or a db_kind: drawing a block
 * is a write of its own. */
int64_t ids_next(struct ids *ids, struct err *err);
int64_t ids_take(struct ids *ids, size_t count, struct err *err);
