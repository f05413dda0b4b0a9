/* config.h - the settings table: one row per setting, by flag > environment > file > default. */
#pragma once

#include "base/err.h"
#include "base/field.h"

struct arena;
struct config;

enum config_origin { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG };

/* The table: names like "data", "listen", "database-url", "log-level". Environment names are MESSAGE_HUB_<NAME> plus the
 * older names of FEATURES 187-192 (DATABASE_URL, TWILIO_..., IMESSAGE_..., OPENROUTER_API_KEY, LLM_MODEL, PHOTON_...). */
extern const struct field config_fields[];

/* Read all four layers. `flags` are "--name=value", "--name value" and "--name" (bool) of the command line; those that are
 * settings are consumed, the rest is left in `*rest` (count `*rest_count`). The file is `config.toml`-like "name = value"
 * lines (comments with #), in --config, MESSAGE_HUB_CONFIG, DATA/message-hub.conf or .env of the working folder. Unknown
 * keys are refused with the nearest known one. */
int config_load(struct arena *arena, int argc, char **argv, struct config **out, char ***rest, int *rest_count,
                struct err *err);

const char *config_text(const struct config *config, const char *name);     /* NULL when unset */
const struct value *config_value(const struct config *config, const char *name);   /* lists; NULL when unset */
int64_t config_number(const struct config *config, const char *name);
bool config_flag(const struct config *config, const char *name);
enum config_origin config_origin_of(const struct config *config, const char *name, const char **detail);
