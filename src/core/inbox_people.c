/* The people behind the addresses: found by any identifier, merged when two turn out to be one; and what a provider
 * says of them: opted out, opted in, moved. */
#include "base/arena.h"
#include "core/consent.h"
#include "core/contact_merge.h"
#include "core/identity.h"
#include "core/inbox_group.h"

static int64_t now_ms(const struct inbox_line *line)
{
    return ((const struct inbox_prepared *)line->write->prepared)->received_ms;
}

static struct identity identity_of(const struct inbox_line *line)
{
    return (struct identity){ .tenant_id = line->write->tenant_id, .channel_id = line->write->channel_id,
                              .address = line->address };
}

/* --- Who it is ------------------------------------------------------------------------------------------------ */

static bool is_one_to_one(const struct inbox_line *line)
{
    return line->event->group.len == 0 && line->address.len > 0;
}

/* One look-up for the whole group: of those whose address is not their contact's own. */
static int find_by_address(struct inbox_group *group, struct err *err)
{
    struct db_value *values = arena_array(group->arena, group->line_count * 4, sizeof *values);
    struct db_set set = {
        /* a look-up per hit and no join, which PostgreSQL would do by reading all contacts */
        "WITH v(line, tenant_id, channel_id, address) AS (:rows:) SELECT v.line, (SELECT k.address FROM contacts k "
        "WHERE k.tenant_id = i.tenant_id AND k.id = i.contact_id) FROM v JOIN identities i ON i.tenant_id = "
        "v.tenant_id AND i.channel_id = v.channel_id AND i.address = v.address AND i.kind = 0", "iiit", values, 0 };
    struct db_rows *rows;
    int found = 0;

    for (size_t i = 0; i < group->line_count; i++) {
        const struct inbox_line *line = group->lines[i];
        struct db_value *row = values + set.row_count * 4;

        if (!is_one_to_one(line))
            continue;
        row[0] = db_int((int64_t)i);
        row[1] = db_int(line->write->tenant_id);
        row[2] = db_int(line->write->channel_id);
        row[3] = db_text(line->address);
        set.row_count++;
    }
    if (set.row_count == 0)
        return 0;
    rows = db_query_rows(group->tx, &set, err);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct str main = db_col_text(rows, 1);

        group->lines[db_col_int(rows, 0)]->peer = (struct str){ str_dup(group->arena, main), main.len };
    }
    return !rows || found < 0 ? -1 : 0;
}

/* Nobody is known at the address itself, but at one of the others: it is theirs. */
static int find_by_alias(struct inbox_group *group, struct inbox_line *line, struct err *err)
{
    struct identity who = identity_of(line);
    int found = identity_find(group->tx, group->arena, &who, err);

    for (size_t i = 0; i < CHANNEL_ALIASES && found == 0; i++) {
        if (line->aliases[i].len == 0)
            continue;
        who.address = line->aliases[i];
        found = identity_find(group->tx, group->arena, &who, err);
        /* an identifier beside another address is not enough: numbers get new owners */
        if (found == 1 && !str_eq(who.main, line->aliases[i]))
            found = 0;
    }
    if (found == 1)
        line->peer = who.main;
    return found < 0 ? -1 : 0;
}

static bool has_aliases(const struct inbox_line *line)
{
    for (size_t i = 0; i < CHANNEL_ALIASES; i++)
        if (line->aliases[i].len > 0)
            return true;
    return false;
}

int inbox_find_people(struct inbox_group *group, struct err *err)
{
    if (find_by_address(group, err))
        return -1;
    for (size_t i = 0; i < group->line_count; i++)
        if (is_one_to_one(group->lines[i]) && has_aliases(group->lines[i])
            && find_by_alias(group, group->lines[i], err))
            return -1;
    return 0;
}

/* One more identifier of the line's contact. Whoever was merged away is not named by the touches any more. */
static int note_identity(struct inbox_group *group, struct inbox_line *line, struct str address, struct err *err)
{
    struct identity who = identity_of(line);
    int64_t was = line->touch->contact_id;

    if (address.len == 0 || !was)
        return 0;
    who.address = address;
    who.contact_id = was;
    if (contact_identify(group->tx, &who, now_ms(line), err))
        return -1;
    for (size_t i = 0; i < group->touch_count && who.contact_id != was; i++)
        if (group->touches[i].contact_id == was)
            group->touches[i].contact_id = who.contact_id;
    return 0;
}

int inbox_note_people(struct inbox_group *group, struct err *err)
{
    for (size_t i = 0; i < group->kept_count; i++) {
        struct inbox_line *line = group->kept[i];

        if (!is_one_to_one(line) || !has_aliases(line))
            continue;
        for (size_t n = 0; n < CHANNEL_ALIASES; n++)
            if (note_identity(group, line, line->aliases[n], err))
                return -1;
        if (note_identity(group, line, line->address, err))
            return -1;
    }
    return 0;
}

/* --- What is said of them ------------------------------------------------------------------------------------- */

/* Somebody who says no before anything was said is a contact too: the no must stand somewhere. */
static int add_contact(struct db_session *tx, const struct inbox_line *line, struct err *err)
{
    const struct channel_event *event = line->event;
    bool differs = !str_eq(event->address, line->address);

    return db_exec(tx, "INSERT INTO contacts (id, tenant_id, channel_id, address, address_given, name, created_ms, "
                   "updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                   DB_ARGS(db_int(line->contact_id), db_int(line->write->tenant_id), db_int(line->write->channel_id),
                           db_text(line->address), db_text(differs ? event->address : (struct str){ 0 }),
                           db_text(event->name.len > 0 ? event->name : (struct str){ 0 }), db_int(now_ms(line)),
                           db_int(now_ms(line))), err) < 0 ? -1 : 0;
}

static int note_consent(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    const struct channel_event *event = line->event;
    struct consent consent = { .tenant_id = line->write->tenant_id, .at_ms = now_ms(line), .by = CONSENT_PROVIDER,
        .opted_out = event->kind == CHANNEL_OPTED_OUT,
        .reason = event->code.len > 0 ? event->code : event->text.len > 0 ? event->text : event->hint };
    struct identity who = identity_of(line);
    int found = identity_find(tx, db_arena(tx), &who, err), noted;

    if (found == 0 && consent.opted_out) {
        if (add_contact(tx, line, err))
            return -1;
        found = identity_find(tx, db_arena(tx), &who, err);
    }
    if (found != 1)
        return found;
    if (consent.reason.len > LIMIT_HINT_BYTES)
        consent.reason.len = str_utf8_prefix((struct str){ consent.reason.data, LIMIT_HINT_BYTES });
    consent.contact_id = who.contact_id;
    noted = consent_note(tx, &consent, err);
    line->result->outcome = noted == 1 ? INBOX_STORED : INBOX_IGNORED;
    return noted < 0 ? -1 : 0;
}

static int note_move(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    const struct contact_move move = { .tenant_id = line->write->tenant_id, .channel_id = line->write->channel_id,
        .at_ms = now_ms(line), .from = line->peer, .to = line->moved_to, .to_given = line->event->text,
        .is_group = line->event->group.len > 0 };
    int moved = contact_move(tx, &move, err);

    line->result->outcome = moved == 1 ? INBOX_STORED : INBOX_IGNORED;
    return moved < 0 ? -1 : 0;
}

int inbox_apply_person(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    line->result->outcome = INBOX_IGNORED;
    line->result->message_id = 0;
    if (line->event->kind == CHANNEL_MOVED)
        return note_move(tx, line, err);
    return note_consent(tx, line, err);
}
