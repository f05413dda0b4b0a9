#include "db/row.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "base/sign.h"

#include <pthread.h>
#include <string.h>

/* The SELECT lists made so far; they stay as long as the process. */
struct list {
    struct list *next;
    const struct column *columns;
    char *alias;                /* "" for none */
    char *text;
};

static pthread_mutex_t lists_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list *lists;

static int64_t *number_at(const struct column *column, const void *object)
{
    return (int64_t *)(void *)((char *)(uintptr_t)object + column->offset);
}

static struct str *text_at(const struct column *column, const void *object)
{
    return (struct str *)(void *)((char *)(uintptr_t)object + column->offset);
}

static char *make_list(const struct column *columns, const char *alias)
{
    struct buf out;

    buf_init(&out, LIMIT_SQL_BYTES);
    for (const struct column *column = columns; column->name; column++)
        buf_printf(&out, "%s%s%s%s", column > columns ? ", " : "", alias, *alias ? "." : "", column->name);
    return buf_take(&out, NULL);
}

const char *row_select(const struct column *columns, const char *alias)
{
    struct list *list;

    alias = alias ? alias : "";
    pthread_mutex_lock(&lists_lock);
    for (list = lists; list; list = list->next)
        if (list->columns == columns && !strcmp(list->alias, alias))
            break;
    if (!list) {
        list = mem_alloc(sizeof *list);
        list->columns = columns;
        list->alias = mem_strdup(alias);
        list->text = make_list(columns, alias);
        list->next = lists;
        lists = list;
    }
    pthread_mutex_unlock(&lists_lock);
    return list->text;
}

static struct str keep(struct arena *arena, struct str text)
{
    return text.data ? (struct str){ arena_copy(arena, text.data, text.len), text.len } : text;
}

void row_read(const struct db_rows *rows, int first, const struct column *columns, struct arena *arena, void *out)
{
    for (const struct column *column = columns; column->name; column++, first++) {
        switch (column->type) {
        case COL_TEXT:
        case COL_BLOB:
        case COL_JSON:
            *text_at(column, out) = keep(arena, db_col_text(rows, first));
            break;
        default:
            *number_at(column, out) = db_col_int(rows, first);
        }
    }
}

static struct db_value value_of(const struct column *column, const void *in)
{
    switch (column->type) {
    case COL_TEXT:
    case COL_JSON:
        return db_text(*text_at(column, in));
    case COL_BLOB:
        return db_blob(*text_at(column, in));
    case COL_TIME:
    case COL_REF:
        return db_id(*number_at(column, in));
    default:
        return db_int(*number_at(column, in));
    }
}

size_t row_values(const struct column *columns, const void *in, struct db_value *values)
{
    size_t count = 0;

    for (const struct column *column = columns; column->name; column++)
        values[count++] = value_of(column, in);
    return count;
}

static void put_blob(struct json_writer *writer, const char *name, struct str bytes)
{
    struct arena *arena = arena_new(0);

    json_cstr_at(writer, name, bytes.data ? sign_base64(arena, bytes.data, bytes.len) : NULL);
    arena_free(arena);
}

static void put_json(struct json_writer *writer, struct str json)
{
    if (json.data && json.len)
        json_put_raw(writer, json);
    else
        json_put_null(writer);
}

static const char *word_of(const struct column *column, int64_t number)
{
    for (int64_t i = 0; number >= 0 && column->words[i]; i++)
        if (i == number)
            return column->words[i];
    return NULL;
}

static void put_column(struct json_writer *writer, const struct column *column, const void *in)
{
    const char *name = column->json ? column->json : column->name;
    char id[ID_TEXT_BYTES];

    switch (column->type) {
    case COL_INT:
        json_int_at(writer, name, *number_at(column, in));
        break;
    case COL_TEXT:
        json_text_at(writer, name, *text_at(column, in));
        break;
    case COL_BLOB:
        put_blob(writer, name, *text_at(column, in));
        break;
    case COL_BOOL:
        json_bool_at(writer, name, *number_at(column, in) != 0);
        break;
    case COL_TIME:
        json_time_at(writer, name, *number_at(column, in));
        break;
    case COL_REF:
        json_cstr_at(writer, name,
                     *number_at(column, in) ? id_encode(id, column->prefix, *number_at(column, in)) : NULL);
        break;
    case COL_JSON:
        json_key(writer, name);
        put_json(writer, *text_at(column, in));
        break;
    case COL_ENUM:
        json_cstr_at(writer, name, word_of(column, *number_at(column, in)));
        break;
    }
}

void row_json(struct json_writer *writer, const struct column *columns, const void *in)
{
    for (const struct column *column = columns; column->name; column++)
        if ((column->flags & COL_PUBLIC) && !(column->flags & COL_SECRET))
            put_column(writer, column, in);
}
