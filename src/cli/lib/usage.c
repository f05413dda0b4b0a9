#include "cli/lib/usage.h"

#include "base/arena.h"
#include "cli/lib/flags.h"
#include "cli/lib/print.h"
#include "cli/lib/remote.h"

#include <stdio.h>
#include <string.h>

#define USAGE_BYTES 8192
#define FLAG_COLUMNS 24
#define CHOICES_SHORT 32        /* longer lists of choices are left to the line about the flag */

static bool is_positional(const struct op *op, const char *name)
{
    struct str word;

    for (int i = 0; (word = request_positional(op, i)).data; i++)
        if (str_is(word, name))
            return true;
    return false;
}

static const char *value_word(const struct field *field)
{
    switch (field->type) {
    case FIELD_INT: return "N";
    case FIELD_BOOL: return "true|false";
    case FIELD_TIME: return "TIME";
    case FIELD_URL: return "URL";
    case FIELD_ENUM: return strlen(field->choices) <= CHOICES_SHORT ? field->choices : "WORD";
    case FIELD_ID: return "ID";
    case FIELD_IDS: return "ID,...";
    case FIELD_TEXTS: return "TEXT,...";
    case FIELD_OBJECT: case FIELD_LIST: return "JSON";
    default: return "TEXT";
    }
}

static bool is_required(const struct field *field)
{
    return field->flags & FIELD_REQUIRED;
}

/* "--reply-to ID"; a switch takes no value. */
static const char *flag_with_value(struct arena *arena, const struct field *field)
{
    const char *name = flags_name(arena, field);

    if (field->type == FIELD_BOOL && !is_required(field))
        return name;
    return arena_printf(arena, "%s %s", name, value_word(field));
}

const char *usage_line(struct arena *arena, const struct op *op)
{
    struct buf text;
    struct str word;
    const char *copy;

    buf_init(&text, USAGE_BYTES);
    buf_puts(&text, op->cli);
    for (int i = 0; (word = request_positional(op, i)).data; i++) {
        const struct field *field = flags_field(op, word);

        buf_printf(&text, field && is_required(field) ? " <%.*s>" : " [<%.*s>]", STR_FMT(word));
    }
    for (const struct field *field = op->fields; field && field->name; field++)
        if (!is_positional(op, field->name))
            buf_printf(&text, is_required(field) ? " %s" : " [%s]", flag_with_value(arena, field));
    copy = arena_strdup(arena, text.data);
    buf_fini(&text);
    return copy;
}

/* The first two members that a table shows; they are paths at the end of "title=path|path". */
static const char *two_members(struct arena *arena, const char *columns)
{
    struct str rest = str_c(columns), spec, name, path, found[2];
    size_t count = 0;

    while (count < 2 && str_split(&rest, ',', &spec)) {
        str_split(&spec, '=', &name);
        path = spec.data ? spec : name;
        str_split(&path, '|', &found[count++]);
    }
    return count == 2 ? arena_printf(arena, "=%.*s,%.*s", STR_FMT(found[0]), STR_FMT(found[1])) : "";
}

const char *usage_example(struct arena *arena, const struct op *op, int nth)
{
    bool changes = op->method != HTTP_GET;

    if (!op->example || nth > 1)
        return NULL;
    if (nth == 0)
        return op->example;
    if (op->flags & OP_STREAM)
        return arena_printf(arena, "%s --jsonl --limit 10", op->example);
    if (op->flags & OP_EMPTY)
        return arena_printf(arena, "%s %s", op->example, changes ? "--dry-run" : "--verbose");
    return arena_printf(arena, "%s --json%s", op->example, two_members(arena, op->cli_columns));
}

static void line(const char *head, const char *text)
{
    printf("  %-*s ", FLAG_COLUMNS, head);
    if (strlen(head) > FLAG_COLUMNS)
        printf("\n%*s", FLAG_COLUMNS + 3, "");
    print_wrapped(FLAG_COLUMNS + 3, FLAG_COLUMNS + 3, text);
}

static void field_line(struct arena *arena, const struct op *op, const struct field *field)
{
    const char *choices = field->type == FIELD_ENUM ? arena_strdup(arena, field->choices) : "";
    struct buf text;

    buf_init(&text, USAGE_BYTES);
    buf_puts(&text, field->help);
    if (*choices)
        buf_puts(&text, " One of: ");
    for (; *choices; choices++)
        buf_printf(&text, *choices == '|' ? ", " : "%c", *choices);
    if (field->type == FIELD_ENUM)
        buf_putc(&text, '.');
    if (field->fallback && field->type != FIELD_BOOL)
        buf_printf(&text, " Default: %s.", field->fallback);
    line(is_positional(op, field->name) ? arena_printf(arena, "<%s>", field->name) : flag_with_value(arena, field),
         arena_strdup(arena, text.data));
    buf_fini(&text);
}

static void page_end(struct arena *arena, const struct op *op)
{
    const char *example, *others;
    struct str rest = str_c(op->cli), noun;

    for (int i = 0; (example = usage_example(arena, op, i)); i++)
        printf("%s  message-hub %s\n", i ? "" : "\nExamples:\n", example);
    str_split(&rest, ' ', &noun);
    others = remote_verbs_of(arena, noun, op);
    if (others) {
        fputs("\nSee also: ", stdout);
        print_wrapped(10, 10, others);
    }
    printf("\nAPI: %s %s\n", http_method_name(op->method), op->path);
}

/* The usage line with what belongs together kept together when it is broken into lines. */
static const char *unbroken(struct arena *arena, const char *usage)
{
    char *copy = arena_strdup(arena, usage);
    int depth = 0;

    for (char *at = copy; *at; at++) {
        depth += *at == '[' ? 1 : *at == ']' ? -1 : 0;
        *at = *at == ' ' && depth ? PRINT_SPACE : *at;
    }
    return copy;
}

void usage_page(const struct op *op)
{
    struct arena *arena = arena_new(0);
    const struct shared_flag *flag;
    size_t position = 0;

    print_wrapped(0, 0, op->summary);
    fputs("\nusage: ", stdout);
    print_wrapped(7, 11, arena_printf(arena, "message-hub %s", unbroken(arena, usage_line(arena, op))));
    if (op->fields && op->fields->name)
        putchar('\n');
    for (const struct field *field = op->fields; field && field->name; field++)
        field_line(arena, op, field);
    putchar('\n');
    while ((flag = flags_shared(op, &position)))
        line(arena_printf(arena, "--%s%s%s", flag->name, flag->value && flag->value[0] != '[' ? " " : "",
                          flag->value ? flag->value : ""), flag->help);
    page_end(arena, op);
    arena_free(arena);
}
