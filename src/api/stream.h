/* stream.h - following the log: server-sent events and WebSocket, from a cursor, then live. Both send the same
 * events; an event about a message holds the message. The first thing sent is "ready" with the cursor it starts
 * from. */
#pragma once

#include "api/op.h"

/* The fields of both. Without a cursor (SSE: or Last-Event-ID) the stream begins now. */
#define STREAM_FIELDS \
    { "cursor", FIELD_TEXT, FIELD_QUERY, "Begin after this event; without it, with what happens from now.", 1, 500 }, \
    { "kinds", FIELD_TEXTS, FIELD_QUERY, "Only these kinds of event, such as message or message.received.", 1, 16, \
      NULL, NULL, NULL, "message,conversation" }, \
    { "conversation_id", FIELD_ID, FIELD_QUERY, "Only this conversation.", 0, 0, ID_CONVERSATION, NULL, NULL, NULL }

/* The runs of the two operations. ERR_GONE: the cursor lies behind what is kept, or belongs to another epoch. */
enum op_done stream_events(struct op_call *call, struct err *err);
enum op_done stream_socket(struct op_call *call, struct err *err);

/* May this page's origin open a stream? Those without an Origin are no pages. ERR_FORBIDDEN otherwise. */
int stream_origin(const struct op_call *call, struct err *err);

/* Where it begins and what it wants, read from the call. */
struct subscription;
int stream_subscription(struct op_call *call, struct subscription *out, struct err *err);

/* {"kind":"ready","cursor":...} in the arena. */
const char *stream_ready(struct op_call *call, int64_t seq);
