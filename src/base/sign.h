/* sign.h - hashes, MACs, encodings, constant-time comparison and sealing. OpenSSL and libsodium
 * behind it. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct arena;

#define SIGN_HASH_BYTES 32
#define SIGN_KEY_BYTES 32

/* SHA-256, and HMAC-SHA-256 with a key of any length. */
void sign_sha256(struct str data, unsigned char out[SIGN_HASH_BYTES]);
void sign_hmac_sha256(struct str key, struct str data, unsigned char out[SIGN_HASH_BYTES]);

/* HMAC-SHA-1, for providers that sign with nothing better. */
#define SIGN_SHA1_BYTES 20
void sign_hmac_sha1(struct str key, struct str data, unsigned char out[SIGN_SHA1_BYTES]);

/* A 32-byte subkey for one purpose ("id", "log", "keys", "cursor", "seal"), derived from the master
 * key. */
void sign_derive(const unsigned char master[SIGN_KEY_BYTES], const char *purpose,
                 unsigned char out[SIGN_KEY_BYTES]);

/* Lower-case hex and base64url without padding, in the arena; decoders return false on any foreign
 * character. */
const char *sign_hex(struct arena *arena, const void *data, size_t size);
bool sign_unhex(struct str text, unsigned char *out, size_t size);
const char *sign_base64url(struct arena *arena, const void *data, size_t size);
bool sign_unbase64url(struct arena *arena, struct str text, struct str *out);
const char *sign_base64(struct arena *arena, const void *data, size_t size);
bool sign_unbase64(struct arena *arena, struct str text, struct str *out);

/* Equal bytes of equal length, in constant time. */
bool sign_equal(const void *a, const void *b, size_t size);

/* XChaCha20-Poly1305 with `context` ("channels.secrets:42") as associated data, so that sealed
 * values cannot be swapped between rows. Output: version byte, nonce, ciphertext; in the arena.
 * sign_unseal gives the absent slice (with err) for what was not sealed so. */
struct str sign_seal(struct arena *arena, const unsigned char key[SIGN_KEY_BYTES], struct str plain,
                     const char *context);
struct str sign_unseal(struct arena *arena, const unsigned char key[SIGN_KEY_BYTES], struct str sealed,
                       const char *context, struct err *err);
