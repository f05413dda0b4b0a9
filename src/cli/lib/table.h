/* table.h - answers as people and programs read them: an aligned table on a terminal, tab-separated when piped, JSON on
 * request. Control characters of messages are made visible in every form but JSON, where they are escaped. */
#pragma once

#include "base/json.h"

enum table_form { TABLE_AUTO, TABLE_JSON, TABLE_JSON_LINES };

struct table_options {
    enum table_form form;
    const char *columns;        /* "id,from,text"; NULL: every member of the first item */
    const char *json_fields;    /* --json id,text: only these members; NULL: all */
    bool header;                /* on a terminal */
};

/* Print the items of an array, or one object as "name value" lines. */
void table_print_list(const struct json *items, const struct table_options *options);
void table_print_object(const struct json *object, const struct table_options *options);

/* One line of a stream: JSON, or the time, kind and main members of an event. */
void table_print_event(struct str json, const struct table_options *options);
