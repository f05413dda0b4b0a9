#include "cli/lib/print.h"

#include <stdarg.h>
#include <stdio.h>

int print_failure(const struct err *err)
{
    fprintf(stderr, "message-hub: %s\n", err->detail[0] ? err->detail : err_word(err->code));
    if (err->hint[0])
        fprintf(stderr, "hint: %s\n", err->hint);
    return err_exit(err->code);
}

int print_usage(const char *usage, const char *format, ...)
{
    va_list args;

    fputs("message-hub: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nusage: message-hub %s\n", usage);
    return 2;
}
