#include "cli/lib/remote.h"

#include "base/arena.h"

#include <stdio.h>
#include <string.h>

static bool is_positional(const struct op *op, const char *name)
{
    struct str rest = str_c(op->cli_args), word;

    while (str_split(&rest, ' ', &word))
        if (str_is(word, name))
            return true;
    return false;
}

static const char *value_word(const struct field *field)
{
    switch (field->type) {
    case FIELD_INT: return "N";
    case FIELD_TIME: return "TIME";
    case FIELD_URL: return "URL";
    case FIELD_ENUM: return field->choices;
    case FIELD_ID: return "ID";
    case FIELD_IDS: return "ID,...";
    case FIELD_TEXTS: return "TEXT,...";
    case FIELD_OBJECT: return "JSON";
    case FIELD_LIST: return "JSON";
    default: return "TEXT";
    }
}

static void flag_name(char out[80], const struct field *field)
{
    snprintf(out, 80, "--%s", field->name);
    for (char *at = out + 2; *at; at++)
        if (*at == '_')
            *at = '-';
}

const char *remote_usage(struct arena *arena, const struct op *op)
{
    struct buf text;
    struct str rest = str_c(op->cli_args), word;
    const char *copy;

    buf_init(&text, 4096);
    buf_puts(&text, op->cli);
    while (str_split(&rest, ' ', &word))
        buf_printf(&text, " <%.*s>", STR_FMT(word));
    for (const struct field *field = op->fields; field && field->name; field++) {
        char flag[80];
        bool required = field->flags & FIELD_REQUIRED;

        if (is_positional(op, field->name))
            continue;
        flag_name(flag, field);
        buf_printf(&text, " %s%s%s%s%s", required ? "" : "[", flag, field->type == FIELD_BOOL ? "" : " ",
                   field->type == FIELD_BOOL ? "" : value_word(field), required ? "" : "]");
    }
    copy = arena_strdup(arena, text.data);
    buf_fini(&text);
    return copy;
}

void remote_help(const struct op *op)
{
    struct arena *arena = arena_new(0);

    printf("%s\n\nusage: message-hub %s\n", op->summary, remote_usage(arena, op));
    for (const struct field *field = op->fields; field && field->name; field++) {
        char flag[80];

        flag_name(flag, field);
        printf("%s  %-22s %s", field == op->fields ? "\n" : "",
               is_positional(op, field->name) ? arena_printf(arena, "<%s>", field->name) : flag, field->help);
        if (field->type == FIELD_ENUM)
            printf(" One of: %s.", field->choices);
        if (field->fallback)
            printf(" Default: %s.", field->fallback);
        putchar('\n');
    }
    printf("\n  %-22s %s\n", "--json[=id,text]", "Print JSON, or some of its members.");
    if (op->flags & (OP_LIST | OP_STREAM))
        printf("  %-22s %s\n", "--jsonl", "Print one JSON object a line.");
    if (op->cli_args)
        printf("  %-22s %s\n", "--stdin", "One call per line of standard input; the line is the first argument.");
    printf("  %-22s %s\n", "--url URL, --key KEY", "The hub to talk to; default: the socket of the data folder.");
    printf("  %-22s %s\n", "--profile NAME", "A profile made with `message-hub config set`.");
    if (op->example)
        printf("\nExamples:\n  message-hub %s\n  message-hub %s --json\n", op->example, op->example);
    printf("\nAPI: %s %s\n", http_method_name(op->method), op->path);
    arena_free(arena);
}
