/* usage.h - how a verb is used, from its row in the operations table. */
#pragma once

#include "api/op.h"

/* "messages [--limit N] [--device ID] ...", in the arena. */
const char *usage_line(struct arena *arena, const struct op *op);

/* The `nth` of a verb's two examples, without the program's name; NULL behind the last. In the arena. */
const char *usage_example(struct arena *arena, const struct op *op, int nth);

/* The help page on stdout. */
void usage_page(const struct op *op);
