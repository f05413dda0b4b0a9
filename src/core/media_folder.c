/* Files in a folder: nothing has its name before all of its bytes are on the disk. */
#include "core/media_store.h"

#include "base/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what, struct err *err)
{
    int code = errno;
    bool full = code == ENOSPC || code == EDQUOT || code == EFBIG;

    err_set(err, full ? ERR_STORAGE_FULL : ERR_UNAVAILABLE, "The file could not be stored: %s: %s.", what,
            strerror(code));
    return err_hint(err, full ? "Free some disk space; what is sent again is stored then."
                              : "Check the folder \"media\" in the hub's data folder: its owner, mode and disk.");
}

static int sync_folder(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status = fd < 0 ? -1 : fsync(fd);

    if (fd >= 0)
        close(fd);
    return status ? failed("syncing its folder", err) : 0;
}

/* Make a folder that may be there; a new one is an entry that must reach the disk. */
static int make_folder(struct arena *arena, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');

    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? 0 : failed("making its folder", err);
    return sync_folder(slash && slash > path ? arena_printf(arena, "%.*s", (int)(slash - path), path) : ".", err);
}

static const char *folder_of(struct arena *arena, const struct media_place *place)
{
    return arena_printf(arena, "%s/%.2s", place->root, place->name);
}

static const char *path_of(struct arena *arena, const struct media_place *place)
{
    return arena_printf(arena, "%s/%s", folder_of(arena, place), place->name);
}

static int write_all(int fd, struct str data, struct err *err)
{
    while (data.len > 0) {
        ssize_t written = write(fd, data.data, data.len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return failed("writing it", err);
        data.data += written;
        data.len -= (size_t)written;
    }
    return 0;
}

/* The bytes under the temporary name, on the disk. */
static int write_part(const char *part, struct str data, struct err *err)
{
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), status;

    if (fd < 0)
        return failed("making it", err);
    status = write_all(fd, data, err);
    if (!status && fsync(fd))
        status = failed("syncing it", err);
    if (close(fd) && !status)
        status = failed("closing it", err);
    return status;
}

int media_folder_put(struct arena *arena, const struct media_place *place, struct str data, struct err *err)
{
    const char *folder = folder_of(arena, place), *path = path_of(arena, place);
    const char *part = arena_printf(arena, "%s.part", path);

    if (make_folder(arena, place->root, err) || make_folder(arena, folder, err))
        return -1;
    if (write_part(part, data, err)) {
        unlink(part);
        return -1;
    }
    if (rename(part, path)) {
        failed("renaming it", err);
        unlink(part);
        return -1;
    }
    return sync_folder(folder, err);
}

int media_folder_open(struct arena *arena, const struct media_place *place, struct err *err)
{
    int fd = open(path_of(arena, place), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0)
        return fd;
    return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_UNAVAILABLE, "The file cannot be read: %s.",
                   strerror(errno));
}

int media_folder_remove(struct arena *arena, const struct media_place *place, struct err *err)
{
    const char *path = path_of(arena, place), *part = arena_printf(arena, "%s.part", path);

    if ((unlink(path) && errno != ENOENT && errno != ENOTDIR) || (unlink(part) && errno != ENOENT && errno != ENOTDIR))
        return err_set(err, ERR_UNAVAILABLE, "A file could not be removed: %s.", strerror(errno));
    return 0;
}

int media_folder_scratch(struct arena *arena, const char *root, struct str data, struct err *err)
{
    char *name = arena_printf(arena, "%s/scratch-XXXXXX", root);
    int fd;

    if (make_folder(arena, root, err))
        return -1;
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return failed("making a copy", err);
    unlink(name);
    if (write_all(fd, data, err) || lseek(fd, 0, SEEK_SET) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}
