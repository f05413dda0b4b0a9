#include "cli/lib/flags.h"

#include "base/arena.h"
#include "db/row.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MAX_S 3600
#define LIMIT_MAX 1000000000

enum { WITH_ANSWER = 1, WITH_LIST = 2, WITH_STREAM = 4, WITH_CHANGE = 8, WITH_WORDS = 16, WITH_FILES = 32,
       WITH_ALL = 63 };

static const struct {
    struct shared_flag flag;
    unsigned with;
} shared[] = {
    { { "json", "[=id,text]", "Print JSON, or some of its members." }, WITH_ANSWER },
    { { "jsonl", NULL, "Print one JSON object a line." }, WITH_LIST | WITH_STREAM },
    { { "limit", "N", "Stop after so many." }, WITH_STREAM },
    { { "attach", "FILE", "Send this file with it; may be given several times." }, WITH_FILES },
    { { "stdin", NULL, "One call per line of standard input; its first column is the first argument." }, WITH_WORDS },
    { { "dry-run", NULL, "Show the call, change nothing." }, WITH_CHANGE },
    { { "idempotency-key", "TEXT", "Repeated with the same key, the call is done once." }, WITH_CHANGE },
    { { "quiet", NULL, "Print nothing but errors." }, WITH_CHANGE },
    { { "url", "URL", "The hub to talk to, or MESSAGE_HUB_URL; default: the socket of the data folder." }, WITH_ALL },
    { { "key", "KEY", "A key of that hub, or MESSAGE_HUB_KEY." }, WITH_ALL },
    { { "profile", "NAME", "A profile made with `message-hub config set`, or MESSAGE_HUB_PROFILE." }, WITH_ALL },
    { { "data", "DIR", "The data folder of a hub on this machine, or MESSAGE_HUB_DATA." }, WITH_ALL },
    { { "socket", "PATH", "The socket of a hub on this machine, or MESSAGE_HUB_SOCKET." }, WITH_ALL },
    { { "tenant", "ID", "Act for this tenant (operators only), or MESSAGE_HUB_TENANT." }, WITH_ALL },
    { { "timeout", "SECONDS", "Give up after so long; default: 30." }, WITH_ANSWER },
    { { "verbose", NULL, "Say on standard error what was asked, and what came of it." }, WITH_ANSWER },
    { { "help", NULL, "Explain the verb." }, WITH_ALL },
};

static unsigned nature(const struct op *op)
{
    unsigned with = WITH_ALL & ~(unsigned)(WITH_LIST | WITH_STREAM | WITH_CHANGE | WITH_WORDS | WITH_FILES);

    if (op->flags & OP_STREAM)
        return WITH_STREAM;
    if (op->flags & OP_LIST)
        with |= WITH_LIST;
    if (op->method != HTTP_GET)
        with |= WITH_CHANGE;
    if (op->cli_args)
        with |= WITH_WORDS;
    if (flags_field(op, STR("attachments")))
        with |= WITH_FILES;
    return with;
}

const struct shared_flag *flags_shared(const struct op *op, size_t *position)
{
    while (*position < sizeof shared / sizeof shared[0]) {
        size_t i = (*position)++;
        bool json_of_stream = (op->flags & OP_STREAM) && !strcmp(shared[i].flag.name, "json");

        /* a field of the operation's own goes before */
        if (((shared[i].with & nature(op)) || json_of_stream) && !flags_field(op, str_c(shared[i].flag.name)))
            return &shared[i].flag;
    }
    return NULL;
}

const struct field *flags_field(const struct op *op, struct str name)
{
    for (const struct field *field = op->fields; field && field->name; field++) {
        size_t i = 0;

        while (i < name.len && field->name[i] && (field->name[i] == name.data[i] || (field->name[i] == '_'
               && name.data[i] == '-')))
            i++;
        if (i == name.len && !field->name[i])
            return field;
    }
    return NULL;
}

const char *flags_name(struct arena *arena, const struct field *field)
{
    char *name = arena_printf(arena, "--%s", field->name);

    for (char *at = name; *at; at++)
        *at = *at == '_' ? '-' : *at;
    return name;
}

static struct str read_stdin(struct arena *arena, struct err *err)
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
    if (!feof(stdin)) {
        err_set(err, ERR_TOO_LARGE, "Standard input holds more than %d MiB.", LIMIT_BATCH_BYTES / 1024 / 1024);
        err_hint(err, "Give it in several pieces.");
        buf_fini(&text);
        return (struct str){ 0 };
    }
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    copy = (struct str){ arena_copy(arena, text.data ? text.data : "", text.len), text.len };
    buf_fini(&text);
    return copy;
}

