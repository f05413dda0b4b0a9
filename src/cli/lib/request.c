#include "cli/lib/request.h"

#include "base/arena.h"
#include "cli/lib/flags.h"
#include "net/http.h"

#include <string.h>

#define TIMEOUT_MS 30000

struct str request_positional(const struct op *op, int nth)
{
    struct str rest = str_c(op->cli_args), name;

    while (str_split(&rest, ' ', &name))
        if (nth-- == 0)
            return name;
    return (struct str){ 0 };
}

static const struct field *positional(const struct op *op, int nth)
{
    struct str name = request_positional(op, nth);

    return name.data ? flags_field(op, name) : NULL;
}

static struct value *value_of(const struct request *request, const struct field *field)
{
    return &request->in.values[field - request->op->fields];
}

static int check_required(const struct request *request, struct err *err)
{
    const struct op *op = request->op;

    for (size_t i = 0; i < request->in.count; i++) {
        const struct field *field = &op->fields[i];

        if (!(field->flags & FIELD_REQUIRED) || request->in.values[i].field)
            continue;
        if (request->from_stdin && field == positional(op, 0))
            continue;
        err_field(err, field->name, "`%s` needs %s: %s", op->cli, field->name, field->help);
        return err_hint(err, op->example ? "For example: message-hub %s" : "See: message-hub help %s",
                        op->example ? op->example : op->cli);
    }
    return 0;
}

/* A word more than there are arguments: the next id of a verb that takes one, or more of the last text or list. */
static int give_more(struct arena *arena, struct request *request, const struct field *last, char *word,
                     struct err *err)
{
    const struct op *op = request->op;
    struct value *value = last ? value_of(request, last) : NULL;
    bool is_text = last && last->type == FIELD_TEXT && !(last->flags & FIELD_PATH);
    bool is_list = last && (last->type == FIELD_IDS || last->type == FIELD_TEXTS) && !str_starts(value->text, "[");

    if (is_text || is_list)
        return flags_give(arena, request, last, arena_printf(arena, is_text ? "%.*s %s" : "%.*s,%s",
                                                             STR_FMT(value->text), word), err);
    if (last && (last->flags & FIELD_PATH) && !request_positional(op, 1).data) {
        request->more.words[request->more.count++] = word;
        return 0;
    }
    err_set(err, ERR_INVALID, "`%s` does not take \"%s\".", op->cli, word);
    return err_hint(err, "See: message-hub help %s", op->cli);
}

static int give_words(struct arena *arena, struct request *request, const struct config_words *words, struct err *err)
{
    const struct field *field = NULL, *last = NULL;
    int nth = request->from_stdin ? 1 : 0;      /* the first argument comes with each line */

    for (int i = 0; i < words->count; i++) {
        do
            field = positional(request->op, nth++);
        while (field && value_of(request, field)->field);
        if (field ? flags_give(arena, request, field, words->words[i], err)
                  : give_more(arena, request, last, words->words[i], err))
            return -1;
        last = field ? field : last;
    }
    return 0;
}

int request_read(struct arena *arena, const struct op *op, const struct config_words *words, struct request *out,
                 struct err *err)
{
    static const struct field no_fields[] = { { 0 } };
    struct config_words plain = { arena_array(arena, (size_t)words->count + 1, sizeof *plain.words), 0 };
    bool only_words = false;

