#include "api/route.h"

#include "base/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ROUTES_MAX 1000
#define SEGMENT_MAX 64
#define NEAR 3                  /* insertions, deletions, changes: as far as field_nearest goes */

struct node {
    struct str part;
    struct node *children;              /* next level, sorted by part when the trie is complete */
    size_t count, cap;
    struct node *any, *rest;            /* {name}, {name...} */
    const struct route *by_method[HTTP_METHODS];
};

struct routes {
    struct node root;
    const char *paths[ROUTES_MAX + 1];
    const struct route *all[ROUTES_MAX];
    size_t count;
};

/* Cut the next part off a path whose leading '/' stands at `path->data`. False at its end. */
static bool next_part(struct str *path, struct str *part)
{
    const char *end;

    if (path->len == 0)
        return false;
    path->data++;
    path->len--;
    end = memchr(path->data, '/', path->len);
    *part = (struct str){ path->data, end ? (size_t)(end - path->data) : path->len };
    path->data += part->len;
    path->len -= part->len;
    return true;
}

static int compare(struct str a, struct str b)
{
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return memcmp(a.data, b.data, a.len);
}

static int compare_nodes(const void *a, const void *b)
{
    return compare(((const struct node *)a)->part, ((const struct node *)b)->part);
}

static struct node *child_find(const struct node *node, struct str part)
{
    size_t low = 0, high = node->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(part, node->children[middle].part);

