/* layout.h - columns side by side on a terminal: as wide as what they hold, all of them no wider than the terminal. */
#pragma once

#include "base/str.h"

#define LAYOUT_COLUMNS_MAX 32

struct layout_column {
    struct str title;
    size_t width;           /* wanted first, then granted by layout_fit */
    bool is_fixed;          /* an id or a time: half of one is worth nothing */
    bool is_hidden;         /* by layout_fit: it holds nothing and the others need its room */
};

struct layout {
    struct arena *arena;
    struct layout_column columns[LAYOUT_COLUMNS_MAX];
    size_t count;
    size_t room;            /* columns of the terminal */
    bool plain;             /* no escape sequences: NO_COLOR or TERM=dumb */
};

/* Make room for a cell (already printable, one line) in its column. */
void layout_want(struct layout *layout, size_t column, struct str cell);

/* Share the room out: while the row does not fit, empty columns are hidden, then the widest are cut. */
void layout_fit(struct layout *layout);

/* The titles; and one row of `layout->count` cells, some of them with an SGR parameter in `styles` ("31"), which may be
 * NULL. On stdout. */
void layout_titles(struct layout *layout);
void layout_row(struct layout *layout, const struct str *cells, const char *const *styles);
