/* ceiling - what the database alone can do: the hub's own statements on the hub's own schema, 64 messages to a commit,
 * on one connection, without HTTP, JSON, threads or checks. What the hub reaches is measured against this.
 *
 *   ceiling-sqlite FILE MEASURE_MS
 *   ceiling-postgres URL MEASURE_MS
 *
 * The database must be new: it has the schema (message-hub migrate) and no rows. Prints one JSON object. */
#include "ceiling.h"
#include "measure.h"
#include "statements.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP 64
#define IDS_PER_MESSAGE 4       /* conversation, contact, message, job: as the hub draws them */
#define CHANNEL 1
#define TENANT_ID 1
#define WARM_MS 300

/* The hub's numbers for an ordinary text that waits for its decision. */
enum { KIND_DECIDE = 2, STATE_READY = 0, DIRECTION_IN = 0, STATE_RECEIVED = 0, ORIGIN_CONTACT = 0, PRIORITY = 0 };

/* One message of the group, and what its conversation's row said. */
struct line {
    struct sample sample;
    int64_t first_id, conversation_id, contact_id, position, received_ms;
    bool created;
};

static struct line lines[GROUP];
static struct line *sorted[GROUP];      /* by address, as the hub locks conversations */
static int64_t number, debounce_ms, seq;
static size_t returned, created;

/* --- What comes back --------------------------------------------------------------------------------------------- */

static void on_duplicate(void)
{
    fail("ceiling: the database was not empty");
}

static void on_conversation(void)
{
    struct line *line = returned < GROUP ? sorted[returned++] : NULL;

    if (!line || strcmp(store_text(3), line->sample.from))
        fail("ceiling: the conversations came back in another order");
    line->conversation_id = store_int(0);
    line->created = line->conversation_id == line->first_id;
    line->contact_id = store_int(4);
    line->position = store_int(5);
    created += line->created;
}

static void on_channel(void)
{
    debounce_ms = store_int(1);
}

static void on_seq(void)
{
    seq = store_int(0);
}

const struct text texts[STATEMENTS] = {
    [LOOK_UP] = { SQL_LOOK_UP, TYPES_LOOK_UP, on_duplicate },
    [TOUCH] = { SQL_TOUCH, TYPES_TOUCH, on_conversation },
    [CONTACTS] = { SQL_CONTACTS, TYPES_CONTACTS, NULL },
    [MESSAGES] = { SQL_MESSAGES, TYPES_MESSAGES, NULL },
    [CHANNELS] = { SQL_CHANNELS, TYPES_CHANNELS, on_channel },
    [JOBS] = { SQL_JOBS, TYPES_JOBS, NULL },
    [TENANT] = { SQL_TENANT, TYPES_TENANT, on_seq },
    [EVENTS] = { SQL_EVENTS, TYPES_EVENTS, NULL },
};

