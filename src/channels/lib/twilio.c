#include "channels/lib/twilio.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>"

/* --- Forms ------------------------------------------------------------------------------------ */

static struct str decoded(struct arena *arena, struct str text)
{
    char *out = arena_alloc(arena, text.len + 1);
    size_t length = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte;
        bool escape =
            text.data[i] == '%' && i + 2 < text.len && sign_unhex((struct str){ text.data + i + 1, 2 }, &byte, 1);

        out[length++] = escape ? (char)byte : text.data[i] == '+' ? ' ' : text.data[i];
        i += escape ? 2 : 0;
    }
    return (struct str){ out, length };
}

static int compare(struct str a, struct str b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name_and_value(const void *a, const void *b)
{
    const struct http_header *first = a, *second = b;
    int order = compare(first->name, second->name);

    return order ? order : compare(first->value, second->value);
}

bool twilio_form_read(struct arena *arena, struct str text, struct twilio_form *form)
{
    struct str rest = text, pair, name;

    form->count = 0;
    while (str_split(&rest, '&', &pair)) {
        if (!pair.len)
            continue;
        if (form->count == TWILIO_PAIRS)
            return false;
        str_split(&pair, '=', &name);
        form->pairs[form->count++] = (struct http_header){
            decoded(arena, name),
            decoded(arena, pair.data ? pair : STR("")),
        };
    }
    qsort(form->pairs, form->count, sizeof form->pairs[0], by_name_and_value);
    return true;
}

struct str twilio_form_get(const struct twilio_form *form, const char *name)
{
    for (size_t i = 0; i < form->count; i++)
        if (str_is(form->pairs[i].name, name))
            return form->pairs[i].value;
    return (struct str){ 0 };
}

/* --- Signatures ------------------------------------------------------------------------------- */

static bool matches(struct arena *arena, const char *token, struct str data, struct str given)
{
    unsigned char mac[SIGN_SHA1_BYTES];

    sign_hmac_sha1(str_c(token), data, mac);
    return str_eq_secret(str_c(sign_base64(arena, mac, sizeof mac)), given);
}

/* The URL with its port left out, or with one: its own, or the scheme's. */
static const char *with_port(struct arena *arena, const char *url, bool with)
{
    const char *host = strstr(url, "://"), *end, *port;

    if (!host)
        return url;
    host += 3;
    end = host + strcspn(host, "/?#");
    for (port = end; port > host && port[-1] != ':' && port[-1] != ']'; port--)
        ;
    port = port > host && port[-1] == ':' ? port - 1 : end;
    if (!with)
        return arena_printf(arena, "%.*s%s", (int)(port - url), url, end);
    if (port < end)
        return url;
    return arena_printf(arena, "%.*s:%s%s", (int)(end - url), url, strncmp(url, "https:", 6) ? "80" : "443", end);
}

bool twilio_signed(struct arena *arena, const char *token, const char *url, const struct twilio_form *form,
                   struct str given)
{
    bool right = false;

    if (!token || !*token || !given.len)
        return false;
    for (int with = 0; with < 2; with++) {
        struct buf data;

        buf_init(&data, LIMIT_WEBHOOK_BYTES * 2);
        buf_puts(&data, with_port(arena, url, with));
        for (size_t i = 0; i < form->count; i++) {
            /* of equal pairs one is signed, of several values of a name each with the name */
            if (i > 0 && by_name_and_value(&form->pairs[i - 1], &form->pairs[i]) == 0)
                continue;
            buf_str(&data, form->pairs[i].name);
            buf_str(&data, form->pairs[i].value);
        }
        right |= !data.overflow && matches(arena, token, buf_slice(&data), given);
        buf_fini(&data);
    }
    return right;
}

static const char *url_of(struct arena *arena, const char *public_url, const struct http_request *request)
{
    return arena_printf(arena, "%s%.*s%s%.*s", public_url, STR_FMT(request->raw_path),
                        request->raw_query.data ? "?" : "", STR_FMT(request->raw_query));
}

/* A body that is no form is covered by its hash, which stands in the signed URL. */
static bool hash_fits(struct arena *arena, const struct http_request *request, struct str hash)
{
    unsigned char found[SIGN_HASH_BYTES];

    sign_sha256(request->body, found);
    return str_eq_secret(str_c(sign_hex(arena, found, sizeof found)), hash);
}

static int refuse(struct err *err, const char *what, const char *hint)
{
    err_set(err, ERR_FORBIDDEN, "%s", what);
    return err_hint(err, "%s", hint);
}

/* Check the signature and read the form. */
static int verify(const struct channel *channel, const struct webhook *webhook, struct arena *arena,
                  struct twilio_form *form, struct err *err)
{
    const struct http_request *request = webhook->request;
    struct str given = http_header(request, "X-Twilio-Signature"), hash = http_query(request, "bodySHA256");
    static const struct twilio_form nothing = { .count = 0 };
    bool posts = request->method == HTTP_POST;
    const char *url;

    if (!channel_text(channel, "auth_token") || !channel_text(channel, "account_sid"))
        return refuse(err, "The channel has no auth_token, so no signature can be checked.",
                      "Copy account_sid and auth_token from console.twilio.com into the channel's settings.");
    if (!channel->public_url)
        return refuse(err, "The hub does not know its public address, which Twilio signs.",
                      "Start the hub with --public-url https://..., the beginning of the address set at Twilio.");
    if (!given.data)
        return refuse(err, "The header X-Twilio-Signature is missing.", "Only Twilio may post here.");
    url = url_of(arena, channel->public_url, request);
    if (!twilio_form_read(arena, posts ? request->body : request->raw_query, form))
        return refuse(err, "The form has too many pairs.", "Only Twilio may post here.");
    if (twilio_signed(arena, channel_text(channel, "auth_token"), url, posts && !hash.data ? form : &nothing, given)
        && (!hash.data || hash_fits(arena, request, hash)))
        return 0;
    return refuse(err, "The header X-Twilio-Signature does not fit the request.",
                  "Is auth_token the one of the account that owns the number, and public-url the beginning of the "
                  "address set at Twilio, with its scheme and port?");
}

/* --- Addresses -------------------------------------------------------------------------------- */

static bool is_whatsapp(const struct channel *channel)
{
    const char *from = channel_text(channel, "from");

    return from && strncmp(from, "whatsapp:", 9) == 0;
}

const char *twilio_to(const struct channel *channel, struct arena *arena, const char *address)
{
    if (!is_whatsapp(channel) || strncmp(address, "whatsapp:", 9) == 0)
        return address;
    return arena_printf(arena, "whatsapp:%s", address);
}

struct str twilio_from(const struct channel *channel, struct str address)
{
    if (is_whatsapp(channel) && str_starts(address, "whatsapp:"))
        return (struct str){ address.data + 9, address.len - 9 };
    return address;
}

bool twilio_claims(const struct channel *channel, const struct webhook *webhook)
{
    const struct http_request *request = webhook->request;
    const char *account = channel_text(channel, "account_sid"), *from = channel_text(channel, "from");
    const char *service = channel_text(channel, "messaging_service_sid");
    struct twilio_form form;

    if (!account || !twilio_form_read(request->arena, request->body, &form)
        || !str_is(twilio_form_get(&form, "AccountSid"), account))
        return false;
    return (!from && !service) || (from && str_is(twilio_form_get(&form, "To"), from))
        || (from && str_is(twilio_form_get(&form, "From"), from))
        || (service && str_is(twilio_form_get(&form, "MessagingServiceSid"), service));
}

/* --- Messages --------------------------------------------------------------------------------- */

/* What is worth keeping beside the text. */
static struct str metadata_of(const struct twilio_form *form, struct arena *arena)
{
    static const char *const names[][2] = {
        { "To", "to" }, { "NumSegments", "num_segments" }, { "MessagingServiceSid", "messaging_service_sid" },
        { "OptOutType", "opt_out_type" }, { "FromCity", "from_city" }, { "FromState", "from_state" },
        { "FromCountry", "from_country" }, { "ButtonText", "button_text" }, { "ButtonPayload", "button_payload" },
        { "Latitude", "latitude" }, { "Longitude", "longitude" }, { "Address", "location_address" },
        { "Label", "location_label" }, { "Forwarded", "forwarded" }, { "ReferralSourceId", "referral_source_id" },
    };
    struct json_writer writer;
    struct str out;
    struct buf text;

    buf_init(&text, LIMIT_METADATA_BYTES);
    writer = json_writer(&text);
    json_object_begin(&writer);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct str value = str_nfc(arena, twilio_form_get(form, names[i][0]));

        if (value.len && value.len <= 500)
            json_text_at(&writer, names[i][1], value);
    }
    json_object_end(&writer);
    out = text.overflow ? STR("{}") : (struct str){ arena_copy(arena, text.data, text.len), text.len };
    buf_fini(&text);
    return out;
}

