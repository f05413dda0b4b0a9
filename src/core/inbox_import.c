/* Rows that other processes inserted: each goes through the accept path like a webhook, or is
 * parked with its reason. The row disappears in the same transaction. */
#include "core/inbox.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "base/sign.h"
#include "core/park.h"

#include <pthread.h>
#include <string.h>

#define CONTENT_MAX (16 * 1024 * 1024)     /* twice 4 MiB, with room for escapes */

/* How many of the submitted rows have no outcome yet. */
struct pending {
    pthread_mutex_t lock;
    pthread_cond_t done;
    size_t count;
};

struct import {
    struct inbox_write write;       /* first: its item leads back here */
    struct channel_event event;
    struct inbox_result result;
    struct pending *pending;
    struct inbox_parked parcel;
    const char *fault;              /* why it is parked; NULL: it is not */
    bool submitted;
};

/* The columns of inbound_rows, in the order they are read. */
enum { ROW_ID, ROW_TENANT, ROW_CHANNEL, ROW_SENDER, ROW_NAME, ROW_GROUP, ROW_TEXT, ROW_TYPE,
       ROW_EXTERNAL, ROW_SENT, ROW_HISTORY, ROW_FROM_ME, ROW_METADATA, ROW_ATTACHMENTS, ROW_COLUMNS };

static const char *const row_names[ROW_COLUMNS] = {
    "id", "tenant_id", "channel", "sender", "sender_name", "group_id", "text", "type",
    "external_id", "sent_at_ms", "is_history", "from_me", "metadata",
    "attachments"
};

static bool is_number(int column)
{
    return column == ROW_ID || column == ROW_TENANT || column == ROW_SENT || column == ROW_HISTORY
        || column == ROW_FROM_ME;
}

/* The row as JSON, for those who look at why it was parked. */
static struct str row_content(struct arena *arena, const struct db_rows *rows)
{
    struct json_writer writer;
    struct str content;
    struct buf out;

    buf_init(&out, CONTENT_MAX);
    writer = json_writer(&out);
    json_object_begin(&writer);
    for (int i = 0; i < ROW_COLUMNS; i++) {
        if (db_col_null(rows, i))
            continue;
        if (is_number(i))
            json_int_at(&writer, row_names[i], db_col_int(rows, i));
        else
            json_text_at(&writer, row_names[i], str_nfc(arena, db_col_text(rows, i)));
    }
    json_object_end(&writer);
    content = buf_slice(&out);
    content.data = arena_copy(arena, content.data, content.len);
    buf_fini(&out);
    return content;
}

static bool is_object(struct arena *arena, struct str text)
{
    struct err err;

    return json_kind(json_parse(arena, text, &err)) == JSON_KIND_OBJECT;
}

/* The row's files. NULL, or what is wrong with them. */
static const char *read_files(struct arena *arena, struct str text, struct channel_event *event)
{
    const struct json *list = text.data ? json_parse(arena, text, NULL) : NULL;
    struct channel_attachment *files = arena_array(arena, LIMIT_ATTACHMENTS, sizeof *files);

    if (!text.data)
        return NULL;
    if (json_kind(list) != JSON_KIND_ARRAY || json_count(list) > LIMIT_ATTACHMENTS)
        return "The row's attachments are not a JSON list of at most 20 files.";
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *one = json_item(list, i);
        struct str data = json_text(json_get(one, "data")), url = json_text(json_get(one, "url"));
        struct str media = json_text(json_get(one, "media"));

        files[i] = (struct channel_attachment){ .name = json_text(json_get(one, "name")),
            .type = json_text(json_get(one, "type")), .ref = url.data ? url : json_text(json_get(one, "ref")),
            .size = json_int(json_get(one, "size"), 0), .is_public = url.data != NULL };
        if ((data.data && !sign_unbase64(arena, data, &files[i].data))
            || (media.data && !id_decode(ID_MEDIA, media, &files[i].media_id)))
            return "One of the row's attachments has data that is not base64, or a media id that is none.";
        if (!files[i].data.data && !files[i].ref.len && !files[i].media_id)
            return "One of the row's attachments has neither data, ref, url nor media.";
    }
    event->attachments = files;
    event->attachment_count = json_count(list);
    return NULL;
}

