/* work.h - for the tests of everything that runs by itself: a fresh hub (SQLite in a temporary folder, or a schema of its own
 * where HUB_TEST_DB names a PostgreSQL), a clock that stands until it is moved, a channel kind "test" and an agent "test"
 * that do what they are told. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/agent.h"
#include "core/channel.h"
#include "core/config.h"
#include "core/hub.h"
#include "core/inbox.h"
#include "core/outbox.h"
#include "core/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TENANT 1
#define START_MS INT64_C(1790000000000)

/* --- The clock -------------------------------------------------------------------------------------------------------- */

static _Atomic int64_t test_now_ms = START_MS;
static bool test_real_clock;        /* for tests with threads */

static inline int64_t test_wall_ms(void)
{
    struct timespec now;

    if (!test_real_clock)
        return atomic_load(&test_now_ms);
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int64_t test_mono_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline void pass_ms(int64_t ms)
{
    atomic_fetch_add(&test_now_ms, ms);
}

/* --- The channel kind "test" --------------------------------------------------------------------------------------------- */

#define SENT_MAX 4096

struct sent {
    char to[64], text[256], key[40], reply_to[64];
    int part, parts, attempt;
    int64_t at_ms;
};

static struct peer {
    pthread_mutex_t lock;
    struct sent sent[SENT_MAX];     /* every call of send() */
    int count, lookups;
    /* what send() says: the script first, then `always` */
    enum send_outcome script[64], always, lookup;
    int scripted, used;
    struct send_result result;      /* what goes with it */
    enum send_outcome (*decide)(const struct send_job *job, struct send_result *result);     /* instead of all that */
} peer = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline void keep_text(char *out, size_t size, struct str text)
{
    snprintf(out, size, "%.*s", (int)(text.len < size ? text.len : size - 1), text.data ? text.data : "");
}

static inline enum send_outcome peer_send(const struct channel *channel, const struct send_job *job,
                                          struct exchange *exchange, struct send_result *result)
{
    enum send_outcome outcome;

    (void)channel;
    (void)exchange;
    pthread_mutex_lock(&peer.lock);
    if (peer.count < SENT_MAX) {
        struct sent *sent = &peer.sent[peer.count++];
        keep_text(sent->to, sizeof sent->to, str_c(job->to));
        keep_text(sent->text, sizeof sent->text, job->text);
        keep_text(sent->key, sizeof sent->key, str_c(job->key));
        keep_text(sent->reply_to, sizeof sent->reply_to, str_c(job->reply_to));
        sent->part = job->part;
        sent->parts = job->parts;
        sent->attempt = job->attempt;
        sent->at_ms = clock_ms();
    }
    outcome = peer.used < peer.scripted ? peer.script[peer.used++] : peer.always;
    *result = peer.result;
    if (outcome == SEND_DONE && !result->external_id.data)
        result->external_id = str_c(arena_printf(job->arena, "ext-%s", job->key));
    pthread_mutex_unlock(&peer.lock);
    return peer.decide ? peer.decide(job, result) : outcome;
}

static inline enum send_outcome peer_lookup(const struct channel *channel, const struct send_job *job,
                                            struct exchange *exchange, struct send_result *result)
{
    (void)channel;
    (void)exchange;
    pthread_mutex_lock(&peer.lock);
    peer.lookups++;
    pthread_mutex_unlock(&peer.lock);
    if (peer.lookup == SEND_DONE)
        result->external_id = str_c(arena_printf(job->arena, "ext-%s", job->key));
    return peer.lookup;
}

static const struct field peer_settings[] = { { 0 } };
#define PEER_CAN (CHANNEL_CAN_TEXT | CHANNEL_CAN_RECEIPT)
static const struct channel_driver channel_test = { .kind = "test", .title = "Test", .about = "For tests.",
    .settings = peer_settings, .can = PEER_CAN | CHANNEL_SMS, .text_max = 40, .send = peer_send };
static const struct channel_driver channel_lookup = { .kind = "lookup", .title = "Test with look-up", .about = "For tests.",
    .settings = peer_settings, .can = PEER_CAN, .text_max = 40, .send = peer_send, .lookup = peer_lookup };
static const struct channel_driver channel_repeat = { .kind = "repeat", .title = "Test with keys", .about = "For tests.",
    .settings = peer_settings, .can = PEER_CAN | CHANNEL_CAN_REPEAT, .text_max = 40, .send = peer_send };

/* What poll() finds: the numbers behind its cursor, up to `peer_has`. */
static _Atomic int peer_has, peer_polls;
static bool peer_poll_fails;

static inline int peer_poll(const struct channel *channel, struct str *cursor, struct exchange *exchange,
                            struct events *events, struct err *err)
{
    int64_t seen = 0;

    (void)channel;
    (void)exchange;
    atomic_fetch_add(&peer_polls, 1);
    if (peer_poll_fails)
        return err_set(err, ERR_UNAVAILABLE, "The mailbox is away.");
    if (cursor->data)
        str_int(*cursor, 0, INT64_MAX, &seen);
    while (seen < atomic_load(&peer_has)) {
        const struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = STR("anna"), .text = STR("polled"),
            .priority = PRIORITY_NORMAL, .external_id = str_c(arena_printf(events->arena, "poll-%d", (int)++seen)) };
        if (events_add(events, &event, err))
            return -1;
    }
    *cursor = str_c(arena_printf(events->arena, "%d", (int)seen));
    return 0;
}

