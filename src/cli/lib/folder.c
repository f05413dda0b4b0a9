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

int folder_open(const struct config *config, struct err *err)
{
    const char *folder = config_text(config, "data");
    char path[PATH_MAX];
    int lock;

    umask(077);
    if (mkdir(folder, 0700) && errno != EEXIST) {
        err_set(err, ERR_INTERNAL, "Cannot make the data folder %s: %s.", folder, strerror(errno));
        return err_hint(err, "Choose another with --data, or make it with mode 0700 for this user.");
    }
    snprintf(path, sizeof path, "%s/lock", folder);
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) {
        err_set(err, ERR_INTERNAL, "Cannot write into the data folder %s: %s.", folder, strerror(errno));
        return err_hint(err, "Choose another with --data.");
    }
    if (flock(lock, LOCK_EX | LOCK_NB)) {
        close(lock);
        err_set(err, ERR_CONFLICT, "A hub is running with the data folder %s.", folder);
        return err_hint(err, "Stop it first, or choose another folder with --data.");
    }
    return lock;
}