static const char *fault_of(struct arena *arena, const struct db_rows *rows)
{
    struct str metadata = db_col_text(rows, ROW_METADATA);

    if (db_col_text(rows, ROW_CHANNEL).len == 0)
        return "The row names no channel.";
    if (db_col_text(rows, ROW_SENDER).len == 0)
        return "The row names no sender.";
    if (db_col_null(rows, ROW_TEXT))
        return "The row has no text.";
    if (metadata.data && (metadata.len > LIMIT_METADATA_BYTES || !is_object(arena, metadata)))
        return "The row's metadata is not a JSON object of at most 16 KiB.";
    return NULL;
}

static const char *read_event(struct arena *arena, const struct db_rows *rows, struct import *import)
{
    struct events events = { .arena = arena };
    struct channel_event event = {
        .kind = db_col_int(rows, ROW_FROM_ME) ? CHANNEL_OWN_MESSAGE : CHANNEL_MESSAGE,
        .address = db_col_text(rows, ROW_SENDER), .name = db_col_text(rows, ROW_NAME),
        .group = db_col_text(rows, ROW_GROUP), .text = db_col_text(rows, ROW_TEXT),
        .type = db_col_text(rows, ROW_TYPE), .external_id = db_col_text(rows, ROW_EXTERNAL),
        .metadata = db_col_text(rows, ROW_METADATA), .priority = PRIORITY_NORMAL,
        .provider_ms = db_col_int(rows, ROW_SENT), .is_history = db_col_int(rows, ROW_HISTORY) != 0,
    };
    const char *fault = read_files(arena, db_col_text(rows, ROW_ATTACHMENTS), &event);
    struct err err;

    /* without anything that makes it unique, the row itself does */
    if (event.external_id.len == 0 && event.provider_ms <= 0)
        event.external_id = str_c(arena_printf(arena, "row.%lld", (long long)import->write.row_id));
    events_add(&events, &event, &err);
    import->event = events.items[0];
    return fault;
}

static int read_rows(struct hub *hub, struct arena *arena, int limit, struct import *imports,
                     struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    struct db_rows *rows;
    int found = -1, count = 0;

    if (!session)
        return -1;
    rows = db_query(session,
        "SELECT id, tenant_id, channel, sender, sender_name, group_id, text, type, external_id, "
        "sent_at_ms, is_history, from_me, metadata, attachments FROM inbound_rows ORDER BY id LIMIT $1",
        DB_ARGS(db_int(limit)), err);
    while (rows && (found = db_next(rows, err)) == 1) {
        struct import *import = &imports[count++];
        struct str channel = db_col_text(rows, ROW_CHANNEL);
        const char *fault;

        import->write.row_id = db_col_int(rows, ROW_ID);
        import->write.tenant_id = db_col_int(rows, ROW_TENANT);
        import->write.events = &import->event;
        import->write.results = &import->result;
        import->write.count = 1;
        import->fault = fault_of(arena, rows);
        import->parcel = (struct inbox_parked){ .tenant_id = import->write.tenant_id,
            .source = "inbound_rows", .content = row_content(arena, rows),
            .content_type = STR("application/json") };
        import->write.cursor = (struct str){ str_dup(arena, channel), channel.len };
        fault = read_event(arena, rows, import);
        import->fault = import->fault ? import->fault : fault;
    }
    db_read_end(session);
    return found < 0 ? -1 : count;
}

static void one_done(struct db_write_item *item)
{
    struct pending *pending = ((struct import *)item)->pending;

    pthread_mutex_lock(&pending->lock);
    if (--pending->count == 0)
        pthread_cond_signal(&pending->done);
    pthread_mutex_unlock(&pending->lock);
}

