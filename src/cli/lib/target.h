/* target.h - which hub a verb talks to: --url / --key, MESSAGE_HUB_URL / MESSAGE_HUB_KEY, the profile, or else the
 * socket of the data folder on this machine, which needs no key. Profiles live in ~/.config/message-hub/profiles
 * (0600). */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct arena;

struct target {
    const char *url, *key, *socket, *tenant;    /* `socket` is set when there is no url */
};

/* What the flags said; NULL where they said nothing. */
struct target_flags {
    const char *url, *key, *profile, *data, *socket, *tenant;
};

/* Flags over environment over profile; a profile that a flag names goes before the environment, a data folder or socket
 * before every URL that is not stronger. A profile's key goes to no other URL than its own. */
int target_find(struct arena *arena, const struct target_flags *flags, struct target *out, struct err *err);

/* `config set NAME VALUE`: NAME is url, key or tenant; an empty value removes it. */
int target_set(struct arena *arena, const char *profile, const char *name, const char *value, struct err *err);

/* Is there such a setting of a profile? 0, or -1 with those that there are. */
int target_check(const char *name, struct err *err);

/* `config get NAME`: NULL when unset. */
const char *target_get(struct arena *arena, const char *profile, const char *name);
