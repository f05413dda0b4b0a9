#include "core/decide_burst.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

/* after such a pause the machine may speak again: nobody answers it at once */
#define QUIET_MS 3600000

static const struct burst_message *newest(const struct burst *burst)
{
    return &burst->messages[burst->count - 1];
}

static void conclude(struct burst *burst, enum decision_action action, const char *reason)
{
    burst->plan.action = action;
    burst->plan.reason = str_c(reason);
    trace_step(burst, "act", decision_action_words[action]);
}

/* --- What is to be sent ----------------------------------------------------------------------- */

static struct outbox_request request_of(const struct burst *burst, struct str text,
                                        enum message_origin origin)
{
    return (struct outbox_request){ .tenant_id = burst->job.tenant_id, .text = text,
        .origin = origin,
        .type = STR("text"), .cause_id = newest(burst)->id, .decision_id = burst->plan.decision_id,
        .priority = burst->effects.priority >= 0 ? burst->effects.priority : PRIORITY_NORMAL };
}

/* 1 prepared, 0 it cannot be sent (the trace says why), -1 the storage failed. */
static int add_write(struct burst *burst, const struct outbox_request *request, int64_t *id,
                     struct err *err)
{
    struct outbox_write *write = arena_alloc(burst->arena, sizeof *write);
    struct err why = { 0 };

    if (burst->plan.write_count == BURST_WRITES)
        return 0;
    write->request = *request;
    if (outbox_prepare(burst->hub, burst->arena, write, &why) == 0) {
        burst->plan.writes[burst->plan.write_count++] = write;
        *id = write->message_id;
        return 1;
    }
    if (why.code == ERR_UNAVAILABLE || why.code == ERR_STORAGE_FULL) {
        *err = why;
        return -1;
    }
    trace_step(burst, "refused", why.detail);
    return 0;
}

static int add_reply(struct burst *burst, struct str text, enum message_origin origin,
                     struct err *err)
{
    struct outbox_request request = request_of(burst, text, origin);

    request.conversation_id = burst->job.conversation_id;
    if (burst->plan.optout != OPTOUT_NONE)
        request.metadata = optout_metadata();
    return add_write(burst, &request, &burst->plan.reply_id, err);
}

/* --- Opt-out words ---------------------------------------------------------------------------- */

/* The last word said in the burst counts; each message is looked at alone. */
static enum optout_word said(const struct burst *burst)
{
    enum optout_word last = OPTOUT_NONE;
    bool opted_out = burst->opted_out_ms != 0;

    if (!optout_applies(burst->driver) || !burst->contact_id)
        return last;
    for (size_t i = 0; i < burst->count; i++) {
        enum optout_word word = optout_word(burst->arena, burst->messages[i].text, opted_out);
        if (word == OPTOUT_NONE || (word == OPTOUT_HELP && last != OPTOUT_NONE))
            continue;
        last = word;
        opted_out = word == OPTOUT_STOP || (opted_out && word == OPTOUT_HELP);
    }
    return last;
}

static int plan_optout(struct burst *burst, enum optout_word word, struct err *err)
{
    static const struct {
        enum decision_action action;
        const char *reason;
    } ends[] = {
        [OPTOUT_STOP] = { DECISION_OPT_OUT, "The contact opted out." },
        [OPTOUT_START] = { DECISION_OPT_IN, "The contact opted in again." },
        [OPTOUT_HELP] = { DECISION_HELP, "The contact asked for help." },
    };
    struct str text = word == OPTOUT_HELP && burst->help_text.len > 0 ? burst->help_text : optout_text(word);
    bool repeated = word == OPTOUT_STOP && burst->opted_out_ms;
    bool blocked = burst->opted_out_by & CONSENT_PROVIDER;

    burst->plan.optout = word;
    conclude(burst, ends[word].action, ends[word].reason);
    /* one confirmation, only one side confirms, and START is not true as long as the provider says no */
    if (repeated || (word == OPTOUT_START && blocked) || (burst->driver->can & CHANNEL_ANSWERS_OPT_OUT))
        return 0;
    return add_reply(burst, text, ORIGIN_AUTO, err) < 0 ? -1 : 0;
}

/* --- Rules ------------------------------------------------------------------------------------ */

static int64_t hops_of(const struct burst *burst)
{
    int64_t hops = 0;

    for (size_t i = 0; i < burst->count; i++) {
        struct err unread = { 0 };
        struct str metadata = burst->messages[i].metadata;
        const struct json *object = metadata.data ? json_parse(burst->arena, metadata, &unread)
            : NULL;
        int64_t here = object ? json_int(json_get(object, "hops"), 0) : 0;
        hops = here > hops ? here : hops;
    }
    return hops;
}