/* Find the channel, prepare, submit; what fails for the row's own sake gets a fault. */
static int submit(struct hub *hub, struct arena *arena, struct import *import, struct err *err)
{
    struct pending *pending = import->pending;
    struct channel channel;
    struct str name = import->write.cursor;
    int found =
        channel_load(hub->db, arena, CHANNEL_NAME(import->write.tenant_id, name), &channel, err);

    import->write.cursor = (struct str){ 0 };
    if (found < 0)
        return -1;
    if (found == 0) {
        import->fault = "There is no channel of this name in this tenant.";
        return 0;
    }
    import->write.channel_id = import->parcel.channel_id = channel.id;
    if (inbox_prepare(hub, arena, &import->write, err))
        return -1;
    if (import->result.outcome == INBOX_REFUSED) {
        import->fault = import->result.err.detail;
        return 0;
    }
    import->write.item.done = one_done;
    pthread_mutex_lock(&pending->lock);
    pending->count++;
    pthread_mutex_unlock(&pending->lock);
    import->submitted = !db_submit(hub->db, &import->write.item, err);
    if (!import->submitted)
        one_done(&import->write.item);
    return import->submitted ? 0 : -1;
}

static void wait_for(struct hub *hub, struct pending *pending)
{
    pthread_mutex_lock(&pending->lock);
    while (pending->count > 0) {
        if (!hub->manual) {
            pthread_cond_wait(&pending->done, &pending->lock);
            continue;
        }
        pthread_mutex_unlock(&pending->lock);
        db_step(hub->db);
        pthread_mutex_lock(&pending->lock);
    }
    pthread_mutex_unlock(&pending->lock);
}

/* One transaction for all rows of a step that are parked. */
struct parkings {
    struct import *imports;
    int count;
    int64_t first_id;
};

static int park_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct parkings *parkings = arg;

    for (int i = 0; i < parkings->count; i++) {
        struct import *import = &parkings->imports[i];

        if (!import->fault)
            continue;
        import->parcel.reason = import->fault;
        if (db_exec(tx, "DELETE FROM inbound_rows WHERE id = $1",
                    DB_ARGS(db_int(import->write.row_id)), err) < 0
            || park_add(tx, &import->parcel, parkings->first_id + i, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_passing(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_STORAGE_FULL || code == ERR_TIMEOUT;
}

/* Park what has a fault; the number of rows handled, -1 when some have to wait. */
static int settle(struct hub *hub, struct import *imports, int count, struct err *err)
{
    struct parkings parkings = { imports, count, 0 };
    int faults = 0, handled = 0;

    for (int i = 0; i < count; i++) {
        struct import *import = &imports[i];

        if (import->submitted && import->write.item.err.code != ERR_NONE
            && !is_passing(import->write.item.err.code))
            import->fault = import->write.item.err.detail;
        else if (import->submitted && import->write.item.err.code != ERR_NONE)
            *err = import->write.item.err;
        faults += import->fault != NULL;
        handled += import->fault || (import->submitted && !import->write.item.err.code);
    }
    if (faults > 0) {
        parkings.first_id = ids_take(hub->ids, (size_t)count, err);
        if (parkings.first_id < 0 || db_write(hub->db, park_tx, &parkings, err))
            return -1;
    }
    return handled == count ? count : handled > 0 ? handled : -1;
}

/* 1 when there is a row, 0 when not, -1 failed: most looks find nothing and should cost nothing. */
static int is_waiting(struct hub *hub, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    int64_t found = 0;
    int failed = !session || db_query_int(session, "SELECT 1 FROM inbound_rows LIMIT 1", DB_NO_ARGS, 0, &found, err);

    if (session)
        db_read_end(session);
    return failed ? -1 : (int)found;
}

static int import_rows(struct hub *hub, int limit, struct err *err)
{
    struct arena *arena = arena_new(64 * 1024);
    struct import *imports = arena_array(arena, (size_t)limit, sizeof *imports);
    struct pending pending = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    int count = read_rows(hub, arena, limit, imports, err), result = count;

    for (int i = 0; i < count; i++) {
        imports[i].pending = &pending;
        if (!imports[i].fault && submit(hub, arena, &imports[i], err))
            break;
    }
    wait_for(hub, &pending);
    if (count > 0)
        result = settle(hub, imports, count, err);
    arena_free(arena);
    return result;
}

int inbox_import_step(struct hub *hub, int limit, struct err *err)
{
    int waiting = is_waiting(hub, err);

    return waiting > 0 ? import_rows(hub, limit, err) : waiting;
}
