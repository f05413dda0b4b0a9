#include "base/clock.h"
#include "base/json.h"
#include "base/arena.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/log_line.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))
#define PLANTED "sk-live-planted-secret"

static const unsigned char key[32] = "thirty-two bytes of log key.....";

static int64_t fixed_ms(void)
{
    return 1795200146123;
}

static const char *line_of(struct buf *out, bool json, const struct log_field *fields)
{
    buf_clear(out);
    log_line(out, &(struct log_style){ json, key }, LOG_INFO, "It happened.", fields);
    assert_false(out->overflow);
    return out->data;
}

static void looks_like_this(void **state)
{
    const struct log_field fields[] = { LOG_T("path", "/api/v1/messages"),
                                        LOG_N("status", 202),
                                        LOG_T("text", "two words"),
                                        LOG_T("none", NULL),
                                        LOG_T("quote", "a\"b\\c"),
                                        LOG_T("control", "a\nb\x1b[31m\xe2\x80\xae"),
                                        LOG_T("empty", ""),
                                        LOG_T("pair", "a=b"),
                                        LOG_T("broken", "a\xff"),
                                        LOG_T("letters", "caf\xc3\xa9"),
                                        { 0 } };
    struct buf out;

    (void)state;
    clock_install(fixed_ms, NULL);
    buf_init(&out, LIMIT_LOG_LINE_BYTES);
    assert_string_equal(
        line_of(&out, false, fields),
        "2026-11-20T18:42:26.123Z info  It happened. path=/api/v1/messages status=202 "
        "text=\"two words\" none=- quote=\"a\\\"b\\\\c\" control=\"a\\x0ab\\x1b[31m\\u202e\" "
        "empty=\"\" "
        "pair=\"a=b\" broken=\"a\\xff\" letters=\"caf\xc3\xa9\"\n");
    assert_string_equal(line_of(&out, true, fields),
                        "{\"time\":\"2026-11-20T18:42:26.123Z\",\"level\":\"info\",\"message\":\"It happened.\","
                        "\"path\":\"/api/v1/messages\",\"status\":202,\"text\":\"two words\",\"none\":null,"
                        "\"quote\":\"a\\\"b\\\\c\",\"control\":\"a\\\\x0ab\\\\x1b[31m\\\\u202e\",\"empty\":\"\","
                        "\"pair\":\"a=b\",\"broken\":\"a\\\\xff\",\"letters\":\"caf\xc3\xa9\"}\n");
    clock_install(NULL, NULL);
    buf_fini(&out);
}

static void keeps_classes_apart(void **state)
{
    const struct log_field fields[] = { { "token", LOG_SECRET, LOG_IS_TEXT, STR(PLANTED), 0 },
                                        { "pin", LOG_SECRET, LOG_IS_INT, { 0 }, 918273 },
                                        LOG_P("phone", STR("+4915112345678")),
                                        LOG_P("phone_again", STR("+4915112345678")),
                                        LOG_P("other", STR("+4915112345679")),
                                        { "chat", LOG_PERSONAL, LOG_IS_INT, { 0 }, 555666777 },
                                        LOG_T("public", "shown"),
                                        { 0 } };
    struct buf out;
    char first[19], again[19], other[19];

    (void)state;
    buf_init(&out, LIMIT_LOG_LINE_BYTES);
    for (int json = 0; json < 2; json++) {
        const char *line = line_of(&out, json, fields);

        assert_null(strstr(line, PLANTED));
        assert_null(strstr(line, "918273"));
        assert_null(strstr(line, "4915112"));
        assert_null(strstr(line, "555666777"));
        assert_non_null(strstr(line, "shown"));
    }
    assert_int_equal(sscanf(line_of(&out, false, fields),
                            "%*s info It happened. phone=%18s phone_again=%18s other=%18s", first,
                            again, other),
                     3);
    assert_memory_equal(first, "h:", 2);
    assert_int_equal(strlen(first), 18);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    /* without a key there is nothing that could be guessed back */
    buf_clear(&out);
    log_line(&out, &(struct log_style){ false, NULL }, LOG_WARN, "x", fields);
    assert_non_null(strstr(out.data, "phone=hidden"));
    assert_null(strstr(out.data, "4915112"));
    buf_fini(&out);
}

