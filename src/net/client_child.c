#include "net/client_inside.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES 100
#define LOOK_NS (5 * 1000000L)

static size_t count_words(const char *const *words)
{
    size_t count = 0;

    while (words && words[count] && count <= LIMIT_ARGUMENTS)
        count++;
    return count;
}

/* Is it the operator's (root's, or the user's that the hub runs as), and can nobody else write to it? */
static bool is_ours(const struct stat *found)
{
    return (found->st_uid == 0 || found->st_uid == geteuid()) && !(found->st_mode & (S_IWGRP | S_IWOTH));
}

/* Neither the folder nor the file can be changed by others, so what is looked at here is what runs. */
static int check_folder(const char *programs, const char *name, struct err *err)
{
    struct stat folder, file;
    int fd;

    if (!name[0] || name[0] == '.' || strchr(name, '/') || strlen(name) > NAME_BYTES) {
        err_set(err, ERR_INVALID, "\"%.60s\" is not the name of a program in the folder %.200s.", name, programs);
        return err_hint(err, "Write its name only, without a path.");
    }
    fd = open(programs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &folder) || fstatat(fd, name, &file, AT_SYMLINK_NOFOLLOW)) {
        if (fd >= 0)
            close(fd);
        err_set(err, ERR_UNAVAILABLE, "There is no program %s in the folder %.200s.", name, programs);
        return err_hint(err, "The operator puts programs there, owned by root or the hub's user (chmod 755).");
    }
    close(fd);
    if (!is_ours(&folder) || !is_ours(&file) || !S_ISREG(file.st_mode) || !(file.st_mode & S_IXUSR)) {
        err_set(err, ERR_FORBIDDEN, "The program %s may not be started from the folder %.200s.", name, programs);
        return err_hint(err, "Both must belong to root or the hub's user and be writable by nobody else, and the "
                             "program a plain executable file (chmod 755), no link.");
    }
    return 0;
}

static int check(const struct stream_request *request, const char *programs, struct err *err)
{
    if (!request->argv || !request->argv[0] || (!programs && request->argv[0][0] != '/')) {
        err_set(err, ERR_INVALID, "The program to start is not named by its whole path.");
        return err_hint(err, "Write it like /usr/local/bin/program.");
    }
    if (programs && check_folder(programs, request->argv[0], err))
        return -1;
    if (count_words(request->argv) > LIMIT_ARGUMENTS || count_words(request->envp) > LIMIT_ARGUMENTS)
        return err_set(err, ERR_INVALID, "The program has more than %d arguments or names in its environment.",
                       LIMIT_ARGUMENTS);
    return 0;
}

/* Its group, its signals as a fresh program has them. */
static int spawn(struct client_child *child, const struct stream_request *request, const char *path,
                 const int fds[4])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *const none[] = { NULL };
    sigset_t signals;
    pid_t pid = 0;
    int status;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fds[3], STDOUT_FILENO);
    /* what it complains of may hold what people wrote: it is not for the hub's log */
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    sigdelset(&signals, SIGKILL);
    sigdelset(&signals, SIGSTOP);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    status = posix_spawn(&pid, path, &actions, &attributes, (char *const *)request->argv,
                         request->envp ? (char *const *)request->envp : none);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    child->pid = status == 0 ? pid : 0;
    return status;
}

int client_child_start(struct client_child *child, const struct stream_request *request, const char *programs,
                       struct err *err)
{
    int fds[4] = { -1, -1, -1, -1 }, status;    /* its input: read, write; its output: read, write */
    char path[PATH_MAX];

    *child = (struct client_child){ .in_fd = -1, .out_fd = -1 };
    if (check(request, programs, err))
        return -1;
    snprintf(path, sizeof path, "%s%s%s", programs ? programs : "", programs ? "/" : "", request->argv[0]);
    if (pipe2(fds, O_CLOEXEC) || pipe2(fds + 2, O_CLOEXEC))
        status = errno;
    else
        status = spawn(child, request, path, fds);
    if (fds[0] >= 0)
        close(fds[0]);
    if (fds[3] >= 0)
        close(fds[3]);
    if (status == 0) {
        child->in_fd = fds[1];
        child->out_fd = fds[2];
        fcntl(child->in_fd, F_SETFL, O_NONBLOCK);
        fcntl(child->out_fd, F_SETFL, O_NONBLOCK);
        return 0;
    }
    if (fds[1] >= 0)
        close(fds[1]);
    if (fds[2] >= 0)
        close(fds[2]);
    err_set(err, ERR_UNAVAILABLE, "The program %s could not be started: %s.", request->argv[0], strerror(status));
    return err_hint(err, "Does it exist, and may the hub's user run it?");
}

bool client_child_runs(const struct client_child *child)
{
    siginfo_t info = { 0 };

    /* WNOWAIT: reaped by client_child_end alone, so that its number names no other process meanwhile */
    return child->pid > 0 && waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0
        && info.si_pid == 0;
}

void client_child_ask(struct client_child *child)
{
    if (child->in_fd >= 0)
        close(child->in_fd);
    child->in_fd = -1;
    if (child->pid > 0)
        kill(-child->pid, SIGTERM);
}

void client_child_end(struct client_child *child, int64_t until_us)
{
    const struct timespec look = { 0, LOOK_NS };
    pid_t gone = 0;

    while (child->pid > 0 && (gone = waitpid(child->pid, NULL, WNOHANG)) == 0 && clock_mono_us() < until_us)
        nanosleep(&look, NULL);
    if (child->pid > 0) {
        kill(-child->pid, SIGKILL);     /* also what it left behind in its group */
        if (gone == 0)
            waitpid(child->pid, NULL, 0);
    }
    if (child->out_fd >= 0)
        close(child->out_fd);
    *child = (struct client_child){ .in_fd = -1, .out_fd = -1 };
}