static void run_rules(struct burst *burst, const struct rule_list *rules)
{
    struct rule_subject subject = { .channel = burst->channel_name, .kind = burst->kind,
        .channel_id = burst->job.channel_id, .sender = burst->address, .text = burst->text,
        .name = burst->contact_name.data ? burst->contact_name : STR(""),
            .type = newest(burst)->type };

    if (rules->count > 0)
        subject.hops = burst->plan.hops = hops_of(burst);
    rule_evaluate(burst->arena, rules, &subject, &burst->effects);
    for (size_t i = 0; i < burst->effects.hit_count; i++)
        trace_step(burst, "rule", burst->effects.hits[i]->name);
    if (burst->effects.too_many_hops)
        trace_step(burst, "refused",
                   "It was forwarded too often already; it goes round in circles.");
    if (burst->effects.hit_count > 0)
        burst->plan.rule_id = burst->effects.hits[0]->id;
}

static struct str forward_metadata(const struct burst *burst)
{
    char id[ID_TEXT_BYTES];
    const char *text = arena_printf(burst->arena, "{\"hops\":%lld,\"forwarded_from\":\"%s\"}",
                                    (long long)burst->plan.hops + 1,
                                        id_encode(id, ID_MESSAGE, newest(burst)->id));

    return str_c(text);
}

static int forward(struct burst *burst, const struct rule_forward *to, struct err *err)
{
    struct str who = burst->contact_name.len > 0 ? burst->contact_name : burst->address;
    struct str text = str_c(arena_printf(burst->arena, "%.*s: %.*s", STR_FMT(who),
                                         STR_FMT(burst->text)));
    struct outbox_request request = request_of(burst, text, ORIGIN_RULE);
    struct channel channel;
    int64_t id;
    int found = channel_load(burst->hub->db, burst->arena,
                             CHANNEL_NAME(burst->job.tenant_id, to->channel), &channel, err);

    if (found < 0 && err->code == ERR_UNAVAILABLE)
        return -1;
    if (found != 1) {
        trace_step(burst, "refused", "The channel to forward to does not exist.");
        return 0;
    }
    request.to = channel_address(burst->arena, &channel, to->to);
    if (str_eq(request.to, burst->address)) {
        trace_step(burst, "refused", "Nothing is forwarded back to its sender.");
        return 0;
    }
    request.channel_id = channel.id;
    request.metadata = forward_metadata(burst);
    return add_write(burst, &request, &id, err) < 0 ? -1 : 0;
}

static int plan_forwards(struct burst *burst, struct err *err)
{
    for (size_t i = 0; i < burst->effects.forward_count; i++) {
        const struct rule_forward *to = &burst->effects.forwards[i];
        if (to->url.data)
            burst->plan.webhooks[burst->plan.webhook_count++] = *to;
        else if (forward(burst, to, err))
            return -1;
    }
    if (burst->plan.webhook_count > 0)
        burst->plan.first_webhook_id = ids_take(burst->hub->ids, burst->plan.webhook_count, err);
    return burst->plan.first_webhook_id < 0 ? -1 : 0;
}

/* --- Who may answer --------------------------------------------------------------------------- */

static bool all_automatic(const struct burst *burst)
{
    for (size_t i = 0; i < burst->count; i++)
        if (!burst->messages[i].is_automatic)
            return false;
    return true;
}

static const char *paused_reason(const struct burst *burst)
{
    char until[CLOCK_ISO_BYTES];

    if (burst->paused_until_ms >= CLOCK_MAX_MS)
        return "A person has taken this conversation over.";
    return arena_printf(burst->arena, "A person has taken this conversation over until %s.",
                        clock_iso_into(until, burst->paused_until_ms));
}

/* Why no machine may answer; concluded then. */
static bool is_barred(struct burst *burst)
{
    const struct rule_effects *effects = &burst->effects;

    if (burst->is_group)
        conclude(burst, DECISION_IGNORED, "Groups are never answered by a machine.");
    else if (all_automatic(burst))
        conclude(burst, DECISION_IGNORED,
                 "The message was sent by a machine; those are never answered.");
    else if (burst->opted_out_ms)
        conclude(burst, DECISION_HUMAN_TAKEOVER,
                 "The contact has opted out; no machine may write to it.");
    else if (burst->paused_until_ms > clock_ms())
        conclude(burst, DECISION_HUMAN_TAKEOVER, paused_reason(burst));
    else if (burst->auto_turns >= LIMIT_AUTO_TURNS && burst->quiet_ms < QUIET_MS)
        conclude(burst, DECISION_HUMAN_TAKEOVER,
                 "Too many answers by a machine in a row; the other side may be one too.");
    else if (effects->assigned_by)
        conclude(burst, DECISION_HUMAN_TAKEOVER, arena_printf(burst->arena,
                                                              "Rule \"%s\" assigned it to %.*s.",
                                                              effects->assigned_by->name,
                                                                  STR_FMT(effects->assign)));
    else if (effects->agent == RULE_OFF && !effects->answered_by)
        conclude(burst, DECISION_HUMAN_TAKEOVER, "A rule switched the agent off.");
    else
        return false;
    return true;
}

