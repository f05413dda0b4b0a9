#include "core/event.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "base/sign.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURSOR_MAC_BYTES 12
#define STAMP_ROWS 1024             /* lines per statement */
#define EVENT_COLUMNS 7

static struct {
    unsigned char key[SIGN_KEY_BYTES];
    int64_t epoch;
} installed;

/* --- Writing ---------------------------------------------------------------------------------- */

void event_add(struct db_session *tx, const struct event *event)
{
    struct arena *arena = db_arena(tx);
    struct event *copy = arena_copy(arena, event, sizeof *event);

    copy->kind = arena_strdup(arena, event->kind);
    if (event->data.data)
        copy->data.data = arena_copy(arena, event->data.data, event->data.len);
    db_defer(tx, copy);
}

/* The tenants of one stamp, in order of id. */
struct stamp {
    int64_t *tenants, *seqs;        /* seqs: the last number given out */
    int64_t *lines;
    size_t count;
};

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static size_t tenant_at(const struct stamp *stamp, int64_t tenant_id)
{
    const int64_t *found =
        bsearch(&tenant_id, stamp->tenants, stamp->count, sizeof *stamp->tenants, compare_ids);

    return (size_t)(found - stamp->tenants);
}

static void gather_tenants(struct arena *arena, struct stamp *stamp, void **items, size_t count)
{
    int64_t last = INT64_MIN;

    stamp->tenants = arena_array(arena, count, sizeof *stamp->tenants);
    stamp->count = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t tenant_id = ((struct event *)items[i])->tenant_id;

        /* neighbours are mostly of one tenant */
        if (tenant_id != last)
            stamp->tenants[stamp->count++] = last = tenant_id;
    }
    qsort(stamp->tenants, stamp->count, sizeof *stamp->tenants, compare_ids);
    count = stamp->count;
    stamp->count = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || stamp->tenants[i] != stamp->tenants[i - 1])
            stamp->tenants[stamp->count++] = stamp->tenants[i];
    stamp->seqs = arena_array(arena, stamp->count, sizeof *stamp->seqs);
    stamp->lines = arena_array(arena, stamp->count, sizeof *stamp->lines);
}

static int unknown_tenant(int64_t tenant_id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no tenant %lld", (long long)tenant_id);
}

/* One tenant is locked, read and moved on by one statement. */
static int draw_one(struct db_session *tx, struct stamp *stamp, struct err *err)
{
    struct db_rows *rows =
        db_query(tx, "UPDATE tenants SET seq = seq + $1 WHERE id = $2 RETURNING seq",
                 DB_ARGS(db_int(stamp->lines[0]), db_int(stamp->tenants[0])), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found == 0)
        return unknown_tenant(stamp->tenants[0], err);
    if (found < 0)
        return -1;
    stamp->seqs[0] = db_col_int(rows, 0) - stamp->lines[0];
    db_rows_end(rows);
    return 0;
}

/* Several are locked in order of id first, whatever order the update visits them in. */
static int draw_many(struct db_session *tx, struct stamp *stamp, struct err *err)
{
    struct arena *arena = db_arena(tx);
    struct db_value *values = arena_array(arena, stamp->count * 2, sizeof *values);
    struct db_set lock = {
        "SELECT id, seq FROM tenants WHERE id IN (:rows:) ORDER BY id FOR UPDATE", "i", values,
        stamp->count
    };
    struct db_set move = {
        "WITH v(id, seq) AS (:rows:) UPDATE tenants SET seq = v.seq FROM v WHERE tenants.id = v.id",
        "ii", values, stamp->count
    };
    struct db_rows *rows;
    size_t seen = 0;
    int found;

    for (size_t i = 0; i < stamp->count; i++)
        values[i] = db_int(stamp->tenants[i]);
    rows = db_query_rows(tx, &lock, err);
    while (rows && (found = db_next(rows, err)) == 1) {
        stamp->seqs[tenant_at(stamp, db_col_int(rows, 0))] = db_col_int(rows, 1);
        seen++;
    }
    if (!rows || found < 0)
        return -1;
    if (seen != stamp->count)
        return unknown_tenant(0, err);
    for (size_t i = 0; i < stamp->count; i++) {
        values[i * 2] = db_int(stamp->tenants[i]);
        values[i * 2 + 1] = db_int(stamp->seqs[i] + stamp->lines[i]);
    }
    return db_exec_rows(tx, &move, err) < 0 ? -1 : 0;
}

