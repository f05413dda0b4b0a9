#include "cli/lib/upload.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "cli/lib/call.h"
#include "cli/lib/flags.h"
#include "cli/lib/print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PIECE_BYTES 65536
#define UPLOAD_MS 300000

int upload_read(struct arena *arena, const char *path, struct str *out, struct err *err)
{
    FILE *file = strcmp(path, "-") ? fopen(path, "rbe") : stdin;
    struct buf text;
    size_t got = 1;
    int failed = 0;

    if (!file) {
        err_set(err, ERR_INVALID, "Cannot read %s: %s.", path, strerror(errno));
        return err_hint(err, "Name a file of this machine.");
    }
    buf_init(&text, LIMIT_MEDIA_BYTES);
    while (got > 0 && !failed) {
        char *room = buf_room(&text, PIECE_BYTES);
        char rest[1];

        got = room ? fread(room, 1, PIECE_BYTES, file) : fread(rest, 1, 1, file);
        if (room)
            buf_added(&text, got);
        else if (got > 0)
            failed = err_set(err, ERR_TOO_LARGE, "%s is larger than the %d MiB that a hub keeps.", path,
                             LIMIT_MEDIA_BYTES / 1024 / 1024);
    }
    if (!failed && ferror(file))
        failed = err_set(err, ERR_INVALID, "Cannot read %s.", path);
    if (file != stdin)
        fclose(file);
    *out = (struct str){ arena_copy(arena, text.len ? text.data : "", text.len), text.len };
    buf_fini(&text);
    return failed;
}

int upload_put(struct arena *arena, const struct target *target, const char *path, struct str *answer)
{
    struct hub_call call = { .url = target->url, .socket = target->socket, .key = target->key,
        .tenant = target->tenant, .method = HTTP_POST, .path = "/api/v1/media", .timeout_ms = UPLOAD_MS,
        .content_type = "application/octet-stream" };
    struct hub_answer got;
    struct err err = { 0 };
    int status = 0;

    if (upload_read(arena, path, &call.body, &err))
        return print_failure(&err);
    if (hub_call(&call, &got, &err)) {
        buf_fini(&got.body);
        return print_failure(&err);
    }
    if (got.status >= 400)
        status = call_problem(&got);
    *answer = (struct str){ arena_copy(arena, got.body.len ? got.body.data : "", got.body.len), got.body.len };
    buf_fini(&got.body);
    return status;
}

/* "/tmp/a.jpg" is called "a.jpg". */
static struct str name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return str_c(slash ? slash + 1 : path);
}

int upload_attached(struct arena *arena, struct request *request, const struct target *target)
{
    const struct field *field = flags_field(request->op, STR("attachments"));
    struct value *value = field ? &request->in.values[field - request->op->fields] : NULL;
    const struct json *known = value && value->field ? json_parse(arena, value->text, NULL) : NULL;
    struct json_writer w;
    struct buf list;
    int status = 0;

    if (request->attach.count == 0 || !field)
        return 0;
    buf_init(&list, LIMIT_BATCH_BYTES);
    w = json_writer(&list);
    json_array_begin(&w);
    for (size_t i = 0; i < json_count(known); i++) {
        struct buf one;

        buf_init(&one, LIMIT_BATCH_BYTES);
        json_dump(&one, json_item(known, i));
        json_put_raw(&w, buf_slice(&one));
        buf_fini(&one);
    }
    for (int i = 0; i < request->attach.count && !status; i++) {
        struct str answer = { 0 };

        status = upload_put(arena, target, request->attach.words[i], &answer);
        json_object_begin(&w);
        json_text_at(&w, "media", json_text(json_get(json_parse_lenient(arena, answer, NULL), "id")));
        json_text_at(&w, "name", str_nfc(arena, name_of(request->attach.words[i])));
        json_object_end(&w);
    }
    json_array_end(&w);
    value->field = field;
    value->text = (struct str){ arena_copy(arena, list.data, list.len), list.len };
    buf_fini(&list);
    request->attach.count = 0;
    return status;
}
