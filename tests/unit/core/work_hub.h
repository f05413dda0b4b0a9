/* work_hub.h - a fresh hub: SQLite in a temporary folder, or a schema of its own where HUB_TEST_DB
 * names a PostgreSQL. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/config.h"
#include "core/hub.h"
#include "work_clock.h"
#include "work_drivers.h"

#include <stdlib.h>
#include <unistd.h>

#define TENANT 1

static struct hub hub;
static struct arena *arena;
static char test_folder[64], test_schema[64];

static inline bool on_postgres(void)
{
    return getenv("HUB_TEST_DB") != NULL;
}

static inline int run_sql(struct db_session *tx, void *arg, struct err *err)
{
    return db_exec(tx, arg, DB_NO_ARGS, err) < 0 ? -1 : 0;
}

static inline void must(const char *sql)
{
    struct err err = { 0 };

    if (db_write(hub.db, run_sql, (void *)(uintptr_t)sql, &err))
        fail_msg("%s: %s", sql, err.detail);
}

#define MUST(...) must(arena_printf(arena, __VA_ARGS__))

static inline int64_t number(const char *sql)
{
    struct err err = { 0 };
    struct db_session *session = db_read(hub.db, 0, &err);
    int64_t value = -1;

    if (!session || db_query_int(session, sql, DB_NO_ARGS, -1, &value, &err))
        fail_msg("%s: %s", sql, err.detail);
    db_read_end(session);
    return value;
}

#define NUMBER(...) number(arena_printf(arena, __VA_ARGS__))

static inline const char *text_of(const char *sql)
{
    struct err err = { 0 };
    struct db_session *session = db_read(hub.db, 0, &err);
    struct db_rows *rows = session ? db_query(session, sql, DB_NO_ARGS, &err) : NULL;
    const char *text = "";

    if (!rows || db_next(rows, &err) < 0)
        fail_msg("%s: %s", sql, err.detail);
    if (db_col_text(rows, 0).data)
        text = str_dup(arena, db_col_text(rows, 0));
    db_read_end(session);
    return text;
}

static inline void make_schema(char url[512])
{
    static int count;
    struct err err = { 0 };
    struct db_options options = { .url = getenv("HUB_TEST_DB") };
    struct db *db = db_open(&options, &err);
    char sql[128];

    if (!db)
        fail_msg("cannot open %s: %s", options.url, err.detail);
    snprintf(test_schema, sizeof test_schema, "work_%d_%d", (int)getpid(), ++count);
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", test_schema);
    if (db_write(db, run_sql, sql, &err))
        fail_msg("%s: %s", sql, err.detail);
    db_close(db);
    snprintf(url, 512, "%s&options=-csearch_path%%3D%s", getenv("HUB_TEST_DB"), test_schema);
}

/* `manual` 1: the test calls every step itself; 0: writer threads run, as threads of the test need
 * them. */
static inline void open_hub(int manual)
{
    static char data[128], database[640];
    static char *flags[] = { data, database, NULL };
    struct config_words words = { flags, 2 };
    char url[512];
    struct err err = { 0 };
    struct config *config;

    arena = arena_new(0);
    clock_install(test_wall_ms, test_mono_us);
    snprintf(test_folder, sizeof test_folder, "/tmp/hub-work-test.XXXXXX");
    if (!mkdtemp(test_folder))
        fail_msg("no temporary folder");
    snprintf(url, sizeof url, "sqlite:%s/hub.db", test_folder);
    if (on_postgres())
        make_schema(url);
    snprintf(data, sizeof data, "--data=%s", test_folder);
    snprintf(database, sizeof database, "--database-url=%s", url);
    if (config_load(arena, &words, &config, &err))
        fail_msg("config: %s %s", err.field, err.detail);
    hub = (struct hub){ .config = config, .exchange = &test_exchange, .manual = manual };
    if (hub_open(&hub, &err))
        fail_msg("hub: %s %s", err.detail, err.hint);
}

static inline void close_hub(void)
{
    char command[160];

    hub_close(&hub);
    if (test_schema[0]) {
        struct err err = { 0 };
        struct db_options options = { .url = getenv("HUB_TEST_DB") };
        struct db *db = db_open(&options, &err);
        snprintf(command, sizeof command, "DROP SCHEMA %s CASCADE", test_schema);
        if (!db || db_write(db, run_sql, command, &err))
            fail_msg("%s: %s", command, err.detail);
        snprintf(command, sizeof command, "DROP SCHEMA IF EXISTS %s_compat CASCADE", test_schema);
        if (db_write(db, run_sql, command, &err))
            fail_msg("%s: %s", command, err.detail);
        db_close(db);
        test_schema[0] = '\0';
    }
    static const char *const names[] = { "hub.db", "hub.db-wal", "hub.db-shm", "master.key" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(command, sizeof command, "%s/%s", test_folder, names[i]);
        unlink(command);
    }
    rmdir(test_folder);
    arena_free(arena);
}
