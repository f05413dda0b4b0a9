#include "core/contact_merge.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "core/contact.h"
#include "core/conversation.h"
#include "core/conversation_merge.h"
#include "core/event.h"
#include "core/person.h"

/* The id of the conversation at `peer`; 0: none. -1. */
static int find_conversation(struct db_session *tx, const struct identity *at, int64_t *id, struct err *err)
{
    return db_query_int(tx, "SELECT id FROM conversations WHERE tenant_id = $1 AND channel_id = $2 AND peer = $3",
                        DB_ARGS(db_int(at->tenant_id), db_int(at->channel_id), db_text(at->address)), 0, id, err);
}

static struct identity place(const struct contact *contact)
{
    return (struct identity){ .tenant_id = contact->tenant_id, .channel_id = contact->channel_id,
                              .address = contact->address };
}

/* --- Merging ------------------------------------------------------------------------------------------------------ */

static int take(struct db_session *tx, const struct contact_pair *pair, int64_t id, struct contact *out,
                struct err *err)
{
    int found;

    *out = (struct contact){ .tenant_id = pair->tenant_id, .id = id };
    found = contact_get(tx, db_arena(tx), out, err);
    return found == 1 ? 0 : found < 0 ? -1 : err_set(err, ERR_NOT_FOUND, "There is no such contact.");
}

static int merge_conversations(struct db_session *tx, const struct contact_pair *pair, const struct contact *kept,
                               const struct contact *lost, struct err *err)
{
    const struct identity at = place(kept), was = place(lost);
    struct conversation_pair threads = { .tenant_id = pair->tenant_id, .contact_id = kept->id, .at_ms = pair->at_ms };

    if (find_conversation(tx, &at, &threads.kept_id, err) || find_conversation(tx, &was, &threads.lost_id, err))
        return -1;
    if (!threads.lost_id)
        return 0;
    if (threads.kept_id)
        return conversation_merge(tx, &threads, err);
    if (conversation_lock(tx, pair->tenant_id, threads.lost_id, err) < 0
        || db_exec(tx, "UPDATE conversations SET peer = $1, contact_id = $2, updated_ms = $3 WHERE id = $4",
                   DB_ARGS(db_text(kept->address), db_int(kept->id), db_int(pair->at_ms), db_int(threads.lost_id)),
                   err) < 0)
        return -1;
    return db_exec(tx, "UPDATE messages SET contact_id = $1 WHERE conversation_id = $2",
                   DB_ARGS(db_int(kept->id), db_int(threads.lost_id)), err) < 0 ? -1 : 0;
}

static struct str first_of(struct str a, struct str b)
{
    return a.len > 0 ? a : b;
}

static int merge_rows(struct db_session *tx, const struct contact_pair *pair, const struct contact *kept,
                      const struct contact *lost, struct err *err)
{
    int64_t since_ms = kept->opted_out_ms;
    struct str none = { 0 }, metadata = first_of(kept->metadata, lost->metadata);

    if (lost->opted_out_ms && (!since_ms || lost->opted_out_ms < since_ms))
        since_ms = lost->opted_out_ms;
    if (db_exec(tx, "UPDATE contacts SET name = $1, time_zone = $2, metadata = $3, opted_out_ms = $4, "
                "opted_out_by = $5, opted_out_text = $6, created_ms = $7, updated_ms = $8 "
                "WHERE tenant_id = $9 AND id = $10",
                DB_ARGS(db_text(first_of(kept->name, lost->name)), db_text(first_of(kept->time_zone, lost->time_zone)),
                        db_text(metadata.len > 0 ? metadata : none), db_id(since_ms),
                        db_int(kept->opted_out_by | lost->opted_out_by),
                        db_text(first_of(kept->opted_out_text, lost->opted_out_text)),
                        db_int(kept->created_ms < lost->created_ms ? kept->created_ms : lost->created_ms),
                        db_int(pair->at_ms), db_int(kept->tenant_id), db_int(kept->id)), err) < 0
        || db_exec(tx, "UPDATE identities SET contact_id = $1 WHERE contact_id = $2",
                   DB_ARGS(db_int(kept->id), db_int(lost->id)), err) < 0
        || person_take_over(tx, kept, lost, err))
        return -1;
    return db_exec(tx, "DELETE FROM contacts WHERE tenant_id = $1 AND id = $2",
                   DB_ARGS(db_int(lost->tenant_id), db_int(lost->id)), err) < 0 ? -1 : 0;
}

