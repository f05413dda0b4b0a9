#include "cli/lib/request.h"

#include "base/arena.h"
#include "net/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct field *field_of_flag(const struct op *op, const char *name, size_t length)
{
    for (const struct field *field = op->fields; field && field->name; field++) {
        if (strlen(field->name) != length)
            continue;
        for (size_t i = 0; i <= length; i++) {
            if (i == length)
                return field;
            if (field->name[i] != name[i] && !(field->name[i] == '_' && name[i] == '-'))
                break;
        }
    }
    return NULL;
}

static struct str read_stdin(struct arena *arena)
{
    struct buf text;
    struct str copy;
    size_t got;

    buf_init(&text, LIMIT_BATCH_BYTES);
    do {
        char *room = buf_room(&text, 16384);

        got = room ? fread(room, 1, 16384, stdin) : 0;
        buf_added(&text, got);
    } while (got);
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    copy = (struct str){ arena_copy(arena, text.data ? text.data : "", text.len), text.len };
    buf_fini(&text);
    return copy;
}

static int give(struct arena *arena, struct request *request, const struct field *field, const char *text, struct err *err)
{
    /* Ids are decoded by the hub, which has the key; here they are kept as they were typed. */
    struct value *value = &request->in.values[field - request->op->fields];

    if (field->type == FIELD_ID || field->type == FIELD_IDS || field->type == FIELD_LIST || field->type == FIELD_OBJECT
        || field->type == FIELD_TIME || field->type == FIELD_TEXTS) {
        value->field = field;
        value->text = !strcmp(text, "-") ? read_stdin(arena) : str_c(arena_strdup(arena, text));
        return 0;
    }
    return field_set_text(arena, &request->in, field->name, !strcmp(text, "-") ? read_stdin(arena) : str_c(text), err);
}

/* Flags that every verb takes. 1 taken, 0 not one of them. */
static int shared_flag(struct request *request, const char *name, const char *value, bool *took_value)
{
    const struct {
        const char *name;
        const char **place;
    } texts[] = {
        { "url", &request->target.url }, { "key", &request->target.key }, { "profile", &request->target.profile },
        { "data", &request->target.data }, { "socket", &request->target.socket }, { "tenant", &request->target.tenant },
        { "idempotency-key", &request->idempotency_key },
    };

    *took_value = false;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!strcmp(name, texts[i].name) && value) {
            *texts[i].place = value;
            *took_value = true;
            return 1;
        }
    if (!strcmp(name, "help"))
        request->help = true;
    else if (!strcmp(name, "quiet"))
        request->quiet = true;
    else if (!strcmp(name, "stdin"))
        request->from_stdin = true;
    else if (!strcmp(name, "jsonl"))
        request->table.form = TABLE_JSON_LINES;
    else if (!strcmp(name, "json"))
        request->table.form = TABLE_JSON;
    else if (!strcmp(name, "timeout") && value) {
        request->timeout_ms = atoi(value) * 1000;
        *took_value = true;
    } else
        return 0;
    return 1;
}

static int wrong_flag(const struct op *op, const char *name, struct err *err)
{
    const char *names[64] = { "json", "jsonl", "url", "key", "profile", "data", "tenant", "timeout", "quiet", "help" };
    size_t count = 10;
    const char *nearest;

    for (const struct field *field = op->fields; field && field->name && count < 63; field++)
        names[count++] = field->name;
    nearest = field_nearest(name, names);
    err_set(err, ERR_INVALID, "`%s` has no flag --%s.", op->cli, name);
    return err_hint(err, nearest ? "Did you mean --%s?" : "See: message-hub help %s", nearest ? nearest : op->cli);
}

static int read_flag(struct arena *arena, struct request *request, char **argv, int *at, struct err *err)
{
    char *name = arena_strdup(arena, argv[*at] + 2), *equals = strchr(name, '=');
    const char *value = equals ? equals + 1 : argv[*at + 1];
    const struct field *field;
    bool took_value;

    if (equals)
        *equals = '\0';
    field = field_of_flag(request->op, name, strlen(name));
    if (!strcmp(name, "json") && equals)
        request->table.json_fields = value;
    if (!field && shared_flag(request, name, value, &took_value)) {
        *at += took_value && !equals;
        return 0;
    }
    if (!field)
        return wrong_flag(request->op, name, err);
    if (field->type == FIELD_BOOL && !equals)
        return give(arena, request, field, "true", err);
    if (!value) {
        err_set(err, ERR_INVALID, "--%s needs a value.", name);
        return err_hint(err, "%s", field->help);
    }
    *at += !equals;
    if (!strcmp(field->name, "limit") && (request->op->flags & OP_LIST))
        request->limit = atoll(value) > 0 ? atoll(value) : 0;
    if (request->limit > LIMIT_PAGE_MAX)
        return 0;
    return give(arena, request, field, value, err);
}

/* The `nth` name of op->cli_args. The last one of a text takes all the words that follow. */
static const struct field *positional(const struct op *op, int nth)
{
    struct str rest = str_c(op->cli_args), name;

    while (str_split(&rest, ' ', &name))
        if (nth-- == 0)
            return field_of_flag(op, name.data, name.len);
    return NULL;
}

static int check_required(const struct request *request, struct err *err)
{
    const struct op *op = request->op;

    for (size_t i = 0; i < request->in.count; i++) {
        if (!(op->fields[i].flags & FIELD_REQUIRED) || request->in.values[i].field)
            continue;
        if (request->from_stdin && &op->fields[i] == positional(op, 0))
            continue;
        err_field(err, op->fields[i].name, "`%s` needs %s: %s", op->cli, op->fields[i].name, op->fields[i].help);
        return err_hint(err, op->example ? "For example: message-hub %s" : "See: message-hub help %s",
                        op->example ? op->example : op->cli);
    }
    return 0;
}

int request_read(struct arena *arena, const struct op *op, int argc, char **argv, struct request *out, struct err *err)
{
    static const struct field no_fields[] = { { 0 } };
    int words = 0;

    memset(out, 0, sizeof *out);
    out->op = op;
    out->timeout_ms = 30000;
    out->table = (struct table_options){ TABLE_AUTO, op->cli_columns, NULL, true };
    field_begin(arena, op->fields ? op->fields : no_fields, &out->in);
    for (int i = 0; i < argc; i++) {
        const struct field *field;

        if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "-f")) {
            out->help |= argv[i][1] == 'h';     /* -f: a stream follows anyway */
            continue;
        }
        if (!strncmp(argv[i], "--", 2) && argv[i][2]) {
            if (read_flag(arena, out, argv, &i, err))
                return -1;
            continue;
        }
        field = positional(op, words);
        if (!field && words && positional(op, words - 1) && positional(op, words - 1)->type == FIELD_TEXT) {
            struct value *last = &out->in.values[positional(op, words - 1) - op->fields];

            if (give(arena, out, last->field, arena_printf(arena, "%s %s", last->text.data, argv[i]), err))
                return -1;
            continue;
        }
        if (!field) {
            err_set(err, ERR_INVALID, "`%s` does not take \"%s\".", op->cli, argv[i]);
            return err_hint(err, "See: message-hub help %s", op->cli);
        }
        words++;
        if (give(arena, out, field, argv[i], err))
            return -1;
    }
    return out->help ? 0 : check_required(out, err);
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
        const struct field *field = end ? field_of_flag(op, at + 1, (size_t)(end - at - 1)) : NULL;

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
