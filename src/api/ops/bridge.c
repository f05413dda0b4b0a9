/* bridge.c - what a bridge calls: a program that speaks for one channel, with the key of a device that is bound to
 * it. It fetches what is to be sent, says what became of it, hands in what came, keeps its session here and says how
 * it is. */
#include "api/find.h"
#include "api/push.h"
#include "api/state.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "core/act.h"
#include "core/bridge.h"
#include "core/device.h"
#include "core/inbox.h"
#include "core/offer.h"

#define WAIT_MAX_S 25
#define KEY_BYTES 39

/* --- Whose channel ------------------------------------------------------------------------------- */

static int device_channel(struct op_call *call, int64_t *channel_id, struct err *err)
{
    struct device device = { .tenant_id = call->tenant_id, .id = call->key.device_id };
    struct db_session *session = call->key.device_id ? db_read(call->hub->db, call->tenant_id, err) : NULL;
    int found;

    *channel_id = 0;
    if (!call->key.device_id)
        return 0;
    if (!session)
        return -1;
    found = device_get(session, call->arena, &device, err);
    db_read_end(session);
    if (found == 1)
        *channel_id = device.channel_id;
    return found < 0 ? -1 : 0;
}

/* The channel that the key's device is bound to: it may name no other. Other keys name one. */
static int choose(struct op_call *call, struct channel *out, struct err *err)
{
    bool named = field_text(&call->in, "channel").data != NULL;
    int64_t bound;
    int found;

    if (device_channel(call, &bound, err) < 0)
        return -1;
    if (named && find_channel(call, "channel", out, err) < 0)
        return -1;
    if (named && bound && out->id != bound) {
        err_set(err, ERR_FORBIDDEN, "This device's key speaks for another channel.");
        return err_hint(err, "Register a device for this one: message-hub devices register NAME --channel CHANNEL");
    }
    if (named)
        return 0;
    found = bound ? channel_load(call->hub->db, call->arena, CHANNEL_ID(call->tenant_id, bound), out, err) : 0;
    if (found == 0) {
        err_field(err, "channel", "This key is bound to no channel, so \"channel\" is needed.");
        return err_hint(err, "Register a device: message-hub devices register NAME --channel CHANNEL");
    }
    return found < 0 ? -1 : 0;
}

/* --- What is to be sent --------------------------------------------------------------------------- */

static void put_job(struct json_writer *out, const struct send_job *job)
{
    json_object_begin(out);
    json_cstr_at(out, "key", job->key);
    json_cstr_at(out, "act", act_words[job->act]);
    json_cstr_at(out, "to", job->to);
    json_cstr_at(out, "conversation", job->conversation);
    json_text_at(out, "text", job->text.data ? job->text : STR(""));
    json_cstr_at(out, "target", job->target);
    json_cstr_at(out, "reply_to", job->reply_to);
    json_int_at(out, "part", job->part);
    json_int_at(out, "parts", job->parts);
    json_key(out, "attachments");
    json_array_begin(out);
    if (job->attachment) {
        json_object_begin(out);
        json_cstr_at(out, "name", job->attachment->name);
        json_cstr_at(out, "type", job->attachment->type);
        json_cstr_at(out, "url", job->attachment->url);
        json_cstr_at(out, "data", sign_base64(job->arena, job->attachment->data.data, job->attachment->data.len));
        json_object_end(out);
    }
    json_array_end(out);
    json_object_end(out);
}

struct fetching {
    struct channel channel;
    struct offer offer;
    bool waited;
};

static enum op_done hand_over(struct op_call *call, struct err *err)
{
    struct fetching *fetching = call->later;
    const struct push_wish wish = { &fetching->channel, (int)field_number(&call->in, "wait", 0) * 1000, hand_over };

