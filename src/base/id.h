/* id.h - identifiers and randomness. Ids are integers inside; outside they appear as "msg_" and 13
 * base-32 characters of a keyed permutation, so that volumes do not show and a wrong prefix never
 * decodes. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

#define ID_TEXT_BYTES 24    /* prefix (up to 6), '_', 13 characters, NUL */

/* Prefixes, one per kind of object. */
#define ID_TENANT "ten"
#define ID_KEY "key"
#define ID_CHANNEL "chn"
#define ID_CONTACT "con"
#define ID_CONVERSATION "cnv"
#define ID_MESSAGE "msg"
#define ID_JOB "job"
#define ID_DEVICE "dev"
#define ID_DECISION "dec"
#define ID_RULE "rul"
#define ID_ATTEMPT "att"
#define ID_AUDIT "aud"
#define ID_PARKED "prk"
#define ID_EGRESS "egr"
#define ID_PERSON "per"
#define ID_ACT "act"
#define ID_MEDIA "med"

/* Install the 16-byte key of the permutation (derived from the master key). Call before threads
 * start. */
void id_install_key(const unsigned char key[16]);

/* Write the public form into `out` (ID_TEXT_BYTES) and return it; id 0 gives "". */
char *id_encode(char out[ID_TEXT_BYTES], const char *prefix, int64_t id);
const char *id_text(struct arena *arena, const char *prefix, int64_t id);

/* The integer behind a public id; false when prefix, length or alphabet are wrong or the number is
 * not positive. */
bool id_decode(const char *prefix, struct str text, int64_t *id);

/* Cryptographic random bytes; replaced as a whole by id_install_random in tests and the simulator
 * (NULL: the real). */
void id_random(void *out, size_t size);
void id_install_random(void (*source)(void *out, size_t size));

/* A uniformly random integer below `bound` (> 0). */
uint32_t id_random_below(uint32_t bound);

/* `bytes` random bytes as base64url text with a prefix, e.g. "mh_..." (32 bytes = 256 bits). In the
 * arena. */
const char *id_token(struct arena *arena, const char *prefix, size_t bytes);