static const struct channel_driver channel_polled = { .kind = "polled", .title = "Test by polling", .about = "For tests.",
    .settings = peer_settings, .can = PEER_CAN, .text_max = 40, .send = peer_send, .poll = peer_poll };
const struct channel_driver *const channel_drivers[] = { &channel_test, &channel_lookup, &channel_repeat, &channel_polled,
    NULL };

/* --- The agent "test" ------------------------------------------------------------------------------------------------------ */

static struct {
    enum agent_outcome outcome;
    const char *text;
    int calls;
    char asked[512];                /* the last text */
    void (*meanwhile)(void);        /* runs while the agent thinks */
} agent;

static inline enum agent_outcome agent_answer(const struct agent_input *input, struct exchange *exchange,
                                              struct agent_output *output, struct err *err)
{
    (void)exchange;
    agent.calls++;
    keep_text(agent.asked, sizeof agent.asked, input->text);
    if (agent.meanwhile)
        agent.meanwhile();
    output->text = str_c(agent.text);
    if (agent.outcome == AGENT_FAILED)
        err_set(err, ERR_TIMEOUT, "The model did not answer.");
    return agent.outcome;
}

static const struct field agent_settings[] = { { 0 } };
static const struct agent_driver agent_test = { .name = "test", .title = "Test", .settings = agent_settings,
    .answer = agent_answer };
const struct agent_driver *const agent_drivers[] = { &agent_test, NULL };

/* --- The hub ---------------------------------------------------------------------------------------------------------------- */

static struct hub hub;
static struct arena *arena;
static char test_folder[64], test_schema[64];

static inline bool on_postgres(void)
{
    return getenv("HUB_TEST_DB") != NULL;
}

static inline void no_way_out(struct exchange *self, struct arena *a, const struct exchange_request *request,
                              struct exchange_reply *reply)
{
    (void)self;
    (void)a;
    (void)request;
    *reply = (struct exchange_reply){ .end = EXCHANGE_NOT_SENT };
}
static struct exchange test_exchange = { no_way_out };

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

/* `manual` 1: the test calls every step itself; 0: writer threads run, as threads of the test need them. */
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

static inline void forget_peers(void)
{
    peer.count = peer.lookups = peer.scripted = peer.used = 0;
    peer.always = SEND_DONE;
    peer.lookup = SEND_UNSURE;
    peer.result = (struct send_result){ 0 };
    peer.decide = NULL;
    peer_has = peer_polls = 0;
    peer_poll_fails = false;
    memset(&agent, 0, sizeof agent);
    agent.outcome = AGENT_ANSWERED;
    agent.text = "agent says";
}

