/* send_key.h - our own token of one part of a message: "msg_0123456789abc-0". A provider that takes it refuses a
 * repeat by it, or echoes it, so that the part is known without the provider's own id. It stays the same for as long as
 * it is unsure whether the part went out; after a definite failure the next generation has another one,
 * "msg_0123456789abc-0r1". */
#pragma once

#include "base/str.h"

#include <stdint.h>

#define SEND_KEY_BYTES 40           /* as send_job.key */

/* Write the token of part `part` (0-based) of a message in this generation and return it. */
char *send_key(char out[SEND_KEY_BYTES], int64_t message_id, int part, int64_t generation);

/* What a token names. False: it is none of ours. Whose message it is, is not said. */
struct send_key_parts {
    int64_t message_id, generation;
    int part;
};
bool send_key_read(struct str key, struct send_key_parts *out);
