/* print.h - what every command prints with: errors with their hint on stderr, paragraphs as wide as the terminal. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* "message-hub: <detail>" and "hint: <hint>" on stderr; returns the exit code of the error. */
int print_failure(const struct err *err);

/* Wrong use of a command: the sentence, and the usage line as the hint; exit code 2. */
int print_usage(const char *usage, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A text on stdout behind the `at` columns already there, broken between words (100 columns, or the terminal's if
 * fewer); further lines are indented by `indent`. A
 * PRINT_SPACE is printed as a blank at which no line ends. Ends the line. */
#define PRINT_SPACE '\x1f'
void print_wrapped(size_t at, size_t indent, const char *text);

/* End of the program: 0, or 1 when what was printed could not be written (a full disk). */
int print_end(void);