static int insert_lines(struct db_session *tx, struct stamp *stamp, void **items, size_t count,
                        struct err *err)
{
    size_t room = count < STAMP_ROWS ? count : STAMP_ROWS, at = 0;
    struct db_value *values = arena_array(db_arena(tx), room * EVENT_COLUMNS, sizeof *values);

    for (size_t done = 0; done < count; done += room, at = 0) {
        size_t rows = count - done < room ? count - done : room;
        struct db_set set = { "INSERT INTO events (tenant_id, seq, kind, object_id, "
                              "conversation_id, at_ms, data) :rows:",
                              "iitiiit", values, rows };

        for (size_t i = 0; i < rows; i++) {
            const struct event *event = items[done + i];
            size_t tenant = stamp->count == 1 ? 0 : tenant_at(stamp, event->tenant_id);

            values[at++] = db_int(event->tenant_id);
            values[at++] = db_int(++stamp->seqs[tenant]);
            values[at++] = db_cstr(event->kind);
            values[at++] = db_int(event->object_id);
            values[at++] = db_id(event->conversation_id);
            values[at++] = db_int(event->at_ms);
            values[at++] = db_text(event->data);
        }
        if (db_exec_rows(tx, &set, err) != (int64_t)rows)
            return -1;
    }
    return 0;
}

int event_stamp(struct db_session *tx, void **items, size_t count, struct err *err)
{
    struct stamp stamp;
    char payload[64] = "";

    if (count == 0)
        return 0;
    gather_tenants(db_arena(tx), &stamp, items, count);
    for (size_t i = 0; i < count; i++)
        stamp.lines[tenant_at(&stamp, ((struct event *)items[i])->tenant_id)]++;
    if (stamp.count == 1 ? draw_one(tx, &stamp, err) : draw_many(tx, &stamp, err))
        return -1;
    if (insert_lines(tx, &stamp, items, count, err))
        return -1;
    if (stamp.count == 1)
        snprintf(payload, sizeof payload, "%lld:%lld", (long long)stamp.tenants[0],
                 (long long)stamp.seqs[0]);
    db_notify(tx, "events", payload);
    return 0;
}

/* --- Reading ---------------------------------------------------------------------------------- */

int event_position(struct db_session *session, int64_t tenant_id, int64_t *newest, int64_t *horizon,
                   struct err *err)
{
    struct db_rows *rows = db_query(session, "SELECT seq, horizon FROM tenants WHERE id = $1",
                                    DB_ARGS(db_int(tenant_id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found == 0)
        return unknown_tenant(tenant_id, err);
    if (found < 0)
        return -1;
    *newest = db_col_int(rows, 0);
    *horizon = db_col_int(rows, 1);
    db_rows_end(rows);
    return 0;
}

static struct str copy_text(struct arena *arena, struct str text)
{
    return (struct str){ str_dup(arena, text), text.len };
}

static int too_old(struct err *err)
{
    err_set(err, ERR_GONE, "The log no longer reaches back to this position.");
    return err_hint(err, "Read everything again from the start (resync).");
}

int event_read(struct db_session *session, struct arena *arena, struct event_page *page,
               struct err *err)
{
    int64_t newest, horizon;
    struct db_rows *rows;
    int found = -1;

    page->count = 0;
    page->last = page->after;
    if (event_position(session, page->tenant_id, &newest, &horizon, err))
        return -1;
    if (page->after < horizon)
        return too_old(err);
    if (newest <= page->after)
        return 0;
    page->events = arena_array(arena, (size_t)page->limit, sizeof *page->events);
    rows =
        db_query(session,
                 "SELECT seq, kind, object_id, conversation_id, at_ms, data FROM events WHERE "
                 "tenant_id = $1 AND seq > $2 "
                 "ORDER BY seq LIMIT $3",
                 DB_ARGS(db_int(page->tenant_id), db_int(page->after), db_int(page->limit)), err);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct event *event = &page->events[page->count++];

        event->tenant_id = page->tenant_id;
        event->seq = page->last = db_col_int(rows, 0);
        event->kind = str_dup(arena, db_col_text(rows, 1));
        event->object_id = db_col_int(rows, 2);
        event->conversation_id = db_col_int(rows, 3);
        event->at_ms = db_col_int(rows, 4);
        event->data = copy_text(arena, db_col_text(rows, 5));
    }
    return found < 0 ? -1 : 0;
}

/* --- JSON and cursors ------------------------------------------------------------------------- */

/* The prefix of an object's public id by the first word of the kind; unknown words show no id. */
static const char *object_prefix(const char *word, size_t len)
{
    static const char *const known[][2] = {
        { "message", ID_MESSAGE },   { "conversation", ID_CONVERSATION },
        { "contact", ID_CONTACT },   { "channel", ID_CHANNEL },
        { "device", ID_DEVICE },     { "job", ID_JOB },
        { "key", ID_KEY },           { "rule", ID_RULE },
        { "decision", ID_DECISION }, { "tenant", ID_TENANT },
        { "parked", ID_PARKED },     { "attempt", ID_ATTEMPT },
        { "attachment", ID_MESSAGE },
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i][0]) == len && !memcmp(known[i][0], word, len))
            return known[i][1];
    return NULL;
}

