#include "cli/lib/table.h"

#include "base/arena.h"
#include "cli/lib/cell.h"
#include "cli/lib/layout.h"
#include "cli/lib/width.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_COLUMNS 30     /* of a member's name, at most, before its value */

struct table {
    struct arena *arena;
    const struct table_options *options;
    struct layout layout;
    const char *paths[LAYOUT_COLUMNS_MAX];      /* "from|to" */
    size_t printed;
    bool is_terminal;
};

static bool is_plain(void)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return (no_color && *no_color) || !terminal || !strcmp(terminal, "dumb");
}

/* What a column shows: the first of its paths that leads to something. */
static const struct json *member(const struct json *item, const char *paths)
{
    struct str rest = str_c(paths), path;
    const struct json *value = NULL;
    char one[128];

    while (cell_is_empty(value) && str_split(&rest, '|', &path)) {
        snprintf(one, sizeof one, "%.*s", STR_FMT(path));
        value = json_at(item, one);
    }
    return value;
}

static struct str title_of(struct arena *arena, struct str name)
{
    char *title = str_dup(arena, name);

    for (char *at = title; *at; at++)
        *at = *at == '_' || *at == '.' ? ' ' : (char)(*at >= 'a' && *at <= 'z' ? *at - 32 : *at);
    return str_c(title);
}

static bool ends_with(struct str text, const char *end)
{
    size_t length = strlen(end);

    return text.len >= length && !memcmp(text.data + text.len - length, end, length);
}

static void add_column(struct table *table, struct str spec)
{
    struct layout_column *column = &table->layout.columns[table->layout.count];
    struct str rest = spec, name;

    if (table->layout.count == LAYOUT_COLUMNS_MAX)
        return;
    str_split(&rest, '=', &name);
    spec = rest.data ? rest : name;
    *column = (struct layout_column){ .title = title_of(table->arena, name) };
    column->is_fixed = str_is(spec, "id") || str_is(spec, "at") || ends_with(spec, "_id") || ends_with(spec, "_at")
        || ends_with(spec, "_until");
    table->paths[table->layout.count++] = str_dup(table->arena, spec);
}

static void find_columns(struct table *table, const struct json *first)
{
    struct str rest = str_c(table->options->columns), part;
    const struct json *value;
    void *position = NULL;
    const char *key;

    while (str_split(&rest, ',', &part))
        add_column(table, str_trim(part));
    while (!table->options->columns && json_next(first, &position, &key, &value))
        add_column(table, str_c(key));
}

static struct str cell(struct table *table, const struct json *item, size_t column)
{
    const char *path = table->paths[column];
    enum cell_time time = !table->is_terminal ? CELL_TIME_RAW : !strcmp(path, "at") ? CELL_TIME_LONG : CELL_TIME_SHORT;

    return cell_text(table->layout.arena, member(item, path), time);
}

static void put_json(const struct json *value, const char *fields)
{
    struct arena *arena = arena_new(0);
    struct str rest = str_c(fields), path;
    struct json_writer w;
    struct buf out;

    buf_init(&out, LIMIT_ANSWER_BYTES);
    w = json_writer(&out);
    if (!fields || json_kind(value) != JSON_KIND_OBJECT) {
        json_dump(&out, value);
    } else {
        json_object_begin(&w);
        while (str_split(&rest, ',', &path)) {
            const char *name = str_dup(arena, str_trim(path));
            struct buf one;

            buf_init(&one, LIMIT_ANSWER_BYTES);
            json_dump(&one, json_at(value, name));
            json_key(&w, name);
            json_put_raw(&w, buf_slice(&one));
            buf_fini(&one);
        }
        json_object_end(&w);
    }
    cell_put_json(buf_slice(&out));
    buf_fini(&out);
    arena_free(arena);
}

