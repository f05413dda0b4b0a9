/* What files are by their bytes, and names that are safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/sniff.h"

#include <string.h>

#define BYTES(literal) ((struct str){ literal, sizeof(literal) - 1 })

static void types_come_from_the_bytes(void **state)
{
    static const struct {
        struct str data;
        const char *type;
        bool shown;
    } files[] = {
        { BYTES("\xff\xd8\xff\xe0\0\x10JFIF"), "image/jpeg", true },
        { BYTES("\x89PNG\r\n\x1a\n\0\0"), "image/png", true },
        { BYTES("GIF89a\1\0"), "image/gif", true },
        { BYTES("RIFF\x24\0\0\0WEBPVP8 "), "image/webp", true },
        { BYTES("RIFF\x24\0\0\0WAVEfmt "), "audio/wav", true },
        { BYTES("\0\0\0\x18" "ftypheic\0\0\0\0"), "image/heic", false },
        { BYTES("\0\0\0\x18" "ftypisom\0\0\0\0"), "video/mp4", true },
        { BYTES("\0\0\0\x18" "ftypM4A \0\0\0\0"), "audio/mp4", true },
        { BYTES("\0\0\0\x18" "ftyp3gp5\0\0\0\0"), "video/3gpp", true },
        { BYTES("\x1a\x45\xdf\xa3\x01\0\0\0\x42\x82\x84webm"), "video/webm", true },
        { BYTES("OggS\0\2\0\0\0\0\0\0\0\0OpusHead"), "audio/ogg", true },
        { BYTES("#!AMR\n\x3c"), "audio/amr", true },
        { BYTES("ID3\4\0"), "audio/mpeg", true },
        { BYTES("%PDF-1.7\n"), "application/pdf", false },
        { BYTES("PK\3\4\x14\0\0\0\0\0........[Content_Types].xml....word/document.xml"),
          "application/vnd.openxmlformats-officedocument.wordprocessingml.document", false },
        { BYTES("PK\3\4\x14\0\0\0\0\0........a.txt"), "application/zip", false },
        { BYTES("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "application/x-ole-storage", false },
        { BYTES("BEGIN:VCARD\r\n"), "text/vcard", false },
        { BYTES("<html><script>alert(1)</script>"), "text/plain", false },
        { BYTES("<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"x()\">"), "text/plain", false },
        { BYTES("gr\xc3\xbc\xc3\x9f Gott\n"), "text/plain", false },
        { BYTES("caf\xe9"), "application/octet-stream", false },
        { BYTES("a\0b"), "application/octet-stream", false },
        { BYTES("MZ\x90\0\3"), "application/octet-stream", false },
        { BYTES("BM not a bitmap at all, only words"), "text/plain", false },
        { BYTES(""), "application/octet-stream", false },
        { BYTES("\xff"), "application/octet-stream", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_string_equal(sniff_type(files[i].data), files[i].type);
        assert_int_equal(sniff_is_shown(files[i].type), files[i].shown);
    }
}

/* A file cut anywhere is still something, and nothing is read behind its end. */
static void every_beginning_is_something(void **state)
{
    static const char whole[] = "PK\3\4\x14\0\0\0\0\0........[Content_Types].xml....word/document.xml";

    (void)state;
    for (size_t length = 0; length < sizeof whole; length++) {
        struct arena *arena = arena_new(0);
        const char *copy = length ? arena_copy(arena, whole, length) : NULL;

        assert_non_null(sniff_type((struct str){ copy, length }));
        arena_free(arena);
    }
}

static void long_texts_may_be_cut_inside_a_character(void **state)
{
    char text[5000];

    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'a', sizeof text);
        for (size_t at = shift; at + 3 <= sizeof text; at += 3)
            memcpy(text + at, "\xe2\x82\xac", 3);
        assert_string_equal(sniff_type((struct str){ text, sizeof text }), "text/plain");
    }
}

static void names_are_safe(void **state)
{
    static const struct {
        struct str given;
        const char *type, *name;
    } names[] = {
        { BYTES("photo.jpg"), "image/jpeg", "photo.jpg" },
        { BYTES("Photo.JPEG"), "image/jpeg", "Photo.JPEG" },
        { BYTES("../../etc/passwd"), "text/plain", "passwd.txt" },
        { BYTES("C:\\Windows\\x.exe"), "image/png", "x.exe.png" },
        { BYTES("a\r\nSet-Cookie: x=1"), "text/plain", "a__Set-Cookie_ x=1.txt" },
        { BYTES("\"quoted\".txt"), "text/plain", "_quoted_.txt" },
        { BYTES("..."), "application/pdf", "file.pdf" },
        { BYTES(""), "application/zip", "file.zip" },
        { BYTES("/"), "application/octet-stream", "file.bin" },
        { BYTES("-rf"), "text/plain", "rf.txt" },
        { BYTES(".htaccess"), "text/plain", "htaccess.txt" },
        { BYTES("cod\xe2\x80\xaegpj.exe"), "image/jpeg", "codgpj.exe.jpg" },
        { BYTES("gr\xc3\xbc\xc3\x9f" "e.txt"), "text/plain", "gr\xc3\xbc\xc3\x9f" "e.txt" },
        { BYTES("setup.exe"), "application/octet-stream", "setup.exe" },
        { BYTES("name"), NULL, "name" },
        { BYTES("name.jpg"), NULL, "name.jpg" },
        { BYTES("\xff\xfe"), "text/plain", "\xef\xbf\xbd\xef\xbf\xbd.txt" },
    };
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(sniff_name(arena, names[i].given, names[i].type), names[i].name);
    arena_free(arena);
}

static void long_names_are_cut_between_characters(void **state)
{
    struct arena *arena = arena_new(0);
    char given[2000];

    (void)state;
    for (size_t at = 0; at + 4 < sizeof given; at += 4)
        memcpy(given + at, "\xf0\x9f\x98\x80", 4);
    for (size_t length = 100; length < 200; length++) {
        const char *name = sniff_name(arena, (struct str){ given, length / 4 * 4 }, "image/png");

        assert_true(strlen(name) <= SNIFF_NAME_BYTES);
        assert_true(str_utf8_valid(str_c(name)));
        assert_string_equal(strrchr(name, '.'), ".png");
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_come_from_the_bytes),
        cmocka_unit_test(every_beginning_is_something),
        cmocka_unit_test(long_texts_may_be_cut_inside_a_character),
        cmocka_unit_test(names_are_safe),
        cmocka_unit_test(long_names_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
