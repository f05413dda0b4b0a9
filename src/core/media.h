/* media.h - files: their bytes in one store, a folder or an S3 bucket, their rows in the database. Bytes are durable
 * before any row says that they are there; they are verified by their SHA-256 whenever they are read as a whole; their
 * type is sniffed. A name in the store is made of hash and id and never used twice, so that nothing is ever written
 * over or removed under somebody (RELIABILITY.md I7, F11). Within a tenant equal bytes are kept once.
 *
 * The life of a row: `writing` is committed before the first byte, `stored` after the last is durable, `leaving` before
 * they are removed. Whatever a crash leaves is found by its row: no folder or bucket is ever searched. */
#pragma once

#include "core/hub.h"
#include "db/row.h"

enum media_state { MEDIA_WRITING, MEDIA_STORED, MEDIA_LEAVING };

struct media {
    int64_t id, tenant_id, size, state, sweep_ms, created_ms;
    struct str hash, type;          /* SHA-256 in hex; sniffed */
};
extern const struct column media_columns[];

/* Store these bytes for `media->tenant_id`, or find that the tenant has them; fills the rest. They stay for
 * LIMIT_MEDIA_UNUSED_MS at least. Blocks for disk or network; never inside a transaction. ERR_INVALID: empty,
 * ERR_TOO_LARGE; ERR_STORAGE_FULL, ERR_UNAVAILABLE: nothing is stored, come again. */
int media_put(struct hub *hub, struct arena *arena, struct media *media, struct str data, struct err *err);

/* The stored file out->id of the tenant out->tenant_id (0: of whoever it is). 1, 0 unknown, -1. */
int media_get(struct db_session *session, struct arena *arena, struct media *out, struct err *err);

/* The same, and it stays for LIMIT_MEDIA_UNUSED_MS more: before it is hung on a message. */
int media_keep(struct hub *hub, struct arena *arena, struct media *out, struct err *err);

/* A descriptor of the bytes, to be closed; nothing else holds them. `verified`: all of them are compared with the hash
 * first (of a bucket always). -1: ERR_INTERNAL when they are lost or damaged, ERR_UNAVAILABLE. */
int media_open(struct hub *hub, const struct media *media, bool verified, struct err *err);

/* The bytes in memory, verified. All that is held so is bounded (LIMIT_MEDIA_HELD_BYTES): waits for room, then
 * ERR_UNAVAILABLE. Give them back by media_unload. */
struct media_bytes {
    char *data;
    size_t size;
};
int media_load(struct hub *hub, const struct media *media, struct media_bytes *out, struct err *err);
void media_unload(struct media_bytes *bytes);

/* The same room for who brings bytes in by another way: 0 when there is room for them, to be given back. */
int media_hold(size_t size, struct err *err);
void media_release(size_t size);

/* A link by which anybody may get the file for LIMIT_LINK_MS, below the hub's public URL; NULL when the hub has none.
 * In the arena. Reading its last part: 1, 0 forged or malformed, -1 with ERR_GONE when it is too old. */
const char *media_link(const struct hub *hub, struct arena *arena, int64_t id);
int media_link_read(const struct hub *hub, struct str token, int64_t *id, struct err *err);

/* Remove what no message has and nobody wanted for LIMIT_MEDIA_UNUSED_MS, and what a crash left behind. For the
 * sweeper. The number removed, -1. */
int media_sweep(struct hub *hub, struct err *err);
