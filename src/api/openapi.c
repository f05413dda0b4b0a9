#include "api/openapi.h"

#include "api/state.h"
#include "base/arena.h"
#include "base/limits.h"
#include "db/row.h"

#include <stdio.h>
#include <string.h>

static void text_at(struct json_writer *w, const char *key, const char *text)
{
    json_cstr_at(w, key, text);
}

static void object_at(struct json_writer *w, const char *key)
{
    json_key(w, key);
    json_object_begin(w);
}

static void array_at(struct json_writer *w, const char *key)
{
    json_key(w, key);
    json_array_begin(w);
}

static void reference_at(struct json_writer *w, const char *key, const char *to)
{
    object_at(w, key);
    text_at(w, "$ref", to);
    json_object_end(w);
}

/* The schema of a field, which base/field writes, as the value of a key. */
static void schema_at(struct json_writer *w, const char *key, const struct field *field)
{
    json_key(w, key);
    field_schema(w->out, field);
    w->comma = true;
}

/* --- Answers ----------------------------------------------------------------------------------------------------- */

static void words_at(struct json_writer *w, const char *const *words)
{
    array_at(w, "enum");
    for (; *words; words++)
        json_put_text(w, str_c(*words));
    json_array_end(w);
}

static void type_or_null(struct json_writer *w, const char *type)
{
    array_at(w, "type");
    json_put_text(w, str_c(type));
    json_put_text(w, STR("null"));
    json_array_end(w);
}

static void column_schema(struct json_writer *w, const struct column *column)
{
    json_object_begin(w);
    switch (column->type) {
    case COL_INT:
        text_at(w, "type", "integer");
        break;
    case COL_BOOL:
        text_at(w, "type", "boolean");
        break;
    case COL_ENUM:
        text_at(w, "type", "string");
        words_at(w, column->words);
        break;
    case COL_TIME:
        type_or_null(w, "string");
        text_at(w, "format", "date-time");
        break;
    case COL_REF:
    case COL_TEXT:
    case COL_BLOB:
        type_or_null(w, "string");
        break;
    case COL_JSON:
        break;
    }
    json_object_end(w);
}

static void required_names(struct json_writer *w, const struct field *fields)
{
    for (; fields && fields->name; fields++)
        if (fields->flags & FIELD_REQUIRED)
            json_put_text(w, str_c(fields->name));
}

static void answer_object(struct json_writer *w, const struct op *op)
{
    json_object_begin(w);
    text_at(w, "type", "object");
    array_at(w, "required");
    required_names(w, op->shape);
    json_array_end(w);
    object_at(w, "properties");
    for (const struct column *column = op->answer; column && column->name; column++) {
        if (!(column->flags & COL_PUBLIC))
            continue;
        json_key(w, column->json ? column->json : column->name);
        column_schema(w, column);
    }
    for (const struct field *field = op->shape; field && field->name; field++)
        schema_at(w, field->name, field);
    json_object_end(w);
    json_object_end(w);
}

static void answer_list(struct json_writer *w, const struct op *op)
{
    json_object_begin(w);
    text_at(w, "type", "object");
    array_at(w, "required");
    json_put_text(w, STR("items"));
    json_put_text(w, STR("next"));
    required_names(w, op->around);
    json_array_end(w);
    object_at(w, "properties");
    object_at(w, "items");
    text_at(w, "type", "array");
    json_key(w, "items");
    answer_object(w, op);
    json_object_end(w);
    object_at(w, "next");
    type_or_null(w, "string");
    json_object_end(w);
    for (const struct field *field = op->around; field && field->name; field++)
        schema_at(w, field->name, field);
    json_object_end(w);
    json_object_end(w);
}

static int status_of(const struct op *op)
{
    if (op->flags & OP_EMPTY)
        return 204;
    if (op->flags & OP_ACCEPTED)
        return 202;
    return op->flags & OP_CREATES ? 201 : 200;
}

/* One way to succeed. What a provider is answered is its driver's choice. */
static void success(struct json_writer *w, const struct op *op, int code, const char *summary)
{
    char status[8];

    snprintf(status, sizeof status, "%d", code);
    object_at(w, op->flags & OP_RAW && op->flags & OP_OPEN ? "2XX" : status);
    text_at(w, "description", summary);
    if (code != 204) {
        object_at(w, "content");
        if (op->flags & OP_STREAM) {
            object_at(w, "text/event-stream");
        } else if (op->flags & (OP_RAW | OP_FILE)) {
            object_at(w, "*/*");
        } else {
            object_at(w, "application/json");
            json_key(w, "schema");
            if (op->flags & OP_LIST)
                answer_list(w, op);
            else
                answer_object(w, op);
        }
        json_object_end(w);
        json_object_end(w);
    }
    json_object_end(w);
}

static void successes(struct json_writer *w, const struct op *op)
{
    success(w, op, status_of(op), op->summary);
    for (const struct op_answer *also = op->also; also && also->status; also++) {
        struct op other = *op;

        if (also->shape) {
            other.answer = NULL;
            other.shape = also->shape;
        }
        success(w, &other, also->status, also->summary);
    }
}

