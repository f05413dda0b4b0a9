/* work_events.h - what happens to a hub: set up, channels, messages from and to contacts. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/id.h"
#include "core/inbox.h"
#include "core/outbox.h"
#include "core/worker.h"
#include "work_hub.h"

static inline void forget_peers(void)
{
    peer.count = peer.lookups = peer.scripted = peer.used = 0;
    peer.always = SEND_DONE;
    peer.lookup = SEND_UNSURE;
    peer.found = NULL;
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

/* A channel of a kind, with further columns as "policy = 0, agent = 'test'"; NULL: none. */
static inline int64_t add_channel(const char *kind, const char *set)
{
    struct err err = { 0 };
    int64_t id = ids_next(hub.ids, &err);

    MUST("INSERT INTO channels (id, tenant_id, kind, name, hook, debounce_ms, created_ms, "
         "updated_ms) VALUES "
         "(%lld, 1, '%s', '%s-%lld', 'hook-%lld', 0, 0, 0)", (long long)id, kind, kind,
             (long long)id, (long long)id);
    if (set)
        MUST("UPDATE channels SET %s WHERE id = %lld", set, (long long)id);
    channel_forget();
    return id;
}

static inline int64_t say_event(int64_t channel_id, const struct channel_event *event)
{
    struct err err = { 0 };
    struct inbox_result result = { 0 };
    struct inbox_write write = { .tenant_id = TENANT, .channel_id = channel_id, .events = event,
        .count = 1,
        .results = &result };

    if (inbox_accept(&hub, arena, &write, &err))
        fail_msg("inbox: %s", err.detail);
    assert_int_equal(result.outcome, INBOX_STORED);
    return result.message_id;
}

static inline int64_t say(int64_t channel_id, const char *from, const char *text)
{
    static _Atomic int count;
    const struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = str_c(from),
        .text = str_c(text),
        .priority = PRIORITY_NORMAL, .external_id = str_c(arena_printf(arena, "in-%d",
            atomic_fetch_add(&count, 1))) };

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
    const struct outbox_request request = { .tenant_id = TENANT, .channel_id = channel_id,
        .to = str_c(to),
        .text = str_c(text), .origin = ORIGIN_PERSON, .priority = PRIORITY_NORMAL };

    return send_request(&request);
}

static inline enum message_state state_of(int64_t message_id)
{
    return (enum message_state)NUMBER("SELECT state FROM messages WHERE id = %lld",
                                      (long long)message_id);
}
