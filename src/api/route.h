/* route.h - from a path to the operations that live there: a trie of path parts, built once from the tables. Pure. */
#pragma once

#include "api/op.h"

#define ROUTE_PARAMS 4          /* {name} parts in one path */

struct arena;
struct routes;

/* One operation at one path. */
struct route {
    const struct op *op;
    const char *params[ROUTE_PARAMS];       /* their names, in path order */
    size_t param_count;
    _Atomic int64_t *answers;               /* given so far, by hundreds of the status (6 of them) */
};

/* Where a path led. */
struct route_match {
    const struct route *const *by_method;   /* HTTP_METHODS of them, NULL where nothing answers */
    struct str params[ROUTE_PARAMS];        /* slices of the path */
    size_t param_count;
};

/* Build from tables that end with NULL. In the arena. NULL, naming the row, when a path is no path, a name or route
 * exists twice, a {name} has no FIELD_PATH field or the reverse, or a row has neither a scope nor OP_OPEN (or
 * both). */
struct routes *routes_new(struct arena *arena, const struct op_table *const *tables, struct err *err);

/* A fixed part wins over a {name}. False: no such path. */
bool route_find(const struct routes *routes, struct str path, struct route_match *match);

/* The route for a method (HEAD is answered by GET), or NULL. */
const struct route *route_for(const struct route_match *match, enum http_method method);

/* The n-th route, in table order; NULL past the last. */
const struct route *route_at(const struct routes *routes, size_t n);

/* "GET, HEAD, OPTIONS, POST" for the Allow header. In the arena. */
const char *route_allow(struct arena *arena, const struct route_match *match);

/* The nearest known path ("/api/v1/messages/{id}"), or NULL. */
const char *route_nearest(const struct routes *routes, struct arena *arena, struct str path);
