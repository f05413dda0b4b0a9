/* fixture.h - a fresh database for the tests of the db floor: SQLite in a temporary folder, or, when HUB_TEST_DB
 * names a PostgreSQL, a schema of this process's own in it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "db/db.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    char folder[64];
    char schema[64];
    char url[512];
    struct db_options options;
};

static struct fixture fixture;

static inline bool on_postgres(void)
{
    return getenv("HUB_TEST_DB") != NULL;
}

/* Run statements, each a transaction of its own; NULL ends them. */
static inline int run_sql(struct db_session *tx, void *arg, struct err *err)
{
    return db_exec(tx, arg, DB_NO_ARGS, err) < 0 ? -1 : 0;
}

static inline void must(struct db *db, const char *sql)
{
    struct err err = { 0 };

    if (db_write(db, run_sql, (void *)(uintptr_t)sql, &err))
        fail_msg("%s: %s", sql, err.detail);
}

static inline struct db *open_again(void)
{
    struct err err = { 0 };
    struct db *db = db_open(&fixture.options, &err);

    if (!db)
        fail_msg("cannot open %s: %s %s", fixture.url, err.detail, err.hint);
    return db;
}

/* A new, empty database; `fixture.options` may be changed before open_again. */
static inline struct db *open_fresh(void)
{
    static int number;
    const char *base = getenv("HUB_TEST_DB");
    struct db *db;

    memset(&fixture, 0, sizeof fixture);
    fixture.options.url = fixture.url;
    if (!base) {
        snprintf(fixture.folder, sizeof fixture.folder, "/tmp/hub-db-test.XXXXXX");
        if (!mkdtemp(fixture.folder))
            fail_msg("no temporary folder");
        snprintf(fixture.url, sizeof fixture.url, "sqlite:%s/hub.db", fixture.folder);
        return open_again();
    }
    snprintf(fixture.schema, sizeof fixture.schema, "test_%d_%d", (int)getpid(), ++number);
    snprintf(fixture.url, sizeof fixture.url, "%s&options=-csearch_path%%3D%s", base, fixture.schema);
    db = open_again();
    {
        char sql[128];

        snprintf(sql, sizeof sql, "CREATE SCHEMA %s", fixture.schema);
        must(db, sql);
    }
    return db;
}

static inline void remove_fixture(void)
{
    if (fixture.folder[0]) {
        DIR *folder = opendir(fixture.folder);
        struct dirent *entry;

        while (folder && (entry = readdir(folder)))
            unlinkat(dirfd(folder), entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0);
        closedir(folder);
        rmdir(fixture.folder);
    } else if (fixture.schema[0]) {
        char sql[128];
        struct db *db = open_again();

        snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", fixture.schema);
        must(db, sql);
        db_close(db);
    }
    memset(&fixture, 0, sizeof fixture);
}

/* One integer of a query without parameters. */
static inline int64_t number(struct db *db, const char *sql)
{
    struct err err = { 0 };
    struct db_session *session = db_read(db, 0, &err);
    int64_t value = -1;

    if (!session || db_query_int(session, sql, DB_NO_ARGS, -1, &value, &err))
        fail_msg("%s: %s", sql, err.detail);
    db_read_end(session);
    return value;
}
