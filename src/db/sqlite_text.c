/* Turns the SQL text both databases share into SQLite's. */
#include "db/sqlite_text.h"

#include "base/buf.h"
#include "base/limits.h"

#include <ctype.h>
#include <string.h>

#define CONVERTED_MAX (4 * 1024 * 1024)

/* The length of a literal, quoted name or comment that starts here, else 0. */
static size_t opaque_length(const char *sql)
{
    const char *end;

    if (*sql == '\'' || *sql == '"') {
        end = strchr(sql + 1, *sql);
        return end ? (size_t)(end - sql) + 1 : strlen(sql);
    }
    if (sql[0] == '-' && sql[1] == '-') {
        end = strchr(sql, '\n');
        return end ? (size_t)(end - sql) : strlen(sql);
    }
    return 0;
}

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static size_t word_length(const char *sql)
{
    size_t len = 0;

    while (in_word(sql[len]))
        len++;
    return len;
}

static bool is_word(const char *sql, size_t len, const char *word)
{
    return strlen(word) == len && !strncmp(sql, word, len);
}

/* The length of "WORD WORD ..." at `sql`, any white space between; 0 when it is something else. */
static size_t phrase_length(const char *sql, const char *const *words)
{
    size_t at = 0;

    for (size_t i = 0; words[i]; i++) {
        size_t space = strspn(sql + at, " \t\r\n"), len;

        if (i && !space)
            return 0;
        at += i ? space : 0;
        len = word_length(sql + at);
        if (!is_word(sql + at, len, words[i]))
            return 0;
        at += len;
    }
    return at;
}

static void add_row(struct buf *out, size_t columns)
{
    buf_puts(out, "VALUES (");
    for (size_t i = 1; i <= columns; i++)
        buf_printf(out, "%s?%zu", i > 1 ? ", " : "", i);
    buf_putc(out, ')');
}

char *sqlite_text(const char *sql, size_t columns)
{
    static const char *const skip_locked[] = { "FOR", "UPDATE", "SKIP", "LOCKED", NULL };
    static const char *const for_update[] = { "FOR", "UPDATE", NULL };
    struct buf out;

    buf_init(&out, CONVERTED_MAX);
    buf_puts(&out, "");
    while (*sql) {
        size_t len = opaque_length(sql);

        if (!len && columns && !strncmp(sql, ":rows:", 6)) {
            add_row(&out, columns);
            sql += 6;
            continue;
        }
        if (!len && *sql == '$' && isdigit((unsigned char)sql[1])) {
            buf_putc(&out, '?');
            sql++;
            continue;
        }
        if (!len && in_word(*sql)) {
            size_t drop = phrase_length(sql, skip_locked);

            if (!drop)
                drop = phrase_length(sql, for_update);
            if (drop) {
                sql += drop;
                continue;
            }
            len = word_length(sql);
        }
        len = len ? len : 1;
        buf_add(&out, sql, len);
        sql += len;
    }
    return buf_take(&out, NULL);
}

char *sqlite_schema(const char *sql)
{
    struct buf out;

    buf_init(&out, CONVERTED_MAX);
    buf_puts(&out, "");
    while (*sql) {
        size_t len = opaque_length(sql), word = len ? 0 : word_length(sql);

        if (word && is_word(sql, word, "BIGINT"))
            buf_puts(&out, "INTEGER");
        else if (word && is_word(sql, word, "BYTEA"))
            buf_puts(&out, "BLOB");
        else
            buf_add(&out, sql, len + word ? len + word : 1);
        sql += len + word ? len + word : 1;
    }
    return buf_take(&out, NULL);
}
