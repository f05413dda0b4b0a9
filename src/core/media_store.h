/* media_store.h - where the bytes of files lie; included by media*.c alone. */
#pragma once

#include "core/media.h"

/* A file's place: "ab/abcd...-12" below the root. */
struct media_place {
    const char *root;               /* the folder, or the bucket's URL */
    const char *name;               /* "abcd...-12" */
    struct str hash;
};

/* media.c: where this file's bytes lie. In the arena. */
struct media_place media_place(const struct hub *hub, struct arena *arena, const struct media *media);

/* media_folder.c: a folder of this machine, 0700, files 0600. Written under another name, synced, renamed, the folder
 * synced. What fails leaves nothing. ERR_STORAGE_FULL, ERR_UNAVAILABLE. */
int media_folder_put(struct arena *arena, const struct media_place *place, struct str data, struct err *err);

/* A descriptor, -1 with ERR_NOT_FOUND or ERR_UNAVAILABLE; and removing what may be gone already. */
int media_folder_open(struct arena *arena, const struct media_place *place, struct err *err);
int media_folder_remove(struct arena *arena, const struct media_place *place, struct err *err);

/* A file without a name in that folder that holds `data`, read from its start. */
int media_folder_scratch(struct arena *arena, const char *root, struct str data, struct err *err);

/* media_s3.c: the same with a bucket; `get` reads the whole object into the arena. */
int media_bucket_put(struct hub *hub, struct arena *arena, const struct media_place *place, struct str data,
               struct err *err);
int media_bucket_get(struct hub *hub, struct arena *arena, const struct media_place *place, struct str *data,
               struct err *err);
int media_bucket_remove(struct hub *hub, struct arena *arena, const struct media_place *place, struct err *err);
