#include "core/query.h"

#include "base/arena.h"
#include "base/limits.h"

#include <assert.h>

void query_init(struct query *query, const char *sql)
{
    buf_init(&query->sql, LIMIT_SQL_BYTES);
    buf_puts(&query->sql, sql);
    query->count = 0;
}

void query_fini(struct query *query)
{
    buf_fini(&query->sql);
}

void query_add(struct query *query, const char *sql)
{
    buf_puts(&query->sql, sql);
}

void query_add_value(struct query *query, const char *sql, struct db_value value)
{
    assert(query->count < QUERY_ARGS_MAX);
    query->args[query->count++] = value;
    for (; *sql; sql++) {
        if (*sql == '?')
            buf_printf(&query->sql, "$%zu", query->count);
        else
            buf_putc(&query->sql, *sql);
    }
}

struct str query_like(struct arena *arena, struct str text)
{
    char *out = arena_alloc(arena, text.len * 2 + 3), *end = out;

    *end++ = '%';
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '%' || text.data[i] == '_' || text.data[i] == '\\')
            *end++ = '\\';
        *end++ = text.data[i];
    }
    *end++ = '%';
    return (struct str){ out, (size_t)(end - out) };
}

struct db_rows *query_run(struct db_session *session, struct query *query, struct err *err)
{
    assert(!query->sql.overflow);
    return db_query(session, query->sql.data, query->args, query->count, err);
}
