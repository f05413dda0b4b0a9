#include "cli/lib/settings.h"

#include "base/arena.h"
#include "cli/lib/print.h"

#include <stdio.h>
#include <string.h>

#define NAMES_MAX 96

int settings_read(struct arena *arena, int argc, char **argv, struct config **config, struct config_words *rest)
{
    struct err err = { 0 };

    *rest = (struct config_words){ argv + 1, argc - 1 };
    if (!config_load(arena, rest, config, &err))
        return 0;
    print_failure(&err);
    return 2;
}

int settings_unknown(const char *word, const char *const *known, const char *usage)
{
    const char *names[NAMES_MAX + 1] = { 0 }, *nearest;
    struct arena *arena = arena_new(0);
    struct str rest = str_c(word), name;
    size_t count = 0;
    int status;

    for (; *known && count < NAMES_MAX; known++)
        names[count++] = *known;
    for (const struct field *field = config_fields; field->name && count < NAMES_MAX; field++)
        names[count++] = arena_printf(arena, "--%s", field->name);
    str_split(&rest, '=', &name);
    nearest = field_nearest(str_dup(arena, name), names);
    if (nearest) {
        struct err err = { 0 };

        err_set(&err, ERR_INVALID, "Unknown word \"%s\".", word);
        err_hint(&err, "Did you mean \"%s\"?", nearest);
        status = print_failure(&err);
    } else {
        status = print_usage(usage, "Unknown word \"%s\".", word);
    }
    arena_free(arena);
    return status;
}
