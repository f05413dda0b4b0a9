/* Mail that is hostile, old or odd: what no case file can hold. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "channels/lib/mime.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FROM "From: Anna <anna@peer.test>\r\nMessage-ID: <i@peer.test>\r\n"
#define NESTED 10000
#define SLOW_US 3000000

static struct arena *arena;

static int begin(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

#define assert_str(slice, text) assert_string_equal(str_dup(arena, (slice)), (text))

static struct mime_mail read_ok(struct str bytes)
{
    struct mime_mail mail;
    int64_t start_us = clock_mono_us();
    struct err err = { 0 };

    assert_int_equal(mime_read(arena, bytes, &mail, &err), 0);
    assert_true(clock_mono_us() - start_us < SLOW_US);
    return mail;
}

/* Ten thousand parts, each inside of the one before. */
static struct str nested(const char *type, bool closed)
{
    struct str out;
    struct buf text;

    buf_init(&text, LIMIT_MAIL_BYTES);
    buf_puts(&text, FROM);
    for (int i = 0; i < NESTED; i++) {
        if (strcmp(type, "multipart/mixed") == 0)
            buf_printf(&text, "Content-Type: %s; boundary=b%d\r\n\r\n--b%d\r\n", type, i, i);
        else
            buf_printf(&text, "Content-Type: %s\r\n\r\n", type);
    }
    buf_puts(&text, "\r\nat the bottom\r\n");
    for (int i = NESTED; closed && i-- > 0; )
        buf_printf(&text, "--b%d--\r\n", i);
    out = (struct str){ arena_copy(arena, text.data, text.len), text.len };
    buf_fini(&text);
    return out;
}

static void ten_thousand_nested_parts_are_not_followed(void **state)
{
    static const char *const types[] = { "multipart/mixed", "message/rfc822", "multipart/digest" };

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int closed = 0; closed < 2; closed++) {
            struct mime_mail mail = read_ok(nested(types[i], closed));

            assert_true(mail.is_complex);
            assert_str(mail.from.address, "anna@peer.test");
            assert_str(mail.message_id, "i@peer.test");
        }
}

