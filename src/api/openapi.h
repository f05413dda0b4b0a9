/* openapi.h - the OpenAPI 3.1 document of all operations, built once from their tables. Pure. */
#pragma once

#include "api/op.h"

struct arena;

/* Build the document into the arena. -1 when it would pass LIMIT_ANSWER_BYTES. */
int openapi_build(struct arena *arena, const struct op_table *const *tables, struct str *out, struct err *err);

/* The run of GET /openapi.json. */
enum op_done openapi_answer(struct op_call *call, struct err *err);
