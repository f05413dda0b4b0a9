/* twilio.c - Twilio Programmable Messaging: SMS and MMS, from a number or a Messaging Service; WhatsApp where the
 * sender is "whatsapp:+...". What comes in is in lib/twilio.c. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/form.h"
#include "channels/lib/twilio.h"

#include <stdio.h>
#include <string.h>

#define LIST 50                 /* messages that a look-up looks through */
#define HOPS 3                  /* redirects of a file */

static const struct field settings[] = {
    { "account_sid", FIELD_TEXT, FIELD_REQUIRED, "Account SID of console.twilio.com; begins with AC.", 2, 64, NULL,
      NULL, NULL, "AC00000000000000000000000000000001" },
    { "auth_token", FIELD_TEXT, FIELD_REQUIRED | FIELD_SECRET,
      "Auth token of the account that owns the number: its webhooks are signed with it, and without api_key it sends.",
      1, 200 },
    { "api_key", FIELD_TEXT, 0, "SID of an API key to send with instead of the auth token; begins with SK.", 2, 64 },
    { "api_secret", FIELD_TEXT, FIELD_SECRET, "Secret of api_key.", 1, 200 },
    { "from", FIELD_TEXT, 0,
      "The number that sends: +15551234567, a short code, or whatsapp:+15551234567. Needed without a "
      "messaging_service_sid.",
      1, 80, NULL, NULL, NULL, "+15551234567" },
    { "messaging_service_sid", FIELD_TEXT, 0, "Messaging Service that sends and chooses the number; begins with MG.", 2,
      64 },
    { "validity_s", FIELD_INT, 0, "Twilio gives up on a message it could not hand on after so many seconds.", 1,
      36000 },
    { "smart_encoding", FIELD_BOOL, 0, "Let Twilio put plain characters for typographic ones, to save segments.", 0, 0,
      NULL, "false" },
    { "base_url", FIELD_URL, 0, "Where the API is; only tests and proxies change it.", 0, 0, NULL,
      "https://api.twilio.com" },
    { 0 }
};

/* The names are older than the hub. */
static const struct channel_default defaults[] = {
    { "account_sid", "twilio-account-sid" }, { "auth_token", "twilio-auth-token" },
    { "from", "twilio-phone-number" }, { "messaging_service_sid", "twilio-messaging-service-sid" }, { 0 }
};

static void authorize(struct form *form, const struct channel *channel)
{
    const char *key = channel_text(channel, "api_key"), *secret = channel_text(channel, "api_secret");

    if (key && secret)
        form_basic(form, key, secret);
    else
        form_basic(form, channel_text(channel, "account_sid"), channel_text(channel, "auth_token"));
}

/* A request below the account: "/Messages.json", ".json". */
static void begin(struct form *form, struct arena *arena, const struct channel *channel, const char *path)
{
    const char *account = channel_text(channel, "account_sid");

    account = account ? http_encode(arena, str_c(account)) : "";
    form_begin(form, arena, channel, channel_text(channel, "base_url"),
               arena_printf(arena, "/2010-04-01/Accounts/%s%s", account, path));
    authorize(form, channel);
}

/* --- Sending ---------------------------------------------------------------------------------- */

static enum send_outcome refuse(struct send_result *result, const char *code, const char *hint, bool is_fault)
{
    result->code = str_c(code);
    result->hint = str_c(hint);
    result->channel_fault = is_fault;
    return SEND_REFUSED;
}

/* How far Twilio is with a message that it has. */
static enum send_outcome accepted(const struct json *message, struct send_result *result)
{
    enum message_state state = twilio_state(json_text(json_get(message, "status")));
    int64_t code = json_int(json_get(message, "error_code"), 0);

    result->external_id = json_text(json_get(message, "sid"));
    if (state != MESSAGE_SENT)
        result->settled = state;
    if (state == MESSAGE_FAILED) {
        result->code = code ? json_text(json_get(message, "error_code")) : STR("failed");
        result->hint = code ? str_c(outcome_code_find(twilio_errors, code)->hint) : STR("Twilio could not send it.");
    }
    return SEND_DONE;
}

/* An answer with an error number says that nothing was created, but for those of 500 and above. */
static enum send_outcome declined(const struct send_job *job, const struct exchange_reply *reply,
                                  const struct json *answer, struct send_result *result)
{
    int64_t code = json_int(json_get(answer, "code"), 0);

    if (code <= 0 || reply->status < 400 || reply->status >= 500)
        return outcome_of(job, reply, OUTCOME_PLAIN, result);
    return outcome_by_code(job, twilio_errors, code, reply, result);
}