static size_t files_of(const struct twilio_form *form, struct arena *arena, struct channel_attachment *files)
{
    int64_t wanted = 0;
    size_t count = 0;

    str_int(twilio_form_get(form, "NumMedia"), 0, LIMIT_ATTACHMENTS, &wanted);
    for (int64_t i = 0; i < wanted; i++) {
        struct str url = twilio_form_get(form, arena_printf(arena, "MediaUrl%lld", (long long)i));
        struct str type = twilio_form_get(form, arena_printf(arena, "MediaContentType%lld", (long long)i));

        if (url.len)
            files[count++] = (struct channel_attachment){ .ref = url, .type = type };
    }
    return count;
}

static struct str text_of(const struct twilio_form *form, struct arena *arena)
{
    struct str body = twilio_form_get(form, "Body"), label = twilio_form_get(form, "Label");
    struct str latitude = twilio_form_get(form, "Latitude"), longitude = twilio_form_get(form, "Longitude");

    if (body.len || !latitude.len || !longitude.len)
        return body.data ? body : STR("");
    return str_c(arena_printf(arena, "Location: %.*s, %.*s%s%.*s", STR_FMT(latitude), STR_FMT(longitude),
                              label.len ? " " : "", STR_FMT(label)));
}

static int add_consent(const struct channel_event *message, struct str word, struct events *events, struct err *err)
{
    struct channel_event consent = { .address = message->address, .code = word };

    if (!str_is(word, "STOP") && !str_is(word, "START"))
        return 0;
    consent.kind = str_is(word, "STOP") ? CHANNEL_OPTED_OUT : CHANNEL_OPTED_IN;
    return events_add(events, &consent, err);
}

