/* upload.h - files of this machine on their way to a hub. */
#pragma once

#include "cli/lib/request.h"

/* Read a file of at most LIMIT_MEDIA_BYTES; "-" is standard input. -1 with err. In the arena. */
int upload_read(struct arena *arena, const char *path, struct str *out, struct err *err);

/* Upload it. 0 with the hub's answer (JSON) in the arena, else the exit code; the problem has been printed. */
int upload_put(struct arena *arena, const struct target *target, const char *path, struct str *answer);

/* Upload what --attach names and put it into the request's field `attachments`, behind what is there. 0 or the exit
 * code. Done once. */
int upload_attached(struct arena *arena, struct request *request, const struct target *target);
