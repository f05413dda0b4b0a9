/* Removing files that nobody has: the row leaves its state first, then the bytes go, then the row. So a crash anywhere
 * in between is taken up by the next sweep, and a file that is wanted again meanwhile becomes another one. */
#include "core/media.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/config.h"
#include "core/media_store.h"

#define SWEEP_ROWS 50
#define LEAVING_AGAIN_MS 60000      /* a store that does not answer is asked again after this */

struct sweeping {
    struct media media[SWEEP_ROWS];
    size_t count;
    int64_t now_ms;
};

static int read_due(struct hub *hub, struct arena *arena, struct sweeping *sweeping, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    const char *sql = arena_printf(arena, "SELECT %s FROM media WHERE sweep_ms <= $1 ORDER BY sweep_ms LIMIT $2",
                                   row_select(media_columns, NULL));
    struct db_rows *rows = session ? db_query(session, sql, DB_ARGS(db_int(sweeping->now_ms), db_int(SWEEP_ROWS)),
                                              err) : NULL;
    int more = -1;

    while (rows && (more = db_next(rows, err)) == 1)
        row_read(rows, 0, media_columns, arena, &sweeping->media[sweeping->count++]);
    if (session)
        db_read_end(session);
    return more < 0 ? -1 : 0;
}

/* What a message has stays without a date; the rest leaves. */
static int mark_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct sweeping *sweeping = arg;

    for (size_t i = 0; i < sweeping->count; i++) {
        struct media *media = &sweeping->media[i];
        int64_t leaves = db_exec(tx, "UPDATE media SET state = 2, sweep_ms = $1 WHERE id = $2 AND sweep_ms <= $3 AND "
                                 "NOT EXISTS (SELECT 1 FROM attachments a WHERE a.media_id = media.id)",
                                 DB_ARGS(db_int(sweeping->now_ms + LEAVING_AGAIN_MS), db_int(media->id),
                                         db_int(sweeping->now_ms)), err);

        if (leaves == 0 && db_exec(tx, "UPDATE media SET sweep_ms = NULL WHERE id = $1 AND sweep_ms <= $2 AND "
                                   "state = 1", DB_ARGS(db_int(media->id), db_int(sweeping->now_ms)), err) < 0)
            return -1;
        if (leaves < 0)
            return -1;
        media->state = leaves == 1 ? MEDIA_LEAVING : MEDIA_STORED;
    }
    return 0;
}

static int forget_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct media *media = arg;

    return db_exec(tx, "DELETE FROM media WHERE id = $1 AND state = 2", DB_ARGS(db_int(media->id)), err) < 0 ? -1 : 0;
}

static int remove_one(struct hub *hub, struct arena *arena, struct media *media, struct err *err)
{
    bool bucket = hub->config && config_text(hub->config, "media-s3-url");
    struct media_place place = media_place(hub, arena, media);

    if (bucket ? media_bucket_remove(hub, arena, &place, err) : media_folder_remove(arena, &place, err))
        return -1;
    return db_write(hub->db, forget_tx, media, err);
}

int media_sweep(struct hub *hub, struct err *err)
{
    struct arena *arena = arena_new(sizeof(struct sweeping) + 1024);
    struct sweeping *sweeping = arena_alloc(arena, sizeof *sweeping);
    bool store_works = true;
    int removed = 0, failed;

    sweeping->now_ms = clock_ms();
    failed = read_due(hub, arena, sweeping, err);
    if (!failed && sweeping->count > 0)
        failed = db_write(hub->db, mark_tx, sweeping, err);
    for (size_t i = 0; i < sweeping->count && !failed && store_works; i++) {
        struct err why = { 0 };

        if (sweeping->media[i].state != MEDIA_LEAVING)
            continue;
        store_works = remove_one(hub, arena, &sweeping->media[i], &why) == 0;
        removed += store_works;
        if (!store_works)
            log_warn("files are not removed; it is tried again in a minute", LOG_T("detail", why.detail));
    }
    arena_free(arena);
    return failed ? -1 : removed;
}
