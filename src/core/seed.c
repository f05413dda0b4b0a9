#include "core/seed.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "core/channel.h"
#include "core/channel_edit.h"
#include "core/conversation.h"
#include "core/event.h"
#include "core/message.h"
#include "core/seed_text.h"

#include <stdlib.h>
#include <string.h>

#define CHANNELS_MAX 4
#define BATCH 5000                  /* messages of one transaction */
#define TOUCHES 1000                /* conversations made in one transaction */
#define MESSAGES_PER_PERSON 40      /* on average */
#define PEOPLE_MAX 1000000
#define PAST_MS (INT64_C(90) * 24 * 60 * 60 * 1000)
#define COLUMNS 24

/* One person on one channel, with the conversation that stands in the database. */
struct person {
    int64_t conversation_id, contact_id;
    int channel;
    const char *address, *name;
    struct conversation_touch *touch;
};

struct seeding {
    const struct seed_plan *plan;
    struct hub *hub;
    struct arena *arena;
    struct arena *scratch;          /* of the transaction under way */
    struct seed_random random;
    struct channel channels[CHANNELS_MAX];
    int channel_count;
    struct person *people;
    uint32_t person_count;
    int64_t done;
};

/* One transaction's share. */
struct batch {
    struct seeding *seeding;
    struct seed_random random;      /* as it was: the transaction may be run again */
    int64_t first_id;
    uint32_t first_person;
    int64_t first;
    size_t count;
};

/* --- Channels --------------------------------------------------------------------------------- */

static bool needs_nothing(const struct channel_driver *driver)
{
    for (const struct field *field = driver->settings; field->name; field++)
        if (field->flags & FIELD_REQUIRED)
            return false;
    return driver->send && driver->can & CHANNEL_PHONE_ADDRESS;
}

static int add_channel(struct seeding *seeding, const struct channel_driver *driver,
                       const char *name, struct err *err)
{
    struct channel *channel = &seeding->channels[seeding->channel_count];
    int64_t tenant_id = seeding->plan->tenant_id;
    int found = channel_load(seeding->hub->db, seeding->arena, CHANNEL_NAME(tenant_id, str_c(name)),
                             channel, err);

    if (found == 0) {
        struct channel_edit edit = channel_edit(seeding->arena, tenant_id,
                                                ids_next(seeding->hub->ids, err), clock_ms());

        edit.kind = str_c(driver->kind);
        edit.name = str_c(name);
        edit.settings = json_parse(seeding->arena, STR("{}"), err);
        if (edit.id < 0 || db_write(seeding->hub->db, channel_add, &edit, err))
            return -1;
        found = channel_load(seeding->hub->db, seeding->arena, CHANNEL_ID(tenant_id, edit.id),
                             channel, err);
    }
    if (found == 1)
        seeding->channel_count++;
    return found < 0 ? -1 : 0;
}

static int add_channels(struct seeding *seeding, struct err *err)
{
    for (int round = 1; seeding->channel_count < 2 && round <= 2; round++) {
        for (const struct channel_driver *const *at = channel_drivers; *at; at++) {
            const char *name = arena_printf(seeding->arena, "seed %s%s", (*at)->kind,
                                            round == 1 ? "" : " 2");

            if (needs_nothing(*at) && seeding->channel_count < CHANNELS_MAX
                && add_channel(seeding, *at, name, err))
                return -1;
        }
    }
    if (seeding->channel_count == 0)
        return err_set(err, ERR_INTERNAL, "No kind of channel works without settings.");
    return 0;
}

/* --- People ----------------------------------------------------------------------------------- */

static void invent_people(struct seeding *seeding)
{
    int64_t wanted = seeding->plan->messages / MESSAGES_PER_PERSON + 10;

    seeding->person_count = (uint32_t)(wanted < PEOPLE_MAX ? wanted : PEOPLE_MAX);
    seeding->people = arena_array(seeding->arena, seeding->person_count, sizeof(struct person));
    for (uint32_t i = 0; i < seeding->person_count; i++) {
        struct person *person = &seeding->people[i];
        const struct channel_driver *driver;

        person->channel = (int)seed_below(&seeding->random, (uint32_t)seeding->channel_count);
        driver = seeding->channels[person->channel].driver;
        person->name = seed_name(seeding->arena, &seeding->random);
        person->address = driver->can & CHANNEL_PHONE_ADDRESS
            ? seed_phone(seeding->arena, seeding->plan->number, i)
            : seed_user(seeding->arena, seeding->plan->number, i);
    }
}

