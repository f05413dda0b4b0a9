#include "base/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void hands_out_zeroed_aligned_memory(void **state)
{
    struct arena *arena = arena_new(64);

    (void)state;
    for (size_t size = 0; size < 3000; size += 7) {
        unsigned char *memory = arena_alloc(arena, size);

        assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
        for (size_t at = 0; at < size; at++)
            assert_int_equal(memory[at], 0);
        memset(memory, 0xff, size);
    }
    arena_reset(arena);
    assert_int_equal(arena_used(arena), 0);
    for (int round = 0; round < 10; round++) {
        unsigned char *memory = arena_alloc(arena, 32);

        assert_int_equal(memory[0] | memory[31], 0);    /* also where the last user wrote */
        memset(memory, 0xff, 32);
    }
    assert_int_equal(arena_used(arena), 320);
    arena_free(arena);
    arena_free(NULL);
}

static void takes_more_than_a_block(void **state)
{
    struct arena *arena = arena_new(0);
    char *large = arena_alloc(arena, 1 << 20), *small = arena_alloc(arena, 8);

    (void)state;
    memset(large, 1, 1 << 20);
    memset(small, 2, 8);
    assert_int_equal(large[(1 << 20) - 1], 1);
    assert_non_null(arena_array(arena, 1000, 16));
    arena_reset(arena);
    arena_reset(arena);
    arena_free(arena);
}

static void copies_and_prints(void **state)
{
    struct arena *arena = arena_new(0);
    char *copy;

    (void)state;
    copy = arena_copy(arena, "ab\0c", 4);
    assert_memory_equal(copy, "ab\0c", 5);
    assert_string_equal(arena_copy(arena, NULL, 0), "");
    assert_string_equal(arena_strdup(arena, "text"), "text");
    assert_null(arena_strdup(arena, NULL));
    assert_string_equal(arena_printf(arena, "%d %s", 7, "x"), "7 x");
    assert_int_equal(strlen(arena_printf(arena, "%5000d", 1)), 5000);
    arena_free(arena);
    copy = mem_strdup("outlives");
    copy = mem_realloc(copy, 100);
    assert_string_equal(copy, "outlives");
    free(copy);
    free(mem_alloc(0));
}

static int exit_code_of(void (*die)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        close(STDERR_FILENO);
        die();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void overflow_a_product(void)
{
    arena_array(arena_new(0), SIZE_MAX / 2, 3);
}

static void overflow_a_sum(void)
{
    arena_alloc(arena_new(0), SIZE_MAX - 40);
}

static void exhaust(void)
{
    mem_exhausted(5);
}

static void ends_the_process_without_memory(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of(overflow_a_product), EXIT_OUT_OF_MEMORY);
    assert_int_equal(exit_code_of(overflow_a_sum), EXIT_OUT_OF_MEMORY);
    assert_int_equal(exit_code_of(exhaust), EXIT_OUT_OF_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_out_zeroed_aligned_memory),
        cmocka_unit_test(takes_more_than_a_block),
        cmocka_unit_test(copies_and_prints),
        cmocka_unit_test(ends_the_process_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
