/* contact.h - a person as one channel addresses them. */
#pragma once

#include "db/row.h"

struct arena;

struct contact {
    int64_t id, tenant_id, channel_id, opted_out_ms, created_ms, updated_ms, opted_out_by, person_id;
    struct str address, address_given, name, opted_out_text, time_zone, metadata;
};

/* All columns of `contacts`, in table order. */
extern const struct column contact_columns[];

/* Read the contact out->id of the tenant out->tenant_id. 1 found, 0 not, -1 failed. */
int contact_get(struct db_session *session, struct arena *arena, struct contact *out,
                struct err *err);

/* The contact of out->tenant_id on out->channel_id with the normalised out->address. 1, 0, -1. */
int contact_find(struct db_session *session, struct arena *arena, struct contact *out,
                 struct err *err);

/* What a list shows; zero and absent members do not filter. */
struct contact_filter {
    int64_t tenant_id, channel_id, person_id, after_id; /* newest first; after_id: below this id */
    struct str text;                            /* part of the name or the address */
    bool opted_out;
    int limit;
};

/* Up to `limit` contacts, in the arena. Returns their number, -1 on failure. */
int contact_list(struct db_session *session, struct arena *arena,
                 const struct contact_filter *filter, struct contact **out, struct err *err);

/* Change name, time zone and metadata inside a write transaction (absent: left alone, empty:
 * cleared) and log "contact.updated". 1 done, 0 unknown, -1 failed. */
int contact_update(struct db_session *tx, const struct contact *change, struct err *err);
