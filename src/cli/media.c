#include "base/arena.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/lib/call.h"
#include "cli/lib/print.h"
#include "cli/lib/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DOWNLOAD_MS 300000

static const char usage[] = "media put <FILE> | media get <ID> [-o FILE] [--url URL] [--key KEY] [...]";

/* What the words said. */
struct words {
    const char *plain[3];
    int count;
    const char *out;
    bool json;
    struct target_flags target;
};

static int read_words(int argc, char **argv, struct words *words)
{
    const struct {
        const char *name;
        const char **place;
    } flags[] = {
        { "-o", &words->out }, { "--output", &words->out }, { "--url", &words->target.url },
        { "--key", &words->target.key }, { "--profile", &words->target.profile }, { "--data", &words->target.data },
        { "--socket", &words->target.socket }, { "--tenant", &words->target.tenant },
    };

    for (int i = 1; i < argc; i++) {
        const char **place = NULL;

        for (size_t k = 0; k < sizeof flags / sizeof flags[0]; k++)
            if (!strcmp(argv[i], flags[k].name))
                place = flags[k].place;
        if (place && i + 1 == argc)
            return print_usage(usage, "%s needs a value.", argv[i]);
        if (place)
            *place = argv[++i];
        else if (!strcmp(argv[i], "--json"))
            words->json = true;
        else if (argv[i][0] == '-' && argv[i][1])
            return print_usage(usage, "`media` has no flag %s.", argv[i]);
        else if (words->count < 3)
            words->plain[words->count++] = argv[i];
    }
    if (words->count != 2 || (strcmp(words->plain[0], "put") && strcmp(words->plain[0], "get")))
        return print_usage(usage, "`media` wants `put` with a file, or `get` with an id.");
    return 0;
}

static int put(struct arena *arena, const struct words *words, const struct target *target)
{
    const struct table_options table = { .form = words->json ? TABLE_JSON : 0 };
    struct str answer;
    const struct json *json;
    int status = upload_put(arena, target, words->plain[1], &answer);

    if (status)
        return status;
    json = json_parse_lenient(arena, answer, NULL);
    if (json)
        table_print_object(json, &table);
    return 0;
}

static int write_piece(void *arg, struct str piece)
{
    return fwrite(piece.data, 1, piece.len, arg) != piece.len;
}

/* "med_..." itself, or the file N of a message as "msg_.../N". */
static const char *path_of(struct arena *arena, const char *id)
{
    const char *slash = strchr(id, '/');

    if (!slash)
        return arena_printf(arena, "/api/v1/media/%s", http_encode(arena, str_c(id)));
    return arena_printf(arena, "/api/v1/messages/%s/attachments/%s",
                        http_encode(arena, (struct str){ id, (size_t)(slash - id) }),
                        http_encode(arena, str_c(slash + 1)));
}

static int get(struct arena *arena, const struct words *words, const struct target *target)
{
    const char *out = words->out && strcmp(words->out, "-") ? words->out : NULL;
    int fd = out ? open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    FILE *file = !out ? stdout : fd >= 0 ? fdopen(fd, "wb") : NULL;
    struct hub_call call = { .url = target->url, .socket = target->socket, .key = target->key,
        .tenant = target->tenant, .method = HTTP_GET, .path = path_of(arena, words->plain[1]),
        .timeout_ms = DOWNLOAD_MS, .each = write_piece, .arg = file };
    struct hub_answer answer;
    struct err err = { 0 };
    int status = 0;

    if (!file) {
        err_set(&err, ERR_INVALID, "Cannot write %s: %s.", out, strerror(errno));
        err_hint(&err, "Name another file with -o.");
        return print_failure(&err);
    }
    if (hub_call(&call, &answer, &err))
        status = print_failure(&err);
    else if (answer.status >= 400)
        status = call_problem(&answer);
    buf_fini(&answer.body);
    if ((out ? fclose(file) : fflush(file)) && !status) {
        err_set(&err, ERR_STORAGE_FULL, "The file could not be written: %s.", strerror(errno));
        status = print_failure(&err);
    }
    if (status && out)
        unlink(out);
    return status;
}

static int run_media(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    struct words words = { .count = 0 };
    struct target target;
    struct err err = { 0 };
    int status = read_words(argc, argv, &words);

    if (!status && target_find(arena, &words.target, &target, &err))
        status = print_failure(&err);
    if (!status)
        status = strcmp(words.plain[0], "put") ? get(arena, &words, &target) : put(arena, &words, &target);
    arena_free(arena);
    return status;
}

const struct command command_media = {
    .name = "media",
    .summary = "Upload a file to a hub, or get one from it.",
    .usage = usage,
    .help = "A file that was put can be sent with `message-hub send TO --attach FILE` at once, or by its id; what\n"
            "no message has is removed after a day. The N-th file of a message is msg_.../N, from 0.\n\n"
            "  message-hub media put picture.jpg\n"
            "  message-hub media get med_0123456789abc -o picture.jpg\n"
            "  message-hub media get msg_0123456789abc/0 -o picture.jpg\n",
    .run = run_media,
};
