#include "core/person.h"

#include "base/arena.h"
#include "base/id.h"
#include "core/event.h"

#include <string.h>

/* --- Links ------------------------------------------------------------------------------------------------------ */

/* The person of a contact whose row is taken; 0: none. -1 (ERR_NOT_FOUND). */
static int take(struct db_session *tx, const struct person_link *link, int64_t id, int64_t *person_id, struct err *err)
{
    struct db_rows *rows = db_query(tx, "SELECT person_id FROM contacts WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
                                    DB_ARGS(db_int(link->tenant_id), db_int(id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "There is no such contact.");
    if (found < 0)
        return -1;
    *person_id = db_col_int(rows, 0);
    db_rows_end(rows);
    return 0;
}

static int set_person(struct db_session *tx, const struct person_link *link, int64_t id, int64_t person_id,
                      struct err *err)
{
    if (db_exec(tx, "UPDATE contacts SET person_id = $1 WHERE tenant_id = $2 AND id = $3",
                DB_ARGS(db_id(person_id), db_int(link->tenant_id), db_int(id)), err) < 0)
        return -1;
    event_add(tx, &(struct event){ .tenant_id = link->tenant_id, .object_id = id, .at_ms = link->at_ms,
                                   .kind = person_id ? "contact.linked" : "contact.unlinked" });
    return 0;
}

/* Rows are taken in order of id. */
static int take_both(struct db_session *tx, const struct person_link *link, int64_t *first, int64_t *second,
                     struct err *err)
{
    if (link->contact_id < link->other_id)
        return take(tx, link, link->contact_id, first, err) || take(tx, link, link->other_id, second, err) ? -1 : 0;
    return take(tx, link, link->other_id, second, err) || take(tx, link, link->contact_id, first, err) ? -1 : 0;
}

int person_link(struct db_session *tx, const struct person_link *link, struct err *err)
{
    int64_t first, second, person_id;

    if (take_both(tx, link, &first, &second, err))
        return -1;
    if (link->contact_id == link->other_id)
        return err_set(err, ERR_CONFLICT, "A contact is not linked to itself.");
    if (first && first == second)
        return 0;
    if (first && second) {
        err_set(err, ERR_CONFLICT, "Each of the two belongs to a person already, and not to the same one.");
        return err_hint(err, "Unlink one of them first: message-hub contacts unlink ID");
    }
    person_id = first ? first : second ? second : link->person_id;
    if ((!first && set_person(tx, link, link->contact_id, person_id, err))
        || (!second && set_person(tx, link, link->other_id, person_id, err)))
        return -1;
    return 1;
}

/* Nobody is a person of one contact. */
static int leave_nobody_alone(struct db_session *tx, const struct person_link *link, int64_t person_id,
                              struct err *err)
{
    int64_t left, last;

    if (db_query_int(tx, "SELECT COUNT(*) FROM contacts WHERE tenant_id = $1 AND person_id = $2",
                     DB_ARGS(db_int(link->tenant_id), db_int(person_id)), 0, &left, err)
        || db_query_int(tx, "SELECT MAX(id) FROM contacts WHERE tenant_id = $1 AND person_id = $2",
                        DB_ARGS(db_int(link->tenant_id), db_int(person_id)), 0, &last, err))
        return -1;
    return left == 1 ? set_person(tx, link, last, 0, err) : 0;
}

int person_unlink(struct db_session *tx, const struct person_link *link, struct err *err)
{
    int64_t person_id;

    if (take(tx, link, link->contact_id, &person_id, err))
        return -1;
    if (!person_id)
        return 0;
    return set_person(tx, link, link->contact_id, 0, err) || leave_nobody_alone(tx, link, person_id, err) ? -1 : 1;
}

int person_take_over(struct db_session *tx, const struct contact *kept, const struct contact *lost, struct err *err)
{
    const struct person_link of = { .tenant_id = kept->tenant_id, .contact_id = lost->id, .at_ms = lost->updated_ms };

    if (!lost->person_id)
        return 0;
    if (!kept->person_id)
        return set_person(tx, &of, kept->id, lost->person_id, err);
    if (db_exec(tx, "UPDATE contacts SET person_id = NULL WHERE tenant_id = $1 AND id = $2",
                DB_ARGS(db_int(lost->tenant_id), db_int(lost->id)), err) < 0)
        return -1;
    return leave_nobody_alone(tx, &of, lost->person_id, err);
}

/* --- The thread ------------------------------------------------------------------------------------------------- */

int person_messages(struct db_session *session, struct arena *arena, const struct person_page *page,
                    struct message **out, struct err *err)
{
    const char *sql = arena_printf(arena,
        "SELECT %s FROM contacts o JOIN contacts k ON k.tenant_id = o.tenant_id AND (k.id = o.id OR "
        "k.person_id = o.person_id) JOIN conversations c ON c.tenant_id = k.tenant_id "
        "AND c.channel_id = k.channel_id AND c.peer = k.address JOIN messages m ON m.conversation_id = c.id "
        "WHERE o.tenant_id = $1 AND o.id = $2 AND (m.received_ms < $3 OR (m.received_ms = $3 AND m.id < $4)) "
        "ORDER BY m.received_ms DESC, m.id DESC LIMIT $5", row_select(message_columns, "m"));
    int64_t before_ms = page->before_id ? page->before_ms : INT64_MAX;
    struct db_rows *rows = db_query(session, sql,
        DB_ARGS(db_int(page->tenant_id), db_int(page->contact_id), db_int(before_ms), db_int(page->before_id),
                db_int(page->limit)), err);
    int found = -1, count = 0;

    *out = arena_array(arena, (size_t)page->limit, sizeof **out);
    while (rows && (found = db_next(rows, err)) == 1)
        row_read(rows, 0, message_columns, arena, &(*out)[count++]);
    return found < 0 ? -1 : count;
}

/* --- Suggestions ------------------------------------------------------------------------------------------------ */

/* An address that means the same on every channel. */
static bool is_universal(struct str address)
{
    const char *at = address.len > 2 ? memchr(address.data + 1, '@', address.len - 2) : NULL;

    if (address.len >= 8 && address.data[0] == '+') {
        for (size_t i = 1; i < address.len; i++)
            if (address.data[i] < '0' || address.data[i] > '9')
                return false;
        return true;
    }
    return at && memchr(at, '.', address.len - (size_t)(at - address.data));
}

/* Contacts who have one of the addresses of contact $2: its own address and its identifiers are looked for
 * among addresses and identifiers. */
static const char same_sql[] =
    "WITH a(address) AS (SELECT k.address FROM contacts k WHERE k.tenant_id = $1 AND k.id = $2 UNION SELECT i.address "
    "FROM identities i WHERE i.tenant_id = $1 AND i.contact_id = $2 AND i.kind = 0), f(id, address) AS "
    "(SELECT k.id, a.address FROM a JOIN contacts k ON k.tenant_id = $1 AND k.address = a.address UNION SELECT "
    "i.contact_id, a.address FROM a JOIN identities i ON i.tenant_id = $1 AND i.address = a.address AND i.kind = 0) "
    "SELECT f.id, f.address FROM f JOIN contacts o ON o.tenant_id = $1 AND o.id = f.id WHERE f.id <> $2 AND "
    "o.channel_id <> $3 AND COALESCE(o.person_id, 0) <> $4 ORDER BY f.id LIMIT 100";

int person_same(struct db_session *session, const struct contact *contact, int64_t ids[PERSON_SAME_MAX],
                struct err *err)
{
    struct db_rows *rows = db_query(session, same_sql,
        DB_ARGS(db_int(contact->tenant_id), db_int(contact->id), db_int(contact->channel_id),
                db_int(contact->person_id ? contact->person_id : -1)), err);
    int found = -1, count = 0;

    while (rows && (found = db_next(rows, err)) == 1) {
        int64_t id = db_col_int(rows, 0);

        if (count < PERSON_SAME_MAX && is_universal(db_col_text(rows, 1)) && (count == 0 || ids[count - 1] != id))
            ids[count++] = id;
    }
    return found < 0 ? -1 : count;
}
