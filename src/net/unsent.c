#include "net/unsent.h"

#include "net/wire.h"

static size_t unsent(struct wire *wire)
{
    size_t bytes;

    pthread_mutex_lock(&wire->lock);
    bytes = wire->queued - wire->sent;
    pthread_mutex_unlock(&wire->lock);
    return bytes;
}

size_t stream_unsent(struct stream *stream)
{
    return unsent((struct wire *)stream);
}

size_t ws_unsent(struct ws *socket)
{
    return unsent((struct wire *)socket);
}
