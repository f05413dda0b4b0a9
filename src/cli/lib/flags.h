/* flags.h - the flags of a verb: the fields of its operation, and those that all verbs share. */
#pragma once

#include "cli/lib/request.h"

/* A flag that is no field; `value` NULL: it takes none. */
struct shared_flag {
    const char *name, *value, *help;
};

/* The shared flags that make sense for an operation, one by one: `*position` starts with 0; NULL at the end. */
const struct shared_flag *flags_shared(const struct op *op, size_t *position);

/* The field whose flag is called `name` ("reply-to" or "reply_to"), or NULL. */
const struct field *flags_field(const struct op *op, struct str name);

/* A field's flag with its dashes ("--reply-to"), in the arena. */
const char *flags_name(struct arena *arena, const struct field *field);

/* Give a value to a field of the request as it was typed; "-" takes it from standard input. */
int flags_give(struct arena *arena, struct request *request, const struct field *field, const char *text,
               struct err *err);

/* Read the flag at words[*at]; `*at` moves to the last word that it took. */
int flags_read(struct arena *arena, struct request *request, const struct config_words *words, int *at,
               struct err *err);