static void add_message(struct form *form, const struct channel *channel, const struct send_job *job)
{
    const char *from = channel_text(channel, "from"), *service = channel_text(channel, "messaging_service_sid");
    int64_t validity_s = channel_number(channel, "validity_s", 0);

    form_add(form, "To", str_c(twilio_to(channel, job->arena, job->to)));
    if (service)
        form_add(form, "MessagingServiceSid", str_c(service));
    if (from)
        form_add(form, "From", str_c(from));
    if (job->text.len)
        form_add(form, "Body", job->text);
    if (job->attachment)
        form_add(form, "MediaUrl", str_c(job->attachment->url));
    if (channel->public_url)
        form_add(form, "StatusCallback",
                 str_c(arena_printf(job->arena, "%s/hooks/%s/status?mid=%s", channel->public_url, channel->hook,
                                    http_encode(job->arena, str_c(job->key)))));
    if (validity_s)
        form_add(form, "ValidityPeriod", str_c(arena_printf(job->arena, "%lld", (long long)validity_s)));
    if (channel_flag(channel, "smart_encoding"))
        form_add(form, "SmartEncoded", STR("true"));
}

static enum send_outcome twilio_send(const struct channel *channel, const struct send_job *job,
                                     struct exchange *exchange, struct send_result *result)
{
    struct exchange_reply reply;
    const struct json *answer;
    struct form form;

    if (job->act != SEND_MESSAGE)
        return refuse(result, "not_supported", "Text messages know nothing of this.", false);
    if (!channel_text(channel, "from") && !channel_text(channel, "messaging_service_sid"))
        return refuse(result, "no_sender", "Set `from` or `messaging_service_sid` in the channel's settings.", true);
    if (job->attachment && !job->attachment->url)
        return refuse(result, "no_public_url",
                      "Twilio fetches files from the hub, which does not know its public address. Start it with "
                      "--public-url https://...",
                      false);
    begin(&form, job->arena, channel, "/Messages.json");
    add_message(&form, channel, job);
    form_run(&form, exchange, job->timeout_ms, &reply);
    answer = form_answer(&form, &reply);
    if (reply.end != EXCHANGE_ANSWERED || reply.status < 200 || reply.status > 299)
        return declined(job, &reply, answer, result);
    if (json_text(json_get(answer, "sid")).len)
        return accepted(answer, result);
    result->code = STR("no_sid");
    result->hint = STR("The answer does not say whether Twilio has the message. Is base_url Twilio's?");
    result->channel_fault = true;
    return SEND_UNSURE;
}

/* --- Looking up ------------------------------------------------------------------------------- */

/* "Fri, 20 Nov 2026 22:06:40 +0000" as milliseconds; 0: not such a time. */
static int64_t parse_date(struct arena *arena, struct str text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char month[4] = "", zone[8] = "";
    int day, year, hour, minute, second;
    const char *at;
    int64_t ms;

    if (!text.len || text.len > 40
        || sscanf(str_dup(arena, text), "%*3c, %2d %3s %4d %2d:%2d:%2d %7s", &day, month, &year, &hour, &minute,
                  &second, zone)
            != 7
        || strlen(month) != 3 || !(at = strstr(months, month)) || zone[0] == '-'
        || strspn(zone + 1, "0") != strlen(zone + 1))
        return 0;
    at = arena_printf(arena, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, (int)(at - months) / 3 + 1, day, hour, minute,
                      second);
    return clock_parse(str_c(at), &ms, NULL) ? ms : 0;
}

/* What a look-up has seen. */
struct seen {
    const struct json *fits;        /* a message that may be ours */
    size_t count;                   /* of such */
    bool reaches;                   /* the list reaches back to before the try */
};

/* Is it a message like this job's? The list does not show our key, so the text, the contact and the time decide. */
static bool may_be(const struct send_job *job, const struct json *message)
{
    struct str body = json_text(json_get(message, "body")), media = json_text(json_get(message, "num_media"));

    return str_starts(json_text(json_get(message, "direction")), "outbound")
        && str_eq(str_trim(body.data ? body : STR("")), str_trim(job->text.data ? job->text : STR("")))
        && (media.len && !str_is(media, "0")) == (job->attachment != NULL);
}

static void look_through(const struct send_job *job, const struct json *messages, struct seen *seen)
{
    int64_t since_ms = job->since_ms - LIMIT_SIGNATURE_AGE_S * INT64_C(1000);   /* the clocks may differ */
    size_t count = json_count(messages);

    seen->reaches = count < LIST;
    for (size_t i = 0; i < count; i++) {
        const struct json *message = json_item(messages, i);
        int64_t created_ms = parse_date(job->arena, json_text(json_get(message, "date_created")));

        if (created_ms && created_ms < since_ms) {
            seen->reaches = true;
        } else if (may_be(job, message)) {
            seen->fits = message;
            seen->count++;
        }
    }
}

