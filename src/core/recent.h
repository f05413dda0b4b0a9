/* recent.h - what was found valid a moment ago: a small table that remembers values for at most a second, and forgets
 * everything at once when told. Keys and tenants are checked through it on every call. Any thread. */
#pragma once

#include "base/sign.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_MS 1000
#define RECENT_VALUE_BYTES 128

struct recent;

/* An empty table; release with recent_free (NULL is fine). */
struct recent *recent_new(void);
void recent_free(struct recent *recent);

/* What a name is looked up by: a hash, or anything spread over its bytes like one. */
struct recent_name {
    unsigned char bytes[SIGN_HASH_BYTES];
};

/* A name made of a word and a number. */
struct recent_name recent_name(const char *word, int64_t number);

/* Copy the value remembered under the name, which has `size` bytes; false when there is none. */
bool recent_get(struct recent *recent, const struct recent_name *name, void *value, size_t size);

/* Remember a value that was read after `turn` was taken with recent_turn. What was forgotten in between stays
 * forgotten. */
uint32_t recent_turn(struct recent *recent);
void recent_put(struct recent *recent, uint32_t turn, const struct recent_name *name, const void *value, size_t size);

/* Forget everything. */
void recent_forget(struct recent *recent);
