/* identity.h - the addresses of one contact on its channel: its own, and further identifiers that its provider gave (a
 * phone number beside a privacy id). None of them belongs to two contacts of a channel. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

struct arena;
struct db_session;

/* A normalised address of a channel, and the contact behind it. */
struct identity {
    int64_t tenant_id, channel_id;
    struct str address;
    int64_t contact_id;             /* out */
    struct str main;                /* out: contacts.address; in the arena */
};

/* The further identifiers of a contact, oldest first: up to IDENTITIES_SHOWN, in the arena. Their number, -1. */
#define IDENTITIES_SHOWN 20
int identity_list(struct db_session *session, struct arena *arena, const struct identity *of, struct str **out,
                  struct err *err);

/* Who is it? 1 and what comes out, 0 nobody known, -1. */
int identity_find(struct db_session *session, struct arena *arena, struct identity *identity, struct err *err);