static void responses(struct json_writer *w, const struct op *op)
{
    static const char *const guarded[] = { "401", "403" };

    object_at(w, "responses");
    successes(w, op);
    for (size_t i = 0; i < 2 && !(op->flags & OP_OPEN); i++)
        reference_at(w, guarded[i], "#/components/responses/Problem");
    if (strchr(op->path, '{'))
        reference_at(w, "404", "#/components/responses/Problem");
    if (op->fields && op->fields->name)
        reference_at(w, "422", "#/components/responses/Problem");
    reference_at(w, "503", "#/components/responses/Problem");
    reference_at(w, "default", "#/components/responses/Problem");
    json_object_end(w);
}

/* --- Requests ---------------------------------------------------------------------------------------------------- */

static bool has_body(const struct op *op)
{
    return op->method == HTTP_POST || op->method == HTTP_PUT || op->method == HTTP_PATCH;
}

static bool in_body(const struct op *op, const struct field *field)
{
    return has_body(op) && !(op->flags & (OP_RAW | OP_UPLOAD)) && !(field->flags & (FIELD_PATH | FIELD_QUERY));
}

static void parameter(struct json_writer *w, const struct field *field)
{
    bool path = field->flags & FIELD_PATH;

    json_object_begin(w);
    text_at(w, "name", field->name);
    text_at(w, "in", path ? "path" : "query");
    json_bool_at(w, "required", path || field->flags & FIELD_REQUIRED);
    if (field->help)
        text_at(w, "description", field->help);
    if (field->type == FIELD_TEXTS || field->type == FIELD_IDS) {
        text_at(w, "style", "form");
        json_bool_at(w, "explode", false);
    }
    schema_at(w, "schema", field);
    json_object_end(w);
}

static void idempotency_key(struct json_writer *w)
{
    json_object_begin(w);
    text_at(w, "name", "Idempotency-Key");
    text_at(w, "in", "header");
    json_bool_at(w, "required", false);
    text_at(w, "description", "The same key with the same request repeats the first answer instead of doing it again.");
    object_at(w, "schema");
    text_at(w, "type", "string");
    json_int_at(w, "maxLength", LIMIT_IDEMPOTENCY_KEY_BYTES);
    json_object_end(w);
    json_object_end(w);
}

static void parameters(struct json_writer *w, const struct op *op)
{
    array_at(w, "parameters");
    for (const struct field *field = op->fields; field && field->name; field++)
        if (!in_body(op, field))
            parameter(w, field);
    if (op->method == HTTP_POST && !(op->flags & (OP_RAW | OP_OPEN)))
        idempotency_key(w);
    json_array_end(w);
}

static void body(struct json_writer *w, const struct op *op)
{
    bool any = false, required = false;

    for (const struct field *field = op->fields; field && field->name; field++) {
        any = any || in_body(op, field);
        required = required || (in_body(op, field) && field->flags & FIELD_REQUIRED);
    }
    if (!has_body(op) || (!any && !(op->flags & (OP_RAW | OP_UPLOAD))))
        return;
    object_at(w, "requestBody");
    json_bool_at(w, "required", required);
    object_at(w, "content");
    object_at(w, op->flags & (OP_RAW | OP_UPLOAD) ? "*/*" : "application/json");
    if (!(op->flags & (OP_RAW | OP_UPLOAD))) {
        json_key(w, "schema");
        field_table_schema(w->out, op->fields);
        w->comma = true;
    }
    json_object_end(w);
    json_object_end(w);
    json_object_end(w);
}

/* --- Operations -------------------------------------------------------------------------------------------------- */

static const char *scope_word(unsigned scope)
{
    for (int bit = 0; key_scope_words[bit]; bit++)
        if (scope == 1u << bit)
            return key_scope_words[bit];
    return NULL;
}

/* An operation under its older names is the same operation; ids of the document must differ. */
static void operation_id(struct json_writer *w, const struct op_table *const *tables, const struct op *op)
{
    char id[100];
    int before = 0;

    for (; *tables; tables++)
        for (size_t i = 0; i < (*tables)->count; i++) {
            const struct op *other = &(*tables)->ops[i];

            before += !strcmp(other->name, op->name) && other->flags & OP_ALIAS && other < op;
        }
    if (op->flags & OP_ALIAS)
        snprintf(id, sizeof id, "%s.alias%d", op->name, before + 1);
    else
        snprintf(id, sizeof id, "%s", op->name);
    text_at(w, "operationId", id);
}

static void operation(struct json_writer *w, const struct op_table *const *tables, const struct op_table *table,
                      const struct op *op)
{
    static const char *const methods[HTTP_METHODS] = {
        [HTTP_GET] = "get", [HTTP_POST] = "post", [HTTP_PUT] = "put", [HTTP_PATCH] = "patch", [HTTP_DELETE] = "delete",
    };

    object_at(w, methods[op->method]);
    operation_id(w, tables, op);
    text_at(w, "summary", op->summary);
    array_at(w, "tags");
    json_put_text(w, str_c(table->resource));
    json_array_end(w);
    if (op->flags & OP_ALIAS)
        json_bool_at(w, "deprecated", true);
    if (op->flags & OP_OPEN) {
        array_at(w, "security");
        json_array_end(w);
    } else {
        text_at(w, "x-scope", scope_word(op->scope));
    }
    parameters(w, op);
    body(w, op);
    responses(w, op);
    json_object_end(w);
}

