#include "channels/lib/phone.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"

#include <string.h>

#define ATTACHMENTS_NAMED 20        /* in the metadata */
#define WORD_BYTES 100              /* of an app's own words there */

/* The second in decimal, so that the same text told with and without fraction is one; as written
 * when it is no time. */
static struct str second_of(struct arena *arena, struct str sent)
{
    int64_t ms;

    return clock_parse(sent, &ms, NULL) ? str_c(arena_printf(arena, "%lld", (long long)(ms / 1000)))
                                        : sent;
}

/* An id that two deliveries of one text share, and two texts do not (contracts 6.1: not stricter
 * than the second). */
static struct str text_id(struct arena *arena, const struct phone_text *text)
{
    const struct str parts[] = {
        str_c(text->app), text->device, text->from, text->to, text->id, text->text,
        text->told.data ? text->told : second_of(arena, text->sent),
        text->subject, str_c(arena_printf(arena, "%lld", (long long)text->sim)),
    };
    unsigned char hash[SIGN_HASH_BYTES];
    struct buf all;

    buf_init(&all, LIMIT_WEBHOOK_BYTES + 4096);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        buf_str(&all, parts[i]);
        buf_putc(&all, '\x1f');
    }
    sign_sha256(buf_slice(&all), hash);
    buf_fini(&all);
    return str_c(arena_printf(arena, "%s-%s", text->app, sign_hex(arena, hash, 16)));
}

/* So much of a word that twenty attachments and the rest fit into the metadata. */
static struct str short_word(struct str text)
{
    if (text.len > WORD_BYTES)
        text.len = str_utf8_prefix((struct str){ text.data, WORD_BYTES });
    return text;
}

/* Bytes that a base64 text stands for. */
static int64_t base64_size(struct str text)
{
    size_t letters = text.len;

    while (letters > 0 && text.data[letters - 1] == '=')
        letters--;
    return (int64_t)(letters / 4 * 3 + letters % 4 * 3 / 4);
}

/* What one attachment is called, is and weighs, as far as the app says it; its bytes are not kept. */
static void add_attachment(struct json_writer *writer, struct arena *arena, const struct json *one)
{
    struct str name = json_text(json_get(one, "name"));
    struct str type = json_text(json_get(one, "contentType"));
    struct str bytes = json_text(json_get(one, "data"));

    if (!type.data)
        type = json_text(json_get(one, "content_type"));
    if (!bytes.data)
        bytes = json_text(json_get(one, "content"));
    json_object_begin(writer);
    json_text_at(writer, "name", str_nfc(arena, short_word(name)));
    json_text_at(writer, "type", str_nfc(arena, short_word(type)));
    if (json_kind(json_get(one, "size")) == JSON_KIND_INT)
        json_int_at(writer, "size", json_int(json_get(one, "size"), 0));
    else if (bytes.data)
        json_int_at(writer, "size", base64_size(bytes));
    json_object_end(writer);
}

/* The first ones; of more only how many. */
static void add_attachments(struct json_writer *writer, struct arena *arena,
                            const struct json *attachments)
{
    size_t count = json_count(attachments);

    json_key(writer, "attachments");
    json_array_begin(writer);
    for (size_t i = 0; i < count && i < ATTACHMENTS_NAMED; i++)
        add_attachment(writer, arena, json_item(attachments, i));
    json_array_end(writer);
    if (count > ATTACHMENTS_NAMED)
        json_int_at(writer, "attachments_total", (int64_t)count);
}

static struct str metadata_of(struct arena *arena, const struct phone_text *text)
{
    struct json_writer writer;
    struct str out = { 0 };
    struct buf json;

    buf_init(&json, LIMIT_METADATA_BYTES);
    writer = json_writer(&json);
    json_object_begin(&writer);
    json_cstr_at(&writer, "app", text->app);
    if (text->device.len)
        json_text_at(&writer, "device", str_nfc(arena, short_word(text->device)));
    if (text->to.len)
        json_text_at(&writer, "to", str_nfc(arena, short_word(text->to)));
    if (text->sim)
        json_int_at(&writer, "sim", text->sim);
    if (text->id.len)
        json_text_at(&writer, "app_id", str_nfc(arena, short_word(text->id)));
    if (text->subject.len)
        json_text_at(&writer, "subject", str_nfc(arena, short_word(text->subject)));
    if (text->is_encrypted)
        json_bool_at(&writer, "encrypted", true);
    if (json_count(text->attachments) > 0)
        add_attachments(&writer, arena, text->attachments);
    json_object_end(&writer);
    if (!json.overflow)
        out = (struct str){ arena_copy(arena, json.data, json.len), json.len };
    buf_fini(&json);
    return out;
}

/* The files; whose bytes did not come along shows as lost. */
static void take_files(struct arena *arena, const struct json *given, struct channel_event *event)
{
    struct channel_attachment *files = arena_array(arena, ATTACHMENTS_NAMED, sizeof *files);

    for (size_t i = 0; i < json_count(given) && event->attachment_count < ATTACHMENTS_NAMED; i++) {
        const struct json *one = json_item(given, i);
        struct str type = json_text(json_get(one, "contentType")), data = json_text(json_get(one, "data"));
        struct channel_attachment *file = &files[event->attachment_count];

        if (!data.data)
            data = json_text(json_get(one, "content"));
        *file = (struct channel_attachment){ .name = json_text(json_get(one, "name")),
            .type = type.data ? type : json_text(json_get(one, "content_type")),
            .size = json_int(json_get(one, "size"), 0) };
        if (data.len > 0 && !sign_unbase64(arena, data, &file->data))
            file->data = (struct str){ 0 };
        event->attachment_count++;
    }
    event->attachments = files;
}