static int add_message(const struct channel *channel, const struct twilio_form *form, struct events *events,
                       struct err *err)
{
    struct channel_attachment *files = arena_array(events->arena, LIMIT_ATTACHMENTS, sizeof *files);
    struct str other = twilio_form_get(form, "ExternalUserId");
    struct channel_event event = {
        .kind = CHANNEL_MESSAGE,
        .external_id = twilio_form_get(form, "MessageSid"),
        .address = twilio_from(channel, twilio_form_get(form, "From")),
        .name = twilio_form_get(form, "ProfileName"),
        .text = text_of(form, events->arena),
        .type = STR("sms"),
        .reply_to = twilio_form_get(form, "OriginalRepliedMessageSid"),
        .metadata = metadata_of(form, events->arena),
        .attachments = files,
    };

    if (!event.external_id.len)
        event.external_id = twilio_form_get(form, "SmsMessageSid");
    if (!event.external_id.len)
        event.external_id = twilio_form_get(form, "SmsSid");
    if (!event.external_id.len || !event.address.len)
        return err_set(err, ERR_MALFORMED, "MessageSid or From is missing.");
    if (!event.reply_to.len)
        event.reply_to = (struct str){ 0 };
    if (other.len && !str_eq(twilio_from(channel, other), event.address))
        event.aliases[0] = twilio_from(channel, other);
    event.attachment_count = files_of(form, events->arena, files);
    if (event.attachment_count)
        event.type = STR("mms");
    if (is_whatsapp(channel))
        event.type = STR("whatsapp");
    if (events_add(events, &event, err) < 0)
        return -1;
    return add_consent(&event, twilio_form_get(form, "OptOutType"), events, err);
}

