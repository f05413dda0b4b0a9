#include "base/id.h"

#include "base/arena.h"
#include "base/sign.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 6
#define CHARACTERS 13       /* 65 bits: the first character holds four */
#define LONGEST_PREFIX 6

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static unsigned char key[crypto_shorthash_KEYBYTES];
static void (*random_source)(void *out, size_t size);

void id_install_key(const unsigned char new_key[16])
{
    static_assert(sizeof key == 16, "the key of the permutation");
    memcpy(key, new_key, sizeof key);
}

/* One Feistel round. The prefix is part of what is hashed, so every kind has a permutation of its
 * own. */
static uint32_t mix(const char *prefix, int round, uint32_t half)
{
    unsigned char input[LONGEST_PREFIX + 1 + sizeof half] = { 0 };
    uint64_t hash;

    memcpy(input, prefix, strnlen(prefix, LONGEST_PREFIX));
    input[LONGEST_PREFIX] = (unsigned char)round;
    memcpy(input + LONGEST_PREFIX + 1, &half, sizeof half);
    static_assert(sizeof hash == crypto_shorthash_BYTES, "one hash is one word");
    crypto_shorthash((unsigned char *)&hash, input, sizeof input, key);
    return (uint32_t)hash;
}

static uint64_t scramble(const char *prefix, uint64_t number)
{
    uint32_t left = (uint32_t)(number >> 32), right = (uint32_t)number;

    for (int round = 0; round < ROUNDS; round++) {
        uint32_t next = left ^ mix(prefix, round, right);

        left = right;
        right = next;
    }
    return (uint64_t)left << 32 | right;
}

static uint64_t unscramble(const char *prefix, uint64_t number)
{
    uint32_t left = (uint32_t)(number >> 32), right = (uint32_t)number;

    for (int round = ROUNDS - 1; round >= 0; round--) {
        uint32_t previous = right ^ mix(prefix, round, left);

        right = left;
        left = previous;
    }
    return (uint64_t)left << 32 | right;
}

char *id_encode(char out[ID_TEXT_BYTES], const char *prefix, int64_t id)
{
    size_t length = strlen(prefix);
    uint64_t number;

    assert(length > 0 && length <= LONGEST_PREFIX);
    assert(id >= 0);
    out[0] = '\0';
    if (id == 0)
        return out;
    number = scramble(prefix, (uint64_t)id);
    memcpy(out, prefix, length);
    out[length] = '_';
    for (int at = CHARACTERS; at > 0; at--) {
        out[length + (size_t)at] = alphabet[number & 31];
        number >>= 5;
    }
    out[length + 1 + CHARACTERS] = '\0';
    return out;
}

const char *id_text(struct arena *arena, const char *prefix, int64_t id)
{
    return id_encode(arena_alloc(arena, ID_TEXT_BYTES), prefix, id);
}

bool id_decode(const char *prefix, struct str text, int64_t *id)
{
    size_t length = strlen(prefix);
    uint64_t number = 0;

    if (!str_starts(text, prefix) || text.len != length + 1 + CHARACTERS
        || text.data[length] != '_')
        return false;
    for (size_t at = length + 1; at < text.len; at++) {
        const char *found = text.data[at] ? strchr(alphabet, text.data[at]) : NULL;

        /* one number has one text: a first character above 15 would wrap around */
        if (!found || (at == length + 1 && found - alphabet > 15))
            return false;
        number = number << 5 | (uint64_t)(found - alphabet);
    }
    number = unscramble(prefix, number);
    if (number == 0 || number > INT64_MAX)
        return false;
    *id = (int64_t)number;
    return true;
}

static void start_sodium(void)
{
    if (sodium_init() < 0)
        abort();
}

void id_random(void *out, size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (random_source) {
        random_source(out, size);
        return;
    }
    pthread_once(&once, start_sodium);
    randombytes_buf(out, size);
}

void id_install_random(void (*source)(void *out, size_t size))
{
    random_source = source;
}

uint32_t id_random_below(uint32_t bound)
{
    uint64_t random;

    assert(bound > 0);
    /* the high part of a 96-bit product: the bias is below 2^-32, and there is no loop to repeat */
    id_random(&random, sizeof random);
    return (uint32_t)((unsigned __int128)random * bound >> 64);
}

const char *id_token(struct arena *arena, const char *prefix, size_t bytes)
{
    unsigned char random[64];
    const char *token;

    assert(bytes > 0 && bytes <= sizeof random);
    id_random(random, bytes);
    token = arena_printf(arena, "%s%s", prefix, sign_base64url(arena, random, bytes));
    sodium_memzero(random, sizeof random);
    return token;
}
