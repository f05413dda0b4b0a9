/* address.h - phone numbers and e-mail addresses in the one form that is matched (F27). */
#pragma once

#include "base/str.h"

struct arena;

/* The E.164 form ("+442079460958") of a number as people and providers write it: with spaces, dots,
 * dashes, brackets, foreign digits, an international prefix, or national with the trunk prefix of
 * `region` (ISO 3166 letters; NULL: none). Short codes and numbers that cannot be completed keep
 * their digits only; what holds letters or other signs (alphanumeric senders) is trimmed and
 * otherwise kept. Applying it again changes nothing. In the arena. */
struct str address_phone(struct arena *arena, struct str given, const char *region);

/* Trimmed; e-mail addresses (something before and behind an '@') in lower case. In the arena. */
struct str address_other(struct arena *arena, struct str given);

/* Is it a complete number in E.164 form: what can be answered by phone? */
bool address_is_phone(struct str address);
