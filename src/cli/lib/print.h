/* print.h - what every command prints with: errors with their hint on stderr, texts that no message can break. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* "message-hub: <detail>" and "hint: <hint>" on stderr; returns the exit code of the error. */
int print_failure(const struct err *err);

/* Wrong use of a command: the sentence, the usage line, exit code 2. */
int print_usage(const char *usage, const char *format, ...) __attribute__((format(printf, 2, 3)));
