/* What a client may write on a WebSocket, over a real socket and the real loop: whatever comes, in whatever pieces,
 * only whole, valid texts within their limit reach the application; what goes out is whole server frames, a close only
 * as the last, no text that was not asked for; and the socket is given back exactly once.
 *
 * The input: one byte, the size of the pieces (0: all at once; from 128: the first comes with the handshake), then the
 * client's bytes. */
#include "base/arena.h"
#include "base/limits.h"
#include "net/server_inside.h"
#include "net/ws.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEARD_BYTES (8 * 1024 * 1024)
#define PIECES 64               /* what is longer comes in one at the end */
#define WAIT_MS 5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    sem_t gone;
    int texts, closings;        /* on the loop's thread until `gone` */
    struct buf heard;
};

static void need(bool holds)
{
    if (!holds)
        abort();
}

/* NUL is a character on the wire; str_utf8_valid refuses it, for what is stored. */
static bool is_text(struct str text)
{
    struct str part;

    while (str_split(&text, '\0', &part))
        if (!str_utf8_valid(part))
            return false;
    return true;
}

static void message(void *arg, struct ws *socket, struct str text)
{
    struct run *run = arg;

    need(text.len <= LIMIT_WS_MESSAGE_BYTES && is_text(text));
    run->texts++;
    ws_send_text(socket, text);
    if (str_is(text, "bye"))
        ws_close(socket, 1000, "as you wish");
}

static void closed(void *arg, struct ws *socket)
{
    struct run *run = arg;

    (void)socket;
    need(run->closings++ == 0);
    sem_post(&run->gone);
}

/* False: the other side has closed. */
static bool hear(struct run *run, int fd)
{
    char bytes[16384];
    ssize_t len = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (len > 0)
        buf_add(&run->heard, bytes, (size_t)len);
    return len > 0 || (len < 0 && errno == EAGAIN);
}

/* Say it all, listening meanwhile, so that neither waits for the other. */
static bool say(struct run *run, int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        struct pollfd polled = { fd, POLLIN | POLLOUT, 0 };
        ssize_t sent = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN)
            return false;
        data += sent > 0 ? sent : 0;
        len -= sent > 0 ? (size_t)sent : 0;
        need(len == 0 || poll(&polled, 1, WAIT_MS) == 1);
        if (!hear(run, fd))
            return false;
    }
    return true;
}

/* Until the loop has read what was said, or a while: the pieces should arrive as pieces. */
static void let_read(int fd)
{
    int unread = 1;

    for (int i = 0; i < 200 && ioctl(fd, SIOCOUTQ, &unread) == 0 && unread > 0; i++)
        sched_yield();
}

static void converse(struct run *run, int fd, const uint8_t *data, size_t size, size_t piece)
{
    bool open = true;

    for (int i = 0; open && i < PIECES && piece > 0 && size > piece; i++) {
        open = say(run, fd, data, piece);
        let_read(fd);
        data += piece;
        size -= piece;
    }
    if (open)
        say(run, fd, data, size);
    shutdown(fd, SHUT_WR);
    do {
        struct pollfd polled = { fd, POLLIN, 0 };

        need(poll(&polled, 1, WAIT_MS) == 1);
    } while (hear(run, fd));
    close(fd);
}

/* The last frame may be cut: we hung up while it was sent. */
static void check_heard(const struct run *run)
{
    struct str rest = buf_slice(&run->heard);
    int texts = 0;

    while (rest.len >= 2) {
        const unsigned char *at = (const unsigned char *)rest.data;
        size_t head = at[1] == 126 ? 4 : at[1] == 127 ? 10 : 2, len = head == 2 ? at[1] : 0;
        int opcode = at[0] & 15;

        need((at[0] & 0xF0) == 0x80 && at[1] < 128);
        need(opcode == 1 || opcode == 8 || opcode == 9 || opcode == 10);
        need(opcode < 8 || head == 2);
        if (rest.len < head)
            return;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | at[i];
        need(len <= LIMIT_WS_MESSAGE_BYTES && (head == 2 || len > (head == 4 ? 125 : 65535)));
        if (rest.len < head + len)
            return;
        texts += opcode == 1;
        need(opcode != 1 || is_text((struct str){ rest.data + head, len }));
        need(opcode != 8 || (len != 1 && rest.len == head + len));
        rest = (struct str){ rest.data + head + len, rest.len - head - len };
    }
    need(texts <= run->texts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ws_callbacks callbacks = { message, closed };
    static struct wire_loop *loop;
    struct run run = { 0 };
    struct timespec end;
    size_t piece, early;
    int pair[2];

    if (size == 0)
        return 0;
    if (!loop)
        loop = wire_loop_new(30000);
    piece = data[0] % 128;
    early = data[0] < 128 ? 0 : piece < size - 1 && piece > 0 ? piece : size - 1;
    need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 && sem_init(&run.gone, 0, 0) == 0);
    buf_init(&run.heard, HEARD_BYTES);
    struct ws_frame *first = wire_frame(early);
    memcpy(first->data, data + 1, early);
    wire_attach(ws_wire(ws_new(loop, &callbacks, &run)), pair[0], first);
    converse(&run, pair[1], data + 1 + early, size - 1 - early, piece);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_MS / 1000;
    need(sem_timedwait(&run.gone, &end) == 0);
    check_heard(&run);
    buf_fini(&run.heard);
    sem_destroy(&run.gone);
    return 0;
}
