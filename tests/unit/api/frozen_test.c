/* A reader that takes nothing: its queue stays small, it is told to resync and closed, and others are not disturbed.
 * The clock is pushed forward instead of waiting. */
#include "ask.h"

#include "api/feed.h"
#include "base/clock.h"

#include <stdatomic.h>

enum { MANY = 90, LARGE = 100 * 1024 };         /* more than the kernel holds for a reader */

static _Atomic int64_t pushed_us;

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int64_t mono_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000 + atomic_load(&pushed_us);
}

static struct peer *follow(const char *cursor, int receive_bytes)
{
    struct peer *peer = dial(world.server);

    setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    say(peer, path_of("GET /api/v1/events?kinds=message.received&cursor=%s HTTP/1.1\r\nHost: hub\r\n", cursor));
    say(peer, path_of("Authorization: Bearer %s\r\n\r\n", world.admin));
    return peer;
}

static void fill_the_log(void)
{
    const char *hook = text_of(must_ask(200, "GET /api/v1/channels/sandbox", world.admin, NULL), "hook_path");
    char *body = mem_alloc(LARGE + 200);

    for (int i = 0; i < MANY; i++) {
        size_t head = (size_t)snprintf(body, 200, "{\"from\":\"+15550002\",\"text\":\"<%03d>", i);

        memset(body + head, 'x', LARGE);
        memcpy(body + head + LARGE, "\"}", 3);
        assert_int_equal(ask(path_of("POST %s", hook), NULL, body)->status, 200);
    }
    free(body);
}

/* Read all there is; true when the text was in it, and the peer closed in the end when `to_end`. */
static bool read_for(struct peer *peer, const char *text, bool to_end)
{
    bool found = false;

    while (hear_more(peer)) {
        found = found || strstr(peer->bytes, text);
        if (found && !to_end)
            return true;
        if (peer->len > sizeof peer->bytes / 2)
            consume(peer, peer->len - 100);
    }
    return found;
}

static void a_frozen_reader_is_told_to_resync(void **state)
{
    const char *cursor = text_of(must_ask(200, "GET /api/v1/events/list", world.admin, NULL), "cursor");
    struct peer *frozen, *other;

    (void)state;
    fill_the_log();
    frozen = follow(cursor, 128 * 1024);
    pause_for(500);
    /* the frozen one does not hold up another that starts behind it */
    other = follow(cursor, 1 << 20);
    assert_true(read_for(other, "<089>", false));
    atomic_fetch_add(&pushed_us, (FEED_STALL_MS + 1000) * 1000LL);
    pause_for(500);
    assert_true(read_for(frozen, "event: resync\n", true));
    hang_up(frozen);
    hang_up(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_frozen_reader_is_told_to_resync, world_start, world_stop),
    };

    clock_install(wall_ms, mono_us);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
