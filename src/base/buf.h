/* buf.h - growing bytes with a mandatory ceiling. What would pass the ceiling is not added and
 * `overflow` stays set, so a caller appends freely and checks once at the end. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;         /* always NUL-terminated once anything was added */
    size_t len;
    size_t cap;
    size_t max;
    bool overflow;
};

/* An empty buffer that never grows past `max` bytes. Release with buf_fini. */
void buf_init(struct buf *buf, size_t max);
void buf_fini(struct buf *buf);

/* Forget the content, keep the memory. */
void buf_clear(struct buf *buf);

/* Append bytes, a string, one byte, a decimal number, printf. */
void buf_add(struct buf *buf, const void *data, size_t len);
void buf_puts(struct buf *buf, const char *text);
void buf_str(struct buf *buf, struct str s);
void buf_putc(struct buf *buf, char c);
void buf_int(struct buf *buf, long long number);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Make room for `len` more bytes and return where they go (NULL when over the ceiling); tell with
 * buf_added how many were written. */
char *buf_room(struct buf *buf, size_t len);
void buf_added(struct buf *buf, size_t len);

/* The content as a slice, valid until the next append. */
struct str buf_slice(const struct buf *buf);

/* Hand the memory to the caller (free() it) and leave the buffer empty. */
char *buf_take(struct buf *buf, size_t *len);
