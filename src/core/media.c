#include "core/media.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/sign.h"
#include "base/sniff.h"
#include "core/config.h"
#include "core/media_store.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES 65536

#define MEMBER(member) offsetof(struct media, member)

const struct column media_columns[] = {
    { "id", COL_REF, MEMBER(id), COL_PUBLIC, ID_MEDIA },
    { "tenant_id", COL_INT, MEMBER(tenant_id), 0 },
    { "hash", COL_TEXT, MEMBER(hash), COL_PUBLIC, NULL, NULL, "sha256" },
    { "size", COL_INT, MEMBER(size), COL_PUBLIC },
    { "type", COL_TEXT, MEMBER(type), COL_PUBLIC },
    { "state", COL_INT, MEMBER(state), 0 },
    { "sweep_ms", COL_TIME, MEMBER(sweep_ms), 0 },
    { "created_ms", COL_TIME, MEMBER(created_ms), COL_PUBLIC, NULL, NULL, "created_at" },
    { 0 }
};

/* --- Places ------------------------------------------------------------------------------------------------------ */

static const char *folder_root(const struct hub *hub, struct arena *arena)
{
    const char *data = hub->config ? config_text(hub->config, "data") : NULL;

    return arena_printf(arena, "%s/media", data ? data : "data");
}

static const char *bucket(const struct hub *hub)
{
    return hub->config ? config_text(hub->config, "media-s3-url") : NULL;
}

struct media_place media_place(const struct hub *hub, struct arena *arena, const struct media *media)
{
    return (struct media_place){
        .root = bucket(hub) ? bucket(hub) : folder_root(hub, arena), .hash = media->hash,
        .name = arena_printf(arena, "%.*s-%llx", STR_FMT(media->hash), (unsigned long long)media->id) };
}

/* --- Storing ----------------------------------------------------------------------------------------------------- */

static int add_tx(struct db_session *tx, void *arg, struct err *err)
{
    const struct media *media = arg;

    return db_exec(tx, "INSERT INTO media (id, tenant_id, hash, size, type, state, sweep_ms, created_ms) "
                   "VALUES ($1, $2, $3, $4, $5, 0, $6, $7) ON CONFLICT (id) DO NOTHING",
                   DB_ARGS(db_int(media->id), db_int(media->tenant_id), db_text(media->hash), db_int(media->size),
                           db_text(media->type), db_int(media->sweep_ms), db_int(media->created_ms)), err) < 0 ? -1 : 0;
}

static int stored_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct media *media = arg;
    int64_t changed = db_exec(tx, "UPDATE media SET state = 1, sweep_ms = $1 WHERE id = $2 AND state < 2",
                              DB_ARGS(db_int(media->sweep_ms), db_int(media->id)), err);

    if (changed == 0)
        return err_set(err, ERR_UNAVAILABLE, "The file took longer than a day to be stored.");
    return changed < 0 ? -1 : 0;
}

/* The tenant's own copy of these bytes. 1, 0 it has none, -1. */
static int find(struct hub *hub, struct arena *arena, struct media *media, struct err *err)
{
    struct db_session *session = db_read(hub->db, media->tenant_id, err);
    const char *sql = arena_printf(arena, "SELECT %s FROM media WHERE tenant_id = $1 AND hash = $2 AND state = 1 "
                                   "ORDER BY id LIMIT 1", row_select(media_columns, NULL));
    struct db_rows *rows = session ? db_query(session, sql, DB_ARGS(db_int(media->tenant_id), db_text(media->hash)),
                                              err) : NULL;
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1)
        row_read(rows, 0, media_columns, arena, media);
    if (session)
        db_read_end(session);
    return found;
}

/* Keep what is there already; 0 when there is nothing, or its bytes have gone. */
static int reuse(struct hub *hub, struct arena *arena, struct media *media, struct err *err)
{
    struct media known = *media;
    struct media_place place;
    int found = find(hub, arena, &known, err), fd;

    if (found != 1)
        return found;
    place = media_place(hub, arena, &known);
    fd = bucket(hub) ? -1 : media_folder_open(arena, &place, err);
    if (!bucket(hub) && fd < 0)
        return 0;
    if (fd >= 0)
        close(fd);
    found = media_keep(hub, arena, &known, err);
    if (found == 1)
        *media = known;
    return found;
}

static int write_new(struct hub *hub, struct arena *arena, struct media *media, struct str data, struct err *err)
{
    struct media_place place;

    media->id = ids_next(hub->ids, err);
    if (media->id < 0 || db_write(hub->db, add_tx, media, err))
        return -1;
    place = media_place(hub, arena, media);
    if (bucket(hub) ? media_bucket_put(hub, arena, &place, data, err) : media_folder_put(arena, &place, data, err))
        return -1;
    media->state = MEDIA_STORED;
    media->sweep_ms = clock_ms() + LIMIT_MEDIA_UNUSED_MS;
    return db_write(hub->db, stored_tx, media, err);
}

int media_put(struct hub *hub, struct arena *arena, struct media *media, struct str data, struct err *err)
{
    unsigned char hash[SIGN_HASH_BYTES];
    int known;

    if (data.len == 0)
        return err_set(err, ERR_INVALID, "The file is empty.");
    if (data.len > LIMIT_MEDIA_BYTES)
        return err_set(err, ERR_TOO_LARGE, "The file has %zu bytes; at most %d are kept.", data.len, LIMIT_MEDIA_BYTES);
    sign_sha256(data, hash);
    media->hash = str_c(sign_hex(arena, hash, sizeof hash));
    media->size = (int64_t)data.len;
    media->type = str_c(sniff_type(data));
    media->created_ms = clock_ms();
    media->sweep_ms = media->created_ms + LIMIT_MEDIA_UNUSED_MS;
    known = reuse(hub, arena, media, err);
    return known == 0 ? write_new(hub, arena, media, data, err) : known < 0 ? -1 : 0;
}