    if (offer_take(call->hub, &fetching->offer, err))
        return OP_FAILED;
    if (fetching->offer.count == 0 && wish.timeout_ms > 0 && !fetching->waited) {
        fetching->waited = true;
        return push_wait(call->api->push, call, &wish, err);
    }
    json_object_begin(&call->out);
    json_key(&call->out, "items");
    json_array_begin(&call->out);
    for (size_t i = 0; i < fetching->offer.count; i++)
        put_job(&call->out, &fetching->offer.jobs[i]);
    json_array_end(&call->out);
    json_object_end(&call->out);
    return OP_DONE;
}

static enum op_done outbox(struct op_call *call, struct err *err)
{
    struct fetching *fetching = arena_alloc(call->arena, sizeof *fetching);

    if (choose(call, &fetching->channel, err) < 0)
        return OP_FAILED;
    if (!fetching->channel.driver->pulls || !fetching->channel.driver->pulls(&fetching->channel)) {
        err_set(err, ERR_CONFLICT, "The hub itself sends on the channel \"%s\".", fetching->channel.name);
        err_hint(err, "Bridges are for channels whose kind says \"pulls\".");
        return OP_FAILED;
    }
    fetching->offer = (struct offer){ .arena = call->arena, .channel = &fetching->channel,
        .wanted = (int)field_number(&call->in, "limit", 20) };
    call->later = fetching;
    return hand_over(call, err);
}

/* --- What became of it ---------------------------------------------------------------------------- */

static enum message_state receipt_state(struct str word)
{
    return str_is(word, "sent") ? MESSAGE_SENT : str_is(word, "delivered") ? MESSAGE_DELIVERED
        : str_is(word, "read") ? MESSAGE_READ : MESSAGE_FAILED;
}

struct settling {
    struct op_call *call;
    struct offer_result *results;
    size_t count, settled;
};

static int settle_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct settling *settling = arg;

    settling->settled = 0;
    for (size_t i = 0; i < settling->count; i++) {
        int done = offer_settle(tx, &settling->results[i], NULL, err);

        if (done < 0)
            return -1;
        settling->settled += (size_t)done;
    }
    return 0;
}

static struct channel_event receipt_of(const struct fields *in)
{
    const struct value *at = field_get(in, "at");

    return (struct channel_event){ .kind = CHANNEL_RECEIPT, .key = field_text(in, "key"),
        .external_id = field_text(in, "external_id"), .state = receipt_state(field_text(in, "state")),
        .code = field_text(in, "code"), .hint = field_text(in, "hint"), .provider_ms = at ? at->number : 0 };
}

/* What is to be tried again is the queue's business; all others are receipts like a provider's. */
static size_t sort_receipts(struct op_call *call, const struct channel *channel, struct channel_event *events,
                            struct settling *settling)
{
    const struct value *given = field_get(&call->in, "receipts");
    size_t count = 0;

    for (size_t i = 0; i < given->count; i++) {
        const struct fields *in = given->list[i];

        if (str_is(field_text(in, "state"), "retry"))
            settling->results[settling->count++] = (struct offer_result){ .tenant_id = call->tenant_id,
                .channel_id = channel->id, .at_ms = clock_ms(), .key = field_text(in, "key"),
                .code = field_text(in, "code"), .hint = field_text(in, "hint"), .outcome = SEND_RETRY,
                .retry_after_s = (int)field_number(in, "retry_after", 0) };
        else
            events[count++] = receipt_of(in);
    }
    return count;
}

static void put_counts(struct op_call *call, const struct inbox_write *write, size_t settled)
{
    int64_t counts[4] = { 0 };

    for (size_t i = 0; i < write->count; i++)
        counts[write->results[i].outcome]++;
    json_object_begin(&call->out);
    json_int_at(&call->out, "stored", counts[INBOX_STORED] + (int64_t)settled);
    json_int_at(&call->out, "known", counts[INBOX_DUPLICATE]);
    json_int_at(&call->out, "ignored", counts[INBOX_IGNORED]);
    json_int_at(&call->out, "refused", counts[INBOX_REFUSED]);
    json_key(&call->out, "errors");
    json_array_begin(&call->out);
    for (size_t i = 0; i < write->count; i++) {
        if (write->results[i].outcome != INBOX_REFUSED)
            continue;
        json_object_begin(&call->out);
        json_int_at(&call->out, "index", (int64_t)i);
        json_cstr_at(&call->out, "detail", write->results[i].err.detail);
        json_object_end(&call->out);
    }
    json_array_end(&call->out);
    json_object_end(&call->out);
}

