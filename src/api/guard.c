#include "api/guard.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/sign.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 4096              /* networks share one where their keyed hashes meet: the older one is forgotten */
#define NETWORK_BYTES 9

struct slot {
    unsigned char network[NETWORK_BYTES];
    int failures;
    int64_t since_ms;
};

struct guard {
    pthread_mutex_t lock;
    unsigned char key[SIGN_KEY_BYTES];      /* so that nobody chooses whom to push out */
    struct slot slots[SLOTS];
};

struct guard *guard_new(void)
{
    struct guard *guard = mem_alloc(sizeof *guard);

    pthread_mutex_init(&guard->lock, NULL);
    id_random(guard->key, sizeof guard->key);
    return guard;
}

void guard_free(struct guard *guard)
{
    if (!guard)
        return;
    pthread_mutex_destroy(&guard->lock);
    free(guard);
}

/* The network of an address; false for loopback and for what is no address (the socket). */
static bool network_of(const char *peer, unsigned char network[NETWORK_BYTES])
{
    struct in_addr four;
    struct in6_addr six;

    memset(network, 0, NETWORK_BYTES);
    if (inet_pton(AF_INET, peer, &four) == 1) {
        network[0] = 4;
        memcpy(network + 1, &four, 3);
        return network[1] != 127;
    }
    if (inet_pton(AF_INET6, peer, &six) != 1 || IN6_IS_ADDR_LOOPBACK(&six))
        return false;
    if (IN6_IS_ADDR_V4MAPPED(&six)) {
        network[0] = 4;
        memcpy(network + 1, six.s6_addr + 12, 3);
        return network[1] != 127;
    }
    network[0] = 6;
    memcpy(network + 1, &six, 8);
    return true;
}

static struct slot *slot_of(struct guard *guard, const unsigned char network[NETWORK_BYTES])
{
    unsigned char hash[SIGN_HASH_BYTES];

    sign_hmac_sha256((struct str){ (const char *)guard->key, sizeof guard->key },
                     (struct str){ (const char *)network, NETWORK_BYTES }, hash);
    return &guard->slots[(hash[0] << 8 | hash[1]) % SLOTS];
}

static bool counts(const struct slot *slot, const unsigned char network[NETWORK_BYTES], int64_t now_ms)
{
    return slot->failures > 0 && now_ms - slot->since_ms < GUARD_WINDOW_MS && now_ms >= slot->since_ms &&
           !memcmp(slot->network, network, NETWORK_BYTES);
}

int guard_wait_s(struct guard *guard, const char *peer, int64_t now_ms)
{
    unsigned char network[NETWORK_BYTES];
    struct slot *slot;
    int wait_s = 0;

    if (!network_of(peer, network))
        return 0;
    slot = slot_of(guard, network);
    pthread_mutex_lock(&guard->lock);
    if (counts(slot, network, now_ms) && slot->failures >= GUARD_FAILURES)
        wait_s = (int)((slot->since_ms + GUARD_WINDOW_MS - now_ms) / 1000) + 1;
    pthread_mutex_unlock(&guard->lock);
    return wait_s;
}

void guard_failed(struct guard *guard, const char *peer, int64_t now_ms)
{
    unsigned char network[NETWORK_BYTES];
    struct slot *slot;

    if (!network_of(peer, network))
        return;
    slot = slot_of(guard, network);
    pthread_mutex_lock(&guard->lock);
    if (!counts(slot, network, now_ms)) {
        memcpy(slot->network, network, NETWORK_BYTES);
        slot->failures = 0;
        slot->since_ms = now_ms;
    }
    slot->failures++;
    pthread_mutex_unlock(&guard->lock);
}
