#include "base/log.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/log_line.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 100     /* how soon a writer that waits for its reader sees that it shall stop */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_t thread;
    char *ring;             /* LIMIT_LOG_RING_BYTES, kept for the process once made */
    size_t head, used;      /* first byte not yet written out, and how many follow */
    int64_t unreported;     /* dropped lines that no line has told yet */
    bool stopping;
    int64_t stop_by_ms;
    int fd;
    struct log_style style;
    unsigned char personal_key[32];
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER };

static atomic_int lowest = LOG_INFO;
static atomic_bool running;
static atomic_int_fast64_t dropped;

/* Real time whatever clock is installed: this waits for another program. */
static int64_t real_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool out_of_time(void)
{
    bool late;

    pthread_mutex_lock(&state.lock);
    late = state.stopping && real_ms() >= state.stop_by_ms;
    pthread_mutex_unlock(&state.lock);
    return late;
}

/* Write what poll() allows, in pieces that a pipe takes without blocking. False: the reader is gone
 * or too slow. */
static bool write_out(const char *data, size_t len)
{
    while (len > 0) {
        struct pollfd wait = { state.fd, POLLOUT, 0 };
        ssize_t written;

        if (poll(&wait, 1, POLL_MS) <= 0 || !(wait.revents & POLLOUT)) {
            if (out_of_time() || (wait.revents & (POLLERR | POLLNVAL)))
                return false;
            continue;
        }
        written = write(state.fd, data, len < PIPE_BUF ? len : PIPE_BUF);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (written > 0) {
            data += written;
            len -= (size_t)written;
        }
    }
    return true;
}

/* With the lock held: put a line behind the others, whole or not at all. */
static bool push(struct str line)
{
    size_t tail = (state.head + state.used) % LIMIT_LOG_RING_BYTES;
    size_t first = LIMIT_LOG_RING_BYTES - tail < line.len ? LIMIT_LOG_RING_BYTES - tail : line.len;

    if (line.len > LIMIT_LOG_RING_BYTES - state.used)
        return false;
    memcpy(state.ring + tail, line.data, first);
    memcpy(state.ring, line.data + first, line.len - first);
    state.used += line.len;
    return true;
}

/* With the lock held: as soon as there is room again, say how much is missing. */
static void report_dropped(void)
{
    struct buf line;

    if (state.unreported == 0 || state.used > LIMIT_LOG_RING_BYTES / 2)
        return;
    buf_init(&line, LIMIT_LOG_LINE_BYTES);
    log_line(&line, &state.style, LOG_WARN, "Log lines were dropped: the reader is too slow.",
             (const struct log_field[]){ LOG_N("dropped", state.unreported), { 0 } });
    if (push(buf_slice(&line)))
        state.unreported = 0;
    buf_fini(&line);
}

static void *write_lines(void *unused)
{
    pthread_mutex_lock(&state.lock);
    for (;;) {
        size_t len;
        bool ok;

        report_dropped();
        if (state.used == 0 && state.stopping)
            break;
        if (state.used == 0) {
            pthread_cond_wait(&state.filled, &state.lock);
            continue;
        }
        len = LIMIT_LOG_RING_BYTES - state.head < state.used ? LIMIT_LOG_RING_BYTES - state.head
                                                             : state.used;
        pthread_mutex_unlock(&state.lock);
        /* nobody else moves `head`, and writers only append behind what is being written */
        ok = write_out(state.ring + state.head, len);
        pthread_mutex_lock(&state.lock);
        if (!ok && state.stopping)
            break;
        state.head = (state.head + len) % LIMIT_LOG_RING_BYTES;
        state.used -= len;
        if (state.used == 0)
            state.head = 0;     /* so that as much of the ring is ever touched as is needed */
    }
    pthread_mutex_unlock(&state.lock);
    return unused;
}

void log_start(int fd, bool json, enum log_level level, const unsigned char personal_key[32])
{
    sigset_t all, before;
    int failed;

    assert(!atomic_load(&running));
    memcpy(state.personal_key, personal_key, sizeof state.personal_key);
    if (!state.ring)
        state.ring = mem_alloc(LIMIT_LOG_RING_BYTES);
    state.style = (struct log_style){ json, state.personal_key };
    state.fd = fd;
    state.head = state.used = 0;
    state.unreported = 0;
    state.stopping = false;
    log_set_level(level);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);    /* signals belong to the program's threads */
    failed = pthread_create(&state.thread, NULL, write_lines, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        mem_exhausted(0);
    atomic_store(&running, true);
}

void log_stop(void)
{
    struct timespec deadline;

    if (!atomic_exchange(&running, false))
        return;
    pthread_mutex_lock(&state.lock);
    state.stopping = true;
    state.stop_by_ms = real_ms() + LIMIT_LOG_STOP_MS;
    pthread_cond_signal(&state.filled);
    pthread_mutex_unlock(&state.lock);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 2 * LIMIT_LOG_STOP_MS / 1000;
    /* a terminal that is held may block write() itself; the process ends anyway */
    if (pthread_timedjoin_np(state.thread, NULL, &deadline) != 0)
        pthread_detach(state.thread);
}

void log_set_level(enum log_level level)
{
    atomic_store(&lowest, (int)level);
}

static void write_directly(struct str line)
{
    while (line.len > 0) {
        ssize_t written = write(STDERR_FILENO, line.data, line.len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        line.data += written;
        line.len -= (size_t)written;
    }
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    const struct log_style before_start = { false, NULL };
    bool queued = atomic_load(&running);
    struct buf line;

    if ((int)level < atomic_load(&lowest))
        return;
    buf_init(&line, LIMIT_LOG_LINE_BYTES);
    log_line(&line, queued ? &state.style : &before_start, level, message, fields);
    if (!queued) {
        write_directly(buf_slice(&line));
    } else {
        pthread_mutex_lock(&state.lock);
        if (state.unreported > 0 || !push(buf_slice(&line))) {
            state.unreported++;
            atomic_fetch_add(&dropped, 1);
        }
        pthread_cond_signal(&state.filled);
        pthread_mutex_unlock(&state.lock);
    }
    buf_fini(&line);
}

int64_t log_dropped(void)
{
    return atomic_load(&dropped);
}