static enum send_outcome says(struct send_result *result, enum send_outcome outcome, const char *code, const char *hint)
{
    result->code = str_c(code);
    result->hint = str_c(hint);
    return outcome;
}

static enum send_outcome twilio_lookup(const struct channel *channel, const struct send_job *job,
                                       struct exchange *exchange, struct send_result *result)
{
    const char *to = http_encode(job->arena, str_c(twilio_to(channel, job->arena, job->to)));
    struct seen seen = { .count = 0 };
    struct exchange_reply reply;
    const struct json *messages;
    struct form form;

    begin(&form, job->arena, channel, arena_printf(job->arena, "/Messages.json?To=%s&PageSize=%d", to, LIST));
    form_run(&form, exchange, job->timeout_ms, &reply);
    messages = json_get(form_answer(&form, &reply), "messages");
    if (reply.end != EXCHANGE_ANSWERED || reply.status < 200 || reply.status > 299)
        return outcome_unknown(job, &reply, result);
    if (json_kind(messages) != JSON_KIND_ARRAY) {
        result->channel_fault = true;
        return says(result, SEND_UNSURE, "no_list", "The answer is no list of messages. Is base_url Twilio's?");
    }
    look_through(job, messages, &seen);
    if (seen.count == 1)
        return accepted(seen.fits, result);
    if (seen.count > 1)
        return says(result, SEND_UNSURE, "ambiguous",
                    "Twilio has several equal messages to this contact. Look at its message log, then resolve this one "
                    "as arrived or retry it.");
    if (!seen.reaches)
        return says(result, SEND_UNSURE, "list_too_short",
                    "More was sent to this contact since than Twilio lists at once. Look at its message log.");
    return says(result, SEND_RETRY, "not_found", "Twilio never got this message.");
}

/* --- Files ------------------------------------------------------------------------------------ */

static bool is_own(const struct channel *channel, struct str url)
{
    const char *base = channel_text(channel, "base_url");
    size_t length = base ? strlen(base) : 0;

    while (length > 0 && base[length - 1] == '/')
        length--;
    return length && url.len > length && memcmp(url.data, base, length) == 0 && url.data[length] == '/';
}

/* The key goes to Twilio's API alone, never to where it redirects. */
static void begin_file(struct form *form, struct arena *arena, const struct channel *channel, struct str url)
{
    form_begin(form, arena, channel, str_dup(arena, url), "");
    form->request.answer_max = LIMIT_MEDIA_BYTES;
    form->request.egress = is_own(channel, url) ? EGRESS_CHANNEL : EGRESS_PUBLIC;
    if (is_own(channel, url))
        authorize(form, channel);
}

/* Why there is no file. */
static int no_file(const struct exchange_reply *reply, struct err *err)
{
    if (reply->end != EXCHANGE_ANSWERED) {
        *err = reply->err;
        return -1;
    }
    if (reply->status == 404 || reply->status == 410)
        return err_set(err, ERR_NOT_FOUND, "Twilio does not have this file any more.");
    err_set(err, ERR_UNAVAILABLE, "Asked for the file, Twilio answered with status %d.", reply->status);
    err->retry_after_s = reply->retry_after_s;
    return err_hint(err, reply->status == 401 || reply->status == 403
                             ? "Copy auth_token again from console.twilio.com into the channel's settings."
                             : "It is tried again by itself.");
}

static int twilio_fetch(const struct channel *channel, const struct channel_attachment *attachment,
                        struct exchange *exchange, struct exchange_reply *reply, struct err *err)
{
    struct str url = attachment->ref;

    for (int hop = 0; hop <= HOPS; hop++) {
        struct str next;
        struct form form;

        if (!is_own(channel, url) && !str_starts(url, "https://"))
            return err_set(err, ERR_NOT_FOUND, "The file's address is neither Twilio's nor https.");
        begin_file(&form, attachment->arena, channel, url);
        form_run(&form, exchange, 0, reply);
        next = exchange_header(reply, "Location");
        if (reply->end == EXCHANGE_ANSWERED && reply->status >= 200 && reply->status < 300)
            return 0;
        if (reply->end != EXCHANGE_ANSWERED || reply->status < 300 || reply->status > 399 || !next.len)
            return no_file(reply, err);
        url = next;
    }
    return err_set(err, ERR_UNAVAILABLE, "The file's address leads from one to the next without an end.");
}

/* --- Probing ---------------------------------------------------------------------------------- */

