/* server_check.h - which requests are in order, and the words of the refusal for those that are not. For net/ only. */
#pragma once

#include "base/err.h"
#include "net/http.h"

struct http_exchange;

/* The request line as the library points to it. */
struct request_line {
    const char *method, *target, *version;
};

/* Why a request is refused; `status` is more precise than err's. */
struct refusal {
    int status;
    struct err err;
};

/* Fill it and return -1. */
int refuse(struct refusal *why, int status, const char *detail, const char *hint);

/* server_check.c: read the request's header into exchange->request, or say why it is refused. */
int check_request(struct http_exchange *exchange, const struct request_line *line, struct refusal *why);

/* Split a request target into path, raw_path, raw_query and query. `host`: the Host header (may be absent). */
int check_target(struct http_request *request, struct str target, struct str host, struct refusal *why);
