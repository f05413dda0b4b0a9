/* embedded.h - files compiled in by tools/embed: a table that ends with a NULL name. */
#pragma once

#include <stddef.h>

struct embedded {
    const char *name;               /* file name without folder */
    const unsigned char *data;      /* NUL-terminated for convenience; `size` excludes the NUL */
    size_t size;
};
