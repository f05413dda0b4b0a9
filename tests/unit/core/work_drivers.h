/* work_drivers.h - the channel kind "polled", the agent "test", and the lists of all drivers. */
#pragma once

#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/agent.h"
#include "work_peer.h"

#include <stdatomic.h>

/* What poll() finds: the numbers behind its cursor, up to `peer_has`. */
static _Atomic int peer_has, peer_polls;
static _Atomic bool peer_poll_fails, peer_poll_waits;

static inline int peer_poll(const struct channel *channel, struct poll *poll,
                            struct exchange *exchange,
                            struct events *events, struct err *err)
{
    int64_t seen = 0;

    (void)channel;
    (void)exchange;
    atomic_fetch_add(&peer_polls, 1);
    if (peer_poll_fails)
        return err_set(err, ERR_UNAVAILABLE, "The mailbox is away.");
    while (peer_poll_waits && !exchange_interrupted())
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    if (poll->cursor.data)
        str_int(poll->cursor, 0, INT64_MAX, &seen);
    while (seen < atomic_load(&peer_has)) {
        const struct channel_event event = { .kind = CHANNEL_MESSAGE, .address = STR("anna"),
            .text = STR("polled"),
            .priority = PRIORITY_NORMAL, .external_id = str_c(arena_printf(events->arena, "poll-%d",
                (int)++seen)) };
        if (events_add(events, &event, err))
            return -1;
    }
    poll->cursor = str_c(arena_printf(events->arena, "%d", (int)seen));
    return 0;
}

static const struct channel_driver channel_polled = { .kind = "polled", .title = "Test by polling",
    .about = "For tests.",
    .settings = peer_settings, .can = PEER_CAN, .text_max = 40, .send = peer_send,
        .poll = peer_poll };
const struct channel_driver *const channel_drivers[] = { &channel_test, &channel_lookup,
    &channel_repeat, &channel_polled, &channel_acting,
    NULL };

static struct {
    enum agent_outcome outcome;
    const char *text;
    int calls;
    char asked[512];                /* the last text */
    void (*meanwhile)(void);        /* runs while the agent thinks */
} agent;

static inline enum agent_outcome agent_answer(const struct agent_input *input,
                                              struct exchange *exchange,
                                              struct agent_output *output, struct err *err)
{
    (void)exchange;
    pthread_mutex_lock(&peer.lock);
    agent.calls++;
    keep_text(agent.asked, sizeof agent.asked, input->text);
    pthread_mutex_unlock(&peer.lock);
    if (agent.meanwhile)
        agent.meanwhile();
    output->text = str_c(agent.text);
    if (agent.outcome == AGENT_FAILED)
        err_set(err, ERR_TIMEOUT, "The model did not answer.");
    return agent.outcome;
}

static const struct field agent_settings[] = { { 0 } };
static const struct agent_driver agent_test = { .name = "test", .title = "Test",
    .settings = agent_settings,
    .answer = agent_answer };
const struct agent_driver *const agent_drivers[] = { &agent_test, NULL };

static inline void no_way_out(struct exchange *self, struct arena *a,
                              const struct exchange_request *request,
                              struct exchange_reply *reply)
{
    (void)self;
    (void)a;
    (void)request;
    *reply = (struct exchange_reply){ .end = EXCHANGE_NOT_SENT };
}
static struct exchange test_exchange = { no_way_out };