static int compare_touches(const void *a, const void *b)
{
    return conversation_compare(a, b);
}

static struct conversation_touch touch_of(const struct seeding *seeding,
                                          const struct person *person)
{
    return (struct conversation_touch){ .tenant_id = seeding->plan->tenant_id,
        .channel_id = seeding->channels[person->channel].id, .peer = str_c(person->address),
        .name = str_c(person->name), .id = person->conversation_id,
        .contact_id = person->contact_id,
        .now_ms = seeding->plan->now_ms - PAST_MS,
        .last_message_ms = seeding->plan->now_ms - PAST_MS };
}

static int people_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct batch *batch = arg;
    struct seeding *seeding = batch->seeding;
    struct arena *arena = db_arena(tx);
    struct conversation_touch *touches = arena_array(arena, batch->count, sizeof *touches);
    struct conversation_touch key;

    for (size_t i = 0; i < batch->count; i++) {
        struct person *person = &seeding->people[batch->first_person + i];

        person->conversation_id = batch->first_id + (int64_t)i * 2;
        person->contact_id = person->conversation_id + 1;
        touches[i] = touch_of(seeding, person);
    }
    qsort(touches, batch->count, sizeof *touches, compare_touches);
    if (conversation_touch(tx, touches, batch->count, err))
        return -1;
    for (size_t i = 0; i < batch->count; i++) {
        struct person *person = &seeding->people[batch->first_person + i];
        const struct conversation_touch *found;

        key = touch_of(seeding, person);
        found = bsearch(&key, touches, batch->count, sizeof *touches, compare_touches);
        person->conversation_id = found->id;
        person->contact_id = found->contact_id;
        if (db_exec(tx, "UPDATE contacts SET time_zone = $1 WHERE tenant_id = $2 AND id = $3",
                    DB_ARGS(db_cstr(seed_country_of(batch->first_person + (uint32_t)i)->time_zone),
                            db_int(key.tenant_id), db_int(found->contact_id)), err) < 0)
            return -1;
    }
    return 0;
}

static int add_people(struct seeding *seeding, struct err *err)
{
    for (uint32_t at = 0; at < seeding->person_count; at += TOUCHES) {
        uint32_t left = seeding->person_count - at;
        struct batch batch = { .seeding = seeding, .first_person = at,
                               .count = left < TOUCHES ? left : TOUCHES };

        batch.first_id = ids_take(seeding->hub->ids, batch.count * 2, err);
        if (batch.first_id < 0 || db_write(seeding->hub->db, people_tx, &batch, err))
            return -1;
    }
    return 0;
}

/* --- Messages --------------------------------------------------------------------------------- */

/* A message before its position is known. */
struct draft {
    struct person *person;
    int64_t at_ms, read_ms, position;
    enum message_direction direction;
    enum message_state state;
    enum message_origin origin;
    struct str text;
};

static void invent_outbound(struct seed_random *random, struct draft *draft)
{
    static const enum message_state states[] = { MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_DELIVERED,
                                                 MESSAGE_DELIVERED, MESSAGE_READ, MESSAGE_READ };
    static const enum message_origin origins[] = { ORIGIN_PERSON, ORIGIN_PERSON, ORIGIN_AGENT,
                                                   ORIGIN_RULE, ORIGIN_AUTO };

    draft->direction = MESSAGE_OUT;
    draft->origin = origins[seed_below(random, 5)];
    draft->state = seed_below(random, 50) == 0 ? MESSAGE_FAILED : states[seed_below(random, 6)];
    draft->read_ms = draft->state == MESSAGE_READ ? draft->at_ms + seed_below(random, 3600000) : 0;
}

static void invent_message(const struct seeding *seeding, struct arena *arena,
                           struct seed_random *random, struct draft *draft)
{
    draft->person = &seeding->people[seed_zipf(random, seeding->person_count)];
    draft->text = seed_text(arena, random);
    if (seed_below(random, 100) < 45) {
        invent_outbound(random, draft);
        return;
    }
    draft->direction = MESSAGE_IN;
    draft->origin = ORIGIN_CONTACT;
    draft->state = MESSAGE_PROCESSED;
    draft->read_ms = seed_below(random, 10) ? draft->at_ms + seed_below(random, 7200000) : 0;
}

/* The share of each conversation in these messages; sorted by person, then in order of time. */
static int compare_drafts(const void *a, const void *b)
{
    const struct draft *x = *(struct draft *const *)a, *y = *(struct draft *const *)b;

    if (x->person != y->person)
        return x->person < y->person ? -1 : 1;
    return (x > y) - (x < y);
}

