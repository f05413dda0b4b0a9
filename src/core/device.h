/* device.h - devices: apps and phones registered with the hub. Each has keys of its own and a place up to which it
 * has synced. */
#pragma once

#include "core/hub.h"
#include "core/page.h"
#include "db/row.h"

enum device_state { DEVICE_ACTIVE, DEVICE_REVOKED };
extern const char *const device_state_words[];      /* "active", "revoked", NULL */

struct device {
    int64_t id, tenant_id, channel_id, state, synced_seq, synced_ms, last_seen_ms, created_ms;
    struct str name, platform, client_ref, metadata;
};
extern const struct column device_columns[];

/* Inside a write transaction: register, or find the device with the same client_ref: that one takes the new name,
 * platform and what else is given, and is active again. `out` is what is stored then; the caller stops its old
 * keys. */
int device_register(struct db_session *tx, struct arena *arena, const struct device *wanted, struct device *out,
                    struct err *err);

/* Inside a write transaction. 1 done, 0 unknown (or already so), -1 failed. Revoking leaves its keys to
 * key_stop_device. */
int device_rename(struct db_session *tx, int64_t tenant_id, int64_t id, struct str name, struct err *err);
int device_revoke(struct db_session *tx, int64_t tenant_id, int64_t id, struct err *err);

/* The device has everything up to `seq`; never moves back. */
int device_synced(struct db_session *tx, int64_t tenant_id, int64_t id, int64_t seq, struct err *err);

/* Read the device that `device->tenant_id` and `id` name: 1 found, 0 not, -1 failed. */
int device_get(struct db_session *session, struct arena *arena, struct device *device, struct err *err);

/* A page of devices in order of id: their number, -1 failed. */
int device_list(struct db_session *session, const struct page *page, struct device **out, struct err *err);
