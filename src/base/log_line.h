/* log_line.h - how one log line looks. Only log.c and its tests include this. */
#pragma once

#include "base/buf.h"
#include "base/log.h"

struct log_style {
    bool json;
    const unsigned char *personal_key;  /* 32 bytes; NULL: personal values are hidden whole */
};

/* Append one line with its newline, at most LIMIT_LOG_LINE_BYTES; long values are cut, and fields
 * that do not fit are left out with `cut=true` in their place. `out` must have room for that many
 * bytes. */
void log_line(struct buf *out, const struct log_style *style, enum log_level level,
              const char *message, const struct log_field *fields);