/* --- Receipts --------------------------------------------------------------------------------- */

enum message_state twilio_state(struct str status)
{
    static const struct {
        const char *word;
        enum message_state state;
    } states[] = {
        { "accepted", MESSAGE_SENT }, { "scheduled", MESSAGE_SENT }, { "queued", MESSAGE_SENT },
        { "sending", MESSAGE_SENT }, { "sent", MESSAGE_SENT }, { "delivered", MESSAGE_DELIVERED },
        { "read", MESSAGE_READ }, { "undelivered", MESSAGE_FAILED }, { "failed", MESSAGE_FAILED },
        { "canceled", MESSAGE_FAILED },
    };

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (str_is(status, states[i].word))
            return states[i].state;
    return 0;
}

static void explain_failure(const struct twilio_form *form, struct str status, struct channel_event *event)
{
    struct str code = twilio_form_get(form, "ErrorCode");
    int64_t number = 0;

    event->code = code.len ? code : status;
    str_int(code, 0, INT32_MAX, &number);
    event->hint = str_is(status, "canceled") ? STR("It was cancelled at Twilio before it was sent.")
        : number ? str_c(outcome_code_find(twilio_errors, number)->hint)
                 : STR("The carrier did not take it and gave no reason.");
}

static int add_status(const struct channel *channel, const struct webhook *webhook, const struct twilio_form *form,
                      struct events *events, struct err *err)
{
    struct str status = twilio_form_get(form, "MessageStatus"), key = http_query(webhook->request, "mid");
    struct channel_event event = {
        .kind = CHANNEL_RECEIPT,
        .external_id = twilio_form_get(form, "MessageSid"),
        .address = twilio_from(channel, twilio_form_get(form, "To")),
        .state = twilio_state(status),
        .key = key.len ? key : (struct str){ 0 },
    };

    if (!event.external_id.len)
        event.external_id = twilio_form_get(form, "SmsSid");
    if (!event.external_id.len)
        return err_set(err, ERR_MALFORMED, "MessageSid is missing.");
    /* before "sent" a call-back tells nothing new but to a send whose answer was lost, and that one has a key */
    if (!event.state || (event.state == MESSAGE_SENT && !str_is(status, "sent") && !event.key.data))
        event = (struct channel_event){ .kind = CHANNEL_IGNORED, .external_id = event.external_id };
    if (event.state == MESSAGE_FAILED)
        explain_failure(form, status, &event);
    if (events_add(events, &event, err) < 0)
        return -1;
    if (!str_is(event.code, "21610") || !event.address.len)
        return 0;
    return events_add(
        events, &(struct channel_event){ .kind = CHANNEL_OPTED_OUT, .address = event.address, .code = event.code },
        err);
}

int twilio_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                   struct webhook_reply *reply, struct err *err)
{
    struct twilio_form *form = arena_alloc(events->arena, sizeof *form);
    struct str account, status;

    if (verify(channel, webhook, events->arena, form, err) < 0)
        return -1;
    account = twilio_form_get(form, "AccountSid");
    if (!account.data)
        return err_set(err, ERR_MALFORMED, "AccountSid is missing: this is no message and no status.");
    if (!str_is(account, channel_text(channel, "account_sid")))
        return err_set(err, ERR_MALFORMED, "The request is for another account (AccountSid) than this channel's.");
    /* all that Twilio hears must be XML: it would send any other text to the contact */
    reply->content_type = "text/xml";
    reply->body = STR(ANSWER);
    status = twilio_form_get(form, "MessageStatus");
    if (status.len && !str_is(status, "received"))
        return add_status(channel, webhook, form, events, err);
    if (str_is(twilio_form_get(form, "SmsStatus"), "receiving"))
        return events_add(events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err);
    return add_message(channel, form, events, err);
}