static void put_rows(struct table *table, const struct json *items)
{
    struct layout *layout = &table->layout;
    struct str cells[LAYOUT_COLUMNS_MAX];
    const char *styles[LAYOUT_COLUMNS_MAX];

    for (size_t i = 0; i < json_count(items); i++) {
        for (size_t c = 0; c < layout->count; c++) {
            cells[c] = cell(table, json_item(items, i), c);
            styles[c] = cell_style(cells[c]);
            if (!strcmp(table->paths[c], "text"))
                styles[c] = NULL;
            if (!table->is_terminal)
                printf("%s%.*s%s", c ? "\t" : "", STR_FMT(cells[c]), c + 1 == layout->count ? "\n" : "");
        }
        if (table->is_terminal)
            layout_row(layout, cells, styles);
    }
}

static void begin_terminal(struct table *table, const struct json *items)
{
    for (size_t i = 0; i < json_count(items); i++)
        for (size_t c = 0; c < table->layout.count; c++)
            layout_want(&table->layout, c, cell(table, json_item(items, i), c));
    layout_fit(&table->layout);
    layout_titles(&table->layout);
}

struct table *table_open(struct arena *arena, const struct table_options *options)
{
    struct table *table = arena_alloc(arena, sizeof *table);

    table->arena = arena;
    table->options = options;
    table->is_terminal = isatty(STDOUT_FILENO);
    table->layout.arena = arena;
    table->layout.room = width_of_terminal(stdout, 0);
    table->layout.plain = is_plain();
    if (options->form == TABLE_JSON)
        putchar('[');
    return table;
}

void table_items(struct table *table, const struct json *items)
{
    struct arena *page = arena_new(0);
    size_t count = json_count(items);

    table->layout.arena = page;
    if (table->options->form != TABLE_AUTO) {
        bool lines = table->options->form == TABLE_JSON_LINES;

        for (size_t i = 0; i < count; i++) {
            fputs(lines ? "" : table->printed + i ? ",\n " : "", stdout);
            put_json(json_item(items, i), table->options->json_fields);
            fputs(lines ? "\n" : "", stdout);
        }
    } else if (count) {
        if (!table->printed)
            find_columns(table, json_item(items, 0));
        if (!table->printed && table->is_terminal)
            begin_terminal(table, items);
        put_rows(table, items);
    }
    table->printed += count;
    arena_free(page);
    table->layout.arena = table->arena;
}

void table_close(struct table *table)
{
    if (table->options->form == TABLE_JSON)
        puts("]");
    else if (!table->printed && table->options->form == TABLE_AUTO && table->is_terminal)
        fputs("Nothing here.\n", stderr);
}

/* A member's name, and its value behind it: on a terminal in lines of its own width, below each other. */
static void put_member(struct arena *arena, const char *name, const struct json *value, size_t name_columns)
{
    size_t room = width_of_terminal(stdout, 0);
    struct str rest, line;

    if (!room) {
        printf("%s\t%.*s\n", name, STR_FMT(cell_text(arena, value, CELL_TIME_RAW)));
        return;
    }
    printf("%-*s", (int)name_columns, name);
    rest = cell_lines(arena, value, CELL_TIME_LONG);
    for (bool first = true; str_split(&rest, '\n', &line); first = false)
        do {
            size_t bytes = width_prefix(line, room > name_columns + 10 ? room - name_columns - 2 : room);

            printf("%*s%.*s\n", first ? 2 : (int)name_columns + 2, "", (int)bytes, line.data);
            line = (struct str){ line.data + bytes, bytes ? line.len - bytes : 0 };
            first = false;
        } while (line.len);
}

/* Members of members get a path for a name, as --json takes it. `measured` NULL: print them. */
static void walk(struct arena *arena, const struct json *object, const char *prefix, size_t *measured,
                 size_t name_columns)
{
    const struct json *value;
    void *position = NULL;
    const char *key;

    while (json_next(object, &position, &key, &value)) {
        const char *name = *prefix ? arena_printf(arena, "%s.%s", prefix, key) : key;

        if (json_kind(value) == JSON_KIND_OBJECT)
            walk(arena, value, name, measured, name_columns);
        else if (cell_is_empty(value) || json_kind(json_item(value, 0)) == JSON_KIND_OBJECT)
            continue;
        else if (!measured)
            put_member(arena, name, value, name_columns);
        else if (strlen(name) > *measured)
            *measured = strlen(name);
    }
}