void event_json(struct json_writer *writer, const struct event *event)
{
    size_t word = strcspn(event->kind, ".");
    const char *prefix = object_prefix(event->kind, word);
    char id[ID_TEXT_BYTES];
    struct arena *arena = arena_new(0);

    json_object_begin(writer);
    json_int_at(writer, "seq", event->seq);
    json_cstr_at(writer, "cursor", event_cursor(arena, event->tenant_id, event->seq));
    json_cstr_at(writer, "kind", event->kind);
    json_text_at(writer, "object", (struct str){ event->kind, word });
    json_cstr_at(writer, "id", prefix ? id_encode(id, prefix, event->object_id) : NULL);
    json_cstr_at(writer, "conversation_id",
                 event->conversation_id ? id_encode(id, ID_CONVERSATION, event->conversation_id)
                                        : NULL);
    json_time_at(writer, "at", event->at_ms);
    json_key(writer, "data");
    if (event->data.data)
        json_put_raw(writer, event->data);
    else
        json_put_null(writer);
    json_object_end(writer);
    arena_free(arena);
}

void event_install(const unsigned char key[SIGN_KEY_BYTES], int64_t epoch)
{
    memcpy(installed.key, key, sizeof installed.key);
    installed.epoch = epoch;
}

/* The plain numbers and their MAC: opaque to those who read it, free of tables for those who check
 * it. */
static void cursor_mac(struct str plain, unsigned char out[SIGN_HASH_BYTES])
{
    sign_hmac_sha256((struct str){ (const char *)installed.key, sizeof installed.key }, plain, out);
}

static void put64(unsigned char *out, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(number >> (56 - 8 * i));
}

static int64_t get64(const unsigned char *in)
{
    uint64_t number = 0;

    for (int i = 0; i < 8; i++)
        number = number << 8 | in[i];
    return (int64_t)number;
}

const char *event_cursor(struct arena *arena, int64_t tenant_id, int64_t seq)
{
    unsigned char bytes[24 + CURSOR_MAC_BYTES], mac[SIGN_HASH_BYTES];

    put64(bytes, (uint64_t)installed.epoch);
    put64(bytes + 8, (uint64_t)tenant_id);
    put64(bytes + 16, (uint64_t)seq);
    cursor_mac((struct str){ (const char *)bytes, 24 }, mac);
    memcpy(bytes + 24, mac, CURSOR_MAC_BYTES);
    return sign_base64url(arena, bytes, sizeof bytes);
}

int event_cursor_read(struct str text, int64_t tenant_id, int64_t *seq, struct err *err)
{
    struct arena *arena = arena_new(0);
    unsigned char mac[SIGN_HASH_BYTES];
    const unsigned char *data;
    struct str bytes;
    int result = -1;

    if (!text.data || text.len > 64 || !sign_unbase64url(arena, text, &bytes)
        || bytes.len != 24 + CURSOR_MAC_BYTES) {
        err_field(err, "cursor", "This is not a cursor of this hub.");
        err_hint(
            err,
            "Use the cursor of an earlier answer as it is, or none to start from the beginning.");
        goto done;
    }
    data = (const unsigned char *)bytes.data;
    cursor_mac((struct str){ bytes.data, 24 }, mac);
    if (!sign_equal(mac, data + 24, CURSOR_MAC_BYTES) || get64(data + 8) != tenant_id) {
        err_field(err, "cursor", "This is not a cursor of this hub.");
        err_hint(
            err,
            "Use the cursor of an earlier answer as it is, or none to start from the beginning.");
        goto done;
    }
    if (get64(data) != installed.epoch) {
        err_set(err, ERR_GONE, "The hub was restored since this cursor was given out.");
        err_hint(err, "Read everything again from the start (resync).");
        goto done;
    }
    *seq = get64(data + 16);
    result = 0;
done:
    arena_free(arena);
    return result;
}
