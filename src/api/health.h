/* health.h - /livez, /readyz and /metrics. */
#pragma once

#include "api/op.h"

/* The process runs; it can read and write its database; its figures as Prometheus text. */
enum op_done health_live(struct op_call *call, struct err *err);
enum op_done health_ready(struct op_call *call, struct err *err);
enum op_done health_metrics(struct op_call *call, struct err *err);
