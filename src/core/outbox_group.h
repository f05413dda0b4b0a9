/* outbox_group.h - what the parts of core/outbox share; included by outbox*.c alone. */
#pragma once

#include "core/channel.h"
#include "core/attachment.h"
#include "core/conversation.h"
#include "core/outbox.h"

#define OUTBOX_EXPIRY_MS (INT64_C(24) * 60 * 60 * 1000)

/* Where a request goes: found without writing. */
struct outbox_route {
    struct channel channel;
    struct str peer;                /* normalised address, or the group */
    struct str address_given;       /* as given, when it differs */
    bool is_group;
};

/* What is known of a write before it is stored; in its arena. The second half belongs to a run. */
struct outbox_prepared {
    struct outbox_route route;
    struct outbox_write *write;
    struct str text;                /* as it will be sent: NFC */
    int64_t conversation_id, contact_id, job_id;
    int64_t now_ms, expires_ms;
    int parts, runs;
    struct attachment *files;       /* request.attachment_count of them */

    struct conversation_touch *touch;
    size_t order;
    int64_t position;
};

/* outbox.c: find and check channel and address of a request. 0, -1. */
int outbox_route(struct hub *hub, struct arena *arena, const struct outbox_request *request,
                 struct outbox_route *out, struct err *err);

/* outbox_store.c: store these writes, all prepared, none stored before. */
int outbox_store(struct db_session *tx, struct outbox_prepared **writes, size_t count,
                 struct err *err);

/* outbox_store.c: one send job for a stored message whose conversation the transaction holds; it
 * becomes the head when its lane has none. */
struct outbox_job {
    int64_t id, tenant_id, channel_id, conversation_id, message_id, lane_seq, priority;
    int64_t due_ms, now_ms, part, attempt;
    bool scheduled;                 /* waits outside its lane until due_ms */
};
int outbox_add_job(struct db_session *tx, const struct outbox_job *job, struct err *err);
