/* multipart.h - the file inside a form that a browser or curl -F sends. Pure; nothing is copied. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct arena;

struct multipart_file {
    struct str data, name;          /* slices of the body; the name as sent, absent without one */
};

/* Is this Content-Type a form with parts? */
bool multipart_is(struct str content_type);

/* The first part with a file name, or else the part called "file". -1 with ERR_MALFORMED when the body is not such a
 * form, ERR_INVALID (field "file") when no part of it is a file. */
int multipart_read(struct str content_type, struct str body, struct multipart_file *out, struct err *err);
