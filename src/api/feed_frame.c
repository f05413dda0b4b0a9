#include "api/feed_frame.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/message.h"

#include <assert.h>
#include <string.h>

#define PAGE_EVENTS 200
#define PAGE_BYTES (4 * 1024 * 1024)     /* of frames: a page of long texts is a short one */

/* The message as it is now, inside the event's object: a client needs no second call. */
static int embed_message(struct db_session *session, struct arena *arena, struct json_writer *writer,
                         const struct event *event, struct err *err)
{
    struct message message = { .id = event->object_id, .tenant_id = event->tenant_id };
    int found = message_get(session, arena, &message, err);

    if (found < 1)
        return found;
    assert(writer->out->overflow || writer->out->data[writer->out->len - 1] == '}');
    writer->out->len--;
    json_key(writer, "message");
    message_json(writer, &message);
    json_object_end(writer);
    return 0;
}

static int build(struct db_session *session, struct feed_page *page, const struct event *event, struct err *err)
{
    struct feed_frame *frame = &page->frames[page->count];
    struct json_writer writer;
    struct buf text;
    size_t head;
    int failed = 0;

    buf_init(&text, LIMIT_ANSWER_BYTES);
    buf_printf(&text, "id: %s\nevent: %s\ndata: ", event_cursor(page->arena, event->tenant_id, event->seq),
               event->kind);
    head = text.len;
    writer = json_writer(&text);
    event_json(&writer, event);
    if (!strncmp(event->kind, "message.", 8))
        failed = embed_message(session, page->arena, &writer, event, err);
    buf_puts(&text, "\n\n");
    if (!failed && text.overflow)
        failed = err_set(err, ERR_INTERNAL, "event %lld is too large to be streamed", (long long)event->seq);
    if (!failed) {
        *frame = (struct feed_frame){ event->seq, event->conversation_id, event->kind,
                                      { arena_copy(page->arena, text.data, text.len), text.len }, { 0 }, NULL };
        frame->json = (struct str){ frame->sse.data + head, text.len - head - 2 };
        page->count++;
    }
    buf_fini(&text);
    return failed;
}

int feed_page_read(struct hub *hub, struct feed_page *page, int64_t tenant_id, int64_t after, struct err *err)
{
    struct event_page events = { .tenant_id = tenant_id, .after = after, .limit = PAGE_EVENTS };
    struct db_session *session = db_read(hub->db, tenant_id, err);
    size_t bytes = 0, done = 0;
    int failed;

    page->frames = NULL;
    page->count = 0;
    page->last = after;
    page->more = false;
    if (!session)
        return -1;
    failed = event_read(session, page->arena, &events, err);
    if (!failed && events.count > 0)
        page->frames = arena_array(page->arena, events.count, sizeof *page->frames);
    while (!failed && done < events.count && bytes < PAGE_BYTES) {
        failed = build(session, page, &events.events[done++], err);
        bytes += failed ? 0 : page->frames[page->count - 1].sse.len;
    }
    db_read_end(session);
    if (failed)
        return -1;
    page->last = done < events.count ? events.events[done - 1].seq : events.last;
    page->more = done == PAGE_EVENTS || done < events.count;
    return 0;
}

void feed_page_end(struct feed_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        if (page->frames[i].ws)
            ws_frame_release(page->frames[i].ws);
    page->count = 0;
}
