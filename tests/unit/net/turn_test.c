/* Children: one call at a time, lines left to the next, and what may be started at all. */
#include "base/clock.h"
#include "base/limits.h"
#include "net/client.h"
#include "net/stream.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define WAIT_MS 5000

static struct client *client;
static struct buf line;

static int begin(void **state)
{
    (void)state;
    client = client_new(NULL, NULL);
    buf_init(&line, 1000);
    return 0;
}

static int end(void **state)
{
    (void)state;
    client_free(client);
    buf_fini(&line);
    return 0;
}

static struct stream *start(const char *script, bool yields, int timeout_ms, struct err *err)
{
    const char *argv[] = { "/bin/sh", "-c", script, NULL };
    struct stream_request request = { .channel_id = 1, .tenant_id = 1, .argv = argv, .yields = yields,
                                      .timeout_ms = timeout_ms };

    return exchange_open(client_exchange(client), &request, err);
}

static void assert_says(struct stream *stream, const char *text)
{
    struct err err = { 0 };

    assert_int_equal(stream_line(stream, &line, WAIT_MS, &err), 1);
    assert_string_equal(line.data ? line.data : "", text);
}

static void the_next_call_waits_and_gives_up(void **state)
{
    struct err err = { 0 };
    struct stream *first = start("exec cat", false, WAIT_MS, &err), *second;
    int64_t start_us = clock_mono_us();

    (void)state;
    assert_non_null(first);
    assert_null(start("exec cat", false, 300, &err));
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_in_range(clock_mono_us() - start_us, 250000, 3000000);
    stream_release(first, true);
    second = start("exec cat", false, 300, &err);
    assert_non_null(second);
    assert_false(stream_is_fresh(second));
    stream_release(second, true);
}

static void *ask(void *arg)
{
    struct err err = { 0 };
    struct stream *stream = start("exec cat", false, WAIT_MS, &err);

    (void)arg;
    if (!stream)
        return NULL;
    stream_write(stream, STR("from the other\n"), WAIT_MS, &err);
    stream_release(stream, true);
    return client;
}

/* Who yields is woken out of its wait; the other one gets the same child. */
static void who_yields_makes_room_at_once(void **state)
{
    struct err err = { 0 };
    struct stream *stream = start("exec cat", true, WAIT_MS, &err);
    int64_t start_us = clock_mono_us();
    pthread_t thread;
    void *done;

    (void)state;
    assert_non_null(stream);
    assert_int_equal(pthread_create(&thread, NULL, ask, NULL), 0);
    assert_int_equal(stream_line(stream, &line, 20000, &err), 0);
    stream_release(stream, true);
    assert_int_equal(pthread_join(thread, &done), 0);
    assert_non_null(done);
    assert_true(clock_mono_us() - start_us < 3000000);
    stream = start("exec cat", true, WAIT_MS, &err);
    assert_false(stream_is_fresh(stream));
    assert_says(stream, "from the other");
    stream_release(stream, false);
}

static void lines_are_left_to_the_next_call(void **state)
{
    struct err err = { 0 };
    struct stream *stream = start("printf 'one\\ntwo\\nthree\\n'; exec cat", false, WAIT_MS, &err);
    char *much = malloc(LIMIT_STREAM_BYTES);

    (void)state;
    assert_says(stream, "one");
    assert_says(stream, "two");
    assert_int_equal(stream_unread(stream, STR("one\ntwo\n"), &err), 0);
    stream_release(stream, true);
    stream = start("printf 'one\\ntwo\\nthree\\n'; exec cat", false, WAIT_MS, &err);
    assert_says(stream, "one");
    assert_says(stream, "two");
    assert_says(stream, "three");
    memset(much, '\n', LIMIT_STREAM_BYTES);
    assert_int_equal(stream_unread(stream, (struct str){ much, LIMIT_STREAM_BYTES - 1 }, &err), 0);
    assert_int_equal(stream_unread(stream, STR("more\n"), &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    stream_release(stream, true);
    free(much);
    stream = start("printf 'one\\ntwo\\nthree\\n'; exec cat", false, WAIT_MS, &err);
    assert_true(stream_is_fresh(stream));   /* what cannot be kept is not passed over */
    stream_release(stream, false);
}

static enum err_code try_program(const char *name)
{
    const char *argv[] = { name, NULL };
    struct stream_request request = { .channel_id = 9, .tenant_id = 1, .argv = argv, .timeout_ms = WAIT_MS };
    struct err err = { 0 };
    struct stream *stream = exchange_open(client_exchange(client), &request, &err);

    stream_release(stream, false);
    return stream ? ERR_NONE : err.code;
}

static void only_the_folder_s_programs_are_started(void **state)
{
    char folder[] = "/tmp/programs-XXXXXX", path[100];
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/good", folder);
    file = fopen(path, "w");
    fputs("#!/bin/sh\nexec cat\n", file);
    fclose(file);
    chmod(path, 0755);
    client_programs(client, folder);
    assert_int_equal(try_program("good"), ERR_NONE);
    assert_int_equal(try_program("/bin/sh"), ERR_INVALID);
    assert_int_equal(try_program("../programs/good"), ERR_INVALID);
    assert_int_equal(try_program(".."), ERR_INVALID);
    assert_int_equal(try_program(""), ERR_INVALID);
    assert_int_equal(try_program("missing"), ERR_UNAVAILABLE);
    chmod(path, 0775);
    assert_int_equal(try_program("good"), ERR_FORBIDDEN);
    chmod(path, 0644);
    assert_int_equal(try_program("good"), ERR_FORBIDDEN);
    chmod(path, 0755);
    chmod(folder, 0777);
    assert_int_equal(try_program("good"), ERR_FORBIDDEN);
    chmod(folder, 0755);
    assert_int_equal(try_program("good"), ERR_NONE);
    unlink(path);
    assert_int_equal(symlink("/bin/cat", path), 0);
    assert_int_equal(try_program("good"), ERR_FORBIDDEN);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_next_call_waits_and_gives_up, begin, end),
        cmocka_unit_test_setup_teardown(who_yields_makes_room_at_once, begin, end),
        cmocka_unit_test_setup_teardown(lines_are_left_to_the_next_call, begin, end),
        cmocka_unit_test_setup_teardown(only_the_folder_s_programs_are_started, begin, end),
    };

    return cmocka_run_group_tests_name("net turn", tests, NULL, NULL);
}
