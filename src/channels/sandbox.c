/* sandbox.c - a simulated phone inside the hub: nothing leaves the process. What it does to a
 * message is chosen by the channel's settings and, stronger, by words in the text; both are looked
 * up anew each time, so it needs no memory. */
#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"
#include "core/channel.h"

#include <stdio.h>
#include <string.h>

#define SLOW_MS 3000

static const struct field settings[] = {
    { "receipts", FIELD_ENUM, 0, "Which receipt the simulated phone gives for what it was sent.", 0,
      0, "none|delivered|read", "delivered", NULL, "delivered" },
    { "latency_ms", FIELD_INT, 0, "How long each message takes, in milliseconds.", 0, LIMIT_SEND_MS,
      NULL, "0" },
    { "slow", FIELD_BOOL, 0, "Take three seconds longer for each message.", 0, 0, NULL, "false" },
    { "fail_every", FIELD_INT, 0, "Refuse about one message in so many (0: none).", 0, 1000000,
      NULL, "0" },
    { "unknown_every", FIELD_INT, 0, "Leave about one message in so many unanswered (0: none).", 0,
      1000000, NULL, "0" },
    { "duplicate_every", FIELD_INT, 0,
      "About one message in so many (0: none): going out it is sent but its answer is "
      "lost, so that a blind repeat would be a second copy; coming in it is delivered twice.",
      0, 1000000, NULL, "0" },
    { 0 }
};

/* A file of the simulated contact: its bytes, or what the simulated provider will give for a reference. */
static const struct field files[] = {
    { "name", FIELD_TEXT, 0, "What it is called.", 0, LIMIT_NAME_BYTES, NULL, NULL, NULL, "hello.txt" },
    { "type", FIELD_TEXT, 0, "What the phone takes it for." },
    { "data", FIELD_TEXT, 0, "Its bytes in base64.", 0, LIMIT_WEBHOOK_BYTES },
    { "ref", FIELD_TEXT, 0, "Instead: the provider keeps it, and what it holds is this text; #gone and #offline ask "
      "for faults.", 1, LIMIT_URL_BYTES },
    { 0 }
};

/* One request to /hooks/<hook>: what the simulated contact does. */
static const struct field inbound[] = {
    { "from", FIELD_TEXT, 0, "Who writes.", 1, LIMIT_ADDRESS_BYTES, NULL, NULL, NULL, "+15550002" },
    { "to", FIELD_TEXT, 0, "With from_me: whom the phone's owner wrote to.", 1,
      LIMIT_ADDRESS_BYTES },
    { "text", FIELD_TEXT, 0, "What is said.", 0, LIMIT_TEXT_BYTES, NULL, NULL, NULL, "hello" },
    { "name", FIELD_TEXT, 0, "The contact's name as the phone shows it." },
    { "group", FIELD_TEXT, 0, "The group it was said in.", 1, LIMIT_ADDRESS_BYTES },
    { "files", FIELD_LIST, 0, "Files that come with it.", 0, LIMIT_ATTACHMENTS, NULL, NULL, files },
    { "id", FIELD_TEXT, 0,
      "The phone's id of the message: the same id is the same message. Absent: made from the "
      "content and the time.",
      1, LIMIT_EXTERNAL_ID_BYTES },
    { "reply_to", FIELD_TEXT, 0, "The id of the message answered.", 1, LIMIT_EXTERNAL_ID_BYTES },
    { "at", FIELD_TIME, 0, "When it was said, by the phone's clock." },
    { "from_me", FIELD_BOOL, 0, "The phone's owner wrote it on the phone." },
    { "history", FIELD_BOOL, 0, "An old message: stored, never answered." },
    { "automatic", FIELD_BOOL, 0, "Written by a machine: never answered by one." },
    { "receipt", FIELD_ENUM, 0, "The message `id`, sent to the phone, reached this state.", 0, 0,
      "sent|delivered|read|failed" },
    { "edit", FIELD_TEXT, 0, "The message `id` now has this text.", 0, LIMIT_TEXT_BYTES },
    { "delete", FIELD_BOOL, 0, "The message `id` was unsent." },
    { "reaction", FIELD_TEXT, 0,
      "`from` reacts to the message `id` with this emoji; the empty text takes it back." },
    { 0 }
};

/* --- What happens to a message ---------------------------------------------------------------- */

enum fate {
    FATE_SENT,
    FATE_REFUSED,       /* #fail */
    FATE_LATER,         /* #retry: the first try fails, the second goes through */
    FATE_OFFLINE,       /* #offline: every try fails, and the phone is to blame */
    FATE_UNKNOWN,       /* #unknown: nobody will ever know */
    FATE_DUPLICATE,     /* #duplicate: sent, but the answer was lost; a look-up finds it */
    FATE_LOST           /* #lost: not sent, and the answer was lost; a look-up says so */
};

