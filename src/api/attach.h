/* attach.h - the files that a call brings for a message: one field for all operations that take them. */
#pragma once

#include "api/op.h"
#include "core/channel_event.h"

/* One file of the field below. */
extern const struct field attach_fields[];

/* The field; put it into an operation's table. */
#define ATTACH_FIELD \
    { "attachments", FIELD_LIST, 0, "Files, each as `media` (uploaded before), `data` (base64) or `url` (public).", 0, \
      LIMIT_ATTACHMENTS, NULL, NULL, attach_fields, "[{\"data\":\"aGVsbG8=\",\"name\":\"hello.txt\"}]" }

/* What it holds (`in`: of the call, or of one message in a list), in the call's arena; `*count` 0 without it.
 * ERR_INVALID where a file says not exactly one of the three, or no base64; ERR_NOT_FOUND for a file that the tenant
 * does not have. */
int attach_read(struct op_call *call, const struct fields *in, const struct channel_attachment **files, size_t *count,
                struct err *err);
