/* width.h - the room a text takes on a terminal, where one character may take none, one or two columns. */
#pragma once

#include "base/str.h"

#include <stdio.h>

/* Columns of a text without control characters. Where terminals disagree (joined emoji), the most that one takes. */
size_t width_of(struct str text);

/* Do terminals disagree about it? */
bool width_unsure(struct str text);

/* Bytes of the longest prefix of whole graphemes that takes at most `columns`. */
size_t width_prefix(struct str text, size_t columns);

/* The text itself, or its beginning and "…" when it takes more than `columns`. In the arena. */
struct str width_cut(struct arena *arena, struct str text, size_t columns);

/* Columns of the terminal behind a stream, at least 20; `otherwise` when it is none. */
size_t width_of_terminal(FILE *stream, size_t otherwise);
