/* settings.h - the settings of a local command, and what to say about words that are none. */
#pragma once

#include "core/config.h"

/* Read all layers of settings; `rest` gets the words that are no settings. 0, or the exit code of the error printed. */
int settings_read(struct arena *arena, int argc, char **argv, struct config **config, struct config_words *rest);

/* A word that the command does not know: says so with the nearest setting or word of `known` (ends with NULL), or with
 * the usage line. Returns the exit code. */
int settings_unknown(const char *word, const char *const *known, const char *usage);