/* What is shown of a text without words. */
static struct str shown_text(struct arena *arena, const struct phone_text *text)
{
    size_t count = json_count(text->attachments);

    if (text->text.len)
        return text->text;
    if (text->subject.len)
        return text->subject;
    if (count > 0)
        return str_c(arena_printf(arena, "[%zu attachment%s]", count, count == 1 ? "" : "s"));
    return STR("[empty message]");
}

int phone_add_text(const struct channel *channel, const struct phone_text *text,
                   struct events *events, struct err *err)
{
    int64_t only = channel_number(channel, "receive_sim", 0), ms = 0;
    struct channel_event event = { .kind = CHANNEL_MESSAGE };
    int offset_min = 0;

    if (!str_trim(text->from).len)
        return err_set(err, ERR_MALFORMED, "The text has no sender.");
    if (only && text->sim && text->sim != only)
        return phone_add_nothing(events, err);
    if (clock_parse(text->sent, &ms, &offset_min)) {
        event.provider_ms = ms;
        event.offset_min = offset_min;
    }
    event.external_id = text_id(events->arena, text);
    event.address = text->from;
    event.text = shown_text(events->arena, text);
    event.type = text->type.data ? text->type : STR("sms");
    event.metadata = metadata_of(events->arena, text);
    take_files(events->arena, text->attachments, &event);
    return events_add(events, &event, err);
}

int phone_add_nothing(struct events *events, struct err *err)
{
    return events_add(events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err);
}

/* --- Receipts --------------------------------------------------------------------------------- */

const char *phone_failure_hint(struct str reason)
{
    static const struct {
        const char *word;
        const char *hint;
    } hints[] = {
        { "LIMIT_EXCEEDED",
          "Android's own limit (about 30 texts in 30 minutes) is reached: set a rate limit on the "
          "channel." },
        { "NO_DEFAULT_SMS_APP",
          "The phone does not know which SIM to use: set sim_slot in the channel's settings." },
        { "SIM", "The phone does not have this SIM: check sim_slot in the channel's settings." },
        { "RADIO_OFF", "The phone is in flight mode or its radio is off." },
        { "NO_SERVICE", "The phone has no mobile network." },
        { "NETWORK", "The mobile network refused or lost the text." },
        { "MODEM", "The phone's modem failed." },
        { "RIL_", "The phone's radio failed." },
        { "FDN_CHECK", "The SIM allows fixed numbers only." },
        { "SHORT_CODE",
          "The phone does not allow this short code: allow premium texts for the app." },
        { "NULL_PDU", "The phone could not encode the text." },
        { "INVALID", "The number or the text is not valid for this phone." },
        { "GENERIC_FAILURE",
          "The phone gives no reason; often the SIM has no credit or the number does not exist." },
        { "permission", "The app is not allowed to send texts: grant it the SMS permission." },
        { "SEND_SMS", "The app is not allowed to send texts: grant it the SMS permission." },
        { "TTL", "The phone could not send it before it expired." },
        { "cancelled", "It was cancelled on the phone." },
    };

    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
        if (reason.len && memmem(reason.data, reason.len, hints[i].word, strlen(hints[i].word)))
            return hints[i].hint;
    return "The phone could not send it.";
}

int phone_add_receipt(const struct phone_receipt *receipt, struct events *events, struct err *err)
{
    struct channel_event event = { .kind = CHANNEL_RECEIPT,
                                   .external_id = receipt->id,
                                   .segment = receipt->segment,
                                   .state = receipt->state };
    int offset_min = 0;

    if (!receipt->id.len)
        return err_set(err, ERR_MALFORMED, "The receipt names no message.");
    if (str_starts(receipt->id, "msg_"))
        event.key = receipt->id;        /* our own token is the app's id */
    clock_parse(receipt->at, &event.provider_ms, &offset_min);
    event.offset_min = offset_min;
    if (receipt->segments > 0 && receipt->segments <= LIMIT_SEGMENTS_PER_PART)
        event.segments = receipt->segments;
    if (receipt->state == MESSAGE_FAILED) {
        event.code = receipt->reason.len ? receipt->reason : STR("failed");
        event.hint = str_c(phone_failure_hint(receipt->reason));
    }
    return events_add(events, &event, err);
}

/* --- Requests --------------------------------------------------------------------------------- */

int phone_check_key(const struct channel *channel, const struct webhook *webhook, struct err *err)
{
    struct str given = http_header(webhook->request, "x-api-key");
    const char *key = channel_text(channel, "forwarder_key");

    if (!key) {
        err_set(err, ERR_FORBIDDEN,
                "This channel has no forwarder_key, so it takes nothing from forwarding apps.");
        return err_hint(
            err,
            "Set forwarder_key in the channel's settings, and the same as API key in the app.");
    }
    if (given.data && str_eq_secret(given, str_c(key)))
        return 0;
    err_set(err, ERR_FORBIDDEN, "The x-api-key is missing or is not this channel's forwarder_key.");
    return err_hint(err, "Set the channel's forwarder_key as API key in the app.");
}

const struct json *phone_json(const struct webhook *webhook, struct events *events, struct err *err)
{
    const struct json *body = json_parse_lenient(events->arena, webhook->request->body, err);

    if (body && json_kind(body) != JSON_KIND_OBJECT) {
        err_set(err, ERR_MALFORMED, "The body is not a JSON object.");
        return NULL;
    }
    if (!body && err)
        err->code = ERR_MALFORMED;
    return body;
}