/* Is `word` ("#fail") in the text, not as the beginning of a longer one ("#failure")? */
static bool says(struct str text, const char *word)
{
    size_t length = strlen(word);

    for (size_t at = 0; at + length <= text.len; at++) {
        bool ends = at + length == text.len
            || !((text.data[at + length] | 32) >= 'a' && (text.data[at + length] | 32) <= 'z');

        if (text.data[at] == '#' && ends
            && str_eq_nocase((struct str){ text.data + at, length }, str_c(word)))
            return true;
    }
    return false;
}

/* About one key in `every`, always the same ones. */
static bool chosen(const char *setting, struct str key, int64_t every)
{
    unsigned char hash[SIGN_HASH_BYTES];
    char name[160];
    uint32_t number;

    if (every <= 0)
        return false;
    snprintf(name, sizeof name, "%s/%.*s", setting, (int)(key.len < 100 ? key.len : 100), key.data);
    sign_sha256(str_c(name), hash);
    memcpy(&number, hash, sizeof number);
    return number % (uint64_t)every == 0;
}

static enum fate fate_of(const struct channel *channel, const struct send_job *job)
{
    static const struct {
        const char *word;
        enum fate fate;
    } words[] = {
        { "#fail", FATE_REFUSED },        { "#retry", FATE_LATER },
        { "#offline", FATE_OFFLINE },     { "#unknown", FATE_UNKNOWN },
        { "#duplicate", FATE_DUPLICATE }, { "#lost", FATE_LOST },
    };
    struct str key = str_c(job->key);

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (says(job->text, words[i].word))
            return words[i].fate;
    if (chosen("fail", key, channel_number(channel, "fail_every", 0)))
        return FATE_REFUSED;
    if (chosen("unknown", key, channel_number(channel, "unknown_every", 0)))
        return FATE_UNKNOWN;
    if (chosen("duplicate", key, channel_number(channel, "duplicate_every", 0)))
        return FATE_DUPLICATE;
    return FATE_SENT;
}

static enum send_outcome ends(enum send_outcome outcome, struct send_result *result,
                              const char *code, const char *hint)
{
    result->code = str_c(code);
    result->hint = str_c(hint);
    return outcome;
}

/* Sent: the id, and the receipt that the simulated phone gives at once. */
static enum send_outcome sent(const struct channel *channel, const struct send_job *job,
                              struct send_result *result)
{
    const char *receipts = channel_text(channel, "receipts");

    result->external_id = str_c(arena_printf(job->arena, "sandbox-%s", job->key));
    if (job->attachment) {
        /* what arrived can be told by the id */
        unsigned char hash[SIGN_HASH_BYTES];

        sign_sha256(job->attachment->data.data ? job->attachment->data : STR(""), hash);
        result->external_id = str_c(arena_printf(job->arena, "sandbox-%s-%s", job->key,
                                                 sign_hex(job->arena, hash, 8)));
    }
    if (says(job->text, "#noreceipt"))
        return SEND_DONE;
    if (says(job->text, "#undelivered")) {
        result->settled = MESSAGE_FAILED;
        return ends(SEND_DONE, result, "sandbox_undelivered",
                    "The text asked the simulated phone not to take it.");
    }
    if (says(job->text, "#read") || strcmp(receipts, "read") == 0)
        result->settled = MESSAGE_READ;
    else if (strcmp(receipts, "delivered") == 0)
        result->settled = MESSAGE_DELIVERED;
    return SEND_DONE;
}

/* What is done to a message: nothing comes back but that it was done. */
static enum send_outcome acted(const struct channel *channel, const struct send_job *job,
                               struct send_result *result)
{
    if (job->act == SEND_MESSAGE)
        return sent(channel, job, result);
    if (job->act != SEND_TYPING && (!job->target || !*job->target))
        return ends(SEND_REFUSED, result, "sandbox_no_message",
                    "The simulated phone does not know which message is meant.");
    return SEND_DONE;
}

static enum send_outcome sandbox_send(const struct channel *channel, const struct send_job *job,
                                      struct exchange *exchange, struct send_result *result)
{
    bool slow = channel_flag(channel, "slow") || says(job->text, "#slow");