/* --- One group --------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    return strcmp((*(struct line *const *)a)->sample.from, (*(struct line *const *)b)->sample.from);
}

static void make_group(void)
{
    for (int i = 0; i < GROUP; i++) {
        struct line *line = sorted[i] = &lines[i];

        sample_make(&line->sample, number);
        line->first_id = 1000 + number++ * IDS_PER_MESSAGE;
        line->received_ms = now_ms();
    }
    qsort(sorted, GROUP, sizeof sorted[0], compare);
}

static void look_up(void)
{
    for (int i = 0; i < GROUP; i++)
        store_row(LOOK_UP, (int64_t)TENANT_ID, (int64_t)CHANNEL, (int64_t)DIRECTION_IN, lines[i].sample.id);
    store_run(LOOK_UP);
}

static void touch(void)
{
    returned = created = 0;
    for (int i = 0; i < GROUP; i++) {
        const struct line *line = sorted[i];

        store_row(TOUCH, line->first_id, (int64_t)TENANT_ID, (int64_t)CHANNEL, line->sample.from, INT64_C(0),
                  line->first_id + 1, NULL, INT64_C(1), INT64_C(1), line->first_id + 2, line->received_ms, NOTHING,
                  INT64_C(0), line->received_ms, line->received_ms);
    }
    store_run(TOUCH);
    if (returned != GROUP)
        fail("ceiling: %zu of %d conversations came back", returned, GROUP);
}

static void add_contacts(void)
{
    if (!created)
        return;
    for (int i = 0; i < GROUP; i++) {
        const struct line *line = sorted[i];

        if (line->created)
            store_row(CONTACTS, line->contact_id, (int64_t)TENANT_ID, (int64_t)CHANNEL, line->sample.from, NULL, NULL,
                      line->received_ms, line->received_ms);
    }
    store_run(CONTACTS);
}

static void add_messages(void)
{
    for (int i = 0; i < GROUP; i++) {
        const struct line *line = &lines[i];

        store_row(MESSAGES, line->first_id + 2, (int64_t)TENANT_ID, line->conversation_id, line->position,
                  (int64_t)CHANNEL, line->contact_id, NOTHING, (int64_t)DIRECTION_IN, (int64_t)STATE_RECEIVED, "sms",
                  (int64_t)ORIGIN_CONTACT, (int64_t)PRIORITY, line->sample.from, line->sample.text, METADATA,
                  line->sample.id, NOTHING, INT64_C(0), INT64_C(0), line->sample.sent_ms, INT64_C(0),
                  line->received_ms, line->received_ms);
    }
    store_run(MESSAGES);
}

static void add_jobs(void)
{
    store_row(CHANNELS, (int64_t)CHANNEL);
    store_run(CHANNELS);
    for (int i = 0; i < GROUP; i++) {
        const struct line *line = sorted[i];
        int64_t due_ms = line->received_ms + debounce_ms;

        store_row(JOBS, line->first_id + 3, (int64_t)TENANT_ID, (int64_t)KIND_DECIDE, (int64_t)STATE_READY,
                  line->conversation_id, line->position, INT64_C(1), due_ms, due_ms, (int64_t)CHANNEL,
                  line->conversation_id, line->received_ms, INT64_C(1), line->received_ms);
    }
    store_run(JOBS);
}

static void log_group(void)
{
    int64_t count = (int64_t)(GROUP + created);

    store_row(TENANT, count, (int64_t)TENANT_ID);
    store_run(TENANT);
    seq -= count;
    for (int i = 0; i < GROUP; i++)
        if (sorted[i]->created)
            store_row(EVENTS, (int64_t)TENANT_ID, ++seq, "conversation.created", sorted[i]->conversation_id,
                      sorted[i]->conversation_id, sorted[i]->received_ms, NULL);
    for (int i = 0; i < GROUP; i++)
        store_row(EVENTS, (int64_t)TENANT_ID, ++seq, "message.received", lines[i].first_id + 2,
                  lines[i].conversation_id, lines[i].received_ms, NULL);
    store_run(EVENTS);
}

static void run_group(void)
{
    make_group();
    store_begin();
    look_up();
    touch();
    add_contacts();
    add_messages();
    add_jobs();
    log_group();
    store_commit();
}

static void set_up(void)
{
    store_script("INSERT INTO tenants (id, name, created_ms) VALUES (1, 'ceiling', 0)");
    store_script("INSERT INTO channels (id, tenant_id, kind, name, hook, created_ms, updated_ms) "
                 "VALUES (1, 1, 'android', 'ceiling', 'ceiling', 0, 0)");
    store_prepare();
}

int main(int argc, char **argv)
{
    int64_t start_us, measure_us, first;

    if (argc != 3)
        fail("usage: ceiling-sqlite FILE MEASURE_MS | ceiling-postgres URL MEASURE_MS");
    measure_us = atoll(argv[2]) * 1000;
    store_open(argv[1]);
    set_up();
    for (start_us = now_us(); now_us() - start_us < WARM_MS * 1000;)
        run_group();
    first = number;
    for (start_us = now_us(); now_us() - start_us < measure_us;)
        run_group();
    printf("{\"per_s\":%.0f,\"count\":%lld}\n", (double)(number - first) * 1e6 / (double)(now_us() - start_us),
           (long long)(number - first));
    return 0;
}
