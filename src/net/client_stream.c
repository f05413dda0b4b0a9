/* Streams: IMAP sessions that libcurl connects, encrypts and logs in, and child processes. Kept between the calls of a
 * channel, at most one each. */
#include "net/client_inside.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/sign.h"
#include "net/stream_inside.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_MS 900             /* between two looks whether the thread is interrupted */
#define KEEPALIVE_S 120L
#define CURL_BUFFER 1024L       /* the smallest: what is read goes into our own buffers */

struct client_stream {
    struct stream stream;               /* first */
    struct client_guard guard;
    int64_t channel_id;
    unsigned char words[SIGN_HASH_BYTES];   /* what it was opened with */
    CURL *easy;                         /* NULL: a child process */
    struct client_child child;
    struct client_turn *turn;           /* of the call that has it now; NULL: a mailbox, or kept */
    struct client_stream *next;
};

/* --- Waiting ---------------------------------------------------------------------------------- */

static int left_ms(int64_t until_us)
{
    int64_t left_us = until_us - clock_mono_us();

    return left_us <= 0 ? 0 : left_us > 1000000000LL ? 1000000 : (int)((left_us + 999) / 1000);
}

/* 1: the descriptor is ready, 0: not in time, or the thread was interrupted, or `wake_fd` (-1: none) is readable. */
static int wait_or_wake(int fd, short events, int wake_fd, int64_t until_us)
{
    struct pollfd both[2] = { { .fd = fd, .events = events }, { .fd = wake_fd, .events = POLLIN } };

    while (!exchange_interrupted()) {
        int left = left_ms(until_us), ready = poll(both, 2, left < LOOK_MS ? left : LOOK_MS);

        if (ready > 0 && both[0].revents)
            return 1;
        if (left == 0 || ready > 0)
            break;
    }
    return 0;
}

static int wait_for(int fd, short events, int64_t until_us)
{
    return wait_or_wake(fd, events, -1, until_us);
}

static int closed(struct err *err)
{
    return err_set(err, ERR_UNAVAILABLE, "The other side closed the stream.");
}

static int too_slow(struct err *err)
{
    return err_set(err, ERR_TIMEOUT, "The other side did not take what was written in time.");
}

/* --- IMAP ------------------------------------------------------------------------------------- */

static int socket_of(struct client_stream *one)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    curl_easy_getinfo(one->easy, CURLINFO_ACTIVESOCKET, &fd);
    return (int)fd;
}

static int imap_write(struct stream *stream, struct str bytes, int timeout_ms, struct err *err)
{
    struct client_stream *one = (struct client_stream *)stream;
    int64_t until_us = clock_mono_us() + timeout_ms * 1000LL;

    while (bytes.len > 0) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(one->easy, bytes.data, bytes.len, &sent);

        if (code != CURLE_OK && code != CURLE_AGAIN)
            return closed(err);
        bytes = (struct str){ bytes.data + sent, bytes.len - sent };
        if (sent > 0)
            continue;
        if (!wait_for(socket_of(one), POLLOUT, until_us))
            return too_slow(err);
    }
    return 0;
}

static int imap_read(struct stream *stream, char *bytes, size_t size, int timeout_ms, struct err *err)
{
    struct client_stream *one = (struct client_stream *)stream;
    int64_t until_us = clock_mono_us() + timeout_ms * 1000LL;

    for (;;) {
        size_t got = 0;
        /* asked first: TLS may hold bytes that the socket no longer shows */
        CURLcode code = curl_easy_recv(one->easy, bytes, size, &got);

        if (code == CURLE_OK && got > 0)
            return (int)got;
        if (code != CURLE_AGAIN)
            return closed(err);
        if (!wait_for(socket_of(one), POLLIN, until_us))
            return 0;
    }
}

static int stop_when_interrupted(void *arg, curl_off_t to_get, curl_off_t got, curl_off_t to_put, curl_off_t put)
{
    (void)arg, (void)to_get, (void)got, (void)to_put, (void)put;
    return exchange_interrupted();
}

