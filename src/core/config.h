/* config.h - the settings table: one row per setting, by flag > environment > file > default. */
#pragma once

#include "base/err.h"
#include "base/field.h"

struct arena;
struct config;

enum config_origin { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG };

/* The table: names like "data", "listen", "database-url", "log-level". Environment names are MESSAGE_HUB_<NAME> plus
 * the older names of FEATURES 187-192 (DATABASE_URL, TWILIO_..., IMESSAGE_..., OPENROUTER_API_KEY, LLM_MODEL,
 * PHOTON_...). */
extern const struct field config_fields[];

/* Words of a command line. */
struct config_words {
    char **words;
    int count;
};

/* Read all four layers. `words` are "--name=value", "--name value" and "--name" (bool) of the command line; those that
 * are settings are taken, what is left is there afterwards (in the arena). The file has "name = value" lines (comments
 * with
 * #): --config, MESSAGE_HUB_CONFIG, DATA/message-hub.conf, and .env of the working folder. Unknown names are refused
 * with the nearest known one. */
int config_load(struct arena *arena, struct config_words *words, struct config **out, struct err *err);

/* A setting's text (NULL when unset), number, flag. Unknown names assert. */
const char *config_text(const struct config *config, const char *name);
const struct value *config_value(const struct config *config, const char *name);   /* lists; NULL when unset */
int64_t config_number(const struct config *config, const char *name);
bool config_flag(const struct config *config, const char *name);

/* Which layer a setting came from; `detail` (may be NULL) gets "file:line", the variable or the flag, NULL for a
 * default. */
enum config_origin config_origin_of(const struct config *config, const char *name, const char **detail);
