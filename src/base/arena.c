#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_BLOCK 4096
#define LARGEST_BLOCK (256 * 1024)

struct block {
    struct block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) char data[];
};

struct arena {
    struct block *first;
    struct block *current;
    size_t handed_out;
};

_Noreturn void mem_exhausted(size_t size)
{
    char line[96];
    int length =
        snprintf(line, sizeof line, "message-hub: out of memory (%zu bytes asked)\n", size);

    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0)
        _exit(EXIT_OUT_OF_MEMORY);
    _exit(EXIT_OUT_OF_MEMORY);
}

void *mem_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);

    if (!memory)
        mem_exhausted(size);
    return memory;
}

void *mem_realloc(void *old, size_t size)
{
    void *memory = realloc(old, size ? size : 1);

    if (!memory)
        mem_exhausted(size);
    return memory;
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(mem_alloc(size), text, size);
}

static struct block *block_new(size_t size)
{
    struct block *block = size < SIZE_MAX - sizeof *block ? malloc(sizeof *block + size) : NULL;

    if (!block)
        mem_exhausted(size);
    block->next = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

struct arena *arena_new(size_t size_hint)
{
    struct arena *arena = mem_alloc(sizeof *arena);

    arena->first = arena->current = block_new(size_hint ? size_hint : DEFAULT_BLOCK);
    return arena;
}

static void free_after(struct block *block)
{
    struct block *next = block->next;

    block->next = NULL;
    while (next) {
        struct block *following = next->next;

        free(next);
        next = following;
    }
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    free_after(arena->first);
    free(arena->first);
    free(arena);
}

void arena_reset(struct arena *arena)
{
    free_after(arena->first);
    arena->first->used = 0;
    arena->current = arena->first;
    arena->handed_out = 0;
}

static void *take(struct arena *arena, size_t size)
{
    size_t aligned = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct block *block = arena->current;
    void *memory;

    if (aligned < size)
        mem_exhausted(size);
    if (block->size - block->used < aligned) {
        size_t next_size = block->size * 2 > LARGEST_BLOCK ? LARGEST_BLOCK : block->size * 2;

        block->next = block_new(next_size < aligned ? aligned : next_size);
        block = arena->current = block->next;
    }
    memory = block->data + block->used;
    block->used += aligned;
    arena->handed_out += aligned;
    return memory;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return memset(take(arena, size), 0, size);
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        mem_exhausted(SIZE_MAX);
    return arena_alloc(arena, total);
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
    char *copy = take(arena, size + 1);

    if (size)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return text ? arena_copy(arena, text, strlen(text)) : NULL;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    int length;
    char *text;

    assert(format);
    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        mem_exhausted(0);
    text = take(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

size_t arena_used(const struct arena *arena)
{
    return arena->handed_out;
}