/* --- Rows -------------------------------------------------------------------------------------------------------- */

int media_get(struct db_session *session, struct arena *arena, struct media *out, struct err *err)
{
    const char *sql = arena_printf(arena, "SELECT %s FROM media WHERE id = $1 AND ($2 = 0 OR tenant_id = $2) "
                                   "AND state = 1", row_select(media_columns, NULL));
    struct db_rows *rows = db_query(session, sql, DB_ARGS(db_int(out->id), db_int(out->tenant_id)), err);
    int found = rows ? db_next(rows, err) : -1;

    if (found == 1)
        row_read(rows, 0, media_columns, arena, out);
    db_rows_end(rows);
    return found;
}

/* One file that is to stay. */
struct keeping {
    struct media *media;
    struct arena *arena;
    int found;
};

static int keep_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct keeping *keeping = arg;
    struct media *media = keeping->media;
    int64_t kept = db_exec(tx, "UPDATE media SET sweep_ms = $1 WHERE id = $2 AND tenant_id = $3 AND state = 1",
                           DB_ARGS(db_int(clock_ms() + LIMIT_MEDIA_UNUSED_MS), db_int(media->id),
                                   db_int(media->tenant_id)), err);

    keeping->found = kept == 1 ? media_get(tx, keeping->arena, media, err) : (int)kept;
    return keeping->found < 0 ? -1 : 0;
}

int media_keep(struct hub *hub, struct arena *arena, struct media *out, struct err *err)
{
    struct keeping keeping = { out, arena, 0 };

    return db_write(hub->db, keep_tx, &keeping, err) ? -1 : keeping.found;
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

static int damaged(const struct media *media, const char *how, struct err *err)
{
    err_set(err, ERR_INTERNAL, "The bytes of file %lld are %s.", (long long)media->id, how);
    return err_hint(err, "Restore the folder \"media\" from a backup.");
}

/* Read through all of it, into `out` where that is given, and compare size and hash. */
static int verify(int fd, const struct media *media, char *out, struct err *err)
{
    struct arena *arena = arena_new(PIECE_BYTES + 1024);
    unsigned char hash[SIGN_HASH_BYTES];
    char *piece = arena_alloc(arena, PIECE_BYTES);
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    int64_t total = 0;
    ssize_t got = 0;
    bool same;

    if (!digest || !EVP_DigestInit_ex(digest, EVP_sha256(), NULL))
        mem_exhausted(0);
    do {
        got = pread(fd, piece, PIECE_BYTES, total);
        if (got <= 0 || total + got > media->size)
            continue;
        EVP_DigestUpdate(digest, piece, (size_t)got);
        if (out)
            memcpy(out + total, piece, (size_t)got);
        total += got;
    } while ((got < 0 && errno == EINTR) || (got > 0 && total < media->size));
    EVP_DigestFinal_ex(digest, hash, NULL);
    EVP_MD_CTX_free(digest);
    same = total == media->size && str_is(media->hash, sign_hex(arena, hash, sizeof hash));
    arena_free(arena);
    return same ? 0 : damaged(media, "not those that were stored", err);
}

static int open_folder(struct hub *hub, struct arena *arena, const struct media *media, struct err *err)
{
    struct media_place place = media_place(hub, arena, media);
    struct stat status;
    int fd = media_folder_open(arena, &place, err);

    if (fd < 0)
        return err->code == ERR_NOT_FOUND ? damaged(media, "gone", err) : -1;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == media->size)
        return fd;
    close(fd);
    return damaged(media, "of another size", err);
}

/* A bucket's object goes through memory into a file without a name. */
static int open_bucket(struct hub *hub, struct arena *arena, const struct media *media, struct err *err)
{
    struct media_place place = media_place(hub, arena, media);
    struct str data;

    if (media_bucket_get(hub, arena, &place, &data, err))
        return err->code == ERR_NOT_FOUND ? damaged(media, "gone", err) : -1;
    return media_folder_scratch(arena, folder_root(hub, arena), data, err);
}

static int open_any(struct hub *hub, const struct media *media, struct err *err)
{
    struct arena *arena = arena_new(0);
    int fd = bucket(hub) ? open_bucket(hub, arena, media, err) : open_folder(hub, arena, media, err);

    arena_free(arena);
    return fd;
}

int media_open(struct hub *hub, const struct media *media, bool verified, struct err *err)
{
    size_t held = bucket(hub) ? (size_t)media->size * 2 : 0;
    int fd;

    if (held && media_hold(held, err))
        return -1;
    fd = open_any(hub, media, err);
    if (held)
        media_release(held);
    if (fd >= 0 && (verified || held) && verify(fd, media, NULL, err)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int media_load(struct hub *hub, const struct media *media, struct media_bytes *out, struct err *err)
{
    size_t size = (size_t)media->size, on_the_way = bucket(hub) ? 2 * size : 0;
    int fd, status = -1;

    *out = (struct media_bytes){ 0 };
    if (media_hold(size + on_the_way, err))
        return -1;
    fd = open_any(hub, media, err);
    if (fd >= 0) {
        out->size = size;
        out->data = mem_alloc(size + 1);
        status = verify(fd, media, out->data, err);
        close(fd);
    }
    if (status) {
        free(out->data);
        *out = (struct media_bytes){ 0 };
    }
    media_release(on_the_way + (status ? size : 0));
    return status;
}

void media_unload(struct media_bytes *bytes)
{
    if (!bytes->data)
        return;
    free(bytes->data);
    media_release(bytes->size);
    *bytes = (struct media_bytes){ 0 };
}