/* Store them like any others, and answer with how many were new. */
static enum op_done accept(struct op_call *call, const struct channel *channel, struct channel_event *events,
                           size_t count, struct err *err)
{
    struct settling *settling = call->later;
    struct inbox_write write = { .tenant_id = call->tenant_id, .channel_id = channel->id,
        .device_id = call->key.device_id, .events = events, .count = count,
        .results = arena_array(call->arena, count + 1, sizeof *write.results) };

    if (count > 0 && inbox_accept(call->hub, call->arena, &write, err) < 0)
        return OP_FAILED;
    put_counts(call, &write, settling ? settling->settled : 0);
    return OP_DONE;
}

static enum op_done receipts(struct op_call *call, struct err *err)
{
    const struct value *given = field_get(&call->in, "receipts");
    struct channel_event *events = arena_array(call->arena, given->count + 1, sizeof *events);
    struct settling settling = { .call = call,
        .results = arena_array(call->arena, given->count + 1, sizeof *settling.results) };
    struct channel channel;
    size_t count;

    if (choose(call, &channel, err) < 0)
        return OP_FAILED;
    count = sort_receipts(call, &channel, events, &settling);
    call->later = &settling;
    if (settling.count > 0 && db_write(call->hub->db, settle_tx, &settling, err))
        return OP_FAILED;
    return accept(call, &channel, events, count, err);
}

/* --- What came ------------------------------------------------------------------------------------- */

static struct channel_event event_of(struct arena *arena, const struct fields *in)
{
    static const enum channel_event_kind kinds[] = { CHANNEL_MESSAGE, CHANNEL_OWN_MESSAGE, CHANNEL_EDIT,
        CHANNEL_DELETE, CHANNEL_REACTION, CHANNEL_MOVED };
    const struct value *kind = field_get(in, "kind"), *sent_at = field_get(in, "sent_at"),
        *aliases = field_get(in, "aliases");
    struct channel_event event = { .kind = kinds[kind ? kind->number : 0],
        .external_id = str_nfc(arena, field_text(in, "id")), .address = str_nfc(arena, field_text(in, "from")),
        .name = str_nfc(arena, field_text(in, "name")), .group = str_nfc(arena, field_text(in, "group")),
        .text = str_nfc(arena, field_text(in, "text")), .type = field_text(in, "type"),
        .reply_to = str_nfc(arena, field_text(in, "reply_to")), .metadata = field_text(in, "metadata"),
        .key = field_text(in, "key"), .provider_ms = sent_at ? sent_at->number : 0,
        .priority = PRIORITY_NORMAL, .is_history = field_flag(in, "history") };

    for (size_t i = 0; aliases && i < aliases->count && i < CHANNEL_ALIASES; i++)
        event.aliases[i] = str_nfc(arena, aliases->texts[i]);
    return event;
}

static enum op_done take_events(struct op_call *call, struct err *err)
{
    const struct value *given = field_get(&call->in, "events");
    struct channel_event *events = arena_array(call->arena, given->count + 1, sizeof *events);
    struct channel channel;

    if (choose(call, &channel, err) < 0)
        return OP_FAILED;
    for (size_t i = 0; i < given->count; i++)
        events[i] = event_of(call->arena, given->list[i]);
    return accept(call, &channel, events, given->count, err);
}

/* --- The table ------------------------------------------------------------------------------------- */

#define CHANNEL { "channel", FIELD_TEXT, 0, "Name or id of the channel; absent: the one that the key's device is " \
  "bound " \
    "to.", 1, LIMIT_NAME_BYTES }
#define KEY(help) { "key", FIELD_TEXT, 0, help, 1, KEY_BYTES, NULL, NULL, NULL, "msg_0123456789abc-0" }

