/* The doors: a TCP address and a unix socket. */
#include "base/arena.h"
#include "net/server_inside.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

/* "127.0.0.1:8080", "[::1]:0", ":8080" into host ("" for any) and port. */
static int split_address(const char *text, char host[256], char port[8])
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    int64_t number;

    if (!colon || len > 255 || strlen(colon + 1) > 5 || !str_int(str_c(colon + 1), 0, 65535, &number))
        return -1;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    snprintf(port, 8, "%s", colon + 1);
    return 0;
}

static int bind_error(struct err *err, const char *what, int error)
{
    err_set(err, ERR_UNAVAILABLE, "Cannot listen on %s: %s.", what, strerror(error));
    if (error == EADDRINUSE)
        return err_hint(err, "Another program, perhaps another hub, has this address: stop it or choose another port.");
    if (error == EACCES)
        return err_hint(err, "Ports below 1024 need privileges: choose a higher one behind a proxy.");
    if (error == EADDRNOTAVAIL)
        return err_hint(err, "This machine does not have that address: use 127.0.0.1 or one of its own.");
    return err_hint(err, "Check the address and the rights of the user that runs the hub.");
}

int door_open_tcp(struct door *door, const char *listen_text, struct err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found;
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof bound;
    char host[256], port[8];
    int on = 1, off = 0, fd, status;

    if (split_address(listen_text, host, port) != 0) {
        err_set(err, ERR_INVALID, "\"%s\" is not an address to listen on.", listen_text);
        return err_hint(err, "Write host:port, such as 127.0.0.1:8080, [::1]:8080 or :8080.");
    }
    if (!host[0])
        hints.ai_family = AF_INET6;
    status = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
    if (status != 0) {
        err_set(err, ERR_INVALID, "\"%s\" cannot be resolved: %s.", host, gai_strerror(status));
        return err_hint(err, "Use a numeric address or a name that this machine knows.");
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 && !host[0]) {
        /* A machine without IPv6 still has "any address". */
        freeaddrinfo(found);
        hints.ai_family = AF_INET;
        if (getaddrinfo(NULL, port, &hints, &found) != 0)
            return bind_error(err, listen_text, EADDRNOTAVAIL);
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (!host[0])
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    status = fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0 ? errno : 0;
    freeaddrinfo(found);
    if (status != 0) {
        if (fd >= 0)
            close(fd);
        return bind_error(err, listen_text, status);
    }
    getsockname(fd, (struct sockaddr *)&bound, &bound_len);
    door->fd = fd;
    door->kind = HTTP_DOOR_TCP;
    door->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                   : ((struct sockaddr_in *)&bound)->sin_port);
    return 0;
}

/* Is somebody answering there? A file that a crashed hub left behind refuses the connection. */
static bool socket_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                             errno != ECONNREFUSED);

    if (fd >= 0)
        close(fd);
    return alive;
}

int door_open_socket(struct door *door, const char *path, struct err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat file;
    mode_t mask;
    int fd, status;

    if (strlen(path) >= sizeof address.sun_path) {
        err_set(err, ERR_INVALID, "The path of the socket is too long: %s.", path);
        return err_hint(err, "Use a data folder with a shorter path (at most 100 characters).");
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (lstat(path, &file) == 0) {
        if (!S_ISSOCK(file.st_mode) || socket_alive(&address))
            return bind_error(err, path, EADDRINUSE);
        unlink(path);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode must be right from the first moment: the umask is the process's, but only start-up runs now. */
    mask = umask(0177);
    status = fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, BACKLOG) != 0
             ? errno : 0;
    umask(mask);
    if (status != 0) {
        if (fd >= 0)
            close(fd);
        return bind_error(err, path, status);
    }
    door->fd = fd;
    door->kind = HTTP_DOOR_SOCKET;
    door->path = mem_strdup(path);
    return 0;
}

void door_close(struct door *door)
{
    if (door->path)
        unlink(door->path);
    if (door->fd >= 0)
        close(door->fd);
    free(door->path);
    door->path = NULL;
    door->fd = -1;
}
