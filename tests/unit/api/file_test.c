/* Ranges and forms: what a browser may ask for, and what it may send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/file_answer.h"
#include "api/multipart.h"
#include "base/arena.h"

#include <string.h>

static void ranges(void **state)
{
    static const struct {
        const char *header;
        int64_t size;
        int result;
        int64_t from, length;
    } cases[] = {
        { "bytes=0-0", 10, 1, 0, 1 }, { "bytes=2-5", 10, 1, 2, 4 }, { "bytes=2-", 10, 1, 2, 8 },
        { "bytes=-3", 10, 1, 7, 3 }, { "bytes=-30", 10, 1, 0, 10 }, { "bytes=5-99", 10, 1, 5, 5 },
        { "bytes=10-", 10, -1, 0, 0 }, { "bytes=-0", 10, -1, 0, 0 }, { "bytes=5-2", 10, 0, 0, 0 },
        { "bytes=0-1,3-4", 10, 0, 0, 0 }, { "lines=0-1", 10, 0, 0, 0 }, { "bytes", 10, 0, 0, 0 },
        { "bytes=", 10, 0, 0, 0 }, { "bytes=a-b", 10, 0, 0, 0 }, { "bytes=--1", 10, 0, 0, 0 },
        { "bytes=0-99999999999999999999", 10, 0, 0, 0 }, { "bytes=9223372036854775807-", 10, -1, 0, 0 },
        { "bytes=0-9223372036854775807", 10, 1, 0, 10 }, { NULL, 10, 0, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t from = 0, length = 0;

        assert_int_equal(file_range(str_c(cases[i].header), cases[i].size, &from, &length), cases[i].result);
        if (cases[i].result == 1) {
            assert_int_equal(from, cases[i].from);
            assert_int_equal(length, cases[i].length);
        }
    }
}

static const char form_type[] = "multipart/form-data; boundary=\"b1\"";

static int read_form(const char *body, struct multipart_file *file, struct err *err)
{
    return multipart_read(str_c(form_type), str_c(body), file, err);
}

static void forms(void **state)
{
    static const char body[] = "--b1\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nnot this\r\n"
                               "--b1\r\ncontent-disposition: form-data; name=\"x\"; filename=\"a;b.txt\"\r\n"
                               "Content-Type: text/html\r\n\r\nhello\r\n--b\r\nworld\r\n--b1--\r\n";
    struct multipart_file file;
    struct err err = { 0 };

    (void)state;
    assert_true(multipart_is(str_c(form_type)));
    assert_true(multipart_is(STR("Multipart/Form-Data ;boundary=x")));
    assert_false(multipart_is(STR("multipart/mixed; boundary=x")));
    assert_false(multipart_is((struct str){ 0 }));
    assert_int_equal(read_form(body, &file, &err), 0);
    assert_true(str_is(file.name, "a;b.txt"));
    assert_true(str_is(file.data, "hello\r\n--b\r\nworld"));
    assert_int_equal(read_form("--b1\r\nContent-Disposition: form-data; name=file\r\n\r\n\r\n--b1--", &file, &err), 0);
    assert_int_equal(file.data.len, 0);
}

static void broken_forms(void **state)
{
    static const struct {
        const char *body;
        enum err_code code;
    } cases[] = {
        { "", ERR_MALFORMED }, { "--b1", ERR_MALFORMED }, { "--b1\r\n", ERR_MALFORMED }, { "--b1--", ERR_INVALID },
        { "hello", ERR_MALFORMED }, { "--b1\r\nno header end\r\n--b1--", ERR_MALFORMED },
        { "--b1\r\n--b1--", ERR_MALFORMED },
        { "--b1\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nx\r\n--b1--", ERR_INVALID },
        { "--b1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx", ERR_MALFORMED },
    };
    struct multipart_file file;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = { 0 };

        assert_int_equal(read_form(cases[i].body, &file, &err), -1);
        assert_int_equal(err.code, cases[i].code);
        assert_true(err.hint[0] != '\0');
    }
    assert_int_equal(multipart_read(STR("multipart/form-data"), STR("--x"), &file, &(struct err){ 0 }), -1);
    assert_int_equal(multipart_read(STR("multipart/form-data; boundary="), STR("--"), &file, &(struct err){ 0 }), -1);
}

/* Every beginning of a good form, in a copy of its own so that a sanitizer sees what is read behind it. */
static void cut_forms(void **state)
{
    static const char body[] = "--b1\r\nContent-Disposition: form-data; name=\"file\"; "
                               "filename=\"a\\\"b\"\r\n\r\nx\r\n--b1--";

    (void)state;
    for (size_t length = 0; length < sizeof body - 1; length++) {
        struct multipart_file file;
        struct arena *arena = arena_new(0);
        struct str cut = { arena_copy(arena, body, length), length };
        int read = multipart_read(str_c(form_type), cut, &file, &(struct err){ 0 });

        assert_int_equal(read, length >= sizeof body - 3 ? 0 : -1);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(forms),
        cmocka_unit_test(broken_forms),
        cmocka_unit_test(cut_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