static const struct field outbox_fields[] = {
    CHANNEL,
    { "wait", FIELD_INT, FIELD_QUERY, "Wait so many seconds for something to send.", 0, WAIT_MAX_S, NULL, "0" },
    { "limit", FIELD_INT, FIELD_QUERY, "How many new ones at most.", 1, OFFER_MAX, NULL, "20" },
    { 0 }
};
static const struct field file_shape[] = {
    { "name", FIELD_TEXT, 0, "Its name." }, { "type", FIELD_TEXT, 0, "Its media type." },
    { "url", FIELD_TEXT, FIELD_NULLABLE, "Where it can be fetched for an hour.", 0, 2000 },
    { "data", FIELD_TEXT, 0, "Its bytes in base64.", 0, LIMIT_ANSWER_BYTES }, { 0 }
};
static const struct field job_shape[] = {
    KEY("Ours: say it again with what became of it; the same key is the same message."),
    { "act", FIELD_TEXT, 0, "message, reaction, edit, delete, read or typing.", 0, 20 },
    { "to", FIELD_TEXT, 0, "The contact's address.", 0, LIMIT_ADDRESS_BYTES },
    { "conversation", FIELD_TEXT, FIELD_NULLABLE, "The group's id.", 0, LIMIT_ADDRESS_BYTES },
    { "text", FIELD_TEXT, 0, "The text of this part.", 0, LIMIT_TEXT_BYTES },
    { "target", FIELD_TEXT, FIELD_NULLABLE, "The provider's id of the message acted on.", 0, LIMIT_EXTERNAL_ID_BYTES },
    { "reply_to", FIELD_TEXT, FIELD_NULLABLE, "The provider's id of the message answered.", 0,
      LIMIT_EXTERNAL_ID_BYTES },
    { "part", FIELD_INT, 0, "Which part of the message, from 0.", 0, LIMIT_PARTS_PER_MESSAGE },
    { "parts", FIELD_INT, 0, "Of how many.", 1, LIMIT_PARTS_PER_MESSAGE },
    { "attachments", FIELD_LIST, 0, "The file that this part is.", 0, 1, NULL, NULL, file_shape },
    { 0 }
};
static const struct field outbox_shape[] = {
    { "items", FIELD_LIST, FIELD_REQUIRED, "What to send, each lane's first; with what was handed over before and "
      "is not "
      "settled.", 0, OFFER_MAX, NULL, NULL, job_shape }, { 0 }
};
static const struct field receipt_item[] = {
    KEY("The key it was handed over with; or external_id."),
    { "state", FIELD_ENUM, FIELD_REQUIRED, "What became of it; retry: surely not sent, hand it over again later.", 0, 0,
      "sent|delivered|read|failed|retry" },
    { "external_id", FIELD_TEXT, 0, "The provider's id.", 1, LIMIT_EXTERNAL_ID_BYTES },
    { "code", FIELD_TEXT, 0, "failed, retry: the provider's word; 429 pauses the channel.", 1, 64 },
    { "hint", FIELD_TEXT, 0, "In plain words, and what to do.", 1, LIMIT_HINT_BYTES - 1 },
    { "retry_after", FIELD_INT, 0, "retry: not before so many seconds.", 0, LIMIT_RETRY_AFTER_S },
    { "at", FIELD_TIME, 0, "When it happened.", 0, 0 },
    { 0 }
};
static const struct field receipts_fields[] = {
    { "receipts", FIELD_LIST, FIELD_REQUIRED, "What became of what.", 1, LIMIT_WEBHOOK_EVENTS, NULL, NULL, receipt_item,
      "[{\"key\":\"msg_0123456789abc-0\",\"state\":\"sent\"}]" },
    CHANNEL, { 0 }
};
static const struct field event_item[] = {
    { "kind", FIELD_ENUM, 0, "What it is; own: written by the account's owner elsewhere; moved: `from` is now at "
      "`text`.",
      0, 0, "message|own|edit|delete|reaction|moved", "message" },
    { "id", FIELD_TEXT, FIELD_REQUIRED, "The provider's id of the message.", 1, LIMIT_EXTERNAL_ID_BYTES, NULL,
      NULL, NULL,
      "3EB0C767D26A1D8A4C8E" },
    { "from", FIELD_TEXT, FIELD_PERSONAL, "Who wrote it; own: to whom.", 1, LIMIT_ADDRESS_BYTES },
    { "aliases", FIELD_TEXTS, FIELD_PERSONAL, "Further addresses of the same contact.", 0, CHANNEL_ALIASES },
    { "name", FIELD_TEXT, FIELD_PERSONAL, "The contact's name.", 0, LIMIT_NAME_BYTES },
    { "group", FIELD_TEXT, 0, "The group's id.", 0, LIMIT_ADDRESS_BYTES },
    { "text", FIELD_TEXT, FIELD_PERSONAL, "What it says; of a reaction the emoji, absent to take it back.", 0,
      LIMIT_TEXT_BYTES },
    { "type", FIELD_ENUM, 0, "What kind of message it is.", 0, 0, MESSAGE_TYPES },
    { "reply_to", FIELD_TEXT, 0, "The provider's id of the message answered.", 0, LIMIT_EXTERNAL_ID_BYTES },
    { "sent_at", FIELD_TIME, 0, "The provider's time.", 0, 0 },
    KEY("own: our key, where it is known."),
    { "history", FIELD_BOOL, 0, "An old message: stored, never decided on.", 0, 0, NULL, "false" },
    { "metadata", FIELD_OBJECT, 0, "What the source wants to add.", 0, LIMIT_METADATA_BYTES },
    { 0 }
};
static const struct field events_fields[] = {
    { "events", FIELD_LIST, FIELD_REQUIRED, "What came, oldest first.", 1, LIMIT_WEBHOOK_EVENTS, NULL, NULL, event_item,
      "[{\"id\":\"3EB0C767\",\"from\":\"+15550002\",\"text\":\"hello\"}]" },
    CHANNEL, { 0 }
};
static const struct field error_shape[] = {
    { "index", FIELD_INT, 0, "Which one, from 0.", 0, LIMIT_WEBHOOK_EVENTS },
    { "detail", FIELD_TEXT, 0, "Why it was refused.", 0, LIMIT_DETAIL_BYTES }, { 0 }
};
static const struct field counts_shape[] = {
    { "stored", FIELD_INT, FIELD_REQUIRED, "How many said something new." },
    { "known", FIELD_INT, FIELD_REQUIRED, "How many were known." },
    { "ignored", FIELD_INT, FIELD_REQUIRED, "How many concern nothing here." },
    { "refused", FIELD_INT, FIELD_REQUIRED, "How many were wrong." },
    { "errors", FIELD_LIST, FIELD_REQUIRED, "Why.", 0, LIMIT_WEBHOOK_EVENTS, NULL, NULL, error_shape },
    { 0 }
};

static const struct op ops[] = {
    { .name = "bridge.outbox", .method = HTTP_GET, .path = "/api/v1/bridge/outbox", .scope = SCOPE_SEND, .run = outbox,
      .summary = "Fetch what a bridge is to send, waiting for it.", .fields = outbox_fields, .shape = outbox_shape },
    { .name = "bridge.receipts", .method = HTTP_POST, .path = "/api/v1/bridge/receipts", .scope = SCOPE_RECEIVE,
      .summary = "Say what became of what a bridge sent.", .fields = receipts_fields, .run = receipts,
      .shape = counts_shape, .flags = OP_LARGE },
    { .name = "bridge.events", .method = HTTP_POST, .path = "/api/v1/bridge/events", .scope = SCOPE_RECEIVE,
      .summary = "Hand in what a bridge received.", .fields = events_fields, .run = take_events,
      .shape = counts_shape, .flags = OP_LARGE },
};

const struct op_table ops_bridge = { "bridge", ops, sizeof ops / sizeof *ops };