/* The first columns of lines, joined by commas: what a list printed becomes a list of ids. */
static struct str first_columns(struct arena *arena, struct str lines)
{
    struct str line, column, joined;
    struct buf text;

    buf_init(&text, LIMIT_BATCH_BYTES);
    while (str_split(&lines, '\n', &line)) {
        str_split(&line, '\t', &column);
        column = str_trim(column);
        buf_puts(&text, column.len && text.len ? "," : "");
        buf_str(&text, column);
    }
    joined = (struct str){ arena_copy(arena, text.data ? text.data : "", text.len), text.len };
    buf_fini(&text);
    return joined;
}

static int check_json(struct arena *arena, const struct field *field, struct str text, struct err *err)
{
    enum json_kind wanted = field->type == FIELD_OBJECT ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
    const struct json *json = json_parse(arena, text, NULL);

    if (json && json_kind(json) == wanted)
        return 0;
    err_field(err, field->name, "%s must be a JSON %s.", flags_name(arena, field),
              wanted == JSON_KIND_OBJECT ? "object" : "list");
    return err_hint(err, "Put it in single quotes: '%s'",
                    wanted == JSON_KIND_OBJECT ? "{\"name\":\"value\"}" : "[...]");
}

int flags_give(struct arena *arena, struct request *request, const struct field *field, const char *text,
               struct err *err)
{
    bool is_stdin = !strcmp(text, "-"), is_json = field->type == FIELD_OBJECT || field->type == FIELD_LIST;
    bool is_several = field->type == FIELD_IDS || field->type == FIELD_TEXTS;
    struct str given = is_stdin ? read_stdin(arena, err) : str_c(arena_strdup(arena, text));
    struct value *value = &request->in.values[field - request->op->fields];

    if (!given.data)
        return -1;
    if (is_stdin && is_several && !str_starts(given, "["))
        given = first_columns(arena, given);
    if ((is_json || (is_several && str_starts(given, "["))) && check_json(arena, field, given, err))
        return -1;
    /* Ids are decoded by the hub, which has the key; times too are kept as they were typed. */
    if (!is_json && !is_several && field->type != FIELD_ID && field->type != FIELD_TIME)
        return field_set_text(arena, &request->in, field->name, given, err);
    value->field = field;
    value->text = given;
    return 0;
}

static int wrong_flag(struct arena *arena, const struct op *op, const char *name, struct err *err)
{
    const char *names[128] = { 0 }, *nearest;
    const struct shared_flag *flag;
    size_t count = 0, position = 0;

    while ((flag = flags_shared(op, &position)) && count < 64)
        names[count++] = flag->name;
    for (const struct field *field = op->fields; field && field->name && count < 127; field++)
        names[count++] = flags_name(arena, field) + 2;
    nearest = field_nearest(name, names);
    err_set(err, ERR_INVALID, "`%s` has no flag --%s.", op->cli, name);
    return err_hint(err, nearest ? "Did you mean --%s?" : "See: message-hub help %s", nearest ? nearest : op->cli);
}

/* --json=id,text: names that the operation's answer has, as far as it says. */
static int check_members(struct arena *arena, const struct op *op, const char *members, struct err *err)
{
    const char *names[128] = { 0 };
    struct str rest = str_c(members), path, name;
    size_t count = 0;

    for (const struct column *column = op->answer; column && column->name && count < 63; column++)
        if (column->flags & COL_PUBLIC)
            names[count++] = column->json ? column->json : column->name;
    for (const struct field *field = op->shape; field && field->name && count < 127; field++)
        names[count++] = field->name;
    for (const struct op_answer *also = op->also; also && also->status; also++)
        for (const struct field *field = also->shape; field && field->name && count < 127; field++)
            names[count++] = field->name;
    while (count && str_split(&rest, ',', &path)) {
        const char *const *known = names;
        const char *nearest, *first;

        path = str_trim(path);
        str_split(&path, '.', &name);
        first = str_dup(arena, name);
        while (*known && strcmp(*known, first))
            known++;
        if (*known)
            continue;
        nearest = field_nearest(first, names);
        err_set(err, ERR_INVALID, "`%s` answers no member \"%s\".", op->cli, first);
        return err_hint(err, nearest ? "Did you mean \"%s\"?" : "See all with: message-hub %s --json",
                        nearest ? nearest : op->cli);
    }
    return 0;
}

