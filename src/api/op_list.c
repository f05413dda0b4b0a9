#include "api/op.h"

#include "base/arena.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>

#define MAC_BYTES 16

static void put_number(unsigned char *out, int64_t number)
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)((uint64_t)number >> (56 - 8 * i));
}

static int64_t get_number(const unsigned char *in)
{
    uint64_t number = 0;

    for (int i = 0; i < 8; i++)
        number = number << 8 | in[i];
    return (int64_t)number;
}

/* The MAC over the numbers, for this tenant and operation. Aliases share their operation's name. */
static void seal(const struct op_call *call, struct str numbers, unsigned char mac[SIGN_HASH_BYTES])
{
    struct buf bound;

    buf_init(&bound, 512);
    buf_printf(&bound, "page %lld %s ", (long long)call->tenant_id, call->op->name);
    buf_str(&bound, numbers);
    assert(!bound.overflow);
    sign_hmac_sha256((struct str){ (const char *)call->hub->cursor_key, SIGN_KEY_BYTES }, buf_slice(&bound), mac);
    buf_fini(&bound);
}

void op_list_begin(struct op_call *call)
{
    json_object_begin(&call->out);
    json_key(&call->out, "items");
    json_array_begin(&call->out);
}

void op_list_end(struct op_call *call, const int64_t *next_key, size_t key_count)
{
    unsigned char bytes[OP_LIST_KEYS * 8 + SIGN_HASH_BYTES];

    assert(key_count <= OP_LIST_KEYS);
    json_array_end(&call->out);
    json_key(&call->out, "next");
    if (key_count == 0) {
        json_put_null(&call->out);
    } else {
        for (size_t i = 0; i < key_count; i++)
            put_number(bytes + 8 * i, next_key[i]);
        seal(call, (struct str){ (const char *)bytes, 8 * key_count }, bytes + 8 * key_count);
        json_put_text(&call->out, str_c(sign_base64url(call->arena, bytes, 8 * key_count + MAC_BYTES)));
    }
    json_object_end(&call->out);
}

int op_list_cursor(struct op_call *call, int64_t *key, size_t key_count, bool *given, struct err *err)
{
    struct str text = field_text(&call->in, "cursor"), bytes;
    unsigned char mac[SIGN_HASH_BYTES];

    assert(key_count > 0 && key_count <= OP_LIST_KEYS);
    *given = text.data != NULL;
    if (!*given)
        return 0;
    if (sign_unbase64url(call->arena, text, &bytes) && bytes.len == 8 * key_count + MAC_BYTES) {
        seal(call, (struct str){ bytes.data, 8 * key_count }, mac);
        if (sign_equal(mac, bytes.data + 8 * key_count, MAC_BYTES)) {
            for (size_t i = 0; i < key_count; i++)
                key[i] = get_number((const unsigned char *)bytes.data + 8 * i);
            return 0;
        }
    }
    err_field(err, "cursor", "This is no cursor of this list.");
    return err_hint(err, "Use `next` of an earlier answer as it is, with the same key; or leave it out to start over.");
}

int op_list_limit(struct op_call *call)
{
    return (int)field_number(&call->in, "limit", LIMIT_PAGE_DEFAULT);
}
