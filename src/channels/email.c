/* email.c - a mailbox: mail out by SMTP submission, in by IMAP (contracts 5). What a mail means is in
 * lib/mail_event.c, how the mailbox is read in lib/mailbox.c. */
#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/mail.h"
#include "channels/lib/outcome.h"

#include <string.h>
#include <strings.h>

#define SAID_MAX 200
#define GREYLIST_S 300
#define FULL_S 3600
#define PROBE_MS (LIMIT_CONNECT_MS * 3)

static const struct field settings[] = {
    { "address", FIELD_TEXT, FIELD_REQUIRED, "The mailbox's own address; mail is sent from it.", 3, LIMIT_ADDRESS_BYTES,
      NULL, NULL, NULL, "help@example.com" },
    { "name", FIELD_TEXT, 0, "The name shown beside the address.", 1, 100 },
    { "smtp_url", FIELD_TEXT, 0, "Server that takes mail: smtp://host:587 or smtps://host:465; absent: only receives.",
      8, 300, NULL, NULL, NULL, "smtps://smtp.example.com:465" },
    { "imap_url", FIELD_TEXT, 0, "Server of the mailbox: imaps://host or imap://host; absent: only sends.", 8, 300,
      NULL, NULL, NULL, "imaps://imap.example.com" },
    { "username", FIELD_TEXT, 0, "User name on both servers; absent: the address.", 1, 300 },
    { "password", FIELD_TEXT, FIELD_SECRET, "Password, often an app password made for this.", 1, 500 },
    { "token", FIELD_TEXT, FIELD_SECRET, "OAuth access token instead of the password.", 1, 8000 },
    { "folder", FIELD_TEXT, 0, "The folder that is read.", 1, 200, NULL, "INBOX" },
    { "sent_folder", FIELD_TEXT, 0,
      "The folder of sent mail: what people send elsewhere is shown, and unsure sends are looked up.", 1, 200, NULL,
      NULL, NULL, "Sent" },
    { "subject", FIELD_TEXT, 0, "Subject of mails that begin a conversation without one of their own.", 1, 200, NULL,
      "Message" },
    { "allow_plain", FIELD_BOOL, 0, "Let smtp:// and imap:// stay unencrypted where the server offers nothing else.", 0,
      0, NULL, "false" },
    { "poll_s", FIELD_INT, 0, "Seconds between two looks where the server does not know IDLE.", 10, 3600, NULL, "60" },
    { 0 }
};

/* --- The mail --------------------------------------------------------------------------------- */

static struct str member(struct arena *arena, struct str object, const char *name)
{
    return object.len ? json_text(json_get(json_parse(arena, object, NULL), name)) : (struct str){ 0 };
}

static bool is_reply(struct str subject)
{
    return subject.len >= 3 && strncasecmp(subject.data, "re:", 3) == 0;
}

/* The message's own, else that of the conversation with one "Re:", else the channel's. */
static struct str subject_of(const struct channel *channel, const struct send_job *job)
{
    struct str own = member(job->arena, job->metadata, "subject"), theirs = member(job->arena, job->thread, "subject");

    if (own.len)
        return own;
    if (theirs.len)
        return is_reply(theirs) ? theirs : str_c(arena_printf(job->arena, "Re: %.*s", STR_FMT(theirs)));
    return str_c(channel_text(channel, "subject"));
}

static void set_thread(const struct send_job *job, struct mime_draft *draft, struct str *references)
{
    const struct json *list = job->thread.len
        ? json_get(json_parse(job->arena, job->thread, NULL), "references") : NULL;

    draft->in_reply_to = job->reply_to ? job->reply_to : job->thread_id;
    for (size_t i = 0; i < json_count(list) && draft->reference_count < MIME_REFERENCES; i++)
        references[draft->reference_count++] = json_text(json_item(list, i));
    draft->references = references;
}

static struct str write_mail(const struct channel *channel, const struct send_job *job, const char *id)
{
    struct str references[MIME_REFERENCES];
    struct mime_draft draft = { .from_name = channel_text(channel, "name"), .from = channel_text(channel, "address"),
        .to = job->to, .message_id = id, .subject = subject_of(channel, job), .text = job->text,
        .file = job->attachment, .date_ms = job->now_ms, .is_automatic = job->is_automatic };

    set_thread(job, &draft, references);
    return mime_write(job->arena, &draft);
}

