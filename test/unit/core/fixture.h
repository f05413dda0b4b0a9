/* fixture.h - a fresh hub for the tests of the core: SQLite in a temporary folder, or, when
 * HUB_TEST_DB names a PostgreSQL, a schema of this process's own in it. The channel kinds are test
 * drivers that never leave the process. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "core/agent.h"
#include "core/channel.h"
#include "core/channel_edit.h"
#include "core/config.h"
#include "core/hub.h"
#include "core/idempotency.h"
#include "core/inbox.h"
#include "core/tenant.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TENANT 1

/* --- Drivers ------------------------------------------------------------------------------------ */

static const struct field test_settings[] = { { 0 } };

static inline enum send_outcome test_send(const struct channel *channel, const struct send_job *job,
                                          struct exchange *exchange, struct send_result *result)
{
    (void)channel, (void)job, (void)exchange, (void)result;
    return SEND_DONE;
}

static const struct channel_driver test_sms = {
    .kind = "sms", .title = "Test SMS", .about = "A phone that is not there.",
    .settings = test_settings, .text_max = 1600, .send = test_send,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_RECEIPT | CHANNEL_SMS | CHANNEL_PHONE_ADDRESS,
};
static const struct channel_driver test_plain = {
    .kind = "plain", .title = "Test plain", .about = "Addresses as they are.",
    .settings = test_settings, .text_max = 40, .send = test_send, .can = CHANNEL_CAN_TEXT,
};
static const struct channel_driver test_mute = {
    .kind = "mute", .title = "Test mute", .about = "Cannot send.", .settings = test_settings,
};
const struct channel_driver *const channel_drivers[] = { &test_sms, &test_plain, &test_mute, NULL };
const struct agent_driver *const agent_drivers[] = { NULL };

/* --- The hub ------------------------------------------------------------------------------------ */

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
    int64_t value;

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

static inline int64_t draw(void)
{
    struct err err = { 0 };
    int64_t id = ids_next(fixture.hub.ids, &err);

    if (id < 0)
        fail_msg("ids: %s", err.detail);
    return id;
}

static inline int64_t add_channel(int64_t tenant_id, const char *kind, const char *name)
{
    struct channel_edit edit = channel_edit(fixture.arena, tenant_id, draw(), clock_ms());
    struct err err = { 0 };

    edit.kind = str_c(kind);
    edit.name = str_c(name);
    edit.settings = json_parse(fixture.arena, STR("{}"), &err);
    if (db_write(fixture.hub.db, channel_add, &edit, &err))
        fail_msg("channel: %s", err.detail);
    return edit.id;
}

static inline int add_tenant_tx(struct db_session *tx, void *arg, struct err *err)
{
    return tenant_add(tx, arg, err);
}

static inline int64_t add_tenant(const char *name)
{
    struct tenant tenant = { .id = draw(), .name = str_c(name), .region = STR("US"),
                             .time_zone = STR("UTC"), .created_ms = clock_ms() };
    struct err err = { 0 };

    if (db_write(fixture.hub.db, add_tenant_tx, &tenant, &err))
        fail_msg("tenant: %s", err.detail);
    return tenant.id;
}

/* --- Receiving ---------------------------------------------------------------------------------- */

/* An inbound text. */
static inline struct channel_event text_event(const char *from, const char *external_id,
                                              const char *text)
{
    return (struct channel_event){ .kind = CHANNEL_MESSAGE, .address = str_c(from),
                                   .external_id = str_c(external_id), .text = str_c(text),
                                   .priority = PRIORITY_NORMAL };
}

/* Hand in events; results for each. Lives in `arena`. */
static inline struct inbox_write *receive_into(struct arena *arena, int64_t tenant_id,
                                               int64_t channel_id,
                                               const struct channel_event *events, size_t count)
{
    struct inbox_write *write = arena_alloc(arena, sizeof *write);
    struct err err = { 0 };

    write->tenant_id = tenant_id;
    write->channel_id = channel_id;
    write->events = events;
    write->count = count;
    write->results = arena_array(arena, count, sizeof *write->results);
    if (inbox_accept(&fixture.hub, arena, write, &err))
        fail_msg("accept: %s", err.detail);
    return write;
}

static inline struct inbox_result receive(int64_t channel_id, struct channel_event event)
{
    struct arena *arena = arena_new(0);
    struct inbox_write *write = receive_into(arena, TENANT, channel_id, &event, 1);
    struct inbox_result result = write->results[0];

    arena_free(arena);
    return result;
}

static inline int64_t say(int64_t channel_id, const char *from, const char *external_id,
                          const char *text)
{
    struct inbox_result result = receive(channel_id, text_event(from, external_id, text));

    assert_int_equal(result.outcome, INBOX_STORED);
    return result.message_id;
}