    memset(out, 0, sizeof *out);
    out->op = op;
    out->timeout_ms = TIMEOUT_MS;
    out->table.columns = op->cli_columns;
    out->attach.words = arena_array(arena, (size_t)words->count + 1, sizeof *out->attach.words);
    out->more.words = arena_array(arena, (size_t)words->count + 1, sizeof *out->more.words);
    field_begin(arena, op->fields ? op->fields : no_fields, &out->in);
    for (int i = 0; i < words->count; i++) {
        const char *word = words->words[i];

        if (only_words || strncmp(word, "-", 1) || !word[1] || (word[1] >= '0' && word[1] <= '9'))
            plain.words[plain.count++] = words->words[i];
        else if (!strcmp(word, "--"))
            only_words = true;
        else if (!strcmp(word, "-h"))
            out->help = true;
        else if (!strcmp(word, "-f") && (op->flags & OP_STREAM))
            continue;       /* as with tail; a stream follows anyway */
        else if (word[1] != '-') {
            err_set(err, ERR_INVALID, "`%s` has no flag %s.", op->cli, word);
            return err_hint(err, "Flags have two dashes: message-hub help %s. A text that begins with a dash: -- %s",
                            op->cli, word);
        } else if (flags_read(arena, out, words, &i, err))
            return -1;
    }
    if (out->help)
        return 0;
    return give_words(arena, out, &plain, err) ? -1 : check_required(out, err);
}

const char *request_path(struct arena *arena, const struct request *request, const char *cursor, int64_t page)
{
    const struct op *op = request->op;
    struct buf path;
    const char *text;
    char separator = '?';

    buf_init(&path, LIMIT_URL_BYTES);
    for (const char *at = op->path; *at; at++) {
        const char *end = *at == '{' ? strchr(at, '}') : NULL;
        const struct field *field = end ? flags_field(op, (struct str){ at + 1, (size_t)(end - at - 1) }) : NULL;

        if (!field) {
            buf_putc(&path, *at);
            continue;
        }
        buf_puts(&path, http_encode(arena, request->in.values[field - op->fields].text));
        at = end;
    }
    for (size_t i = 0; i < request->in.count; i++) {
        const struct field *field = &op->fields[i];
        const struct value *value = &request->in.values[i];
        bool is_limit = page && !strcmp(field->name, "limit"), is_cursor = cursor && !strcmp(field->name, "cursor");

        if ((field->flags & FIELD_PATH) || !(op->method == HTTP_GET || (field->flags & FIELD_QUERY)))
            continue;
        if (!value->field && !is_limit && !is_cursor)
            continue;
        buf_printf(&path, "%c%s=", separator, field->name);
        separator = '&';
        if (is_limit)
            buf_int(&path, page);
        else
            buf_puts(&path, http_encode(arena, is_cursor ? str_c(cursor) : value->text));
    }
    text = arena_copy(arena, path.data, path.len);
    buf_fini(&path);
    return text;
}

static void write_value(struct json_writer *w, const struct value *value)
{
    struct str rest = value->text, part;

    switch (value->field->type) {
    case FIELD_INT:
        json_put_int(w, value->number);
        return;
    case FIELD_BOOL:
        json_put_bool(w, value->number != 0);
        return;
    case FIELD_OBJECT:
    case FIELD_LIST:
        json_put_raw(w, value->text);
        return;
    case FIELD_TEXTS:
    case FIELD_IDS:
        if (str_starts(rest, "[")) {
            json_put_raw(w, rest);
            return;
        }
        json_array_begin(w);
        while (str_split(&rest, ',', &part))
            json_put_text(w, str_trim(part));
        json_array_end(w);
        return;
    default:
        json_put_text(w, value->text);
    }
}

struct str request_body(struct arena *arena, const struct request *request)
{
    struct buf body;
    struct json_writer w;
    struct str copy;

    if (request->op->method == HTTP_GET || request->op->method == HTTP_DELETE)
        return (struct str){ 0 };
    buf_init(&body, LIMIT_BATCH_BYTES);
    w = json_writer(&body);
    json_object_begin(&w);
    for (size_t i = 0; i < request->in.count; i++) {
        const struct field *field = &request->op->fields[i];

        if (!request->in.values[i].field || (field->flags & (FIELD_PATH | FIELD_QUERY)))
            continue;
        json_key(&w, field->name);
        write_value(&w, &request->in.values[i]);
    }
    json_object_end(&w);
    copy = (struct str){ arena_copy(arena, body.data, body.len), body.len };
    buf_fini(&body);
    return copy;
}