/* Whatever comes in: one line, within the limit, whole characters, valid JSON. */
static void stays_in_its_line(void **state)
{
    static char values[4][6000];
    struct log_field fields[9] = { 0 };
    struct arena *arena = arena_new(0);
    struct buf out;

    (void)state;
    memset(values[0], 'a', sizeof values[0] - 1);
    memset(values[1], '\n', sizeof values[1] - 1);
    memset(values[2], '"', sizeof values[2] - 1);
    for (size_t at = 0; at + 4 < sizeof values[3]; at += 4)
        memcpy(values[3] + at, "\xf0\x9f\x98\x80", 5);
    buf_init(&out, LIMIT_LOG_LINE_BYTES);
    for (size_t kind = 0; kind < ARRAY_LEN(values); kind++) {
        for (size_t count = 1; count < ARRAY_LEN(fields); count++) {
            for (int json = 0; json < 2; json++) {
                const char *line;

                for (size_t at = 0; at < ARRAY_LEN(fields); at++)
                    fields[at] =
                        at < count ? LOG_T("value", values[kind]) : (struct log_field){ 0 };
                line = line_of(&out, json, fields);
                assert_in_range(strlen(line), 30, LIMIT_LOG_LINE_BYTES);
                assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
                assert_true(str_utf8_valid(str_c(line)));
                if (json)
                    assert_non_null(json_parse_lenient(arena, str_c(line), NULL));
                if (count == 8)
                    assert_non_null(strstr(line, json ? ",\"cut\":true}" : " cut=true\n"));
            }
        }
    }
    arena_free(arena);
    buf_fini(&out);
}

static size_t read_all(int fd, char *out, size_t room)
{
    size_t len = 0;
    ssize_t got;

    while (len < room - 1 && (got = read(fd, out + len, room - 1 - len)) > 0)
        len += (size_t)got;
    out[len] = '\0';
    return len;
}

static void writes_what_is_due(void **state)
{
    static char text[10000];
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    log_start(ends[1], false, LOG_INFO, key);
    log_debug("Not this.");
    log_info("First.", LOG_N("n", 1));
    log_set_level(LOG_ERROR);
    log_warn("Nor this.");
    log_error("Last.", LOG_P("who", STR("someone")));
    log_set_level(LOG_DEBUG);
    log_debug("Bare.");
    log_stop();
    log_stop();
    close(ends[1]);
    read_all(ends[0], text, sizeof text);
    close(ends[0]);
    assert_null(strstr(text, "Not this"));
    assert_null(strstr(text, "Nor this"));
    assert_null(strstr(text, "someone"));
    assert_non_null(strstr(text, " info  First. n=1\n"));
    assert_non_null(strstr(text, " error Last. who=h:"));
    assert_non_null(strstr(text, " debug Bare.\n"));
    assert_true(strstr(text, "First.") < strstr(text, "Last."));
}

static void *write_many(void *number)
{
    for (int line = 0; line < 500; line++)
        log_info("One of many.", LOG_N("writer", *(int *)number), LOG_N("line", line));
    return NULL;
}

