/* json_tree.h - one value of a parsed document; included by json.c and json_parse.c alone. */
#pragma once

#include "base/json.h"

struct json {
    enum json_kind kind;
    uint32_t key_hash;          /* of a member */
    struct str key;             /* of a member; NUL-terminated, like the text */
    struct json *next;          /* the next member or element */
    union {
        int64_t number;         /* also of a bool */
        double real;
        struct str text;
        struct {
            struct json *first;
            struct json **items;    /* an array's elements; NULL of an object */
            size_t count;
        } list;
    };
};
