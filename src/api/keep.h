/* keep.h - Idempotency-Key for operations whose answer is known only after their write has committed. */
#pragma once

#include "api/op.h"

/* Store the rendered answer behind the write that it tells of. Without the header nothing happens. A crash between
 * the two must be harmless: whoever uses it stores under keep_id, so that the repeated request finds what it did.
 * When a twin was faster, its answer is repeated. */
enum op_done keep_answer(struct op_call *call, struct err *err);

/* The same for a grouped write that stored the answer rendered before it, and turned out otherwise: the stored answer
 * becomes the one that is rendered now. By op_slow: it may block. */
enum op_done keep_instead(struct op_call *call, struct err *err);

/* What stands in for an external id that was not given: the same for every repetition of the request, in the arena;
 * absent without the header. `index` tells the parts of one request apart. */
struct str keep_id(const struct op_call *call, size_t index);
