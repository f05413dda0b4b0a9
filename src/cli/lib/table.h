/* table.h - answers as people and programs read them: aligned and cut to the terminal's width, tab-separated when
 * piped, JSON on request. Control characters of messages are made visible in every form but JSON, where they are
 * escaped. */
#pragma once

#include "base/json.h"

#include <stdbool.h>

struct arena;

enum table_form { TABLE_AUTO, TABLE_JSON, TABLE_JSON_LINES };

struct table_options {
    enum table_form form;
    /* "id,when=received_at,peer=from|to": members (by path), under another title, the first of several that is there.
     * NULL: every member of the first item. */
    const char *columns;
    const char *json_fields;    /* --json id,text: only these members; NULL: all */
};

struct table;

/* A list that is printed page by page: the first page decides how wide the columns are. The table lives in the arena;
 * table_close ends what was begun and says on a terminal when there was nothing. */
struct table *table_open(struct arena *arena, const struct table_options *options);
void table_items(struct table *table, const struct json *items);
void table_close(struct table *table);

/* One object: a line per member, or the columns of the options only. */
void table_print_object(const struct json *object, const struct table_options *options);

/* One event of a stream, as it comes; `json` is its text. */
void table_print_event(struct str json, const struct table_options *options);