static struct exchange_mail mail_to(const struct channel *channel, const char *to, struct str body, int timeout_ms)
{
    const char *user = channel_text(channel, "username");

    if (!user && (channel_text(channel, "password") || channel_text(channel, "token")))
        user = channel_text(channel, "address");
    return (struct exchange_mail){ .url = channel_text(channel, "smtp_url"), .user = user,
        .password = channel_text(channel, "password"), .bearer = channel_text(channel, "token"),
        .plain = channel_flag(channel, "allow_plain"), .from = channel_text(channel, "address"), .to = to,
        .body = body, .egress = EGRESS_CHANNEL, .tenant_id = channel->tenant_id, .timeout_ms = timeout_ms };
}

/* --- The server's answer ---------------------------------------------------------------------- */

static bool says(struct str text, const char *word)
{
    size_t length = strlen(word);

    for (size_t i = 0; i + length <= text.len; i++)
        if (strncasecmp(text.data + i, word, length) == 0)
            return true;
    return false;
}

/* "5.1.1" at the front of what the server says; it decides more than the three digits. */
static struct str enhanced(struct str text)
{
    size_t dots = 0, at = 0;

    if (text.len < 5 || (text.data[0] != '4' && text.data[0] != '5') || text.data[1] != '.')
        return (struct str){ 0 };
    while (at < text.len && ((text.data[at] >= '0' && text.data[at] <= '9') || text.data[at] == '.'))
        dots += text.data[at++] == '.';
    return dots == 2 && at <= 11 ? (struct str){ text.data, at } : (struct str){ 0 };
}

static const char *explain(int status, struct str code, struct str said)
{
    bool has = code.len >= 5;

    if (status == 530 || status == 534 || status == 535 || status == 538 || status == 454)
        return "The mail server refuses the login. Set username and password, often an app password, or token again.";
    if (has && memcmp(code.data + 1, ".2.2", 4) == 0)
        return "The recipient's mailbox is full.";
    if (has && memcmp(code.data + 1, ".1.8", 4) == 0)
        return "The server does not let this mailbox send from its address.";
    if (has && memcmp(code.data + 1, ".1.", 3) == 0)
        return "There is no such mailbox. Check the address.";
    if (status == 552 || (has && memcmp(code.data + 1, ".3.4", 4) == 0))
        return "The mail is larger than the server takes.";
    if (has && memcmp(code.data + 1, ".7.", 3) == 0)
        return "The server's rules refuse this mail. Check SPF, DKIM and the sender's reputation.";
    if (status == 550 || status == 551 || status == 553)
        return says(said, "relay") ? "The server relays no mail for this login. Set username and password."
                                   : "The server refuses this recipient. Check the address.";
    return status < 500 ? "The mail server asks to try again later. It is tried again by itself."
                        : "The mail server refused this mail.";
}

static enum send_outcome refused(const struct send_job *job, const struct exchange_reply *reply,
                                 struct send_result *result)
{
    struct str said = reply->body, code = enhanced(said);
    int status = reply->status;
    bool login = status == 530 || status == 534 || status == 535 || status == 538;

    if (said.len > SAID_MAX)
        said.len = SAID_MAX;
    result->code = str_c(arena_printf(job->arena, "%d%s%.*s", status, code.len ? " " : "", STR_FMT(code)));
    result->hint = str_c(arena_printf(job->arena, "%s%s%.*s", explain(status, code, reply->body),
                                      said.len ? " It said: " : "", STR_FMT(said)));
    result->channel_fault = login || status == 421 || status == 454;
    if (code.len >= 5 && memcmp(code.data + 1, ".2.2", 4) == 0) {
        result->retry_after_s = FULL_S;
        return SEND_RETRY;
    }
    if (status >= 500)
        return SEND_REFUSED;
    result->throttled = says(reply->body, "too many") || says(reply->body, "rate limit")
        || says(reply->body, "too fast");
    result->retry_after_s = status == 421 ? 0 : GREYLIST_S;
    return SEND_RETRY;
}

/* --- Functions -------------------------------------------------------------------------------- */

static enum send_outcome email_send(const struct channel *channel, const struct send_job *job,
                                    struct exchange *exchange, struct send_result *result)
{
    const char *id = mail_id_of(job->arena, channel, job->key);
    struct exchange_reply reply;
    struct exchange_mail mail;