/* What was known of the contact that is no more, so that nothing of it is lost. */
static void announce(struct db_session *tx, const struct contact_pair *pair, const struct contact *lost)
{
    struct arena *arena = db_arena(tx);
    struct buf data;
    struct json_writer writer;

    buf_init(&data, LIMIT_METADATA_BYTES * 2 + 8192);
    writer = json_writer(&data);
    json_object_begin(&writer);
    json_cstr_at(&writer, "into", id_text(arena, ID_CONTACT, pair->kept_id));
    json_key(&writer, "was");
    json_object_begin(&writer);
    row_json(&writer, contact_columns, lost);
    json_object_end(&writer);
    json_object_end(&writer);
    event_add(tx, &(struct event){ .tenant_id = pair->tenant_id, .kind = "contact.merged", .object_id = pair->lost_id,
                                   .at_ms = pair->at_ms,
                                   .data = { str_dup(arena, buf_slice(&data)), buf_slice(&data).len } });
    buf_fini(&data);
}

static int put_identity(struct db_session *tx, const struct identity *identity, struct str given, int64_t at_ms,
                        struct err *err)
{
    bool is_handle = identity->address.len > 0 && identity->address.data[0] == '@';

    return db_exec(tx, "INSERT INTO identities (tenant_id, channel_id, address, contact_id, kind, address_given, "
                   "created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, channel_id, address) "
                   "DO UPDATE SET contact_id = excluded.contact_id, address_given = excluded.address_given "
                   "WHERE identities.contact_id <> excluded.contact_id",
                   DB_ARGS(db_int(identity->tenant_id), db_int(identity->channel_id), db_text(identity->address),
                           db_int(identity->contact_id), db_int(is_handle), db_text(given), db_int(at_ms)), err) < 0
        ? -1 : 0;
}

int contact_merge(struct db_session *tx, const struct contact_pair *pair, struct err *err)
{
    struct contact kept, lost;
    struct identity old;

    if (take(tx, pair, pair->kept_id, &kept, err) || take(tx, pair, pair->lost_id, &lost, err)
        || merge_conversations(tx, pair, &kept, &lost, err) || merge_rows(tx, pair, &kept, &lost, err))
        return -1;
    old = place(&lost);
    old.contact_id = kept.id;
    if (put_identity(tx, &old, lost.address_given, pair->at_ms, err))
        return -1;
    announce(tx, pair, &lost);
    event_add(tx, &(struct event){ .tenant_id = pair->tenant_id, .kind = "contact.updated", .object_id = kept.id,
                                   .at_ms = pair->at_ms });
    return 0;
}

/* --- Identifiers -------------------------------------------------------------------------------------------------- */

/* The older of two is kept: more refers to it. */
static int merge_by_age(struct db_session *tx, const struct identity *at, int64_t *id, int64_t at_ms, struct err *err)
{
    struct contact_pair pair = { at->tenant_id, at->channel_id, *id, at->contact_id, at_ms };
    int64_t oldest;

    if (db_query_int(tx, "SELECT id FROM contacts WHERE tenant_id = $1 AND id IN ($2, $3) "
                     "ORDER BY created_ms, id LIMIT 1",
                     DB_ARGS(db_int(at->tenant_id), db_int(*id), db_int(at->contact_id)), 0, &oldest, err))
        return -1;
    if (oldest == at->contact_id) {
        pair.kept_id = at->contact_id;
        pair.lost_id = *id;
    }
    *id = pair.kept_id;
    return contact_merge(tx, &pair, err);
}

int contact_identify(struct db_session *tx, struct identity *identity, int64_t at_ms, struct err *err)
{
    struct identity owner = *identity;
    int found = identity_find(tx, db_arena(tx), &owner, err);

    if (found < 0 || (found == 1 && owner.contact_id == identity->contact_id))
        return found < 0 ? -1 : 0;
    if (found == 1 && str_eq(owner.main, identity->address))
        return merge_by_age(tx, &owner, &identity->contact_id, at_ms, err);
    return put_identity(tx, identity, (struct str){ 0 }, at_ms, err);
}

/* --- Moving ------------------------------------------------------------------------------------------------------- */

static int forget_identity(struct db_session *tx, const struct contact_move *move, struct str address, struct err *err)
{
    return db_exec(tx, "DELETE FROM identities WHERE tenant_id = $1 AND channel_id = $2 AND address = $3",
                   DB_ARGS(db_int(move->tenant_id), db_int(move->channel_id), db_text(address)), err) < 0 ? -1 : 0;
}

