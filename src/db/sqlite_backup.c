#include "db/sqlite_backup.h"

#include "base/arena.h"
#include "base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT 3
#define FOUND_MAX 1000      /* names looked at in one go */
#define MARK ".schema-"
#define HALF ".half-"

/* The copy under way. Strings live in the arena. */
struct copying {
    struct arena *arena;
    const char *path, *folder, *base, *half, *whole;
};

static int refuse(struct err *err, enum err_code code, const char *what, const char *why)
{
    err_set(err, code, "no copy of the database could be made before its schema changes: %s: %s", what, why);
    return err_hint(err, "Make room for a second copy of the database beside it and let the hub write there; nothing "
                    "was changed, the older program still runs on it.");
}

static int refuse_handle(struct err *err, sqlite3 *handle, const char *what)
{
    bool full = (sqlite3_errcode(handle) & 0xff) == SQLITE_FULL;

    return refuse(err, full ? ERR_STORAGE_FULL : ERR_UNAVAILABLE, what, sqlite3_errmsg(handle));
}

static int refuse_file(struct err *err, const char *what)
{
    return refuse(err, errno == ENOSPC ? ERR_STORAGE_FULL : ERR_UNAVAILABLE, what, strerror(errno));
}

/* --- The copy ----------------------------------------------------------------------------------------------------- */

/* What is open when one of them fails has to be closed too. */
struct handles {
    sqlite3 *from, *to;
};

static int copy_pages(const struct copying *copying, struct handles *handles, struct err *err)
{
    sqlite3_backup *backup;
    int code;

    if (sqlite3_open_v2(copying->path, &handles->from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return refuse_handle(err, handles->from, copying->path);
    if (sqlite3_open_v2(copying->half, &handles->to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return refuse_handle(err, handles->to, copying->half);
    sqlite3_busy_timeout(handles->from, LIMIT_CONNECT_MS);
    /* a copy that is cut short is thrown away, so it needs no journal of its own */
    if (sqlite3_exec(handles->to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL)
        != SQLITE_OK)
        return refuse_handle(err, handles->to, copying->half);
    backup = sqlite3_backup_init(handles->to, "main", handles->from, "main");
    if (!backup)
        return refuse_handle(err, handles->to, copying->half);
    code = sqlite3_backup_step(backup, -1);
    if (sqlite3_backup_finish(backup) != SQLITE_OK || code != SQLITE_DONE)
        return refuse(err, (code & 0xff) == SQLITE_FULL ? ERR_STORAGE_FULL : ERR_UNAVAILABLE, copying->half,
                      sqlite3_errstr(code));
    return 0;
}

static int copy(const struct copying *copying, struct err *err)
{
    struct handles handles = { 0 };
    int result = copy_pages(copying, &handles, err);

    if (sqlite3_close(handles.to) != SQLITE_OK && !result)
        result = refuse_handle(err, handles.to, copying->half);
    sqlite3_close(handles.from);
    return result;
}

static int check_pages(const struct copying *copying, sqlite3 *handle, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    const char *said;
    int result;

    /* Alone with it there is no shared memory file; and without a log it is one file, which can be moved. */
    if (sqlite3_exec(handle, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA journal_mode = DELETE",
                     NULL, NULL, NULL) != SQLITE_OK
        || sqlite3_prepare_v2(handle, "PRAGMA integrity_check(1)", -1, &statement, NULL) != SQLITE_OK)
        return refuse_handle(err, handle, copying->half);
    if (sqlite3_step(statement) != SQLITE_ROW) {
        result = refuse_handle(err, handle, copying->half);
    } else {
        said = (const char *)sqlite3_column_text(statement, 0);
        result = said && !strcmp(said, "ok") ? 0
                                              : refuse(err, ERR_UNAVAILABLE, "the copy is damaged", said ? said : "");
    }
    sqlite3_finalize(statement);
    if (result && err->code == ERR_UNAVAILABLE && strstr(err->detail, "damaged"))
        err_hint(err, "The database itself is damaged: restore an older copy, or save what sqlite3's .recover finds.");
    return result;
}

/* What was written is read again, from the file. */
static int verify(const struct copying *copying, struct err *err)
{
    sqlite3 *handle = NULL;
    int result;

    if (sqlite3_open_v2(copying->half, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        result = refuse_handle(err, handle, copying->half);
    else
        result = check_pages(copying, handle, err);
    sqlite3_close(handle);
    return result;
}

/* --- Files -------------------------------------------------------------------------------------------------------- */

static int sync_path(const char *path, int flags, struct err *err)
{
    int fd = open(path, flags | O_CLOEXEC);
    int result = fd < 0 || fsync(fd) ? refuse_file(err, path) : 0;

    if (fd >= 0)
        close(fd);
    return result;
}

static int make_half(const struct copying *copying, struct err *err)
{
    int fd;

    unlink(copying->half);
    fd = open(copying->half, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return refuse_file(err, copying->half);
    close(fd);
    return 0;
}

/* The number behind the mark in the name of one of our copies, or -1. */
static int number_in(const struct copying *copying, const char *name, const char *mark)
{
    size_t base = strlen(copying->base), len = strlen(mark);
    char *end;
    long number;

    if (strncmp(name, copying->base, base) || strncmp(name + base, mark, len)
        || name[base + len] < '0' || name[base + len] > '9')
        return -1;
    number = strtol(name + base + len, &end, 10);
    return *end || number > INT32_MAX ? -1 : (int)number;
}

static int by_number(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;

    return (left < right) - (left > right);
}

/* Older copies go, and what killed processes left half made. What cannot be removed is in nobody's way. */
static void prune(const struct copying *copying)
{
    int *versions = arena_array(copying->arena, FOUND_MAX, sizeof *versions), count = 0;
    DIR *folder = opendir(copying->folder);
    struct dirent *entry;

    while (folder && count < FOUND_MAX && (entry = readdir(folder))) {
        int version = number_in(copying, entry->d_name, MARK), process = number_in(copying, entry->d_name, HALF);

        if (version >= 0)
            versions[count++] = version;
        if (process > 0 && kill(process, 0) && errno == ESRCH)
            unlink(arena_printf(copying->arena, "%s/%s", copying->folder, entry->d_name));
    }
    if (folder)
        closedir(folder);
    qsort(versions, (size_t)count, sizeof *versions, by_number);
    for (int i = KEPT; i < count; i++)
        unlink(arena_printf(copying->arena, "%s%s%d", copying->path, MARK, versions[i]));
}

static int make(const struct copying *copying, struct err *err)
{
    if (make_half(copying, err) || copy(copying, err) || verify(copying, err)
        || sync_path(copying->half, O_RDWR, err))
        return -1;
    if (rename(copying->half, copying->whole))
        return refuse_file(err, copying->whole);
    return sync_path(copying->folder, O_RDONLY | O_DIRECTORY, err);
}

int sqlite_backup(const char *url, int version, struct err *err)
{
    struct arena *arena = arena_new(0);
    const char *path = url + strlen("sqlite:");
    struct copying copying = {
        .arena = arena, .path = path, .folder = dirname(arena_strdup(arena, path)),
        .base = basename(arena_strdup(arena, path)), .half = arena_printf(arena, "%s%s%d", path, HALF, (int)getpid()),
        .whole = arena_printf(arena, "%s%s%d", path, MARK, version),
    };
    int result = make(&copying, err);

    if (result)
        unlink(copying.half);
    else
        prune(&copying);
    arena_free(arena);
    return result;
}
