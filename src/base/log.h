/* log.h - one structured line per event: time, level, message, key=value fields (or JSON with
 * `log.format = json`).
 *
 * Never blocks: lines go through a bounded ring to a writer thread; what does not fit is counted
 * and reported. Each field has a class: public as it is, personal as a truncated HMAC, secret
 * never. */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_class { LOG_PUBLIC, LOG_PERSONAL, LOG_SECRET };

struct log_field {
    const char *key;            /* NULL ends the list */
    enum log_class class;
    enum { LOG_IS_TEXT, LOG_IS_INT } kind;
    struct str text;
    int64_t number;
};

#define LOG_T(key, cstr) ((struct log_field){ (key), LOG_PUBLIC, LOG_IS_TEXT, str_c(cstr), 0 })
#define LOG_S(key, slice) ((struct log_field){ (key), LOG_PUBLIC, LOG_IS_TEXT, (slice), 0 })
#define LOG_P(key, slice) ((struct log_field){ (key), LOG_PERSONAL, LOG_IS_TEXT, (slice), 0 })
#define LOG_N(key, number) \
    ((struct log_field){ (key), LOG_PUBLIC, LOG_IS_INT, { 0 }, (int64_t)(number) })

/* Start and stop the writer thread. Before log_start (and in the CLI) lines go straight to stderr.
 * `personal_key` (32 bytes) keys the HMAC of personal fields. */
void log_start(int fd, bool json, enum log_level level, const unsigned char personal_key[32]);
void log_stop(void);
void log_set_level(enum log_level level);

/* Write one line. `message` is a constant sentence without data in it; data goes into fields (ended
 * by a NULL key). */
void log_write(enum log_level level, const char *message, const struct log_field *fields);

#define LOG_LINE(level, message, ...) \
    log_write((level), (message), (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { 0 } })
#define log_debug(message, ...) LOG_LINE(LOG_DEBUG, (message), __VA_ARGS__)
#define log_info(message, ...) LOG_LINE(LOG_INFO, (message), __VA_ARGS__)
#define log_warn(message, ...) LOG_LINE(LOG_WARN, (message), __VA_ARGS__)
#define log_error(message, ...) LOG_LINE(LOG_ERROR, (message), __VA_ARGS__)

/* Lines dropped because the ring was full, for metrics. */
int64_t log_dropped(void);