static int set_number(const char *name, const char *text, int64_t max, int64_t *number, struct err *err)
{
    if (str_int(str_c(text), 1, max, number))
        return 0;
    err_set(err, ERR_INVALID, "--%s must be a number from 1 to %lld.", name, (long long)max);
    return err_hint(err, "For example: --%s 20", name);
}

static void set_switch(struct request *request, const char *name)
{
    request->help |= !strcmp(name, "help");
    request->quiet |= !strcmp(name, "quiet");
    request->verbose |= !strcmp(name, "verbose");
    request->from_stdin |= !strcmp(name, "stdin");
    request->dry_run |= !strcmp(name, "dry-run");
    if (!strcmp(name, "jsonl"))
        request->table.form = TABLE_JSON_LINES;
}

static int set_text(struct request *request, const char *name, const char *value, struct err *err)
{
    const struct {
        const char *name;
        const char **place;
    } texts[] = {
        { "url", &request->target.url }, { "key", &request->target.key }, { "profile", &request->target.profile },
        { "data", &request->target.data }, { "socket", &request->target.socket }, { "tenant", &request->target.tenant },
        { "idempotency-key", &request->idempotency_key },
    };
    int64_t number;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!strcmp(name, texts[i].name))
            *texts[i].place = value;
    if (!strcmp(name, "attach"))
        request->attach.words[request->attach.count++] = (char *)(uintptr_t)value;
    if (!strcmp(name, "limit"))
        return set_number(name, value, LIMIT_MAX, &request->limit, err);
    if (strcmp(name, "timeout"))
        return 0;
    if (set_number(name, value, TIMEOUT_MAX_S, &number, err))
        return -1;
    request->timeout_ms = (int)number * 1000;
    return 0;
}

/* What may be the value of a flag: the text behind "=", or the next word. */
struct given {
    const char *equals, *next;
    bool took_next;
};

static const char *take(struct given *given, const char *name, const char *help, struct err *err)
{
    given->took_next = !given->equals && given->next;
    if (!given->equals && !given->next) {
        err_set(err, ERR_INVALID, "--%s needs a value.", name);
        err_hint(err, "%s", help);
    }
    return given->equals ? given->equals : given->next;
}

static int set_shared(struct arena *arena, struct request *request, const struct shared_flag *flag, struct given *given,
                      struct err *err)
{
    const char *text;

    if (!strcmp(flag->name, "json")) {
        request->table.form = request->table.form == TABLE_JSON_LINES ? TABLE_JSON_LINES : TABLE_JSON;
        request->table.json_fields = given->equals;
        return given->equals ? check_members(arena, request->op, given->equals, err) : 0;
    }
    if (flag->value) {
        text = take(given, flag->name, flag->help, err);
        return text ? set_text(request, flag->name, text, err) : -1;
    }
    if (given->equals) {
        err_set(err, ERR_INVALID, "--%s takes no value.", flag->name);
        return err_hint(err, "See: message-hub help %s", request->op->cli);
    }
    set_switch(request, flag->name);
    return 0;
}

static int set_field(struct arena *arena, struct request *request, const struct field *field, struct given *given,
                     struct err *err)
{
    bool is_switch = field->type == FIELD_BOOL && !(field->flags & FIELD_REQUIRED);
    const char *text;

    if (is_switch && !given->equals)
        return flags_give(arena, request, field, "true", err);
    text = take(given, flags_name(arena, field) + 2, field->help, err);
    if (!text)
        return -1;
    if (!strcmp(field->name, "limit") && (request->op->flags & OP_LIST))
        return set_number("limit", text, LIMIT_MAX, &request->limit, err);
    return flags_give(arena, request, field, text, err);
}

int flags_read(struct arena *arena, struct request *request, const struct config_words *words, int *at,
               struct err *err)
{
    char *name = arena_strdup(arena, words->words[*at] + 2), *equals = strchr(name, '=');
    struct given given = { equals ? equals + 1 : NULL, *at + 1 < words->count ? words->words[*at + 1] : NULL, false };
    const struct shared_flag *flag;
    const struct field *field;
    size_t position = 0;
    int failed;

    if (equals)
        *equals = '\0';
    field = flags_field(request->op, str_c(name));
    do
        flag = field ? NULL : flags_shared(request->op, &position);
    while (flag && strcmp(flag->name, name));
    if (field)
        failed = set_field(arena, request, field, &given, err);
    else if (flag)
        failed = set_shared(arena, request, flag, &given, err);
    else
        failed = wrong_flag(arena, request->op, name, err);
    *at += given.took_next;
    return failed;
}