/* One question of the probe: the answer's JSON, or NULL and the reason in `err`. */
static const struct json *ask(const struct channel *channel, struct exchange *exchange, struct arena *arena,
                              const char *path, struct err *err)
{
    struct exchange_reply reply;
    const struct json *answer;
    struct form form;

    begin(&form, arena, channel, path);
    form_run(&form, exchange, LIMIT_CONNECT_MS * 2, &reply);
    answer = form_answer(&form, &reply);
    if (reply.end != EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "Twilio does not answer: %s", reply.err.detail);
        err_hint(err, "%s", reply.err.hint[0] ? reply.err.hint : "Does this machine reach the internet, and DNS?");
    } else if (reply.status == 401 || reply.status == 403) {
        err_set(err, ERR_UNAVAILABLE, "Twilio refuses the account or its key.");
        err_hint(err, "Copy account_sid and auth_token (or api_key and api_secret) from console.twilio.com.");
    } else if (reply.status == 404) {
        err_set(err, ERR_UNAVAILABLE, "Twilio does not know this account.");
        err_hint(err, "Is account_sid the one of console.twilio.com, and base_url Twilio's?");
    } else if (reply.status < 200 || reply.status > 299 || !answer) {
        err_set(err, ERR_UNAVAILABLE, "Twilio answered with status %d and not with what was asked for.", reply.status);
        err_hint(err, "Is base_url https://api.twilio.com? A proxy may stand between.");
    } else {
        return answer;
    }
    return NULL;
}

/* Where Twilio posts what comes in for the number. */
static void report_number(const struct channel *channel, const struct json *list, struct probe_report *report)
{
    const char *from = channel_text(channel, "from");
    struct str wanted = str_c(arena_printf(report->arena, "%s/hooks/%s", channel->public_url, channel->hook));
    struct str shared = str_c(arena_printf(report->arena, "%s/webhooks/sms", channel->public_url)), url;
    const struct json *number = NULL, *numbers = json_get(list, "incoming_phone_numbers");

    for (size_t i = 0; i < json_count(numbers) && !number; i++)
        if (str_is(json_text(json_get(json_item(numbers, i), "phone_number")), from))
            number = json_item(numbers, i);
    json_bool_at(report->json, "number_found", number != NULL);
    if (!number) {
        report->summary = STR("The account works, but `from` is none of its phone numbers.");
        return;
    }
    url = json_text(json_get(number, "sms_url"));
    url.len = url.len ? strcspn(str_dup(report->arena, url), "#") : 0;      /* time-outs stand behind the # */
    json_bool_at(report->json, "webhook_set", str_eq(url, wanted) || str_eq(url, shared));
    if (!str_eq(url, wanted) && !str_eq(url, shared))
        report->summary =
            str_c(arena_printf(report->arena,
                               "The account works, but nothing comes in: set \"A message comes in\" of the number "
                               "to %.*s (or to the Messaging Service's).",
                               STR_FMT(wanted)));
}

static int twilio_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                        struct err *err)
{
    const struct json *account = ask(channel, exchange, report->arena, ".json", err), *numbers;
    const char *from = channel_text(channel, "from");
    struct str status;

    if (!account)
        return -1;
    status = json_text(json_get(account, "status"));
    json_text_at(report->json, "account_status", status);
    json_bool_at(report->json, "public_url_set", channel->public_url != NULL);
    report->summary = STR("The account works.");
    if (status.len && !str_is(status, "active")) {
        report->summary = str_c(arena_printf(report->arena, "The account is %.*s: look at console.twilio.com.",
                                             (int)str_cut(status, 40, false), status.data));
        return 0;
    }
    if (!from && !channel_text(channel, "messaging_service_sid"))
        report->summary = STR("The account works, but nothing can be sent: set `from` or `messaging_service_sid`.");
    if (!channel->public_url) {
        report->summary = STR("The account works, but the hub has no public-url: no message and no receipt can come "
                              "in. Start it with --public-url https://...");
        return 0;
    }
    if (!from || from[0] != '+')
        return 0;
    numbers = ask(channel, exchange, report->arena,
                  arena_printf(report->arena, "/IncomingPhoneNumbers.json?PhoneNumber=%s",
                               http_encode(report->arena, str_c(from))),
                  err);
    if (!numbers)
        return -1;
    report_number(channel, numbers, report);
    return 0;
}

const struct channel_driver channel_twilio = {
    .kind = "twilio",
    .title = "Twilio",
    .about = "Text messages (SMS, MMS) through a Twilio number or Messaging Service. Needs an account at twilio.com "
             "and a hub that Twilio can reach (--public-url).",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_RECEIPT | CHANNEL_CAN_UTF16 | CHANNEL_SMS
        | CHANNEL_PHONE_ADDRESS | CHANNEL_ANSWERS_OPT_OUT,
    .text_max = 1600,
    .caption_max = 1600,
    .limits = { .per_second = 1 },  /* a long code; short codes and toll-free numbers may more */
    .defaults = defaults,
    .alias = "sms",
    .claims = twilio_claims,
    .send = twilio_send,
    .receive = twilio_receive,
    .lookup = twilio_lookup,
    .fetch = twilio_fetch,
    .probe = twilio_probe,
};
