/* Turns: a child process speaks with one call of its channel at a time. */
#include "net/client_inside.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 200             /* between two looks whether the thread is interrupted */

static struct client_turn *find(struct client *client, int64_t channel_id)
{
    struct client_turn *turn = client->turns;

    while (turn && turn->channel_id != channel_id)
        turn = turn->next;
    return turn;
}

/* Wait for a broadcast, a while. The lock is held. */
static void wait_a_while(struct client *client)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_cond_clockwait(&client->turned, &client->lock, CLOCK_MONOTONIC, &until);
}

struct client_turn *client_turn_take(struct client *client, const struct stream_request *request, struct err *err)
{
    int timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : LIMIT_SEND_MS;
    int64_t until_us = clock_mono_us() + timeout_ms * 1000LL;
    struct client_turn *turn = mem_alloc(sizeof *turn), *other;

    *turn = (struct client_turn){ .channel_id = request->channel_id, .yields = request->yields,
                                  .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    pthread_mutex_lock(&client->lock);
    while ((other = find(client, request->channel_id)) && clock_mono_us() < until_us && !exchange_interrupted()) {
        if (other->yields)
            eventfd_write(other->wake_fd, 1);
        wait_a_while(client);
    }
    if (!other) {
        turn->next = client->turns;
        client->turns = turn;
    }
    pthread_mutex_unlock(&client->lock);
    if (!other && turn->wake_fd >= 0)
        return turn;
    if (!other) {
        client_turn_give(client, turn);
    } else {
        close(turn->wake_fd);
        free(turn);
    }
    err_set(err, ERR_TIMEOUT, "The channel's program is still busy with something else.");
    return NULL;
}

void client_turn_give(struct client *client, struct client_turn *turn)
{
    struct client_turn **at = &client->turns;

    if (!turn)
        return;
    pthread_mutex_lock(&client->lock);
    while (*at && *at != turn)
        at = &(*at)->next;
    if (*at)
        *at = turn->next;
    pthread_cond_broadcast(&client->turned);
    pthread_mutex_unlock(&client->lock);
    if (turn->wake_fd >= 0)
        close(turn->wake_fd);
    free(turn);
}
