/* unsent.h - how much waits for a slow reader, so that a sender of much can pace itself. Any thread, before
 * `closed`. */
#pragma once

#include <stddef.h>

struct stream;
struct ws;

/* Bytes that were handed over and that the kernel has not taken yet. */
size_t stream_unsent(struct stream *stream);
size_t ws_unsent(struct ws *socket);
