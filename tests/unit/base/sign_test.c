#include "base/arena.h"
#include "base/sign.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* FIPS 180-2 appendix B */
static void hashes(void **state)
{
    static const struct { const char *data, *hash; } rows[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    unsigned char hash[SIGN_HASH_BYTES];

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        sign_sha256(str_c(rows[row].data), hash);
        assert_string_equal(sign_hex(arena, hash, sizeof hash), rows[row].hash);
    }
}

/* RFC 4231, cases 1, 2, 6 and 7 */
static void authenticates(void **state)
{
    struct str long_key = { memset(arena_alloc(arena, 131), 0xaa, 131), 131 };
    struct str short_key = { memset(arena_alloc(arena, 20), 0x0b, 20), 20 };
    const struct {
        struct str key, data; const char *mac;
    } rows[] = {
        { short_key, STR("Hi There"),
          "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
        { STR("Jefe"), STR("what do ya want for nothing?"),
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { long_key, STR("Test Using Larger Than Block-Size Key - Hash Key First"),
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
        { long_key,
          STR("This is a test using a larger than block-size key and a larger than block-size "
              "data. The key needs to "
              "be hashed before being used by the HMAC algorithm."),
          "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2" },
        { { 0 }, STR(""), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
    };
    unsigned char mac[SIGN_HASH_BYTES];

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        sign_hmac_sha256(rows[row].key, rows[row].data, mac);
        assert_string_equal(sign_hex(arena, mac, sizeof mac), rows[row].mac);
    }
}

static void derives(void **state)
{
    unsigned char master[SIGN_KEY_BYTES] = { 1 }, id[SIGN_KEY_BYTES], log[SIGN_KEY_BYTES],
                  again[SIGN_KEY_BYTES];

    (void)state;
    sign_derive(master, "id", id);
    sign_derive(master, "log", log);
    sign_derive(master, "id", again);
    assert_memory_equal(id, again, sizeof id);
    assert_memory_not_equal(id, log, sizeof id);
    assert_memory_not_equal(id, master, sizeof id);
    master[31] = 1;
    sign_derive(master, "id", again);
    assert_memory_not_equal(id, again, sizeof id);
}

/* RFC 4648 section 10 */
static void encodes(void **state)
{
    static const struct { const char *plain, *base64, *url, *hex; } rows[] = {
        { "", "", "", "" }, { "f", "Zg==", "Zg", "66" }, { "fo", "Zm8=", "Zm8", "666f" },
        { "foo", "Zm9v", "Zm9v", "666f6f" }, { "foob", "Zm9vYg==", "Zm9vYg", "666f6f62" },
        { "fooba", "Zm9vYmE=", "Zm9vYmE", "666f6f6261" }, { "foobar", "Zm9vYmFy", "Zm9vYmFy", "666f6f626172" },
        { "\xfb\xff", "+/8=", "-_8", "fbff" },
    };
    unsigned char bytes[8];
    struct str out;

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        size_t len = strlen(rows[row].plain);

        assert_string_equal(sign_base64(arena, rows[row].plain, len), rows[row].base64);
        assert_string_equal(sign_base64url(arena, rows[row].plain, len), rows[row].url);
        assert_string_equal(sign_hex(arena, rows[row].plain, len), rows[row].hex);
        assert_true(sign_unbase64(arena, str_c(rows[row].base64), &out));
        assert_string_equal(out.data, rows[row].plain);
        assert_true(sign_unbase64url(arena, str_c(rows[row].url), &out));
        assert_string_equal(out.data, rows[row].plain);
        assert_true(sign_unhex(str_c(rows[row].hex), bytes, len));
        assert_memory_equal(bytes, rows[row].plain, len);
    }
    assert_true(sign_unhex(STR("FBff"), bytes, 2));
}

static void refuses_foreign_characters(void **state)
{
    static const char *const base64[] = { "Zg",    "Zg=",    "Zg===", "Zh==", "Z",
                                          "Zm9v ", "Zm9v\n", "-_8=",  "Zm9*", "=" };
    static const char *const url[] = { "Zg==", "+/8", "Z", "Zh", "Zm9v ", "Zm9\n" };
    unsigned char bytes[4];
    struct str out;

    (void)state;
    for (size_t at = 0; at < ARRAY_LEN(base64); at++)
        assert_false(sign_unbase64(arena, str_c(base64[at]), &out));
    for (size_t at = 0; at < ARRAY_LEN(url); at++)
        assert_false(sign_unbase64url(arena, str_c(url[at]), &out));
    assert_false(sign_unbase64(arena, (struct str){ 0 }, &out));
    assert_false(sign_unhex(STR("0g"), bytes, 1));
    assert_false(sign_unhex(STR("000"), bytes, 1));
    assert_false(sign_unhex(STR("0000"), bytes, 1));
    assert_false(sign_unhex(STR("00"), bytes, 2));
}

static void compares(void **state)
{
    (void)state;
    assert_true(sign_equal("abc", "abc", 3));
    assert_false(sign_equal("abc", "abd", 3));
    assert_true(sign_equal("abc", "abd", 2));
}

static void seals(void **state)
{
    unsigned char key[SIGN_KEY_BYTES] = { 7 }, other[SIGN_KEY_BYTES] = { 8 };
    struct str sealed = sign_seal(arena, key, STR("the token"), "channels.secrets:42"), again,
               plain;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(sealed.len, 1 + 24 + 9 + 16);
    assert_null(memmem(sealed.data, sealed.len, "the token", 9));
    plain = sign_unseal(arena, key, sealed, "channels.secrets:42", &err);
    assert_non_null(plain.data);
    assert_string_equal(plain.data, "the token");
    again = sign_seal(arena, key, STR("the token"), "channels.secrets:42");
    assert_memory_not_equal(sealed.data, again.data, sealed.len);
    assert_null(sign_unseal(arena, key, sealed, "channels.secrets:43", &err).data);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_null(sign_unseal(arena, other, sealed, "channels.secrets:42", &err).data);
    for (size_t at = 0; at < sealed.len; at++) {
        char *changed = arena_copy(arena, sealed.data, sealed.len);

        changed[at] ^= 1;
        plain = sign_unseal(arena, key, (struct str){ changed, sealed.len }, "channels.secrets:42",
                            &err);
        assert_null(plain.data);
        plain = sign_unseal(arena, key, (struct str){ sealed.data, at }, "channels.secrets:42",
                            &err);
        assert_null(plain.data);
    }
    sealed = sign_seal(arena, key, STR(""), "x");
    plain = sign_unseal(arena, key, sealed, "x", &err);
    assert_non_null(plain.data);
    assert_int_equal(plain.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes),
        cmocka_unit_test(authenticates),
        cmocka_unit_test(derives),
        cmocka_unit_test(encodes),
        cmocka_unit_test(refuses_foreign_characters),
        cmocka_unit_test(compares),
        cmocka_unit_test(seals),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