/* Lists of objects inside an object follow it, each as a table of its own. */
static void put_lists(struct arena *arena, const struct json *object)
{
    const struct table_options inner = { TABLE_AUTO, NULL, NULL };
    const struct json *value;
    void *position = NULL;
    const char *key;

    while (json_next(object, &position, &key, &value))
        if (json_kind(json_item(value, 0)) == JSON_KIND_OBJECT) {
            struct table *table = table_open(arena, &inner);

            printf("%s%s:\n", table->is_terminal ? "\n" : "", key);
            table_items(table, value);
            table_close(table);
        }
}

/* Only the columns that the verb names: what came of a change. Returns the longest name, 0 when all were empty. */
static size_t put_columns(struct arena *arena, const struct json *object, const char *columns)
{
    struct str rest = str_c(columns), part;
    size_t widest = 0;

    for (int print = 0; print < 2; print++, rest = str_c(columns))
        while (str_split(&rest, ',', &part)) {
            struct str spec = str_trim(part), name;
            const struct json *value;
            const char *path;

            str_split(&spec, '=', &name);
            path = str_dup(arena, spec.data ? spec : name);
            value = member(object, path);
            if (cell_is_empty(value))
                continue;
            if (print)
                put_member(arena, path, value, widest);
            else if (strlen(path) > widest)
                widest = strlen(path);
        }
    return widest;
}

/* Nothing was printed, and a person waits for a word. */
static bool is_terminal_empty(const struct json *object)
{
    const struct json *value;
    void *position = NULL;
    const char *key;

    while (json_next(object, &position, &key, &value))
        if (json_kind(json_item(value, 0)) == JSON_KIND_OBJECT)
            return false;
    return isatty(STDOUT_FILENO);
}

void table_print_object(const struct json *object, const struct table_options *options)
{
    struct arena *arena = arena_new(0);
    size_t widest = 0;

    if (options->form != TABLE_AUTO) {
        put_json(object, options->json_fields);
        putchar('\n');
    } else if (options->columns) {
        widest = put_columns(arena, object, options->columns);
    } else {
        walk(arena, object, "", &widest, 0);
        walk(arena, object, "", NULL, widest < NAME_COLUMNS ? widest : NAME_COLUMNS);
        put_lists(arena, object);
    }
    if (options->form == TABLE_AUTO && !widest && is_terminal_empty(object))
        fputs("Nothing here.\n", stderr);
    arena_free(arena);
}

void table_print_event(struct str json, const struct table_options *options)
{
    struct arena *arena = arena_new(0);
    const struct json *event = json_parse_lenient(arena, json, NULL);
    bool terminal = isatty(STDOUT_FILENO);
    struct layout layout = {
        .arena = arena, .count = 5, .room = width_of_terminal(stdout, 0), .plain = is_plain(),
        .columns = { { .width = 19 }, { .width = 20 }, { .width = 17 }, { .width = 14 }, { .width = SIZE_MAX / 2 } },
    };
    struct str cells[] = {
        cell_text(arena, json_get(event, "at"), terminal ? CELL_TIME_LONG : CELL_TIME_RAW),
        cell_text(arena, json_get(event, "kind"), CELL_TIME_RAW),
        cell_text(arena, json_get(event, "id"), CELL_TIME_RAW),
        cell_text(arena, member(json_get(event, "message"), "from|to"), CELL_TIME_RAW),
        cell_text(arena, json_at(event, "message.text"), CELL_TIME_RAW),
    };

    if (options->form != TABLE_AUTO || !event) {
        if (event && options->json_fields)
            put_json(event, options->json_fields);
        else
            cell_put_json(json);
        putchar('\n');
    } else if (terminal) {
        layout_row(&layout, cells, NULL);
    } else {
        for (size_t i = 0; i < layout.count; i++)
            printf("%s%.*s", i ? "\t" : "", STR_FMT(cells[i]));
        putchar('\n');
    }
    fflush(stdout);
    arena_free(arena);
}
