/* What a mail means: a message, one of our own, or a report about one that we sent (RFC 3464, RFC 5965). */
#include "channels/lib/mail.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"

#include <string.h>
#include <strings.h>

#define PREFIX "mh."
#define SUBJECT_MAX 1000
#define PEOPLE_MAX 20
#define HINT_TEXT 200
#define BLOCKS_MAX 50

/* --- Our own ids ------------------------------------------------------------------------------ */

const char *mail_id_of(struct arena *arena, const struct channel *channel, const char *key)
{
    const char *address = channel_text(channel, "address"), *at = address ? strrchr(address, '@') : NULL;

    return arena_printf(arena, PREFIX "%s@%s", key, at ? at + 1 : "localhost");
}

static size_t key_length(struct str text)
{
    size_t length = 0;

    while (length < text.len && memchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
                                       text.data[length], 64))
        length++;
    return length;
}

struct str mail_key_of(struct str id)
{
    struct str key = { 0 };

    if (!str_starts(id, PREFIX))
        return key;
    key = (struct str){ id.data + strlen(PREFIX), id.len - strlen(PREFIX) };
    key.len = key_length(key);
    if (key.len == 0 || key.len >= sizeof ((struct send_job *)0)->key || strlen(PREFIX) + key.len >= id.len
        || id.data[strlen(PREFIX) + key.len] != '@')
        return (struct str){ 0 };
    return key;
}

/* --- Automatic mail --------------------------------------------------------------------------- */

static bool has_word(struct str text, const char *word)
{
    size_t length = strlen(word);

    for (size_t i = 0; i + length <= text.len; i++)
        if (strncasecmp(text.data + i, word, length) == 0)
            return true;
    return false;
}

/* The part of the address before the @ says that no person reads there. */
static bool is_robot(struct str address)
{
    static const char *const whole[] = { "mailer-daemon", "postmaster", "noreply", "no-reply", "donotreply",
                                         "do-not-reply" };
    static const char *const begins[] = { "bounce", "owner-", "no-reply", "noreply" };
    const char *at = address.len ? memchr(address.data, '@', address.len) : NULL;
    struct str local = { address.data, at ? (size_t)(at - address.data) : address.len };

    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        if (str_eq_nocase(local, str_c(whole[i])))
            return true;
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++)
        if (local.len >= strlen(begins[i]) && strncasecmp(local.data, begins[i], strlen(begins[i])) == 0)
            return true;
    return local.len > 8 && str_eq_nocase((struct str){ local.data + local.len - 8, 8 }, STR("-request"));
}

static bool is_automatic(const struct mime_mail *mail)
{
    static const char *const signs[] = { "List-Id", "List-Unsubscribe", "Feedback-ID", "X-Autoreply", "X-Autorespond",
                                         "X-Loop" };
    struct str submitted = mime_header_of(mail, "Auto-Submitted"), suppress, precedence;

    if (str_is(mime_header_of(mail, "Return-Path"), "<>"))
        return true;
    if (submitted.data && !(submitted.len >= 2 && str_eq_nocase((struct str){ submitted.data, 2 }, STR("no"))))
        return true;
    suppress = mime_header_of(mail, "X-Auto-Response-Suppress");
    if (has_word(suppress, "DR") || has_word(suppress, "AutoReply") || has_word(suppress, "All"))
        return true;
    precedence = mime_header_of(mail, "Precedence");
    if (has_word(precedence, "bulk") || has_word(precedence, "junk") || has_word(precedence, "list")
        || has_word(precedence, "auto_reply"))
        return true;
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (mime_header_of(mail, signs[i]).data)
            return true;
    return is_robot(mail->from.address) || mail->status.data || mail->feedback.data;
}

/* --- Reports ---------------------------------------------------------------------------------- */

static const char *explain(struct str status)
{
    static const struct { const char *begins, *hint; } hints[] = {
        { "5.1.", "There is no such mailbox. Check the address." },
        { "5.2.2", "The mailbox is full." },
        { "5.2.3", "The mail is larger than the mailbox takes." },
        { "5.3.4", "The mail is larger than the server takes." },
        { "5.4.", "The mail could not be delivered to that domain in time." },
        { "5.7.", "The recipient's server refuses mail of this sender. Check SPF, DKIM and the sender's reputation." },
        { "4.", "The server gave up after several tries." },
    };

    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
        if (str_starts(status, hints[i].begins))
            return hints[i].hint;
    return "The mail came back.";
}

/* The next block of header lines; blocks are set apart by empty lines. */
static struct str next_block(struct str *rest)
{
    struct str block = { rest->data, 0 }, line;

    while (str_split(rest, '\n', &line)) {
        if (str_trim(line).len > 0)
            block.len = (size_t)(line.data + line.len - block.data);
        else if (block.len > 0)
            break;
        else if (rest->data)
            block.data = rest->data;
    }
    return block;
}

/* The id of the mail that a report is about, when we wrote it. */
static struct str our_id(struct arena *arena, const struct mime_mail *mail)
{
    struct str id = mail->returned.data ? mime_field(arena, mail->returned, "Message-ID") : (struct str){ 0 };

