/* channel_driver.h - THE CONTRACT for channel drivers.
 *
 * A driver is `const struct channel_driver channel_<file name>` in src/channels/<file name>.c: constant data and
 * functions. No state, no thread, no clock, no registration. What lasts between calls is a cursor or a row that core
 * stores; the only way out is the exchange handed in. tests/channels/<kind>/ holds its case files. */
#pragma once

#include "base/err.h"
#include "base/field.h"
#include "base/sign.h"
#include "core/channel_event.h"
#include "core/channel_send.h"
#include "core/message.h"
#include "net/exchange.h"

struct arena;
struct json_writer;

enum {
    CHANNEL_CAN_TEXT = 1, CHANNEL_CAN_MEDIA = 2, CHANNEL_CAN_REPLY = 4, CHANNEL_CAN_REACT = 8,
    CHANNEL_CAN_EDIT = 16,
    CHANNEL_CAN_RECEIPT = 32,       /* receipts come back */
    CHANNEL_CAN_REPEAT = 64,        /* the provider refuses a repeat of our message key */
    CHANNEL_CAN_UTF16 = 128,        /* text_max counts UTF-16 units instead of code points */
    CHANNEL_SMS = 256,              /* GSM-7 segments are counted; opt-out words are honoured */
    CHANNEL_PHONE_ADDRESS = 512,    /* addresses become E.164 with the channel's region */
    CHANNEL_OPT_OUT = 1024,         /* opt-out words are honoured without being SMS */
    CHANNEL_ANSWERS_OPT_OUT = 2048, /* the provider confirms STOP, START and HELP itself */
    CHANNEL_CAN_DELETE = 4096,      /* unsend */
    CHANNEL_CAN_READ = 8192,        /* tell the peer what was read */
    CHANNEL_CAN_TYPING = 16384,
    CHANNEL_CAN_GROUP = 32768,      /* people may write into groups */
    CHANNEL_CAN_THREAD = 65536      /* send() wants to know what it answers: job->thread */
};

/* One configured channel as a driver sees it. */
struct channel {
    int64_t id, tenant_id;
    const char *kind, *name, *hook, *region;
    const struct channel_driver *driver;
    struct fields settings;             /* checked against driver->settings, secrets opened */
    int64_t state;                      /* 0 enabled, 1 disabled */
    const char *public_url;             /* how the hub is reached from outside, without a slash at its end; NULL: not
                                         * set, so nothing can be called back */
};

/* A setting's text (NULL when absent), number, flag. Unknown names assert. */
const char *channel_text(const struct channel *channel, const char *name);
int64_t channel_number(const struct channel *channel, const char *name, int64_t fallback);
bool channel_flag(const struct channel *channel, const char *name);

struct probe_report {
    struct arena *arena;
    struct json_writer *json;       /* inside an object: add facts */
    struct str summary;             /* one sentence */
};

struct channel_limits {             /* defaults; 0: none. A channel's own columns override. */
    int per_second, per_hour, per_day, per_contact_hour;
    int spacing_ms;                 /* least time between two sends to one contact */
    int new_per_day;                /* contacts written to first, who never wrote; grows to this over warmup_days */
    int warmup_days;                /* of a channel's life; per_day grows with it as well */
};

/* A setting that is taken from the hub's configuration, and so from an environment variable: see `defaults`. */
struct channel_default {
    const char *setting, *config;
};

/* One round of poll(). */
struct poll {
    struct str cursor;              /* in: as the last round left it, absent at first; out: where it stands now */
    int64_t now_ms;
    bool is_start;                  /* the first round since the hub started or failed: look for what was missed */
    int timeout_ms;                 /* the longest that this round may take: long polls wait so long */
    int wait_ms;                    /* out: until the next round; 0 at once (long polls) */
};

struct channel_driver {
    const char *kind;               /* the file's name */
    const char *title;
    const char *about;              /* two sentences: what it is, what is needed */
    const struct field *settings;   /* ends with a NULL name */
    unsigned can;
    size_t text_max;                /* longest part */
    size_t caption_max;             /* of a text that goes with a file; 0: text and files go apart */
    struct channel_limits limits;
    int send_ms;                    /* longest time of one send; 0: LIMIT_SEND_MS, at most LIMIT_SEND_LONG_MS */
    int parallel;                   /* most sends at once for one channel in one hub; 0: no limit of its own */

    /* Where the configuration has all of these that are required settings, the first tenant has a channel named like
     * the kind, with them as its settings; ends with a NULL setting. NULL: never. */
    const struct channel_default *defaults;

    /* The last part of a fixed older path, "sms" for POST /webhooks/sms, and whether a request there, which nothing
     * has proven yet, says that it is for this channel. Of several that claim it, the first whose receive() does not
     * refuse the signature gets it (its webhook->path is ""). NULL: no such path. */
    const char *alias;
    bool (*claims)(const struct channel *channel, const struct webhook *webhook);

    /* One part of one message, or one act on one (job->act); blocking, on a worker, within job->timeout_ms. NULL: the
     * channel cannot send. */
    enum send_outcome (*send)(const struct channel *channel, const struct send_job *job,
                              struct exchange *exchange, struct send_result *result);

    /* One request below /hooks/<hook>: verify the signature over raw bytes, parse, append events.
     * Pure. -1 with ERR_FORBIDDEN: wrong signature (403, nothing stored); ERR_MALFORMED: signed but
     * not understood (parked); any other error is answered as it is. */
    int (*receive)(const struct channel *channel, const struct webhook *webhook,
                   struct events *events, struct webhook_reply *reply, struct err *err);

    /* Fetch what came after `poll->cursor` and move it; cursor and events commit together. Blocking, on a thread of the
     * channel's own. A channel whose settings say that it is not polled sets a long wait_ms. */
    int (*poll)(const struct channel *channel, struct poll *poll, struct exchange *exchange,
                struct events *events, struct err *err);

    /* Get the bytes of an attachment that came with a `ref`, at most LIMIT_MEDIA_BYTES: the whole answer in `reply`.
     * NULL: refs are public URLs. -1 with ERR_NOT_FOUND: gone for ever; any other error is tried again. */
    int (*fetch)(const struct channel *channel, const struct channel_attachment *attachment,
                 struct exchange *exchange, struct exchange_reply *reply, struct err *err);

    /* Where the far side fetches what is to be sent, instead of send() being called: does this channel work like that?
     * NULL: never. */
    bool (*pulls)(const struct channel *channel);

    /* Render the claimed `jobs` for whoever asked (the reply of receive() had `offers` set). What became of each comes
     * back as CHANNEL_RECEIPT with its key; until then it is offered again. */
    int (*offer)(const struct channel *channel, const struct send_job *jobs, size_t count,
                 struct webhook_reply *reply, struct err *err);

    /* Did an unsure send really go out? SEND_DONE (with external_id), SEND_RETRY (surely not),
     * SEND_UNSURE (no answer). */
    enum send_outcome (*lookup)(const struct channel *channel, const struct send_job *job,
                                struct exchange *exchange, struct send_result *result);

    /* `channels test`: does it work, and if not, what is wrong and how is it mended. */
    int (*probe)(const struct channel *channel, struct exchange *exchange,
                 struct probe_report *report, struct err *err);
};
