#include "channels/lib/outcome.h"

#include "base/arena.h"

#include <string.h>

static void set_code(const struct send_job *job, struct send_result *result, const char *code)
{
    if (!result->code.data)
        result->code = str_c(arena_strdup(job->arena, code));
}

static void set_hint(const struct send_job *job, struct send_result *result, const char *hint)
{
    if (!result->hint.data)
        result->hint = str_c(arena_strdup(job->arena, hint));
}

/* No complete answer: what the exchange says about it. */
static enum send_outcome unanswered(const struct send_job *job, const struct exchange_reply *reply,
                                    struct send_result *result)
{
    bool sent = reply->end == EXCHANGE_UNKNOWN;

    set_code(job, result,
             !sent                                ? "not_connected"
                 : reply->err.code == ERR_TIMEOUT ? "timeout"
                                                  : "no_answer");
    set_hint(job, result,
             arena_printf(job->arena, "%s%s%s", reply->err.detail, reply->err.hint[0] ? " " : "",
                          reply->err.hint));
    result->channel_fault = true;
    return sent ? SEND_UNSURE : SEND_RETRY;
}

/* A complete answer outside 200 to 299. */
static enum send_outcome declined(const struct send_job *job, int status,
                                  enum outcome_promise promise, struct send_result *result)
{
    if (status == 429) {
        set_hint(job, result, "The provider asks to send slower. It is tried again by itself.");
        result->throttled = true;
        return SEND_RETRY;
    }
    if (status == 408) {
        set_hint(job, result,
                 "The provider gave up waiting for the request. It is tried again by itself.");
        result->channel_fault = true;
        return SEND_RETRY;
    }
    if (status == 401 || status == 403) {
        set_hint(
            job, result,
            "The provider refuses the channel's key or password. Set it again in the channel's "
            "settings.");
        result->channel_fault = true;
        return SEND_REFUSED;
    }
    if (status >= 300 && status < 400) {
        set_hint(job, result,
                 "The address of the provider leads elsewhere. Set the final one in the channel's "
                 "settings; redirects are not followed.");
        result->channel_fault = true;
        return SEND_REFUSED;
    }
    if (status >= 400 && status < 500) {
        set_hint(job, result, "The provider refused this message.");
        return SEND_REFUSED;
    }
    result->channel_fault = true;
    if (promise & OUTCOME_5XX_NOT_SENT) {
        set_hint(job, result,
                 "The provider is in trouble and sent nothing. It is tried again by itself.");
        return SEND_RETRY;
    }
    set_hint(job, result, "The provider failed while it had the message: it may have been sent.");
    return SEND_UNSURE;
}

enum send_outcome outcome_of(const struct send_job *job, const struct exchange_reply *reply,
                             enum outcome_promise promise, struct send_result *result)
{
    if (reply->end != EXCHANGE_ANSWERED)
        return unanswered(job, reply, result);
    if (reply->status >= 200 && reply->status < 300)
        return SEND_DONE;
    set_code(job, result, arena_printf(job->arena, "http %d", reply->status));
    if (reply->retry_after_s > 0)
        result->retry_after_s = reply->retry_after_s;
    return declined(job, reply->status, promise, result);
}

enum send_outcome outcome_unknown(const struct send_job *job, const struct exchange_reply *reply,
                                  struct send_result *result)
{
    outcome_of(job, reply, OUTCOME_PLAIN, result);
    return SEND_UNSURE;
}

const struct outcome_code *outcome_code_find(const struct outcome_code *table, int64_t code)
{
    for (; table->last; table++)
        if (code >= table->first && code <= table->last)
            break;
    return table;
}

enum send_outcome outcome_by_code(const struct send_job *job, const struct outcome_code *table, int64_t code,
                                  const struct exchange_reply *reply, struct send_result *result)
{
    const struct outcome_code *row = outcome_code_find(table, code);

    result->code = str_c(arena_printf(job->arena, "%lld", (long long)code));
    result->hint = str_c(row->hint);
    result->channel_fault = (row->flags & OUTCOME_FAULT) || reply->status == 401;
    result->throttled = (row->flags & OUTCOME_THROTTLED) || reply->status == 429;
    result->opted_out = row->flags & OUTCOME_OPTED_OUT;
    result->retry_after_s = reply->retry_after_s > 0 ? reply->retry_after_s : row->retry_after_s;
    return reply->status == 429 ? SEND_RETRY : row->outcome;
}
