/* key.h - API keys: 256 random bits shown once, stored as HMAC-SHA-256, with scopes, expiry and rotation with
 * overlap. */
#pragma once

#include "core/hub.h"
#include "core/page.h"
#include "db/row.h"

struct arena;
struct json_writer;

/* What a key may do. The words are those of key_scope_words, in this order. */
enum scope {
    SCOPE_NONE = 0,             /* operations open to everyone (health) */
    SCOPE_READ = 1,             /* read messages, conversations, contacts, events */
    SCOPE_SEND = 2,             /* send, cancel, retry */
    SCOPE_RECEIVE = 4,          /* hand in received messages (devices, programs) */
    SCOPE_MANAGE = 8,           /* channels, rules, devices, contacts, conversations' assignment */
    SCOPE_ADMIN = 16,           /* keys, tenants, audit, egress */
    SCOPE_ALL = 31
};
extern const char *const key_scope_words[];     /* "read", "send", "receive", "manage", "admin", NULL */

enum key_kind { KEY_HUB, KEY_DEVICE, KEY_LINK };

struct key {
    int64_t id, tenant_id, kind, scopes, device_id, replaced_by;
    int64_t created_ms, expires_ms, revoked_ms, last_used_ms;
    struct str name, prefix;
};
extern const struct column key_columns[];

/* A key to be made: drawn before the write, because a transaction may run twice. `token` ("mh_" and 43 characters) is
 * shown once and nowhere stored. */
struct key_draft {
    struct key key;
    unsigned char hash[SIGN_HASH_BYTES];
    const char *token;
};

/* Draw id and token; name, scopes, kind, tenant, device and expiry are `wanted`'s. In the arena. */
int key_draw(struct hub *hub, struct arena *arena, const struct key *wanted, struct key_draft *out, struct err *err);

/* Inside a write transaction; call key_changed after its commit. key_replace gives the draft (of the same tenant)
 * the rights of key `id` and lets the old one end after `overlap_s`; key_stop revokes now; key_stop_device all keys
 * of a device. 1 done, 0 unknown (or revoked, or expired), -1 failed. key_claim turns the one-time link key `id`
 * into the draft: once. */
int key_add(struct db_session *tx, const struct key_draft *draft, struct err *err);
int key_replace(struct db_session *tx, int64_t id, int overlap_s, struct key_draft *draft, struct err *err);
int key_stop(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err);
int key_stop_device(struct db_session *tx, int64_t tenant_id, int64_t device_id, struct err *err);
int key_claim(struct db_session *tx, int64_t id, const struct key_draft *draft, struct err *err);
void key_changed(struct hub *hub);

/* The same as whole transactions. */
int key_create(struct hub *hub, struct arena *arena, const struct key *wanted, struct key_draft *out, struct err *err);
int key_revoke(struct hub *hub, int64_t tenant_id, int64_t id, struct err *err);

/* Read the key that `key->tenant_id` and `id` name: 1 found, 0 not, -1 failed. */
int key_get(struct db_session *session, struct arena *arena, struct key *key, struct err *err);

/* A page of keys, newest first: their number, -1 failed. */
int key_list(struct db_session *session, const struct page *page, struct key **out, struct err *err);

/* Write the members of a key into the current object: the public columns and "scopes" as words. */
void key_json(struct json_writer *writer, const struct key *key);

/* Who is this? 1 and the key (equal work for unknown and wrong tokens; its texts stay absent); 0 for unknown,
 * expired, revoked keys and suspended tenants. Link keys are only good for being claimed. Cached per process for at
 * most RECENT_MS, and dropped at once when keys change here. last_used_ms is written behind, at most once a minute. */
int key_check(struct hub *hub, struct str token, struct key *out, struct err *err);

/* Is the key still good (for streams)? The same answers by its id. */
int key_check_again(struct hub *hub, int64_t id, struct key *out, struct err *err);