    (void)exchange;
    result->wait_ms = (int)channel_number(channel, "latency_ms", 0) + (slow ? SLOW_MS : 0);
    if (result->wait_ms >= job->timeout_ms) {
        result->wait_ms = job->timeout_ms;
        return ends(SEND_UNSURE, result, "timeout",
                    "The simulated phone is slower than a send may take.");
    }
    switch (fate_of(channel, job)) {
    case FATE_REFUSED:
        return ends(SEND_REFUSED, result, "sandbox_fail",
                    "The simulated phone was asked to refuse this message.");
    case FATE_LATER:
        if (job->attempt <= 1)
            return ends(SEND_RETRY, result, "sandbox_retry",
                        "The simulated phone was asked to fail the first time.");
        return acted(channel, job, result);
    case FATE_OFFLINE:
        result->channel_fault = true;
        return ends(SEND_RETRY, result, "sandbox_offline",
                    "The simulated phone was asked to be offline.");
    case FATE_UNKNOWN:
        return ends(SEND_UNSURE, result, "sandbox_unknown",
                    "The simulated phone was asked to leave this open.");
    case FATE_DUPLICATE:
    case FATE_LOST:
        return ends(SEND_UNSURE, result, "sandbox_no_answer",
                    "The simulated phone was asked to lose its answer.");
    case FATE_SENT: break;
    }
    return acted(channel, job, result);
}

static enum send_outcome sandbox_lookup(const struct channel *channel, const struct send_job *job,
                                        struct exchange *exchange, struct send_result *result)
{
    (void)exchange;
    switch (fate_of(channel, job)) {
    case FATE_UNKNOWN:
        return ends(SEND_UNSURE, result, "sandbox_unknown",
                    "The simulated phone does not know either.");
    case FATE_REFUSED:
    case FATE_OFFLINE:
    case FATE_LOST:
        return ends(SEND_RETRY, result, "sandbox_not_found",
                    "The simulated phone has no such message.");
    default: return sent(channel, job, result);
    }
}

/* --- What comes in ---------------------------------------------------------------------------- */

static int need(const struct fields *in, const char *name, struct err *err)
{
    if (field_text(in, name).len)
        return 0;
    err_field(err, name, "\"%s\" is required here.", name);
    return err_hint(err,
                    "Say {\"from\": \"+15550002\", \"text\": \"hello\"}, or {\"receipt\": "
                    "\"read\", \"id\": ...}.");
}

/* Without an id, content and time of arrival make one. */
static struct str made_id(struct arena *arena, const struct channel_event *event, int64_t now_ms)
{
    unsigned char hash[SIGN_HASH_BYTES];
    const char *all =
        arena_printf(arena, "%lld\x1f%.*s\x1f%.*s\x1f%.*s", (long long)now_ms,
                     STR_FMT(event->address), STR_FMT(event->group), STR_FMT(event->text));

    sign_sha256(str_c(all), hash);
    return str_c(arena_printf(arena, "sandbox-in-%s", sign_hex(arena, hash, 12)));
}

/* What refers to an earlier message: receipts, edits, deletions, reactions. 1: it was one. */
static int read_reference(const struct fields *in, struct channel_event *event, struct err *err)
{
    struct str reaction = field_text(in, "reaction");

    if (field_text(in, "receipt").data) {
        static const enum message_state states[] = { MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_READ,
                                                     MESSAGE_FAILED };

        event->kind = CHANNEL_RECEIPT;
        event->state = states[field_number(in, "receipt", 0)];
        if (event->state == MESSAGE_FAILED) {
            event->code = STR("sandbox_failed");
            event->hint = STR("The simulated phone says that it failed.");
        }
    } else if (field_text(in, "edit").data) {
        event->kind = CHANNEL_EDIT;
        event->text = field_text(in, "edit");
    } else if (field_flag(in, "delete")) {
        event->kind = CHANNEL_DELETE;
        event->text = (struct str){ 0 };
    } else if (reaction.data) {
        event->kind = CHANNEL_REACTION;
        event->text = reaction.len ? reaction : (struct str){ 0 };
        if (need(in, "from", err) < 0)
            return -1;
    } else {
        return 0;
    }
    return need(in, "id", err) < 0 ? -1 : 1;
}

static int read_event(const struct webhook *webhook, struct arena *arena, const struct fields *in,
                      struct channel_event *event, struct err *err)
{
    const struct value *at = field_get(in, "at");
    bool mine = field_flag(in, "from_me");
    int reference;

    *event = (struct channel_event){
        .kind = mine ? CHANNEL_OWN_MESSAGE : CHANNEL_MESSAGE, .external_id = field_text(in, "id"),
        .address = field_text(in, mine ? "to" : "from"), .name = field_text(in, "name"),
        .group = field_text(in, "group"), .text = field_text(in, "text"), .type = STR("sms"),
        .reply_to = field_text(in, "reply_to"), .provider_ms = at ? at->number : 0,
        .offset_min = at ? at->offset_min : 0, .is_history = field_flag(in, "history"),
        .is_automatic = field_flag(in, "automatic"),
    };
    reference = read_reference(in, event, err);
    if (reference != 0)
        return reference < 0 ? -1 : 0;
    if (need(in, mine ? "to" : "from", err) < 0 || need(in, "text", err) < 0)
        return -1;
    if (!event->external_id.data)
        event->external_id = made_id(arena, event, webhook->now_ms);
    return 0;
}

