/* country.h - how telephone numbers are dialled around the world: facts, as a table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct country {
    const char *region;       /* ISO 3166 letters */
    const char *code;         /* country calling code */
    const char *trunk;        /* dialled before a national number and dropped abroad, or NULL */
    const char *dial_out;     /* international prefix */
    size_t shortest, longest; /* digits of a national number without the trunk prefix */
    bool keeps_trunk;         /* the leading 0 is part of the number (Italy) */
};

/* By region (any case), or NULL (also for NULL). */
const struct country *country_find(const char *region);

/* By the country code that the digits begin with, or NULL. Countries that share a code share their
 * facts. */
const struct country *country_of_number(const char *digits);
