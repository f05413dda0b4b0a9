/* sniff.h - what a file is, by its first bytes and never by what somebody says of it; and a name for it that is safe
 * to write into a header or onto a disk. Nothing is decoded. */
#pragma once

#include "base/str.h"

struct arena;

/* The media type of these bytes: a constant, "application/octet-stream" when they look like nothing known. Text is
 * "text/plain" whatever its mark-up says, so that a page or a drawing with scripts is never served as one. */
const char *sniff_type(struct str data);

/* May a browser show it in place: a raster image of the web, sound or film. */
bool sniff_is_shown(const char *type);

/* The ending of a file of this type ("jpg"), "bin" when there is none. A constant. */
const char *sniff_ending(const char *type);

/* A file name in the arena: the last part of `given` without control characters, direction marks, leading dots and
 * what file systems and headers trip over, at most SNIFF_NAME_BYTES; with the ending that fits `type` unless it has
 * one of that type. `type` NULL: whatever ending it has. "file.jpg" when nothing is left. */
#define SNIFF_NAME_BYTES 120
const char *sniff_name(struct arena *arena, struct str given, const char *type);