static int touch_people(struct db_session *tx, const struct batch *batch, struct draft *drafts,
                        struct err *err)
{
    struct arena *arena = db_arena(tx);
    struct draft **sorted = arena_array(arena, batch->count, sizeof *sorted);
    struct conversation_touch *touches = arena_array(arena, batch->count, sizeof *touches);
    size_t count = 0;

    for (size_t i = 0; i < batch->count; i++)
        sorted[i] = &drafts[i];
    qsort(sorted, batch->count, sizeof(struct draft *), compare_drafts);
    for (size_t i = 0; i < batch->count; i++) {
        struct draft *draft = sorted[i];
        struct conversation_touch *touch;

        if (i == 0 || sorted[i - 1]->person != draft->person)
            touches[count++] = touch_of(batch->seeding, draft->person);
        touch = &touches[count - 1];
        draft->position = touch->messages++;
        touch->unread += draft->direction == MESSAGE_IN && !draft->read_ms;
        touch->last_message_id = batch->first_id + (draft - drafts);
        touch->last_message_ms = touch->now_ms = draft->at_ms;
    }
    qsort(touches, count, sizeof *touches, compare_touches);
    if (conversation_touch(tx, touches, count, err))
        return -1;
    for (size_t i = 0; i < batch->count; i++) {
        struct draft *draft = sorted[i];
        struct conversation_touch key = touch_of(batch->seeding, draft->person);

        if (i == 0 || sorted[i - 1]->person != draft->person)
            draft->person->touch = bsearch(&key, touches, count, sizeof *touches, compare_touches);
        draft->position += draft->person->touch->position;
    }
    return 0;
}

static void fill_row(struct db_value *row, const struct batch *batch, const struct draft *draft,
                     size_t index)
{
    const struct seeding *seeding = batch->seeding;
    const struct channel_driver *driver = seeding->channels[draft->person->channel].driver;
    bool out = draft->direction == MESSAGE_OUT;
    bool arrived = draft->state == MESSAGE_DELIVERED || draft->state == MESSAGE_READ;
    bool failed = draft->state == MESSAGE_FAILED;
    struct str none = { 0 };
    uint32_t number = (uint32_t)(draft->person - seeding->people);

    *row++ = db_int(batch->first_id + (int64_t)index);
    *row++ = db_int(seeding->plan->tenant_id);
    *row++ = db_int(draft->person->conversation_id);
    *row++ = db_int(draft->position);
    *row++ = db_int(seeding->channels[draft->person->channel].id);
    *row++ = db_id(draft->person->contact_id);
    *row++ = db_int(draft->direction);
    *row++ = db_int(draft->state);
    *row++ = db_text(driver->can & CHANNEL_SMS ? STR("sms") : STR("text"));
    *row++ = db_int(draft->origin);
    *row++ = db_int(PRIORITY_NORMAL);
    *row++ = db_cstr(draft->person->address);
    *row++ = db_text(draft->text);
    *row++ = db_cstr(arena_printf(seeding->scratch, "seed.%llu.%lld",
                                  (unsigned long long)seeding->plan->number,
                                  (long long)(batch->first + (int64_t)index)));
    *row++ = db_id(out ? 0 : draft->at_ms - 1500);
    *row = db_int(seed_country_of(number)->offset_min);
    row++->is_null = out;
    *row++ = db_int(draft->at_ms);
    *row++ = db_int(draft->at_ms);
    *row++ = db_id(out && !failed ? draft->at_ms + 800 : 0);
    *row++ = db_id(out && arrived ? draft->at_ms + 2500 : 0);
    *row++ = db_id(draft->read_ms);
    *row++ = db_int(1);
    *row++ = db_text(failed ? STR("30003") : none);
    *row++ = db_text(failed ? STR("The phone is switched off or out of reach.") : none);
}

static int insert(struct db_session *tx, const struct batch *batch, const struct draft *drafts,
                  struct err *err)
{
    struct db_value *values = arena_array(db_arena(tx), batch->count * COLUMNS, sizeof *values);
    struct db_set set = {
        "INSERT INTO messages (id, tenant_id, conversation_id, position, channel_id, contact_id, "
        "direction, state, type, origin, priority, address, text, external_id, provider_ms, "
        "offset_min, received_ms, updated_ms, sent_ms, delivered_ms, read_ms, parts, error_code, "
        "error_hint) :rows:", "iiiiiiiitiitttiiiiiiiitt", values, batch->count };

