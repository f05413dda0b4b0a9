/* key.h - API keys: 256 random bits shown once, stored as HMAC-SHA-256, with scopes, expiry and rotation with overlap. */
#pragma once

#include "core/hub.h"
#include "db/row.h"

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

/* Make a key; `*token` ("mh_" and 43 characters) is shown once and nowhere stored. */
int key_create(struct hub *hub, struct arena *arena, const struct key *wanted, struct key *out, const char **token,
               struct err *err);

/* A second key with the same rights; the old one stays valid for `overlap_s`, then not. */
int key_rotate(struct hub *hub, struct arena *arena, int64_t tenant_id, int64_t id, int overlap_s, struct key *out,
               const char **token, struct err *err);

int key_revoke(struct hub *hub, int64_t tenant_id, int64_t id, struct err *err);    /* 1, 0 unknown, -1 */

/* Who is this? 1 and the key (equal work for unknown and wrong tokens); 0 for unknown, expired, revoked keys and suspended
 * tenants. Cached per process for at most a second, and dropped at once when keys change here. */
int key_check(struct hub *hub, struct str token, struct key *out, struct err *err);
