/* send_file.h - the files of one message on its way out: in memory only while their own part is sent. */
#pragma once

#include "core/attachment.h"
#include "core/channel_send.h"
#include "core/media.h"
#include "core/queue.h"

#define SEND_FILE_WAIT_MS 60000     /* until a file that is still fetched is looked for again, at the latest */

enum send_file_state {
    SEND_FILE_READY,
    SEND_FILE_PENDING,      /* it is still being fetched */
    SEND_FILE_LATER,        /* the store does not answer, or too much is in memory */
    SEND_FILE_LOST          /* it will never be there */
};

struct send_files {
    struct arena *arena;
    struct attachment *rows;
    int count;
    struct send_attachment *files;      /* what the driver gets; `data` only of the one that is open */
    struct media_bytes open;
    struct err why;                     /* unless it is ready */
};

/* Read which files the message has: names and types. Most have none. */
int send_files_load(struct hub *hub, struct arena *arena, const struct queue_send *send, struct send_files *out,
                    struct err *err);

/* Take the bytes of one file into memory and make its link; given back by send_file_close. */
enum send_file_state send_file_open(struct hub *hub, struct send_files *files, int index);
void send_file_close(struct send_files *files);

/* What the driver gets for this file. */
const struct send_attachment *send_file_of(const struct send_files *files, int index);
