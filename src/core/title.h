/* title.h - what a person calls a conversation. */
#pragma once

#include "core/conversation.h"

/* Inside a write transaction: set the title (the empty one removes it), with the log line
 * conversation.updated. 1 done, 0 unknown, -1 failed. */
int title_set(struct db_session *tx, const struct conversation *of, struct str title, struct err *err);