static int read_files(struct arena *arena, const struct fields *in, struct channel_event *event, struct err *err)
{
    const struct value *given = field_get(in, "files");
    struct channel_attachment *list;

    if (!given || given->count == 0)
        return 0;
    list = arena_array(arena, given->count, sizeof *list);
    for (size_t i = 0; i < given->count; i++) {
        const struct fields *one = given->list[i];
        struct str data = field_text(one, "data");

        list[i] = (struct channel_attachment){ .name = field_text(one, "name"), .type = field_text(one, "type"),
                                               .ref = field_text(one, "ref") };
        if (data.data && !sign_unbase64(arena, data, &list[i].data))
            return err_field(err, "files", "The data of a file is not base64.");
    }
    event->attachments = list;
    event->attachment_count = given->count;
    return 0;
}

/* What the simulated provider keeps of a file is its reference. */
static int sandbox_fetch(const struct channel *channel, const struct channel_attachment *attachment,
                         struct exchange *exchange, struct exchange_reply *reply, struct err *err)
{
    (void)channel;
    (void)exchange;
    if (says(attachment->ref, "#gone"))
        return err_set(err, ERR_NOT_FOUND, "The simulated provider was asked to have lost this file.");
    if (says(attachment->ref, "#offline"))
        return err_set(err, ERR_UNAVAILABLE, "The simulated provider was asked not to answer.");
    *reply = (struct exchange_reply){ .end = EXCHANGE_ANSWERED, .status = 200, .body = attachment->ref };
    return 0;
}

static int sandbox_receive(const struct channel *channel, const struct webhook *webhook,
                           struct events *events, struct webhook_reply *reply, struct err *err)
{
    const struct json *body;
    struct channel_event event;
    struct fields in;
    bool twice;

    if (webhook->request->method != HTTP_POST) {
        err_set(err, ERR_METHOD, "The simulated phone speaks by POST.");
        return err_hint(err, "Post {\"from\": \"+15550002\", \"text\": \"hello\"}.");
    }
    body = json_parse(events->arena, webhook->request->body, err);
    if (!body) {
        /* nothing proves who sent it, so it is refused rather than kept */
        err->code = ERR_INVALID;
        return -1;
    }
    if (field_read_json(events->arena, inbound, body, &in, err) < 0
        || read_event(webhook, events->arena, &in, &event, err) < 0
        || read_files(events->arena, &in, &event, err) < 0)
        return -1;
    twice = says(event.text, "#duplicate")
        || chosen("duplicate", event.external_id, channel_number(channel, "duplicate_every", 0));
    for (int copy = 0; copy <= twice; copy++)
        if (events_add(events, &event, err) < 0)
            return -1;
    reply->content_type = "application/json";
    reply->body = str_c(arena_printf(events->arena, "{\"ok\":true}"));
    return 0;
}

static int sandbox_probe(const struct channel *channel, struct exchange *exchange,
                         struct probe_report *report, struct err *err)
{
    (void)exchange;
    (void)err;
    json_bool_at(report->json, "simulated", true);
    json_cstr_at(report->json, "receipts", channel_text(channel, "receipts"));
    json_int_at(report->json, "latency_ms", channel_number(channel, "latency_ms", 0));
    report->summary =
        STR("The simulated phone is ready: `message-hub sandbox say` speaks for its contact.");
    return 0;
}

const struct channel_driver channel_sandbox = {
    .kind = "sandbox",
    .title = "Sandbox",
    .about = "A simulated phone inside the hub, for trying things out: nothing is really sent. "
             "Words in a text ask for "
             "faults: #fail #retry #offline #unknown #lost #duplicate #slow #noreceipt "
             "#undelivered #read.",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_REPLY | CHANNEL_CAN_RECEIPT | CHANNEL_CAN_REACT
           | CHANNEL_CAN_EDIT | CHANNEL_CAN_DELETE | CHANNEL_CAN_READ | CHANNEL_CAN_TYPING | CHANNEL_CAN_GROUP
           | CHANNEL_SMS | CHANNEL_PHONE_ADDRESS,
    .text_max = 1600,
    .caption_max = 1000,
    .send = sandbox_send,
    .receive = sandbox_receive,
    .fetch = sandbox_fetch,
    .lookup = sandbox_lookup,
    .probe = sandbox_probe,
};
