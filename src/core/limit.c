#include "core/limit.h"

#include "base/arena.h"
#include "base/clock.h"
#include "core/breaker.h"
#include "core/channel.h"
#include "core/pace.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* a use further in the future than this was written by a clock that was wrong */
#define CLOCK_SLACK_MS 60000
#define PAUSE_MAX_MS (2 * 86400000LL)

static const struct {
    const char *name;
    int64_t width_ms;
    int slots;
} scopes[LIMIT_ALL_SCOPES] = {
    [LIMIT_PER_SECOND] = { "second", 1000, 20 },
    [LIMIT_PER_HOUR] = { "hour", 3600000, 60 },
    [LIMIT_PER_DAY] = { "day", 86400000, 96 },
    [LIMIT_PER_CONTACT] = { "contact", 3600000, 12 },
    [LIMIT_SPACING] = { "spacing", 3600000, 1 },
    [LIMIT_NEW_PER_DAY] = { "new", 86400000, 96 },
};

int64_t limit_width_ms(enum limit_scope scope)
{
    return scopes[scope].width_ms;
}

static bool counts(enum limit_scope scope, const struct limit_slot *slot, int64_t now_ms)
{
    return slot->last_ms > now_ms - scopes[scope].width_ms &&
        slot->last_ms <= now_ms + CLOCK_SLACK_MS;
}

static int by_last(const void *a, const void *b)
{
    const struct limit_slot *left = a, *right = b;

    return (left->last_ms > right->last_ms) - (left->last_ms < right->last_ms);
}

struct limit_answer limit_left(const struct limit_question *question,
                               const struct limit_window *window)
{
    struct limit_window sorted = *window;
    struct limit_answer answer = { 0 };
    int64_t max = question->max, wanted = question->wanted, used = 0, still;

    assert(wanted >= 1);
    if (max <= 0)
        return (struct limit_answer){ INT64_MAX, 0 };
    if (wanted > max)
        wanted = max;
    qsort(sorted.slots, sorted.count, sizeof sorted.slots[0], by_last);
    for (size_t i = 0; i < sorted.count; i++)
        if (counts(question->scope, &sorted.slots[i], question->now_ms))
            used += sorted.slots[i].used;
    answer.left = used < max ? max - used : 0;
    still = used;
    for (size_t i = 0; i < sorted.count && max - still < wanted; i++) {
        if (!counts(question->scope, &sorted.slots[i], question->now_ms))
            continue;
        still -= sorted.slots[i].used;
        answer.next_ms = sorted.slots[i].last_ms + scopes[question->scope].width_ms;
    }
    return answer;
}

const struct limit_slot *limit_use(enum limit_scope scope, struct limit_window *window,
                                   int64_t now_ms, int64_t used)
{
    int64_t step = scopes[scope].width_ms / scopes[scope].slots,
        number = now_ms / step % (scopes[scope].slots + 1);
    struct limit_slot *slot = NULL;

    for (size_t i = 0; i < window->count; i++)
        if (window->slots[i].slot == number)
            slot = &window->slots[i];
    if (!slot) {
        assert(window->count < sizeof window->slots / sizeof window->slots[0]);
        slot = &window->slots[window->count++];
        *slot = (struct limit_slot){ .slot = number };
    }
    if (slot->last_ms / step != now_ms / step)
        slot->used = 0;
    slot->used += used;
    slot->last_ms = now_ms;
    return slot;
}

bool limit_any(const struct limit_rule *rule)
{
    for (int i = 0; i < LIMIT_SCOPES; i++)
        if (rule->max[i] > 0)
            return true;
    return false;
}

struct limit_rule limit_rule_of(const struct channel_driver *driver,
                                const int64_t own[LIMIT_SCOPES])
{
    struct limit_rule rule = { { 0 } };

    if (driver)
        rule = (struct limit_rule){ { driver->limits.per_second, driver->limits.per_hour,
            driver->limits.per_day,
            driver->limits.per_contact_hour } };
    for (int i = 0; i < LIMIT_SCOPES; i++)
        if (own[i] >= 0)
            rule.max[i] = own[i];
    return rule;
}

static struct str scope_text(char text[40], enum limit_scope scope, int64_t contact_id)
{
    if (scope == LIMIT_PER_CONTACT || scope == LIMIT_SPACING)
        snprintf(text, 40, "%s:%" PRId64, scopes[scope].name, contact_id);
    else
        snprintf(text, 40, "%s", scopes[scope].name);
    return str_c(text);
}

int limit_load(struct db_session *session, const struct limit_target *target,
               struct limit_window *out, struct err *err)
{
    char text[40];
    struct db_rows *rows = db_query(session,
        "SELECT slot, window_ms, used FROM limit_use WHERE channel_id = $1 AND scope = $2 ORDER "
        "BY slot LIMIT 100",
        DB_ARGS(db_int(target->channel_id), db_text(scope_text(text, target->scope,
                                                               target->contact_id))), err);
    int more;