    id = str_trim(id);
    if (id.len > 2 && id.data[0] == '<')
        id = (struct str){ id.data + 1, id.len - 1 };
    if (id.len > 1 && id.data[id.len - 1] == '>')
        id.len--;
    if (mail_key_of(id).data)
        return id;
    if (mail_key_of(mail->in_reply_to).data)
        return mail->in_reply_to;
    for (size_t i = mail->reference_count; i > 0; i--)
        if (mail_key_of(mail->references[i - 1]).data)
            return mail->references[i - 1];
    return (struct str){ 0 };
}

static int add_ignored(struct events *events, struct err *err)
{
    return events_add(events, &(struct channel_event){ .kind = CHANNEL_IGNORED }, err);
}

/* The first 5xx line in the text for people, for reports whose other part says nothing. */
static struct str reason_in(struct str text)
{
    struct str rest = text, line;

    while (text.len > 0 && str_split(&rest, '\n', &line))
        for (size_t i = 0; i + 4 < line.len; i++)
            if ((line.data[i] == '5' || line.data[i] == '4') && line.data[i + 3] == ' ' && (i == 0
                || line.data[i - 1] == ' ') && line.data[i + 1] >= '0' && line.data[i + 1] <= '9')
                return (struct str){ line.data + i, line.len - i };
    return (struct str){ 0 };
}

/* "5.1.1" anywhere behind a blank: what says more than the 5.0.0 of some programs. */
static struct str status_in(struct str text)
{
    for (size_t i = 1; i + 4 < text.len; i++)
        if (text.data[i - 1] == ' ' && (text.data[i] == '5' || text.data[i] == '4') && text.data[i + 1] == '.'
            && text.data[i + 2] >= '1' && text.data[i + 2] <= '9' && text.data[i + 3] == '.')
            return (struct str){ text.data + i, i + 6 <= text.len && text.data[i + 5] >= '0' && text.data[i + 5] <= '9'
                                                    ? 6 : 5 };
    return (struct str){ 0 };
}

static void set_failure(struct arena *arena, const struct mime_mail *mail, struct str block,
                        struct channel_event *event)
{
    struct str code = mime_field(arena, block, "Status"), said = mime_field(arena, block, "Diagnostic-Code"), better;

    if (!said.len)
        said = reason_in(mail->text);
    better = status_in(said);
    if (better.len && (!code.len || str_starts(code, "5.0.") || str_starts(code, "4.0.")))
        code = better;
    if (said.len > HINT_TEXT)
        said.len = HINT_TEXT;
    event->code = code.len ? (struct str){ code.data, key_length(code) < code.len && code.len > 12 ? 12 : code.len }
                           : STR("bounced");
    event->hint = str_c(arena_printf(arena, "%s%s%.*s", explain(event->code), said.len ? " The server said: " : "",
                                     STR_FMT(said)));
}

/* A delivery report about a mail of ours: a receipt for each recipient that it names. */
static int add_receipts(const struct mime_mail *mail, struct str id, struct events *events, struct err *err)
{
    struct str rest = mail->status;
    size_t before = events->count;

    for (int i = 0; i < BLOCKS_MAX && rest.data; i++) {
        struct str block = next_block(&rest), action = mime_field(events->arena, block, "Action");
        struct channel_event event = { .kind = CHANNEL_RECEIPT, .external_id = id, .key = mail_key_of(id),
            .provider_ms = mail->date_ms };

        if (str_eq_nocase(action, STR("failed"))) {
            event.state = MESSAGE_FAILED;
            set_failure(events->arena, mail, block, &event);
        } else if (str_eq_nocase(action, STR("delivered"))) {
            event.state = MESSAGE_DELIVERED;
        } else {
            continue;           /* delayed, relayed, expanded: nothing that would end it */
        }
        if (events_add(events, &event, err))
            return -1;
    }
    return events->count > before ? 0 : add_ignored(events, err);
}

/* Somebody marked a mail of ours as junk: they want nothing more. */
static int add_complaint(const struct mime_mail *mail, struct events *events, struct err *err)
{
    struct str who = mime_field(events->arena, mail->feedback, "Original-Rcpt-To");

    if (!who.len && mail->returned.data)
        who = mime_field(events->arena, mail->returned, "To");
    if (who.len > 2 && who.data[0] == '<')
        who = (struct str){ who.data + 1, who.len - 2 };
    if (!who.len || !memchr(who.data, '@', who.len) || memchr(who.data, ' ', who.len))
        return add_ignored(events, err);
    return events_add(events, &(struct channel_event){ .kind = CHANNEL_OPTED_OUT, .address = who,
        .code = STR("complaint"), .provider_ms = mail->date_ms }, err);
}

/* --- Messages --------------------------------------------------------------------------------- */

static void put_people(struct json_writer *json, const struct mime_mail *mail, const char *key, bool copies)
{
    size_t said = 0;

    json_key(json, key);
    json_array_begin(json);
    for (size_t i = 0; i < mail->person_count && said < PEOPLE_MAX; i++)
        if (mail->people[i].is_copy == copies) {
            json_put_text(json, mail->people[i].address);
            said++;
        }
    json_array_end(json);
}

