/* What a provider says of the people behind its addresses: that they opted out or in again. */
#include "base/arena.h"
#include "core/consent.h"
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

int inbox_apply_person(struct db_session *tx, struct inbox_line *line, struct err *err)
{
    line->result->outcome = INBOX_IGNORED;
    line->result->message_id = 0;
    return note_consent(tx, line, err);
}
