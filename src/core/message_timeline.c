#include "base/arena.h"
#include "core/decide.h"
#include "core/message_list.h"
#include "core/queue.h"

#include <stdlib.h>

#define ENTRIES_MAX 500             /* of each kind; a message has a few */

/* The entries under way. */
struct timeline {
    struct db_session *session;
    struct arena *arena;
    const struct message *of;
    struct timeline_entry *entries;
    int count;
};

static struct str copy_text(struct arena *arena, struct str text)
{
    return (struct str){ str_dup(arena, text), text.len };
}

static struct timeline_entry *add(struct timeline *timeline, enum timeline_kind kind)
{
    struct timeline_entry *entry = &timeline->entries[timeline->count++];

    *entry = (struct timeline_entry){ .kind = kind };
    return entry;
}

/* That a message was received stands in its row; its line of the log is not indexed. */
static void add_received(struct timeline *timeline)
{
    struct timeline_entry *entry;

    if (timeline->of->direction != MESSAGE_IN)
        return;
    entry = add(timeline, TIMELINE_EVENT);
    entry->at_ms = timeline->of->times.received_ms;
    entry->what = str_c(message_event_kind(MESSAGE_RECEIVED));
}

static int add_events(struct timeline *timeline, struct err *err)
{
    struct db_rows *rows = db_query(timeline->session,
        "SELECT seq, kind, at_ms, data FROM events WHERE object_id = $1 "
        "AND kind <> 'message.received' AND tenant_id = $2 ORDER BY seq LIMIT $3",
        DB_ARGS(db_int(timeline->of->id), db_int(timeline->of->tenant_id), db_int(ENTRIES_MAX)),
        err);
    int found = -1;

    while (rows && (found = db_next(rows, err)) == 1) {
        struct timeline_entry *entry = add(timeline, TIMELINE_EVENT);

        entry->seq = db_col_int(rows, 0);
        entry->what = copy_text(timeline->arena, db_col_text(rows, 1));
        entry->at_ms = db_col_int(rows, 2);
        entry->detail = copy_text(timeline->arena, db_col_text(rows, 3));
    }
    return found < 0 ? -1 : 0;
}

static int add_attempts(struct timeline *timeline, struct err *err)
{
    struct db_rows *rows = db_query(timeline->session,
        "SELECT id, attempt, part, outcome, started_ms, finished_ms, code, detail FROM attempts "
        "WHERE message_id = $1 AND tenant_id = $2 ORDER BY id LIMIT $3",
        DB_ARGS(db_int(timeline->of->id), db_int(timeline->of->tenant_id), db_int(ENTRIES_MAX)),
        err);
    int found = -1;

    while (rows && (found = db_next(rows, err)) == 1) {
        struct timeline_entry *entry = add(timeline, TIMELINE_ATTEMPT);
        struct str code = db_col_text(rows, 6), detail = db_col_text(rows, 7);

        entry->id = db_col_int(rows, 0);
        entry->number = db_col_int(rows, 1);
        entry->part = db_col_int(rows, 2);
        entry->what = str_c(attempt_outcome_words[db_col_int(rows, 3)]);
        entry->at_ms = db_col_int(rows, 4);
        entry->until_ms = db_col_int(rows, 5);
        if (code.len > 0 && detail.len > 0)
            entry->detail = str_c(arena_printf(timeline->arena, "%.*s: %.*s", STR_FMT(code),
                                               STR_FMT(detail)));
        else
            entry->detail = copy_text(timeline->arena, code.len > 0 ? code : detail);
    }
    return found < 0 ? -1 : 0;
}

static int add_decision(struct timeline *timeline, struct err *err)
{
    struct db_rows *rows;
    int found;

    if (!timeline->of->decision_id)
        return 0;
    rows = db_query(timeline->session,
        "SELECT id, action, reason, created_ms FROM decisions WHERE tenant_id = $1 AND id = $2",
        DB_ARGS(db_int(timeline->of->tenant_id), db_int(timeline->of->decision_id)), err);
    found = rows ? db_next(rows, err) : -1;
    if (found == 1) {
        struct timeline_entry *entry = add(timeline, TIMELINE_DECISION);

        entry->id = db_col_int(rows, 0);
        entry->what = str_c(decision_action_words[db_col_int(rows, 1)]);
        entry->detail = copy_text(timeline->arena, db_col_text(rows, 2));
        entry->at_ms = db_col_int(rows, 3);
        db_rows_end(rows);
    }
    return found < 0 ? -1 : 0;
}

/* By time; of one moment, what is not from the log first, then the log in its own order. */
static int compare_entries(const void *a, const void *b)
{
    const struct timeline_entry *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

int message_timeline(struct db_session *session, struct arena *arena, const struct message *of,
                     struct timeline_entry **out, struct err *err)
{
    struct timeline timeline = { .session = session, .arena = arena, .of = of };

    timeline.entries = arena_array(arena, ENTRIES_MAX * 2 + 2, sizeof *timeline.entries);
    add_received(&timeline);
    if (add_events(&timeline, err) || add_attempts(&timeline, err) || add_decision(&timeline, err))
        return -1;
    qsort(timeline.entries, (size_t)timeline.count, sizeof *timeline.entries, compare_entries);
    *out = timeline.entries;
    return timeline.count;
}
