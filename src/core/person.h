/* person.h - one person behind several contacts: who is reached on several channels. A link is a mark on the contacts
 * and nothing else: conversations and messages stay as they are, and taking it back leaves everything as it was. */
#pragma once

#include "core/contact.h"
#include "core/message.h"

struct person_link {
    int64_t tenant_id, contact_id, other_id;
    int64_t person_id;              /* drawn before, for two who have none yet */
    int64_t at_ms;
};

/* Inside a write transaction: the two are one person; whoever has a person already brings it. Log line contact.linked
 * of both. 1 linked, 0 they were, -1 (ERR_NOT_FOUND; ERR_CONFLICT: each belongs to a person already, or it is one
 * contact). */
int person_link(struct db_session *tx, const struct person_link *link, struct err *err);

/* The contact stands alone again, and so does the one that is left with nobody (`link->other_id` is not looked at). Log
 * line contact.unlinked. 1, 0 it was not linked, -1 (ERR_NOT_FOUND). */
int person_unlink(struct db_session *tx, const struct person_link *link, struct err *err);

/* `lost` is about to become `kept`: its person goes along. 0, -1. */
int person_take_over(struct db_session *tx, const struct contact *kept, const struct contact *lost, struct err *err);

/* A part of one person's thread: the messages of all its contacts, in order of the time at which they came. */
struct person_page {
    int64_t tenant_id, contact_id;  /* any contact of the person */
    int64_t before_ms, before_id;   /* newest first: continue below this message; 0: from the newest */
    int limit;
};

/* Up to `limit` messages, newest first, in the arena, tombstones among them. Their number, -1. */
int person_messages(struct db_session *session, struct arena *arena, const struct person_page *page,
                    struct message **out, struct err *err);

/* Contacts of other channels with the same E.164 number or email address, as their own or as an identifier, who are not
 * one person with this one: to be suggested, never linked by itself. Up to PERSON_SAME_MAX ids into `ids`; their
 * number, -1. */
#define PERSON_SAME_MAX 10
int person_same(struct db_session *session, const struct contact *contact, int64_t ids[PERSON_SAME_MAX],
                struct err *err);
