/* channel.h - the channels that are configured, and the list of the drivers (core/channel_driver.h). */
#pragma once

#include "base/err.h"
#include "base/sign.h"
#include "core/channel_driver.h"

struct arena;
struct column;
struct db;
struct db_session;

/* All drivers, generated from the files in src/channels; ends with NULL. */
extern const struct channel_driver *const channel_drivers[];
const struct channel_driver *channel_driver_find(struct str kind);

/* Can anything go out: sent by the hub, or fetched by the far side? NULL: no. */
bool channel_sends(const struct channel_driver *driver);

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

/* Install how the hub is reached from outside (channel->public_url; NULL: unknown). Called once by hub_open, before
 * threads. */
void channel_publish(const char *public_url);

/* Call `take` with each enabled channel of a kind, of all tenants, oldest first, at most LIMIT_ALIAS_CHANNELS, until it
 * returns other than 0. Returns that, or -1 with err; channels whose settings do not fit are passed over. */
struct channel_walk {
    struct arena *arena;
    const char *kind;
    int (*take)(void *arg, const struct channel *channel, struct err *err);
    void *arg;
};
int channel_each(struct db *db, const struct channel_walk *walk, struct err *err);

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