/* On as little stack as a worker has. */
static void *read_deep(void *arg)
{
    struct buf text;

    (void)arg;
    buf_init(&text, LIMIT_MAIL_BYTES);
    buf_puts(&text, FROM);
    for (int i = 0; i < 590; i++)
        buf_printf(&text, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
    buf_puts(&text, "\r\nat the bottom\r\n");
    assert_true(read_ok(buf_slice(&text)).is_complex);
    buf_fini(&text);
    return NULL;
}

static void as_deep_as_the_library_goes_fits_a_small_stack(void **state)
{
    pthread_attr_t attributes;
    pthread_t thread;

    (void)state;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    assert_int_equal(pthread_create(&thread, &attributes, read_deep, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
}

static void ten_thousand_parts_side_by_side_end_at_500(void **state)
{
    struct mime_mail mail;
    struct buf text;

    (void)state;
    buf_init(&text, LIMIT_MAIL_BYTES);
    buf_puts(&text, FROM "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for (int i = 0; i < NESTED; i++)
        buf_printf(&text, "--b\r\n\r\npart %d\r\n", i);
    buf_puts(&text, "--b--\r\n");
    mail = read_ok(buf_slice(&text));
    assert_true(mail.is_complex);
    assert_non_null(memmem(mail.text.data, mail.text.len, "part 498", 8));
    assert_null(memmem(mail.text.data, mail.text.len, "part 600", 8));
    buf_fini(&text);
}

static void every_line_ending_is_one(void **state)
{
    static const char *const ends[] = { "\r\n", "\n", "\r" };

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const char *e = ends[i];
        struct mime_mail mail = read_ok(str_c(arena_printf(arena,
            "From: anna@peer.test%sSubject: a%s b%sContent-Type: multipart/mixed; boundary=x%s%s--x%s%sone%stwo%s--x%s"
            "Content-Type: text/plain; name=f.txt%s%sfile%s--x--%s", e, e, e, e, e, e, e, e, e, e, e, e, e, e)));

        assert_str(mail.from.address, "anna@peer.test");
        assert_str(mail.subject, "a b");
        assert_str(mail.text, "one\ntwo");
        assert_int_equal(mail.file_count, 1);
        assert_str(mail.files[0].data, "file");
    }
}

static void line_endings_inside_of_texts_become_one(void **state)
{
    (void)state;
    assert_str(mime_text_lines(arena, STR("a\r\nb\rc\nd\r\r\ne\0f\n\r")), "a\nb\nc\nd\n\nef\n\n");
}

static void charsets_are_guessed(void **state)
{
    static const struct { const char *charset, *bytes, *text;
    } cases[] = {
        { "utf-8", "caf\xc3\xa9", "caf\xc3\xa9" },
        { "UTF8", "caf\xe9", "caf\xc3\xa9" },
        { NULL, "caf\xe9", "caf\xc3\xa9" },
        { "", "", "" },
        { "nonsense", "\x93hi\x94", "\xe2\x80\x9chi\xe2\x80\x9d" },
        { "us-ascii", "\xc3\xa9", "\xc3\xa9" },
        { "x-sjis", "\x83n\x83\x8d\x81[", "\xe3\x83\x8f\xe3\x83\xad\xe3\x83\xbc" },
        { "ks_c_5601-1987", "\xb0\xa1", "\xea\xb0\x80" },
        { "koi8-r", "\xf0\xd2", "\xd0\x9f\xd1\x80" },
        { "unicode-1-1-utf-7", "+AOk-", "\xc3\xa9" },
        { "iso-2022-jp", "\x1b$B$\"\x1b(B", "\xe3\x81\x82" },
        { "gb2312",
          "\xff\xff"
          "a",
          "\xef\xbf\xbd\xef\xbf\xbd"
          "a" },
        { "euc-kr", "a\xb0", "a\xef\xbf\xbd" },
        { "iso-8859-1//TRANSLIT", "\xe9", "\xc3\xa9" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_str(mime_text_decode(arena, str_c(cases[i].bytes), cases[i].charset, 1000), cases[i].text);
    assert_str(mime_text_decode(arena, STR("\xc3\xa9\xc3\xa9\xc3\xa9"), "utf-8", 3), "\xc3\xa9");
    assert_str(mime_text_decode(arena, STR("\xe9\xe9\xe9"), "latin1", 3), "\xc3\xa9");
}

static void html_of_any_kind_becomes_text(void **state)
{
    static const char *const cases[][2] = {
        { "a < b &lt; c &amp;lt; &bogus; &", "a < b < c &lt; &bogus; &" },
        { "<p>one<p>two", "one\n\ntwo" },
        { "<!-- x --><p>hi</p><!-- never closed", "hi" },
        { "a<br><br/><br>b", "a\n\nb" },
        { "<a href='https://x.test'>https://x.test</a>", "https://x.test" },
        { "<a href=\"javascript:alert(1)\">x</a>", "x" },
        { "&#0;&#xD800;&#x110000;&#65;", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                                         "A" },
        { "<pre>a  b\n c</pre>", "a  b\n c" },
        { "<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc" },
        { "<script>x", "" },
        { "<", "<" },
        { "</", "" },
        { "<a href=", "" },
        { "x<style", "x" },
        { "<a href=\"https://x.test\">open", "open <https://x.test>" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_str(str_trim(mime_html_text(arena, str_c(cases[i][0]))), cases[i][1]);
}

/* Many tags that never end: linear, or it takes minutes. */
static void hostile_html_ends_soon(void **state)
{
    static const char *const pieces[] = {
        "<", "<a href=", "<!--", "<script", "&", "<a href='https://x.test/'>", "&#1"
    };
    int64_t start_us = clock_mono_us();

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buf text;

        buf_init(&text, LIMIT_TEXT_BYTES);
        while (!text.overflow)
            buf_puts(&text, pieces[i]);
        mime_html_text(arena, buf_slice(&text));
        buf_fini(&text);
    }
    assert_true(clock_mono_us() - start_us < SLOW_US);
}

static void many_addresses_references_and_headers_have_an_end(void **state)
{
    struct mime_mail mail;
    struct buf text;

    (void)state;
    buf_init(&text, LIMIT_MAIL_BYTES);
    buf_puts(&text, FROM "References:");
    for (int i = 0; i < 5000; i++)
        buf_printf(&text, " <r%d@x>\r\n", i);
    buf_puts(&text, "To: a0@x.test");
    for (int i = 1; i < 5000; i++)
        buf_printf(&text, ",\r\n a%d@x.test", i);
    for (int i = 0; i < 5000; i++)
        buf_printf(&text, "\r\nX-%d: y", i);
    buf_puts(&text, "\r\n\r\nhi\r\n");
    mail = read_ok(buf_slice(&text));
    assert_int_equal(mail.reference_count, MIME_REFERENCES);
    assert_str(mail.references[0], "r0@x");
    assert_str(mail.references[MIME_REFERENCES - 1], "r4999@x");
    assert_int_equal(mail.person_count, MIME_PEOPLE);
    assert_int_equal(mail.header_count, MIME_HEADERS);
    buf_fini(&text);
}

static void too_many_files_are_counted(void **state)
{
    struct mime_mail mail;
    struct buf text;

    (void)state;
    buf_init(&text, LIMIT_MAIL_BYTES);
    buf_puts(&text, FROM "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for (int i = 0; i < 30; i++)
        buf_printf(&text, "--b\r\nContent-Type: image/png; name=\"..\\\\a/%d.png\"\r\n\r\nx\r\n", i);
    mail = read_ok(buf_slice(&text));
    assert_int_equal(mail.file_count, LIMIT_ATTACHMENTS);
    assert_int_equal(mail.left_out, 30 - LIMIT_ATTACHMENTS);
    buf_fini(&text);
}

/* What was written is read as it was meant. */
static void a_mail_that_is_written_can_be_read(void **state)
{
    struct send_attachment file = { .name = "a\r\nb\xc3\xa9.pdf", .type = "application/pdf",
        .data = { "\0\1\2\xff", 4 } };
    struct str references[] = { STR("r1@x"), STR("bad id") };
    struct mime_draft draft = { .from_name = "H\xc3\xa9lp, \"Desk\"\r\nBcc: x@y",
                                .from = "help@hub.test",
                                .to = "anna@peer.test",
                                .message_id = "k@hub.test",
                                .in_reply_to = "q@x",
                                .references = references,
                                .reference_count = 2,
                                .subject = STR("Gr\xc3\xbc\xc3\x9f"
                                               "e\nBcc: x@y"),
                                .text = STR("a\n\n  b \xf0\x9f\x91\x8b\n."),
                                .file = &file,
                                .date_ms = 1719045971000 };
    struct str bytes = mime_write(arena, &draft);
    struct mime_mail mail = read_ok(bytes);

    (void)state;
    assert_str(mail.from.address, "help@hub.test");
    assert_str(mail.subject, "Gr\xc3\xbc\xc3\x9f" "e Bcc: x@y");
    assert_null(mime_header_of(&mail, "Bcc").data);
    assert_str(mail.message_id, "k@hub.test");
    assert_str(mail.in_reply_to, "q@x");
    assert_int_equal(mail.reference_count, 2);
    assert_str(mail.references[1], "q@x");
    assert_str(mail.text, "a\n\n  b \xf0\x9f\x91\x8b\n.");
    assert_int_equal(mail.file_count, 1);
    assert_memory_equal(mail.files[0].data.data, "\0\1\2\xff", 4);
    assert_int_equal(mail.date_ms, 1719045971000);
    for (size_t i = 0; i < bytes.len; i++)
        assert_true((unsigned char)bytes.data[i] < 0x80);
}

static void no_bytes_are_no_mail(void **state)
{
    struct mime_mail mail;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(mime_read(arena, STR(""), &mail, &err), -1);
    assert_int_equal(err.code, ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ten_thousand_nested_parts_are_not_followed, begin, end),
        cmocka_unit_test_setup_teardown(as_deep_as_the_library_goes_fits_a_small_stack, begin, end),
        cmocka_unit_test_setup_teardown(ten_thousand_parts_side_by_side_end_at_500, begin, end),
        cmocka_unit_test_setup_teardown(every_line_ending_is_one, begin, end),
        cmocka_unit_test_setup_teardown(line_endings_inside_of_texts_become_one, begin, end),
        cmocka_unit_test_setup_teardown(charsets_are_guessed, begin, end),
        cmocka_unit_test_setup_teardown(html_of_any_kind_becomes_text, begin, end),
        cmocka_unit_test_setup_teardown(hostile_html_ends_soon, begin, end),
        cmocka_unit_test_setup_teardown(many_addresses_references_and_headers_have_an_end, begin, end),
        cmocka_unit_test_setup_teardown(too_many_files_are_counted, begin, end),
        cmocka_unit_test_setup_teardown(a_mail_that_is_written_can_be_read, begin, end),
        cmocka_unit_test_setup_teardown(no_bytes_are_no_mail, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
