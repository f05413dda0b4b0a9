/* Streams: child processes, what is kept between calls, lines; and the scripted peer for streams and mail. */
#include "base/arena.h"
#include "base/clock.h"
#include "net/client.h"
#include "net/script.h"
#include "net/stream.h"

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define WAIT_MS 5000

static struct client *client;
static struct arena *arena;
static struct buf line;

static int begin(void **state)
{
    (void)state;
    client = client_new(NULL, NULL);
    arena = arena_new(0);
    buf_init(&line, 100);
    return 0;
}

static int end(void **state)
{
    (void)state;
    client_free(client);
    arena_free(arena);
    buf_fini(&line);
    return 0;
}

static struct stream *start(int64_t channel_id, const char *script)
{
    const char *argv[] = { "/bin/sh", "-c", script, NULL }, *envp[] = { "GREETING=hi", NULL };
    struct stream_request request = { .channel_id = channel_id, .tenant_id = 1, .argv = argv, .envp = envp };
    struct err err = { 0 };
    struct stream *stream = exchange_open(client_exchange(client), &request, &err);

    assert_int_equal(err.code, ERR_NONE);
    assert_non_null(stream);
    return stream;
}

static void assert_says(struct stream *stream, const char *text)
{
    struct err err = { 0 };

    assert_int_equal(stream_line(stream, &line, WAIT_MS, &err), 1);
    assert_string_equal(line.data ? line.data : "", text);
}

static const char echo[] = "echo $GREETING $$; while read l; do echo \"got $l\"; done";

static void a_child_is_spoken_to_and_kept(void **state)
{
    struct stream *stream = start(1, echo);
    struct err err = { 0 };
    int pid;

    (void)state;
    assert_true(stream_is_fresh(stream));
    assert_int_equal(stream_line(stream, &line, WAIT_MS, &err), 1);
    assert_memory_equal(line.data, "hi ", 3);
    pid = atoi(line.data + 3);
    assert_int_equal(stream_write(stream, STR("one\ntwo\nthr"), WAIT_MS, &err), 0);
    assert_says(stream, "got one");
    stream_release(stream, true);
    stream = start(1, echo);
    assert_false(stream_is_fresh(stream));
    assert_says(stream, "got two");
    assert_int_equal(stream_line(stream, &line, 20, &err), 0);
    assert_int_equal(stream_write(stream, STR("ee\r\n"), WAIT_MS, &err), 0);
    assert_says(stream, "got three");
    stream_release(stream, false);
    assert_int_equal(kill(pid, 0), -1);     /* gone, and no zombie either */
}

static void another_program_or_channel_is_another_child(void **state)
{
    struct stream *one = start(1, "echo a; cat"), *two;

    (void)state;
    stream_release(one, true);
    two = start(2, "echo a; cat");
    assert_true(stream_is_fresh(two));
    stream_release(two, true);
    one = start(1, "echo b; cat");
    assert_true(stream_is_fresh(one));
    assert_says(one, "b");
    stream_release(one, true);
}

static void a_child_that_ended_is_started_again(void **state)
{
    struct stream *stream = start(1, "echo once");
    struct err err = { 0 };
    int64_t until_us = clock_mono_us() + WAIT_MS * 1000LL;

    (void)state;
    assert_says(stream, "once");
    do {                                    /* until it is seen to have ended */
        stream_release(stream, true);
        stream = start(1, "echo once");
    } while (!stream_is_fresh(stream) && clock_mono_us() < until_us);
    assert_true(stream_is_fresh(stream));
    assert_says(stream, "once");
    assert_int_equal(stream_line(stream, &line, WAIT_MS, &err), -1);
    assert_int_equal(stream_write(stream, STR("x"), WAIT_MS, &err), -1);
    stream_release(stream, true);           /* dead: not kept */
}

/* Neither gone nor waiting for whoever adopted it to notice. */
static bool is_running(int pid)
{
    char path[40], how = 'Z';
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (!file)
        return false;
    if (fscanf(file, "%*d %*s %c", &how) != 1)
        how = 'Z';
    fclose(file);
    return how != 'Z';
}

