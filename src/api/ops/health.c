#include "api/health.h"
#include "api/openapi.h"

static const struct field live_shape[] = {
    { "status", FIELD_ENUM, 0, "The process runs.", 0, 0, "ok" },
    { "version", FIELD_TEXT, 0, "Of the program.", 0, 100 },
    { "up_s", FIELD_INT, 0, "Seconds since its start.", 0, INT64_MAX },
    { 0 }
};

static const struct field ready_shape[] = {
    { "status", FIELD_ENUM, 0, "It takes messages.", 0, 0, "ready" },
    { "database", FIELD_ENUM, 0, "What it stores them in.", 0, 0, "sqlite|postgresql" },
    { 0 }
};

static const struct field server_shape[] = { { "url", FIELD_TEXT, FIELD_REQUIRED, "Its root." }, { 0 } };
static const struct field security_shape[] = { { "key", FIELD_TEXTS, FIELD_REQUIRED, "No scopes are named." }, { 0 } };
static const struct field document_shape[] = {
    { "openapi", FIELD_TEXT, FIELD_REQUIRED, "The version of OpenAPI." },
    { "info", FIELD_OBJECT, FIELD_REQUIRED, "What this is." },
    { "servers", FIELD_LIST, FIELD_REQUIRED, "Where it is.", 0, 1, NULL, NULL, server_shape },
    { "security", FIELD_LIST, FIELD_REQUIRED, "How to say who asks.", 0, 1, NULL, NULL, security_shape },
    { "paths", FIELD_OBJECT, FIELD_REQUIRED, "All operations." },
    { "components", FIELD_OBJECT, FIELD_REQUIRED, "What they share." },
    { 0 }
};

static const struct op ops[] = {
    { .name = "health.live", .method = HTTP_GET, .path = "/livez", .run = health_live, .shape = live_shape,
      .summary = "Does the process run?", .flags = OP_OPEN, .cli = "health", .cli_columns = "status,version,up_s",
      .example = "health" },
    { .name = "health.ready", .method = HTTP_GET, .path = "/readyz", .run = health_ready, .shape = ready_shape,
      .summary = "Can it read its database, and write to it durably?", .flags = OP_OPEN, .cli = "ready",
      .cli_columns = "status,database", .example = "ready" },
    { .name = "health.metrics", .method = HTTP_GET, .path = "/metrics", .scope = SCOPE_READ, .run = health_metrics,
      .summary = "Figures of this process and of the queues of all tenants, as Prometheus text.",
      .flags = OP_RAW | OP_TENANT_ANY },
    { .name = "health.openapi", .method = HTTP_GET, .path = "/openapi.json", .run = openapi_answer,
      .shape = document_shape,
      .summary = "This interface as an OpenAPI document.", .flags = OP_OPEN },
};

const struct op_table ops_health = { "health", ops, sizeof ops / sizeof *ops };
