/* Public links: an id, when it ends and a MAC. And how much of all files may be in memory. */
#include "core/media.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/config.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define MAC_BYTES 16

/* --- Links ------------------------------------------------------------------------------------------------------- */

static const char *mac_of(const struct hub *hub, struct arena *arena, struct str signed_part)
{
    unsigned char mac[SIGN_HASH_BYTES];

    sign_hmac_sha256((struct str){ (const char *)hub->media_key, sizeof hub->media_key }, signed_part, mac);
    return sign_base64url(arena, mac, MAC_BYTES);
}

const char *media_link(const struct hub *hub, struct arena *arena, int64_t id)
{
    const char *base = hub->config ? config_text(hub->config, "public-url") : NULL, *head;
    struct str root = str_c(base);

    if (!base)
        return NULL;
    while (root.len > 0 && root.data[root.len - 1] == '/')
        root.len--;
    head = arena_printf(arena, "%s.%llx", id_text(arena, ID_MEDIA, id),
                        (unsigned long long)((clock_ms() + LIMIT_LINK_MS) / 1000));
    return arena_printf(arena, "%.*s/media/%s.%s", STR_FMT(root), head, mac_of(hub, arena, str_c(head)));
}

/* Lower-case hex, as it is written. */
static bool read_end(struct str text, int64_t *end_s)
{
    *end_s = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *end_s = *end_s * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return text.len > 0 && text.len <= 12;
}

int media_link_read(const struct hub *hub, struct str token, int64_t *id, struct err *err)
{
    struct arena *arena = arena_new(0);
    struct str rest = token, name, end;
    int64_t end_s;
    bool valid = token.len < 100 && str_split(&rest, '.', &name) && str_split(&rest, '.', &end) && rest.data
        && str_eq_secret(rest, str_c(mac_of(hub, arena, (struct str){ token.data, name.len + 1 + end.len })))
        && id_decode(ID_MEDIA, name, id) && read_end(end, &end_s);

    arena_free(arena);
    if (!valid)
        return 0;
    if (end_s * 1000 >= clock_ms())
        return 1;
    err_set(err, ERR_GONE, "This link is no longer valid.");
    return err_hint(err, "It was for an hour. Ask the hub for the file with a key, or send the message again.");
}

/* --- What is held in memory -------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    size_t bytes;
} held = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };

int media_hold(size_t size, struct err *err)
{
    struct timespec until;
    int status = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LIMIT_MEDIA_WAIT_MS / 1000;
    pthread_mutex_lock(&held.lock);
    while (held.bytes + size > LIMIT_MEDIA_HELD_BYTES && status != ETIMEDOUT)
        status = pthread_cond_timedwait(&held.freed, &held.lock, &until);
    if (held.bytes + size <= LIMIT_MEDIA_HELD_BYTES) {
        held.bytes += size;
        status = 0;
    }
    pthread_mutex_unlock(&held.lock);
    if (status == 0)
        return 0;
    err_set(err, ERR_UNAVAILABLE, "Too many files are being sent and fetched at this moment.");
    return err_hint(err, "Try again in a few seconds.");
}

void media_release(size_t size)
{
    pthread_mutex_lock(&held.lock);
    held.bytes -= size;
    pthread_cond_broadcast(&held.freed);
    pthread_mutex_unlock(&held.lock);
}
