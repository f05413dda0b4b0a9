/* mail.h - what the email driver is made of: the mailbox it reads (mailbox.c), what its mails mean (mail_event.c). */
#pragma once

#include "channels/lib/mime.h"

struct stream;

/* Our Message-IDs are "mh.<key>@<domain of the channel's address>": a returned one names the job's key. */
const char *mail_id_of(struct arena *arena, const struct channel *channel, const char *key);

/* The key in an id of that form, the absent slice for another's. */
struct str mail_key_of(struct str id);

/* Where a mail was found. */
struct mail_source {
    bool is_sent;               /* the folder of sent mail: what a person wrote elsewhere */
    bool is_history;
    int64_t received_ms;        /* as the mail server says */
    int64_t size;               /* on the server; more than `bytes` when it was cut */
    struct str bytes;
};

/* Append what one mail means: a message, our own, receipts of a report, or CHANNEL_IGNORED. */
int mail_event_add(const struct channel *channel, const struct mail_source *source, struct events *events,
                   struct err *err);

/* The driver's poll(). The cursor is text: since when, newest seen, fence of history, and for both folders UIDVALIDITY
 * and the last UID. */
int mailbox_poll(const struct channel *channel, struct poll *poll, struct exchange *exchange, struct events *events,
                 struct err *err);

/* Is a mail with this Message-ID in the folder of sent mail? 1 yes, 0 no, -1 nobody knows, with err. */
int mailbox_find(const struct channel *channel, const char *message_id, struct exchange *exchange,
                 struct arena *arena, struct err *err);

/* Log in, open the folders, report what is there. */
int mailbox_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                  struct err *err);
