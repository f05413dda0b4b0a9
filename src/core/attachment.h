/* attachment.h - the files of messages. Bytes that come along are stored before the message is; what has to be fetched
 * is a pending row and a job of its own (core/fetch.h). A message is never lost for a file: of one that came in, a file
 * that cannot be taken is a failed row with its reason. */
#pragma once

#include "core/channel_event.h"
#include "core/hub.h"
#include "db/row.h"

struct json_writer;

enum attachment_state { ATTACHMENT_PENDING, ATTACHMENT_STORED, ATTACHMENT_FAILED };
extern const char *const attachment_state_words[];      /* "pending", "stored", "failed", NULL */

struct attachment {
    int64_t message_id, position, tenant_id, media_id, is_public, size, state, created_ms, updated_ms;
    struct str ref, name, type, reason;
    int64_t job_id;                 /* not stored: of the job that fetches it */
};
extern const struct column attachment_columns[];

/* The files of one message, about to be stored. */
struct attachment_draft {
    int64_t tenant_id;
    const struct channel_attachment *given;
    size_t count;
    bool strict;                    /* a file that cannot be taken is an error; else it becomes a failed row */
    struct attachment *rows;        /* out: `count` of them, in the arena, without their message */
};

/* Store the bytes that came along, look up the files that are here, draw ids of jobs. Blocks; not inside a transaction.
 * -1 with ERR_STORAGE_FULL or ERR_UNAVAILABLE: the message must not be accepted now; with `strict` also ERR_INVALID and
 * ERR_TOO_LARGE (field "attachments"). */
int attachment_prepare(struct hub *hub, struct arena *arena, struct attachment_draft *draft, struct err *err);

/* Rows that one transaction stores, with message_id set, and what their fetch jobs need to know. */
struct attachment_job {
    int64_t channel_id, conversation_id, now_ms;
};
int attachment_store(struct db_session *tx, struct attachment *rows, size_t count, const struct attachment_job *job,
                     struct err *err);

/* All files of a message in order, at most LIMIT_ATTACHMENTS; their number, -1. And one of them: 1, 0, -1. */
int attachment_list(struct db_session *session, struct arena *arena, int64_t message_id, struct attachment **out,
                    struct err *err);
int attachment_get(struct db_session *session, struct arena *arena, struct attachment *out, struct err *err);

/* The same files for another message, as attachment_prepare takes them. In the arena. */
const struct channel_attachment *attachment_again(struct arena *arena, const struct attachment *rows, size_t count);

/* A message is deleted: its files go with it; those that no other message has are removed a day later. */
int attachment_drop(struct db_session *tx, int64_t message_id, int64_t now_ms, struct err *err);

/* Write it as a JSON object value: position, state, name, type, size, media, url, reason. */
void attachment_json(struct json_writer *writer, const struct attachment *attachment);

/* The files of many messages, read at once; by message and position, in the arena. */
struct message;
struct attachment_set {
    const struct message *messages;     /* of one tenant */
    size_t message_count;
    struct attachment *items;           /* out */
    size_t count;
};
int attachment_set_read(struct db_session *session, struct arena *arena, struct attachment_set *set,
                        struct err *err);
const struct attachment *attachment_set_find(const struct attachment_set *set, int64_t message_id, size_t *count);
