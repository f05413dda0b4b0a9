/* optout.h - STOP, START and HELP: the words that contacts of SMS-like channels are promised to be
 * understood. */
#pragma once

#include "base/str.h"

#include <stdint.h>

struct arena;
struct channel_driver;

enum optout_word { OPTOUT_NONE, OPTOUT_STOP, OPTOUT_START, OPTOUT_HELP };

/* Does this kind of channel honour the words? */
bool optout_applies(const struct channel_driver *driver);

/* What a whole message says. "yes" means START only to somebody who has opted out. */
enum optout_word optout_word(struct arena *arena, struct str text, bool opted_out);

/* The confirmation of a word, and the metadata that lets it pass to somebody who has opted out.
 * Constants. */
struct str optout_text(enum optout_word word);
struct str optout_metadata(void);

/* Is this outbound message the hub's own confirmation (its origin and its stored metadata)? */
bool optout_confirms(int64_t origin, struct str metadata);