    if (!channel_text(channel, "smtp_url")) {
        result->code = STR("no_smtp_url");
        result->hint = STR("This channel only receives. Set smtp_url to the server that takes its mail.");
        result->channel_fault = true;
        return SEND_REFUSED;
    }
    mail = mail_to(channel, job->to, write_mail(channel, job, id), job->timeout_ms);
    exchange_mail_run(exchange, job->arena, &mail, &reply);
    if (reply.end == EXCHANGE_ANSWERED && reply.status >= 200 && reply.status < 300) {
        result->external_id = str_c(id);
        return SEND_DONE;
    }
    if (reply.end == EXCHANGE_ANSWERED)
        return refused(job, &reply, result);
    if (reply.end == EXCHANGE_NOT_SENT && (reply.err.code == ERR_INVALID || reply.err.code == ERR_TOO_LARGE)) {
        result->code = STR("not_a_mail");
        result->hint = str_c(arena_printf(job->arena, "%s %s", reply.err.detail, reply.err.hint));
        return SEND_REFUSED;
    }
    return outcome_of(job, &reply, OUTCOME_PLAIN, result);
}

static enum send_outcome email_lookup(const struct channel *channel, const struct send_job *job,
                                      struct exchange *exchange, struct send_result *result)
{
    const char *id = mail_id_of(job->arena, channel, job->key);
    struct err err = { 0 };
    int found = mailbox_find(channel, id, exchange, job->arena, &err);

    if (found == 1) {
        result->external_id = str_c(id);
        return SEND_DONE;
    }
    result->code = str_c(found == 0 ? "not_in_sent" : "not_looked_up");
    result->hint = found == 0
        ? STR("The mail is not in the folder of sent mail. Not every server puts it there.")
        : str_c(arena_printf(job->arena, "%s%s%s", err.detail, err.hint[0] ? " " : "", err.hint));
    result->channel_fault = found < 0 && err.code != ERR_NOT_FOUND;
    return SEND_UNSURE;
}

static int probe_smtp(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                      struct err *err)
{
    struct exchange_mail mail = mail_to(channel, NULL, (struct str){ 0 }, PROBE_MS);
    struct exchange_reply reply;

    exchange_mail_run(exchange, report->arena, &mail, &reply);
    if (reply.end == EXCHANGE_ANSWERED && reply.status >= 200 && reply.status < 300)
        return 0;
    if (reply.end == EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "The server of smtp_url answered %d.", reply.status);
        return err_hint(err, "%s", explain(reply.status, enhanced(reply.body), reply.body));
    }
    err_set(err, ERR_UNAVAILABLE, "The server of smtp_url: %s", reply.err.detail);
    return err_hint(err, "%s", reply.err.hint[0] ? reply.err.hint : "Check smtp_url: its host, its port, its scheme.");
}

static int email_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                       struct err *err)
{
    bool sends = channel_text(channel, "smtp_url") != NULL, receives = channel_text(channel, "imap_url") != NULL;

    json_bool_at(report->json, "can_send", sends);
    json_bool_at(report->json, "can_receive", receives);
    if (sends && probe_smtp(channel, exchange, report, err))
        return -1;
    if (receives && mailbox_probe(channel, exchange, report, err)) {
        if (!err->hint[0])
            err_hint(err, "Check imap_url: its host, its port, its scheme.");
        return -1;
    }
    report->summary = sends && receives ? STR("Both mail servers answer and take the login.")
        : sends                         ? STR("The mail server answers, takes the login; no imap_url: it only sends.")
        : receives                      ? STR("The mailbox can be read; no smtp_url: the channel only receives.")
                                        : STR("Neither smtp_url nor imap_url is set: the channel does nothing.");
    return 0;
}

const struct channel_driver channel_email = {
    .kind = "email",
    .title = "Email",
    .about = "A mailbox at any provider: sends by SMTP, receives by IMAP. Needs the two servers and a password, often "
             "an app password.",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_REPLY | CHANNEL_CAN_RECEIPT | CHANNEL_CAN_THREAD,
    .text_max = 200000,
    .caption_max = 200000,
    .limits = { .per_second = 2, .per_hour = 200, .per_day = 1500 },
    .send = email_send,
    .lookup = email_lookup,
    .poll = mailbox_poll,
    .probe = email_probe,
};
