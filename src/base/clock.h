/* clock.h - the only source of time. Tests and the simulator install their own (clock_install). */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;

#define CLOCK_MAX_MS 253402300799999    /* 9999-12-31T23:59:59.999Z */

/* Wall clock, milliseconds since 1970 UTC: for display, signatures and expiry only. */
int64_t clock_ms(void);

/* Monotonic microseconds: for waits and durations. */
int64_t clock_mono_us(void);

/* Replace both sources for the whole process (NULL: the real ones). Call before threads start.
 * `wall_ms` and `mono_us` must be safe to call from any thread. */
void clock_install(int64_t (*wall_ms)(void), int64_t (*mono_us)(void));

/* "2026-11-20T18:42:26.123Z" in the arena, or in `out`, which is returned. Times outside the years
 * 1970 to 9999 are clamped. */
#define CLOCK_ISO_BYTES 25
const char *clock_iso(struct arena *arena, int64_t ms);
char *clock_iso_into(char out[CLOCK_ISO_BYTES], int64_t ms);

/* RFC 3339 / ISO 8601 date-time with a zone (Z or +hh:mm), or a bare number of seconds or
 * milliseconds since 1970. The zone's offset in minutes goes to `*offset_min` (may be NULL). Years
 * 1970 to 9999. False: not such a time. */
bool clock_parse(struct str text, int64_t *ms, int *offset_min);
