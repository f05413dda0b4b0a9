#include "cli/lib/print.h"

#include "cli/lib/width.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WIDEST 100

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
    fprintf(stderr, "\nhint: message-hub %s\n", usage);
    return 2;
}

void print_wrapped(size_t at, size_t indent, const char *text)
{
    size_t room = width_of_terminal(stdout, WIDEST), start = at;
    struct str rest = str_c(text), word;

    room = room > WIDEST ? WIDEST : room;
    while (str_split(&rest, ' ', &word)) {
        size_t width = word.len;    /* our own texts are ASCII */

        if (at > start && at + 1 + width > room) {
            printf("\n%*s", (int)indent, "");
            at = start = indent;
        } else if (at > start) {
            putchar(' ');
            at++;
        }
        for (size_t i = 0; i < word.len; i++)
            putchar(word.data[i] == PRINT_SPACE ? ' ' : word.data[i]);
        at += width;
    }
    putchar('\n');
}

int print_end(void)
{
    if (!fflush(stdout) && !ferror(stdout))
        return 0;
    fprintf(stderr, "message-hub: Cannot write the output: %s.\nhint: Is the disk full?\n", strerror(errno));
    return 1;
}
