/* channel.h - THE CONTRACT for channel drivers, and the channels that are configured.
 *
 * A driver is `const struct channel_driver channel_<file name>` in src/channels/<file name>.c:
 * constant data and up to five functions. No state, no thread, no clock, no registration. What
 * lasts between calls is a cursor or a row that core stores; the only way out is the exchange
 * handed in. tests/channels/<kind>/ holds its case files. */
#pragma once

#include "base/err.h"
#include "base/field.h"
#include "base/sign.h"
#include "core/channel_event.h"
#include "core/channel_send.h"
#include "core/message.h"
#include "net/exchange.h"

struct arena;
struct column;
struct db;
struct db_session;
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
    CHANNEL_ANSWERS_OPT_OUT = 2048  /* the provider confirms STOP, START and HELP itself */
};

/* One configured channel as a driver sees it. */
struct channel {
    int64_t id, tenant_id;
    const char *kind, *name, *hook, *region;
    const struct channel_driver *driver;
    struct fields settings;             /* checked against driver->settings, secrets opened */
    int64_t state;                      /* 0 enabled, 1 disabled */
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
};

struct channel_driver {
    const char *kind;               /* the file's name */
    const char *title;
    const char *about;              /* two sentences: what it is, what is needed */
    const struct field *settings;   /* ends with a NULL name */
    unsigned can;
    size_t text_max;                /* longest part */
    struct channel_limits limits;

    /* One part of one message; blocking, on a worker, within job->timeout_ms. NULL: the channel
     * cannot send. */
    enum send_outcome (*send)(const struct channel *channel, const struct send_job *job,
                              struct exchange *exchange, struct send_result *result);

    /* One request below /hooks/<hook>: verify the signature over raw bytes, parse, append events.
     * Pure. -1 with ERR_FORBIDDEN: wrong signature (403, nothing stored); ERR_MALFORMED: signed but
     * not understood (parked); any other error is answered as it is. */
    int (*receive)(const struct channel *channel, const struct webhook *webhook,
                   struct events *events, struct webhook_reply *reply, struct err *err);

    /* Fetch what came after `*cursor` (absent at first) and move it; cursor and events commit
     * together. */
    int (*poll)(const struct channel *channel, struct str *cursor, struct exchange *exchange,
                struct events *events, struct err *err);

    /* Did an unsure send really go out? SEND_DONE (with external_id), SEND_RETRY (surely not),
     * SEND_UNSURE (no answer). */
    enum send_outcome (*lookup)(const struct channel *channel, const struct send_job *job,
                                struct exchange *exchange, struct send_result *result);

    /* `channels test`: does it work, and if not, what is wrong and how is it mended. */
    int (*probe)(const struct channel *channel, struct exchange *exchange,
                 struct probe_report *report, struct err *err);
};

/* All drivers, generated from the files in src/channels; ends with NULL. */
extern const struct channel_driver *const channel_drivers[];
const struct channel_driver *channel_driver_find(struct str kind);

/* The columns of the table `channels`: of struct channel_row (core/channel_row.h). */
extern const struct column channel_columns[];

/* Which channel: by its id, or by name (or public id as text), within a tenant. */
struct channel_ref {
    int64_t tenant_id, id;
    struct str name;
};
#define CHANNEL_ID(tenant, number) ((struct channel_ref){ .tenant_id = (tenant), .id = (number) })
#define CHANNEL_NAME(tenant, text) ((struct channel_ref){ .tenant_id = (tenant), .name = (text) })

/* Load a configured channel into the arena; channel_by_hook looks over all tenants. 1 found, 0 not, -1 failed
 * (ERR_INVALID: the row's kind or settings do not fit this build). Loaded channels are cached per process, for a second
 * at most, and dropped when their row changes here or, by notification, elsewhere. */
int channel_load(struct db *db, struct arena *arena, struct channel_ref ref, struct channel *out, struct err *err);
int channel_by_hook(struct db *db, struct arena *arena, struct str hook, struct channel *out,
                    struct err *err);

/* Install the key that opens secrets (hub->seal_key) and empty the cache. Called once by hub_open,
 * before threads. */
void channel_install(const unsigned char seal_key[SIGN_KEY_BYTES]);

/* Empty the cache: called when the notification channel "channels" speaks (also with "", the safety
 * net). Any thread. */
void channel_forget(void);

/* Tell, inside a write transaction, that a channel's row changes: this process caches nothing until
 * the change must have been committed, and the other nodes are notified. */
void channel_touch(struct db_session *tx);

/* Open a row's sealed secrets: a JSON object in the arena ("{}" for none). */
int channel_unseal(struct arena *arena, int64_t id, struct str sealed, struct str *secrets,
                   struct err *err);
struct str channel_seal(struct arena *arena, int64_t id, struct str secrets);

/* The address in the form that is matched: E.164 for phone channels (short codes and alphanumeric
 * senders stay), lower case for e-mail, else trimmed. In the arena. The one function that
 * normalises (RELIABILITY F27). */
struct str channel_address(struct arena *arena, const struct channel *channel, struct str given);
