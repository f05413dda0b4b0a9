#include "api/state.h"

#include "base/arena.h"
#include "base/limits.h"

#include <string.h>

static const struct field no_fields[] = { { 0 } };

/* "application/json; charset=utf-8" and "application/problem+json" are JSON. A missing type is taken for JSON too:
 * no page of another origin can make a browser add our Authorization header. */
static bool is_json(struct str type)
{
    struct str rest = type, name, subtype;

    if (!type.data)
        return true;
    str_split(&rest, ';', &name);
    name = str_trim(name);
    if (str_eq_nocase(name, STR("application/json")))
        return true;
    subtype = (struct str){ name.data + (name.len >= 5 ? name.len - 5 : 0), name.len >= 5 ? 5 : 0 };
    return str_eq_nocase(subtype, STR("+json"));
}

static int read_body(struct op_call *call, const struct field *table, struct err *err)
{
    const struct http_request *request = call->request;
    size_t max = call->op->flags & OP_LARGE ? LIMIT_BATCH_BYTES : LIMIT_JSON_BYTES;
    struct str type = http_header(request, "Content-Type");
    struct json *body;

    if (request->body.len == 0)
        return field_read_json(call->arena, table, NULL, &call->in, err);
    if (!is_json(type)) {
        err_set(err, ERR_MEDIA_TYPE, "The body is %.60s; only JSON is read here.",
                str_printable(call->arena, (struct str){ type.data, type.len < 60 ? type.len : 60 }, true));
        return err_hint(err, "Send it with Content-Type: application/json.");
    }
    if (request->body.len > max) {
        err_set(err, ERR_TOO_LARGE, "The body has %zu bytes; at most %zu are read.", request->body.len, max);
        return err_hint(err, "Split it into several requests.");
    }
    body = json_parse(call->arena, request->body, err);
    return body ? field_read_json(call->arena, table, body, &call->in, err) : -1;
}

static size_t row_of(const struct field *table, struct str name)
{
    size_t row = 0;

    while (table[row].name && !str_is(name, table[row].name))
        row++;
    return row;
}

/* The socket's owner may say ?tenant=, which is no field of the operation (op_authenticate reads it). */
static bool is_tenant(const struct op_call *call, struct str name)
{
    return call->key.id == 0 && str_is(name, "tenant");
}

static int read_query(struct op_call *call, const struct field *table, bool body, struct err *err)
{
    const struct http_request *request = call->request;

    for (size_t i = 0; i < request->query_count; i++) {
        struct str name = request->query[i].name;
        const struct field *field = &table[row_of(table, name)];

        if (!field->name) {
            if (call->op->flags & OP_RAW || is_tenant(call, name))
                continue;
            /* sets nothing, says what is allowed */
            return field_set_text(call->arena, &call->in, str_dup(call->arena, name), request->query[i].value, err);
        }
        if (field->flags & FIELD_PATH || (body && !(field->flags & FIELD_QUERY))) {
            err_field(err, field->name, "\"%s\" does not belong in the query.", field->name);
            return err_hint(err, "Give it in the %s.", field->flags & FIELD_PATH ? "path" : "body");
        }
        if (call->in.values[field - table].field) {
            err_field(err, field->name, "\"%s\" is given twice.", field->name);
            return err_hint(err, "Give it once; several values are separated by commas where that is allowed.");
        }
        if (field_set_text(call->arena, &call->in, field->name, request->query[i].value, err) < 0)
            return -1;
    }
    return 0;
}

static int read_path(struct op_call *call, const struct route *route, const struct route_match *match, struct err *err)
{
    for (size_t i = 0; i < route->param_count; i++) {
        const struct field *field = &call->in.table[row_of(call->in.table, str_c(route->params[i]))];

        if (field_set_text(call->arena, &call->in, field->name, match->params[i], err) < 0)
            return field->type == FIELD_ID ? op_not_found(call, err) : -1;
    }
    return 0;
}

int op_read_fields(struct op_call *call, const struct route *route, const struct route_match *match, struct err *err)
{
    const struct field *table = call->op->fields ? call->op->fields : no_fields;
    enum http_method method = call->op->method;
    bool body = (method == HTTP_POST || method == HTTP_PUT || method == HTTP_PATCH)
        && !(call->op->flags & OP_UPLOAD);

    if (call->op->flags & OP_RAW || !body) {
        if (!(call->op->flags & (OP_RAW | OP_UPLOAD)) && call->request->body.len > 0) {
            err_set(err, ERR_MALFORMED, "This operation takes no body.");
            return err_hint(err, "Give its fields in the query string.");
        }
        field_begin(call->arena, table, &call->in);
    } else if (read_body(call, table, err) < 0) {
        return -1;
    }
    if (read_query(call, table, body, err) < 0 || read_path(call, route, match, err) < 0)
        return -1;
    return field_finish(call->arena, &call->in, err);
}
