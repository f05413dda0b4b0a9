/* split.h - long texts in parts, and what a text costs as SMS. Pure. */
#pragma once

#include "base/str.h"

#include <stdbool.h>

struct arena;
struct channel_driver;

/* Cut the next part off `*rest`: at a grapheme boundary, if possible behind white space, at most the
 * channel's text_max (0: unlimited) in code points or UTF-16 units. False when nothing is left; an
 * empty text has one empty part. */
bool split_next(const struct channel_driver *driver, struct str *rest, struct str *part);

/* How many parts a text has on this kind of channel, and part `index` of them (0-based). */
int split_count(const struct channel_driver *driver, struct str text);
struct str split_part(const struct channel_driver *driver, struct str text, int index);

/* What to say of a failure of one part (0-based): "Part 2 of 3: " and the hint, in the arena; the hint itself when
 * there is one part only. */
struct str split_hint(struct arena *arena, int64_t part, int64_t parts, struct str hint);

/* How a message with files goes out: the text's parts first, then one part per file; or, where the channel lets a text
 * go with a file and it is short enough for that, the first file takes it along. */
struct split_plan {
    int texts, files, parts;
    bool captioned;
};
struct split_plan split_plan(const struct channel_driver *driver, struct str text, int files);

/* Part `index` of it: its text, and which file it is (-1: none). */
struct str split_plan_part(const struct channel_driver *driver, const struct split_plan *plan, struct str text,
                           int index, int *file);

/* What a text is as SMS: GSM-7 when every character is in its alphabet, else UCS-2. */
struct split_segments {
    const char *encoding;       /* "GSM-7" or "UCS-2" */
    int segments;               /* billed parts of 160/153 septets or 70/67 UTF-16 units */
    int units;                  /* septets or UTF-16 units in all */
    int last_units;             /* of the last segment */
};
struct split_segments split_segments(struct str text);
