/* world.h - a whole hub behind a real server on a free port of the loopback, on a fresh database: SQLite in a temporary
 * folder, or a schema of its own in the PostgreSQL that HUB_TEST_DB names. For the tests of api/. */
#pragma once

#include "../net/serve.h"

#include "api/api.h"
#include "base/id.h"
#include "base/json.h"
#include "core/config.h"
#include "core/hub.h"
#include "core/key.h"
#include "net/script.h"

#include <dirent.h>

struct world {
    char folder[64], schema[64], url[512], socket[100];
    struct arena *arena;
    struct config *config;
    struct script *script;
    struct hub hub;
    struct api *api;
    struct http_server *server;
    const char *flag;                   /* one more setting, or NULL */
    char admin[64];                     /* a key of tenant 1 with every scope */
};

static struct world world;

static inline int world_sql(struct db_session *tx, void *arg, struct err *err)
{
    return db_exec(tx, arg, DB_NO_ARGS, err) < 0 ? -1 : 0;
}

static inline void world_schema(const char *verb, const char *after)
{
    const char *base = getenv("HUB_TEST_DB");
    struct db_options options = { .url = base };
    struct err err = { 0 };
    struct db *db = db_open(&options, &err);
    char sql[160];

    if (!db)
        fail_msg("%s", err.detail);
    snprintf(sql, sizeof sql, "%s SCHEMA %s%s", verb, world.schema, after);
    if (db_write(db, world_sql, sql, &err))
        fail_msg("%s: %s", sql, err.detail);
    db_close(db);
}

/* Open hub, API and server on what `world` says; the database may exist already. */
static inline void world_open(void)
{
    char *argv[] = { "--data", world.folder, "--database-url", world.url, (char *)(uintptr_t)world.flag };
    struct http_options options = { .listen = "127.0.0.1:0", .workers = 4, .event_threads = 2, .respond = api_respond,
                                    .body_max = LIMIT_BATCH_BYTES, .body_max_of = api_body_max,
                                    .socket_path = world.socket };
    struct err err = { 0 };
    struct config_words words = { argv, world.flag ? 5 : 4 };

    world.arena = arena_new(0);
    if (config_load(world.arena, &words, &world.config, &err))
        fail_msg("%s", err.detail);
    world.script = script_new();
    world.hub = (struct hub){ .config = world.config, .exchange = script_exchange(world.script) };
    if (hub_open(&world.hub, &err))
        fail_msg("%s %s", err.detail, err.hint);
    world.api = api_open(&world.hub, &err);
    if (!world.api)
        fail_msg("%s", err.detail);
    options.arg = world.api;
    world.server = http_start(&options, &err);
    if (!world.server)
        fail_msg("%s %s", err.detail, err.hint);
    api_serve(world.api, world.server);
}

static inline void world_close(void)
{
    http_stop(world.server, 5000);
    assert_true(api_close(world.api));
    hub_close(&world.hub);
    script_free(world.script);
    arena_free(world.arena);
}

/* A key with these scopes for a tenant. */
static inline const char *world_key(int64_t tenant_id, int64_t scopes)
{
    const struct key wanted = { .tenant_id = tenant_id, .kind = KEY_HUB, .scopes = scopes, .name = STR("test") };
    struct key_draft draft;
    struct err err = { 0 };

    if (key_create(&world.hub, world.arena, &wanted, &draft, &err))
        fail_msg("%s", err.detail);
    return draft.token;
}

static inline int world_start(void **state)
{
    const char *flag = state ? *state : NULL, *base = getenv("HUB_TEST_DB");
    static int number;

    memset(&world, 0, sizeof world);
    world.flag = flag;
    snprintf(world.folder, sizeof world.folder, "/tmp/hub-api-test.XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    snprintf(world.socket, sizeof world.socket, "%s/hub.sock", world.folder);
    if (base) {
        snprintf(world.schema, sizeof world.schema, "api_%d_%d", (int)getpid(), ++number);
        world_schema("CREATE", "");
        snprintf(world.url, sizeof world.url, "%s&options=-csearch_path%%3D%s", base, world.schema);
    } else {
        snprintf(world.url, sizeof world.url, "sqlite:%s/hub.db", world.folder);
    }
    world_open();
    snprintf(world.admin, sizeof world.admin, "%s", world_key(1, SCOPE_ALL));
    return 0;
}

static inline int world_stop(void **state)
{
    struct dirent *entry;
    DIR *folder;

    (void)state;
    world_close();
    folder = opendir(world.folder);
    while (folder && (entry = readdir(folder))) {
        char path[400];

        snprintf(path, sizeof path, "%s/%s", world.folder, entry->d_name);
        unlink(path);
    }
    closedir(folder);
    assert_int_equal(rmdir(world.folder), 0);
    if (world.schema[0])
        world_schema("DROP", " CASCADE");
    return 0;
}
