/* str.h - slices of bytes that somebody else owns, and what is done to text. No function here
 * allocates except into a given arena. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct str {
    const char *data;   /* not NUL-terminated in general; NULL means "absent" */
    size_t len;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_FMT(s) (int)(s).len, (s).data   /* for "%.*s" */

/* A slice over a NUL-terminated string (NULL gives the absent slice). */
struct str str_c(const char *text);

/* Equal bytes; ASCII case ignored in the second. Absent equals only absent. */
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b);
bool str_is(struct str a, const char *text);
bool str_starts(struct str a, const char *prefix);

/* Without leading and trailing ASCII white space. */
struct str str_trim(struct str s);

/* Cut `*rest` at the first `separator`: returns the part before it and moves `*rest` behind it.
 * Returns false when `*rest` is absent; the last part makes it absent. */
bool str_split(struct str *rest, char separator, struct str *part);

/* A decimal number with optional minus, whole slice, in [min, max]. False leaves `*value` alone. */
bool str_int(struct str s, int64_t min, int64_t max, int64_t *value);

/* Constant-time equality for secrets of any length (lengths may show). */
bool str_eq_secret(struct str a, struct str b);

/* Is it valid UTF-8 without NUL, surrogates and overlong forms? */
bool str_utf8_valid(struct str s);

/* Bytes before the first one that is not valid UTF-8 (or is NUL); `s.len` when all are. */
size_t str_utf8_prefix(struct str s);

/* Number of code points, and of UTF-16 units, of valid UTF-8. */
size_t str_utf8_length(struct str s);
size_t str_utf16_length(struct str s);

/* A copy safe to print on a terminal: C0, C1, DEL and bidi controls become visible escapes (\x1b,
 * \u202e); newline and tab stay unless `one_line`. Result in the arena, NUL-terminated. */
const char *str_printable(struct arena *arena, struct str s, bool one_line);

/* Lower-cased, compatibility-normalised (NFKC casefold), punctuation and quotes stripped at both
 * ends, inner white space collapsed: the form in which opt-out words and rule words are compared.
 * In the arena. */
struct str str_fold(struct arena *arena, struct str s);

/* The NFC form, with NUL dropped and invalid bytes replaced by U+FFFD. In the arena. */
struct str str_nfc(struct arena *arena, struct str s);

/* Length in bytes of the longest prefix that ends at a grapheme boundary and has at most
 * `max_units` units, counted in code points, or in UTF-16 units when `utf16`. At least one grapheme
 * unless `s` is empty. Prefers, in the last third, a boundary after white space. */
size_t str_cut(struct str s, size_t max_units, bool utf16);

/* NUL-terminated copy in the arena; the absent slice gives NULL. */
char *str_dup(struct arena *arena, struct str s);
