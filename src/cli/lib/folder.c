#include "cli/lib/folder.h"

#include "core/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The lock file at `path`, held, or -1. `what` is what it stands for. */
static int hold(const char *path, const char *what, struct err *err)
{
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (lock < 0) {
        err_set(err, ERR_INTERNAL, "Cannot write %s: %s.", path, strerror(errno));
        return err_hint(err, "Choose another folder with --data.");
    }
    if (!flock(lock, LOCK_EX | LOCK_NB))
        return lock;
    close(lock);
    err_set(err, ERR_CONFLICT, "A hub is running with the %s.", what);
    return err_hint(err, "Stop it first, or choose another folder with --data.");
}

/* A database file that lies elsewhere could be named by a hub with another data folder. Its lock ends with the
 * process. */
static int hold_database(const struct config *config, struct err *err)
{
    const char *url = config_text(config, "database-url");
    char path[PATH_MAX], what[PATH_MAX];

    if (!url || strncmp(url, "sqlite:", 7) != 0)
        return 0;
    snprintf(path, sizeof path, "%.4000s.lock", url + 7);
    snprintf(what, sizeof what, "database %.4000s", url + 7);
    return hold(path, what, err) < 0 ? -1 : 0;
}

int folder_open(const struct config *config, struct err *err)
{
    const char *folder = config_text(config, "data");
    char path[PATH_MAX], what[PATH_MAX];
    int lock;

    umask(077);
    if (mkdir(folder, 0700) && errno != EEXIST) {
        err_set(err, ERR_INTERNAL, "Cannot make the data folder %s: %s.", folder, strerror(errno));
        return err_hint(err, "Choose another with --data, or make it with mode 0700 for this user.");
    }
    snprintf(path, sizeof path, "%.4000s/lock", folder);
    snprintf(what, sizeof what, "data folder %.4000s", folder);
    lock = hold(path, what, err);
    if (lock >= 0 && hold_database(config, err)) {
        close(lock);
        return -1;
    }
    return lock;
}
