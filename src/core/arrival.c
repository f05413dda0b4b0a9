#include "core/arrival.h"

#include "base/arena.h"
#include "core/channel.h"
#include "core/split.h"

int arrival_note(struct db_session *tx, const struct arrival *arrival, struct err *err)
{
    struct str segment = arrival->segment.data ? arrival->segment : STR("");

    return (int)db_exec(tx,
        "INSERT INTO arrivals (attempt_id, segment, tenant_id, state, at_ms) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (attempt_id, segment) DO UPDATE SET state = excluded.state, at_ms = excluded.at_ms "
        "WHERE arrivals.state < excluded.state",
        DB_ARGS(db_int(arrival->attempt_id), db_text(segment), db_int(arrival->tenant_id), db_int(arrival->state),
                db_int(arrival->at_ms)), err);
}

int arrival_note_segments(struct db_session *tx, int64_t attempt_id, int64_t segments, struct err *err)
{
    return (int)db_exec(tx, "UPDATE attempts SET segments = $1 WHERE id = $2 AND coalesce(segments, 0) <> $1",
                        DB_ARGS(db_int(segments), db_int(attempt_id)), err);
}

/* What is known of one part. */
struct part {
    int64_t number, attempt_id, segments;
    int64_t seen;                   /* segments that arrived */
    int64_t least, whole;           /* their least state; that of the part as a whole, 0: nobody said */
};

/* The whole message, for counting the segments of its parts. */
struct counting {
    struct db_session *tx;
    int64_t message_id;
    const struct channel_driver *driver;
    struct str text;
    bool loaded;
};

static int load(struct counting *counting, struct err *err)
{
    struct db_rows *rows;
    struct str text;
    int found;

    if (counting->loaded)
        return 0;
    rows = db_query(counting->tx, "SELECT m.text, c.kind FROM messages m JOIN channels c ON c.id = m.channel_id "
                    "WHERE m.id = $1", DB_ARGS(db_int(counting->message_id)), err);
    found = rows ? db_next(rows, err) : -1;
    if (found < 0)
        return -1;
    counting->loaded = true;
    if (found == 1) {
        text = db_col_text(rows, 0);
        counting->text = (struct str){ arena_copy(db_arena(counting->tx), text.data, text.len), text.len };
        counting->driver = channel_driver_find(db_col_text(rows, 1));
    }
    db_rows_end(rows);
    return 0;
}

/* How many segments a part has to have, -1. */
static int64_t needed(struct counting *counting, const struct part *part, struct err *err)
{
    if (part->segments > 0)
        return part->segments;
    if (load(counting, err))
        return -1;
    if (!counting->driver || !(counting->driver->can & CHANNEL_SMS))
        return 1;
    return split_segments(split_part(counting->driver, counting->text, (int)part->number)).segments;
}

/* What is true of a part: delivered, read, or no more than sent. */
static int64_t state_of(struct counting *counting, const struct part *part, struct err *err)
{
    int64_t wanted;

    if (!part->seen)
        return part->whole ? part->whole : MESSAGE_SENT;
    wanted = needed(counting, part, err);
    if (wanted < 0)
        return -1;
    if (part->seen >= wanted && part->least > part->whole)
        return part->least;
    return part->whole ? part->whole : MESSAGE_SENT;
}

static void read_row(const struct db_rows *rows, struct part *part)
{
    int64_t state = db_col_int(rows, 4);

    /* of several tries of a part the last one counts */
    if (db_col_int(rows, 0) != part->attempt_id)
        *part = (struct part){ .attempt_id = db_col_int(rows, 0), .number = db_col_int(rows, 1),
                               .segments = db_col_int(rows, 2) };
    if (db_col_null(rows, 3))
        return;
    if (db_col_text(rows, 3).len == 0) {
        part->whole = state;
        return;
    }
    part->least = part->seen == 0 || state < part->least ? state : part->least;
    part->seen++;
}

/* The parts that have an attempt with the provider's id, or one that a receipt named by our token, by number. */
static int read_parts(struct db_session *tx, int64_t message_id, struct part *parts, int64_t count, struct err *err)
{
    struct db_rows *rows = db_query(tx,
        "SELECT a.id, a.part, coalesce(a.segments, 0), r.segment, r.state FROM attempts a "
        "LEFT JOIN arrivals r ON r.attempt_id = a.id WHERE a.message_id = $1 AND a.act_id IS NULL "
        "AND (a.external_id IS NOT NULL OR r.state IS NOT NULL) ORDER BY a.part, a.id LIMIT 5000",
        DB_ARGS(db_int(message_id)), err);
    int more = -1;

    while (rows && (more = db_next(rows, err)) == 1) {
        int64_t number = db_col_int(rows, 1);

        if (number >= 0 && number < count)
            read_row(rows, &parts[number]);
    }
    return more;
}

int arrival_state(struct db_session *tx, int64_t message_id, int64_t parts, struct err *err)
{
    struct counting counting = { .tx = tx, .message_id = message_id };
    struct part *all = arena_array(db_arena(tx), (size_t)parts, sizeof *all);
    int64_t least = MESSAGE_READ;

    if (read_parts(tx, message_id, all, parts, err) < 0)
        return -1;
    for (int64_t i = 0; i < parts && least > MESSAGE_SENT; i++) {
        int64_t state = state_of(&counting, &all[i], err);

        if (state < 0)
            return -1;
        least = state < least ? state : least;
    }
    return (int)least;
}
