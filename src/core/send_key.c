#include "core/send_key.h"

#include "base/id.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

#define GENERATIONS 1000000     /* what fits into a token; then they begin again */

char *send_key(char out[SEND_KEY_BYTES], int64_t message_id, int part, int64_t generation)
{
    char id[ID_TEXT_BYTES];
    const char *text = id_encode(id, ID_MESSAGE, message_id);

    if (generation % GENERATIONS > 0)
        snprintf(out, SEND_KEY_BYTES, "%s-%dr%d", text, part, (int)(generation % GENERATIONS));
    else
        snprintf(out, SEND_KEY_BYTES, "%s-%d", text, part);
    return out;
}

bool send_key_read(struct str key, struct send_key_parts *out)
{
    const char *dash = key.len > 0 ? memchr(key.data, '-', key.len) : NULL;
    size_t id_len = dash ? (size_t)(dash - key.data) : 0;
    struct str rest = dash ? (struct str){ dash + 1, key.len - id_len - 1 } : (struct str){ 0 };
    const char *again = rest.len > 0 ? memchr(rest.data, 'r', rest.len) : NULL;
    size_t part_len = again ? (size_t)(again - rest.data) : rest.len;
    int64_t part;

    out->generation = 0;
    if (!dash || !id_decode(ID_MESSAGE, (struct str){ key.data, id_len }, &out->message_id)
        || !str_int((struct str){ rest.data, part_len }, 0, LIMIT_PARTS_PER_MESSAGE - 1, &part)
        || (again && !str_int((struct str){ again + 1, rest.len - part_len - 1 }, 1, GENERATIONS - 1,
                              &out->generation)))
        return false;
    out->part = (int)part;
    return true;
}