/* "{path...}" is ours; the document says "{path}". */
static const char *shown_path(struct arena *arena, const char *path)
{
    const char *dots = strstr(path, "...}");

    return dots ? arena_printf(arena, "%.*s}", (int)(dots - path), path) : path;
}

/* All operations of the path of `first`, which is the first row that has it. */
static void path_item(struct json_writer *w, struct arena *arena, const struct op_table *const *tables,
                      const struct op *first)
{
    object_at(w, shown_path(arena, first->path));
    for (const struct op_table *const *table = tables; *table; table++)
        for (size_t i = 0; i < (*table)->count; i++)
            if (!strcmp((*table)->ops[i].path, first->path))
                operation(w, tables, *table, &(*table)->ops[i]);
    json_object_end(w);
}

static bool is_first(const struct op_table *const *tables, const struct op *op)
{
    for (; *tables; tables++)
        for (size_t i = 0; i < (*tables)->count; i++)
            if (!strcmp((*tables)->ops[i].path, op->path))
                return &(*tables)->ops[i] == op;
    return false;
}

/* --- The document ------------------------------------------------------------------------------------------------ */

static void components(struct json_writer *w)
{
    static const struct field problem[] = {
        { "title", FIELD_TEXT, FIELD_REQUIRED, "The status in words.", 0, 100 },
        { "status", FIELD_INT, FIELD_REQUIRED, "The status.", 400, 599 },
        { "code", FIELD_TEXT, FIELD_REQUIRED, "What is wrong, for programs: invalid, not_found, ...", 0, 100 },
        { "detail", FIELD_TEXT, FIELD_REQUIRED, "What happened.", 0, LIMIT_DETAIL_BYTES },
        { "hint", FIELD_TEXT, 0, "What to do.", 0, LIMIT_HINT_BYTES },
        { "field", FIELD_TEXT, 0, "The field at fault.", 0, 100 },
        { "request_id", FIELD_TEXT, 0, "To be found in the log and the audit.", 0, 100 },
        { 0 }
    };

    object_at(w, "components");
    object_at(w, "securitySchemes");
    object_at(w, "key");
    text_at(w, "type", "http");
    text_at(w, "scheme", "bearer");
    json_object_end(w);
    json_object_end(w);
    object_at(w, "schemas");
    json_key(w, "Problem");
    field_table_schema(w->out, problem);
    w->comma = true;
    json_object_end(w);
    object_at(w, "responses");
    object_at(w, "Problem");
    text_at(w, "description", "What went wrong and what to do (RFC 9457).");
    object_at(w, "content");
    object_at(w, "application/problem+json");
    reference_at(w, "schema", "#/components/schemas/Problem");
    json_object_end(w);
    json_object_end(w);
    json_object_end(w);
    json_object_end(w);
    json_object_end(w);
}

static void head(struct json_writer *w)
{
    text_at(w, "openapi", "3.1.0");
    object_at(w, "info");
    text_at(w, "title", "Message Hub");
    text_at(w, "version", HUB_VERSION);
    text_at(w, "description", "Messages of every channel in one model. Lists page by `cursor` and `next`; POST takes "
            "an Idempotency-Key; errors are problem documents that say what to do.");
    json_object_end(w);
    array_at(w, "servers");
    json_object_begin(w);
    text_at(w, "url", "/");
    json_object_end(w);
    json_array_end(w);
    array_at(w, "security");
    json_object_begin(w);
    array_at(w, "key");
    json_array_end(w);
    json_object_end(w);
    json_array_end(w);
}

int openapi_build(struct arena *arena, const struct op_table *const *tables, struct str *out, struct err *err)
{
    struct buf document;
    struct json_writer w;
    bool large;

    buf_init(&document, LIMIT_ANSWER_BYTES);
    w = json_writer(&document);
    json_object_begin(&w);
    head(&w);
    object_at(&w, "paths");
    for (const struct op_table *const *table = tables; *table; table++)
        for (size_t i = 0; i < (*table)->count; i++)
            if (is_first(tables, &(*table)->ops[i]))
                path_item(&w, arena, tables, &(*table)->ops[i]);
    json_object_end(&w);
    components(&w);
    json_object_end(&w);
    large = document.overflow;
    *out = (struct str){ arena_copy(arena, document.data, document.len), document.len };
    buf_fini(&document);
    return large ? err_set(err, ERR_INTERNAL, "the OpenAPI document passes %d bytes", LIMIT_ANSWER_BYTES) : 0;
}

enum op_done openapi_answer(struct op_call *call, struct err *err)
{
    (void)err;
    buf_str(&call->response.body, call->api->openapi);
    return OP_DONE;
}
