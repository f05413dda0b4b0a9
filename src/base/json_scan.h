/* json_scan.h - the look over a document's bytes before the JSON library sees it. Only json.c
 * includes this. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct arena;

/* Check what the library does not: UTF-8, NUL, lone surrogates, and the ceilings of limits.h
 * (depth, keys per object, values, length of a number). It is no grammar; what it lets pass may
 * still be no JSON. With `repair` (the lenient reading) NUL and lone surrogate escapes and too
 * large integers are rewritten into that arena and `*text` becomes the copy, instead of being
 * refused. 0, or -1 and `err`: ERR_MALFORMED, or ERR_TOO_LARGE for a ceiling. */
int json_scan(struct str *text, struct arena *repair, struct err *err);
