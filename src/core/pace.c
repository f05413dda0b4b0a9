#include "core/pace.h"

#include "core/channel.h"
#include "core/limit.h"

#define DAY_MS 86400000LL

struct pace pace_of(const struct channel_driver *driver, const int64_t own[PACE_OWN], int64_t age_ms)
{
    struct pace pace = { .age_ms = age_ms < 0 ? 0 : age_ms };

    if (driver) {
        pace.spacing_ms = driver->limits.spacing_ms;
        pace.new_per_day = driver->limits.new_per_day;
        pace.warmup_days = driver->limits.warmup_days;
    }
    pace.spacing_ms = own[0] >= 0 ? own[0] : pace.spacing_ms;
    pace.new_per_day = own[1] >= 0 ? own[1] : pace.new_per_day;
    pace.warmup_days = own[2] >= 0 ? own[2] : pace.warmup_days;
    return pace;
}

struct pace pace_read(const struct db_rows *rows, int first, const struct channel_driver *driver, int64_t now_ms)
{
    const int64_t own[PACE_OWN] = { db_col_int(rows, first), db_col_int(rows, first + 1), db_col_int(rows, first + 2) };

    return pace_of(driver, own, now_ms - db_col_int(rows, first + 3));
}

bool pace_any(const struct pace *pace)
{
    return pace->spacing_ms > 0 || pace->new_per_day > 0;
}

int64_t pace_ramp(const struct pace *pace, int64_t per_day)
{
    int64_t day = pace->age_ms / DAY_MS + 1, now;

    if (per_day <= 0 || day > pace->warmup_days)
        return per_day;
    now = per_day * day / (pace->warmup_days + 1);
    return now > 0 ? now : 1;
}

/* --- Spacing ---------------------------------------------------------------------------------- */

static struct limit_target spaced(const struct pace_question *question)
{
    return (struct limit_target){ question->tenant_id, question->channel_id, question->contact_id, LIMIT_SPACING };
}

static int ask_spacing(struct db_session *session, const struct pace *pace, const struct pace_question *question,
                       int64_t *next_ms, struct err *err)
{
    struct limit_target target = spaced(question);
    struct limit_window window;
    int64_t last_ms = 0;

    if (pace->spacing_ms <= 0 || !question->contact_id)
        return 1;
    if (limit_load(session, &target, &window, err))
        return -1;
    /* a send in the future was noted by a clock that was wrong */
    for (size_t i = 0; i < window.count; i++)
        if (window.slots[i].last_ms > last_ms && window.slots[i].last_ms <= question->now_ms)
            last_ms = window.slots[i].last_ms;
    if (last_ms == 0 || last_ms + pace->spacing_ms <= question->now_ms)
        return 1;
    *next_ms = last_ms + pace->spacing_ms;
    return 0;
}

/* --- First contacts --------------------------------------------------------------------------- */

/* Did they never write, and was nothing ever sent to them? 1 so it is, 0 not, -1. */
static int is_first(struct db_session *session, const struct pace_question *question, struct err *err)
{
    int64_t known;

    if (db_query_int(session,
                     "SELECT 1 FROM messages WHERE conversation_id = $1 AND id <> $2 AND (direction = 0 OR sent_ms "
                     "IS NOT NULL) LIMIT 1",
                     DB_ARGS(db_int(question->conversation_id), db_int(question->message_id)), 0, &known, err))
        return -1;
    return known == 0;
}

static struct limit_target first_contacts(const struct pace_question *question)
{
    return (struct limit_target){ question->tenant_id, question->channel_id, 0, LIMIT_NEW_PER_DAY };
}

static int ask_first(struct db_session *session, const struct pace *pace, const struct pace_question *question,
                     int64_t *next_ms, struct err *err)
{
    const struct limit_question wanted = { LIMIT_NEW_PER_DAY, pace_ramp(pace, pace->new_per_day), question->now_ms, 1 };
    struct limit_target target = first_contacts(question);
    struct limit_window window;
    struct limit_answer answer;
    int first = pace->new_per_day > 0 ? is_first(session, question, err) : 0;

    if (first != 1)
        return first < 0 ? -1 : 1;
    if (limit_load(session, &target, &window, err))
        return -1;
    answer = limit_left(&wanted, &window);
    if (answer.next_ms > *next_ms)
        *next_ms = answer.next_ms;
    return answer.next_ms == 0;
}

/* --- Both ------------------------------------------------------------------------------------- */

int pace_ask(struct db_session *session, const struct pace *pace, const struct pace_question *question,
             int64_t *next_ms, struct err *err)
{
    int spacing, first;

    *next_ms = 0;
    spacing = ask_spacing(session, pace, question, next_ms, err);
    first = spacing < 0 ? -1 : ask_first(session, pace, question, next_ms, err);
    return first < 0 ? -1 : spacing && first;
}

static int note(struct db_session *tx, const struct limit_target *target, int64_t now_ms, struct err *err)
{
    struct limit_window window;

    if (limit_load(tx, target, &window, err))
        return -1;
    return limit_store(tx, target, limit_use(target->scope, &window, now_ms, 1), err);
}

int pace_spend(struct db_session *tx, const struct pace *pace, const struct pace_question *question, struct err *err)
{
    struct limit_target spacing = spaced(question), firsts = first_contacts(question);
    int first;

    if (pace->spacing_ms > 0 && question->contact_id && note(tx, &spacing, question->now_ms, err))
        return -1;
    first = pace->new_per_day > 0 ? is_first(tx, question, err) : 0;
    if (first < 0)
        return -1;
    return first ? note(tx, &firsts, question->now_ms, err) : 0;
}
