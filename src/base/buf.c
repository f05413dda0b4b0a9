#include "base/buf.h"

#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *buf, size_t max)
{
    assert(max > 0);
    memset(buf, 0, sizeof *buf);
    buf->max = max;
}

void buf_fini(struct buf *buf)
{
    free(buf->data);
    buf->data = NULL;
    buf->len = buf->cap = 0;
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->overflow = false;
    if (buf->data)
        buf->data[0] = '\0';
}

char *buf_room(struct buf *buf, size_t len)
{
    if (buf->overflow || len > buf->max - buf->len) {
        buf->overflow = true;
        return NULL;
    }
    if (buf->cap < buf->len + len + 1) {
        size_t cap = buf->cap ? buf->cap * 2 : 256;

        if (cap < buf->len + len + 1)
            cap = buf->len + len + 1;
        buf->data = mem_realloc(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void buf_added(struct buf *buf, size_t len)
{
    assert(buf->len + len < buf->cap);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
    char *room = buf_room(buf, len);

    if (!room)
        return;
    if (len)
        memcpy(room, data, len);
    buf_added(buf, len);
}

void buf_puts(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_str(struct buf *buf, struct str s)
{
    buf_add(buf, s.data, s.len);
}

void buf_putc(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_int(struct buf *buf, long long number)
{
    char digits[24];
    char *end = digits + sizeof digits, *at = end;
    unsigned long long left =
        number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number;

    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (number < 0)
        *--at = '-';
    buf_add(buf, at, (size_t)(end - at));
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    int length;
    char *room;

    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    room = length < 0 ? NULL : buf_room(buf, (size_t)length);
    if (room) {
        vsnprintf(room, (size_t)length + 1, format, again);
        buf_added(buf, (size_t)length);
    }
    va_end(again);
}

struct str buf_slice(const struct buf *buf)
{
    return (struct str){ buf->data ? buf->data : "", buf->len };
}

char *buf_take(struct buf *buf, size_t *len)
{
    char *data = buf->data ? buf->data : mem_strdup("");

    if (len)
        *len = buf->len;
    buf->data = NULL;
    buf->len = buf->cap = 0;
    return data;
}
