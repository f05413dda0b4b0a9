#include "core/send_file.h"

#include "base/arena.h"
#include "base/sniff.h"

int send_files_load(struct hub *hub, struct arena *arena, const struct queue_send *send, struct send_files *out,
                    struct err *err)
{
    struct db_session *session = db_read(hub->db, send->tenant_id, err);

    *out = (struct send_files){ .arena = arena };
    if (!session)
        return -1;
    out->count = attachment_list(session, arena, send->message_id, &out->rows, err);
    db_read_end(session);
    if (out->count < 0)
        return -1;
    out->files = arena_array(arena, (size_t)out->count, sizeof *out->files);
    for (int i = 0; i < out->count; i++) {
        const char *type = str_dup(arena, out->rows[i].type);

        out->files[i] = (struct send_attachment){ .name = sniff_name(arena, out->rows[i].name, type), .type = type };
    }
    return 0;
}

enum send_file_state send_file_open(struct hub *hub, struct send_files *files, int index)
{
    const struct attachment *row = &files->rows[index];
    struct media media = { .id = row->media_id, .tenant_id = row->tenant_id };
    struct db_session *session;
    int found;

    if (row->state == ATTACHMENT_FAILED) {
        err_set(&files->why, ERR_NOT_FOUND, "The file could not be fetched: %.*s", STR_FMT(row->reason));
        return SEND_FILE_LOST;
    }
    if (row->state == ATTACHMENT_PENDING) {
        err_set(&files->why, ERR_UNAVAILABLE, "A file of the message is still being fetched.");
        return SEND_FILE_PENDING;
    }
    session = db_read(hub->db, row->tenant_id, &files->why);
    found = session ? media_get(session, files->arena, &media, &files->why) : -1;
    if (session)
        db_read_end(session);
    if (found == 0)
        err_set(&files->why, ERR_NOT_FOUND, "The file is not in the store any more.");
    if (found == 1 && media_load(hub, &media, &files->open, &files->why) == 0) {
        files->files[index].data = (struct str){ files->open.data, files->open.size };
        files->files[index].url = media_link(hub, files->arena, media.id);
        return SEND_FILE_READY;
    }
    return found == 0 || files->why.code == ERR_INTERNAL ? SEND_FILE_LOST : SEND_FILE_LATER;
}

void send_file_close(struct send_files *files)
{
    media_unload(&files->open);
    for (int i = 0; i < files->count; i++)
        files->files[i].data = (struct str){ 0 };
}

const struct send_attachment *send_file_of(const struct send_files *files, int index)
{
    return index < files->count ? &files->files[index] : NULL;
}