static void a_child_that_will_not_end_is_killed_with_its_own(void **state)
{
    struct stream *stream = start(1, "trap '' TERM; sleep 100 & echo $!; while :; do sleep 1; done");
    struct err err = { 0 };
    int64_t start_us = clock_mono_us();
    int grandchild;

    (void)state;
    assert_int_equal(stream_line(stream, &line, WAIT_MS, &err), 1);
    grandchild = atoi(line.data);
    stream_release(stream, false);
    assert_in_range(clock_mono_us() - start_us, 1900000, 10000000);
    for (int i = 0; i < 1000 && is_running(grandchild); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    assert_false(is_running(grandchild));
}

static void lines_have_a_ceiling_and_waits_an_end(void **state)
{
    struct stream *stream = start(1, "printf '%0200d\\n' 1; sleep 100");
    struct err err = { 0 };
    int64_t start_us = clock_mono_us();

    (void)state;
    assert_int_equal(stream_line(stream, &line, WAIT_MS, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    stream_release(stream, true);
    stream = start(2, "exec sleep 100");
    assert_int_equal(stream_line(stream, &line, 50, &err), 0);
    while (stream_write(stream, STR("0123456789012345678901234567890123456789\n"), 50, &err) == 0)
        assert_true(clock_mono_us() - start_us < WAIT_MS * 1000LL);
    assert_int_equal(err.code, ERR_TIMEOUT);
    stream_release(stream, false);
}

static void an_interrupted_thread_waits_no_longer(void **state)
{
    struct stream *stream = start(1, "exec sleep 100");
    int64_t start_us = clock_mono_us();
    struct err err = { 0 };
    atomic_bool flag = true;

    (void)state;
    exchange_interrupted_by(&flag);
    assert_int_equal(stream_line(stream, &line, WAIT_MS, &err), 0);
    exchange_interrupted_by(NULL);
    assert_true(clock_mono_us() - start_us < 2000000);
    stream_release(stream, false);
}

static void what_cannot_be_opened_says_why(void **state)
{
    static const char *const relative[] = { "sh", NULL }, *const missing[] = { "/nowhere/at/all", NULL };
    const struct stream_request cases[] = {
        { .argv = relative }, { .argv = missing }, { .url = "http://x.test" }, { .url = "imaps://127.0.0.1:1" },
        { .url = "imap://127.0.0.1:1", .plain = true }, { 0 },
    };
    static const enum err_code codes[] = { ERR_INVALID, ERR_UNAVAILABLE, ERR_INVALID, ERR_FORBIDDEN, ERR_FORBIDDEN,
                                           ERR_INVALID };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = { 0 };

        assert_null(exchange_open(client_exchange(client), &cases[i], &err));
        assert_int_equal(err.code, codes[i]);
        assert_true(err.hint[0] != '\0');
    }
}

static void mail_that_cannot_be_sent_says_why(void **state)
{
    static const struct { const char *url, *from, *to; enum err_code code; } cases[] = {
        { "smtp://127.0.0.1:1", "a@b", "c@d", ERR_FORBIDDEN }, { "http://x.test", "a@b", "c@d", ERR_INVALID },
        { "smtp://x.test", "a@b\r\nDATA", "c@d", ERR_INVALID }, { "smtp://x.test", "a@b", "c> SIZE=1", ERR_INVALID },
        { "smtp://x.test", "a@b", "", ERR_INVALID }, { NULL, "a@b", "c@d", ERR_INVALID },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange_mail mail = { .url = cases[i].url, .from = cases[i].from, .to = cases[i].to, .body = STR("x"),
            .egress = EGRESS_CHANNEL, .timeout_ms = 2000 };
        struct exchange_reply reply;

        exchange_mail_run(client_exchange(client), arena, &mail, &reply);
        assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
        assert_int_equal(reply.err.code, cases[i].code);
    }
}

static void an_exchange_without_them_refuses(void **state)
{
    struct exchange bare = { 0 };
    struct stream_request request = { .url = "imaps://x" };
    struct exchange_mail mail = { .url = "smtp://x" };
    struct exchange_reply reply;
    struct err err = { 0 };

    (void)state;
    assert_null(exchange_open(&bare, &request, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    exchange_mail_run(&bare, arena, &mail, &reply);
    assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
    assert_int_equal(reply.err.code, ERR_UNAVAILABLE);
}

static void a_scripted_peer_speaks_in_turn(void **state)
{
    struct script *script = script_new();
    struct stream_request request = { .url = "imaps://x" };
    struct err err = { 0 };
    struct stream *stream;

    (void)state;
    assert_null(exchange_open(script_exchange(script), &request, &err));
    script_add_line(script, SCRIPT_EXPECT, STR("a*"));
    script_add_line(script, SCRIPT_SAY, STR("one\r\ntwo\r\n"));
    script_add_line(script, SCRIPT_EXPECT, STR("b"));
    script_add_line(script, SCRIPT_CLOSE, STR(""));
    stream = exchange_open(script_exchange(script), &request, &err);
    assert_int_equal(stream_line(stream, &line, 1, &err), 0);
    assert_int_equal(stream_write(stream, STR("abc\r\n"), 1, &err), 0);
    assert_says(stream, "one");
    assert_says(stream, "two");
    assert_int_equal(script_left(script), 2);
    assert_int_equal(stream_write(stream, STR("b\n"), 1, &err), 0);
    assert_int_equal(stream_line(stream, &line, 1, &err), -1);
    assert_int_equal(script_left(script), 0);
    assert_int_equal(script_surprises(script), 1);
    stream_release(stream, true);
    script_free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_child_is_spoken_to_and_kept, begin, end),
        cmocka_unit_test_setup_teardown(another_program_or_channel_is_another_child, begin, end),
        cmocka_unit_test_setup_teardown(a_child_that_ended_is_started_again, begin, end),
        cmocka_unit_test_setup_teardown(a_child_that_will_not_end_is_killed_with_its_own, begin, end),
        cmocka_unit_test_setup_teardown(lines_have_a_ceiling_and_waits_an_end, begin, end),
        cmocka_unit_test_setup_teardown(an_interrupted_thread_waits_no_longer, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_opened_says_why, begin, end),
        cmocka_unit_test_setup_teardown(mail_that_cannot_be_sent_says_why, begin, end),
        cmocka_unit_test_setup_teardown(an_exchange_without_them_refuses, begin, end),
        cmocka_unit_test_setup_teardown(a_scripted_peer_speaks_in_turn, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
