/* inbox_group.h - what the parts of core/inbox share while a group of writes is stored; included
 * by inbox*.c alone. */
#pragma once

#include "core/attachment.h"
#include "core/conversation.h"
#include "core/inbox.h"

/* One event of one write. The first half is filled by inbox_prepare, the second by every run. */
struct inbox_line {
    struct inbox_write *write;
    const struct channel_event *event;
    struct inbox_result *result;
    struct str address;             /* of the sender or recipient, normalised */
    struct str peer;                /* the address, or the group */
    struct str moved_to;            /* CHANNEL_MOVED: normalised */
    struct str aliases[CHANNEL_ALIASES];    /* normalised; absent ones have no length */
    struct str external_id;         /* the provider's, or a hash; absent: none */
    enum message_direction direction;
    int64_t message_id, conversation_id, contact_id, job_id;
    struct attachment *files;       /* event->attachment_count of them */
    bool refused;                   /* result says why; never stored */

    bool duplicate;                 /* result->message_id is the first one */
    int64_t first_device_id;        /* of a duplicate: who brought the first */
    struct inbox_line *twin;        /* an earlier line of the group with the same external id */
    size_t order;                   /* arrival inside the group */
    struct conversation_touch *touch;
    int64_t position, reply_to_id;
};

struct inbox_prepared {
    struct inbox_line *lines;       /* write->count of them */
    int64_t received_ms;
    int runs;                       /* how often this write was run */
};

/* The group while it is being stored; everything lives in db_arena(tx). */
struct inbox_group {
    struct db_session *tx;
    struct arena *arena;
    struct inbox_write **writes;
    size_t write_count;
    struct inbox_line **lines;      /* all messages, in order of arrival */
    size_t line_count;
    struct inbox_line **keyed;      /* those with an external id, sorted, without twins */
    size_t keyed_count;
    struct inbox_line **kept;       /* those to be stored, in order of arrival */
    size_t kept_count;
    struct inbox_line **others;     /* receipts, edits, ... */
    size_t other_count;
    struct conversation_touch *touches;
    size_t touch_count;
    int64_t now_ms;
    bool repeated;                  /* some write was run before: its rows may be there already */
};

/* Is the event a message (from either side)? */
bool inbox_is_message(const struct channel_event *event);

/* Is it about a person: opted out or in, moved? */
bool inbox_is_person(const struct channel_event *event);

/* inbox_find.c: what is stored already. Marks duplicates and the group's own twins, fills kept. */
int inbox_find(struct inbox_group *group, struct err *err);

/* inbox_store.c: conversations, messages, decide jobs, log lines of what is kept. */
int inbox_store(struct inbox_group *group, struct err *err);

/* inbox_apply.c: one receipt, edit, deletion or reaction. */
int inbox_apply(struct db_session *tx, struct inbox_line *line, struct err *err);

/* inbox_people.c: who is behind the addresses, by further identifiers: each line's peer is its contact's own address.
 * Before anything is looked up. */
int inbox_find_people(struct inbox_group *group, struct err *err);

/* inbox_people.c: note the further identifiers that came with what is stored now; contacts that turn out to be one are
 * merged. */
int inbox_note_people(struct inbox_group *group, struct err *err);

/* inbox_people.c: what a provider says of a person: opted out, opted in, moved. */
int inbox_apply_person(struct db_session *tx, struct inbox_line *line, struct err *err);

/* inbox_apply.c: is this message of the phone's owner only the echo of one that the hub is sending?
 * 1: it took the external id (result says DUPLICATE), 0: no, -1. */
int inbox_is_echo(struct db_session *tx, struct inbox_line *line, struct err *err);
