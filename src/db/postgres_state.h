/* postgres_state.h - what PostgreSQL's SQLSTATEs mean for a transaction. */
#pragma once

#include "db/driver.h"

#define PG_READ_ONLY "25006"    /* a write on a standby */

/* A passing fault is never taken for a bad row; what is not known is a bug of ours. */
enum db_failure pg_failure(const char *state);