static void set_options(struct client_stream *one, const struct stream_request *request, CURLU *url)
{
    CURL *easy = one->easy;

    client_guard_set(&one->guard, easy);
    curl_easy_setopt(easy, CURLOPT_CURLU, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "imap,imaps");
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, stop_when_interrupted);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, CURL_BUFFER);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(request->timeout_ms > 0 ? request->timeout_ms : LIMIT_SEND_MS));
    curl_easy_setopt(easy, CURLOPT_USE_SSL, (long)(request->plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
    if (request->user)
        curl_easy_setopt(easy, CURLOPT_USERNAME, request->user);
    if (request->password && !request->bearer)
        curl_easy_setopt(easy, CURLOPT_PASSWORD, request->password);
    if (request->bearer)
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, request->bearer);
}

static int imap_start(struct client_stream *one, const struct stream_request *request, struct err *err)
{
    static const char *const schemes[] = { "imap", "imaps", NULL };
    CURLU *url;
    CURLcode code;

    client_guard_init();
    url = client_guard_url(request->url, schemes);
    if (!url) {
        err_set(err, ERR_INVALID, "The address of the mailbox is not a valid imap or imaps URL.");
        return err_hint(err, "Write it like imaps://mail.example.com or imap://mail.example.com:143.");
    }
    one->easy = curl_easy_init();
    if (!one->easy)
        mem_exhausted(0);
    set_options(one, request, url);
    code = curl_easy_perform(one->easy);
    curl_url_cleanup(url);
    if (code == CURLE_OK && socket_of(one) >= 0)
        return 0;
    client_guard_explain(&one->guard, code, err);
    return -1;
}

/* --- Child processes -------------------------------------------------------------------------- */

