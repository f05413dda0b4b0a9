#include "cli/lib/table.h"

#include "base/arena.h"
#include "base/clock.h"

#include <libsmartcols.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COLUMNS_MAX 32

/* The local form of a time on a terminal; programs get the answer's own text. */
static const char *local_time(struct arena *arena, struct str text)
{
    int64_t ms;
    time_t seconds;
    struct tm parts;
    char out[32];

    if (text.len < 20 || text.data[4] != '-' || text.data[10] != 'T' || !clock_parse(text, &ms, NULL))
        return NULL;
    seconds = (time_t)(ms / 1000);
    if (!localtime_r(&seconds, &parts) || !strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &parts))
        return NULL;
    return arena_strdup(arena, out);
}

static const char *cell(struct arena *arena, const struct json *value, bool terminal)
{
    struct buf text;
    const char *copy;

    switch (json_kind(value)) {
    case JSON_KIND_NULL:
        return "";
    case JSON_KIND_STRING:
        copy = terminal ? local_time(arena, json_text(value)) : NULL;
        return copy ? copy : str_printable(arena, json_text(value), true);
    case JSON_KIND_BOOL:
        return json_bool(value, false) ? "yes" : "no";
    default:
        buf_init(&text, LIMIT_ANSWER_BYTES);
        json_dump(&text, value);
        copy = str_printable(arena, buf_slice(&text), true);
        buf_fini(&text);
        return copy;
    }
}

static size_t column_names(struct arena *arena, const struct json *items, const char *columns, const char **names)
{
    struct str rest = str_c(columns), part;
    void *position = NULL;
    const char *key;
    const struct json *value;
    size_t count = 0;

    while (columns && count < COLUMNS_MAX && str_split(&rest, ',', &part))
        names[count++] = str_dup(arena, str_trim(part));
    while (!columns && count < COLUMNS_MAX && json_next(json_item(items, 0), &position, &key, &value))
        names[count++] = key;
    return count;
}

static void print_json(const struct json *value, const char *fields)
{
    struct arena *arena = arena_new(0);
    const char *names[COLUMNS_MAX];
    struct buf out;
    struct json_writer w;

    buf_init(&out, LIMIT_ANSWER_BYTES);
    if (!fields || json_kind(value) != JSON_KIND_OBJECT) {
        json_dump(&out, value);
    } else {
        size_t count = column_names(arena, NULL, fields, names);

        w = json_writer(&out);
        json_object_begin(&w);
        for (size_t i = 0; i < count; i++) {
            struct buf member;

            buf_init(&member, LIMIT_ANSWER_BYTES);
            json_dump(&member, json_at(value, names[i]));
            json_key(&w, names[i]);
            json_put_raw(&w, buf_slice(&member));
            buf_fini(&member);
        }
        json_object_end(&w);
    }
    fwrite(out.data ? out.data : "", 1, out.len, stdout);
    buf_fini(&out);
    arena_free(arena);
}

static void print_json_list(const struct json *items, const struct table_options *options)
{
    bool lines = options->form == TABLE_JSON_LINES;

    if (!lines)
        putchar('[');
    for (size_t i = 0; i < json_count(items); i++) {
        if (i && !lines)
            fputs(",\n ", stdout);
        print_json(json_item(items, i), options->json_fields);
        if (lines)
            putchar('\n');
    }
    if (!lines)
        puts("]");
}

static void print_columns(struct arena *arena, const struct json *items, const char **names, size_t count)
{
    struct libscols_table *table = scols_new_table();

    scols_table_enable_noencoding(table, 1);
    for (size_t c = 0; c < count; c++) {
        int flags = !strcmp(names[c], "text") || !strcmp(names[c], "detail") ? SCOLS_FL_TRUNC : 0;
        char *title = arena_strdup(arena, names[c]);

        for (char *at = title; *at; at++)
            *at = *at == '_' || *at == '.' ? ' ' : (char)(*at >= 'a' && *at <= 'z' ? *at - 32 : *at);
        scols_table_new_column(table, title, flags ? 0.5 : 0, flags);
    }
    for (size_t i = 0; i < json_count(items); i++) {
        struct libscols_line *line = scols_table_new_line(table, NULL);

        for (size_t c = 0; c < count; c++)
            scols_line_set_data(line, c, cell(arena, json_at(json_item(items, i), names[c]), true));
    }
    scols_print_table(table);
    scols_unref_table(table);
}

void table_print_list(const struct json *items, const struct table_options *options)
{
    struct arena *arena = arena_new(0);
    const char *names[COLUMNS_MAX];
    size_t count = column_names(arena, items, options->columns, names);

    if (options->form != TABLE_AUTO) {
        print_json_list(items, options);
    } else if (isatty(STDOUT_FILENO)) {
        if (json_count(items))
            print_columns(arena, items, names, count);
        else
            fputs("Nothing yet.\n", stderr);
    } else {
        for (size_t i = 0; i < json_count(items); i++) {
            for (size_t c = 0; c < count; c++)
                printf("%s%s", c ? "\t" : "", cell(arena, json_at(json_item(items, i), names[c]), false));
            putchar('\n');
        }
    }
    arena_free(arena);
}

void table_print_object(const struct json *object, const struct table_options *options)
{
    struct arena *arena = arena_new(0);
    bool terminal = isatty(STDOUT_FILENO);
    void *position = NULL;
    const char *key;
    const struct json *value;
    const char *list = NULL;

    if (options->form != TABLE_AUTO) {
        print_json(object, options->json_fields);
        putchar('\n');
        arena_free(arena);
        return;
    }
    while (json_next(object, &position, &key, &value)) {
        if (json_kind(value) == JSON_KIND_ARRAY && json_kind(json_item(value, 0)) == JSON_KIND_OBJECT)
            list = key;
        else if (json_kind(value) != JSON_KIND_NULL)
            printf(terminal ? "%-18s %s\n" : "%s\t%s\n", key, cell(arena, value, terminal));
    }
    if (list) {
        struct table_options inner = { TABLE_AUTO, NULL, NULL, true };

        printf("%s%s:\n", terminal ? "\n" : "", list);
        table_print_list(json_get(object, list), &inner);
    }
    arena_free(arena);
}

void table_print_event(struct str json, const struct table_options *options)
{
    struct arena *arena = arena_new(0);
    const struct json *event = json_parse_lenient(arena, json, NULL);

    if (options->form != TABLE_AUTO || !event) {
        printf("%.*s\n", STR_FMT(json));
    } else {
        const struct json *message = json_get(event, "message");
        const char *peer = cell(arena, json_get(message, "from"), false);

        if (!*peer)
            peer = cell(arena, json_get(message, "to"), false);
        printf("%s\t%s\t%s\t%s\t%s\n", cell(arena, json_get(event, "at"), isatty(STDOUT_FILENO)),
               cell(arena, json_get(event, "kind"), false), cell(arena, json_get(event, "id"), false), peer,
               cell(arena, json_get(message, "text"), false));
    }
    fflush(stdout);
    arena_free(arena);
}