static void threads_write_whole_lines_in_their_order(void **state)
{
    static char text[2000000];
    int numbers[4] = { 0, 1, 2, 3 }, next[4] = { 0 }, lines = 0;
    pthread_t threads[4];
    char name[] = "/tmp/log_test_XXXXXX";
    int fd = mkstemp(name);
    char *at, *end;

    (void)state;
    assert_true(fd >= 0);
    log_start(fd, false, LOG_INFO, key);
    for (size_t one = 0; one < ARRAY_LEN(threads); one++)
        assert_int_equal(pthread_create(&threads[one], NULL, write_many, &numbers[one]), 0);
    for (size_t one = 0; one < ARRAY_LEN(threads); one++)
        pthread_join(threads[one], NULL);
    log_stop();
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    read_all(fd, text, sizeof text);
    close(fd);
    unlink(name);
    for (at = text; (end = strchr(at, '\n')); at = end + 1, lines++) {
        int writer = -1, line = -1;

        *end = '\0';
        assert_int_equal(sscanf(at, "%*s info One of many. writer=%d line=%d", &writer, &line), 2);
        assert_in_range(writer, 0, 3);
        assert_int_equal(line, next[writer]++);
    }
    assert_int_equal(lines, 2000);
}

/* A reader that does not read costs lines, never time; when it reads again it is told how many. */
static void full_pipe_does_not_block(void **state)
{
    static char text[4 * LIMIT_LOG_RING_BYTES], filler[900];
    int64_t before = log_dropped(), lost, started, told = 0;
    int ends[2], lines = 0;
    char *at;

    (void)state;
    memset(filler, 'x', sizeof filler - 1);
    assert_int_equal(pipe(ends), 0);
    log_start(ends[1], false, LOG_INFO, key);
    started = clock_mono_us();
    for (int line = 0; line < 5000; line++)
        log_info("Filling.", LOG_T("x", filler));
    assert_true(clock_mono_us() - started < 5000000);
    lost = log_dropped() - before;
    assert_in_range(lost, 1000, 4990);
    /* now read until the report arrives */
    for (size_t len = 0; told == 0 && len < sizeof text - 5000;) {
        ssize_t got = read(ends[0], text + len, 4096);

        assert_true(got > 0);
        len += (size_t)got;
        text[len] = '\0';
        at = strstr(text + (len > 5000 ? len - 5000 : 0), "dropped=");
        if (at && strchr(at, '\n'))
            told = strtoll(at + strlen("dropped="), NULL, 10);
    }
    assert_int_equal(told, lost);
    for (at = text; (at = strstr(at, "Filling.")); at++)
        lines++;
    assert_int_equal(lines + lost, 5000);
    log_info("Again.");
    log_stop();
    close(ends[1]);
    assert_true(read_all(ends[0], text, sizeof text) > 0);
    assert_non_null(strstr(text, "Again."));
    close(ends[0]);
}

static void stops_although_nobody_reads(void **state)
{
    static char filler[900];
    int64_t started;
    int ends[2];

    (void)state;
    memset(filler, 'x', sizeof filler - 1);
    assert_int_equal(pipe(ends), 0);
    log_start(ends[1], true, LOG_INFO, key);
    for (int line = 0; line < 500; line++)
        log_info("Filling.", LOG_T("x", filler));
    started = clock_mono_us();
    log_stop();
    assert_in_range(clock_mono_us() - started, 0, (LIMIT_LOG_STOP_MS + 1500) * 1000);
    close(ends[0]);
    close(ends[1]);
}

static void goes_to_stderr_before_the_start(void **state)
{
    static char text[5000];
    int ends[2], saved = dup(STDERR_FILENO);

    (void)state;
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_set_level(LOG_INFO);
    log_error("Directly.", LOG_P("who", STR("someone")));
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    read_all(ends[0], text, sizeof text);
    close(ends[0]);
    assert_non_null(strstr(text, " error Directly. who=hidden\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_to_stderr_before_the_start),
        cmocka_unit_test(looks_like_this),
        cmocka_unit_test(keeps_classes_apart),
        cmocka_unit_test(stays_in_its_line),
        cmocka_unit_test(writes_what_is_due),
        cmocka_unit_test(threads_write_whole_lines_in_their_order),
        cmocka_unit_test(full_pipe_does_not_block),
        cmocka_unit_test(stops_although_nobody_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
