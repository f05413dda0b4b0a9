/* outcome.h - from a provider's answer to one of the four outcomes, the same for every channel
 * (RELIABILITY 2.3). */
#pragma once

#include "core/channel.h"

/* What a provider's documents promise beyond the rule. */
enum outcome_promise {
    OUTCOME_PLAIN = 0,
    OUTCOME_5XX_NOT_SENT = 1        /* a 5xx says that nothing was created */
};

/* Judge one exchange of a send and fill what the driver left empty of `result`: code ("http 429"),
 * hint, retry_after_s, channel_fault. Surely not sent: no connection, 408, 429 (retry), redirects
 * and other 4xx (refused; 401, 403 and redirects are the channel's fault). 2xx is done. Everything
 * else is unsure. Texts go into the job's arena. */
enum send_outcome outcome_of(const struct send_job *job, const struct exchange_reply *reply,
                             enum outcome_promise promise, struct send_result *result);

/* The same for a look-up that found no answer: never more than unsure. */
enum send_outcome outcome_unknown(const struct send_job *job, const struct exchange_reply *reply,
                                  struct send_result *result);

/* What a provider's own error numbers mean: a table whose last row, from 0 to 0, is for those that it does not name. */
enum { OUTCOME_FAULT = 1, OUTCOME_THROTTLED = 2, OUTCOME_OPTED_OUT = 4 };
struct outcome_code {
    int first, last;
    enum send_outcome outcome;      /* SEND_RETRY or SEND_REFUSED */
    unsigned flags;
    int retry_after_s;              /* where the provider says nothing better */
    const char *hint;               /* never NULL */
};

/* The row for a number; ranges do not overlap. Never NULL. */
const struct outcome_code *outcome_code_find(const struct outcome_code *table, int64_t code);

/* Judge an answered send by the number it carries: fills the whole result. */
enum send_outcome outcome_by_code(const struct send_job *job, const struct outcome_code *table, int64_t code,
                                  const struct exchange_reply *reply, struct send_result *result);
