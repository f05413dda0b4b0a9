#include "core/send_key.h"

#include "base/id.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

char *send_key(char out[SEND_KEY_BYTES], int64_t message_id, int part)
{
    char id[ID_TEXT_BYTES];

    snprintf(out, SEND_KEY_BYTES, "%s-%d", id_encode(id, ID_MESSAGE, message_id), part);
    return out;
}

bool send_key_read(struct str key, int64_t *message_id, int *part)
{
    const char *dash = key.len > 0 ? memchr(key.data, '-', key.len) : NULL;
    size_t id_len = dash ? (size_t)(dash - key.data) : 0;
    int64_t number;

    if (!dash || !id_decode(ID_MESSAGE, (struct str){ key.data, id_len }, message_id)
        || !str_int((struct str){ dash + 1, key.len - id_len - 1 }, 0, LIMIT_PARTS_PER_MESSAGE - 1, &number))
        return false;
    *part = (int)number;
    return true;
}
