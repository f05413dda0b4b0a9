/* The four layers of the configuration, their precedence and their error texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "core/config.h"

static char folder[] = "/tmp/config_test_XXXXXX";

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    return chdir(folder);
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int load(struct arena *arena, char **argv, struct config **config, struct err *err)
{
    struct config_words words = { argv, 0 };

    while (argv[words.count])
        words.count++;
    return config_load(arena, &words, config, err);
}

static void test_precedence(void **state)
{
    struct arena *arena = arena_new(0);
    struct config *config;
    struct err err = { 0 };
    const char *detail;

    (void)state;
    write_file("hub.conf", "# comment\nlisten = \"127.0.0.1:1\"\nworkers = 3\nlog-level=warn\n");
    setenv("MESSAGE_HUB_WORKERS", "4", 1);
    assert_int_equal(
        load(arena, (char *[]) { "--config=hub.conf", "--log-level", "debug", "--dev-no-auth", NULL }, &config, &err),
        0);
    assert_string_equal(config_text(config, "listen"), "127.0.0.1:1");
    assert_int_equal(config_origin_of(config, "listen", &detail), CONFIG_FILE);
    assert_string_equal(detail, "hub.conf:2");
    assert_int_equal(config_number(config, "workers"), 4);
    assert_int_equal(config_origin_of(config, "workers", NULL), CONFIG_ENV);
    assert_string_equal(config_text(config, "log-level"), "debug");
    assert_int_equal(config_origin_of(config, "log-level", NULL), CONFIG_FLAG);
    assert_true(config_flag(config, "dev-no-auth"));
    assert_string_equal(config_text(config, "log-format"), "text");
    assert_int_equal(config_origin_of(config, "log-format", NULL), CONFIG_DEFAULT);
    unsetenv("MESSAGE_HUB_WORKERS");
    arena_free(arena);
}

static void test_older_names(void **state)
{
    struct arena *arena = arena_new(0);
    struct config *config;
    struct err err = { 0 };

    (void)state;
    write_file(".env", "DATABASE_URL=sqlite:/from/env/file\nUNRELATED=1\n");
    assert_int_equal(load(arena, (char *[]){ NULL }, &config, &err), 0);
    assert_string_equal(config_text(config, "database-url"), "sqlite:/from/env/file");
    setenv("DATABASE_URL", "sqlite:/from/environment", 1);
    assert_int_equal(load(arena, (char *[]){ NULL }, &config, &err), 0);
    assert_string_equal(config_text(config, "database-url"), "sqlite:/from/environment");
    unsetenv("DATABASE_URL");
    unlink(".env");
    arena_free(arena);
}

static void test_refusals(void **state)
{
    struct arena *arena = arena_new(0);
    struct config *config;
    struct err err = { 0 };

    (void)state;
    write_file("wrong.conf", "lisen = 1\n");
    assert_int_equal(load(arena, (char *[]){ "--config=wrong.conf", NULL }, &config, &err), -1);
    assert_string_equal(err.detail, "wrong.conf:1: unknown setting \"lisen\".");
    assert_non_null(strstr(err.hint, "\"listen\""));
    assert_int_equal(load(arena, (char *[]){ "--workers=300", NULL }, &config, &err), -1);
    assert_string_equal(err.field, "workers");
    assert_non_null(strstr(err.detail, "--workers"));
    assert_int_equal(load(arena, (char *[]){ "--config=absent.conf", NULL }, &config, &err), -1);
    assert_int_equal(load(arena, (char *[]){ "--listen", NULL }, &config, &err), -1);
    arena_free(arena);
}

static void test_rest_is_left(void **state)
{
    struct arena *arena = arena_new(0);
    struct config *config;
    struct err err = { 0 };
    char *argv[] = { "serve", "--data", "/d", "--unknown", "x" };

    struct config_words words = { argv, 5 };

    (void)state;
    assert_int_equal(config_load(arena, &words, &config, &err), 0);
    assert_int_equal(words.count, 3);
    assert_string_equal(words.words[0], "serve");
    assert_string_equal(words.words[1], "--unknown");
    assert_string_equal(words.words[2], "x");
    assert_string_equal(config_text(config, "data"), "/d");
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_older_names),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_rest_is_left),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