        if (order == 0)
            return &node->children[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static struct node *child_add(struct arena *arena, struct node *node, struct str part)
{
    struct node *found = child_find(node, part);

    if (found)
        return found;
    if (node->count == node->cap) {
        struct node *grown = arena_array(arena, node->cap ? node->cap * 2 : 4, sizeof *grown);

        if (node->count > 0)
            memcpy(grown, node->children, node->count * sizeof *grown);
        node->cap = node->cap ? node->cap * 2 : 4;
        node->children = grown;
    }
    node->children[node->count++].part = part;
    qsort(node->children, node->count, sizeof *node->children, compare_nodes);
    return child_find(node, part);
}

/* "{id}" is a parameter, "{path...}" takes the rest. */
static bool is_param(struct str part)
{
    return part.len > 2 && part.data[0] == '{' && part.data[part.len - 1] == '}';
}

static bool takes_rest(struct str part)
{
    return is_param(part) && part.len > 5 && !memcmp(part.data + part.len - 4, "...}", 4);
}

static const struct field *path_field(const struct op *op, struct str name)
{
    for (const struct field *field = op->fields; field && field->name; field++)
        if (field->flags & FIELD_PATH && str_is(name, field->name))
            return field;
    return NULL;
}

static int wrong(struct err *err, const struct op *op, const char *what)
{
    return err_set(err, ERR_INTERNAL, "The row \"%s\" (%s) %s.", op->name, op->path, what);
}

/* Walk to the node of one row's path, naming its parameters on the way. */
static struct node *place(struct arena *arena, struct node *node, struct route *route, struct err *err)
{
    struct str path = str_c(route->op->path), part;

    while (next_part(&path, &part)) {
        struct node **param;
        struct str name = { part.data + 1, part.len - 2 };

        if (part.len == 0 || memchr(part.data, '{', part.len) != (is_param(part) ? part.data : NULL)) {
            wrong(err, route->op, "has an empty or odd part in its path");
            return NULL;
        }
        if (!is_param(part)) {
            node = child_add(arena, node, part);
            continue;
        }
        param = takes_rest(part) ? &node->rest : &node->any;
        name.len -= takes_rest(part) ? 3 : 0;
        if (route->param_count == ROUTE_PARAMS || (takes_rest(part) && path.len > 0) || !path_field(route->op, name)) {
            wrong(err, route->op, "has a {part} without a FIELD_PATH field, too many, or one behind the rest");
            return NULL;
        }
        if (!*param)
            *param = arena_alloc(arena, sizeof **param);
        route->params[route->param_count++] = path_field(route->op, name)->name;
        node = *param;
    }
    return node;
}

static int check(const struct routes *routes, const struct route *route, struct err *err)
{
    const struct op *op = route->op;
    bool open = op->flags & OP_OPEN;
    size_t path_fields = 0;

    for (const struct field *field = op->fields; field && field->name; field++)
        path_fields += (field->flags & FIELD_PATH) != 0;
    if (path_fields != route->param_count)
        return wrong(err, op, "has a FIELD_PATH field that its path lacks");
    if (open != (op->scope == SCOPE_NONE) || (op->scope & (op->scope - 1)))
        return wrong(err, op, "needs one scope, or OP_OPEN and none");
    if (!op->run || !op->summary || op->method == HTTP_HEAD || op->method == HTTP_OPTIONS)
        return wrong(err, op, "has no run or summary, or a method of the framework's");
    for (size_t i = 0; i < routes->count; i++)
        if (!strcmp(routes->all[i]->op->name, op->name) && !((routes->all[i]->op->flags | op->flags) & OP_ALIAS))
            return wrong(err, op, "has a name that another row has");
    return 0;
}

static int add(struct arena *arena, struct routes *routes, const struct op *op, struct err *err)
{
    struct route *route = arena_alloc(arena, sizeof *route);
    struct node *node;

    assert(op->name && op->path);
    route->op = op;
    route->answers = arena_array(arena, 6, sizeof *route->answers);
    if (op->path[0] != '/' || routes->count == ROUTES_MAX)
        return wrong(err, op, "has a path without '/', or is one row too many");
    node = place(arena, &routes->root, route, err);
    if (!node || check(routes, route, err) < 0)
        return -1;
    if (node->by_method[op->method])
        return wrong(err, op, "has the route of another row");
    node->by_method[op->method] = route;
    routes->paths[routes->count] = op->path;
    routes->all[routes->count++] = route;
    return 0;
}

struct routes *routes_new(struct arena *arena, const struct op_table *const *tables, struct err *err)
{
    struct routes *routes = arena_alloc(arena, sizeof *routes);

    for (; *tables; tables++)
        for (size_t i = 0; i < (*tables)->count; i++)
            if (add(arena, routes, &(*tables)->ops[i], err) < 0)
                return NULL;
    return routes;
}

static bool answers(const struct node *node)
{
    for (int method = 0; method < HTTP_METHODS; method++)
        if (node->by_method[method])
            return true;
    return false;
}

static bool arrive(const struct node *node, struct route_match *match)
{
    match->by_method = node->by_method;
    return answers(node);
}

/* Depth is bounded by the trie's own. */
static bool walk(const struct node *node, struct str path, struct route_match *match)
{
    struct str rest = path, part;
    const struct node *child;
    size_t params = match->param_count;

    if (!next_part(&rest, &part))
        return arrive(node, match);
    child = child_find(node, part);
    if (child && walk(child, rest, match))
        return true;
    match->param_count = params;
    if (node->any && part.len > 0) {
        match->params[match->param_count++] = part;
        if (walk(node->any, rest, match))
            return true;
        match->param_count = params;
    }
    if (!node->rest)
        return false;
    match->params[match->param_count++] = (struct str){ path.data + 1, path.len - 1 };
    return arrive(node->rest, match);
}

bool route_find(const struct routes *routes, struct str path, struct route_match *match)
{
    match->param_count = 0;
    return path.len > 0 && path.data[0] == '/' && walk(&routes->root, path, match);
}

const struct route *route_for(const struct route_match *match, enum http_method method)
{
    return match->by_method[method == HTTP_HEAD ? HTTP_GET : method];
}

const struct route *route_at(const struct routes *routes, size_t n)
{
    return n < routes->count ? routes->all[n] : NULL;
}

const char *route_allow(struct arena *arena, const struct route_match *match)
{
    const char *allow = "OPTIONS";

    for (int method = 0; method < HTTP_METHODS; method++)
        if (method != HTTP_OPTIONS && route_for(match, method))
            allow = arena_printf(arena, "%s, %s", allow, http_method_name(method));
    return allow;
}

/* The path with what looks like an id replaced by "{id}". */
static const char *shape(struct arena *arena, struct str path)
{
    const char *text = "";
    struct str part;

    while (next_part(&path, &part)) {
        bool id = part.len > 12 && memchr(part.data, '_', part.len);

        if (part.len > SEGMENT_MAX || strlen(text) > LIMIT_NAME_BYTES)
            return text;
        text = id ? arena_printf(arena, "%s/{id}", text) : arena_printf(arena, "%s/%.*s", text, STR_FMT(part));
    }
    return text;
}

/* Only paths of about the same length can be near; the others would cost time that anybody may ask for. */
static const char *nearest_to(const struct routes *routes, struct arena *arena, const char *text)
{
    const char **names = arena_array(arena, routes->count + 1, sizeof *names);
    size_t len = strlen(text), count = 0;

    for (size_t i = 0; i < routes->count; i++) {
        size_t other = strlen(routes->paths[i]);

        if (other <= len + NEAR && len <= other + NEAR)
            names[count++] = routes->paths[i];
    }
    return field_nearest(text, names);
}

const char *route_nearest(const struct routes *routes, struct arena *arena, struct str path)
{
    const char *text = shape(arena, path), *nearest = nearest_to(routes, arena, text);

    return nearest ? nearest : nearest_to(routes, arena, arena_printf(arena, "/api/v1%s", text));
}
