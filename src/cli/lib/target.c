#include "cli/lib/target.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/field.h"
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
    if (write(file, text->data ? text->data : "", text->len) != (ssize_t)text->len || close(file)
        || rename(fresh, path)) {
        unlink(fresh);
        return err_set(err, ERR_INTERNAL, "Cannot write %s: %s.", path, strerror(errno));
    }
    return 0;
}

int target_check(const char *name, struct err *err)
{
    const char *nearest;

    for (const char *const *known = names; *known; known++)
        if (!strcmp(*known, name))
            return 0;
    nearest = field_nearest(name, names);
    err_set(err, ERR_INVALID, "A profile has no \"%s\".", name);
    return err_hint(err, nearest ? "Did you mean \"%s\"?" : "Settings of a profile are: url, key, tenant.%s",
                    nearest ? nearest : "");
}

/* A line of the file holds one value. */
static int check_line(const char *profile, const char *value, struct err *err)
{
    if (profile && (!*profile || strpbrk(profile, "=. \t\r\n"))) {
        err_set(err, ERR_INVALID, "A profile's name is one word without dots and equals signs.");
        return err_hint(err, "For example: --profile work");
    }
    if (strpbrk(value, "\r\n")) {
        err_set(err, ERR_INVALID, "The value has more than one line.");
        return err_hint(err, "Give one line.");
    }
    return 0;
}

int target_set(struct arena *arena, const char *profile, const char *name, const char *value, struct err *err)
{
    struct str rest = read_profiles(arena), line, old;
    const char *wanted = arena_printf(arena, "%s.%s", profile ? profile : "default", name);
    struct buf text;
    int status;

    if (target_check(name, err) || check_line(profile, value, err))
        return -1;
    if (!strcmp(name, "url") && *value && strncmp(value, "http://", 7) && strncmp(value, "https://", 8)) {
        err_set(err, ERR_INVALID, "\"%s\" is no URL of a hub.", str_printable(arena, str_c(value), true));
        return err_hint(err, "For example: message-hub config set url https://hub.example.com");
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

static const char *from_env(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static const char *first_of(const char *a, const char *b, const char *c)
{
    return a ? a : b ? b : c;
}

/* The hub behind a URL: only the profile whose URL it is lends it its key. */
static void find_remote(struct target *out, const struct target *profile, const struct target_flags *flags)
{
    bool is_profiles = !profile->url || !strcmp(profile->url, out->url);

    out->key = first_of(flags->key, flags->profile ? NULL : from_env("MESSAGE_HUB_KEY"),
                        is_profiles ? profile->key : NULL);
    if (!out->key)
        out->key = from_env("MESSAGE_HUB_KEY");
}

int target_find(struct arena *arena, const struct target_flags *flags, struct target *out, struct err *err)
{
    const char *name = first_of(flags->profile, from_env("MESSAGE_HUB_PROFILE"), NULL);
    const struct target profile = {
        .url = target_get(arena, name, "url"), .key = target_get(arena, name, "key"),
        .tenant = target_get(arena, name, "tenant"),
    };
    bool is_here = flags->data || flags->socket;
    bool env_here = from_env("MESSAGE_HUB_DATA") || from_env("MESSAGE_HUB_SOCKET");
    const char *data = first_of(flags->data, from_env("MESSAGE_HUB_DATA"), "data");

    memset(out, 0, sizeof *out);
    if (name && !profile.url && !profile.key) {
        err_set(err, ERR_NOT_FOUND, "There is no profile \"%s\".", name);
        return err_hint(err, "Make it: message-hub config set url https://hub.example.com --profile %s", name);
    }
    out->tenant = first_of(flags->tenant, flags->profile ? NULL : from_env("MESSAGE_HUB_TENANT"), profile.tenant);
    if (flags->url || is_here)
        out->url = flags->url;
    else if (flags->profile && profile.url)
        out->url = profile.url;
    else
        out->url = first_of(from_env("MESSAGE_HUB_URL"), env_here && !flags->profile ? NULL : profile.url, NULL);
    if (out->url) {
        find_remote(out, &profile, flags);
        return 0;
    }
    out->socket = flags->socket;
    if (!out->socket)
        out->socket = flags->data || !from_env("MESSAGE_HUB_SOCKET") ? arena_printf(arena, "%s/hub.sock", data)
                                                                     : from_env("MESSAGE_HUB_SOCKET");
    out->key = flags->key;
    return 0;
}
