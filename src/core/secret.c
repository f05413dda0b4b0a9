#include "core/secret.h"

#include "base/arena.h"
#include "base/id.h"
#include "db/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX_BYTES (SIGN_KEY_BYTES * 2)
#define ID_BYTES 16

static int parse(struct str text, const char *from, unsigned char key[SIGN_KEY_BYTES], struct err *err)
{
    text = str_trim(text);
    if (sign_unhex(text, key, SIGN_KEY_BYTES))
        return 0;
    err_set(err, ERR_INVALID, "The master key in %s is not 64 hex digits.", from);
    return err_hint(err, "Restore it from where you keep it; a new one cannot read the stored secrets.");
}

/* --- The file ---------------------------------------------------------------------------------------------- */

static int write_whole(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, text, len);

        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            text += written;
            len -= (size_t)written;
        }
    }
    return fsync(fd);
}

static int sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    int fd, result;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    result = fsync(fd);
    close(fd);
    return result;
}

/* Written whole under another name first: a half-written key would lock the owner out of every secret. */
static int create_file(const char *path, unsigned char key[SIGN_KEY_BYTES], struct err *err)
{
    char text[HEX_BYTES + 2], half[4200];
    int fd, failed;

    id_random(key, SIGN_KEY_BYTES);
    for (int i = 0; i < SIGN_KEY_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", key[i]);
    text[HEX_BYTES] = '\n';
    snprintf(half, sizeof half, "%s.%ld", path, (long)getpid());
    fd = open(half, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err_set(err, ERR_INTERNAL, "Cannot make the master key file %s: %s.", path, strerror(errno));
        return err_hint(err, "The data folder must exist and be writable by this user.");
    }
    failed = write_whole(fd, text, HEX_BYTES + 1);
    close(fd);
    /* link refuses to replace a key that another process made meanwhile */
    failed = failed || link(half, path) || sync_folder(path);
    if (failed)
        err_set(err, ERR_INTERNAL, "Cannot make the master key file %s: %s.", path, strerror(errno));
    unlink(half);
    return failed ? -1 : 0;
}

static int missing(const char *path, struct err *err)
{
    err_set(err, ERR_INTERNAL, "The database belongs to a master key, but there is none at %s.", path);
    return err_hint(err, "Copy master.key from the first node (or the backup of keys) to this place with mode 0600, "
                    "or set MESSAGE_HUB_MASTER_KEY.");
}

static int read_file(const char *path, bool strict, unsigned char key[SIGN_KEY_BYTES], struct err *err)
{
    char text[HEX_BYTES + 8];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    ssize_t len;

    if (fd < 0) {
        err_set(err, ERR_INTERNAL, "Cannot read the master key file %s: %s.", path, strerror(errno));
        return err_hint(err, "It must be a plain file that this user owns, with mode 0600.");
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || (strict && status.st_mode & 077)) {
        close(fd);
        err_set(err, ERR_INTERNAL, "The master key file %s can be read by others.", path);
        return err_hint(err, "chmod 600 %s", path);
    }
    len = read(fd, text, sizeof text);
    close(fd);
    return parse((struct str){ text, len > 0 ? (size_t)len : 0 }, path, key, err);
}

int secret_load(struct str given, const char *path, bool create, unsigned char key[SIGN_KEY_BYTES], struct err *err)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    char credential[4096];

    if (given.data)
        return parse(given, "the setting master-key", key, err);
    if (folder && snprintf(credential, sizeof credential, "%s/master-key", folder) < (int)sizeof credential &&
        access(credential, F_OK) == 0)
        return read_file(credential, false, key, err);
    if (access(path, F_OK) == 0 || errno != ENOENT)
        return read_file(path, true, key, err);
    return create ? create_file(path, key, err) : missing(path, err);
}

/* --- The database ------------------------------------------------------------------------------------------ */

static struct str stored_id(struct db_session *session, struct err *err)
{
    struct db_rows *rows = db_query(session, "SELECT value FROM hub WHERE name = 'master_key_id'", DB_NO_ARGS, err);
    int found = rows ? db_next(rows, err) : -1;
    struct str id = { 0 };

    if (found == 1)
        id = str_c(str_dup(db_arena(session), db_col_text(rows, 0)));
    if (found == 0)
        id = STR("");
    if (rows)
        db_rows_end(rows);
    return id;
}

int secret_known(struct db *db, struct err *err)
{
    struct db_session *session = db_read(db, 0, err);
    struct str id;

    if (!session)
        return -1;
    id = stored_id(session, err);
    db_read_end(session);
    return id.data ? id.len > 0 : -1;
}

struct check {
    const char *id;
    bool other;
};

static int check_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct check *check = arg;
    struct str id;

    if (db_exec(tx, "INSERT INTO hub (name, value) VALUES ('master_key_id', $1) ON CONFLICT (name) DO NOTHING",
                DB_ARGS(db_cstr(check->id)), err) < 0)
        return -1;
    id = stored_id(tx, err);
    if (!id.data)
        return -1;
    check->other = !str_is(id, check->id);
    return 0;
}

int secret_check(struct db *db, const unsigned char key[SIGN_KEY_BYTES], struct err *err)
{
    unsigned char hash[SIGN_KEY_BYTES];
    char id[ID_BYTES * 2 + 1];
    struct check check = { id, false };

    sign_derive(key, "id of the master key", hash);
    for (int i = 0; i < ID_BYTES; i++)
        snprintf(id + 2 * i, 3, "%02x", hash[i]);
    if (db_write(db, check_tx, &check, err) < 0)
        return -1;
    if (!check.other)
        return 0;
    err_set(err, ERR_INTERNAL, "This database belongs to another master key.");
    return err_hint(err, "Start with the master.key of the hub that made the database; its secrets need it.");
}
