/* imessage.h - one client for servers that speak BlueBubbles' HTTP API: BlueBubbles itself and Photon. They differ
 * in how a request proves who it is from; which way a channel takes follows from its settings: one with `password`
 * puts it into the query, one with `api_key` into the header X-API-Key. */
#pragma once

#include "channels/lib/form.h"
#include "channels/lib/outcome.h"

#define IMESSAGE_KEY_PREFIX "hub-"          /* before a job's key, as tempGuid */
#define IMESSAGE_TEXT_MS (200 * 1000)       /* the server waits up to 190 s for a text to show up */
#define IMESSAGE_FILE_MS (1350 * 1000)      /* ... and up to 22 minutes for a file */
#define IMESSAGE_ASK_MS 30000               /* a question that changes nothing */
#define IMESSAGE_ANSWER_BYTES (16 * 1024 * 1024)
#define IMESSAGE_OVERLAP_MS 60000           /* how far a catch-up query looks back before its cursor */

struct json;

/* "<service>;<- or +>;<identifier>". Services change when a Mac is upgraded; identifiers do not. */
struct imessage_chat {
    struct str service, identifier;
    bool is_group;
};

/* Split a chat's guid at its first two semicolons. False: it is none. */
bool imessage_chat_read(struct str guid, struct imessage_chat *out);

/* A setting, or NULL where it is absent or this kind of channel does not have it. */
const char *imessage_setting(const struct channel *channel, const char *name);

/* Does the server end a typing sign when it is asked to? BlueBubbles starts it again. */
bool imessage_ends_typing(const struct channel *channel);

/* Begin a request to "/api/v1" + `path` (with or without a query), with what proves who asks. */
void imessage_begin(struct form *form, struct arena *arena, const struct channel *channel, const char *path);

/* Run a begun request that only asks, and return the answer's `data`. NULL with err: ERR_NOT_FOUND for a 404 of
 * the server itself, else ERR_UNAVAILABLE with what is wrong and how it is mended. */
const struct json *imessage_ask(struct form *form, struct exchange *exchange, struct err *err);

/* The body of a message/query; what is 0 is left out. */
struct imessage_query {
    int64_t after_ms, before_ms;
    int limit, offset;
    bool newest_first;
    struct str reactions_to;            /* only tapbacks on this message */
};
void imessage_query_begin(struct form *form, struct arena *arena, const struct channel *channel,
                          const struct imessage_query *query);

/* What went wrong in the server's words: error.message, error.error or message. */
struct str imessage_detail(const struct json *answer);

/* Are two texts the same but for white space and object marks (U+FFFC)? */
bool imessage_same_text(struct arena *arena, struct str a, struct str b);

/* What Apple's error numbers mean. */
extern const struct outcome_code imessage_codes[];

/* The emoji of a tapback's word ("love"), NULL when it has none; and the word of an emoji, NULL for others. */
const char *imessage_emoji(struct str word);
const char *imessage_tapback(struct str emoji);

/* Events of one message object. */
enum imessage_source { IMESSAGE_NEW, IMESSAGE_UPDATED, IMESSAGE_ERROR, IMESSAGE_QUERIED };
struct imessage_seen {
    const struct channel *channel;
    struct events *events;
    int64_t now_ms;
    enum imessage_source source;
    bool updates_only;                  /* the message itself was seen before */
    bool as_it_is;                      /* its files will not come any more */
};

/* Append what a message object says. -1 with ERR_MALFORMED: it is none. What is not to be stored adds
 * CHANNEL_IGNORED to a webhook's events, nothing to a query's. */
int imessage_events(const struct imessage_seen *seen, const struct json *data, struct err *err);

/* Did the server tell of the message before its files were there? */
bool imessage_is_incomplete(const struct json *data);

/* The functions of the drivers. */
enum send_outcome imessage_send(const struct channel *channel, const struct send_job *job, struct exchange *exchange,
                                struct send_result *result);
enum send_outcome imessage_lookup(const struct channel *channel, const struct send_job *job, struct exchange *exchange,
                                  struct send_result *result);
int imessage_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                     struct webhook_reply *reply, struct err *err);
int imessage_poll(const struct channel *channel, struct poll *poll, struct exchange *exchange, struct events *events,
                  struct err *err);
int imessage_fetch(const struct channel *channel, const struct channel_attachment *attachment,
                   struct exchange *exchange, struct exchange_reply *reply, struct err *err);
int imessage_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                   struct err *err);

/* What send() is made of; shared by the files that make it up. */
struct imessage_call {
    const struct channel *channel;
    const struct send_job *job;
    struct exchange *exchange;
    struct send_result *result;
};

/* Judge the answer to a request that may have sent something. */
enum send_outcome imessage_judge(const struct imessage_call *call, const struct exchange_reply *reply,
                                 const struct json *answer);

/* The chat that the job is for, looked up under every service. SEND_DONE: `guid` is it, or NULL when a contact has
 * none yet; any other outcome: nothing was sent, `result` says why. A group that is not there is refused. */
enum send_outcome imessage_find_chat(const struct imessage_call *call, const char **guid);

/* Has the server's private API what it needs? SEND_DONE: `*has` says so. */
enum send_outcome imessage_private_api(const struct imessage_call *call, bool *has);

/* Every act but SEND_MESSAGE. */
enum send_outcome imessage_act(const struct imessage_call *call);

/* What every driver over this client is and does. */
#define IMESSAGE_DRIVER \
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_REPLY | CHANNEL_CAN_REACT | CHANNEL_CAN_EDIT \
        | CHANNEL_CAN_RECEIPT | CHANNEL_CAN_DELETE | CHANNEL_CAN_READ | CHANNEL_CAN_TYPING | CHANNEL_CAN_GROUP \
        | CHANNEL_PHONE_ADDRESS, \
    .text_max = 20000, \
    /* Apple publishes none and blocks accounts: what vendors of lines hold to */ \
    .limits = { .per_hour = 50, .per_day = 500, .spacing_ms = 1000, .new_per_day = 40, .warmup_days = 14 }, \
    .send_ms = IMESSAGE_FILE_MS + IMESSAGE_ASK_MS, \
    .parallel = 1, \
    .send = imessage_send, \
    .receive = imessage_receive, \
    .poll = imessage_poll, \
    .fetch = imessage_fetch, \
    .lookup = imessage_lookup, \
    .probe = imessage_probe
