/* work_peer.h - the channel kinds of the tests, which do what they are told: "test" (like SMS),
 * "lookup", "repeat". */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "core/channel.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SENT_MAX 4096

struct sent {
    char to[64], text[256], key[40], reply_to[64], target[64], conversation[64], metadata[64];
    int part, parts, attempt, timeout_ms;
    enum send_act act;
    int64_t at_ms;
};

static struct peer {
    pthread_mutex_t lock;
    struct sent sent[SENT_MAX];     /* every call of send() */
    int count, lookups;
    /* what send() says: the script first, then `always` */
    enum send_outcome script[64], always, lookup;
    const char *found;              /* the id that a look-up finds; NULL: one made of the key */
    int64_t since_ms;               /* what the last look-up was told */
    int scripted, used;
    struct send_result result;      /* what goes with it */
    /* instead of all that */
    enum send_outcome (*decide)(const struct send_job *job, struct send_result *result);
} peer = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline void keep_text(char *out, size_t size, struct str text)
{
    snprintf(out, size, "%.*s", (int)(text.len < size ? text.len : size - 1), text.data ? text.data
             : "");
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
        keep_text(sent->target, sizeof sent->target, str_c(job->target));
        keep_text(sent->conversation, sizeof sent->conversation, str_c(job->conversation));
        sent->act = job->act;
        keep_text(sent->metadata, sizeof sent->metadata, job->metadata);
        sent->part = job->part;
        sent->parts = job->parts;
        sent->attempt = job->attempt;
        sent->timeout_ms = job->timeout_ms;
        sent->at_ms = clock_ms();
    }
    outcome = peer.used < peer.scripted ? peer.script[peer.used++] : peer.always;
    *result = peer.result;
    if (outcome == SEND_DONE && !result->external_id.data)
        result->external_id = str_c(arena_printf(job->arena, "ext-%s", job->key));
    pthread_mutex_unlock(&peer.lock);
    return peer.decide ? peer.decide(job, result) : outcome;
}

static inline enum send_outcome peer_lookup(const struct channel *channel,
                                            const struct send_job *job,
                                            struct exchange *exchange, struct send_result *result)
{
    (void)channel;
    (void)exchange;
    pthread_mutex_lock(&peer.lock);
    peer.lookups++;
    peer.since_ms = job->since_ms;
    pthread_mutex_unlock(&peer.lock);
    if (peer.lookup == SEND_DONE)
        result->external_id = str_c(peer.found ? peer.found : arena_printf(job->arena, "ext-%s", job->key));
    return peer.lookup;
}

static const struct field peer_settings[] = { { 0 } };
#define PEER_CAN (CHANNEL_CAN_TEXT | CHANNEL_CAN_RECEIPT)
static const struct channel_driver channel_test = { .kind = "test", .title = "Test",
    .about = "For tests.",
    .settings = peer_settings, .can = PEER_CAN | CHANNEL_SMS, .text_max = 40, .send = peer_send };
static const struct channel_driver channel_lookup = { .kind = "lookup",
    .title = "Test with look-up", .about = "For tests.",
    .settings = peer_settings, .can = PEER_CAN, .text_max = 40, .send = peer_send,
        .lookup = peer_lookup };
static const struct channel_driver channel_acting = { .kind = "acting", .title = "Test with acts",
    .about = "For tests.", .settings = peer_settings, .text_max = 40, .send_ms = 200000, .parallel = 1,
    .send = peer_send, .lookup = peer_lookup,
    .can = PEER_CAN | CHANNEL_CAN_REACT | CHANNEL_CAN_EDIT | CHANNEL_CAN_DELETE | CHANNEL_CAN_READ
        | CHANNEL_CAN_TYPING | CHANNEL_CAN_GROUP };
static const struct channel_driver channel_repeat = { .kind = "repeat", .title = "Test with keys",
    .about = "For tests.",
    .settings = peer_settings, .can = PEER_CAN | CHANNEL_CAN_REPEAT, .text_max = 40,
        .send = peer_send };
