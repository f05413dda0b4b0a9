#include "core/contact.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/consent.h"
#include "core/event.h"
#include "core/query.h"

#include <stddef.h>

#define AT(member) offsetof(struct contact, member)

const struct column contact_columns[] = {
    { "id", COL_REF, AT(id), COL_PUBLIC, ID_CONTACT, NULL, NULL },
    { "tenant_id", COL_INT, AT(tenant_id), 0, NULL, NULL, NULL },
    { "channel_id", COL_REF, AT(channel_id), COL_PUBLIC, ID_CHANNEL, NULL, NULL },
    { "address", COL_TEXT, AT(address), COL_PUBLIC, NULL, NULL, NULL },
    { "address_given", COL_TEXT, AT(address_given), 0, NULL, NULL, NULL },
    { "name", COL_TEXT, AT(name), COL_PUBLIC, NULL, NULL, NULL },
    { "opted_out_ms", COL_TIME, AT(opted_out_ms), COL_PUBLIC, NULL, NULL, "opted_out_at" },
    { "opted_out_text", COL_TEXT, AT(opted_out_text), COL_PUBLIC, NULL, NULL, NULL },
    { "time_zone", COL_TEXT, AT(time_zone), COL_PUBLIC, NULL, NULL, NULL },
    { "metadata", COL_JSON, AT(metadata), COL_PUBLIC, NULL, NULL, NULL },
    { "created_ms", COL_TIME, AT(created_ms), COL_PUBLIC, NULL, NULL, "created_at" },
    { "updated_ms", COL_TIME, AT(updated_ms), COL_PUBLIC, NULL, NULL, "updated_at" },
    { "opted_out_by", COL_ENUM, AT(opted_out_by), COL_PUBLIC, NULL, consent_words, NULL },
    { "person_id", COL_REF, AT(person_id), COL_PUBLIC, ID_PERSON, NULL, NULL },
    { 0 }
};

static int read_one(struct db_rows *rows, struct arena *arena, struct contact *out, struct err *err)
{
    int found = rows ? db_next(rows, err) : -1;

    if (found != 1)
        return found;
    row_read(rows, 0, contact_columns, arena, out);
    db_rows_end(rows);
    return 1;
}

int contact_get(struct db_session *session, struct arena *arena, struct contact *out,
                struct err *err)
{
    const char *sql = arena_printf(arena,
        "SELECT %s FROM contacts c WHERE c.tenant_id = $1 AND c.id = $2",
        row_select(contact_columns, "c"));

    return read_one(db_query(session, sql, DB_ARGS(db_int(out->tenant_id), db_int(out->id)), err),
                    arena, out, err);
}

int contact_find(struct db_session *session, struct arena *arena, struct contact *out,
                 struct err *err)
{
    const char *sql = arena_printf(arena,
        "SELECT %s FROM contacts c WHERE c.tenant_id = $1 AND c.channel_id = $2 AND c.address = $3",
        row_select(contact_columns, "c"));

    return read_one(db_query(session, sql, DB_ARGS(db_int(out->tenant_id), db_int(out->channel_id),
                                                   db_text(out->address)), err), arena, out, err);
}

int contact_list(struct db_session *session, struct arena *arena,
                 const struct contact_filter *filter, struct contact **out, struct err *err)
{
    struct query query;
    struct db_rows *rows;
    int found = -1, count = 0;

    *out = arena_array(arena, (size_t)filter->limit, sizeof **out);
    query_init(&query, arena_printf(arena, "SELECT %s FROM contacts c",
                                    row_select(contact_columns, "c")));
    query_add_value(&query, " WHERE c.tenant_id = ?", db_int(filter->tenant_id));
    if (filter->channel_id)
        query_add_value(&query, " AND c.channel_id = ?", db_int(filter->channel_id));
    if (filter->person_id)
        query_add_value(&query, " AND c.person_id = ?", db_int(filter->person_id));
    if (filter->after_id)
        query_add_value(&query, " AND c.id < ?", db_int(filter->after_id));
    if (filter->opted_out)
        query_add(&query, " AND c.opted_out_ms IS NOT NULL");
    if (filter->text.data)
        query_add_value(&query, " AND LOWER(c.address || ' ' || COALESCE(c.name, '')) "
                        "LIKE LOWER(?) ESCAPE '\\'", db_text(query_like(arena, filter->text)));
    query_add_value(&query, " ORDER BY c.id DESC LIMIT ?", db_int(filter->limit));
    rows = query_run(session, &query, err);
    while (rows && (found = db_next(rows, err)) == 1)
        row_read(rows, 0, contact_columns, arena, &(*out)[count++]);
    query_fini(&query);
    return found < 0 ? -1 : count;
}

/* A conversation is called after its contact. */
static int name_conversation(struct db_session *tx, const struct contact *change, struct err *err)
{
    int64_t changed = db_exec(tx,
        "UPDATE conversations SET title = NULLIF($1, '') WHERE tenant_id = $2 "
        "AND channel_id = (SELECT channel_id FROM contacts WHERE id = $3) "
        "AND peer = (SELECT address FROM contacts WHERE id = $3) AND is_group = 0",
        DB_ARGS(db_text(change->name), db_int(change->tenant_id), db_int(change->id)), err);

    return changed < 0 ? -1 : 1;
}

int contact_update(struct db_session *tx, const struct contact *change, struct err *err)
{
    int64_t now_ms = clock_ms(), changed;

    changed = db_exec(tx,
        "UPDATE contacts SET name = NULLIF(COALESCE($1, name), ''), "
        "time_zone = NULLIF(COALESCE($2, time_zone), ''), "
        "metadata = NULLIF(COALESCE($3, metadata), ''), updated_ms = $4 "
        "WHERE tenant_id = $5 AND id = $6",
        DB_ARGS(db_text(change->name), db_text(change->time_zone), db_text(change->metadata),
                db_int(now_ms), db_int(change->tenant_id), db_int(change->id)), err);
    if (changed == 1 && change->name.data)
        changed = name_conversation(tx, change, err);
    if (changed == 1)
        event_add(tx, &(struct event){ .tenant_id = change->tenant_id, .kind = "contact.updated",
                                       .object_id = change->id, .at_ms = now_ms });
    return (int)changed;
}