static int child_write(struct stream *stream, struct str bytes, int timeout_ms, struct err *err)
{
    struct client_stream *one = (struct client_stream *)stream;
    int64_t until_us = clock_mono_us() + timeout_ms * 1000LL;

    while (bytes.len > 0) {
        ssize_t sent = write(one->child.in_fd, bytes.data, bytes.len);

        if (sent > 0) {
            bytes = (struct str){ bytes.data + sent, bytes.len - (size_t)sent };
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return closed(err);
        if (!wait_for(one->child.in_fd, POLLOUT, until_us))
            return too_slow(err);
    }
    return 0;
}

static int child_read(struct stream *stream, char *bytes, size_t size, int timeout_ms, struct err *err)
{
    struct client_stream *one = (struct client_stream *)stream;
    int64_t until_us = clock_mono_us() + timeout_ms * 1000LL;
    int wake_fd = one->turn && one->turn->yields ? one->turn->wake_fd : -1;

    for (;;) {
        ssize_t got = read(one->child.out_fd, bytes, size);

        if (got > 0)
            return (int)got;
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return closed(err);
        if (!wait_or_wake(one->child.out_fd, POLLIN, wake_fd, until_us))
            return 0;
    }
}

/* --- Keeping ---------------------------------------------------------------------------------- */

/* Free without waiting: a child must have been asked and ended. The socket is shut first, or the library would wait two
 * minutes for the answer to its goodbye. */
static void drop(struct client_stream *one)
{
    if (one->easy) {
        int fd = socket_of(one);

        if (fd >= 0)
            shutdown(fd, SHUT_RDWR);
        curl_easy_cleanup(one->easy);
    }
    stream_fini(&one->stream);
    free(one);
}

static void close_stream(struct client_stream *one)
{
    if (!one)
        return;
    if (one->easy && !one->stream.dead)
        imap_write(&one->stream, STR("Z LOGOUT\r\n"), 0, NULL);
    if (!one->easy) {
        client_child_ask(&one->child);
        client_child_end(&one->child, clock_mono_us() + LIMIT_CHILD_STOP_MS * 1000LL);
    }
    drop(one);
}

/* Take the channel's kept stream off the list, whatever it was opened with. */
static struct client_stream *take_kept(struct client *client, int64_t channel_id)
{
    struct client_stream **link, *found;

    pthread_mutex_lock(&client->lock);
    for (link = &client->kept; *link && (*link)->channel_id != channel_id; link = &(*link)->next)
        ;
    found = *link;
    if (found) {
        *link = found->next;
        client->kept_count--;
    }
    pthread_mutex_unlock(&client->lock);
    return found;
}

static void release(struct stream *stream, bool keep)
{
    struct client_stream *one = (struct client_stream *)stream, *other;
    struct client *client = one->guard.client;
    struct client_turn *turn = one->turn;

    one->turn = NULL;
    if (!keep) {
        close_stream(one);
        client_turn_give(client, turn);
        return;
    }
    one->stream.fresh = false;
    other = take_kept(client, one->channel_id);
    pthread_mutex_lock(&client->lock);
    if (client->kept_count < LIMIT_KEPT_STREAMS) {
        one->next = client->kept;
        client->kept = one;
        client->kept_count++;
        one = NULL;
    }
    pthread_mutex_unlock(&client->lock);
    close_stream(other);
    close_stream(one);
    client_turn_give(client, turn);
}

static const struct stream_kind imap_kind = { imap_write, imap_read, release };
static const struct stream_kind child_kind = { child_write, child_read, release };

void client_stream_close_all(struct client *client)
{
    int64_t until_us = clock_mono_us() + LIMIT_CHILD_STOP_MS * 1000LL;

    for (struct client_stream *one = client->kept; one; one = one->next)
        if (!one->easy)
            client_child_ask(&one->child);
    while (client->kept) {
        struct client_stream *one = client->kept;

        client->kept = one->next;
        if (one->easy) {
            close_stream(one);
        } else {
            client_child_end(&one->child, until_us);
            drop(one);
        }
    }
    client->kept_count = 0;
}

/* --- Opening ---------------------------------------------------------------------------------- */

static void add_word(struct buf *all, const char *word)
{
    buf_printf(all, "%zu:", word ? strlen(word) + 1 : 0);
    buf_puts(all, word ? word : "");
}

static int hash_words(const struct stream_request *request, unsigned char *out, struct err *err)
{
    const char *const *const lists[] = { request->argv, request->envp };
    struct buf all;
    bool overflow;

    buf_init(&all, LIMIT_EXCHANGE_BYTES);
    buf_printf(&all, "%lld %d %d ", (long long)request->tenant_id, (int)request->egress, request->plain);
    add_word(&all, request->url);
    add_word(&all, request->user);
    add_word(&all, request->password);
    add_word(&all, request->bearer);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (size_t k = 0; lists[i] && lists[i][k] && !all.overflow; k++)
            add_word(&all, lists[i][k]);
    sign_sha256(buf_slice(&all), out);
    overflow = all.overflow;
    buf_fini(&all);
    return overflow ? err_set(err, ERR_TOO_LARGE, "What the stream is to be opened with is too long.") : 0;
}

/* Can the kept one still be used? Not when the settings changed, the operator no longer allows its address, or the
 * child has ended. */
static bool usable(struct client_stream *one, const unsigned char *words)
{
    if (memcmp(one->words, words, sizeof one->words) != 0)
        return false;
    if (one->easy)
        return client_guard_allows(&one->guard, &one->guard.address, one->guard.port);
    return client_child_runs(&one->child);
}

struct stream *client_stream_open(struct exchange *self, const struct stream_request *request, struct err *err)
{
    struct client *client = (struct client *)self;
    struct client_turn *turn = NULL;
    unsigned char words[SIGN_HASH_BYTES];
    struct client_stream *one;

    if (hash_words(request, words, err))
        return NULL;
    if (!request->url && !(turn = client_turn_take(client, request, err)))
        return NULL;
    one = take_kept(client, request->channel_id);
    if (one && usable(one, words)) {
        one->turn = turn;
        return &one->stream;
    }
    close_stream(one);
    one = mem_alloc(sizeof *one);
    one->guard = (struct client_guard){ .client = client, .egress = request->egress, .tenant_id = request->tenant_id };
    one->channel_id = request->channel_id;
    one->turn = turn;
    memcpy(one->words, words, sizeof words);
    stream_init(&one->stream, request->url ? &imap_kind : &child_kind);
    if ((request->url ? imap_start(one, request, err)
                      : client_child_start(&one->child, request, client->programs, err)) == 0)
        return &one->stream;
    drop(one);
    client_turn_give(client, turn);
    return NULL;
}
