/* fallback.h - deliver by a deadline: a message that was not delivered in time goes out over another channel. Decided
 * once, in one transaction with the message that goes out instead, and told in both timelines. */
#pragma once

#include "core/hub.h"
#include "core/message.h"

struct outbox_prepared;

/* Pure: what is to be done now? Not needed: it was delivered, or a person or the contact stopped it. A message that is
 * still queued is cancelled first; one that is being sent at this moment is waited for. */
enum fallback_verdict { FALLBACK_WAITS, FALLBACK_SENDS, FALLBACK_NEEDLESS };
enum fallback_verdict fallback_verdict(enum message_state state, bool is_due);

/* Inside the transaction that stores these writes: note the fallbacks that they ask for. */
int fallback_store(struct db_session *tx, struct outbox_prepared **writes, size_t count, struct err *err);

/* Decide what is due. For the sweeper; the number decided, -1 on failure. */
int fallback_step(struct hub *hub, struct err *err);
