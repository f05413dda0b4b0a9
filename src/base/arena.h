/* arena.h - memory that dies together: one arena per request, per job, per tool run. Nothing is
 * freed piece by piece.
 *
 * Running out of memory ends the process with exit code 71 (nothing accepted is lost by it), so no
 * caller checks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct arena;
struct str;

#define EXIT_OUT_OF_MEMORY 71

/* A new arena whose first block holds `size_hint` bytes (0: a default of 4 KiB). Free it with
 * arena_free. */
struct arena *arena_new(size_t size_hint);

/* Free the arena and all that lives in it. NULL is fine. */
void arena_free(struct arena *arena);

/* Forget all content and keep the first block for reuse. */
void arena_reset(struct arena *arena);

/* `size` zeroed bytes, aligned for any type. */
void *arena_alloc(struct arena *arena, size_t size);

/* `count` zeroed elements of `size` bytes; the product is checked for overflow. */
void *arena_array(struct arena *arena, size_t count, size_t size);

/* A copy of `size` bytes with a NUL behind it. */
void *arena_copy(struct arena *arena, const void *data, size_t size);

/* A copy of a string (NULL gives NULL), and printf into the arena. */
char *arena_strdup(struct arena *arena, const char *text);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Bytes handed out since the last reset, for tests and limits. */
size_t arena_used(const struct arena *arena);

/* malloc, realloc and strdup that end the process instead of returning NULL; for what outlives
 * every arena. */
void *mem_alloc(size_t size);
void *mem_realloc(void *old, size_t size);
char *mem_strdup(const char *text);

/* Where all out-of-memory paths end: one line on stderr, exit 71. */
_Noreturn void mem_exhausted(size_t size);
