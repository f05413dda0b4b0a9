#include "core/recent.h"

#include "base/arena.h"
#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS 16
#define SLOTS 64

struct slot {
    struct recent_name name;
    uint32_t turn;                  /* 0: empty */
    int64_t put_us;
    _Alignas(8) unsigned char value[RECENT_VALUE_BYTES];
};

struct shard {
    pthread_mutex_t lock;
    struct slot slots[SLOTS];       /* each name has one place; the newer one stays */
};

struct recent {
    _Atomic uint32_t turn;
    struct shard shards[SHARDS];
};

struct recent *recent_new(void)
{
    struct recent *recent = mem_alloc(sizeof *recent);

    atomic_init(&recent->turn, 1);
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_init(&recent->shards[i].lock, NULL);
    return recent;
}

void recent_free(struct recent *recent)
{
    if (!recent)
        return;
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&recent->shards[i].lock);
    free(recent);
}

struct recent_name recent_name(const char *word, int64_t number)
{
    struct recent_name name;
    char text[64];
    int len = snprintf(text, sizeof text, "%s:%lld", word, (long long)number);

    assert(len > 0 && (size_t)len < sizeof text);
    sign_sha256((struct str){ text, (size_t)len }, name.bytes);
    return name;
}

static struct shard *shard_of(struct recent *recent, const struct recent_name *name)
{
    return &recent->shards[name->bytes[0] % SHARDS];
}

static struct slot *slot_of(struct shard *shard, const struct recent_name *name)
{
    return &shard->slots[name->bytes[1] % SLOTS];
}

bool recent_get(struct recent *recent, const struct recent_name *name, void *value, size_t size)
{
    struct shard *shard = shard_of(recent, name);
    struct slot *slot = slot_of(shard, name);
    int64_t now_us = clock_mono_us();
    bool found;

    assert(size <= RECENT_VALUE_BYTES);
    pthread_mutex_lock(&shard->lock);
    found = slot->turn == atomic_load(&recent->turn) && now_us - slot->put_us < RECENT_MS * 1000 &&
            sign_equal(slot->name.bytes, name->bytes, sizeof name->bytes);
    if (found)
        memcpy(value, slot->value, size);
    pthread_mutex_unlock(&shard->lock);
    return found;
}

uint32_t recent_turn(struct recent *recent)
{
    return atomic_load(&recent->turn);
}

void recent_put(struct recent *recent, uint32_t turn, const struct recent_name *name, const void *value, size_t size)
{
    struct shard *shard = shard_of(recent, name);
    struct slot *slot = slot_of(shard, name);

    assert(size <= RECENT_VALUE_BYTES);
    pthread_mutex_lock(&shard->lock);
    slot->name = *name;
    slot->turn = turn;
    slot->put_us = clock_mono_us();
    memcpy(slot->value, value, size);
    pthread_mutex_unlock(&shard->lock);
}

void recent_forget(struct recent *recent)
{
    atomic_fetch_add(&recent->turn, 1);
}