    out->count = 0;
    if (!rows)
        return -1;
    while ((more = db_next(rows, err)) == 1)
        out->slots[out->count++] = (struct limit_slot){ db_col_int(rows, 0), db_col_int(rows, 1),
            db_col_int(rows, 2) };
    return more;
}

int limit_store(struct db_session *tx, const struct limit_target *target,
                const struct limit_slot *slot, struct err *err)
{
    char text[40];

    return db_exec(tx,
        "INSERT INTO limit_use (channel_id, scope, slot, window_ms, tenant_id, used) VALUES ($1, "
        "$2, $3, $4, $5, $6) ON CONFLICT (channel_id, scope, slot) DO UPDATE SET window_ms = "
        "excluded.window_ms, used = excluded.used",
        DB_ARGS(db_int(target->channel_id), db_text(scope_text(text, target->scope,
                                                               target->contact_id)),
                db_int(slot->slot), db_int(slot->last_ms), db_int(target->tenant_id),
                    db_int(slot->used)), err) < 0 ? -1 : 0;
}

/* What stands in the channel's row. */
struct gate {
    struct limit_rule rule;
    struct pace pace;
    int64_t next_ms, now_ms;
};

static int load_gate(struct db_session *session, int64_t channel_id, struct gate *out,
                     struct err *err)
{
    struct db_rows *rows = db_query(session,
        "SELECT kind, coalesce(per_second, -1), coalesce(per_hour, -1), coalesce(per_day, -1), "
        "coalesce(per_contact_hour, -1), next_send_ms, breaker_faults, breaker_until_ms, " PACE_COLUMNS " FROM "
        "channels WHERE id = $1",
        DB_ARGS(db_int(channel_id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found < 0)
        return -1;
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "There is no such channel.");
    int64_t own[LIMIT_SCOPES] = { db_col_int(rows, 1), db_col_int(rows, 2), db_col_int(rows, 3),
        db_col_int(rows, 4) };
    struct breaker breaker = { db_col_int(rows, 6), db_col_int(rows, 7) };
    out->rule = limit_rule_of(channel_driver_find(db_col_text(rows, 0)), own);
    out->now_ms = clock_ms();
    out->pace = pace_read(rows, 8, channel_driver_find(db_col_text(rows, 0)), out->now_ms);
    out->rule.max[LIMIT_PER_DAY] = pace_ramp(&out->pace, out->rule.max[LIMIT_PER_DAY]);
    out->next_ms = db_col_int(rows, 5) <= out->now_ms + PAUSE_MAX_MS ? db_col_int(rows, 5) : 0;
    if (breaker_state(&breaker, out->now_ms) == BREAKER_STOPPED && breaker.until_ms > out->next_ms)
        out->next_ms = breaker.until_ms;
    db_rows_end(rows);
    return 0;
}

int limit_next_send(struct db_session *session, int64_t channel_id, int64_t contact_id,
                    int64_t *next_ms, struct err *err)
{
    struct gate gate = { 0 };

    if (load_gate(session, channel_id, &gate, err))
        return -1;
    for (int i = 0; i < LIMIT_SCOPES; i++) {
        const struct limit_target target = { 0, channel_id, contact_id, (enum limit_scope)i };
        const struct limit_question one = { (enum limit_scope)i, gate.rule.max[i], gate.now_ms, 1 };
        struct limit_window window;
        struct limit_answer answer;

        if (gate.rule.max[i] <= 0 || (i == LIMIT_PER_CONTACT && !contact_id))
            continue;
        if (limit_load(session, &target, &window, err))
            return -1;
        answer = limit_left(&one, &window);
        if (answer.next_ms > gate.next_ms)
            gate.next_ms = answer.next_ms;
    }
    if (contact_id && gate.pace.spacing_ms > 0) {
        const struct pace spacing = { .spacing_ms = gate.pace.spacing_ms };
        const struct pace_question question = { 0, channel_id, contact_id, 0, 0, gate.now_ms };
        int64_t spaced_ms;

        if (pace_ask(session, &spacing, &question, &spaced_ms, err) < 0)
            return -1;
        if (spaced_ms > gate.next_ms)
            gate.next_ms = spaced_ms;
    }
    *next_ms = gate.next_ms > gate.now_ms ? gate.next_ms : 0;
    return 0;
}

int limit_sweep(struct db_session *tx, int64_t now_ms, struct err *err)
{
    return db_exec(tx,
                   "DELETE FROM limit_use WHERE window_ms < $1 OR (window_ms < $2 AND scope "
                   "NOT IN ('day', 'new'))",
                   DB_ARGS(db_int(now_ms - scopes[LIMIT_PER_DAY].width_ms),
                           db_int(now_ms - 3600000)), err) < 0 ? -1 : 0;
}
