/* send_key.h - our own token of one part of a message: "msg_0123456789abc-0". A provider that takes it refuses a
 * repeat by it, or echoes it, so that the part is known without the provider's own id. */
#pragma once

#include "base/str.h"

#include <stdint.h>

#define SEND_KEY_BYTES 40           /* as send_job.key */

/* Write the token of part `part` (0-based) of a message and return it. */
char *send_key(char out[SEND_KEY_BYTES], int64_t message_id, int part);

/* What a token names. False: it is none of ours. Whose message it is, is not said. */
bool send_key_read(struct str key, int64_t *message_id, int *part);
