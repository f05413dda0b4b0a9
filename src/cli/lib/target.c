#include "cli/lib/target.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROFILES_BYTES (64 * 1024)

static const char *const names[] = { "url", "key", "tenant", NULL };

static const char *profiles_folder(struct arena *arena)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

    if (config && *config)
        return arena_printf(arena, "%s/message-hub", config);
    return arena_printf(arena, "%s/.config/message-hub", home ? home : ".");
}

static struct str read_profiles(struct arena *arena)
{
    FILE *file = fopen(arena_printf(arena, "%s/profiles", profiles_folder(arena)), "re");
    char *text;
    size_t length;

    if (!file)
        return STR("");
    text = arena_alloc(arena, PROFILES_BYTES);
    length = fread(text, 1, PROFILES_BYTES, file);
    fclose(file);
    return (struct str){ text, length };
}

/* A line is "profile.name = value". */
static bool line_is(struct str line, const char *wanted, struct str *value)
{
    struct str name, rest = line;

    if (!str_split(&rest, '=', &name) || !rest.data || !str_is(str_trim(name), wanted))
        return false;
    *value = str_trim(rest);
    return true;
}

const char *target_get(struct arena *arena, const char *profile, const char *name)
{
    struct str rest = read_profiles(arena), line, value;
    const char *wanted = arena_printf(arena, "%s.%s", profile ? profile : "default", name);

    while (str_split(&rest, '\n', &line))
        if (line_is(line, wanted, &value) && value.len)
            return str_dup(arena, value);
    return NULL;
}

static int write_profiles(struct arena *arena, const struct buf *text, struct err *err)
{
    const char *folder = profiles_folder(arena), *path = arena_printf(arena, "%s/profiles", folder);
    const char *fresh = arena_printf(arena, "%s.new", path), *slash = strrchr(folder, '/');
    int file;

    if (slash)
        mkdir(arena_printf(arena, "%.*s", (int)(slash - folder), folder), 0700);
    mkdir(folder, 0700);
    file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return err_set(err, ERR_INTERNAL, "Cannot write %s: %s.", fresh, strerror(errno));
    if (write(file, text->data ? text->data : "", text->len) != (ssize_t)text->len || close(file) || rename(fresh, path)) {
        unlink(fresh);
        return err_set(err, ERR_INTERNAL, "Cannot write %s: %s.", path, strerror(errno));
    }
    return 0;
}

int target_set(struct arena *arena, const char *profile, const char *name, const char *value, struct err *err)
{
    struct str rest = read_profiles(arena), line, old;
    const char *wanted = arena_printf(arena, "%s.%s", profile ? profile : "default", name);
    struct buf text;
    bool known = false;
    int status;

    for (const char *const *n = names; *n; n++)
        known |= !strcmp(*n, name);
    if (!known) {
        err_set(err, ERR_INVALID, "A profile has no \"%s\".", name);
        return err_hint(err, "Settings of a profile are: url, key, tenant.");
    }
    buf_init(&text, PROFILES_BYTES);
    while (str_split(&rest, '\n', &line))
        if (str_trim(line).len && !line_is(line, wanted, &old)) {
            buf_str(&text, line);
            buf_putc(&text, '\n');
        }
    if (*value)
        buf_printf(&text, "%s = %s\n", wanted, value);
    status = text.overflow ? err_set(err, ERR_TOO_LARGE, "Too many profiles.") : write_profiles(arena, &text, err);
    buf_fini(&text);
    return status;
}

static const char *first_of(const char *flag, const char *env, const char *profile)
{
    const char *value = getenv(env);

    return flag ? flag : value && *value ? value : profile;
}

int target_find(struct arena *arena, const struct target_flags *flags, struct target *out, struct err *err)
{
    const char *profile = first_of(flags->profile, "MESSAGE_HUB_PROFILE", NULL);
    const char *data = first_of(flags->data, "MESSAGE_HUB_DATA", "data");

    memset(out, 0, sizeof *out);
    out->tenant = first_of(flags->tenant, "MESSAGE_HUB_TENANT", target_get(arena, profile, "tenant"));
    out->key = first_of(flags->key, "MESSAGE_HUB_KEY", target_get(arena, profile, "key"));
    /* A data folder or socket that was named means the hub on this machine, whatever a profile says. */
    if (!flags->data && !flags->socket)
        out->url = first_of(flags->url, "MESSAGE_HUB_URL", target_get(arena, profile, "url"));
    else
        out->url = flags->url;
    if (profile && !out->url && !out->key) {
        err_set(err, ERR_NOT_FOUND, "There is no profile \"%s\".", profile);
        return err_hint(err, "Make it: message-hub config set url https://hub.example.com --profile %s", profile);
    }
    if (!out->url) {
        out->socket = first_of(flags->socket, "MESSAGE_HUB_SOCKET", arena_printf(arena, "%s/hub.sock", data));
        out->key = flags->key;
    }
    return 0;
}