/* The conversation stands at the new address, and so does what is still to go out in it. */
static int move_conversation(struct db_session *tx, const struct contact_move *move, int64_t id, struct err *err)
{
    if (!id)
        return 0;
    if (conversation_lock(tx, move->tenant_id, id, err) < 0
        || db_exec(tx, "UPDATE conversations SET peer = $1, updated_ms = $2 WHERE id = $3",
                   DB_ARGS(db_text(move->to), db_int(move->at_ms), db_int(id)), err) < 0)
        return -1;
    return db_exec(tx, "UPDATE messages SET address = $1, updated_ms = $2 WHERE conversation_id = $3 "
                   "AND direction = 1 AND state IN (3, 4, 9) AND address = $4",
                   DB_ARGS(db_text(move->to), db_int(move->at_ms), db_int(id), db_text(move->from)), err) < 0 ? -1 : 0;
}

static int move_group(struct db_session *tx, const struct contact_move *move, struct err *err)
{
    const struct identity from = { .tenant_id = move->tenant_id, .channel_id = move->channel_id,
        .address = move->from }, to = { .tenant_id = move->tenant_id, .channel_id = move->channel_id,
        .address = move->to };
    struct conversation_pair pair = { .tenant_id = move->tenant_id, .at_ms = move->at_ms };

    if (find_conversation(tx, &from, &pair.kept_id, err) || find_conversation(tx, &to, &pair.lost_id, err))
        return -1;
    if (!pair.kept_id)
        return 0;
    if (pair.lost_id && conversation_merge(tx, &pair, err))
        return -1;
    if (move_conversation(tx, move, pair.kept_id, err))
        return -1;
    event_add(tx, &(struct event){ .tenant_id = move->tenant_id, .kind = "conversation.moved",
                                   .object_id = pair.kept_id, .conversation_id = pair.kept_id, .at_ms = move->at_ms });
    return 1;
}

/* What moved was the contact's own address. */
static int move_main(struct db_session *tx, const struct contact_move *move, const struct identity *from,
                     struct err *err)
{
    bool differs = move->to_given.len > 0 && !str_eq(move->to_given, move->to);
    int64_t conversation_id;

    if (find_conversation(tx, from, &conversation_id, err) || forget_identity(tx, move, move->to, err)
        || db_exec(tx, "UPDATE contacts SET address = $1, address_given = $2, updated_ms = $3 "
                   "WHERE tenant_id = $4 AND id = $5",
                   DB_ARGS(db_text(move->to), db_text(differs ? move->to_given : (struct str){ 0 }),
                           db_int(move->at_ms), db_int(move->tenant_id), db_int(from->contact_id)), err) < 0)
        return -1;
    return move_conversation(tx, move, conversation_id, err);
}

int contact_move(struct db_session *tx, const struct contact_move *move, struct err *err)
{
    struct identity from = { .tenant_id = move->tenant_id, .channel_id = move->channel_id, .address = move->from },
        to = { .tenant_id = move->tenant_id, .channel_id = move->channel_id, .address = move->to };
    int found, there;

    if (str_eq(move->from, move->to))
        return 0;
    if (move->is_group)
        return move_group(tx, move, err);
    found = identity_find(tx, db_arena(tx), &from, err);
    there = found == 1 ? identity_find(tx, db_arena(tx), &to, err) : found;
    if (found != 1 || there < 0)
        return there < 0 ? -1 : found;
    if (there == 1 && to.contact_id != from.contact_id) {
        const struct contact_pair pair = { move->tenant_id, move->channel_id, from.contact_id, to.contact_id,
            move->at_ms };

        if (contact_merge(tx, &pair, err))
            return -1;
    }
    if (str_eq(from.main, from.address)) {
        if (move_main(tx, move, &from, err))
            return -1;
    } else if (!str_eq(from.main, move->to)) {
        to.contact_id = from.contact_id;
        if (put_identity(tx, &to, move->to_given, move->at_ms, err))
            return -1;
    }
    if (forget_identity(tx, move, move->from, err))
        return -1;
    event_add(tx, &(struct event){ .tenant_id = move->tenant_id, .kind = "contact.moved",
                                   .object_id = from.contact_id, .at_ms = move->at_ms });
    return 1;
}
