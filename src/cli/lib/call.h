/* call.h - a request carried out: the call, its answer printed, its problem explained. */
#pragma once

#include "cli/lib/request.h"
#include "net/client_hub.h"

/* Print a refusal (a problem document) with its hint on stderr; returns the exit code. */
int call_problem(const struct hub_answer *answer);

/* Do what the request says, following pages up to its limit, once for every id given. Returns the exit code. */
int call_run(struct arena *arena, struct request *request, const struct target *target);

/* --stdin: one call per line. `words` is what else was given. Ends with a line that counts; 6 when some failed. */
int call_lines(struct arena *arena, const struct request *first, const struct config_words *words,
               const struct target *target);