static struct str metadata_of(struct arena *arena, const struct mime_mail *mail, const struct mail_source *source)
{
    struct json_writer json;
    struct str out, subject = mail->subject.data ? mail->subject : STR("");
    size_t size = 0, first = mail->reference_count;
    struct buf text;

    if (subject.len > SUBJECT_MAX)
        subject.len = str_utf8_prefix((struct str){ subject.data, SUBJECT_MAX });
    buf_init(&text, LIMIT_METADATA_BYTES * 2);
    json = json_writer(&text);
    json_object_begin(&json);
    json_text_at(&json, "subject", subject);
    put_people(&json, mail, "to", false);
    put_people(&json, mail, "cc", true);
    json_key(&json, "references");
    json_array_begin(&json);
    while (first > 0 && size < LIMIT_METADATA_BYTES / 4)
        size += mail->references[--first].len + 3;
    for (size_t i = first; i < mail->reference_count; i++)
        json_put_text(&json, mail->references[i]);
    json_array_end(&json);
    if (mime_header_of(mail, "Reply-To").len && mime_header_of(mail, "Reply-To").len < SUBJECT_MAX)
        json_text_at(&json, "reply_to", mime_header_of(mail, "Reply-To"));
    if (mail->left_out)
        json_int_at(&json, "files_left_out", (int64_t)mail->left_out);
    if (mail->is_complex)
        json_bool_at(&json, "too_complex", true);
    if (source->size > (int64_t)source->bytes.len)
        json_bool_at(&json, "cut", true);
    json_object_end(&json);
    out = text.len <= LIMIT_METADATA_BYTES ? (struct str){ arena_copy(arena, text.data, text.len), text.len }
                                           : STR("{}");
    buf_fini(&text);
    return out;
}

static struct str text_of(struct arena *arena, const struct mime_mail *mail)
{
    if (mail->text.len > 0)
        return mail->text;
    if (mail->is_complex)
        return STR("[This mail has more parts than are read of one. It is still in the mailbox.]");
    if (mail->subject.len > 0)
        return mail->subject;
    return mail->file_count ? str_c(arena_printf(arena, "[%zu attachment%s]", mail->file_count,
                                                 mail->file_count == 1 ? "" : "s"))
                            : STR("[empty mail]");
}

/* The Message-ID; without one a hash of all of it, so that the same mail stays the same. */
static struct str id_of(struct arena *arena, const struct mime_mail *mail, struct str bytes)
{
    unsigned char hash[SIGN_HASH_BYTES];

    if (mail->message_id.data)
        return mail->message_id;
    sign_sha256(bytes, hash);
    return str_c(arena_printf(arena, "sha256:%s", sign_hex(arena, hash, sizeof hash)));
}

static int add_message(const struct channel *channel, const struct mail_source *source, const struct mime_mail *mail,
                       struct events *events, struct err *err)
{
    /* anybody can write our address into From: only the folder of sent mail says that we wrote it */
    bool own = source->is_sent, self = str_eq_nocase(mail->from.address, str_c(channel_text(channel, "address")));
    const struct mime_address *peer = own ? (mail->person_count ? &mail->people[0] : NULL) : &mail->from;
    struct channel_event event = { .kind = own ? CHANNEL_OWN_MESSAGE : CHANNEL_MESSAGE, .type = STR("email"),
        .external_id = id_of(events->arena, mail, source->bytes), .text = text_of(events->arena, mail),
        .metadata = metadata_of(events->arena, mail, source), .is_history = source->is_history,
        .is_automatic = self || is_automatic(mail), .attachments = mail->files, .attachment_count = mail->file_count,
        .provider_ms = mail->date_ms ? mail->date_ms : source->received_ms, .offset_min = mail->offset_min };

    if (!peer || !peer->address.len)
        return add_ignored(events, err);
    event.address = peer->address;
    event.name = own ? (struct str){ 0 } : peer->name;
    event.reply_to = mail->in_reply_to;
    if (!event.reply_to.data && mail->reference_count > 0)
        event.reply_to = mail->references[mail->reference_count - 1];
    return events_add(events, &event, err);
}

int mail_event_add(const struct channel *channel, const struct mail_source *source, struct events *events,
                   struct err *err)
{
    struct mime_mail mail;
    struct str id;

    if (mime_read(events->arena, source->bytes, &mail, NULL))
        return add_ignored(events, err);        /* no mail at all: it stays in the mailbox */
    id = mail.status.data || mail.feedback.data ? our_id(events->arena, &mail) : (struct str){ 0 };
    if (mail.status.data && id.data && !source->is_sent)
        return add_receipts(&mail, id, events, err);
    if (mail.feedback.data && id.data && !source->is_sent)
        return add_complaint(&mail, events, err);
    if (mail.is_read_report || mail_key_of(mail.message_id).data)
        return add_ignored(events, err);        /* what this hub sent itself comes back no second time */
    return add_message(channel, source, &mail, events, err);
}
