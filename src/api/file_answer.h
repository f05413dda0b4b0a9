/* file_answer.h - answering with a stored file, so that a browser never runs what somebody sent (RELIABILITY.md 3.6):
 * the sniffed type, no sniffing, a sandbox, and saving instead of showing unless it is a picture of the web, sound or
 * film. One range of bytes can be asked for. */
#pragma once

#include "api/op.h"
#include "core/media.h"

/* Fill call->response with the file; `name` is what somebody called it, absent: nothing. */
enum op_done file_answer(struct op_call *call, const struct media *media, struct str name, struct err *err);

/* One range of a Range header over `size` bytes: 1 with `from` and `length`, 0 there is none that is understood (all
 * of it is answered), -1 it lies behind the end. Pure. */
int file_range(struct str header, int64_t size, int64_t *from, int64_t *length);
