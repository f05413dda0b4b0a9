#include "base/sign.h"

#include "base/arena.h"
#include "base/id.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <string.h>

#define SEAL_VERSION 1
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES

void sign_sha256(struct str data, unsigned char out[SIGN_HASH_BYTES])
{
    if (!EVP_Digest(data.data, data.len, out, NULL, EVP_sha256(), NULL))
        mem_exhausted(data.len);    /* the only way it fails */
}

void sign_hmac_sha256(struct str key, struct str data, unsigned char out[SIGN_HASH_BYTES])
{
    assert(key.len <= INT32_MAX);
    /* a NULL key would mean "the key of the last call" to the library */
    if (!HMAC(EVP_sha256(), key.data ? key.data : "", (int)key.len,
              (const unsigned char *)data.data, data.len, out, NULL))
        mem_exhausted(data.len);
}

void sign_hmac_sha1(struct str key, struct str data, unsigned char out[SIGN_SHA1_BYTES])
{
    assert(key.len <= INT32_MAX);
    if (!HMAC(EVP_sha1(), key.data ? key.data : "", (int)key.len, (const unsigned char *)data.data, data.len, out,
              NULL))
        mem_exhausted(data.len);
}

void sign_derive(const unsigned char master[SIGN_KEY_BYTES], const char *purpose,
                 unsigned char out[SIGN_KEY_BYTES])
{
    char label[64] = "message-hub/1/";
    size_t used = strlen(label), length = strlen(purpose);

    assert(length > 0 && used + length < sizeof label);
    memcpy(label + used, purpose, length);
    sign_hmac_sha256((struct str){ (const char *)master, SIGN_KEY_BYTES },
                     (struct str){ label, used + length }, out);
}

const char *sign_hex(struct arena *arena, const void *data, size_t size)
{
    return sodium_bin2hex(arena_array(arena, size * 2 + 1, 1), size * 2 + 1, data, size);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool sign_unhex(struct str text, unsigned char *out, size_t size)
{
    if (text.len % 2 != 0 || text.len / 2 != size)
        return false;
    for (size_t at = 0; at < size; at++) {
        int high = hex_value(text.data[at * 2]), low = hex_value(text.data[at * 2 + 1]);

        if (high < 0 || low < 0)
            return false;
        out[at] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static const char *encode(struct arena *arena, const void *data, size_t size, int variant)
{
    size_t room = sodium_base64_encoded_len(size, variant);

    return sodium_bin2base64(arena_alloc(arena, room), room, data, size, variant);
}

static bool decode(struct arena *arena, struct str text, int variant, struct str *out)
{
    size_t room = text.len / 4 * 3 + 3, len;
    unsigned char *bytes = arena_alloc(arena, room + 1);

    if (!text.data
        || sodium_base642bin(bytes, room, text.data, text.len, NULL, &len, NULL, variant) != 0)
        return false;
    bytes[len] = '\0';
    *out = (struct str){ (const char *)bytes, len };
    return true;
}

const char *sign_base64url(struct arena *arena, const void *data, size_t size)
{
    return encode(arena, data, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool sign_unbase64url(struct arena *arena, struct str text, struct str *out)
{
    return decode(arena, text, sodium_base64_VARIANT_URLSAFE_NO_PADDING, out);
}

const char *sign_base64(struct arena *arena, const void *data, size_t size)
{
    return encode(arena, data, size, sodium_base64_VARIANT_ORIGINAL);
}

bool sign_unbase64(struct arena *arena, struct str text, struct str *out)
{
    return decode(arena, text, sodium_base64_VARIANT_ORIGINAL, out);
}

bool sign_equal(const void *a, const void *b, size_t size)
{
    return sodium_memcmp(a, b, size) == 0;
}

struct str sign_seal(struct arena *arena, const unsigned char key[SIGN_KEY_BYTES], struct str plain,
                     const char *context)
{
    size_t size = 1 + NONCE_BYTES + plain.len + TAG_BYTES;
    unsigned char *out = arena_alloc(arena, size);
    unsigned long long written;

    assert(context[0] != '\0');
    out[0] = SEAL_VERSION;
    id_random(out + 1, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        out + 1 + NONCE_BYTES, &written, (const unsigned char *)plain.data, plain.len,
        (const unsigned char *)context, strlen(context), NULL, out + 1, key);
    assert(written == plain.len + TAG_BYTES);
    return (struct str){ (const char *)out, size };
}

struct str sign_unseal(struct arena *arena, const unsigned char key[SIGN_KEY_BYTES],
                       struct str sealed, const char *context, struct err *err)
{
    const unsigned char *bytes = (const unsigned char *)sealed.data;
    unsigned long long written;
    unsigned char *out;

    if (sealed.len < 1 + NONCE_BYTES + TAG_BYTES || bytes[0] != SEAL_VERSION) {
        err_set(err, ERR_INTERNAL, "The sealed value %s is damaged or of an unknown version.",
                context);
        err_hint(err, "Restore the row from a backup, or set the secret again.");
        return (struct str){ 0 };
    }
    out = arena_alloc(arena, sealed.len);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            out, &written, NULL, bytes + 1 + NONCE_BYTES, sealed.len - 1 - NONCE_BYTES,
            (const unsigned char *)context, strlen(context), bytes + 1, key) != 0) {
        err_set(err, ERR_INTERNAL, "The sealed value %s does not open with this key.", context);
        err_hint(err, "Start with the master key that sealed it, or set the secret again.");
        return (struct str){ 0 };
    }
    return (struct str){ (const char *)out, (size_t)written };
}
