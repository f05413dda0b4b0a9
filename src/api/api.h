/* api.h - the HTTP face of the hub: all operations, provider webhooks, streams, health.
 *
 *     hub_open(&hub, &err);
 *     api = api_open(&hub, &err);                 options.respond = api_respond; options.arg = api;
 *     server = http_start(&options, &err);        api_serve(api, server);
 *     ...
 *     api_stop(api);
 *     http_stop(server, LIMIT_SHUTDOWN_MS);
 *     api_close(api);
 *     hub_close(&hub); */
#pragma once

#include "base/err.h"
#include "net/server.h"

struct api;
struct hub;

/* Check the operations table, build the routes and the OpenAPI document, start the thread that feeds streams (none
 * with hub->manual). NULL when a row of the table is wrong. */
struct api *api_open(struct hub *hub, struct err *err);

/* Tell which server it answers for, for /metrics. */
void api_serve(struct api *api, struct http_server *server);

/* Before the server stops: end what waits for something to happen. NULL is fine. */
void api_stop(struct api *api);

/* After the server has stopped. NULL is fine. False: a call still runs and uses the hub; nothing was freed: end the
 * process without hub_close. */
bool api_close(struct api *api);

/* The http_respond of the server: routes, authenticates, checks fields, runs. `arg` is struct api *. */
http_respond api_respond;

/* The http_options.body_max_of of the server: more only for operations that take files. `arg` is struct api *. */
size_t api_body_max(void *arg, const struct http_request *request);
