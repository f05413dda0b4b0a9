/* cell.h - one JSON value as a printable text. */
#pragma once

#include "base/json.h"
#include "base/str.h"

#include <stdbool.h>

struct arena;

enum cell_time { CELL_TIME_RAW, CELL_TIME_SHORT, CELL_TIME_LONG };

/* One line without control characters, in the arena. Times become local ones unless CELL_TIME_RAW: "18:05:07" today,
 * "Nov 20 18:05" this year, "2025-11-20" before; long "2025-11-20 18:05:07". Lists are joined by commas, of objects
 * their names or ids. */
struct str cell_text(struct arena *arena, const struct json *value, enum cell_time time);

/* As cell_text, but a text keeps its line ends; a tab becomes four blanks. */
struct str cell_lines(struct arena *arena, const struct json *value, enum cell_time time);

/* Print JSON so that a terminal bears it: what controls one is written as an escape, which means the same. */
void cell_put_json(struct str json);

/* Nothing to show: null, an empty text, list or object. */
bool cell_is_empty(const struct json *value);

/* SGR parameter for a word that deserves attention ("failed" is red), or NULL. */
const char *cell_style(struct str word);