    for (size_t i = 0; i < batch->count; i++) {
        const struct draft *draft = &drafts[i];

        fill_row(values + i * COLUMNS, batch, draft, i);
        event_add(tx, &(struct event){ .tenant_id = batch->seeding->plan->tenant_id,
            .kind = message_event_kind(draft->direction == MESSAGE_IN ? MESSAGE_RECEIVED
                                                                      : draft->state),
            .object_id = batch->first_id + (int64_t)i,
            .conversation_id = draft->person->conversation_id, .at_ms = draft->at_ms });
    }
    return db_exec_rows(tx, &set, err) == (int64_t)batch->count ? 0 : -1;
}

/* Times grow from 90 days ago to now, so that order, time and ids agree. */
static int messages_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct batch *batch = arg;
    const struct seed_plan *plan = batch->seeding->plan;
    struct draft *drafts = arena_array(db_arena(tx), batch->count, sizeof *drafts);
    struct seed_random random = batch->random;

    batch->seeding->scratch = db_arena(tx);
    for (size_t i = 0; i < batch->count; i++) {
        double share = (double)(batch->first + (int64_t)i + 1) / (double)plan->messages;

        drafts[i].at_ms = plan->now_ms - PAST_MS + (int64_t)(share * (double)PAST_MS);
        invent_message(batch->seeding, db_arena(tx), &random, &drafts[i]);
    }
    if (touch_people(tx, batch, drafts, err))
        return -1;
    return insert(tx, batch, drafts, err);
}

static int add_messages(struct seeding *seeding, const struct seed_progress *progress,
                        struct err *err)
{
    const struct seed_plan *plan = seeding->plan;

    while (seeding->done < plan->messages) {
        int64_t left = plan->messages - seeding->done;
        struct batch batch = { .seeding = seeding, .first = seeding->done,
                               .count = left < BATCH ? (size_t)left : BATCH };

        /* each batch has its own stream: what one transaction drew does not shift the next */
        batch.random.state = plan->number * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)seeding->done;
        batch.first_id = ids_take(seeding->hub->ids, batch.count, err);
        if (batch.first_id < 0 || db_write(seeding->hub->db, messages_tx, &batch, err))
            return -1;
        seeding->done += (int64_t)batch.count;
        if (progress && progress->tell)
            progress->tell(progress->arg, seeding->done, plan->messages);
    }
    return 0;
}

/* --- All of it -------------------------------------------------------------------------------- */

static int check_new(struct seeding *seeding, struct err *err)
{
    const struct seed_plan *plan = seeding->plan;
    struct db_session *session = db_read(seeding->hub->db, plan->tenant_id, err);
    const char *prefix = arena_printf(seeding->arena, "seed.%llu.0",
                                      (unsigned long long)plan->number);
    int64_t found = 0;
    int result;

    if (!session)
        return -1;
    result = db_query_int(session, "SELECT COUNT(*) FROM messages m JOIN channels c "
                          "ON c.id = m.channel_id WHERE c.tenant_id = $1 AND m.tenant_id = $1 "
                          "AND m.direction IN (0, 1) AND m.external_id = $2",
                          DB_ARGS(db_int(plan->tenant_id), db_cstr(prefix)), 0, &found, err);
    db_read_end(session);
    if (result || !found)
        return result;
    err_set(err, ERR_CONFLICT, "The set with this number is there already.");
    return err_hint(err, "Choose another number with --seed.");
}

int seed_fill(struct hub *hub, const struct seed_plan *plan, const struct seed_progress *progress,
              struct seed_result *out, struct err *err)
{
    struct seeding seeding = { .plan = plan, .hub = hub, .arena = arena_new(64 * 1024),
                               .random = { plan->number } };
    int64_t started_us = clock_mono_us();
    int result = -1;

    if (plan->messages < 1) {
        err_field(err, "messages", "Say how many messages: at least 1.");
        goto done;
    }
    if (check_new(&seeding, err) || add_channels(&seeding, err))
        goto done;
    invent_people(&seeding);
    if (add_people(&seeding, err) || add_messages(&seeding, progress, err))
        goto done;
    *out = (struct seed_result){ .messages = seeding.done, .conversations = seeding.person_count,
        .channels = seeding.channel_count,
        .elapsed_ms = (clock_mono_us() - started_us) / 1000 };
    result = 0;
done:
    arena_free(seeding.arena);
    return result;
}
