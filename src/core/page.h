/* page.h - a piece of a list: whose, from where, how many. */
#pragma once

#include <stdint.h>

struct arena;

struct page {
    struct arena *arena;        /* of what is found */
    int64_t tenant_id;
    int64_t after_id;           /* the last one seen; 0: from the start */
    int limit;
};
