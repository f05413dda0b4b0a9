#include "cli/lib/layout.h"

#include "base/arena.h"
#include "cli/lib/width.h"

#include <stdio.h>

#define GAP 2
#define NARROWEST 6         /* to which a column is cut, and no further */

void layout_want(struct layout *layout, size_t column, struct str cell)
{
    size_t wanted = width_of(cell);

    if (wanted > layout->columns[column].width)
        layout->columns[column].width = wanted;
}

static size_t total(const struct layout *layout)
{
    size_t sum = 0;

    for (size_t i = 0; i < layout->count; i++)
        if (!layout->columns[i].is_hidden)
            sum += layout->columns[i].width + (sum ? GAP : 0);
    return sum;
}

/* The widest column that may be cut, and the next narrower width below it; NULL when none may. */
static struct layout_column *widest(struct layout *layout, size_t *next)
{
    struct layout_column *best = NULL;

    *next = NARROWEST;
    for (size_t i = 0; i < layout->count; i++)
        if (!layout->columns[i].is_fixed && !layout->columns[i].is_hidden && layout->columns[i].width > NARROWEST
            && (!best || layout->columns[i].width >= best->width))
            best = &layout->columns[i];
    for (size_t i = 0; best && i < layout->count; i++)
        if (&layout->columns[i] != best && !layout->columns[i].is_fixed && layout->columns[i].width < best->width
            && layout->columns[i].width > *next)
            *next = layout->columns[i].width;
    return best;
}

void layout_fit(struct layout *layout)
{
    struct layout_column *column;
    bool empty[LAYOUT_COLUMNS_MAX];
    size_t next, sum;

    for (size_t i = 0; i < layout->count; i++) {
        empty[i] = layout->columns[i].width == 0;
        layout_want(layout, i, layout->columns[i].title);
    }
    for (size_t i = layout->count; i-- > 0 && total(layout) > layout->room;)
        layout->columns[i].is_hidden = empty[i];
    while ((sum = total(layout)) > layout->room && (column = widest(layout, &next))) {
        size_t excess = sum - layout->room;

        /* of equally wide columns the last gives first, one column at a time, so that they stay about equal */
        if (column->width - next > excess)
            column->width -= excess;
        else
            column->width = column->width > next ? next : column->width - 1;
    }
}

void layout_row(struct layout *layout, const struct str *cells, const char *const *styles)
{
    size_t at = 0, end = layout->count;

    while (end && layout->columns[end - 1].is_hidden)
        end--;
    for (size_t i = 0; i < end && at < layout->room; i++) {
        size_t width = layout->columns[i].width, room = layout->room - at;
        struct str cell = width_cut(layout->arena, cells[i], width < room ? width : room);
        bool styled = !layout->plain && styles && styles[i] && cell.len, last = i + 1 == end;

        if (layout->columns[i].is_hidden)
            continue;
        if (styled)
            printf("\033[%sm", styles[i]);
        printf("%.*s", STR_FMT(cell));
        if (styled)
            fputs("\033[0m", stdout);
        at += width + GAP;
        if (last || at >= layout->room)
            break;
        if (!layout->plain && width_unsure(cell))
            printf("\033[%zuG", at + 1);
        else
            printf("%*s", (int)(width - width_of(cell) + GAP), "");
    }
    putchar('\n');
}

void layout_titles(struct layout *layout)
{
    struct str titles[LAYOUT_COLUMNS_MAX];
    const char *styles[LAYOUT_COLUMNS_MAX];

    for (size_t i = 0; i < layout->count; i++) {
        titles[i] = layout->columns[i].title;
        styles[i] = "1";
    }
    layout_row(layout, titles, styles);
}
