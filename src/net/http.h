/* http.h - requests and responses as plain data; no input or output happens here. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_METHODS };

struct http_header {
    struct str name;
    struct str value;
};

/* Where the peer came from. */
enum http_door {
    HTTP_DOOR_TCP,
    HTTP_DOOR_SOCKET        /* the data folder's unix socket: `uid` is the peer's, checked by the kernel */
};

struct http_request {
    enum http_method method;
    struct str path;            /* percent-decoded once, no query; always starts with '/' */
    struct str raw_path;        /* as received, without the query */
    struct str raw_query;       /* as received, without '?'; absent when there is none */
    struct http_header *query;  /* decoded parameters in order */
    size_t query_count;
    struct http_header *headers;
    size_t header_count;
    struct str body;
    enum http_door door;
    uint32_t uid;               /* HTTP_DOOR_SOCKET */
    char peer[64];              /* numeric address, for limits and the audit */
    char request_id[32];        /* ours, or the client's X-Request-Id when it is clean */
    struct arena *arena;        /* everything above lives here, until the reply has left */
};

/* A piece of a file as an answer's body. */
struct http_file {
    int fd;                             /* the server closes it */
    uint64_t from, length;
};

/* The answer. Filled by whoever runs the request, before http_server's reply call. */
struct http_response {
    int status;
    const char *content_type;           /* NULL: application/json */
    struct buf body;                    /* taken over by the server */
    const struct http_file *file;       /* instead of the body, in the request's arena; NULL: none */
    struct http_header headers[16];     /* further headers; strings live in the request's arena */
    size_t header_count;
};

/* The first header of that name (ASCII case ignored), or the absent slice; likewise a query parameter (exact case). */
struct str http_header(const struct http_request *request, const char *name);
struct str http_query(const struct http_request *request, const char *name);

/* "GET", ...; and back (HTTP_METHODS when unknown). */
const char *http_method_name(enum http_method method);
enum http_method http_method_find(struct str name);

/* Add a response header; `value` is copied into the arena. More than the table holds is a bug and asserts. */
void http_respond_header(struct http_response *response, struct arena *arena, const char *name, const char *value);

/* Percent-decode ('+' becomes a space in a query); false on a broken escape or NUL. Without anything to decode the
 * result is `text` itself. */
bool http_decode(struct arena *arena, struct str text, bool plus_is_space, struct str *out);

/* Percent-encode everything but unreserved characters, in the arena. */
const char *http_encode(struct arena *arena, struct str text);

/* Split an application/x-www-form-urlencoded text (body or query) into pairs. False on a broken escape or more than
 * LIMIT_HEADER_COUNT pairs. */
bool http_form(struct arena *arena, struct str text, struct http_header **pairs, size_t *count);

/* The status line's phrase ("Not Found"); "Error" when unknown. */
const char *http_reason(int status);

/* Fill the response with a problem document (RFC 9457): title, status, code, detail, and hint, field, request_id where
 * there are any; Retry-After with 429 and 503; never cached. The status is err's, unless response->status already holds
 * one of 400 or above. Whatever the response held before is dropped. */
void http_problem(struct http_response *response, struct arena *arena, const struct err *err,
                  const char *request_id);
