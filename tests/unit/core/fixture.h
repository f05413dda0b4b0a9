/* fixture.h - a fresh hub for the tests of the core: SQLite in a temporary folder, or, when
 * HUB_TEST_DB names a PostgreSQL, a schema of this process's own in it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "core/channel_edit.h"
#include "core/config.h"
#include "core/hub.h"
#include "core/idempotency.h"
#include "core/inbox.h"
#include "core/tenant.h"
#include "fixture_drivers.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TENANT 1

/* --- The hub ---------------------------------------------------------------------------------- */

static struct {
    char folder[64], schema[64], url[512];
    struct arena *arena;
    struct hub hub;
} fixture;

static inline bool on_postgres(void)
{
    return getenv("HUB_TEST_DB") != NULL;
}

static inline int run_sql(struct db_session *tx, void *arg, struct err *err)
{
    return db_exec(tx, arg, DB_NO_ARGS, err) < 0 ? -1 : 0;
}

/* Run a statement in a transaction of its own. */
static inline void must(const char *sql)
{
    struct err err = { 0 };

    if (db_write(fixture.hub.db, run_sql, (void *)(uintptr_t)sql, &err))
        fail_msg("%s: %s", sql, err.detail);
}

/* The first column of the first row, as a worker sees it; -1 when there is no row. */
static inline int64_t number(const char *sql)
{
    struct err err = { 0 };
    struct db_session *session = db_read(fixture.hub.db, 0, &err);
    int64_t value = -1;

    if (!session || db_query_int(session, sql, DB_NO_ARGS, -1, &value, &err))
        fail_msg("%s: %s", sql, err.detail);
    db_read_end(session);
    return value;
}

/* Schemas are made and dropped on a connection of their own. */
static inline void outside(const char *sql)
{
    struct db_options options = { .url = getenv("HUB_TEST_DB"), .manual = true };
    struct err err = { 0 };
    struct db *db = db_open(&options, &err);

    if (!db || db_write(db, run_sql, (void *)(uintptr_t)sql, &err))
        fail_msg("%s: %s", sql, err.detail);
    db_close(db);
}

static inline void open_hub(int manual)
{
    char *argv[] = { (char *)(uintptr_t)"test", (char *)(uintptr_t)"--data", fixture.folder,
                     (char *)(uintptr_t)"--database-url", fixture.url };
    struct config_words words = { argv + 1, 4 };
    struct config *config;
    struct err err = { 0 };

    memset(&fixture.hub, 0, sizeof fixture.hub);
    if (config_load(fixture.arena, &words, &config, &err))
        fail_msg("config: %s", err.detail);
    fixture.hub.config = config;
    fixture.hub.manual = manual;
    if (hub_open(&fixture.hub, &err))
        fail_msg("hub: %s %s", err.detail, err.hint);
    channel_forget();
}

/* A new hub with tenant 1. With `manual` nothing runs by itself. */
static inline void start_hub(int manual)
{
    static int count;

    memset(&fixture, 0, sizeof fixture);
    fixture.arena = arena_new(0);
    snprintf(fixture.folder, sizeof fixture.folder, "/tmp/hub-core-test.XXXXXX");
    if (!mkdtemp(fixture.folder))
        fail_msg("no temporary folder");
    if (on_postgres()) {
        char sql[128];

        snprintf(fixture.schema, sizeof fixture.schema, "core_%d_%d", (int)getpid(), ++count);
        snprintf(fixture.url, sizeof fixture.url, "%s&options=-csearch_path%%3D%s",
                 getenv("HUB_TEST_DB"), fixture.schema);
        snprintf(sql, sizeof sql, "CREATE SCHEMA %s", fixture.schema);
        outside(sql);
    } else {
        snprintf(fixture.url, sizeof fixture.url, "sqlite:%s/hub.db", fixture.folder);
    }
    open_hub(manual);
}

static inline void stop_hub(void)
{
    char command[160];

    hub_close(&fixture.hub);
    if (on_postgres()) {
        snprintf(command, sizeof command, "DROP SCHEMA %s CASCADE", fixture.schema);
        outside(command);
        snprintf(command, sizeof command, "DROP SCHEMA IF EXISTS %s_compat CASCADE",
                 fixture.schema);
        outside(command);
    }
    for (const char *const *name = (const char *const[]){ "hub.db", "hub.db-wal", "hub.db-shm",
                                                          "master.key", NULL }; *name; name++) {
        snprintf(command, sizeof command, "%s/%s", fixture.folder, *name);
        unlink(command);
    }
    rmdir(fixture.folder);
    arena_free(fixture.arena);
}

#include "fixture_receive.h"
