/* silence.h - is a channel quiet for longer than it usually is? Pure. What is usual is kept per hour of the day (UTC),
 * so that a night is no alarm: the running mean of the gaps between two signs of life that reached into that hour. */
#pragma once

#include "base/str.h"

struct arena;

#define SILENCE_HOURS 24
#define SILENCE_TIMES 3             /* so many usual gaps are an alarm */

struct silence {
    int64_t seen;                   /* gaps taken in so far */
    int64_t gap_s[SILENCE_HOURS];   /* 0: nothing is known of that hour */
};

/* From and to its stored text, numbers with commas; anything else is an empty one. The text lives in the arena. */
struct silence silence_parse(struct str text);
const char *silence_text(struct arena *arena, const struct silence *silence);

/* A gap ended: the channel was heard at `from_ms` and again at `to_ms`. */
void silence_heard(struct silence *silence, int64_t from_ms, int64_t to_ms);

/* When a channel heard last at `heard_ms` has been silent for too long; INT64_MAX: too little is known of it. */
int64_t silence_due_ms(const struct silence *silence, int64_t heard_ms);