static inline int set_up(void **state)
{
    (void)state;
    test_real_clock = false;
    atomic_store(&test_now_ms, START_MS);
    forget_peers();
    open_hub(1);
    return 0;
}

static inline int set_up_threads(void **state)
{
    (void)state;
    test_real_clock = true;
    forget_peers();
    open_hub(0);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    close_hub();
    return 0;
}

/* --- What happens ------------------------------------------------------------------------------------------------------------ */

/* A channel of a kind, with further columns as "policy = 0, agent = 'test'"; NULL: none. */
static inline int64_t add_channel(const char *kind, const char *set)
{
    struct err err = { 0 };
    int64_t id = ids_next(hub.ids, &err);

    MUST("INSERT INTO channels (id, tenant_id, kind, name, hook, debounce_ms, created_ms, updated_ms) VALUES "
         "(%lld, 1, '%s', '%s-%lld', 'hook-%lld', 0, 0, 0)", (long long)id, kind, kind, (long long)id, (long long)id);
    if (set)
        MUST("UPDATE channels SET %s WHERE id = %lld", set, (long long)id);
    channel_forget();
    return id;
}

static inline int64_t say_event(int64_t channel_id, const struct channel_event *event)
{
    struct err err = { 0 };
    struct inbox_result result = { 0 };
    struct inbox_write write = { .tenant_id = TENANT, .channel_id = channel_id, .events = event, .count = 1,
        .results = &result };

    if (inbox_accept(&hub, arena, &write, &err))
        fail_msg("inbox: %s", err.detail);
    assert_int_equal(result.outcome, INBOX_STORED);
    return result.message_id;
}

static inline int64_t say(int64_t channel_id, const char *from, const char *text)
{
    static _Atomic int count;
    const struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = str_c(from), .text = str_c(text),
        .priority = PRIORITY_NORMAL, .external_id = str_c(arena_printf(arena, "in-%d", atomic_fetch_add(&count, 1))) };

    return say_event(channel_id, &event);
}

static inline int64_t send_request(const struct outbox_request *request)
{
    struct err err = { 0 };
    struct outbox_write *write = arena_alloc(arena, sizeof *write);

    write->request = *request;
    if (outbox_send(&hub, arena, write, &err))
        fail_msg("outbox: %s %s", err.field, err.detail);
    return write->message_id;
}

static inline int64_t send_text(int64_t channel_id, const char *to, const char *text)
{
    const struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel_id, .to = str_c(to),
        .text = str_c(text), .origin = ORIGIN_PERSON, .priority = PRIORITY_NORMAL };

    return send_request(&request);
}

static inline enum message_state state_of(int64_t message_id)
{
    return (enum message_state)NUMBER("SELECT state FROM messages WHERE id = %lld", (long long)message_id);
}

/* How many messages were handed to the provider, however many parts they have. */
static inline int messages_sent(void)
{
    int count = 0;

    for (int i = 0; i < peer.count; i++)
        count += peer.sent[i].part == 0;
    return count;
}

/* One step; returns what it did and moves `next_ms`, if given. */
static inline int send_once(int64_t *next_ms)
{
    struct err err = { 0 };
    int64_t next = INT64_MAX;
    int done = worker_send_step(&hub, next_ms ? next_ms : &next, &err);

    if (done < 0)
        fail_msg("send step: %s", err.detail);
    return done;
}

static inline int decide_once(void)
{
    struct err err = { 0 };
    int64_t next = INT64_MAX;
    int done = worker_decide_step(&hub, &next, &err);

    if (done < 0)
        fail_msg("decide step: %s", err.detail);
    return done;
}

static inline int sweep_once(void)
{
    struct err err = { 0 };
    int64_t next = INT64_MAX;
    int done = worker_sweep_step(&hub, &next, &err);

    if (done < 0)
        fail_msg("sweep step: %s", err.detail);
    return done;
}

/* Until nothing is due any more. */
static inline void run_all(void)
{
    for (int i = 0; i < 1000; i++)
        if (decide_once() + send_once(NULL) == 0)
            return;
    fail_msg("the work does not end");
}
