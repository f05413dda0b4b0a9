/* seed_text.h - invented people and what they say; pure, from random numbers given. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;

/* A small deterministic generator. */
struct seed_random {
    uint64_t state;
};
uint64_t seed_next(struct seed_random *random);             /* 64 bits */
uint32_t seed_below(struct seed_random *random, uint32_t bound);    /* uniform, bound > 0 */

/* A rank in [0, count): low ones far more often (Zipf, exponent about 1). */
uint32_t seed_zipf(struct seed_random *random, uint32_t count);

/* Where somebody lives. */
struct seed_country {
    const char *prefix;         /* of phone numbers, "+49" */
    const char *time_zone;
    int offset_min;             /* in winter */
    int digits;                 /* of a number behind the prefix */
};
const struct seed_country *seed_country_of(uint32_t person);

/* Their name; their phone number (E.164) or user name, unique per set and person. In the arena. */
const char *seed_name(struct arena *arena, struct seed_random *random);
const char *seed_phone(struct arena *arena, uint64_t set, uint32_t person);
const char *seed_user(struct arena *arena, uint64_t set, uint32_t person);

/* A text of 2 to about 40 words. In the arena. */
struct str seed_text(struct arena *arena, struct seed_random *random);