static int answer(struct burst *burst, struct str text, enum message_origin origin,
                  const char *reason, struct err *err)
{
    int sent = add_reply(burst, text, origin, err);

    if (sent < 0)
        return -1;
    if (sent == 1)
        conclude(burst, DECISION_AUTO_REPLY, reason);
    else
        conclude(burst, DECISION_HUMAN_TAKEOVER, "The answer could not be sent; see the steps.");
    return 0;
}

static int follow_up(struct burst *burst, struct err *err)
{
    if (burst->auto_reply.len > 0 && add_reply(burst, burst->auto_reply, ORIGIN_AUTO, err) < 0)
        return -1;
    burst->plan.waits = true;
    conclude(burst, DECISION_FOLLOW_UP, "The channel's policy: a person follows up.");
    return 0;
}

/* 1: ask the agent. */
static int by_policy(struct burst *burst, struct err *err)
{
    bool wanted = burst->effects.agent == RULE_ON || burst->policy == POLICY_AUTO_REPLY;

    if (wanted && burst->agent.len > 0) {
        trace_step(burst, "agent", str_dup(burst->arena, burst->agent));
        return 1;
    }
    if (burst->policy == POLICY_AUTO_REPLY && burst->auto_reply.len > 0)
        return answer(burst, burst->auto_reply, ORIGIN_AUTO, "The channel's fixed answer.", err);
    if (burst->policy == POLICY_FOLLOW_UP)
        return follow_up(burst, err);
    conclude(burst, DECISION_HUMAN_TAKEOVER, wanted
             ? "The channel has neither an agent nor a fixed answer."
                                                    : "The channel's policy: a person answers.");
    return 0;
}

int decide_plan(struct burst *burst, const struct rule_list *rules, struct err *err)
{
    enum optout_word word;

    burst->plan.decision_id = ids_next(burst->hub->ids, err);
    if (burst->plan.decision_id < 0)
        return -1;
    burst->effects.priority = -1;
    word = said(burst);
    trace_step(burst, "classify", word == OPTOUT_NONE ? "no opt-out word" : "opt-out word");
    if (word != OPTOUT_NONE)
        return plan_optout(burst, word, err);
    run_rules(burst, rules);
    if (plan_forwards(burst, err))
        return -1;
    if (is_barred(burst))
        return 0;
    if (burst->effects.answered_by)
        return answer(burst, burst->effects.answer, ORIGIN_RULE,
                      arena_printf(burst->arena, "Rule \"%s\" answered.",
                                   burst->effects.answered_by->name), err);
    if (burst->effects.stopped_by) {
        conclude(burst, DECISION_IGNORED,
                 arena_printf(burst->arena, "Rule \"%s\" ended it.",
                              burst->effects.stopped_by->name));
        return 0;
    }
    return by_policy(burst, err);
}

/* --- After the agent -------------------------------------------------------------------------- */

int decide_plan_answer(struct burst *burst, enum agent_outcome outcome,
                       const struct agent_output *output, struct err *err)
{
    const char *reason = output->reason.len > 0 ? str_dup(burst->arena, output->reason) : NULL;

    burst->plan.agent = str_dup(burst->arena, burst->agent);
    trace_step(burst, "answered", outcome == AGENT_ANSWERED ? "answer" : outcome == AGENT_SILENT
               ? "nothing to say" : "later");
    if (outcome == AGENT_ANSWERED)
        return answer(burst, output->text, ORIGIN_AGENT, reason ? reason : "The agent answered.",
                      err);
    if (outcome == AGENT_LATER)
        conclude(burst, DECISION_AUTO_REPLY, reason ? reason
                 : "The agent works on it and answers later.");
    else
        conclude(burst, DECISION_FOLLOW_UP, reason ? reason : "The agent had nothing to say.");
    return 0;
}

void decide_plan_failed(struct burst *burst, const char *what, const struct err *why)
{
    struct plan plan = { .decision_id = burst->plan.decision_id, .rule_id = burst->plan.rule_id,
        .agent_failed = true };

    burst->plan = plan;
    burst->effects = (struct rule_effects){ .priority = -1 };
    conclude(burst, DECISION_HUMAN_TAKEOVER, arena_printf(burst->arena, "%s: %s", what,
                                                          why->detail));
}
