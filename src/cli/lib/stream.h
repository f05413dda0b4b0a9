/* stream.h - an operation that answers an event stream, printed as it comes. */
#pragma once

#include "cli/lib/request.h"

/* Follow until interrupted. Reconnects with the last cursor, waiting longer each time. Returns the exit code. */
int stream_follow(struct arena *arena, const struct request *request, const struct target *target);
