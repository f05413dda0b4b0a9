/* err.h - the one error type: a code for programs, a sentence for people, a hint that says what to
 * do.
 *
 * Whoever fails fills it; library code never logs, program code logs or answers it once. Functions
 * that can fail return int (0 ok, -1 failed) and take `struct err *` last. Its strings are copied,
 * so it needs no release. */
#pragma once

#include "base/limits.h"

/* The closed set of failures. Each has exactly one HTTP status and one CLI exit code (err_status,
 * err_exit). */
enum err_code {
    ERR_NONE,
    ERR_INVALID,           /* 422: a field is wrong; `field` names it */
    ERR_MALFORMED,         /* 400: not JSON, bad UTF-8, framing */
    ERR_UNAUTHENTICATED,   /* 401 */
    ERR_FORBIDDEN,         /* 403: scope missing, wrong webhook signature */
    ERR_NOT_FOUND,         /* 404: also everything of another tenant */
    ERR_METHOD,            /* 405 */
    ERR_CONFLICT,          /* 409: state does not allow it, or a concurrent twin */
    ERR_GONE,              /* 410: cursor of another epoch: resync */
    ERR_TOO_LARGE,         /* 413 */
    ERR_MEDIA_TYPE,        /* 415 */
    ERR_KEY_REUSED,        /* 422: Idempotency-Key with another body */
    ERR_RATE_LIMITED,      /* 429, Retry-After */
    ERR_UNAVAILABLE,       /* 503, Retry-After: a transient fault of ours; senders repeat */
    ERR_STORAGE_FULL,      /* 507 */
    ERR_TIMEOUT,           /* 504: a deadline passed */
    ERR_INTERNAL,          /* 503 outside; a bug or an impossible answer, logged with its detail */
    ERR_CODES
};

struct err {
    enum err_code code;
    char field[64];                     /* input field at fault, or "" */
    char detail[LIMIT_DETAIL_BYTES];    /* what happened */
    char hint[LIMIT_HINT_BYTES];        /* what to do */
    int retry_after_s;                  /* for 429 and 503, 0 = default */
};

/* Fill `err` (which may be NULL) and return -1, so that a failure is one line. `format` is
 * printf's; texts are cut. */
int err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Add the hint to an error already set; returns -1 too. */
int err_hint(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A wrong input field: ERR_INVALID with its name. Returns -1. */
int err_field(struct err *err, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Forget an error. */
void err_clear(struct err *err);

/* The code's word in problem documents ("invalid", "not_found", ...), its HTTP status, its CLI exit
 * code. */
const char *err_word(enum err_code code);
int err_status(enum err_code code);
int err_exit(enum err_code code);
